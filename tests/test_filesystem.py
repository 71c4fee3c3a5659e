"""The fsspec filesystem: what tools read through it, what never reaches a disk, what instances and pickles hold."""

from __future__ import annotations

import gc
import io
import json
import multiprocessing
import pickle
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.fs
import pytest
import soundfile
from fsspec.core import url_to_fs
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.spec import AbstractFileSystem
from hypothesis import given
from hypothesis import strategies as st

from securedata.corpus.commit import Writer
from securedata.corpus.config import Reference, write_entry
from securedata.corpus.create import create_corpus
from securedata.corpus.index import Index
from securedata.corpus.opening import UnpinnedWarning
from securedata.corpus.schema import SCHEMA, rows_table
from securedata.errors import (
    AuthenticationFailed,
    ConfigError,
    InvalidArgument,
    IsAFolder,
    NoSuchPath,
    NotACorpus,
    NoTrustedKey,
    PinMismatch,
    PlaintextRefused,
    RowReplaced,
    SecuredataError,
)
from securedata.filesystem import SecuredataFileSystem, opened, tree
from tests.process import output_of

MTIME = 1_700_000_000_000_000_000


def audio(seed: int, format: str) -> bytes:
    out = io.BytesIO()
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, 4000)
    soundfile.write(out, samples, 16_000, format=format, subtype="PCM_16")
    return out.getvalue()


FILES = {
    "ann/a.wav": audio(1, "WAV"),
    "ann/b.flac": audio(2, "FLAC"),
    "bob/c.wav": audio(3, "WAV"),
    "bob/deep/down/d.bin": np.random.default_rng(4).bytes(700_001),
    "bob-2/x.wav": audio(5, "WAV"),  # "-" sorts before "/"
    "empty.bin": b"",
    "table.csv": b"a,b\n1,2\n3,4\n",
    "zoë/ü.wav": audio(6, "WAV"),
}
LONG = audio(7, "WAV")
SEGMENTS = {"bob/long.wav#t=0-1": (0, 16_000), "bob/long.wav#t=1-2": (16_000, 16_000)}
SEEN = FILES | dict.fromkeys(SEGMENTS, LONG)


@dataclass
class Voice:
    """A corpus of FILES, in the config as `name`."""

    reference: Reference
    writer: Writer = field(repr=False)
    root: Path

    def row(self, path: str, put: Any, **columns: Any) -> dict[str, Any]:
        return {
            "path": path,
            "object_id": put.object_id,
            "data_key": put.data_key,
            "sealed_size": put.sealed_size,
            "size": put.size,
            "source_sha256": put.sha256,
            "source_mtime_ns": MTIME,
            "format": "WAV",
            "sample_rate": 16_000,
            "channels": 1,
            "frames": 4000,
            "subjects": ["somebody"],
            "speaker": "somebody",
            "transcript": "every word",
            **columns,
        }

    def add(self, files: dict[str, bytes], **columns: Any) -> None:
        rows = [self.row(path, self.writer.put_object([content]), **columns) for path, content in files.items()]
        self.writer.commit(rows_table(rows), replace=True)

    def object_files(self) -> list[Path]:
        return sorted(path for path in (self.root / "objects").rglob("*") if path.is_file())


def make(root: Path, name: str, files: dict[str, bytes]) -> Voice:
    reference = create_corpus(str(root), name=name).reference
    voice = Voice(reference, Writer(reference), root)
    voice.add(files)
    return voice


@pytest.fixture
def voice(tmp_path: Path) -> Voice:
    voice = make(tmp_path / "sealed", "voice-a", FILES)
    put = voice.writer.put_object([LONG])
    rows = [voice.row(p, put, start=start, frames_in_segment=n) for p, (start, n) in SEGMENTS.items()]
    voice.writer.commit(rows_table(rows))
    return voice


@pytest.fixture
def fs(voice: Voice) -> SecuredataFileSystem:
    return fsspec.filesystem("securedata")


@pytest.fixture
def rooted(voice: Voice) -> SecuredataFileSystem:
    return fsspec.filesystem("securedata", root=str(voice.root))


def named(*paths: str) -> list[str]:
    return [f"voice-a/{path}" for path in paths]


def unwraps(reference: Reference) -> int:
    return opened.corpus_of(reference).counters.unwraps


# ----------------------------------------------------------------------------------------------------------------- URLs


def test_fsspec_knows_the_scheme() -> None:
    assert fsspec.get_filesystem_class("securedata") is SecuredataFileSystem


@pytest.mark.parametrize("path", SEEN)
def test_open_a_url(voice: Voice, path: str) -> None:
    with fsspec.open(f"securedata://voice-a/{path}") as file:
        assert file.read() == SEEN[path]


def test_open_files_expands_a_pattern(voice: Voice) -> None:
    files = fsspec.open_files("securedata://voice-a/*/*.wav")
    assert [file.path for file in files] == named("ann/a.wav", "bob-2/x.wav", "bob/c.wav", "zoë/ü.wav")
    with files as handles:
        assert [handle.read() for handle in handles] == [FILES[file.path.partition("/")[2]] for file in files]


def test_url_to_fs_and_back(voice: Voice) -> None:
    url = "securedata://voice-a/ann/a.wav"
    fs, path = url_to_fs(url)
    assert path == "voice-a/ann/a.wav"
    assert fs.unstrip_protocol(path) == url
    assert fs.cat_file(url) == fs.cat_file(path) == FILES["ann/a.wav"]


def test_with_a_root_urls_are_relative_to_it(voice: Voice, rooted: SecuredataFileSystem) -> None:
    url = "securedata://ann/a.wav"
    assert rooted.cat_file(url) == rooted.cat_file("ann/a.wav") == FILES["ann/a.wav"]
    assert rooted.unstrip_protocol("ann/a.wav") == url
    with fsspec.open(url, root=str(voice.root)) as file:
        assert file.read() == FILES["ann/a.wav"]


@pytest.mark.parametrize("spelling", ["voice-a", "securedata://voice-a", "{path}", "file://{path}"])
def test_root_takes_every_spelling(voice: Voice, spelling: str) -> None:
    fs = fsspec.filesystem("securedata", root=spelling.format(path=voice.root))
    assert fs.ls("ann", detail=False) == ["ann/a.wav", "ann/b.flac"]


def test_without_a_config(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECUREDATA_CONFIG", str(voice.root / "none.toml"))
    kms, pin = voice.reference.kms, str(voice.reference.pins[0])
    fs = fsspec.filesystem("securedata", root=str(voice.root), kms=kms[0], pin=pin)
    assert fs.cat_file("ann/a.wav") == FILES["ann/a.wav"]
    assert fsspec.filesystem("securedata", root=str(voice.root), kms=list(kms), pin=[pin]).exists("ann/a.wav")
    with pytest.raises(ConfigError, match="voice-a"):
        fsspec.open("securedata://voice-a/ann/a.wav").open()


def test_options_from_the_environment(voice: Voice, tmp_path: Path) -> None:
    # what a tool that passes no options, such as datasets.Audio, is configured with
    program = "import fsspec; print(len(fsspec.open('securedata://ann/a.wav').open().read()))"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FSSPEC_SECUREDATA_ROOT", str(voice.root))
        printed = output_of([sys.executable, "-W", "error", "-c", program], tmp_path)
    assert int(printed) == len(FILES["ann/a.wav"])


def test_a_relative_root_outlives_the_working_directory(
    voice: Voice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make(tmp_path / "elsewhere" / "sealed", "other", {"other.bin": b"other"})
    monkeypatch.chdir(tmp_path)
    here = fsspec.filesystem("securedata", root="./sealed")
    assert str(tmp_path) in here.to_json()
    monkeypatch.chdir(other.root.parent)
    assert fsspec.filesystem("securedata", root="./sealed").find("") == ["other.bin"]
    assert pickle.loads(pickle.dumps(here)).cat_file("table.csv") == FILES["table.csv"]


def test_decomposed_names_are_found(fs: SecuredataFileSystem) -> None:
    assert fs.cat_file("voice-a/zoe\u0308/u\u0308.wav") == FILES["zoë/ü.wav"]


# -------------------------------------------------------------------------------------------------------------- listing


def test_the_top_lists_names_and_asks_no_kms(voice: Voice, tmp_path: Path, fs: SecuredataFileSystem) -> None:
    # a corpus whose KMS is away must not be in the way of one that is read
    write_entry("away", Reference(str(tmp_path / "away"), "away", ("local:///no/such.kek",)))
    assert fs.ls("", detail=False) == fs.glob("*") == ["away", "voice-a"]
    assert fs.find("", maxdepth=1, withdirs=True) == ["away", "voice-a"]
    assert fs.ls("/")[1] == fs.info("voice-a") == {"name": "voice-a", "size": 0, "type": "directory"}
    assert fs.isdir("")
    assert fs.isdir("away")
    assert not fs.exists("nobody/x.wav")
    assert fs.glob("voice-?/ann/*") == named("ann/a.wav", "ann/b.flac")
    assert sorted(fs.glob("[v]*/ann/*", detail=True)) == named("ann/a.wav", "ann/b.flac")
    with pytest.raises(NotACorpus):
        fs.find("")


def test_ls(fs: SecuredataFileSystem) -> None:
    top = named("ann", "bob", "bob-2", "empty.bin", "table.csv", "zoë")
    assert fs.ls("securedata://voice-a", detail=False) == fs.ls("voice-a/", detail=False) == top
    assert fs.ls("voice-a/bob", detail=False) == named("bob/c.wav", "bob/deep", *(s for s in sorted(SEGMENTS)))
    assert fs.ls("voice-a/ann", detail=True) == [fs.info(path) for path in named("ann/a.wav", "ann/b.flac")]
    assert fs.ls("voice-a/ann/a.wav") == [fs.info("voice-a/ann/a.wav")]
    assert fs.ls("voice-a/ann/a.wav", detail=False) == named("ann/a.wav")


def test_ls_with_a_root(rooted: SecuredataFileSystem) -> None:
    assert rooted.ls("", detail=False) == ["ann", "bob", "bob-2", "empty.bin", "table.csv", "zoë"]
    assert rooted.ls("/bob/deep", detail=False) == ["bob/deep/down"]
    assert rooted.info("") == {"name": "", "size": 0, "type": "directory"}


def test_info_is_about_the_plaintext(fs: SecuredataFileSystem) -> None:
    assert fs.info("voice-a/ann/b.flac") == {
        "name": "voice-a/ann/b.flac",
        "size": len(FILES["ann/b.flac"]),
        "type": "file",
        "format": "WAV",
        "sample_rate": 16_000,
        "channels": 1,
        "frames": 4000,
        "mtime": MTIME / 1e9,
    }
    assert fs.size("voice-a/empty.bin") == 0
    assert fs.modified("voice-a/ann/a.wav") == datetime.fromtimestamp(MTIME / 1e9, UTC)


def test_listings_hold_nothing_about_people(fs: SecuredataFileSystem) -> None:
    # tools write what info() says into logs, caches and task graphs
    shown = repr(fs.ls("voice-a/ann")) + repr(fs.find("voice-a", detail=True)) + repr(fs.info("voice-a/ann/a.wav"))
    assert "somebody" not in shown
    assert "every word" not in shown


def test_find_and_walk(fs: SecuredataFileSystem, rooted: SecuredataFileSystem) -> None:
    assert fs.find("voice-a") == sorted(named(*SEEN))
    assert fs.find("") == sorted(named(*SEEN))
    assert rooted.find("") == sorted(SEEN)
    assert fs.find("voice-a/bob/deep", withdirs=True) == named("bob/deep", "bob/deep/down", "bob/deep/down/d.bin")
    assert fs.find("voice-a/ann/a.wav") == named("ann/a.wav")
    assert fs.find("voice-a/nothing") == []
    with pytest.raises(InvalidArgument, match="maxdepth"):
        fs.find("voice-a", maxdepth=0)
    details = fs.find("voice-a", detail=True)
    assert details == {path: fs.info(path) for path in sorted(named(*SEEN))}
    walked = {path: (dirs, files) for path, dirs, files in rooted.walk("")}
    assert walked["bob"] == (["deep"], ["c.wav", *(s.removeprefix("bob/") for s in sorted(SEGMENTS))])
    assert walked["bob/deep"] == (["down"], [])
    assert set(walked) == {"", "ann", "bob", "bob/deep", "bob/deep/down", "bob-2", "zoë"}


@pytest.mark.parametrize("maxdepth", [1, 2, 3, None])
@pytest.mark.parametrize("start", ["", "voice-a", "voice-a/bob"])
def test_find_agrees_with_fsspecs_own(fs: SecuredataFileSystem, start: str, maxdepth: int | None) -> None:
    for withdirs in (False, True):
        own = AbstractFileSystem.find(fs, start, maxdepth, withdirs, detail=True)
        assert fs.find(start, maxdepth, withdirs, detail=True) == own
        assert fs.find(start, maxdepth, withdirs) == list(own)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("ann/*", ["ann/a.wav", "ann/b.flac"]),
        ("*/?.wav", ["ann/a.wav", "bob-2/x.wav", "bob/c.wav", "zoë/ü.wav"]),
        ("bob/**/*.bin", ["bob/deep/down/d.bin"]),
        ("**/[cd].*", ["bob/c.wav", "bob/deep/down/d.bin"]),
        ("bob/*/", ["bob/deep"]),
        ("bob*", ["bob", "bob-2"]),
        ("ann/a.wav", ["ann/a.wav"]),
        ("nothing/*", []),
    ],
)
def test_glob(fs: SecuredataFileSystem, rooted: SecuredataFileSystem, pattern: str, found: list[str]) -> None:
    assert rooted.glob(pattern) == found
    assert fs.glob(f"securedata://voice-a/{pattern}") == named(*found)
    assert fs.glob(f"voice-a/{pattern}", detail=True) == {path: fs.info(path) for path in named(*found)}


def test_du(fs: SecuredataFileSystem) -> None:
    assert fs.du("voice-a/ann") == len(FILES["ann/a.wav"]) + len(FILES["ann/b.flac"])
    assert fs.du("voice-a/ann", total=False)["voice-a/ann/a.wav"] == len(FILES["ann/a.wav"])


def test_segments_show_the_whole_object(fs: SecuredataFileSystem) -> None:
    one, two = (f"voice-a/{path}" for path in SEGMENTS)
    assert fs.cat_file(one) == fs.cat_file(two) == LONG
    assert fs.info(one)["size"] == len(LONG)
    assert fs.ukey(one) == fs.ukey(two)


def _index(paths: list[str]) -> Index:
    rows = [
        {"path": path, "object_id": i.to_bytes(16, "big"), "data_key": bytes(32), "source_sha256": bytes(32)}
        for i, path in enumerate(paths)
    ]
    return Index.build([lambda: rows_table(rows)], ("path", "subjects", *opened.COLUMNS), None)


def _children(paths: set[str], folder: str) -> dict[str, bool]:
    """What is in a folder, by looking at every path: is it a file?"""
    prefix = folder + "/" if folder else ""
    below = [path.removeprefix(prefix).split("/") for path in paths if path.startswith(prefix)]
    return {prefix + parts[0]: len(parts) == 1 for parts in sorted(below, key=len, reverse=True)}


PATH = st.lists(st.sampled_from(["a", "a-", "a.", "a0", "é"]), min_size=1, max_size=3).map("/".join)


@given(st.sets(PATH, min_size=1, max_size=60), st.integers(1, 4))
def test_folders_of_any_paths(paths: set[str], first: int) -> None:
    listed = list(paths)
    index = _index(listed)
    folders = {path.rpartition("/")[0] for path in paths} | {""}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree, "_FIRST", first)
        patch.setattr(tree, "_BATCH", 5)
        patch.setattr(tree, "_BULK", 4)
        for folder in folders:
            found = list(tree.children(index, folder))
            wanted = _children(paths, folder)
            # a path may be both, a file and a folder of others
            assert {name for name, _ in found} == set(wanted)
            assert all(row is None or listed[row] == name for name, row in found)
            assert len(found) == len(set(found))
            for depth in (1, 2, None):
                passed: set[str] = set()
                files = [
                    (path, int(row))
                    for batch, rows in tree.below(index, folder, depth, passed)
                    for path, row in zip(batch, rows, strict=True)
                ]
                prefix = folder + "/" if folder else ""
                levels = {path: path.removeprefix(prefix).count("/") + 1 for path in paths if path.startswith(prefix)}
                assert {path for path, _ in files} == {p for p, n in levels.items() if depth is None or n <= depth}
                assert all(listed[row] == path for path, row in files)
                above = {p.rsplit("/", cut)[0] for p, n in levels.items() for cut in range(1, n)}
                assert passed == {p for p in above if depth is None or p.removeprefix(prefix).count("/") < depth}


@pytest.mark.quiet
def test_a_million_rows_are_listed_fast(monkeypatch: pytest.MonkeyPatch, voice: Voice) -> None:
    n, speakers = 1_000_000, 1000
    numbers = np.arange(n)
    speaker = pa.array([f"spk{i:04d}/" for i in range(speakers)], pa.large_string()).take(pa.array(numbers % speakers))
    paths = pa.compute.binary_join_element_wise(
        speaker, pa.array(numbers).cast(pa.large_string()), pa.scalar("", pa.large_string())
    )
    columns = {
        "path": paths,
        "object_id": pa.array(numbers.astype(">u8").repeat(2).view("S16"), pa.binary(16)),
        "data_key": pa.array([bytes(32)], pa.binary(32)).take(pa.array(np.zeros(n, int))),
        "size": pa.array(numbers),
    }
    one = rows_table([{"path": "x", "object_id": bytes(16), "data_key": bytes(32), "source_sha256": bytes(32)}])
    zeros = pa.array(np.zeros(n, int))
    table = pa.table([columns.get(name, one.column(name).take(zeros)) for name in SCHEMA.names], schema=SCHEMA)
    index = Index.build([lambda: table], ("path", "subjects", *opened.COLUMNS), None)
    corpus = opened.corpus_of(voice.reference)
    monkeypatch.setattr(corpus, "index", index)
    fs = fsspec.filesystem("securedata", root="voice-a")

    def timed(call: Callable[[], Any]) -> tuple[float, Any]:
        begun = time.process_time()  # CPU seconds: others may be busy on the same machine
        result = call()
        return time.process_time() - begun, result

    fs.ls("")  # sorts once
    gc.collect()
    before = len(gc.get_objects())
    seconds, listed = timed(lambda: fs.ls("", detail=False))
    assert len(listed) == speakers
    assert seconds < 1
    assert timed(lambda: fs.info("spk0007/7"))[0] < 0.05
    assert timed(lambda: fs.ls("spk0500"))[0] < 0.5
    assert len(gc.get_objects()) - before < 5000
    seconds, listed = timed(lambda: fs.glob("spk*/77777?"))
    assert len(listed) == 10
    assert seconds < 15


# -------------------------------------------------------------------------------------------------------------- reading

D = FILES["bob/deep/down/d.bin"]
D_PATH = "voice-a/bob/deep/down/d.bin"


@pytest.mark.parametrize("cache_type", ["readahead", "none", "bytes", "first", "all", "blockcache", "background"])
@pytest.mark.parametrize("block_size", [None, 1000])
def test_seek_and_read(fs: SecuredataFileSystem, cache_type: str, block_size: int | None) -> None:
    random = np.random.default_rng(len(cache_type))
    memory = io.BytesIO(D)
    with fs.open(D_PATH, cache_type=cache_type, block_size=block_size) as file:
        assert file.size == len(D)
        for _ in range(40):
            whence = int(random.integers(3))
            base = (0, file.tell(), len(D))[whence]
            offset = int(random.integers(-base, len(D) + 1000 - base))
            assert file.seek(offset, whence) == memory.seek(offset, whence)
            length = int(random.integers(0, 70_000))
            assert file.read(length) == memory.read(length)
        file.seek(-10, 2)
        buffer = bytearray(20)
        assert file.readinto(buffer) == 10
        assert buffer[:10] == D[-10:]


def test_a_range_fetches_no_more_than_it_needs(voice: Voice, fs: SecuredataFileSystem) -> None:
    corpus = opened.corpus_of(voice.reference)
    before = corpus.counters.bytes
    assert fs.cat_file(D_PATH, 100_000, 100_010) == D[100_000:100_010]
    assert corpus.counters.bytes - before == 10


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (None, None),
        (0, 10),
        (5, None),
        (None, 7),
        (-10, None),
        (-10, -3),
        (None, -1),
        (20_000, 40_000),
        (10, 5),
        (-1, 0),
        (10**9, None),
        (0, 10**9),
        (-(10**9), 10),
    ],
)
def test_cat_file_cuts_like_a_slice(fs: SecuredataFileSystem, start: int | None, end: int | None) -> None:
    got = fs.cat_file(D_PATH, start, end)
    assert got == fs.read_bytes(D_PATH, start, end) == D[start:end]
    assert type(got) is bytes
    assert fs.cat_file("voice-a/empty.bin", start, end) == b""


def test_cat_and_cat_ranges(fs: SecuredataFileSystem) -> None:
    assert fs.cat("voice-a/table.csv") == FILES["table.csv"]
    assert fs.cat(named("ann/a.wav", "ann/b.flac")) == {f"voice-a/{p}": FILES[p] for p in ("ann/a.wav", "ann/b.flac")}
    assert fs.cat("voice-a/ann", recursive=True, on_error="omit") == {
        f"voice-a/{path}": FILES[path] for path in ("ann/a.wav", "ann/b.flac")
    }
    ranges = fs.cat_ranges([D_PATH, D_PATH, "voice-a/nothing"], [0, -5, 0], [5, None, 5])
    assert ranges[:2] == [D[:5], D[-5:]]
    assert isinstance(ranges[2], NoSuchPath)


def test_head_tail_text_and_blocks(fs: SecuredataFileSystem) -> None:
    assert fs.head(D_PATH, 10) == D[:10]
    assert fs.tail(D_PATH, 10) == D[-10:]
    assert fs.read_text("voice-a/table.csv") == FILES["table.csv"].decode()
    assert fs.read_block("voice-a/table.csv", 1, 4, b"\n") == b"1,2\n"
    with fs.open("voice-a/table.csv", "rt") as file:
        assert list(file) == ["a,b\n", "1,2\n", "3,4\n"]
    with fsspec.open("securedata://voice-a/table.csv", "r") as file:
        assert file.readline() == "a,b\n"


def test_compressed(voice: Voice, fs: SecuredataFileSystem) -> None:
    import gzip

    voice.add({"words.txt.gz": gzip.compress(b"one\ntwo\n")})
    with fsspec.open("securedata://voice-a/words.txt.gz", compression="infer") as file:
        assert file.read() == b"one\ntwo\n"


def test_mapper(fs: SecuredataFileSystem) -> None:
    mapper = fs.get_mapper("securedata://voice-a/ann")
    assert {key: mapper[key] for key in mapper} == {"a.wav": FILES["ann/a.wav"], "b.flac": FILES["ann/b.flac"]}
    assert len(mapper) == 2
    assert "a.wav" in mapper
    assert "c.wav" not in mapper
    with pytest.raises(KeyError):
        mapper["c.wav"]
    assert mapper.getitems(["a.wav", "none"], on_error="omit") == {"a.wav": FILES["ann/a.wav"]}
    with pytest.raises(InvalidArgument, match="securedata encrypt"):
        mapper["d.wav"] = b"x"


def test_soundfile_reads_a_file(voice: Voice) -> None:
    with fsspec.open("securedata://voice-a/ann/b.flac") as file:
        samples, rate = soundfile.read(file, dtype="int16")
    wanted, _ = soundfile.read(io.BytesIO(FILES["ann/b.flac"]), dtype="int16")
    assert rate == 16_000
    np.testing.assert_array_equal(samples, wanted)


def test_pyarrow(fs: SecuredataFileSystem) -> None:
    arrow = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fs))
    with arrow.open_input_file(D_PATH) as file:
        file.seek(1000)
        assert file.read(50) == D[1000:1050]
        assert file.size() == len(D)
    with arrow.open_input_stream("voice-a/table.csv") as stream:
        assert pyarrow.csv.read_csv(stream).to_pydict() == {"a": [1, 3], "b": [2, 4]}
    found = arrow.get_file_info(pyarrow.fs.FileSelector("voice-a/bob", recursive=True))
    assert {info.path: info.type for info in found}[D_PATH] == pyarrow.fs.FileType.File
    assert {info.path: info.type for info in found}["voice-a/bob/deep"] == pyarrow.fs.FileType.Directory
    (info,) = arrow.get_file_info(["voice-a/ann/a.wav"])
    assert (info.size, info.mtime) == (len(FILES["ann/a.wav"]), datetime.fromtimestamp(MTIME / 1e9, UTC))
    assert arrow.get_file_info("voice-a/nothing").type == pyarrow.fs.FileType.NotFound
    assert pyarrow.csv.read_csv(fs.open("voice-a/table.csv")).num_rows == 2


def test_dirfs_over_a_corpus(fs: SecuredataFileSystem) -> None:
    below = DirFileSystem("voice-a/bob", fs)
    assert below.ls("deep", detail=False) == ["deep/down"]
    assert below.cat_file("c.wav") == FILES["bob/c.wav"]
    with pytest.raises(PlaintextRefused):
        below.get("c.wav", "/dev/null")


def test_an_object_that_was_changed(voice: Voice, fs: SecuredataFileSystem) -> None:
    for path in voice.object_files():
        sealed = bytearray(path.read_bytes())
        sealed[-1] ^= 1
        path.chmod(0o600)
        path.write_bytes(sealed)
    with pytest.raises(AuthenticationFailed), fs.open("voice-a/ann/a.wav") as file:
        file.read()
    with pytest.raises(AuthenticationFailed):
        fs.cat_file("voice-a/ann/a.wav")


# --------------------------------------------------------------------------------------------------- what is not there


def test_missing_paths(fs: SecuredataFileSystem, rooted: SecuredataFileSystem) -> None:
    for call in (fs.info, fs.ls, fs.open, fs.cat_file, fs.ukey, fs.checksum, fs.modified, fs.head):
        with pytest.raises(FileNotFoundError) as raised:
            call("voice-a/ann/anna-from-cork.wav")
        assert type(raised.value) is NoSuchPath
        assert raised.value.path == "voice-a/ann/anna-from-cork.wav"
        assert "cork" not in str(raised.value)
        assert "invalidate_cache" in str(raised.value)
    assert not fs.exists("voice-a/ann/c.wav")
    assert not fs.isfile("voice-a/ann/c.wav")
    assert not fs.isdir("voice-a/an")
    with pytest.raises(NoSuchPath):  # with a root, a name is not part of a path
        rooted.info("voice-a/ann/a.wav")


def test_a_folder_is_no_file(fs: SecuredataFileSystem) -> None:
    for path in ("voice-a/bob/deep", "voice-a", ""):
        for call in (fs.open, fs.cat_file, fs.ukey):
            with pytest.raises(IsADirectoryError) as raised:
                call(path)
            assert type(raised.value) is IsAFolder
        assert fs.isdir(path)
        assert not fs.isfile(path)
        assert fs.exists(path)


def test_a_path_that_is_both(voice: Voice, fs: SecuredataFileSystem) -> None:
    voice.add({"both": b"file", "both/below": b"below"})
    assert fs.cat_file("voice-a/both") == b"file"
    assert fs.info("voice-a/both")["type"] == "file"
    assert fs.ls("voice-a/both", detail=False) == named("both", "both/below")
    assert fs.find("voice-a/both") == named("both", "both/below")


def test_an_unknown_name(voice: Voice, fs: SecuredataFileSystem) -> None:
    for call in (fs.info, fs.ls, fs.open, fs.find, fs.cat_file):
        with pytest.raises(ConfigError, match=r"voice-b.*known names: voice-a"):
            call("securedata://voice-b/ann/a.wav")
    with pytest.raises(ConfigError, match="voice-b"):
        fs.glob("voice-b/*")
    assert not fs.exists("voice-b")
    with pytest.raises(ConfigError):
        fsspec.filesystem("securedata", root="voice-b")


def test_an_empty_corpus(tmp_path: Path) -> None:
    create_corpus(str(tmp_path / "none"), name="none")
    fs = fsspec.filesystem("securedata")
    assert fs.ls("none") == fs.find("none") == fs.glob("none/**/*.wav") == []
    assert fs.isdir("none")


# Every cause keeps its class, also where fsspec would call it "not there".
def _other_key(voice: Voice, fs: Callable[..., SecuredataFileSystem]) -> SecuredataFileSystem:
    create_corpus(str(voice.root.parent / "other"), name="other")
    key = voice.reference.kms[0].replace("voice-a", "other")
    return fs(root=str(voice.root), kms=key)


def _other_pin(voice: Voice, fs: Callable[..., SecuredataFileSystem]) -> SecuredataFileSystem:
    other = create_corpus(str(voice.root.parent / "other"), name="other").reference
    return fs(root=str(voice.root), pin=str(other.pins[0]))


def _no_key(voice: Voice, fs: Callable[..., SecuredataFileSystem]) -> SecuredataFileSystem:
    return fs(root=str(voice.root), kms=f"local://{voice.root.parent}/none.kek")


@pytest.mark.parametrize(
    ("break_it", "error"),
    [
        (_other_key, NoTrustedKey),
        (_other_pin, PinMismatch),
        (_no_key, SecuredataError),
    ],
)
def test_exists_hides_no_failure(voice: Voice, break_it: Any, error: type[SecuredataError]) -> None:
    fs = break_it(voice, lambda **options: fsspec.filesystem("securedata", **options))
    for call in (fs.exists, fs.isfile, fs.isdir, fs.info, fs.open, fs.find, fs.ls):
        with pytest.raises(error):
            call("ann/a.wav")


# ------------------------------------------------------------------------------------------------------ other versions


def test_invalidate_cache_opens_the_current_head(voice: Voice, fs: SecuredataFileSystem) -> None:
    assert not fs.exists("voice-a/new.bin")
    other = fsspec.filesystem("securedata", root="voice-a")
    voice.add({"new.bin": b"new"})
    assert not fs.exists("voice-a/new.bin")
    fs.invalidate_cache("voice-a/ann")
    assert fs.cat_file("voice-a/new.bin") == b"new"
    assert other.cat_file("new.bin") == b"new"
    voice.writer.commit(remove=["new.bin"])
    other.invalidate_cache()
    assert not fs.exists("voice-a/new.bin")


def test_an_open_file_stays_its_object(voice: Voice, fs: SecuredataFileSystem) -> None:
    with fs.open("voice-a/ann/b.flac", cache_type="none") as file:
        assert file.read(10) == FILES["ann/b.flac"][:10]
        # rows before it: numbers change
        voice.writer.commit(remove=["ann/a.wav"])
        fs.invalidate_cache()
        assert file.read() == FILES["ann/b.flac"][10:]


def test_ukey_names_the_object(voice: Voice, fs: SecuredataFileSystem) -> None:
    path = "voice-a/ann/a.wav"
    before, checksum = fs.ukey(path), fs.checksum(path)
    assert int(before, 16) == checksum
    assert fs.ukey("voice-a/ann/b.flac") != before
    voice.add({"new.bin": b"new"})
    fs.invalidate_cache()
    assert fs.ukey(path) == before
    # the same bytes sealed anew are another object: a key that told so would be a digest of the plaintext
    voice.writer.commit(remove=["ann/a.wav"])
    voice.add({"ann/a.wav": FILES["ann/a.wav"]})
    fs.invalidate_cache()
    assert fs.ukey(path) != before


# ---------------------------------------------------------------------------------------- instances, pickles, processes


def test_instances_and_threads_share_one_opening(voice: Voice) -> None:
    def read(_: int) -> bytes:
        with fsspec.open("securedata://voice-a/ann/a.wav") as file:
            return file.read()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, range(32))) == {FILES["ann/a.wav"]}
    assert unwraps(voice.reference) == 1
    fsspec.filesystem("securedata", root="voice-a", skip_instance_cache=True).ls("")
    assert unwraps(voice.reference) == 1


def test_a_missing_pin_warns_once(voice: Voice, tmp_path: Path) -> None:
    write_entry("loose", Reference(str(voice.root), "loose", voice.reference.kms))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            fs = fsspec.filesystem("securedata", skip_instance_cache=True)
            fs.cat_file("loose/ann/a.wav")
            fs.ls("loose")
        fs.invalidate_cache()
    assert [warning.category for warning in caught] == [UnpinnedWarning]
    assert str(voice.reference.pins[0]) in str(caught[0].message)


def test_to_json_and_back(voice: Voice) -> None:
    fs = fsspec.filesystem("securedata", root=str(voice.root), kms=list(voice.reference.kms), profile="trainer")
    fs.cat_file("ann/a.wav")
    content = json.loads(fs.to_json())
    assert content == {
        "cls": "securedata.filesystem.spec:SecuredataFileSystem",
        "protocol": "securedata",
        "args": [],
        "root": str(voice.root),
        "kms": list(voice.reference.kms),
        "profile": "trainer",
    }
    again = fsspec.AbstractFileSystem.from_json(fs.to_json())
    assert again.cat_file("ann/a.wav") == FILES["ann/a.wav"]


def _secrets(voice: Voice) -> dict[str, bytes]:
    corpus = opened.corpus_of(voice.reference)
    return {
        "data key": bytes(corpus.index.key(corpus.find("ann/a.wav"))),
        "corpus secret": voice.writer.head.secret,
        "key file": Path(voice.reference.kms[0].removeprefix("local://")).read_bytes()[-32:],
        "transcript": b"every word",
        "plaintext": FILES["ann/a.wav"][44:76],
    }


def test_pickles_carry_references_only(voice: Voice, fs: SecuredataFileSystem) -> None:
    fs.cat_file("voice-a/ann/a.wav")
    file = fs.open("voice-a/ann/a.wav")
    file.read(100)
    opener = fsspec.open("securedata://voice-a/ann/a.wav")
    mapper = fs.get_mapper("voice-a")
    for thing in (fs, file, opener, mapper, fs.__dict__["storage_options"]):
        pickled = pickle.dumps(thing)
        assert len(pickled) < 1000
        for name, secret in _secrets(voice).items():
            assert secret not in pickled, name
    assert pickle.loads(pickle.dumps(fs)) is fs  # fsspec's instance cache
    again = pickle.loads(pickle.dumps(file))
    assert again.tell() == 100
    assert again.read() == FILES["ann/a.wav"][100:]
    assert (again.cache.name, again.blocksize) == (file.cache.name, file.blocksize)
    assert again == file
    with pickle.loads(pickle.dumps(opener)) as other:
        assert other.read() == FILES["ann/a.wav"]


def test_a_pickled_file_that_was_replaced(voice: Voice, fs: SecuredataFileSystem) -> None:
    pickled = pickle.dumps(fs.open("voice-a/ann/a.wav"))
    voice.add({"ann/a.wav": b"another recording"})
    fs.invalidate_cache()
    with pytest.raises(RowReplaced, match="replaced since") as raised:
        pickle.loads(pickled)
    assert raised.value.path == "voice-a/ann/a.wav"


def test_reprs_hold_no_path_and_no_plaintext(fs: SecuredataFileSystem) -> None:
    with fs.open("voice-a/ann/a.wav") as file:
        file.read(1000)
        for text in (repr(file), str(file)):
            assert text == f"<SecuredataFile of {len(FILES['ann/a.wav'])} bytes, at 1000>"
    assert "voice-a" not in repr(fs)


def _child(read: Callable[[], bytes], queue: Any) -> None:
    content = read()
    (corpus,) = [slot.corpus for slot in opened._slots.values() if slot.corpus]
    queue.put((content, corpus.counters.unwraps))


def test_a_forked_process_reads_on_with_its_parents_opening(voice: Voice, fs: SecuredataFileSystem) -> None:
    file = fs.open("voice-a/bob/c.wav")
    assert unwraps(voice.reference) == 1
    context = multiprocessing.get_context("fork")
    readers = [
        lambda: fs.cat_file("voice-a/ann/a.wav"),  # the parent's instance
        lambda: fsspec.open("securedata://voice-a/ann/a.wav").open().read(),  # a new one: fsspec's cache is emptied
        file.read,
    ]
    for read, wanted in zip(readers, ("ann/a.wav", "ann/a.wav", "bob/c.wav"), strict=True):
        queue = context.SimpleQueue()
        child = context.Process(target=_child, args=(read, queue))
        child.start()
        assert queue.get() == (FILES[wanted], 0)  # it asked no KMS
        child.join()
        assert child.exitcode == 0


def test_a_fork_while_another_thread_opens(voice: Voice, fs: SecuredataFileSystem) -> None:
    # the child must not wait for a lock whose holder it does not have
    slot = opened._slot(voice.reference)
    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with slot.lock:
            held.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        held.wait(60)
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        child = context.Process(target=_child, args=(lambda: fs.cat_file("voice-a/ann/a.wav"), queue))
        child.start()
        child.join(30)
        hung = child.is_alive()
        if hung:
            child.kill()
            child.join()
        assert not hung
        assert queue.get() == (FILES["ann/a.wav"], 1)
    finally:
        leave.set()
        thread.join()


def _read_elsewhere(file: Any, fs: Any) -> tuple[bytes, bytes]:
    return file.read(), fs.cat_file("voice-a/ann/b.flac")


def test_a_spawned_process_opens_for_itself(fs: SecuredataFileSystem) -> None:
    file = fs.open("voice-a/ann/a.wav")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_read_elsewhere, (file, fs)) == (FILES["ann/a.wav"], FILES["ann/b.flac"])


# -------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "option",
    ["key", "secret", "token", "password", "aws_secret_access_key", "session_token", "KMS_TOKEN", "credentials"],
)
def test_credentials_are_no_options(voice: Voice, option: str) -> None:
    for make_fs in (
        lambda: fsspec.filesystem("securedata", root="voice-a", **{option: "hunter2"}),
        lambda: fsspec.open("securedata://voice-a/ann/a.wav", **{option: "hunter2"}),
    ):
        with pytest.raises(InvalidArgument, match=r"profile or a role.*config") as raised:
            make_fs()
        assert "hunter2" not in str(raised.value)
    assert all("hunter2" not in fs.to_json() for fs in SecuredataFileSystem._cache.values())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"root": "s3://me:hunter2@bucket/x"}, "user or password"),
        ({"root": "voice-a", "kms": "hcvault://me:hunter2@host/transit/keys/x"}, "user or password"),
        ({"root": "voice-a", "kms": ["local:///a", "hcvault://hunter2@host/transit/keys/x"]}, "user or password"),
        ({"root": "voice-a", "client_kwargs": {"x": "hunter2"}}, "unknown option client_kwargs; known are root"),
        ({"root": "voice-a", "profile": {"x": "hunter2"}}, "profile must be text"),
    ],
)
def test_other_options_are_refused(voice: Voice, options: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidArgument, match=match) as raised:
        fsspec.filesystem("securedata", **options)
    assert "hunter2" not in str(raised.value)


def test_options_of_a_root_reach_its_reference(voice: Voice) -> None:
    fs = fsspec.filesystem("securedata", root="voice-a", profile="trainer", region="eu-west-1")
    assert fs._split("x")[0].options == {"profile": "trainer", "region": "eu-west-1"}


def test_a_chained_url_says_what_to_write_instead(voice: Voice) -> None:
    with pytest.raises(InvalidArgument, match="securedata://NAME"):
        fsspec.open(f"securedata://ann/a.wav::file://{voice.root}")


def test_writing_names_the_tool(voice: Voice, fs: SecuredataFileSystem, tmp_path: Path) -> None:
    local = tmp_path / "new.wav"
    local.write_bytes(b"new")
    path, other = "voice-a/new.wav", "voice-a/ann/a.wav"
    before = voice.writer.refresh().generation
    for write in (
        *(lambda mode=mode: fs.open(path, mode) for mode in ("wb", "w", "ab", "xb", "r+b", "rb+")),
        lambda: fs._open(path, "wb"),
        lambda: fsspec.open(f"securedata://{path}", "wb").open(),
        lambda: fs.pipe(path, b"new"),
        lambda: fs.pipe_file(path, b"new"),
        lambda: fs.write_bytes(path, b"new"),
        lambda: fs.write_text(path, "new"),
        lambda: fs.put(str(local), path),
        lambda: fs.put_file(str(local), path),
        lambda: fs.upload(str(local), path),
        lambda: fs.touch(path),
        lambda: fs.mkdir("voice-a/new"),
        lambda: fs.makedirs("voice-a/new"),
        lambda: fs.mkdirs("voice-a/new"),
        lambda: fs.rmdir("voice-a/ann"),
        lambda: fs.rm(other),
        lambda: fs.rm("voice-a", recursive=True),
        lambda: fs.rm_file(other),
        lambda: fs.delete(other),
        lambda: fs.mv(other, path),
        lambda: fs.rename(other, path),
        lambda: fs.cp(other, path),
        lambda: fs.copy(other, path),
        lambda: fs.cp_file(other, path),
        lambda: pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fs)).open_output_stream(path),
    ):
        with pytest.raises(InvalidArgument, match="securedata encrypt"):
            write()
    assert voice.writer.refresh().generation == before
    assert fs.find("voice-a") == sorted(named(*SEEN))


def plaintext_in(folder: Path) -> list[Path]:
    """Files in which a piece of a recording stands."""
    pieces = [content[100:132] for content in SEEN.values() if len(content) > 200]
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            found += [path for piece in pieces if piece in content]
    return found


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files, caches and downloads of the test go; afterwards no plaintext may lie there."""
    folder = tmp_path / "disk"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield folder
    assert plaintext_in(folder) == []


def test_get_is_refused(fs: SecuredataFileSystem, disk: Path) -> None:
    handle = (disk / "handle").open("wb")
    for get in (
        lambda: fs.get("voice-a/ann/a.wav", str(disk / "a.wav")),
        lambda: fs.get("voice-a/ann", str(disk), recursive=True),
        lambda: fs.get(["voice-a/ann/a.wav"], [str(disk / "a.wav")]),
        lambda: fs.get_file("voice-a/ann/a.wav", str(disk / "a.wav")),
        lambda: fs.get_file("voice-a/ann", str(disk / "ann")),
        lambda: fs.get_file("voice-a/ann/a.wav", None, outfile=handle),
        lambda: fs.download("voice-a/ann/a.wav", str(disk / "a.wav")),
    ):
        with pytest.raises(PlaintextRefused, match="allow_plaintext_export=True"):
            get()
    handle.close()
    assert [(path.name, path.stat().st_size) for path in disk.rglob("*")] == [("handle", 0)]


def test_get_into_memory(fs: SecuredataFileSystem) -> None:
    memory = io.BytesIO()
    fs.get_file("voice-a/ann/a.wav", memory)
    assert memory.getvalue() == FILES["ann/a.wav"]


def test_get_that_was_allowed(voice: Voice, fs: SecuredataFileSystem, tmp_path: Path) -> None:
    fs.get("voice-a/ann/a.wav", str(tmp_path / "one.wav"), allow_plaintext_export=True)
    assert (tmp_path / "one.wav").read_bytes() == FILES["ann/a.wav"]
    fs.get("voice-a/bob/", str(tmp_path / "bob"), recursive=True, allow_plaintext_export=True)
    assert (tmp_path / "bob/deep/down/d.bin").read_bytes() == D
    fs.get_file("voice-a/ann/a.wav", str(tmp_path / "two.wav"), allow_plaintext_export=True)
    fs.download("voice-a/ann/a.wav", str(tmp_path / "three.wav"), allow_plaintext_export=True)
    with pytest.raises(PlaintextRefused):  # it was for one call
        fs.get("voice-a/ann/a.wav", str(tmp_path / "four.wav"))
    exporting = fsspec.filesystem("securedata", root="voice-a", allow_plaintext_export=True)
    exporting.get("ann/a.wav", str(tmp_path / "four.wav"))
    for name in ("two", "three", "four"):
        assert (tmp_path / f"{name}.wav").read_bytes() == FILES["ann/a.wav"]


CACHES = ["simplecache", "filecache", "blockcache", "cached"]


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("compression", [None, "infer", "gzip"])
def test_caching_filesystems_are_refused(voice: Voice, disk: Path, cache: str, compression: str | None) -> None:
    url = f"{cache}::securedata://voice-a/ann/a.wav"
    options = {"cache_storage": str(disk / "cache")} | ({"compression": compression} if compression else {})
    fs, path = url_to_fs(url, **{cache: options})
    for _ in range(2):  # what the first left behind must not be served the second time
        many = [] if compression else [lambda: fsspec.open_files(url, **{cache: options}).__enter__()[0].read()]
        for read in (
            *many,  # fsspec's caches open no list of compressed files
            lambda: fsspec.open(url, **{cache: options}).open().read(),
            lambda: fs.open(path).read(),
            lambda: fs.cat_file(path),
            lambda: fs.cat_file(path, 0, 10),
            lambda: fs.cat(path),
            lambda: fs.cat_ranges([path], [0], [10], on_error="raise"),
            lambda: fs.head(path),
            lambda: fs.get(path, str(disk / "got")),
        ):
            with pytest.raises(PlaintextRefused):
                read()
    assert fs.info(path)["size"] == len(FILES["ann/a.wav"])


def test_open_local_is_refused(voice: Voice, disk: Path) -> None:
    with pytest.raises(PlaintextRefused):
        fsspec.open_local("simplecache::securedata://voice-a/ann/*.wav", simplecache={"cache_storage": str(disk)})


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # fsspec leaves it to the collector
@pytest.mark.parametrize("cache", CACHES)
def test_caching_filesystems_that_were_allowed(voice: Voice, tmp_path: Path, cache: str) -> None:
    options = {"cache_storage": str(tmp_path / "cache")}
    url = f"{cache}::securedata://voice-a/bob/deep/down/d.bin"
    for _ in range(2):
        with fsspec.open(url, securedata={"allow_plaintext_export": True}, **{cache: options}) as file:
            assert file.read() == D


@pytest.mark.parametrize("cache_type", ["mmap", "somebodys"])
def test_caches_on_disk_are_refused(fs: SecuredataFileSystem, disk: Path, cache_type: str) -> None:
    with pytest.raises(PlaintextRefused, match="readahead"):
        fs.open("voice-a/ann/a.wav", cache_type=cache_type, cache_options={"location": str(disk / "mmap")})


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # fsspec leaves it to the collector
def test_an_mmap_that_was_allowed(voice: Voice, tmp_path: Path) -> None:
    fs = fsspec.filesystem("securedata", root="voice-a", allow_plaintext_export=True)
    options = {"location": str(tmp_path / "mmap")}
    with fs.open("bob/deep/down/d.bin", cache_type="mmap", cache_options=options) as file:
        assert file.read() == D


def test_the_cache_of_a_file_cannot_be_replaced(fs: SecuredataFileSystem, disk: Path) -> None:
    from fsspec.caching import BaseCache

    file = fs.open("voice-a/ann/a.wav")
    with pytest.raises(PlaintextRefused):
        file.cache = BaseCache(0, file._fetch_range, file.size)
    with pytest.raises(InvalidArgument, match="cache_options"):
        fs.open("voice-a/ann/a.wav", cache_type="bytes", cache_options={"nonsense": 1})


def test_reading_leaves_nothing_on_disk(voice: Voice, fs: SecuredataFileSystem, disk: Path, own_home: Path) -> None:
    fs.cat_file("voice-a/ann/a.wav")
    fs.cat("voice-a", recursive=True, on_error="omit")
    for cache_type in ("readahead", "bytes", "all", "blockcache", "background", "first"):
        with fs.open(D_PATH, cache_type=cache_type) as file:
            file.read()
    assert list(disk.rglob("*")) == []
    assert plaintext_in(own_home) == []
    assert plaintext_in(voice.root) == []


def test_the_detector_finds_plaintext(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"before" + FILES["ann/a.wav"])
    assert plaintext_in(tmp_path) == [tmp_path / "x"]
