"""What tools read through the fsspec filesystem."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import fsspec
import numpy as np
import pyarrow.csv
import pyarrow.fs
import pytest
import soundfile
from fsspec.implementations.dirfs import DirFileSystem

from securedata.errors import (
    AuthenticationFailed,
    NoSuchPath,
    PlaintextRefused,
)
from securedata.filesystem import SecuredataFileSystem, opened
from tests.filesystem.corpus import D_PATH, FILES, MTIME, D, Voice, named

# -------------------------------------------------------------------------------------------------------------- reading


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
    with pytest.raises(OSError, match="securedata encrypt"):
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
