"""An ingest whose tasks other processes do: the same rows and the same report, and no secret on the way."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import securedata as sd
from securedata.corpus.config import resolve
from securedata.corpus.tasks import pool
from securedata.corpus.writer import Writer
from securedata.errors import AuthenticationFailed, ConfigError, InvalidArgument, KeysError
from securedata.ingest.report import IngestReport
from securedata.ingest.tasks import work
from securedata.lifecycle.rotate import rotate
from tests.kit.sources.recordings import clip, write_clips
from tests.kit.sources.shards import flac, table_of, write_arrow, write_parquet, write_tar

PATTERN = "{speaker}/{utterance}"


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    # spawn: a process that has nothing of this one's memory, as on another machine
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "TASK_FILES", 3)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Good and bad files, duplicates, a manifest that cuts one file among two people and another among one."""
    folder = tmp_path / "source"
    clips = [clip(f"spk{n % 3}/{n}.wav", (2000 + n) / 8000, 8000, seed=n) for n in range(12)]
    write_clips(folder, clips)
    shutil.copy(folder / "spk0/0.wav", folder / "spk0/again.wav")
    (folder / "spk1/broken.wav").write_bytes(b"RIFF\0\0\0\0WAVEfmt ")
    (folder / "spk1/empty.wav").write_bytes(b"")
    (folder / "spk2/notes.txt").write_text("not a recording")
    rows = ["path\tspeaker\tstart\tend\ttext"]
    rows += [f"spk{n % 3}/{n}.wav\tspk{n % 3}\t\t\tword {n}" for n in range(10)]
    rows += ["spk0/again.wav\tspk0\t\t\t", "spk1/broken.wav\tspk1\t\t\t", "spk1/empty.wav\tspk1\t\t\t"]
    rows += [f"spk1/10.wav\t{who}\t{at / 10}\t{at / 10 + 0.1}\tpart {at}" for at, who in enumerate(("ann", "bo"))]
    rows += [f"spk2/11.wav\tspk2\t{at / 10}\t{at / 10 + 0.1}\tpiece {at}" for at in range(2)]
    (folder / "rows.tsv").write_text("\n".join(rows) + "\n")
    return folder


def rows(root: Path) -> list[dict[str, Any]]:
    """All rows but for what is random or of the moment."""
    with sd.open_corpus(root) as corpus:
        table = corpus.table
    changing = {"object_id", "data_key", "ingested", "keyed_since", "origin"}
    found = table.drop([name for name in table.schema.names if name in changing]).to_pylist()
    return sorted(found, key=lambda one: (one["path"], one["start"] or 0))


def result(report: IngestReport) -> dict[str, Any]:
    """A report but for what differs between two corpora and from run to run."""
    found = asdict(report)
    for name in ("root", "name", "created", "seconds", "commits", "generation"):
        del found[name]
    return {name: sorted(value, key=repr) if isinstance(value, list) else value for name, value in found.items()}


def test_rows_and_report_are_those_of_a_local_run(source: Path, tmp_path: Path, processes: Executor) -> None:
    options: dict[str, Any] = {"manifest": "rows.tsv", "if_duplicate": "skip"}
    told: list[tuple[int, int, int, int]] = []
    here = sd.ingest(source, tmp_path / "here", **options)
    there = sd.ingest(
        source, tmp_path / "there", engine=processes, progress=lambda *totals: told.append(totals), **options
    )
    assert result(here) == result(there)
    assert rows(tmp_path / "here") == rows(tmp_path / "there")
    assert here.problems
    assert here.duplicates
    assert told[-1][0] == told[-1][1]
    assert told[-1][2] > 0
    assert sd.verify(tmp_path / "there").ok
    again = sd.ingest(source, tmp_path / "there", engine=processes, **options)
    assert (again.added, again.unchanged) == (0, here.added)


@pytest.mark.parametrize("kind", ["webdataset", "parquet", "arrow"])
def test_recordings_inside_other_files(tmp_path: Path, processes: Executor, kind: str) -> None:
    folder, audio = tmp_path / "shards", [flac(n) for n in range(7)]
    if kind == "webdataset":
        write_tar(folder / "a.tar", [(f"{n}.flac", data) for n, data in enumerate(audio)])
    elif kind == "parquet":
        write_parquet(folder / "a.parquet", table_of([(data, None) for data in audio]))
    else:
        write_arrow(folder / "a.arrow", table_of([(data, None) for data in audio]))
    here = sd.ingest(folder, tmp_path / "here", one_subject="ann", source_format=kind)
    there = sd.ingest(folder, tmp_path / "there", one_subject="ann", source_format=kind, engine=processes)
    assert result(here) == result(there)
    assert here.added == 7
    assert rows(tmp_path / "here") == rows(tmp_path / "there")


def test_recordings_inside_a_zip(source: Path, tmp_path: Path, processes: Executor) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        for path in source.rglob("*.wav"):
            packed.write(path, f"./{path.relative_to(source)}")  # names that the source spells differently
    url = f"zip://::{tmp_path / 'all.zip'}"
    here = sd.ingest(url, tmp_path / "here", speaker_pattern=PATTERN)
    there = sd.ingest(url, tmp_path / "there", speaker_pattern=PATTERN, engine=processes)
    assert result(here) == result(there)
    assert here.added == 13
    assert rows(tmp_path / "here") == rows(tmp_path / "there")


class Listening(Executor):
    """Keeps what goes to the processes of another one, and what comes back."""

    def __init__(self, inner: Executor, before: Callable[[int], object] = lambda _: None) -> None:
        self.inner, self.before, self.slots, self.heard = inner, before, 2, list[bytes]()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.before(len(self.heard))
        self.heard.append(pickle.dumps((args, kwargs)))
        future: Future[Any] = self.inner.submit(fn, *args, **kwargs)
        future.add_done_callback(lambda done: self.heard.append(pickle.dumps(done.result())))
        return future


def test_nothing_that_an_engine_sees_is_a_name_or_a_key(source: Path, tmp_path: Path, processes: Executor) -> None:
    listening = Listening(processes)
    sd.ingest(source, tmp_path / "there", manifest="rows.tsv", engine=listening)
    heard = b"".join(listening.heard)
    reference = resolve(tmp_path / "there")
    writer = Writer(reference)
    secrets = [writer.lease.opened.key, writer.head.secret, *(part.key for part in writer.head.parts)]
    tables = [writer.read_table(part, None) for part in writer.head.parts]
    for name in ("data_key", "path", "transcript", "speaker"):
        secrets += [value for table in tables for value in as_bytes(table, name) if len(value) > 3]
    assert len(secrets) > 30
    assert [one for one in secrets if one in heard] == []
    assert str(source).encode() not in heard
    assert reference.root.encode() in heard  # it is looked for in the right place


class Swapping(Executor):
    """Sends the first two tasks under each other's name."""

    def __init__(self, inner: Executor) -> None:
        self.inner, self.slots, self.waiting = inner, 2, list[tuple[Future[Any], Any, tuple[Any, ...]]]()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if len(self.waiting) > 1:
            return self.inner.submit(fn, *args)
        self.waiting.append((Future(), fn, args))
        if len(self.waiting) == 2:
            (one, _, first), (other, _, second) = self.waiting
            for future, sent in ((one, (*first[:-1], second[-1])), (other, (*second[:-1], first[-1]))):
                future.set_result(self.inner.submit(fn, *sent).result())
        return self.waiting[-1][0]


def test_tasks_that_an_engine_mixes_up_make_no_rows(tmp_path: Path, processes: Executor) -> None:
    folder = tmp_path / "source"
    write_clips(folder, [clip(f"spk{n}/{n}.wav", 0.1, 8000, seed=n) for n in range(9)])
    with pytest.raises(AuthenticationFailed, match="of another task"):
        sd.ingest(folder, tmp_path / "there", speaker_pattern=PATTERN, engine=Swapping(processes))


def as_bytes(table: Any, name: str) -> list[bytes]:
    return [one if isinstance(one, bytes) else one.encode() for one in table.column(name).to_pylist() if one]


def test_a_rotation_meanwhile_ends_nothing(source: Path, tmp_path: Path) -> None:
    assert sd.ingest(source, tmp_path / "there", manifest="rows.tsv").added
    rotated: list[int] = []

    def rotate_once(_: int) -> None:
        if not rotated:
            rotated.append(rotate(tmp_path / "there").generation)

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        report = sd.ingest(
            source, tmp_path / "there", manifest="rows.tsv", reseal=True, engine=Listening(executor, rotate_once)
        )
    assert rotated
    assert report.replaced
    assert sd.verify(tmp_path / "there").ok


def test_a_worker_that_cannot_begin_ends_the_run_with_its_error(
    source: Path, tmp_path: Path, processes: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sd.ingest(source, tmp_path / "there", one_subject="ann", leave_out="spk2")
    key = Path(resolve(tmp_path / "there").kms[0].removeprefix("local://"))

    def hide(_: int) -> None:
        if key.exists():
            key.rename(key.with_suffix(".gone"))

    with pytest.raises(KeysError, match="on "):
        sd.ingest(source, tmp_path / "there", one_subject="ann", engine=Listening(processes, hide))
    key.with_suffix(".gone").rename(key)
    monkeypatch.setattr(pool, "this_version", lambda: "9.9")
    with pytest.raises(ConfigError, match=r"a worker has securedata .* and this process 9\.9"):
        sd.ingest(source, tmp_path / "there", one_subject="ann", engine=processes)


def test_a_source_that_only_this_machine_sees(source: Path, tmp_path: Path, processes: Executor) -> None:
    def hide(_: int) -> None:
        if source.exists():
            source.rename(tmp_path / "hidden")

    with pytest.raises(ConfigError, match=r"is not a folder on .*: mount it there"):
        sd.ingest(source, tmp_path / "there", one_subject="ann", engine=Listening(processes, hide))


def test_an_engine_is_a_name_or_an_executor(source: Path, tmp_path: Path) -> None:
    for engine in ("spark", 3):
        with pytest.raises(InvalidArgument, match="engine= is one of local, ray, or a concurrent"):
            sd.ingest(source, tmp_path / "there", one_subject="ann", engine=engine)  # type: ignore[arg-type]  # on purpose
    assert not (tmp_path / "there").exists()


def test_the_error_without_ray_says_what_to_install(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Ray, which is not installed: 'pip install ray'"):
        sd.ingest(source, tmp_path / "there", one_subject="ann", engine="ray")
    assert not (tmp_path / "there").exists()


def test_files_that_are_no_recordings(source: Path, tmp_path: Path, processes: Executor) -> None:
    report = sd.ingest(
        source, tmp_path / "others", manifest=source / "rows.tsv", include="*.tsv", engine=processes, layout="none"
    )
    assert "rows.tsv" in {problem.path for problem in report.problems}, "no row names it, so nobody's name is guessed"
    report = sd.ingest(source, tmp_path / "ours", one_subject="ann", include="*.txt", layout="none", engine=processes)
    with sd.open_corpus("ours", columns=["media_type"]) as corpus:
        assert corpus.value("media_type", corpus.find("spk2/notes.txt")) == "text/plain"
