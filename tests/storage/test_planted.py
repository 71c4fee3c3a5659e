"""Who may write into a local root cannot steer what others open: nothing below it is followed, and nothing hangs."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from securedata.errors import LimitExceeded, NotAFile, NotFound, PreconditionFailed, SecuredataError
from securedata.storage import base, local
from securedata.storage.base import Wanted
from securedata.storage.file_lock import LOCK
from securedata.storage.local import LocalStorage

OBJECT = "objects/3f/3f000000000000000000000000000001"
OTHER = "objects/3f/3f000000000000000000000000000002"
PART = "manifest/aa000000000000000000000000000001"
PRECIOUS = b"precious, and none of theirs"


pytestmark = pytest.mark.usefixtures("way")


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    """A root with two objects, a part and a head."""
    storage = LocalStorage(str(tmp_path / "root"))
    for key in (OBJECT, OTHER, PART):
        storage.put_new(key, [key.encode()])
    storage.replace("head", b"one", None)
    return storage


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder that is none of the root's, with files under every name that one could be led to."""
    folder = tmp_path / "outside"
    folder.mkdir()
    for key in (OBJECT, OTHER, PART, "head", "head.prev", "head.tmp", LOCK, "victim"):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(PRECIOUS)
        (folder / key).chmod(0o640)
    before = snapshot(folder)
    yield folder
    assert snapshot(folder) == before, "nothing outside the root was made, written, touched or taken away"


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


def everything(storage: LocalStorage) -> dict[str, Callable[[], object]]:
    """Whatever a storage can be asked."""
    return {
        "get": lambda: storage.get(OBJECT),
        "get_ranges": lambda: storage.get_ranges(OBJECT, [(0, 5)]),
        "get_many": lambda: [raise_it(got) for _, got in storage.get_many([Wanted(OBJECT, 0, 5)], 100)],
        "get_versioned": lambda: storage.get_versioned("head", 1000),
        "put_new": lambda: storage.put_new("objects/3f/3f000000000000000000000000000003", [b"new"]),
        "put_new a part": lambda: storage.put_new("manifest/aa000000000000000000000000000003", [b"new"]),
        "replace": lambda: storage.replace("head", b"two", storage.get_versioned("head")[1]),
        "replace None": lambda: storage.replace("head", b"two", None),
        "make_durable": lambda: storage.make_durable(),
        "delete": lambda: storage.delete(OTHER),
        "list": lambda: sorted(entry.key for entry in storage.list()),
        "list objects": lambda: sorted(entry.key for entry in storage.list("objects/")),
        "now": lambda: storage.now(),
        "check_writable": lambda: storage.check_writable(),
    }


def raise_it(got: object) -> object:
    if isinstance(got, SecuredataError):
        raise got
    return got


def within(seconds: float, call: Callable[[], object]) -> object:
    """What a call gives or raises, which must not wait for ever."""
    ended: list[object] = []

    def run() -> None:
        try:
            ended.append(call())
        except BaseException as error:  # noqa: BLE001 - looked at below, in the test's own thread
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert ended, "it hangs"
    return ended[0]


def fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path, _: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path has 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def folder(path: Path, _: Path) -> None:
    path.mkdir()


def link(path: Path, target: Path) -> None:
    path.symlink_to(target)


def dangling(path: Path, target: Path) -> None:
    path.symlink_to(target.with_name("new"))


def relative(path: Path, target: Path) -> None:
    path.symlink_to(os.path.relpath(target, path.parent))


def device(path: Path, _: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero: it gives bytes without end


PLANTS: list[Callable[[Path, Path], None]] = [fifo, a_socket, folder, link, dangling, relative]
if os.geteuid() == 0:  # nobody else can make one
    PLANTS.append(device)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
@pytest.mark.parametrize("name", ["head", "head.prev", "head.tmp", LOCK, OBJECT, OTHER, PART])
def test_what_was_planted_is_neither_followed_nor_waited_for(
    plant: Callable[[Path, Path], None], name: str, storage: LocalStorage, tmp_path: Path, outside: Path
) -> None:
    path = tmp_path / "root" / name
    path.unlink(missing_ok=True)
    plant(path, outside / name)
    for what, call in everything(storage).items():
        got = within(10, call)
        assert not isinstance(got, BaseException) or isinstance(got, SecuredataError), f"{what}: {got!r}"
        assert PRECIOUS not in repr(got).encode(), what
        if what in {OBJECT: ("get", "get_ranges", "get_many"), "head": ("get_versioned", "replace None")}.get(name, ()):
            assert isinstance(got, NotAFile), f"{what}: {got!r}"
            assert str(tmp_path / "root") in str(got)
            assert name in str(got)
        if name in (LOCK, "head.prev") and what == "replace" and (name == LOCK or plant is folder):
            assert isinstance(got, NotAFile), repr(got)
    if name in ("head.tmp", "head.prev") and plant is not folder:
        assert storage.get("head") == b"two", "it is no hindrance"
    assert not (outside / "objects/3f/3f000000000000000000000000000003").exists()


@pytest.mark.parametrize("name", ["objects", "objects/3f", "manifest"])
def test_a_folder_on_another_disk_is_mounted_and_no_link(
    name: str, storage: LocalStorage, tmp_path: Path, outside: Path
) -> None:
    (tmp_path / "root" / name).rename(tmp_path / "moved")
    (tmp_path / "root" / name).symlink_to(outside / name)
    refused = [what for what, call in everything(storage).items() if isinstance(within(10, call), NotAFile)]
    wanted = {"put_new a part"} if name == "manifest" else {"get", "get_ranges", "get_many", "put_new", "delete"}
    assert wanted <= set(refused)
    with pytest.raises(NotAFile, match=rf"{name} is a link, .*mount --bind"):
        storage.put_new(PART if name == "manifest" else OBJECT, [b"x"])
    assert [entry.key for entry in storage.list()].count(name) == 1, "verify tells of it"


def test_a_root_may_be_a_link_itself(storage: LocalStorage, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("root")
    linked = LocalStorage(str(tmp_path / "link"))
    assert linked.get(OBJECT) == OBJECT.encode()
    linked.put_new(OBJECT + "x", [b"x"])
    linked.replace("head", b"two", linked.get_versioned("head")[1])
    linked.check_writable()
    assert storage.get("head") == b"two"


def test_another_folder_under_the_root_s_path_is_seen(storage: LocalStorage, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert storage.get_ranges(OBJECT, [(0, 1)]) == [OBJECT[:1].encode()]
    root.rename(tmp_path / "before")
    with pytest.raises(NotFound):
        storage.get(OBJECT)
    again = LocalStorage(str(root))
    again.put_new(OBJECT, [b"another"])
    again.replace("head", b"another", None)
    assert storage.get("head") == b"another"
    assert storage.get_ranges(OBJECT, [(0, 100)]) == [b"another"]
    (tmp_path / "before" / OTHER).unlink()
    (tmp_path / "before" / OBJECT).unlink()
    assert storage.get(OBJECT) == b"another"


def test_a_reader_finds_what_only_the_new_folder_has(storage: LocalStorage, tmp_path: Path) -> None:
    assert storage.get_ranges(OBJECT, [(0, 1)])
    (tmp_path / "root").rename(tmp_path / "before")
    LocalStorage(str(tmp_path / "root")).put_new(OBJECT + "x", [b"new"])
    assert storage.get_ranges(OBJECT + "x", [(0, 5)]) == [b"new"]


def test_what_was_put_into_a_folder_that_was_moved_away_is_lost(storage: LocalStorage, tmp_path: Path) -> None:
    storage.make_durable()
    for later in (lambda: None, lambda: storage.put_new(OBJECT, [b"x"])):
        lost = storage.lost
        storage.put_new(OBJECT + "new", [b"x"])
        (tmp_path / "root").rename(tmp_path / f"before {lost}")
        (tmp_path / "root").mkdir()
        later()
        if storage.lost == lost:
            with pytest.raises(SecuredataError, match="none of it counts as stored"):
                storage.make_durable()
        assert storage.lost == lost + 1
        storage.put_new(OBJECT + "again", [b"x"])
        storage.make_durable()
        assert storage.lost == lost + 1


def test_a_forked_child_opens_the_root_itself(storage: LocalStorage, tmp_path: Path) -> None:
    storage.put_new(OBJECT + "parent", [b"x"])
    before = storage._root
    pid = os.fork()
    if not pid:  # no assertion of pytest's here
        right = storage._root is None and storage._batch is None and storage.get(OBJECT) == OBJECT.encode()
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert storage._root is before
    assert storage.get(OBJECT)
    storage.make_durable()


def test_a_file_swapped_for_a_link_again_and_again(storage: LocalStorage, tmp_path: Path, outside: Path) -> None:
    path, spare = tmp_path / "root" / OBJECT, tmp_path / "spare"
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            spare.unlink(missing_ok=True)
            spare.symlink_to(outside / "victim")
            os.replace(spare, path)
            spare.write_bytes(OBJECT.encode())
            os.replace(spare, path)

    thread = threading.Thread(target=swap)
    thread.start()
    seen: list[object] = []
    try:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            try:
                seen.append(storage.get(OBJECT))
            except NotAFile:
                seen.append(NotAFile)
    finally:
        stop.set()
        thread.join()
    assert set(seen) == {OBJECT.encode(), NotAFile}


def test_a_huge_head_costs_no_memory(storage: LocalStorage, tmp_path: Path) -> None:
    version = storage.get_versioned("head")[1]
    os.truncate(tmp_path / "root" / "head", 1 << 40)
    for call in (lambda: storage.get("head", 1000), lambda: storage.get_versioned("head", 1000)):
        with pytest.raises(LimitExceeded):
            call()
    for known in (version, None):
        with pytest.raises(PreconditionFailed):
            storage.replace("head", b"two", known)
    assert [entry.size for entry in storage.list() if entry.key == "head"] == [1 << 40]


def test_a_head_up_to_the_limit_is_replaced(
    storage: LocalStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (base, local):
        monkeypatch.setattr(module, "MAX_REPLACED", 10)
    for size in (9, 10):
        storage.replace("head", b"x" * size, storage.get_versioned("head")[1])
    storage.replace("head", b"x" * 11, storage.get_versioned("head")[1])
    with pytest.raises(PreconditionFailed):
        storage.replace("head", b"x", storage.get_versioned("head")[1])


@pytest.mark.parametrize("change", [-50, 50])
def test_a_file_that_grows_or_shrinks_while_it_is_read(
    change: int, storage: LocalStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "root" / OBJECT
    path.write_bytes(b"x" * 100)
    fstat = os.fstat

    def and_change(fd: int) -> os.stat_result:
        status = fstat(fd)
        if status.st_size == 100:
            os.truncate(path, 100 + change)
        return status

    monkeypatch.setattr(os, "fstat", and_change)
    assert storage.get(OBJECT, 100) in (b"x" * 100, b"x" * 50)


def test_a_lease_on_a_file_is_waited_for(storage: LocalStorage, tmp_path: Path) -> None:
    storage.make_durable()
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # what the kernel sends to who holds a lease
    try:
        fd = os.open(tmp_path / "root" / OBJECT, os.O_RDWR)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        timer = threading.Timer(0.3, lambda: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK))
        timer.start()
        began, used = time.monotonic(), time.process_time()
        assert storage.get(OBJECT) == OBJECT.encode()
        assert 0.2 < time.monotonic() - began < 10
        assert time.process_time() - used < 0.2, "not by trying all the time"
        timer.join()
        os.close(fd)
    finally:
        signal.signal(signal.SIGIO, before)
