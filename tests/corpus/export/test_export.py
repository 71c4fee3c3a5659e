"""export gives the source files back byte for byte, goes on where it was killed, and writes nowhere else."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.export.destination import Destination
from securedata.corpus.export.export import ExportReport, export
from securedata.corpus.opening import open_corpus
from securedata.corpus.state.layout import object_key
from securedata.errors import (
    AccessDenied,
    AlreadyExists,
    InvalidArgument,
    MalformedManifest,
    NoSuchPath,
    ObjectMissing,
    PlaintextRefused,
    StorageUnreachable,
)
from tests.kit.corpora.recorded import Root, add_clips, make_corpus
from tests.kit.corpora.rows import add, in_folder
from tests.kit.sources.recordings import Clip, clip

MTIME = 1_700_000_000_000_000_000


def run(root: Root, dest: Path, **options: Any) -> ExportReport:
    return export(root.reference, dest, allow_plaintext_export=True, **{"threads": 2, **options})


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.jsonl"
    }


def errors(report: ExportReport) -> list[tuple[str, type[Exception]]]:
    return sorted((path, type(error)) for path, error in report.failed)


# ---------------------------------------------------------------------------------------------------------- the files


def test_every_file_comes_back_byte_for_byte_with_its_time(root: Root, dest: Path) -> None:
    seen: list[tuple[int, ...]] = []
    report = run(root, dest, progress=lambda *numbers: seen.append(numbers))
    wanted = {one.path: one.data for one in root.clips}
    assert content(dest) == wanted
    assert {(dest / path).stat().st_mtime_ns for path in wanted} == {MTIME}
    total = sum(map(len, wanted.values()))
    assert (report.files, report.written, report.right_already, report.bytes) == (6, 6, 0, total)
    assert report.complete
    assert seen[-1] == (6, 6, total, total)
    assert report.manifest == str(dest / "manifest.jsonl")


def test_it_has_to_be_allowed(root: Root, dest: Path) -> None:
    with pytest.raises(PlaintextRefused, match="--allow-plaintext-export"):
        export(root.reference, dest)
    assert not dest.exists()


def test_a_second_run_reads_no_object_and_mends_what_is_wrong(root: Root, dest: Path) -> None:
    run(root, dest)
    (dest / "ann/utt0.wav").unlink()
    os.utime(dest / "ann/utt1.flac")
    before = {path: path.stat().st_ino for path in dest.rglob("*")}
    report = run(root, dest)
    assert (report.written, report.right_already) == (1, 5)
    assert content(dest) == {one.path: one.data for one in root.clips}
    assert (dest / "ann/utt1.flac").stat().st_mtime_ns == MTIME
    assert {path: path.stat().st_ino for path in before if path.exists()}.items() >= {
        path: ino for path, ino in before.items() if path.name != "utt0.wav"
    }.items()
    for path in Path(root, "objects").rglob("*"):
        if path.is_file():
            path.unlink()
    assert run(root, dest).right_already == 6


def test_a_file_that_is_another_one_stays(root: Root, dest: Path) -> None:
    (dest / "ann").mkdir(parents=True)
    mine = b"my own" + root.clips[0].data[6:]  # of the right size
    (dest / "ann/utt0.wav").write_bytes(mine)
    (dest / "bob").mkdir()
    (dest / "bob/utt0.wav").write_bytes(b"short")
    report = run(root, dest)
    assert errors(report) == [("ann/utt0.wav", AlreadyExists), ("bob/utt0.wav", AlreadyExists)]
    assert all("--overwrite" in str(error) and "utt0" not in str(error) for _, error in report.failed)
    assert (dest / "ann/utt0.wav").read_bytes() == mine
    assert report.written == 4
    assert not report.complete
    assert run(root, dest, overwrite=True).complete
    assert content(dest) == {one.path: one.data for one in root.clips}


def test_a_large_file_is_read_in_pieces(tmp_path: Path, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("securedata.corpus.export.export.WHOLE", 64 * 1024)
    large = clip("ann/long.wav", 5.0, seed=9)
    root = make_corpus(tmp_path, [large, clip("ann/short.wav", 0.1)])
    assert len(large.data) > 2 * 64 * 1024
    assert run(root, dest).complete
    assert (dest / "ann/long.wav").read_bytes() == large.data


def test_empty_files_and_odd_names(tmp_path: Path, dest: Path) -> None:
    reference, writer = in_folder(tmp_path / "sealed")
    files = {
        "empty.bin": b"",
        "a/" + "ä" * 127 + ".": b"255 bytes, so that no suffix fits behind it",
        "a/.hidden": b"h",
        "a b/c'\"$(d).part": b"q",
        " ": b"blank",
    }
    assert max(len(name.encode()) for path in files for name in path.split("/")) == 255
    add(writer, files)
    assert export(reference, dest, allow_plaintext_export=True).complete
    assert content(dest) == files


def test_segments_come_back_as_their_recording_once(tmp_path: Path, dest: Path) -> None:
    talk = clip("ann/talk.wav", 3.0, rate=8000, segments=[(0, 8000), (8000, 4000)])
    root = make_corpus(tmp_path, [talk, clip("ann/utt.wav")])
    report = run(root, dest)
    assert content(dest) == {one.path: one.data for one in root.clips}
    assert (report.rows, report.files) == (3, 2)


def test_a_part_by_prefix(root: Root, dest: Path) -> None:
    report = run(root, dest, path="bob")
    assert sorted(content(dest)) == ["bob/utt0.wav", "bob/utt1.flac", "bob/utt2.wav"]
    assert report.files == 3
    one = dest.with_name("one")
    run(root, one, path="ann/utt0.wav/")
    assert sorted(content(one)) == ["ann/utt0.wav"]
    for nothing in ("b", "bob/utt", "eve"):
        with pytest.raises(NoSuchPath) as raised:
            run(root, dest.with_name("nothing"), path=nothing)
        assert raised.value.path == nothing
        assert repr(nothing) not in str(raised.value)
    assert not dest.with_name("nothing").exists()


# ----------------------------------------------------------------------------------------------------- what goes wrong


def test_a_missing_or_damaged_object_is_noted_and_the_rest_comes_back(root: Root, dest: Path) -> None:
    with open_corpus(root.reference) as corpus:
        ids = [corpus.value("object_id", corpus.find(path)) for path in ("ann/utt0.wav", "bob/utt1.flac")]
    Path(root, object_key(ids[0])).unlink()
    damaged = Path(root, object_key(ids[1]))
    damaged.write_bytes(damaged.read_bytes()[:-3])
    report = run(root, dest)
    assert [path for path, _ in errors(report)] == ["ann/utt0.wav", "bob/utt1.flac"]
    assert isinstance(dict(report.failed)["ann/utt0.wav"], ObjectMissing)
    assert len(content(dest)) == 4  # and nothing of the two, under no name


def test_content_that_is_not_its_source_is_never_left_there(tmp_path: Path, dest: Path) -> None:
    reference, writer = in_folder(tmp_path / "sealed")
    add(writer, {"ann/1.bin": b"one"}, source_sha256=bytes(32))
    report = export(reference, dest, allow_plaintext_export=True)
    assert errors(report) == [("ann/1.bin", MalformedManifest)]
    assert content(dest) == {}


def test_two_contents_for_one_file(tmp_path: Path, dest: Path) -> None:
    first = clip("ann/talk.wav", 2.0, seed=1)
    root = make_corpus(tmp_path, [first])
    add_clips(root, [clip("ann/talk.wav", 2.0, seed=2, segments=[(0, 8000)])])
    report = run(root, dest)
    assert errors(report) == [("ann/talk@0-8000.wav", MalformedManifest)]
    assert (dest / "ann/talk.wav").read_bytes() == first.data


@pytest.mark.parametrize("path", ["../evil.wav", "/tmp/evil.wav", "a/../../evil.wav", "a//b", "a\nb"])
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, dest: Path, path: str) -> None:
    reference, writer = in_folder(tmp_path / "sealed")
    add(writer, {path: b"evil", "good.bin": b"good"})
    before = set(tmp_path.rglob("*"))
    report = export(reference, dest, allow_plaintext_export=True)
    assert errors(report) == [(path, InvalidArgument)]
    assert content(dest) == {"good.bin": b"good"}
    assert {one for one in set(tmp_path.rglob("*")) - before if dest not in (one, *one.parents)} == set()


@pytest.mark.parametrize("overwrite", [True, False])
def test_links_in_the_destination_lead_nowhere(root: Root, dest: Path, overwrite: bool) -> None:
    outside = dest.with_name("outside")
    outside.mkdir()
    (outside / "mine.wav").write_bytes(b"mine")
    dest.mkdir()
    (dest / "ann").symlink_to(outside)
    (dest / "bob").mkdir()
    (dest / "bob/utt0.wav").symlink_to(outside / "mine.wav")
    (dest / "bob/utt1.flac").symlink_to(outside / "new.flac")
    report = run(root, dest, overwrite=overwrite)
    ann = [(f"ann/{name}", AlreadyExists) for name in ("utt0.wav", "utt1.flac", "utt2.ogg")]
    bob = [] if overwrite else [(f"bob/{name}", AlreadyExists) for name in ("utt0.wav", "utt1.flac")]
    assert errors(report) == ann + bob
    assert content(outside) == {"mine.wav": b"mine"}
    assert (dest / "bob/utt0.wav").is_symlink() != overwrite


def test_a_folder_where_a_file_belongs_and_the_reverse(root: Root, dest: Path) -> None:
    (dest / "bob/utt0.wav").mkdir(parents=True)
    (dest / "ann").write_bytes(b"a file")
    report = run(root, dest, overwrite=True)
    assert [path for path, _ in report.failed] == ["ann/utt0.wav", "ann/utt1.flac", "ann/utt2.ogg", "bob/utt0.wav"]
    assert {type(error) for _, error in report.failed} == {AlreadyExists}
    assert not any("utt" in str(error) for _, error in report.failed)


def test_the_destination_itself_may_be_a_link(root: Root, dest: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    dest.symlink_to(tmp_path / "disk")
    assert run(root, dest).complete
    assert len(content(tmp_path / "disk")) == 6


def test_a_destination_that_cannot_be_one(root: Root, dest: Path) -> None:
    dest.write_bytes(b"a file")
    with pytest.raises(InvalidArgument, match="is a file"):
        run(root, dest)
    for inside in (Path(root), Path(root, "objects")):
        with pytest.raises(InvalidArgument, match="inside the corpus"):
            run(root, inside)
    with pytest.raises(AccessDenied if os.getuid() else StorageUnreachable):
        run(root, Path("/proc/nowhere"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_ends_it_at_once(root: Root, dest: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    calls: list[int] = []
    write = os.write

    def full(fd: int, data: Any) -> int:
        if os.readlink(f"/proc/self/fd/{fd}").startswith("/memfd:"):  # the index is in no file
            return write(fd, data)
        calls.append(fd)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageUnreachable, match=os.strerror(code)):
        run(root, dest, threads=1)
    monkeypatch.undo()
    assert len(calls) < 6
    assert content(dest) == {}
    assert run(root, dest).complete


def test_an_interrupt_leaves_whole_files_only(root: Root, dest: Path) -> None:
    def interrupt(done: int, *_: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(root, dest, progress=interrupt)
    wanted = {one.path: one.data for one in root.clips}
    assert content(dest).items() <= wanted.items()
    assert run(root, dest).complete
    assert content(dest) == wanted


def test_a_large_file_under_way_is_stopped(dest: Path) -> None:
    out = Destination(str(dest), "/nowhere")
    begun = threading.Event()
    ended: list[BaseException] = []

    def endless() -> Any:
        while True:
            begun.set()
            yield b"x" * 1000

    def write() -> None:
        try:
            out.write("a/endless.bin", endless(), sha256=bytes(32), size=1)
        except StorageUnreachable as error:
            ended.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(10)
    out.stop()
    thread.join(10)
    assert "run it again" in str(ended[0])
    assert content(dest) == {}


KILLED = """
import os, signal, sys
from securedata.corpus.config import resolve
from securedata.corpus.export.export import export

def wait_for_the_kill(done, files, *bytes_):
    if done == files // 2:
        os.kill(os.getpid(), signal.SIGSTOP)

export(resolve(sys.argv[1]), sys.argv[2], allow_plaintext_export=True, threads=1, progress=wait_for_the_kill)
"""


def test_killed_and_run_again(tmp_path: Path, dest: Path) -> None:
    clips = [Clip(f"ann/{n}.bin", os.urandom(300_000), columns={"format": "x", "frames": 1}) for n in range(60)]
    root = make_corpus(tmp_path, clips)
    process = subprocess.Popen([sys.executable, "-c", KILLED, root, dest])
    limit = time.monotonic() + 60
    while time.monotonic() < limit and len(list(dest.rglob("*.bin"))) < 3:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    wanted = {one.path: one.data for one in clips}
    found = {path: data for path, data in content(dest).items() if not path.endswith(".part")}
    assert 3 <= len(found) < 60
    assert found.items() <= wanted.items()
    report = run(root, dest)
    assert report.right_already == len(found)
    assert content(dest) == wanted  # no leftover of the one that was being written
