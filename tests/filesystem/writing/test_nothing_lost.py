"""Calls over several files, and errors that a caller goes on after: no file is lost, none left out in silence."""

from __future__ import annotations

import contextlib
import gc
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

import securedata
from securedata.corpus.config import Reference
from securedata.corpus.objects.put import Put
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, NoSuchPath, NotFound, StorageUnreachable
from securedata.filesystem import SecuredataFileSystem
from securedata.filesystem.writing import batch
from securedata.filesystem.writing.batch import SMALL
from securedata.format.cobblestone import Buffer
from tests.filesystem.corpus import audio
from tests.kit.corpora import rows
from tests.kit.corpora.contents import current
from tests.kit.corpora.rows import writer_of


@pytest.mark.parametrize("call", ["mv", "cp"])
def test_two_files_of_one_call_have_two_places(fs: SecuredataFileSystem, reference: Reference, call: str) -> None:
    fs.pipe({"ann/u.wav": audio(1, "WAV"), "bob/u.wav": audio(2, "WAV")})
    before = current(reference)
    for places in (
        (["ann/u.wav", "bob/u.wav"], "both"),
        (["ann/u.wav", "bob/u.wav"], ["one.wav", "one.wav"]),
    ):
        with pytest.raises(InvalidArgument, match="one path"):
            getattr(fs, call)(*places)
        assert current(reference) == before
    getattr(fs, call)(["ann/u.wav", "bob/u.wav"], ["one.wav", "two.wav"])
    assert (fs.cat_file("one.wav"), fs.cat_file("two.wav")) == (audio(1, "WAV"), audio(2, "WAV"))


def test_a_move_does_not_replace_what_it_moves(fs: SecuredataFileSystem, reference: Reference) -> None:
    fs.pipe({"a.wav": audio(1, "WAV"), "b.wav": audio(2, "WAV")})
    before = current(reference)
    with pytest.raises(InvalidArgument, match="one path"):
        fs.mv(["a.wav", "b.wav"], ["b.wav", "c.wav"])
    assert current(reference) == before


def test_two_spellings_of_one_name(fs: SecuredataFileSystem, reference: Reference, tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "folder" / unicodedata.normalize(form, "zoë.wav")).write_bytes(form.encode())
    with pytest.raises(InvalidArgument, match="one path"):
        fs.put(str(tmp_path / "folder"), "there", recursive=True)
    with pytest.raises(InvalidArgument, match="one path"):
        fs.pipe({unicodedata.normalize(form, "zoë.wav"): form.encode() for form in ("NFC", "NFD")})
    assert current(reference) == {}


def test_an_error_in_a_transaction_costs_its_own_file(
    fs: SecuredataFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_objects, calls = Writer.put_objects, []

    def once_down(self: Writer, plains: Iterable[bytes]) -> Iterator[tuple[int, Any]]:
        calls.append(self)
        if len(calls) == 1:
            raise StorageUnreachable("it does not answer")
        yield from put_objects(self, plains)

    monkeypatch.setattr(Writer, "put_objects", once_down)
    failed = []
    with fs.transaction:
        for at in range(150):
            try:
                fs.pipe_file(f"{at}.bin", b"%d" % at)
            except StorageUnreachable:  # as a caller does that tries again later
                failed.append(at)
    assert len(failed) == 1
    assert fs.find("") == sorted(f"{at}.bin" for at in range(150) if at not in failed)


@pytest.mark.parametrize("spelling", ["fs", "fsspec"])
def test_text_that_is_never_closed_is_not_there(
    fs: SecuredataFileSystem, spelling: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"root": "voice-a", "writable": True, "subject": "ann"}
    file = fs.open("half.txt", "w") if spelling == "fs" else fsspec.open("securedata://half.txt", "w", **options).open()
    file.write("half of it")
    del file
    gc.collect()
    assert "never closed" in caplog.text
    assert not fs.exists("half.txt")


@pytest.mark.parametrize("call", ["rm", "mv", "cp"])
def test_what_another_process_has_added_is_part_of_a_folder(
    fs: SecuredataFileSystem, reference: Reference, call: str
) -> None:
    fs.pipe({"ann/1.wav": audio(1, "WAV"), "ann/2.wav": audio(2, "WAV")})
    assert len(fs.find("ann")) == 2
    writer = writer_of(reference)
    changed = {"ann/1.wav": audio(4, "WAV"), "ann/3.wav": audio(3, "WAV")}
    for path, data in changed.items():
        writer.commit(rows.table(rows.row(writer, path, data, ["ann"])), replace=True)
    if call == "rm":
        fs.rm("ann", recursive=True)
        assert current(reference) == {}
        return
    getattr(fs, call)("ann", "bob", recursive=True)
    assert fs.find("bob") == ["bob/1.wav", "bob/2.wav", "bob/3.wav"]
    assert fs.cat_file("bob/1.wav") == audio(4, "WAV")


def test_rows_of_one_object_that_change_together(fs: SecuredataFileSystem, reference: Reference) -> None:
    writer = writer_of(reference)
    long = rows.row(writer, "long.wav", audio(2, "WAV"), ["ann"], sample_rate=16_000, channels=1, frames=4000)
    parts = [{**long, "path": f"long.wav#t={at}", "start": at, "frames_in_segment": 2000} for at in (0, 2000)]
    rows.commit(writer, *parts)
    with fs.transaction:
        fs.pipe_file("long.wav#t=2000", b"another file")
        fs.mv("long.wav#t=0", "first.wav")
    assert set(current(reference)) == {"first.wav", "long.wav#t=2000"}
    assert fs.cat_file("long.wav#t=2000") == b"another file"
    assert fs.cat_file("first.wav") == audio(2, "WAV")


@pytest.mark.parametrize("call", ["cp", "mv", "rm"])
def test_an_error_does_not_say_the_pattern(fs: SecuredataFileSystem, call: str) -> None:
    with pytest.raises(NoSuchPath) as refused:
        getattr(fs, call)("ann smith/*.mp3", *(["b"] if call != "rm" else []))
    assert "smith" not in str(refused.value)


@pytest.mark.parametrize("on_error", [None, "ignore"])
def test_a_copy_that_storage_loses_is_an_error(
    fs: SecuredataFileSystem, reference: Reference, monkeypatch: pytest.MonkeyPatch, on_error: str | None
) -> None:
    fs.pipe({"ann/1.bin": bytes(SMALL + 1), "ann/2.bin": b"2"})
    before = current(reference)

    def aborted(self: Writer, pieces: Iterable[Buffer]) -> Put:
        raise NotFound("no such upload", root=self.root)

    monkeypatch.setattr(Writer, "put_object", aborted)
    with pytest.raises(NotFound):
        fs.cp("ann", "bob", recursive=True, on_error=on_error)
    assert current(reference) == before


def test_a_file_that_is_gone_is_left_out_only_if_asked(fs: SecuredataFileSystem) -> None:
    fs.pipe({"a": b"1", "b": b"2"})
    with pytest.raises(NoSuchPath):
        fs.cp(["a", "gone", "b"], ["c", "d", "e"], recursive=True)
    assert fs.find("") == ["a", "b"]
    fs.cp(["a", "gone", "b"], ["c", "d", "e"], on_error="ignore")
    assert fs.find("") == ["a", "b", "c", "e"]


def test_what_storage_lacks_is_not_called_a_missing_path(
    fs: SecuredataFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(self: SecuredataFileSystem, target: str) -> None:
        raise NotFound("no such key")

    fs.pipe_file("a", b"1")
    monkeypatch.setattr(SecuredataFileSystem, "_corpus", lost)
    with pytest.raises(NotFound):
        fs.expand_path("a", recursive=True)
    with fs.transaction, pytest.raises(NotFound):
        fs._files_of(["a"], True, None)


def test_the_same_content_again_leaves_no_object(fs: SecuredataFileSystem, reference: Reference) -> None:
    contents = {"small": b"1", "large": bytes(SMALL + 1)}
    fs.pipe(contents)
    before = {path: row["object_id"] for path, row in current(reference).items()}
    for _ in range(2):
        fs.pipe(contents)
    assert {path: row["object_id"] for path, row in current(reference).items()} == before
    report = securedata.verify(reference)
    assert (report.ok, report.in_flight) == (True, 0)
    assert all(fs.cat_file(path) == data for path, data in contents.items())


@pytest.mark.parametrize("error", [StorageUnreachable("it does not answer"), KeyboardInterrupt()])
@pytest.mark.parametrize("together", [True, False])
def test_a_large_file_that_cannot_be_read_back_leaves_no_object(
    fs: SecuredataFileSystem,
    reference: Reference,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    together: bool,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(batch, "columns_of_object", fail)
    with fs.transaction if together else contextlib.nullcontext(), pytest.raises(type(error)):
        fs.pipe_file("large", bytes(SMALL + 1))
    assert current(reference) == {}
    assert securedata.verify(reference).in_flight == 0
