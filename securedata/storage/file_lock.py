"""The lock of a local root: `flock` on a file that is never renamed or deleted.

A lock on a file that is renamed over can be held twice.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import random
import stat
import time
from collections.abc import Iterator

from securedata.errors import CorpusBusy
from securedata.files import temporary_name
from securedata.storage.beneath import NotRegular, Root

_log = logging.getLogger("securedata")

LOCK = ".lock"
WARN_AFTER, BUSY = 5.0, 120.0
"""Seconds of waiting for the lock before a warning, and before giving up."""
_FLAGS = os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY


def open_lock(root: Root) -> int:
    """A descriptor of the lock file, created if missing. If the root's group may write to the root, it may lock too.

    Raises:
        OSError
    """
    for _ in range(10):
        try:
            fd = root.open(LOCK, _FLAGS)
            break
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):  # another process created it first
                fd = root.open(LOCK, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
                break
    else:
        raise NotRegular(errno.ELOOP, f"{LOCK} keeps appearing and disappearing")
    try:
        status, folder = os.fstat(fd), os.fstat(root.fd)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegular(errno.ELOOP, f"{LOCK} is not a regular file")
        mode = 0o660 if folder.st_mode & stat.S_IWGRP else 0o600
        # Anyone who may read the file could hold the lock. A file with content or with another link is left alone:
        # somebody who may write to the root might have linked a file of ours to this name.
        if status.st_uid == os.geteuid() and _is_lock(status) and stat.S_IMODE(status.st_mode) != mode:
            if status.st_gid != folder.st_gid:
                with contextlib.suppress(PermissionError):  # we are not in the root's group
                    os.fchown(fd, -1, folder.st_gid)
            os.fchmod(fd, mode)
    except BaseException:  # re-raised: the descriptor has no owner yet
        os.close(fd)
        raise
    return fd


def _is_lock(status: os.stat_result) -> bool:
    return status.st_nlink == 1 and status.st_size == 0


def clock(root: Root) -> float:
    """The file system's clock, in seconds: the mtime of a file touched now.

    Raises:
        OSError
    """
    fd = open_lock(root)
    if not _is_lock(os.fstat(fd)):  # it might be a file from elsewhere, whose mtime must not change
        os.close(fd)
        name = temporary_name(LOCK)
        fd = root.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        os.unlink(name, dir_fd=root.fd)
    try:
        os.utime(fd)
        return os.fstat(fd).st_mtime_ns / 1e9
    finally:
        os.close(fd)


@contextlib.contextmanager
def locked(root: Root, where: str) -> Iterator[None]:
    """Hold the lock of a root, which errors call `where`.

    Raises:
        CorpusBusy: another process held it for `BUSY` seconds.
        OSError
    """
    # Opened for every lock: flock belongs to the open file description, which a forked child shares, so an inherited
    # lock would be granted twice.
    for _ in range(10):
        fd = open_lock(root)
        try:
            wait_for(fd, f"the lock of {where}", LOCK, where)
            if not _is_named(root, fd):  # removed or replaced while we waited: others hold the new one
                continue
            try:
                yield
            finally:
                fcntl.flock(fd, fcntl.LOCK_UN)  # a child forked meanwhile has a copy, and would keep holding the lock
            return
        finally:
            os.close(fd)
    raise NotRegular(errno.ELOOP, f"{LOCK} keeps appearing and disappearing")


def _is_named(root: Root, fd: int) -> bool:
    """Whether the lock's name still leads to this file."""
    try:
        return os.path.samestat(os.stat(LOCK, dir_fd=root.fd, follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False


def wait_for(fd: int, what: str, file: str, root: str | None = None) -> None:
    """Take a lock; warn if that takes long.

    Args:
        what, file: names of the lock and of its file, for messages.

    Raises:
        CorpusBusy: another process held it for `BUSY` seconds.
        OSError
    """
    began, warned = time.monotonic(), False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            waited = time.monotonic() - began
        if waited >= BUSY:
            raise CorpusBusy(
                f"another process has held {what} for {BUSY:.0f} s: find out which one has {file} open (fuser, lsof), "
                "then run it again; nothing was lost",
                root=root,
            )
        if waited >= WARN_AFTER and not warned:
            _log.warning("waiting for another process that holds %s, up to %.0f s", what, BUSY)
            warned = True
        time.sleep(random.uniform(0.002, 0.05))  # noqa: S311 - jitter, not a secret
