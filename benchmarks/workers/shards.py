"""A process for one epoch of one contender of benchmarks.shards, in the main venv or in the peers' one.

python -m benchmarks.workers.shards        reads one line of JSON from stdin, and writes one to stdout

{"do": "make", "who": NAME, "files": [PATH], "folder": DIR}: write the shards of a peer.
{"do": "run", "who": NAME, "spec": {}, "batch": 32, "workers": 2, "scratch": DIR}: iterate once.

Mosaic leaves shared memory behind and all peers keep caches, so each run is a process of its own with an empty folder.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import soundfile
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

SHARD = 64_000_000
"""Bytes of a shard of the peers, about; Mosaic's default is 67 MB, LitData's example uses 64."""


class Clock(NamedTuple):
    """What Linux says of the main thread of a process: seconds by the clock, computing, and ready but not computing."""

    wall: float
    ran: float
    queued: float
    cpu: float
    """Seconds of all threads of the process."""

    @property
    def blocked(self) -> float:
        """Seconds for which the thread waited for something else than a core."""
        return self.wall - self.ran - self.queued


def clock() -> Clock:
    ran, queued, _ = Path(f"/proc/self/task/{os.getpid()}/schedstat").read_text(encoding="ascii").split()
    return Clock(time.perf_counter(), int(ran) / 1e9, int(queued) / 1e9, time.process_time())


class Batch(NamedTuple):
    samples: int
    checksum: float
    worker: int
    clock: Clock


def decode(data: bytes) -> Tensor:
    """float32 [channels, frames] of a file in memory."""
    audio, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return torch.from_numpy(audio.T)


def collate(samples: list[Any]) -> tuple[Tensor, Batch]:
    """The waveforms of a batch, stacked, and how far its worker is."""
    waveforms = torch.stack([sample if isinstance(sample, Tensor) else sample[0] for sample in samples])
    return waveforms, Batch(len(samples), float(waveforms.double().abs().sum()), os.getpid(), clock())


# ---------------------------------------------------------------- shards


def make_tars(files: list[str], folder: Path) -> None:
    """Tars as WebDataset reads them, in a random order."""
    random.Random(1).shuffle(files)
    shards: list[list[str]] = []
    size = SHARD
    for path in files:
        if size >= SHARD:
            shards.append([])
            size = 0
        shards[-1].append(path)
        size += Path(path).stat().st_size
    for number, shard in enumerate(shards):
        with tarfile.open(folder / f"{number:05d}.tar", "w") as tar:
            for at, path in enumerate(shard):
                tar.add(path, f"{at:08d}{Path(path).suffix}")


def make_mds(files: list[str], folder: Path) -> None:
    from streaming import MDSWriter

    with MDSWriter(out=str(folder), columns={"audio": "bytes"}, size_limit=SHARD) as writer:
        for path in files:
            writer.write({"audio": Path(path).read_bytes()})


def _contents(path: str) -> dict[str, bytes]:
    return {"audio": Path(path).read_bytes()}


def make_litdata(files: list[str], folder: Path) -> None:
    from litdata import optimize

    optimize(fn=_contents, inputs=files, output_dir=str(folder), chunk_bytes=SHARD, num_workers=1, start_method="fork")


def make_parquet(files: list[str], folder: Path) -> None:
    """Tables of 64 MB with the files as bytes, in a random order, in row groups of 100 as `push_to_hub` writes them."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    random.Random(1).shuffle(files)
    each = max(1, SHARD // max(Path(path).stat().st_size for path in files))
    for at in range(0, len(files), each):
        table = pa.table({"audio": [Path(path).read_bytes() for path in files[at : at + each]]})
        parquet.write_table(table, folder / f"{at // each:05d}.parquet", row_group_size=100)


MAKERS: dict[str, Callable[[list[str], Path], None]] = {
    "WebDataset over curl": make_tars,
    "Mosaic": make_mds,
    "LitData": make_litdata,
    "HF streaming": make_parquet,
}


# ---------------------------------------------------------------- contenders


def securedata(spec: dict[str, Any], _scratch: Path, _batch: int) -> Any:
    """Packs, as a user opens them."""
    from securedata.torch.stream.audio import EncryptedAudioStream

    return EncryptedAudioStream(spec["root"], kms=spec["kms"], pin=spec["pin"], uneven=None)


class InMemory(IterableDataset[Tensor]):
    """Plaintext files in the memory of the process, shuffled and decoded: the limit."""

    def __init__(self, files: list[str]) -> None:
        self.files = [Path(path).read_bytes() for path in files]

    def __iter__(self) -> Iterator[Tensor]:
        info = get_worker_info()
        mine, of = (0, 1) if info is None else (info.id, info.num_workers)
        order = list(range(len(self.files)))
        random.Random(1).shuffle(order)
        for at in order[mine::of]:
            yield decode(self.files[at])


def in_memory(spec: dict[str, Any], _scratch: Path, _batch: int) -> Any:
    return InMemory(spec["files"])


def _decoded(sample: dict[str, Any]) -> Tensor:
    return decode(next(data for name, data in sample.items() if not name.startswith("__")))


def webdataset(spec: dict[str, Any], _scratch: Path, _batch: int) -> Any:
    import webdataset as wds

    made = wds.WebDataset(spec["tars"], shardshuffle=len(spec["tars"]), empty_check=False)
    return made.shuffle(spec["window"]).map(_decoded)


def mosaic(spec: dict[str, Any], scratch: Path, batch: int) -> Any:
    os.environ["S3_ENDPOINT_URL"] = os.environ["AWS_ENDPOINT_URL"]
    from streaming import StreamingDataset

    class Audio(StreamingDataset):  # type: ignore[misc]  # no types
        def __getitem__(self, at: Any) -> Tensor:
            return decode(super().__getitem__(at)["audio"])

    return Audio(remote=spec["mosaic"], local=str(scratch), shuffle=True, batch_size=batch, num_canonical_nodes=1)


def litdata(spec: dict[str, Any], scratch: Path, _batch: int) -> Any:
    from litdata import StreamingDataset
    from litdata.streaming import downloader

    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True  # it allows only https, and has no option for it

    class Audio(StreamingDataset):
        def __getitem__(self, at: Any) -> Tensor:
            return decode(super().__getitem__(at)["audio"])

    options = {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]}
    return Audio(spec["litdata"], cache_dir=str(scratch), shuffle=True, drop_last=False, storage_options=options)


class Decoded(IterableDataset[Tensor]):
    """The files of a stream of Hugging Face, decoded as those of all others are."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[Tensor]:
        for row in self.rows:
            yield decode(row["audio"])


def hugging_face(spec: dict[str, Any], scratch: Path, _batch: int) -> Any:
    os.environ["HF_HOME"] = str(scratch)
    from datasets import load_dataset

    rows = load_dataset("parquet", data_files=f"{spec['hf']}/*.parquet", split="train", streaming=True)
    return Decoded(rows.shuffle(seed=1, buffer_size=spec["window"]))


CONTENDERS: dict[str, Callable[[dict[str, Any], Path, int], Any]] = {
    "securedata": securedata,
    "plaintext in RAM": in_memory,
    "WebDataset over curl": webdataset,
    "Mosaic": mosaic,
    "LitData": litdata,
    "HF streaming": hugging_face,
}


# ---------------------------------------------------------------- one epoch


def loader_of(who: str, dataset: Any, batch: int, workers: int) -> Any:
    kind: Any = DataLoader
    if who == "Mosaic":
        from streaming import StreamingDataLoader as kind  # type: ignore[no-redef]  # its own loader, as it advises
    elif who == "LitData":
        from litdata import StreamingDataLoader as kind  # type: ignore[no-redef]  # likewise
    return kind(dataset, batch_size=batch, num_workers=workers, collate_fn=collate)


def run(request: dict[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(1)
    dataset = CONTENDERS[request["who"]](request["spec"], Path(request["scratch"]), request["batch"])
    loader = loader_of(request["who"], dataset, request["batch"], request["workers"])
    began, cpu, children = time.perf_counter(), time.process_time(), _children()
    first: dict[int, Clock] = {}
    last: dict[int, Clock] = {}
    steady, samples, checksum, opened = 0, 0, 0.0, 0.0
    for _, batch in loader:
        opened = opened or time.perf_counter() - began
        samples += batch.samples
        checksum += batch.checksum
        if batch.worker in first:
            steady += batch.samples
        else:
            first[batch.worker] = batch.clock
        last[batch.worker] = batch.clock
    ended = time.perf_counter()
    spans = [(first[pid], last[pid]) for pid in first]
    return {
        "samples": samples,
        "steady": steady,
        "checksum": round(checksum, 3),
        "first": opened,
        "wall": ended - began,
        "cpu": sum(end.cpu - start.cpu for start, end in spans),
        "blocked": sum(end.blocked - start.blocked for start, end in spans),
        "main": time.process_time() - cpu,
        "children": _children() - children,
    }


def _children() -> float:
    """CPU seconds of all children that have ended, and of theirs: the workers, and curl."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    request = json.loads(sys.stdin.readline())
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints goes to stderr
    if request["do"] == "make":
        MAKERS[request["who"]](request["files"], Path(request["folder"]))
        answer = {}
    else:
        answer = run(request)
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
