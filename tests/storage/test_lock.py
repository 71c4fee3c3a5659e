"""The lock of a local root: who may take it, how long it is waited for, and what a file in its place does."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from securedata.errors import AccessDenied, CorpusBusy
from securedata.storage import beneath, file_lock
from securedata.storage.file_lock import LOCK
from securedata.storage.local import LocalStorage
from tests.storage.test_planted import within

pytestmark = pytest.mark.usefixtures("way")


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    """A root with a head."""
    storage = LocalStorage(str(tmp_path / "root"))
    storage.replace("head", b"one", None)
    return storage


@pytest.mark.parametrize(
    ("root_mode", "wanted"), [(0o755, 0o600), (0o700, 0o600), (0o775, 0o660), (0o2770, 0o660), (0o777, 0o660)]
)
@pytest.mark.parametrize("before", [None, 0o644, 0o666])
def test_the_lock_has_the_rights_of_the_root_s_group_and_gives_others_none(
    root_mode: int, wanted: int, before: int | None, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    os.chown(root, -1, 4242) if os.geteuid() == 0 else None
    root.chmod(root_mode)
    if before is not None:
        (root / LOCK).touch()
        (root / LOCK).chmod(before)
    LocalStorage(str(root)).replace("head", b"one", None)
    assert stat.S_IMODE((root / LOCK).stat().st_mode) == wanted
    assert wanted == 0o600 or (root / LOCK).stat().st_gid == root.stat().st_gid
    LocalStorage(str(root)).now()
    assert stat.S_IMODE((root / LOCK).stat().st_mode) == wanted


@pytest.mark.parametrize("content", [b"", b"a key"])
def test_a_file_that_was_given_the_lock_s_name_keeps_its_rights(content: bytes, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(content)
    mine.chmod(0o400)
    root = tmp_path / "root"
    root.mkdir()
    root.chmod(0o777)
    os.link(mine, root / LOCK)
    got = within(10, lambda: LocalStorage(str(root)).replace("head", b"one", None))
    assert got is None or isinstance(got, AccessDenied)
    assert stat.S_IMODE(mine.stat().st_mode) == 0o400
    assert mine.read_bytes() == content


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "r+")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_waiting_for_the_lock_is_said_and_has_an_end(
    storage: LocalStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert (file_lock.WARN_AFTER, file_lock.BUSY) == (5.0, 120.0)
    monkeypatch.setattr(file_lock, "WARN_AFTER", 0.2)
    monkeypatch.setattr(file_lock, "BUSY", 0.6)
    version = storage.get_versioned("head")[1]
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "root" / LOCK)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        began = time.monotonic()
        with pytest.raises(CorpusBusy, match=r"the lock of .* 1 s: find out which one has .lock open"):
            storage.replace("head", b"two", version)
        assert 0.6 <= time.monotonic() - began < 10
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert str(tmp_path / "root") in caplog.text
        assert storage.now() > 0, "it needs no lock"
        assert storage.get("head") == b"one"
        assert holder.stdin is not None
        holder.stdin.close()
    storage.replace("head", b"two", version)


def test_a_child_that_was_forked_under_the_lock_does_not_keep_it(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_lock, "BUSY", 5.0)
    fsync, forked = os.fsync, []

    def fork(fd: int) -> None:
        if not forked:
            forked.append(os.fork())
            if not forked[0]:
                time.sleep(30)
                os._exit(0)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fork)
    storage.replace("head", b"two", storage.get_versioned("head")[1])
    try:
        storage.replace("head", b"three", storage.get_versioned("head")[1])
    finally:
        os.kill(forked[0], 9)
        os.waitpid(forked[0], 0)


def test_a_lock_that_was_replaced_while_it_was_waited_for_is_waited_for_again(
    storage: LocalStorage, tmp_path: Path
) -> None:
    """A restored backup or a tidy person takes the file away: who waits for it must not enter beside others."""
    held = os.open(tmp_path / "root" / LOCK, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    inside, entered = threading.Event(), threading.Event()

    def wait() -> None:
        root = beneath.Root(storage.path)
        inside.set()
        with file_lock.locked(root, "here"):
            entered.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    inside.wait()
    time.sleep(0.2)
    (tmp_path / "root" / LOCK).unlink()
    with file_lock.locked(beneath.Root(storage.path), "here"):
        os.close(held)  # what the first one waits for is free
        assert not entered.wait(0.5), "two are inside"
    assert entered.wait(10)
    waiter.join()
