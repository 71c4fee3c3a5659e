"""The storages keep their contract; what is special about a folder."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

pytest.register_assert_rewrite("securedata.testing.storage")

from securedata.errors import (  # noqa: E402 - after the rewrite is asked for
    AccessDenied,
    InvalidArgument,
    NotFound,
    StorageUnreachable,
    UnsafeStorage,
)
from securedata.storage import beneath, mounts, unflushed  # noqa: E402 - as above
from securedata.storage.base import Storage, Wanted  # noqa: E402 - as above
from securedata.storage.file_lock import LOCK  # noqa: E402 - as above
from securedata.storage.local import LocalStorage  # noqa: E402 - as above
from securedata.storage.registry import open_storage  # noqa: E402 - as above
from securedata.testing.memory import MemoryStorage  # noqa: E402 - as above
from securedata.testing.storage import OBJECT, OTHER, PART, StorageContract, raised  # noqa: E402 - as above


class TestLocalStorage(StorageContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "not yet" / "root"

    def new(self) -> Storage:
        return LocalStorage(str(self.path))

    def again(self, storage: Storage) -> Storage:
        return LocalStorage(storage.url)


class TestMemoryStorage(StorageContract):
    def new(self) -> Storage:
        return MemoryStorage()

    def again(self, storage: Storage) -> Storage:
        return storage


class Forgetful(MemoryStorage):
    """An S3 clone that answers 200 to whatever is written."""

    def replace(self, key: str, data: bytes | bytearray | memoryview, version: str | None) -> None:
        self.objects[key] = (bytes(data), self.clock)


def test_the_contract_finds_a_storage_whose_conditional_puts_lie() -> None:
    class Contract(StorageContract):
        def new(self) -> Storage:
            return Forgetful()

        def again(self, storage: Storage) -> Storage:
            return storage

    with pytest.raises(AssertionError, match="PreconditionFailed was not raised"):
        Contract().test_a_head_is_replaced_only_by_whoever_read_it()
    with pytest.raises(AssertionError, match="exactly one"):
        Contract().test_one_of_many_replaces_wins()


# ------------------------------------------------------------------------------------------------------------ a folder


@pytest.mark.parametrize("url", ["{}", "file://{}"])
def test_a_path_and_a_file_url_are_the_same_place(url: str, tmp_path: Path) -> None:
    LocalStorage(str(tmp_path)).put_new(OBJECT, [b"x"])
    assert open_storage(url.format(tmp_path)).get(OBJECT) == b"x"


def test_other_schemes_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="gopher"):
        open_storage("gopher://somewhere/corpus")


def test_an_empty_path_is_not_the_working_directory() -> None:
    with pytest.raises(InvalidArgument):
        LocalStorage("")


def test_a_replaced_head_stays_as_head_prev(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path))
    for number in range(3):
        version = storage.get_versioned("head")[1] if number else None
        storage.replace("head", f"head {number}".encode(), version)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != LOCK} == {
        "head": b"head 2",
        "head.prev": b"head 1",
    }


def test_the_lock_file_stays_the_same_file(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path))
    storage.replace("head", b"one", None)
    inode = (tmp_path / LOCK).stat().st_ino
    storage.replace("head", b"two", storage.get_versioned("head")[1])
    storage.now()
    assert (tmp_path / LOCK).stat().st_ino == inode
    assert LOCK not in {entry.key for entry in storage.list()}


def test_a_held_lock_keeps_others_out(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path))
    storage.replace("head", b"one", None)
    program = (
        "import fcntl, sys\n"
        f"file = open({str(tmp_path / LOCK)!r}, 'r+')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == b"held\n"
        writer = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from securedata.storage.local import LocalStorage\n"
                f"storage = LocalStorage({str(tmp_path)!r})\n"
                "storage.replace('head', b'two', storage.get_versioned('head')[1])\n",
            ]
        )
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(1.0)
        assert storage.get("head") == b"one"
        holder.stdin.close()
        assert writer.wait(60) == 0
    assert storage.get("head") == b"two"


class Flushed:
    """The files and folders that were flushed, by their paths in a root, and the renames, in order."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._events: list[int | str] = []
        fsync, rename, syncfs = os.fsync, os.rename, unflushed._syncfs
        monkeypatch.setattr(os, "fsync", lambda fd: (self._events.append(os.fstat(fd).st_ino), fsync(fd)))
        monkeypatch.setattr(
            os, "rename", lambda a, b, **at: (self._events.append(f"rename to {b}"), rename(a, b, **at))
        )
        monkeypatch.setattr(unflushed, "_syncfs", lambda fd: (self._events.append("syncfs"), syncfs(fd)))

    def take(self) -> list[str]:
        paths = {path.stat().st_ino: f"/{path.relative_to(self.root)}" for path in self.root.rglob("*")}
        paths[self.root.stat().st_ino] = "/"
        events, self._events = self._events, []
        return [event if isinstance(event, str) else f"fsync {paths[event]}" for event in events]


@pytest.mark.parametrize("objects", [2, 100])
@pytest.mark.parametrize("syncfs", [True, False])
def test_objects_are_durable_before_the_head_that_names_them(
    objects: int, syncfs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unflushed, "SYNCFS", syncfs)
    storage = LocalStorage(str(tmp_path))
    storage.replace("head", b"one", None)
    flushed = Flushed(tmp_path, monkeypatch)
    keys = [f"{OBJECT[:-2]}{number:02x}" for number in range(objects)]
    for key in keys:
        storage.put_new(key, [b"x"])
    at_once = flushed.take()
    assert not at_once or not syncfs, "nobody waits for a disk object by object, where it is not needed"
    storage.make_durable()
    events = at_once + flushed.take()
    if objects == 2 or not syncfs:
        wanted = {f"fsync /{key}" for key in keys} | {"fsync /objects/3f", "fsync /objects", "fsync /"}
        assert set(events) == wanted
        files = [events.index(f"fsync /{key}") for key in keys]
        assert max(files) < events.index("fsync /objects/3f"), "a folder after the files whose names it holds"
        assert events.index("fsync /objects/3f") < events.index("fsync /objects") < events.index("fsync /")
    else:
        assert events == ["syncfs"]
    storage.make_durable()
    assert flushed.take() == []
    storage.replace("head", b"two", storage.get_versioned("head")[1])
    assert flushed.take() == ["fsync /head.prev", "rename to head.prev", "fsync /head", "rename to head", "fsync /"]


def test_a_put_that_is_killed_leaves_nothing_under_its_key(tmp_path: Path) -> None:
    program = (
        "import os, signal\n"
        "from securedata.storage.local import LocalStorage\n"
        "def pieces():\n"
        "    yield b'half of it'\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"LocalStorage({str(tmp_path)!r}).put_new({OBJECT!r}, pieces())\n"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    storage = LocalStorage(str(tmp_path))
    raised(NotFound, lambda: storage.get(OBJECT))
    left = [entry.key for entry in storage.list("objects/")]
    assert len(left) == 1, "what is left of it can be found and deleted"
    assert left[0].startswith(f"{OBJECT}.tmp-")
    storage.put_new(OBJECT, [b"whole"])
    storage.delete(left[0])
    assert [entry.key for entry in storage.list("objects/")] == [OBJECT]


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOENT, NotFound),
        (errno.ENOTDIR, NotFound),
        (errno.EACCES, AccessDenied),
        (errno.EPERM, AccessDenied),
        (errno.EROFS, AccessDenied),
        (errno.ENOSPC, StorageUnreachable),
        (errno.EIO, StorageUnreachable),
        (errno.EDQUOT, StorageUnreachable),
    ],
)
def test_a_disk_s_errors_are_ours(
    number: int, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(str(tmp_path))
    storage.replace("head", b"one", None)
    version = storage.get_versioned("head")[1]

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(beneath.Root, "_open", fail)
        patch.setattr(beneath, "_fast_syscall", lambda *_: -1)
        for call in (
            lambda: storage.get(OBJECT),
            lambda: storage.get_ranges(OBJECT, [(0, 1)]),
            lambda: storage.put_new(OBJECT, [b"x"]),
            lambda: storage.replace("head", b"two", version),
            *([] if number == errno.ENOENT else [lambda: storage.now()]),  # a lock that is missing is made
        ):
            caught = raised(error, call)
            assert str(tmp_path) in str(caught)
        assert [type(got) for _, got in storage.get_many([Wanted(OBJECT, 0, 1)], 100)] == [error]
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        raised(error, lambda: storage.put_new(OBJECT, [b"x"]))
        raised(error, lambda: storage.replace("head", b"two", version))
    assert storage.get("head") == b"one"
    assert list(storage.list("objects/")) == []
    assert {path.name for path in tmp_path.iterdir()} <= {"head", LOCK, "objects"}, "no temporary stays"


def test_a_file_in_the_place_of_the_root_is_no_corpus(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("something else")
    storage = LocalStorage(str(file))
    raised(NotFound, lambda: storage.get("head"))
    assert list(storage.list()) == []
    assert file.read_text() == "something else"


def test_objects_get_the_rights_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        LocalStorage(str(tmp_path)).put_new(OBJECT, [b"x"])
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / OBJECT).stat().st_mode) == 0o640


# ------------------------------------------------------------------------------------------- where writing is not safe

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /mnt rw - tmpfs tmpfs rw
31 30 0:41 / /mnt/nfs rw,relatime master:3 - nfs4 server:/export rw
32 30 0:42 / /mnt/with\\040blank rw - fuse.sshfs host: rw
33 31 0:43 / /mnt/nfs/scratch rw - xfs /dev/sdb rw
34 22 0:44 / /mnt/\u0141\u00f3d\u017a\u2028x rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/ann/sealed", "ext4"),
        ("/mnt/sealed", "tmpfs"),
        ("/mnt/nfs", "nfs4"),
        ("/mnt/nfs/voice", "nfs4"),
        ("/mnt/nfsx", "tmpfs"),
        ("/mnt/with blank/voice", "fuse.sshfs"),
        ("/mnt/nfs/scratch/voice", "xfs"),
        ("/mnt/\u0141\u00f3d\u017a\u2028x/voice", "cifs"),
    ],
)
def test_network_file_systems_are_refused_for_writing(
    path: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    monkeypatch.setattr(mounts, "Path", lambda _: table)
    assert mounts.file_system(path) == kind
    storage = LocalStorage(path)
    if kind.startswith(("nfs", "fuse", "cifs")):
        with pytest.raises(UnsafeStorage, match="--single-writer"):
            storage.check_writable()
    else:
        storage.check_writable()
    storage.check_writable(single_writer=True)


def test_this_machine_s_mounts_can_be_read(tmp_path: Path) -> None:
    assert mounts.file_system(str(tmp_path))
    assert PART != OTHER
