"""Open files below one folder that others might be able to write to, without following links below it.

Anyone who can write to a root can place links, FIFOs, devices and folders in it, and swap them between two calls. So
the root is opened once (it may itself be a link or a mount), and everything below it is opened relative to its
descriptor, following no link in any component and not waiting for the other end of a FIFO.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator

from securedata.files import close_quietly

_OPENAT2 = 437  # on all of Linux's architectures but alpha
_RESOLVE = 0x04 | 0x08  # RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH
_LEASE = 60.0  # seconds; Linux gives the holder of a lease 45 to release it, /proc/sys/fs/lease-break-time
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC  # needs no right to list


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_LIBC = ctypes.CDLL(None, use_errno=True)
_syscall = _LIBC.syscall
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
_syscall.restype = ctypes.c_long
_HOW_SIZE = ctypes.sizeof(_How)

# Every read and put of an object comes through here: arguments that are C values already make a call 10 % cheaper.
_fast_syscall = ctypes.CDLL(None)["syscall"]
_fast_syscall.restype = ctypes.c_long
_HOW_READ, _HOW_FOLDER = _How(_READ, 0, _RESOLVE), _How(_FOLDER, 0, _RESOLVE)
_FAST_OPENAT2, _FAST_HOW = ctypes.c_long(_OPENAT2), ctypes.c_void_p(ctypes.addressof(_HOW_READ))
_FAST_FOLDER = ctypes.c_void_p(ctypes.addressof(_HOW_FOLDER))
_FAST_SIZE = ctypes.c_size_t(_HOW_SIZE)


class NotRegular(OSError):
    """A link, FIFO, socket, device or folder in the place of a file, or a link in the place of a folder."""


class Root:
    """A folder, opened once. Keys are relative to it and `/`-separated; `''` is the folder itself."""

    def __init__(self, path: str) -> None:
        """Open the folder. Links in its own path are followed.

        Raises:
            OSError
        """
        self.fd = os.open(path, _PASS & ~os.O_NOFOLLOW)
        self._fast_fd = ctypes.c_int(self.fd)
        status = os.fstat(self.fd)
        self._identity = (status.st_dev, status.st_ino)
        self._openat2 = _has_openat2(self.fd)

    def __del__(self, close: Callable[[int], None] = close_quietly) -> None:
        if (fd := getattr(self, "fd", -1)) >= 0:
            close(fd)

    def is_at(self, path: str) -> bool:
        """Whether the path still leads to this folder. Another one may have been moved or mounted there."""
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    # ------------------------------------------------------------ open

    def read(self, key: str) -> tuple[int, int]:
        """A descriptor of a regular file, and its size.

        Raises:
            OSError: NotRegular if it is not a regular file, or if a link leads there.
        """
        if self._openat2:
            fd: int = _fast_syscall(_FAST_OPENAT2, self._fast_fd, key.encode(), _FAST_HOW, _FAST_SIZE)
            if fd < 0:
                fd = self.open(key, _READ)  # raises with the reason
        else:
            fd = self.open(key, _READ)
        try:
            status = os.fstat(fd)
            if status.st_mode & 0o170000 == 0o100000:
                return fd, status.st_size
            raise NotRegular(errno.ELOOP, f"it is {_kind(status.st_mode)}")
        except BaseException:  # re-raised: the descriptor has no owner yet
            os.close(fd)
            raise

    def open(self, key: str, flags: int, mode: int = 0) -> int:
        """A descriptor of a file of any kind; flags and mode as in `os.open`.

        Raises:
            OSError: NotRegular if a link leads there.
        """
        try:
            return self._open(key or ".", flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EMLINK):
                self._explain(key, bool(flags & os.O_DIRECTORY))
            if error.errno == errno.ELOOP:
                raise NotRegular(errno.ELOOP, f"there was a link in {key} a moment ago") from None
            raise

    def _open(self, key: str, flags: int, mode: int) -> int:
        until = time.monotonic() + _LEASE
        while True:
            try:
                return self._once(key, flags, mode) if self._openat2 else self._step_by_step(key, flags, mode)
            except InterruptedError:
                continue
            except BlockingIOError:  # another process has a lease on the file, which the kernel breaks after a while
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
            except OSError as error:
                refused = error.errno in (errno.ENOSYS, errno.EPERM)
                if not (refused and self._openat2) or _has_openat2(self.fd):
                    raise
                self._openat2 = False  # the process entered a sandbox after the root was opened

    def _once(self, key: str, flags: int, mode: int) -> int:
        how = _How(flags, mode & 0o7777 if flags & os.O_CREAT else 0, _RESOLVE)
        fd: int = _syscall(_OPENAT2, self.fd, os.fsencode(key), ctypes.addressof(how), _HOW_SIZE)
        if fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return fd

    def _step_by_step(self, key: str, flags: int, mode: int) -> int:
        *folders, name = key.split("/")
        if ".." in (*folders, name):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        fd = self.fd
        try:
            for folder in folders:
                below = os.open(folder, _PASS, dir_fd=fd)
                if fd != self.fd:
                    os.close(fd)
                fd = below
            return os.open(name, flags, mode, dir_fd=fd)
        finally:
            if fd != self.fd:
                os.close(fd)

    def _explain(self, key: str, folder: bool) -> None:
        """Raise NotRegular if the cause is a link, or anything other than a folder or regular file."""
        at = ""
        for name in key.split("/"):
            at = f"{at}/{name}" if at else name
            try:
                mode = os.lstat(at, dir_fd=self.fd).st_mode  # may race with a swap, but it only words the error
            except OSError:
                return
            if stat.S_ISLNK(mode) and (folder or at != key):
                raise NotRegular(
                    errno.ELOOP,
                    f"{at} is a link, and no link is followed below a local root: to keep a folder on another disk, "
                    "mount it there ('mount --bind')",
                )
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                raise NotRegular(errno.ELOOP, f"{at} is {_kind(mode)}")

    # ------------------------------------------------------------ folders

    @contextlib.contextmanager
    def folder(self, key: str, make: bool = False) -> Iterator[int]:
        """A folder's descriptor, as from `open_folder`."""
        fd = self.open_folder(key, make)
        try:
            yield fd
        finally:
            os.close(fd)

    def open_folder(self, key: str, make: bool = False) -> int:
        """A folder's descriptor, which can be listed and flushed. `make` creates a missing folder.

        Raises:
            OSError: NotRegular if it is a link, or if a link leads there.
        """
        if self._openat2:
            fd: int = _fast_syscall(_FAST_OPENAT2, self._fast_fd, os.fsencode(key or "."), _FAST_FOLDER, _FAST_SIZE)
            if fd >= 0:
                return fd
        try:
            return self.open(key, _FOLDER)  # raises with the reason
        except FileNotFoundError:
            if not make:
                raise
        parent, _, name = key.rpartition("/")
        with self.folder(parent, make=bool(key)) as above, contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=above)
        return self.open(key, _FOLDER)


def _has_openat2(fd: int) -> bool:
    """Whether the kernel has it and we may call it. A sandbox may answer ENOSYS or EPERM."""
    if not sys.platform.startswith("linux"):
        return False
    how = _How(_PASS, 0, _RESOLVE)
    opened: int = _syscall(_OPENAT2, fd, b".", ctypes.addressof(how), _HOW_SIZE)
    if opened >= 0:
        os.close(opened)
    return opened >= 0


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFLNK: "a link",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFDIR: "a folder",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "not a regular file")
