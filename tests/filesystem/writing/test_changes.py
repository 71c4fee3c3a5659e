"""Copies, moves, removals and transactions: which rows they make, and what refuses them."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

import securedata
from securedata.corpus.config import Reference, resolve
from securedata.errors import (
    ConfigError,
    InvalidArgument,
    NoSuchPath,
    PinRequired,
    RowReplaced,
    SubjectErased,
    SubjectHeld,
)
from securedata.filesystem import SecuredataFileSystem
from securedata.lifecycle.erasure.erase import open_to_erase
from securedata.lifecycle.holds.hold import add_hold
from tests.filesystem.corpus import audio
from tests.kit.corpora import rows
from tests.kit.corpora.contents import current, look
from tests.kit.corpora.erasing import erase_by
from tests.kit.corpora.rows import writer_of

WORDS = {"transcript": "every word", "consent_id": "C1", "purposes": ["asr"], "split": "dev", "language": "en"}
_NEW = {"path", "object_id", "data_key", "ingested"}


@pytest.fixture
def told(fs: SecuredataFileSystem, reference: Reference) -> SecuredataFileSystem:
    """The filesystem, with a recording of which much is known, and a segmented one of two rows."""
    writer = writer_of(reference)
    long = rows.row(writer, "ann/long.wav", audio(2, "WAV"), ["ann"], sample_rate=16_000, channels=1, frames=4000)
    parts = [{**long, "path": f"ann/long.wav#t={at}", "start": at, "frames_in_segment": 2000} for at in (0, 2000)]
    rows.commit(writer, rows.row(writer, "ann/a.wav", audio(1, "WAV"), ["ann"], **WORDS), *parts)
    return fs


def generation(reference: Reference) -> int:
    return look(reference).head.generation


def same_but(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """The columns in which two rows differ."""
    return {name for name in one | other if one.get(name) != other.get(name)}


def test_overwriting_keeps_what_is_known_of_the_recording(told: SecuredataFileSystem, reference: Reference) -> None:
    before = current(reference)["ann/a.wav"]
    told.pipe_file("ann/a.wav", audio(3, "FLAC"))
    after = current(reference)["ann/a.wav"]
    assert after["format"] == "FLAC"
    assert {name: after[name] for name in WORDS} == WORDS
    assert after["object_id"] != before["object_id"]
    told.pipe_file("ann/a.wav", b"1", subject="bob")
    other = current(reference)["ann/a.wav"]
    assert (other["subjects"], other["speaker"], other["consent_id"]) == (["bob"], "bob", None)
    # the words were Ann's: erasing her would not have found them under another name
    assert [other[name] for name in WORDS] == ["", None, None, "", ""]
    assert (other["sample_rate"], other["data_offset"]) == (0, None)


def test_a_copy_is_sealed_again(told: SecuredataFileSystem, reference: Reference) -> None:
    told.cp("ann/a.wav", "ann/copy.wav")
    now = current(reference)
    assert same_but(now["ann/a.wav"], now["ann/copy.wav"]) <= _NEW
    assert now["ann/a.wav"]["data_key"] != now["ann/copy.wav"]["data_key"]
    assert told.cat_file("ann/copy.wav") == audio(1, "WAV")
    told.pipe_file("ann/target.wav", b"1")
    told.cp("ann/a.wav", "ann/target.wav")
    assert same_but(current(reference)["ann/target.wav"], now["ann/a.wav"]) <= {
        "path",
        "object_id",
        "data_key",
        "ingested",
    }
    told.cp("ann/long.wav#t=2000", "ann/second.wav")
    second = current(reference)["ann/second.wav"]
    assert (second["start"], second["frames_in_segment"]) == (2000, 2000)
    assert securedata.verify(reference).ok


def test_a_move_keeps_the_object(told: SecuredataFileSystem, reference: Reference) -> None:
    before = current(reference)
    told.pipe_file("there.wav", b"1", subject="bob")
    at = generation(reference)
    told.mv("ann/a.wav", "there.wav")
    after = current(reference)
    assert generation(reference) == at + 1
    assert "ann/a.wav" not in after
    assert same_but(before["ann/a.wav"], after["there.wav"]) == {"path"}
    told.mv("ann/long.wav#t=0", "first.wav")
    after = current(reference)
    assert same_but(before["ann/long.wav#t=0"], after["first.wav"]) == {"path"}
    assert before["ann/long.wav#t=2000"] == after["ann/long.wav#t=2000"]
    # the rows of an object stay in one part, as every later commit expects
    writer = writer_of(reference)
    ids = [set(writer.read_table(part, ["object_id"]).column(0).to_pylist()) for part in writer.head.parts]
    assert len([one for one in ids if after["first.wav"]["object_id"] in one]) == 1
    told.rm("first.wav")
    assert told.cat_file("ann/long.wav#t=2000") == audio(2, "WAV")
    told.mv("ann", "bob", recursive=True)
    assert told.find("") == ["bob/long.wav#t=2000", "there.wav"]
    with pytest.raises(NoSuchPath):
        told.mv("ann/none", "x")
    assert securedata.verify(reference).ok


def test_removing(told: SecuredataFileSystem, reference: Reference) -> None:
    at = generation(reference)
    told.rm("ann", recursive=True)
    assert generation(reference) == at + 1
    assert told.find("") == []
    told.pipe({"a/x": b"1", "a/y": b"2", "b": b"3"})
    for wrong, error in ((("a",), IsADirectoryError), (("none",), NoSuchPath), (("none", True), NoSuchPath)):
        with pytest.raises(error):
            told.rm(*wrong)
    for root in ("", "/", "securedata://"):
        with pytest.raises(InvalidArgument, match="whole corpus"):
            told.rm(root, recursive=True)
    with pytest.raises(OSError, match="not empty"):
        told.rmdir("a")
    assert told.find("") == ["a/x", "a/y", "b"]
    told.rm(["a/x", "b"])
    assert told.find("") == ["a/y"]


def test_corpora_are_kept_apart(told: SecuredataFileSystem, tmp_path: Path) -> None:
    other = rows.make(root=str(tmp_path / "other"), name="voice-b")
    fs = fsspec.filesystem("securedata", writable=True, subject="ann")
    for act in (fs.cp, fs.mv):
        with pytest.raises(InvalidArgument, match="--to-corpus"):
            act("voice-a/ann/a.wav", "voice-b/ann/a.wav")
    for root in ("voice-a", "voice-b/", ["voice-b"]):
        with pytest.raises(InvalidArgument, match="whole corpus"):
            fs.rm(root, recursive=True)
    with pytest.raises(ConfigError):
        fs.mkdir("voice-c")
    with fs.transaction:
        fs.pipe({"voice-a/x": b"1", "voice-b/x": b"2"})
    assert fs.cat(["voice-a/x", "voice-b/x"]) == {"voice-a/x": b"1", "voice-b/x": b"2"}
    assert generation(other) == 2


def test_a_transaction_is_one_commit(told: SecuredataFileSystem, reference: Reference) -> None:
    at = generation(reference)
    with told.transaction:
        for number in range(150):
            told.pipe_file(f"many/{number}", b"%d" % number)
        with told.open("many/7", "wb") as file:  # again: the last one counts
            file.write(b"seven")
        told.cp("ann/a.wav", "ann/b.wav")
        told.mv("ann/a.wav", "ann/c.wav")
        told.mv("many/8", "eight")
        told.rm("many/9")
        told.rm("ann/long.wav#t=0")
        assert generation(reference) == at
        assert len(told.find("many")) == 148
    assert generation(reference) == at + 1
    assert told.cat_file("many/7") == b"seven"
    assert told.cat_file("eight") == b"8"
    assert len(told.find("many")) == 148
    assert told.find("ann") == ["ann/b.wav", "ann/c.wav", "ann/long.wav#t=2000"]
    report = securedata.verify(reference)
    assert (report.ok, report.in_flight) == (True, 0)


def test_a_transaction_that_fails_commits_nothing(told: SecuredataFileSystem, reference: Reference) -> None:
    at = generation(reference)

    def fail() -> None:
        with told.transaction:
            told.pipe_file("x", b"1" * 5_000_000)
            told.rm("ann/a.wav")
            raise ZeroDivisionError

    def leave_open() -> None:
        with told.transaction:
            told.pipe_file("x", b"1")
            file.append(told.open("y", "wb"))

    file: list[Any] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    with pytest.raises(InvalidArgument, match="still open"):
        leave_open()
    assert generation(reference) == at
    assert securedata.verify(reference).in_flight == 0
    told.pipe_file("z", b"1")  # the filesystem goes on
    assert generation(reference) == at + 1


def test_another_writer_in_the_midst_of_a_transaction(told: SecuredataFileSystem, reference: Reference) -> None:
    def collide(change: Callable[[], object], path: str, content: bytes) -> None:
        with told.transaction:
            change()
            writer = writer_of(reference)
            writer.commit(rows.table(rows.row(writer, path, content, ["ann"])), replace=True)

    for number, (change, path) in enumerate(
        [
            (lambda: told.pipe_file("new", b"1"), "new"),
            (lambda: told.pipe_file("ann/a.wav", b"1"), "ann/a.wav"),
            (lambda: told.mv("ann/a.wav", "q"), "q"),
            (lambda: told.rm("ann/a.wav"), "ann/a.wav"),
        ]
    ):
        content = b"another's %d" % number
        with pytest.raises(RowReplaced):
            collide(change, path, content)
        assert told.cat_file(path) == content

    def removed() -> None:
        with told.transaction:
            told.rm("ann/a.wav")
            writer_of(reference).commit(remove=["ann/a.wav"])

    removed()  # it is gone, as both wanted


def test_erased_people_stay_out(told: SecuredataFileSystem, reference: Reference) -> None:
    told.pipe_file("bob/old.wav", b"0", subject="bob")
    erase_by(open_to_erase(reference), "ann")
    with pytest.raises(SubjectErased):
        told.pipe_file("ann/new.wav", b"1")
    with pytest.raises(SubjectErased):
        told.open("ann/new.wav", "wb")
    told.pipe_file("bob/new.wav", b"1", subject="bob")
    told.cp("bob/new.wav", "ann/new.wav")  # it is bob's


def test_rows_under_a_hold_stay(told: SecuredataFileSystem, reference: Reference) -> None:
    add_hold(writer_of(reference), "ann", "case-7")
    before = current(reference)
    for act in (
        lambda: told.rm("ann/a.wav"),
        lambda: told.rm("ann", recursive=True),
        lambda: told.mv("ann/a.wav", "x"),
        lambda: told.pipe_file("ann/a.wav", b"1"),
        lambda: told.pipe_file("ann/a.wav", b"1", subject="bob"),
        lambda: told.open("ann/a.wav", "wb"),
    ):
        with pytest.raises(SubjectHeld) as raised:
            act()
        assert isinstance(raised.value, PermissionError)
    assert current(reference) == before
    told.cp("ann/a.wav", "ann/copy.wav")


def test_writing_must_be_asked_for_and_needs_the_pin(reference: Reference, tmp_path: Path) -> None:
    reading = fsspec.filesystem("securedata", root="voice-a", subject="ann")
    with pytest.raises(OSError, match="read-only") as raised:
        reading.pipe_file("x", b"1")
    assert raised.value.errno == errno.EROFS
    assert fsspec.filesystem("securedata", root="voice-a", writable="false").writable is False
    with pytest.raises(InvalidArgument, match="accept_generation"):
        fsspec.filesystem("securedata", root="voice-a", writable=True, accept_generation=1)
    copy = tmp_path / "elsewhere"
    (tmp_path / "sealed").rename(copy)
    with pytest.raises(PinRequired):
        fsspec.filesystem("securedata", root=str(copy), kms=list(resolve("voice-a").kms), writable=True)


def test_async_callers(fs: SecuredataFileSystem) -> None:
    async def work() -> dict[str, bytes]:
        wrapped = AsyncFileSystemWrapper(fs, asynchronous=True)
        await asyncio.gather(*(wrapped._pipe_file(f"a/{number}", b"%d" % number) for number in range(4)))
        await wrapped._mv("a/0", "b")
        await wrapped._rm("a/1")
        await wrapped._cp_file("a/2", "c")
        return await wrapped._cat(await wrapped._find(""))

    assert asyncio.run(work()) == {"a/2": b"2", "a/3": b"3", "b": b"0", "c": b"2"}


def test_a_transaction_of_very_many_files_is_one_commit(
    fs: SecuredataFileSystem, reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("securedata.filesystem.writing.batches._ROWS", 10)
    (tmp_path / "many").mkdir()
    for number in range(25):
        (tmp_path / "many" / f"{number}.txt").write_text(f"{number}")
    at = generation(reference)
    with fs.transaction:
        fs.put(str(tmp_path / "many"), "a", recursive=True)
    assert generation(reference) == at + 1
    fs.put(str(tmp_path / "many"), "b", recursive=True)
    assert generation(reference) == at + 4  # 10, 10 and 5 files
    fs.cp("b", "c", recursive=True)
    assert generation(reference) == at + 7
    assert len(fs.find("")) == 75
