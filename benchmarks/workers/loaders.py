"""Datasets on one bucket: ours, ours with a part taken out, and what researchers use today.

This runs in the main venv and in the peers' one, so each contender imports what it needs when it is made. All decode
with libsndfile from memory and are collated in the same way. Clients are made in the workers: none survives a fork.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import soundfile
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

THREADS = 16


@dataclass(frozen=True)
class Spec:
    """Where the same recordings are: as plaintext, sealed by securedata, and encrypted by Fernet."""

    bucket: str
    plain: Sequence[str]
    """Keys, in the order of `paths`."""
    fernet: Sequence[str]
    fernet_key: str
    paths: Sequence[str]
    """Logical paths in the corpus."""
    root: str
    kms: str
    pin: str


class Made(NamedTuple):
    """A dataset, and the index of each recording in it."""

    dataset: Any
    indices: Sequence[int]


def decode(data: bytes) -> Tensor:
    """float32 [channels, frames] of a file in memory."""
    audio, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return torch.from_numpy(audio.T)


class Batch(NamedTuple):
    waveforms: Tensor
    worker: int
    cpu: float
    sealing: float
    """CPU seconds that this process has spent on decryption and lookup, if they are measured."""
    at: float
    unblocked: float
    """When the batch was collated, and for how many seconds this thread has run, or waited for a core, until then."""


def collate(samples: list[Any]) -> Batch:
    """Collate only the waveforms, with default_collate, and add the CPU seconds of this worker so far."""
    tensors = [sample if isinstance(sample, Tensor) else sample[0] for sample in samples]
    waveforms = default_collate(tensors)
    with open("/proc/thread-self/schedstat", encoding="ascii") as file:
        queued = int(file.read().split()[1]) / 1e9
    unblocked = time.thread_time() + queued
    return Batch(waveforms, os.getpid(), time.process_time(), spent.seconds, time.perf_counter(), unblocked)


# ---------------------------------------------------------------- ours


def securedata(spec: Spec) -> Made:
    """Sealed objects, as a user opens them."""
    from securedata import EncryptedAudioDataset

    dataset = EncryptedAudioDataset(spec.root, kms=spec.kms, pin=spec.pin)
    rows = {path: row for row, path in enumerate(dataset.metadata.column("path").to_pylist())}
    return Made(dataset, [rows[path] for path in spec.paths])


def without_look_ahead(spec: Spec) -> Made:
    """The same, each batch fetched once it is asked for: this process and its workers have no look-ahead."""
    from securedata.torch.batches import ahead

    os.environ[ahead.OFF] = "0"
    return securedata(spec)


def cached(spec: Spec) -> Made:
    """The same through a cache on local disk, below TMPDIR; the turns before the first round fill it."""
    from securedata import EncryptedAudioDataset

    folder = os.path.join(os.environ["TMPDIR"], "cache")
    dataset = EncryptedAudioDataset(spec.root, kms=spec.kms, pin=spec.pin, cache=folder)
    rows = {path: row for row, path in enumerate(dataset.metadata.column("path").to_pylist())}
    return Made(dataset, [rows[path] for path in spec.paths])


def without_decryption(spec: Spec) -> Made:
    """The same loader and storage engine on plaintext objects; opening one returns its bytes."""
    return _opened(spec, Elsewhere)


def in_memory(spec: Spec) -> Made:
    """The same loader with the plaintext in this process's memory."""
    return _opened(spec, Memory)


def clocked(spec: Spec) -> Made:
    """Ours, with a clock around decryption and lookup. The clock slows it down, so nothing else is measured with it."""
    from securedata.corpus.objects import fetch
    from securedata.torch import dataset

    made = securedata(spec)
    fetch.ObjectBatch.__init__ = spent.clocked(fetch.ObjectBatch.__init__)  # type: ignore[method-assign]  # the measurement
    fetch.ObjectBatch._open = spent.clocked(fetch.ObjectBatch._open)  # type: ignore[method-assign]  # as above
    dataset.read_row = spent.clocked(dataset.read_row)
    return made


def _opened(spec: Spec, place: type[Elsewhere]) -> Made:
    from securedata.corpus.objects import fetch
    from securedata.corpus.state.layout import object_key
    from securedata.storage.registry import open_storage

    made = securedata(spec)
    (corpus,) = made.dataset.corpora
    keys = {
        object_key(corpus.index.location(row).object_id): key for row, key in zip(made.indices, spec.plain, strict=True)
    }
    corpus.snapshot = replace(corpus.snapshot, storage=place(open_storage(f"s3://{spec.bucket}"), keys))
    fetch.open_whole = _as_it_is
    return made


def _as_it_is(_key: object, plain: Any, _expect: object) -> Any:
    return plain


class Elsewhere:
    """A storage whose `start` fetches the plaintext objects in place of the sealed ones."""

    def __init__(self, storage: Any, keys: dict[str, str]) -> None:
        self._storage, self._keys = storage, keys

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def start(self, wanted: Sequence[Any], in_flight: int) -> Any:
        # `least` would be the sealed size, for which a plaintext object counts as cut short
        plain = [one._replace(key=self._keys[one.key], least=0) for one in wanted]
        return self._storage.start(plain, in_flight)


class Memory(Elsewhere):
    """A storage that has read all objects beforehand."""

    def __init__(self, storage: Any, keys: dict[str, str]) -> None:
        super().__init__(storage, keys)
        self._objects = {sealed: bytes(storage.get(key)) for sealed, key in keys.items()}

    def start(self, wanted: Sequence[Any], in_flight: int) -> Any:
        from securedata.storage.base import Download

        return Download([(at, self._objects[one.key])] for at, one in enumerate(wanted))


class Spent:
    """A stopwatch for this thread's CPU time."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def clocked(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            began = time.thread_time()
            try:
                return call(*arguments)
            finally:
                self.seconds += time.thread_time() - began

        return timed


spent = Spent()


# ---------------------------------------------------------------- peers


class Objects(Dataset[Tensor]):
    """A dataset as in tutorials: one object at a time, with a client that each worker makes for itself."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.client: Any = None

    def __len__(self) -> int:
        return len(self.spec.plain)

    def connect(self) -> Any:
        raise NotImplementedError

    def load(self, index: int) -> Tensor:
        raise NotImplementedError

    def __getitem__(self, index: int) -> Tensor:
        if self.client is None:
            self.client = self.connect()
        return self.load(index)


class Boto3(Objects):
    def connect(self) -> Any:
        import boto3

        return boto3.client("s3")

    def load(self, index: int) -> Tensor:
        return decode(self.get(self.spec.plain[index]))

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.spec.bucket, Key=key)["Body"].read()  # type: ignore[no-any-return]  # no stubs


class Tutorial(Boto3):
    """Encryption as in tutorials."""

    def connect(self) -> Any:
        from cryptography.fernet import Fernet

        self.fernet = Fernet(self.spec.fernet_key)
        return super().connect()

    def load(self, index: int) -> Tensor:
        return decode(self.fernet.decrypt(self.get(self.spec.fernet[index])))


class S3FS(Objects):
    def connect(self) -> Any:
        import s3fs

        return s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"])

    def load(self, index: int) -> Tensor:
        with self.client.open(f"{self.spec.bucket}/{self.spec.plain[index]}", "rb") as file:
            audio, _ = soundfile.read(file, dtype="float32", always_2d=True)
        return torch.from_numpy(audio.T)


def _decode_reader(reader: Any) -> Tensor:
    return decode(reader.read())


def s3torchconnector(spec: Spec) -> Made:
    from s3torchconnector import S3ClientConfig, S3MapDataset

    dataset = S3MapDataset.from_objects(
        [f"s3://{spec.bucket}/{key}" for key in spec.plain],
        region=os.environ["AWS_DEFAULT_REGION"],
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        transform=_decode_reader,
        s3client_config=S3ClientConfig(force_path_style=True),
    )
    return Made(dataset, range(len(spec.plain)))


def litdata(spec: Spec) -> Made:
    """Look-ahead is off: it guesses the next recordings in the bucket's order, which is wrong for shuffled training."""
    import tempfile

    from litdata import StreamingRawDataset
    from litdata.streaming import downloader

    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True  # it allows only https, and has no option for it
    prefix = os.path.commonpath(spec.plain)
    dataset = StreamingRawDataset(
        f"s3://{spec.bucket}/{prefix}",
        cache_dir=tempfile.mkdtemp(prefix="litdata-", dir=os.environ["TMPDIR"]),
        storage_options={"endpoint_url": os.environ["AWS_ENDPOINT_URL"]},
        transform=decode,
        max_prefetch=0,
    )
    at = {item.path.removeprefix(f"s3://{spec.bucket}/"): index for index, item in enumerate(dataset.items)}
    return Made(dataset, [at[key] for key in spec.plain])


def _objects(kind: type[Objects]) -> Callable[[Spec], Made]:
    return lambda spec: Made(kind(spec), range(len(spec.plain)))


LOADERS: dict[str, Callable[[Spec], Made]] = {
    "securedata": securedata,
    "securedata, without look-ahead": without_look_ahead,
    "securedata, cached": cached,
    "securedata, decryption taken out": without_decryption,
    "securedata, plaintext in RAM": in_memory,
    "securedata, clocked": clocked,
    "boto3": _objects(Boto3),
    "boto3 + Fernet": _objects(Tutorial),
    "s3fs": _objects(S3FS),
    "s3torchconnector": s3torchconnector,
    "LitData raw": litdata,
}


# ---------------------------------------------------------------- bytes, not decoded


def bytes_by_securedata(spec: Spec) -> Callable[[Sequence[int]], int]:
    from securedata.corpus.objects.fetch import Piece

    made = securedata(spec)
    (corpus,) = made.dataset.corpora

    def read(numbers: Sequence[int]) -> int:
        return sum(len(data) for _, data in corpus.read_many([Piece(made.indices[number]) for number in numbers]))

    return read


def bytes_by_boto3(spec: Spec) -> Callable[[Sequence[int]], int]:
    import boto3
    from botocore.config import Config

    client = boto3.client("s3", config=Config(max_pool_connections=THREADS))
    return _threaded(lambda key: client.get_object(Bucket=spec.bucket, Key=key)["Body"].read(), spec)


def bytes_by_s3torchconnector(spec: Spec) -> Callable[[Sequence[int]], int]:
    from s3torchconnector import S3ClientConfig
    from s3torchconnector._s3client import S3Client

    config = S3ClientConfig(force_path_style=True)
    client = S3Client(os.environ["AWS_DEFAULT_REGION"], endpoint=os.environ["AWS_ENDPOINT_URL"], s3client_config=config)
    return _threaded(lambda key: client.get_object(spec.bucket, key).read(), spec)


def _threaded(get: Callable[[str], bytes], spec: Spec) -> Callable[[Sequence[int]], int]:
    pool = ThreadPoolExecutor(THREADS)
    return lambda numbers: sum(map(len, pool.map(get, [spec.plain[number] for number in numbers])))


BYTES: dict[str, Callable[[Spec], Callable[[Sequence[int]], int]]] = {
    "bytes: securedata": bytes_by_securedata,
    "bytes: boto3": bytes_by_boto3,
    "bytes: s3torchconnector": bytes_by_s3torchconnector,
}
