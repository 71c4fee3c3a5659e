"""Recordings behind a URL of fsspec: listed and described like a folder's, read by ranges, kept nowhere."""

from __future__ import annotations

import io
import os
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, NotFound, StorageUnreachable, SubjectUnknown
from securedata.ingest import sealing
from securedata.ingest.pipeline import seal_sources
from securedata.ingest.report import IngestReport
from securedata.ingest.sources import origin, remote
from securedata.ingest.sources.recordings import SourceList, list_sources
from securedata.ingest.sources.remote import tree_of
from tests.ingest.sources.test_layouts import librispeech, tables_beside
from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.corpora.contents import recordings_of
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.folders import by_path, column, jsonl, record, touch
from tests.kit.sources.recordings import some_clips, write_clips


@pytest.fixture
def raw() -> Iterator[str]:
    """A URL of its own, in the memory of this process."""
    name = f"/raw-{os.urandom(6).hex()}"
    yield f"memory:/{name}"
    fs = fsspec.filesystem("memory")
    if fs.exists(name):
        fs.rm(name, recursive=True)


def upload(folder: Path, url: str) -> str:
    """What a folder holds, under a URL."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with fsspec.open(f"{url}/{path.relative_to(folder)}", "wb") as file:
                file.write(path.read_bytes())
    return url


def speech(folder: Path) -> Path:
    for name, seconds in (("clips/a.wav", 2.0), ("clips/b.wav", 1.0), ("x.wav", 1.5), (".hidden/y.wav", 1)):
        record(folder / name, seconds)
    (folder / "notes.txt").write_text("of the recordist")
    rows = [
        {"audio_filepath": "clips/a.wav", "text": "one", "speaker": "ann", "offset": 0.5, "duration": 1.0},
        {"audio_filepath": "clips/a.wav", "text": "two", "speaker": "ann", "offset": 1.5, "duration": 0.5},
        {"audio_filepath": "clips/b.wav", "text": "three", "speaker": "ben", "duration": 1.0},
        {"audio_filepath": "clips/missing.wav", "text": "four", "speaker": "ben"},
    ]
    jsonl(folder / "train.jsonl", *rows)
    (folder / "clips.tsv").write_text("path\tsentence\tclient_id\na.wav\tHello\tann\nb.wav\tAgain\tben\n")
    return folder


def described(sources: SourceList) -> tuple[object, ...]:
    """All that a list says, less where it stands and when it was written."""
    table = sources.table.drop_columns(["file", "mtime_ns", "version"])
    kept = (sources.companions, sources.hidden, sources.unlisted, sources.settings)
    return (table.to_pylist(), [problem.path for problem in sources.problems], *kept)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (speech, {"one_subject": "ann"}),
        (speech, {"subject_per_file": True}),
        (speech, {"speaker_pattern": "{speaker}/{utterance}"}),
        (speech, {"manifest": "train.jsonl"}),
        (speech, {"manifest": "train.jsonl", "only_listed": True}),
        (speech, {"manifest": "clips.tsv"}),
        (librispeech, {}),
    ],
)
def test_described_like_a_folder(
    tmp_path: Path, raw: str, make: Callable[[Path], Path], options: dict[str, Any]
) -> None:
    folder = make(tmp_path / "raw")
    there = list_sources(upload(folder, raw), **options)
    assert described(there) == described(list_sources(folder, **options))
    assert (there.root, column(there, "file")[0].startswith(f"{raw}/")) == (raw, True)
    now = time.time_ns()
    assert all(now - 10**11 < one <= now for one in column(there, "mtime_ns"))


def test_tables_that_could_name_the_speaker_are_shown(tmp_path: Path, raw: str) -> None:
    folder = tables_beside(tmp_path / "raw")
    with pytest.raises(SubjectUnknown) as caught:
        list_sources(upload(folder, raw))
    assert "  --manifest t.parquet: its columns are file, speaker_id\n" in str(caught.value)
    assert "  --manifest validated.tsv: its columns are client_id, path\n" in str(caught.value)
    assert column(list_sources(raw, manifest="t.parquet"), "subjects") == [["1f"], ["2e"]]


def test_a_manifest_may_be_a_url_of_its_own_or_a_file_here(tmp_path: Path, raw: str) -> None:
    folder = speech(tmp_path / "raw")
    upload(folder, f"{raw}/a/b")
    words = {"clips/a@4000-12000.wav": "one", "clips/a@12000-16000.wav": "two", "clips/b.wav": "three"}
    (tmp_path / "raw" / "train.jsonl").rename(tmp_path / "train.jsonl")
    for manifest in (f"{raw}/a/b/train.jsonl", str(tmp_path / "train.jsonl"), f"file://{tmp_path}/train.jsonl"):
        sources = list_sources(f"{raw}/a/b/", manifest=manifest, only_listed=True)
        assert by_path(sources, "transcript") == words
    above = [f"{raw}/a/b/clips/b.wav", "b/x.wav", "./b/clips/../clips/a.wav"]
    with fsspec.open(f"{raw}/a/above.csv", "w") as file:
        file.write("path,speaker\n" + "".join(f"{name},ann\n" for name in above))
    sources = list_sources(f"{raw}/a/b", manifest=f"{raw}/a/above.csv")
    assert column(sources, "path") == ["clips/a.wav", "clips/b.wav", "x.wav"]
    with pytest.raises(InvalidArgument, match=r"gone\.csv: .*was deleted|gone\.csv.*cannot be read"):
        list_sources(f"{raw}/a/b", manifest=f"{raw}/a/gone.csv")


def test_names_that_no_path_can_have(raw: str) -> None:
    fs = fsspec.filesystem("memory")
    base = raw.removeprefix("memory://")
    for name in ("ok.wav", "back\\slash.wav", "a//b.wav", "Zoe\u0308.wav", ".git/c.wav"):
        fs.pipe_file(f"{base}/{name}", b"1")
    sources = list_sources(raw, one_subject="x")
    assert column(sources, "path") == ["Zoë.wav", "ok.wav"]
    assert sources.hidden == 1
    assert [problem.reason.partition(";")[0] for problem in sources.problems] == [
        "one of its folders has no name",
        "its name holds a backslash or a control character",
    ]
    fs.pipe_file(f"{base}/Zoë.wav", b"1")
    with pytest.raises(InvalidArgument, match="two spellings of one name"):
        list_sources(raw, one_subject="x")


# ------------------------------------------------------------------------------------------------------------- errors


def test_errors_say_what_to_do(tmp_path: Path, raw: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"{raw} holds no recordings"):
        list_sources(raw, one_subject="x")
    with pytest.raises(InvalidArgument, match="fsspec cannot serve nosuch://"):
        list_sources("nosuch://x", one_subject="x")
    with pytest.raises(InvalidArgument, match="password") as refused:
        list_sources("sftp://me:hunter2@host/x", one_subject="x")
    assert "hunter2" not in str(refused.value)
    for cache in ("simplecache", "filecache", "blockcache"):
        with pytest.raises(InvalidArgument, match=f"{cache} would write the recordings to this machine's disk"):
            list_sources(f"{cache}::{raw}", one_subject="x")
    with pytest.raises(InvalidArgument, match="--source-endpoint-url: only for a source on S3"):
        list_sources(raw, one_subject="x", options={"endpoint_url": "http://x"})
    with pytest.raises(SubjectUnknown, match=raw):
        list_sources(upload(speech(tmp_path / "raw"), raw))


class Refusing(MemoryFileSystem):
    """Fails as a network file system may."""

    protocol = "refusing"
    cachable = False
    failure: BaseException

    def find(self, *_: Any, **__: Any) -> dict[str, Any]:
        raise self.failure


@pytest.mark.parametrize(
    ("failure", "error"),
    [(FileNotFoundError("/secret name"), NotFound), (RuntimeError("/secret name"), StorageUnreachable)],
)
def test_failures_of_a_file_system_are_ours(failure: Exception, error: type[Exception]) -> None:
    Refusing.failure = failure
    fsspec.register_implementation("refusing", Refusing, clobber=True)
    with pytest.raises(error) as raised:
        list_sources("refusing://x", one_subject="x")
    assert "secret name" not in str(raised.value)


# -------------------------------------------------------------------------------------------------------------- ingest


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(tmp_path, [])


def take(root: Root, url: str, **options: bool) -> IngestReport:
    sources = list_sources(url, speaker_pattern="{speaker}/{utterance}")
    return seal_sources(sources, Writer(root.reference), **options)


def test_a_rerun_reads_nothing(tmp_path: Path, raw: str, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    wavs = write_clips(tmp_path / "wavs")
    upload(wavs, raw)
    assert take(root, raw).added == 6
    assert recordings_of(root.reference) == {
        str(path.relative_to(wavs)): path.read_bytes() for path in wavs.rglob("*.*")
    }
    reads: list[str] = []
    cat = MemoryFileSystem.cat_file

    def counting(self: MemoryFileSystem, path: str, **options: Any) -> bytes:
        reads.append(path)
        return bytes(cat(self, path, **options))

    monkeypatch.setattr(MemoryFileSystem, "cat_file", counting)
    assert (take(root, raw).unchanged, reads) == (6, [])
    report = take(root, raw, checksum=True)
    assert (report.unchanged, report.updated, len(reads)) == (6, 0, 6)


def test_what_changed_there_is_a_conflict_or_replaces(tmp_path: Path, raw: str, root: Root) -> None:
    upload(write_clips(tmp_path / "wavs"), raw)
    take(root, raw)
    one, two = some_clips()[0], some_clips()[3]
    fs = fsspec.filesystem("memory")
    changed = two.data[:-2] + bytes(2)
    assert changed != two.data
    fs.pipe_file(f"{raw.removeprefix('memory://')}/{two.path}", changed)  # as long as before
    fs.pipe_file(f"{raw.removeprefix('memory://')}/{one.path}", one.data)  # written anew, the same
    report = take(root, raw)
    assert (report.conflicts, report.unchanged + report.updated) == ([two.path], 5)
    assert take(root, raw, replace=True).replaced == 1
    assert recordings_of(root.reference)[two.path] == changed


class Timeless(MemoryFileSystem):
    """Tells no times, like many servers of plain HTTP."""

    protocol = "timeless"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("timeless://", "memory://")))

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        return {**super().info(path, **options), "created": None}

    def find(self, path: str, **options: Any) -> Any:
        return {name: {**info, "created": None} for name, info in super().find(path, **options).items()}


def test_a_place_that_tells_no_times_is_read_again(tmp_path: Path, raw: str, root: Root) -> None:
    fsspec.register_implementation("timeless", Timeless, clobber=True)
    upload(write_clips(tmp_path / "wavs"), raw)
    url = raw.replace("memory", "timeless")
    assert take(root, url).added == 6
    one = some_clips()[0]
    fsspec.filesystem("memory").pipe_file(f"{raw.removeprefix('memory://')}/{one.path}", one.data[:-1] + b"\x7f")
    report = take(root, url)
    assert (report.conflicts, report.unchanged) == ([one.path], 5)


def test_a_recording_that_changes_meanwhile_is_a_problem(tmp_path: Path, raw: str, root: Root) -> None:
    upload(write_clips(tmp_path / "wavs"), raw)
    sources = list_sources(raw, speaker_pattern="{speaker}/{utterance}")
    one, two = some_clips()[0], some_clips()[1]
    fs, base = fsspec.filesystem("memory"), raw.removeprefix("memory://")
    fs.pipe_file(f"{base}/{one.path}", one.data[:-1] + b"\x7f")
    fs.rm_file(f"{base}/{two.path}")
    report = seal_sources(sources, Writer(root.reference))
    assert report.added == 4
    problems = {problem.path: problem.reason for problem in report.problems}
    assert problems == {
        one.path: "the file changed during the run; run it again",
        two.path: "the file does not exist, or was deleted during the run",
    }


def test_larger_ones_are_read_in_pieces(tmp_path: Path, raw: str, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "PIECE", 1000)
    monkeypatch.setattr(remote, "PIECE", 1000)
    monkeypatch.setattr(sealing, "PIECE", 1000)
    wavs = write_clips(tmp_path / "wavs")
    upload(wavs, raw)
    asked: list[int] = []
    cat = MemoryFileSystem.cat_file

    def counting(self: MemoryFileSystem, path: str, start: int, end: int) -> bytes:
        asked.append(end - start)
        return bytes(cat(self, path, start=start, end=end))

    monkeypatch.setattr(MemoryFileSystem, "cat_file", counting)
    assert take(root, raw).added == 6
    assert recordings_of(root.reference) == {
        str(path.relative_to(wavs)): path.read_bytes() for path in wavs.rglob("*.*")
    }
    assert asked.count(1000) >= sum(path.stat().st_size // 1000 for path in wavs.rglob("*.*"))


def test_from_a_zip_in_a_bucket(tmp_path: Path, raw: str, run: Run) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for one in some_clips():
            archive.writestr(f"voices/{one.path}", one.data)
        rows = "".join(f"{one.path},{one.speaker}\n" for one in some_clips()[:4])
        archive.writestr("voices/some.csv", f"path,speaker\n{rows}")
    with fsspec.open(f"{raw}/all.zip", "wb") as file:
        file.write(packed.getvalue())
    done = run("encrypt", f"zip://voices::{raw}/all.zip", tmp_path / "sealed", *PATTERN, "--json")
    assert done.code == 0, done.err
    assert done.json["added"] == 6
    sources = list_sources(f"zip://voices::{raw}/all.zip", manifest="some.csv", only_listed=True)
    assert column(sources, "path") == [one.path for one in some_clips()[:4]]


def test_the_command_takes_a_url(tmp_path: Path, raw: str, run: Run) -> None:
    upload(write_clips(tmp_path / "wavs"), raw)
    done = run("encrypt", raw, tmp_path / "sealed", *PATTERN)
    assert done.code == 0, done.err
    assert "6 added" in done.out
    assert run("verify", tmp_path / "sealed").code == 0
    assert "6 unchanged" in run("encrypt", f"{raw}/", "sealed", *PATTERN).out
    wrong = run("encrypt", f"{raw}/nothing", "sealed", *PATTERN)
    assert (wrong.code, "holds no recordings" in wrong.err) == (2, True)


# --------------------------------------------------------------------------------------------------------------- probe


def test_touch_is_not_read(tmp_path: Path, raw: str) -> None:
    """Listing opens no recording, unless a manifest cuts it."""
    assert len(list_sources(upload(touch(tmp_path / "t", "a.wav", "b.wav"), raw), one_subject="x")) == 2


ODD_NAMES = (
    "ok.wav",
    "ok.txt",
    ".take2.wav",
    ".git/a.wav",
    ".git/deep/b.wav",
    "x/.cache/c.wav",
    "x/.cache/d.txt",
    "x/.cache2/e.wav",
    "bad\\folder/1.wav",
    "bad\\folder/2.wav",
    "bad\\folder/words.txt",
    "bad\\folder/.3.wav",
    "bad\\folder/.git/4.wav",
    "bad\\folder/deep/5.wav",
    "left\\out/6.wav",
    "y/line\nend.wav",
    "y/old/7.wav",
    "z\x7f/what\\ever/8.unknown",
)


def test_names_keep_the_same_out_of_a_folder_a_url_and_a_tar(tmp_path: Path, raw: str) -> None:
    """One rule: hidden before left out, a companion before a bad name; a folder is named once for all that is in it."""
    folder, fs = tmp_path / "raw", fsspec.filesystem("memory")
    for name in ODD_NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"1")
        fs.pipe_file(f"{raw.removeprefix('memory://')}/{name}", b"1")
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        for name in ODD_NAMES:
            tar.add(folder / name, name)
    found = [tree_of(src, None, ("left*", "*/old/*")) for src in (folder, raw, f"tar://::{tmp_path}/all.tar")]
    for tree in found:
        assert tree.paths == ["ok.wav"]
        assert sorted(tree.hidden_names) == [
            ".git",
            ".take2.wav",
            "bad\\folder/.3.wav",
            "bad\\folder/.git",
            "x/.cache",
            "x/.cache2",
        ]
        assert (tree.files, tree.companions, tree.hidden, tree.left_out, tree.not_taken) == (18, 2, 8, 2, 5)
        assert tree.companion_names == ["ok.txt"]
        assert [problem.path for problem in tree.problems] == ["bad\\folder", "y/line\\x0aend.wav", "z\\x7f"]
        assert {problem.reason for problem in tree.problems} == {
            "its name holds a backslash or a control character; rename it"
        }
