"""How files are written here: whole, under names that nobody can take first, and flushed before they count."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import stat
import time
from collections.abc import Callable
from pathlib import Path

TEMPORARY = ".tmp-"
"""What follows a file's name in the name of its temporary file; a random word comes after it."""

_PIECE = 1024 * 1024

_LEFT_OVER = 3600.0
"""Seconds after which nobody writes to a small temporary file any more: its process was killed."""

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags for a file that must not exist: they open no link and no file that somebody else put under its name."""


def close_quietly(fd: int, close: Callable[[int], None] = os.close) -> None:
    """Close a descriptor whose errors no longer matter, even while the interpreter ends and module names are gone."""
    try:
        close(fd)
    except OSError:
        return


def temporary_name(name: str) -> str:
    """An unpredictable name beside a file."""
    return f"{name}{TEMPORARY}{os.urandom(8).hex()}"


def home_folder() -> Path:
    """This user's home: HOME, or the passwd entry's if HOME is missing, empty or relative.

    A relative home would differ with each working directory, where others might have planted the files we look for.

    Raises:
        RuntimeError: there is none, as in a container whose user id has no passwd entry.
    """
    if os.path.isabs(os.environ.get("HOME", "/")):
        return Path.home()
    try:
        path = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        path = ""
    if not os.path.isabs(path):
        raise RuntimeError("HOME is relative or empty, and the passwd entry names no home")
    return Path(path)


def open_regular(path: str | Path, flags: int = os.O_RDONLY, mode: int = 0) -> int:
    """A descriptor of a regular file, or of what a link leads to; never waits for a FIFO, and refuses devices.

    Raises:
        OSError: EINVAL, if it is not a regular file.
    """
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, mode)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    except BaseException:  # raised again: the descriptor has no owner yet
        os.close(fd)
        raise
    return fd


def read_small(path: str | Path, limit: int) -> bytes:
    """The bytes of a regular file, or of what a link leads to; `os.devnull` counts as empty, to switch a setting off.

    Raises:
        OSError: FileNotFoundError; EFBIG above `limit` bytes; EINVAL if it is not a regular file.
    """
    if os.fspath(path) == os.devnull:
        return b""
    return read_bounded(open_regular(path), path, limit)


def read_bounded(fd: int, path: str | Path, limit: int) -> bytes:
    """All bytes of an opened file, read piece by piece, since its size might claim anything; closes the descriptor.

    Raises:
        OSError: EFBIG above `limit` bytes.
    """
    parts, left = [], limit + 1
    with open(fd, "rb", buffering=0) as file:
        if os.fstat(fd).st_size > limit:
            left = 0
        while left and (part := file.read(min(left, _PIECE))):
            parts.append(part)
            left -= len(part)
    if not left:
        raise OSError(errno.EFBIG, f"it has more than {limit} bytes", str(path))
    return b"".join(parts)


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of it: one call writes less if the disk fills up, and never more than 2 GiB on Linux."""
    view = memoryview(data).cast("B")
    while len(view):
        view = view[os.write(fd, view) :]


def write_durable(name: str | Path, data: bytes | bytearray | memoryview, mode: int, folder: int | None = None) -> None:
    """Make a file that must not exist, and flush it through the descriptor that wrote it.

    Through another one, the error of a write that failed underneath might be lost. A failure leaves no file.

    Args:
        mode: its permissions, less the umask.
        folder: the descriptor of the folder that `name` is in; None: `name` is a path.

    Raises:
        OSError: FileExistsError, if the name is taken.
    """
    fd = os.open(name, NEW, mode, dir_fd=folder)
    try:
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
    except BaseException:  # raised again, Ctrl-C too: no half-written file must stay
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        raise


def link_new(temporary: str, name: str, folder: int) -> None:
    """Give a file a second name in its folder, which must be free.

    A file server that gets the request twice answers that the file exists; so an error does not count if the name
    leads to the file.

    Raises:
        OSError: FileExistsError, if another file has the name.
    """
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError:
        if not _leads_to(name, os.stat(temporary, dir_fd=folder, follow_symlinks=False), folder):
            raise


def put_in_place(temporary: str | Path, name: str | Path, folder: int | None = None) -> None:
    """Rename a file over another. If that fails, remove the temporary file.

    A file server that gets the request twice answers that the temporary file no longer exists; so an error does not
    count if the name leads to the file.

    Args:
        folder: the descriptor of the folder that both are in; None: both are paths.

    Raises:
        OSError
    """
    file = os.stat(temporary, dir_fd=folder, follow_symlinks=False)
    try:
        try:
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            if not _leads_to(name, file, folder):
                raise
    except BaseException:  # raised again, Ctrl-C too: no temporary file must stay
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise


def _leads_to(name: str | Path, file: os.stat_result, folder: int | None) -> bool:
    try:
        return os.path.samestat(os.stat(name, dir_fd=folder, follow_symlinks=False), file)
    except FileNotFoundError:
        return False


def fsync_folder(path: str | Path, folder: int | None = None) -> None:
    """Flush the names in a folder."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folders(path: str | Path, mode: int) -> None:
    """Make a folder and its missing parents, with this mode less the umask.

    `os.makedirs` makes the parents with the umask's mode only: with a umask of 0 others could move what is below.

    Raises:
        OSError: FileExistsError, if a file has the path.
    """
    path = os.fspath(path)
    parent = os.path.dirname(path.rstrip(os.sep))
    if parent and not os.path.isdir(parent):
        make_folders(parent, mode)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def replace_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Make a small file, or replace it whole; it survives a power cut once this returns.

    Args:
        mode: its permissions, less the umask. By default others cannot write it under any umask: it might steer us.

    Raises:
        OSError
    """
    temporary = path.with_name(temporary_name(path.name))
    write_durable(temporary, data, mode)
    put_in_place(temporary, path)
    fsync_folder(path.parent)
    drop_left_over(path.parent, path.name)


def drop_left_over(folder: Path, name: str = "") -> None:
    """Delete what killed processes left in a folder: temporary files of an hour ago, of files whose names begin so.

    They can hold what the file itself would not keep, such as a name. A failure is none of the caller's work.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(name) and TEMPORARY in entry.name:
                with contextlib.suppress(OSError):  # another process was faster, or it is another user's
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime > _LEFT_OVER:
                        os.unlink(entry.path)
