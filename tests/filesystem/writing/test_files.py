"""Files that are written: what becomes of their bytes, and what rows they become."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

import securedata
from securedata.corpus.config import Reference
from securedata.errors import InvalidArgument, RowReplaced, SubjectUnknown
from securedata.filesystem import SecuredataFileSystem
from securedata.filesystem.writing.batch import SMALL
from tests.filesystem.corpus import audio
from tests.kit.corpora.contents import current, look
from tests.kit.corpora.rows import writer_of

_BIG = np.random.default_rng(0).bytes(3 * SMALL + 17)


def columns(reference: Reference, path: str) -> dict[str, Any]:
    """The row of a path, from the manifest."""
    return current(reference)[path]


def fail_in(opened: Any, content: bytes | str) -> None:
    """Write to a file in a block that raises."""
    with opened as file:
        file.write(content)
        raise ZeroDivisionError


@pytest.mark.parametrize("size", [0, 1, SMALL, SMALL + 1, len(_BIG)])
def test_what_was_written_is_read(fs: SecuredataFileSystem, reference: Reference, size: int) -> None:
    with fs.open("ann/x.bin", "wb") as file:
        for at in range(0, size, 300_000):
            assert file.write(_BIG[at : min(at + 300_000, size)]) == min(300_000, size - at)
        assert file.tell() == size
        assert not fs.exists("ann/x.bin")
    assert fs.cat_file("ann/x.bin") == _BIG[:size]
    assert fs.info("ann/x.bin")["size"] == fs.du("ann") == size
    assert fs.modified("ann/x.bin").timestamp() == pytest.approx(time.time(), abs=60)
    row = columns(reference, "ann/x.bin")
    assert (row["subjects"], row["speaker"], row["utterance"], row["format"]) == (["ann"], "ann", "x", "")
    assert securedata.verify(reference).ok


def test_text_and_compression(fs: SecuredataFileSystem) -> None:
    with fs.open("words.txt", "w", encoding="latin-1") as file:
        file.write("zoë\n")
    assert fs.read_text("words.txt", encoding="latin-1") == "zoë\n"
    for opened in (
        fs.open("words.gz", "wt", compression="infer"),
        fsspec.open("securedata://words2.gz", "wt", compression="infer", root="voice-a", writable=True, subject="ann"),
    ):
        with opened as file:
            file.write("hello")
    assert fs.cat_file("words.gz")[:2] == b"\x1f\x8b"
    for name in ("words.gz", "words2.gz"):
        with fs.open(name, "rt", compression="infer") as file:
            assert file.read() == "hello"


@pytest.mark.parametrize("format", ["WAV", "FLAC", "MP3"])
def test_a_recording_gets_the_columns_of_one(fs: SecuredataFileSystem, reference: Reference, format: str) -> None:
    data = audio(1, format)
    fs.pipe_file(f"ann/a.{format.lower()}", data)
    row = columns(reference, f"ann/a.{format.lower()}")
    assert (row["format"], row["sample_rate"], row["channels"], row["frames"]) == (format, 16_000, 1, 4000)
    assert (row["data_offset"] == 44) == (format == "WAV")
    dataset = securedata.EncryptedAudioDataset("voice-a")
    assert dataset[0].waveform.shape == (1, 4000)
    assert dataset[0].speaker == "ann"


def test_a_large_recording_is_described_from_its_object(fs: SecuredataFileSystem, reference: Reference) -> None:
    from tests.kit.sources.recordings import encode, noise

    data = encode(noise(150.0, seed=1), 16_000, "WAV")
    assert len(data) > SMALL
    fs.pipe_file("ann/long.wav", data)
    row = columns(reference, "ann/long.wav")
    assert (row["format"], row["frames"], row["data_offset"]) == ("WAV", 2_400_000, 44)


def test_what_only_looks_like_a_recording_is_kept(
    fs: SecuredataFileSystem, reference: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    fs.pipe_file("ann/cut.wav", audio(1, "WAV")[:3000])
    assert columns(reference, "ann/cut.wav")["format"] == ""
    assert "not as a recording" in caplog.text
    assert "cut.wav" not in caplog.text
    fs.pipe_file("ann/list.csv", audio(1, "WAV"))  # by its name it is no recording
    assert columns(reference, "ann/list.csv")["format"] == ""


def test_a_block_that_raises_commits_nothing(fs: SecuredataFileSystem, reference: Reference) -> None:
    before = look(reference).head.generation
    options = {"root": "voice-a", "writable": True, "subject": "ann"}
    for size in (3, len(_BIG)):
        for opened in (
            fs.open("x", "wb"),
            fs.open("x", "wb", compression="gzip"),
            fsspec.open("securedata://x", "wb", **options),
            fsspec.open("securedata://x", "wb", compression="gzip", **options),
        ):
            with pytest.raises(ZeroDivisionError):
                fail_in(opened, _BIG[:size])
    for opened in (
        fs.open("x", "w"),
        fsspec.open("securedata://x", "w", **options),
        fsspec.open("securedata://x", "w", **options).open(),
        io.TextIOWrapper(fs.open("x", "wb")),
    ):
        with pytest.raises(ZeroDivisionError):
            fail_in(opened, "text")
    with pytest.raises(ZeroDivisionError):
        fail_in(io.BufferedWriter(fs.open("x", "wb")), b"bytes")
    assert look(reference).head.generation == before
    assert not fs.exists("x")
    report = securedata.verify(reference)
    assert report.ok
    assert report.in_flight == 0


def test_a_file_that_is_closed_while_another_error_is_handled_counts(fs: SecuredataFileSystem) -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        with fsspec.open("securedata://x", "wb", root="voice-a", writable=True, subject="ann") as file:
            file.write(b"all of it")
        with fsspec.open("securedata://y", "w", root="voice-a", writable=True, subject="ann").open() as text:
            text.write("all of it")
        late = fsspec.open("securedata://z", "w", root="voice-a", writable=True, subject="ann").open()
        late.write("all of it")
        late.close()
    assert fs.cat(["x", "y", "z"]) == dict.fromkeys("xyz", b"all of it")


def test_a_file_that_is_never_closed_is_not_there(fs: SecuredataFileSystem, caplog: pytest.LogCaptureFixture) -> None:
    file = fs.open("x", "wb")
    file.write(_BIG)
    del file
    assert "never closed" in caplog.text
    assert not fs.exists("x")


def test_modes_that_no_sealed_file_allows(fs: SecuredataFileSystem) -> None:
    fs.pipe_file("x", b"1")
    for mode in ("ab", "a", "r+b", "w+b", "x+b"):
        with pytest.raises(InvalidArgument, match="written once"):
            fs.open("x", mode)
    with pytest.raises(FileExistsError):
        fs.open("x", "xb")
    with pytest.raises(io.UnsupportedOperation):
        fs.open("x", "wb").seek(0)
    with pytest.raises(NotImplementedError):
        fs.touch("x", truncate=False)
    assert fs.cat_file("x") == b"1"


@pytest.mark.parametrize("path", ["a//b", "a/../b", "a\\b", "a\nb", ""])
def test_paths_that_no_row_can_have(fs: SecuredataFileSystem, path: str) -> None:
    with pytest.raises((InvalidArgument, IsADirectoryError)):
        fs.pipe_file(path, b"1")


def test_two_writers_of_one_path(fs: SecuredataFileSystem, reference: Reference) -> None:
    first, second = fs.open("x", "wb"), fs.open("x", "wb")
    first.write(b"first")
    second.write(b"second")
    first.close()
    with pytest.raises(RowReplaced, match="another writer"):
        second.close()
    assert fs.cat_file("x") == b"first"
    fs.pipe_file("x", b"third")
    one, other = fs.open("y", "xb"), fs.open("y", "xb")
    one.close()
    with pytest.raises(RowReplaced):
        other.close()
    assert securedata.verify(reference).in_flight == 0  # what lost was deleted


def test_many_writers(fs: SecuredataFileSystem, reference: Reference) -> None:
    """Each thread has a filesystem of its own, as fsspec makes them, and one writer is another process's."""
    errors: list[BaseException] = []

    def write(number: int) -> None:
        own = fsspec.filesystem("securedata", root="voice-a", writable=True, subject="ann")
        try:
            for at in range(3):
                own.pipe_file(f"{number}/{at}", b"%d/%d" % (number, at))
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    other = writer_of(reference)
    for number in range(3):
        other.commit(settings={"n": number})
    for thread in threads:
        thread.join()
    assert not errors
    fs.invalidate_cache()
    assert {path: fs.cat_file(path) for path in fs.find("")} == {
        f"{number}/{at}": b"%d/%d" % (number, at) for number in range(4) for at in range(3)
    }


def test_put_keeps_the_time_of_the_source(fs: SecuredataFileSystem, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/a.txt").write_text("a")
    (tmp_path / "s/sub").mkdir()
    (tmp_path / "s/sub/b.txt").write_text("b")
    fs.put(str(tmp_path / "s"), "got", recursive=True)
    assert fs.find("got") == ["got/a.txt", "got/sub/b.txt"]
    assert fs.info("got/a.txt")["mtime"] == pytest.approx((tmp_path / "s/a.txt").stat().st_mtime)
    with pytest.raises(FileExistsError):
        fs.put_file(str(tmp_path / "s/a.txt"), "got/a.txt", mode="create")


def test_whose_file_it_is_must_be_known(reference: Reference) -> None:
    fs = fsspec.filesystem("securedata", root="voice-a", writable=True)
    with pytest.raises(SubjectUnknown, match="subject="):
        fs.pipe_file("ann/x", b"1")
    fs.pipe_file("ann/x", b"1", subject=["ann", "bob"])
    assert columns(reference, "ann/x")["subjects"] == ["ann", "bob"]
    for wrong in ("", " ", "a\nb", []):
        with pytest.raises(InvalidArgument, match="name"):
            fs.pipe_file("ann/y", b"1", subject=wrong)
    writer_of(reference).commit(settings={"subject": {"pattern": "{speaker}/{split}/{utterance}-{take}"}})
    fs.clear_instance_cache()
    fs = fsspec.filesystem("securedata", root="voice-a", writable=True)
    fs.pipe_file("bob/dev/u7-2.wav", b"1")
    row = columns(reference, "bob/dev/u7-2.wav")
    assert (row["subjects"], row["split"], row["utterance"], row["extra"]) == (["bob"], "dev", "u7", '{"take":"2"}')
    with pytest.raises(SubjectUnknown, match="does not fit the speaker pattern"):
        fs.pipe_file("bob/x", b"1")
    writer_of(reference).commit(settings={"subject": {"per_file": True}})
    fs.clear_instance_cache()
    fs = fsspec.filesystem("securedata", root="voice-a", writable=True)
    fs.pipe_file("talk/1.flac", b"1")
    assert columns(reference, "talk/1.flac")["subjects"] == ["talk/1"]
