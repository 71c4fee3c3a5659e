"""What a disk failed to flush is lost: the second fsync succeeds, and the data are gone, so nothing of it counts."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from securedata.cli.main import main
from securedata.corpus.config import Reference
from securedata.corpus.state.layout import object_key
from securedata.errors import NotFound, OutcomeUnknown, SecuredataError, StorageUnreachable
from securedata.files import close_quietly
from securedata.storage import unflushed
from securedata.storage.local import LocalStorage
from tests.kit.cli.commandline import PATTERN
from tests.kit.corpora.contents import current, keys_of, look, named_keys
from tests.kit.corpora.rows import content, make, row, table, writer_of
from tests.kit.sources.recordings import write_clips

KEY = "objects/3f/3f0000000000000000000000000000{:02x}"


class Disk:
    """Fails chosen calls of fsync and syncfs once, as a disk does: the next ones succeed, and the data are gone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails: Callable[[str], bool] = lambda _: False
        self.error = errno.EIO
        self.calls: list[str] = []
        fsync, syncfs = os.fsync, unflushed._syncfs
        monkeypatch.setattr(os, "fsync", lambda fd: self._ask(os.readlink(f"/proc/self/fd/{fd}"), fsync, fd))
        monkeypatch.setattr(unflushed, "_syncfs", lambda fd: self._ask("syncfs", syncfs, fd))

    def _ask(self, what: str, real: Callable[[int], None], fd: int) -> None:
        self.calls.append(what)
        if self.fails(what):
            raise OSError(self.error, os.strerror(self.error))
        real(fd)

    def fail(self, number: int, error: int = errno.EIO, what: str = "") -> None:
        """Fail the call of that number from now on, of those whose name holds `what`."""
        left = [number]

        def fails(name: str) -> bool:
            if what in name:
                left[0] -= 1
                return left[0] == -1
            return False

        self.fails, self.error, self.calls = fails, error, []

    @property
    def failed(self) -> bool:
        return self.fails.__closure__ is not None


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(str(tmp_path / "root"))


# -------------------------------------------------------------------------------------------------------- the storage


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("files", [1, 3, unflushed.MANY, unflushed.MANY + 1])
@pytest.mark.parametrize("which", ["first", "last", "folder"])
def test_of_a_batch_that_failed_nothing_is_there(
    which: str, files: int, error: int, storage: LocalStorage, disk: Disk
) -> None:
    storage.put_new("manifest/" + "0" * 32, [b"before"])
    storage.make_durable()
    keys = [KEY.format(number) for number in range(files)]
    for key in keys:
        storage.put_new(key, [b"x"])
    together = files > unflushed.MANY
    disk.fail(0 if which == "first" or together else files - 1 if which == "last" else files, error)
    with pytest.raises(StorageUnreachable, match="none of it counts as stored") as caught:
        storage.make_durable()
    assert os.strerror(error) in str(caught.value)
    assert storage.lost == 1
    assert [entry.key for entry in storage.list()] == ["manifest/" + "0" * 32]
    disk.fail(10**9)
    storage.make_durable()
    assert disk.calls == [], "a second flush would say nothing"
    for key in keys:
        with pytest.raises(NotFound):
            storage.get(key)
        storage.put_new(key, [b"again"])
    storage.make_durable()
    assert [storage.get(key) for key in keys] == [b"again"] * files


def test_a_file_is_flushed_by_the_descriptor_that_wrote_it(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptions: dict[int, set[int]] = {}
    write, fsync = os.write, os.fsync

    def position(fd: int) -> int:
        return os.lseek(fd, 0, os.SEEK_CUR)

    def wrote(fd: int, data: bytes) -> int:
        done = write(fd, data)
        descriptions.setdefault(os.fstat(fd).st_ino, set()).add(position(fd))
        return done

    def flushed(fd: int) -> None:
        inode = os.fstat(fd).st_ino
        if inode in descriptions:
            assert position(fd) in descriptions.pop(inode), "another descriptor would be at its beginning"
        fsync(fd)

    monkeypatch.setattr(os, "write", wrote)
    monkeypatch.setattr(os, "fsync", flushed)
    for number in range(5):
        storage.put_new(KEY.format(number), [b"some", b"thing"])
    storage.make_durable()
    storage.replace("head", b"one", None)
    storage.replace("head", b"two", storage.get_versioned("head")[1])
    assert not descriptions


def test_what_fails_to_close_behind_a_flush_says_nothing(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.put_new(KEY.format(1), [b"x"])
    batch_, close, closed = storage._batch, os.close, []
    assert batch_ is not None
    ours = {*batch_._files, *batch_._disks.values(), batch_.root.fd}
    storage.make_durable()

    def fail(fd: int) -> None:
        close(fd)
        if fd in ours:
            closed.append(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(close_quietly, "__defaults__", (fail,))  # bound, for the end of the interpreter
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    storage._root = None
    del batch_
    assert sorted(closed) == sorted(ours), "each of them"
    assert not unraisable


def test_many_files_are_flushed_by_a_descriptor_from_before_they_were_written(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not unflushed.SYNCFS:
        pytest.fail("this kernel is too old to tell")
    opened: list[tuple[int, int]] = []
    watch, write = unflushed.Unflushed.watch, os.write
    wrote: list[int] = []
    monkeypatch.setattr(
        unflushed.Unflushed, "watch", lambda self, folder: (watch(self, folder), opened.append((len(wrote), folder)))[0]
    )
    monkeypatch.setattr(os, "write", lambda fd, data: (wrote.append(fd), write(fd, data))[1])
    flushed: list[int] = []
    monkeypatch.setattr(unflushed, "_syncfs", lambda fd: flushed.append(os.fstat(fd).st_dev))
    for number in range(100):
        storage.put_new(KEY.format(number), [b"x"])
    assert min(when for when, _ in opened) == 0
    storage.make_durable()
    assert flushed == [os.stat(storage.path).st_dev]


def test_every_disk_of_a_root_is_flushed(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """`objects` may be mounted there."""
    fstat, flushed = os.fstat, []

    def mounted(fd: int) -> os.stat_result:
        status = fstat(fd)
        if os.readlink(f"/proc/self/fd/{fd}").endswith("/objects/3f"):
            return os.stat_result((status.st_mode, status.st_ino, status.st_dev + 1, *status[3:]))
        return status

    monkeypatch.setattr(unflushed.os, "fstat", mounted)
    monkeypatch.setattr(unflushed, "_syncfs", lambda fd: flushed.append(os.readlink(f"/proc/self/fd/{fd}")))
    for number in range(100):
        storage.put_new(KEY.format(number), [b"x"])
    storage.make_durable()
    assert flushed == [storage.path, f"{storage.path}/objects/3f"]


def test_a_file_that_is_written_while_a_batch_fails_tells_by_itself(storage: LocalStorage, disk: Disk) -> None:
    storage.put_new(KEY.format(1), [b"x"])
    disk.fail(0)

    def pieces() -> Iterator[bytes]:
        yield b"half "
        with pytest.raises(StorageUnreachable):
            storage.make_durable()
        yield b"and half"

    storage.put_new(KEY.format(2), pieces())
    assert any(".tmp-" in call for call in disk.calls[-2:]), "it was flushed by its own descriptor"
    storage.make_durable()
    assert storage.get(KEY.format(2)) == b"half and half"

    def more() -> Iterator[bytes]:
        yield b"half "
        storage.make_durable()
        disk.fail(0)

    storage.put_new(KEY.format(3), [b"x"])
    with pytest.raises(StorageUnreachable):
        storage.put_new(KEY.format(4), more())


def test_threads_that_put_while_others_flush_lose_nothing(storage: LocalStorage, disk: Disk) -> None:
    stop = threading.Event()
    failed: list[BaseException] = []

    def flush() -> None:
        while not stop.is_set():
            try:
                storage.make_durable()
            except SecuredataError as error:
                failed.append(error)

    thread = threading.Thread(target=flush)
    thread.start()
    try:
        for number in range(200):
            storage.put_new(KEY.format(number), [b"x"])
    finally:
        stop.set()
        thread.join()
    assert not failed
    storage.make_durable()
    flushed = {call.rpartition("/")[2].partition(".tmp-")[0].partition(" ")[0] for call in disk.calls}
    assert {KEY.format(number).rpartition("/")[2] for number in range(200)} <= flushed or "syncfs" in disk.calls


# ------------------------------------------------------------------------------------------------------------ commits


@pytest.fixture
def corpus(tmp_path: Path) -> Reference:
    return make(root=str(tmp_path / "sealed"))


@pytest.mark.parametrize("number", range(6))
def test_what_a_commit_could_not_flush_is_sealed_again(number: int, corpus: Reference, disk: Disk) -> None:
    writer = writer_of(corpus)
    rows = table(row(writer, "a", content("a")), row(writer, "b", content("b")))
    disk.fail(number, what="/objects" if number < 3 else "/sealed")
    with pytest.raises(StorageUnreachable):
        writer.commit(rows)
    disk.fail(10**9)
    outcome = writer.commit(rows)
    assert (outcome.added, sorted(outcome.stale)) == (0, ["a", "b"]), "the caller hears that they must be sealed again"
    assert current(corpus) == {}
    again = table(row(writer, "a", content("a")), row(writer, "b", content("b")))
    assert writer.commit(again).added == 2
    whole(corpus, "a", "b")
    assert not {object_key(id) for id in rows.column("object_id").to_pylist()} & keys_of(writer.storage)


def whole(corpus: Reference, *paths: str) -> None:
    assert set(current(corpus)) == set(paths)
    storage = LocalStorage(corpus.root)
    assert named_keys(look(corpus, storage).head, storage) <= keys_of(storage)


def test_a_part_that_was_not_flushed_is_made_again_when_the_commit_is_tried_again(
    corpus: Reference, disk: Disk
) -> None:
    first, second = writer_of(corpus), writer_of(corpus)
    storage = first.storage
    rows = table(row(first, "a", content("a")))
    replace, parts = storage.replace, set()

    def lose_once(key: str, data: bytes, version: str | None) -> None:
        parts.update(entry.key for entry in storage.list("manifest/"))
        storage.replace = replace  # type: ignore[method-assign]  # for one call
        second.commit(table(row(second, "b", content("b"))))
        replace(key, data, version)

    storage.replace = lose_once  # type: ignore[method-assign,assignment]  # for one call
    assert first.commit(rows).added == 1
    whole(corpus, "a", "b")
    disk.fail(0, what="/manifest")
    with pytest.raises(StorageUnreachable):
        first.commit(table(row(first, "c", content("c"))))
    assert first.commit(table(row(first, "c", content("c")))).added == 1
    whole(corpus, "a", "b", "c")


def test_two_writers_through_one_storage_hear_of_each_other_s_losses(corpus: Reference, disk: Disk) -> None:
    storage = LocalStorage(corpus.root)
    first, second = writer_of(corpus, storage), writer_of(corpus, storage)
    rows = table(row(first, "a", content("a")))
    disk.fail(0, what="/objects")
    with pytest.raises(StorageUnreachable):
        second.commit(table(row(second, "b", content("b"))))
    assert first.commit(rows).stale
    assert current(corpus) == {}
    first.commit(table(row(first, "a", content("a"))))
    whole(corpus, "a")


# ----------------------------------------------------------------------------------------------------------- the head


@pytest.mark.parametrize("what", ["head.prev", "head"])
def test_a_head_that_cannot_be_flushed_is_not_committed(what: str, storage: LocalStorage, disk: Disk) -> None:
    storage.replace("head", b"one", None)
    version = storage.get_versioned("head")[1]
    disk.fail(0, errno.ENOSPC, what=f"/{what}.tmp-")
    with pytest.raises(StorageUnreachable):
        storage.replace("head", b"two", version)
    assert storage.get("head") == b"one"
    assert {path.name for path in Path(storage.path).iterdir()} <= {"head", "head.prev", ".lock"}
    storage.replace("head", b"two", version)


def test_a_head_whose_name_cannot_be_flushed_may_not_last(corpus: Reference, disk: Disk) -> None:
    writer = writer_of(corpus)
    rows = table(row(writer, "a", content("a")))
    replace = writer.storage.replace

    def fail(key: str, data: bytes, version: str | None) -> None:
        disk.fails = lambda name: name == corpus.root
        try:
            replace(key, data, version)
        finally:
            disk.fails = lambda _: False

    writer.storage.replace = fail  # type: ignore[method-assign,assignment]  # for one call
    with pytest.raises(OutcomeUnknown, match="might not survive a power cut"):
        writer.commit(rows)
    assert {object_key(id) for id in rows.column("object_id").to_pylist()} <= keys_of(writer.storage)
    whole(corpus, "a")
    disk.calls = []
    again = writer_of(corpus)
    assert corpus.root in disk.calls, "who builds on that head flushes its name first"
    assert again.commit(table(row(again, "a", content("a")))).unchanged == 1
    whole(corpus, "a")


@pytest.mark.parametrize("what", ["/objects", "/manifest", "head.tmp-", "syncfs"])
def test_an_ingest_on_a_disk_that_fails_is_run_again(
    what: str, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wavs, sealed = write_clips(tmp_path / "wavs"), str(tmp_path / "sealed")
    if what == "syncfs":
        monkeypatch.setattr(unflushed, "MANY", 1)
    encrypt = ["encrypt", str(wavs), sealed, *PATTERN]
    assert main(["init", sealed]) == 0
    disk.fail(0, what=what)
    code = main(encrypt)
    said = capsys.readouterr().err
    if what == "head.tmp-":  # a new temporary is written and flushed, so nothing is lost
        assert code == 0
    else:
        assert code == 1
        assert "none of it counts as stored" in said
    disk.fail(10**9)
    assert main(encrypt) == 0
    assert main(["verify", sealed]) == 0
    assert "all is well" in capsys.readouterr().out
