"""Write plaintext files into one folder of this machine, and nowhere else, whatever links are in it.

Every folder below the destination is opened by its name, relative to the descriptor of its parent, without following
links: no link leads outside, even if someone adds it during the export.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator

from securedata.errors import (
    AccessDenied,
    AlreadyExists,
    InvalidArgument,
    MalformedManifest,
    SecuredataError,
    StorageError,
    StorageUnreachable,
)
from securedata.files import NEW, make_folders, put_in_place, write_all
from securedata.format.cobblestone import Buffer

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE = 4 * 1024 * 1024


class DestinationFailed(StorageUnreachable):
    """The destination cannot be written to any more: every other file would fail, too."""


class Destination:
    """An open folder to write plaintext into. Files appear whole or not at all. Safe to use from several threads."""

    def __init__(self, path: str, root: str, mode_from_umask: bool = False) -> None:
        """Make the folder if it is missing. It must not lie in the corpus at `root`.

        What is made is accessible to this user only, unless `mode_from_umask`; what exists keeps its mode.

        Raises:
            InvalidArgument, StorageError
        """
        self.path = path
        real, corpus = os.path.realpath(path), os.path.realpath(root)
        if "://" not in root and (real == corpus or real.startswith(corpus + os.sep)):
            raise InvalidArgument(f"{path} lies inside the corpus {root}: choose a folder outside it")
        self._stopped = False
        self._file_mode, self._folder_mode = (0o666, 0o777) if mode_from_umask else (0o600, 0o700)
        self._folders: set[str] = set()
        try:
            make_folders(path, self._folder_mode)
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileExistsError:
            raise InvalidArgument(f"{path} is a file: name a folder to export to") from None
        except OSError as error:
            raise self._error(error, path) from None

    def __enter__(self) -> Destination:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def stop(self) -> None:
        """Make every write under way fail soon, leaving no file."""
        self._stopped = True

    def write(
        self,
        path: str,
        pieces: Iterable[Buffer],
        *,
        sha256: bytes,
        size: int,
        mtime_ns: int | None = None,
        overwrite: bool = False,
    ) -> bool:
        """Write one file below the folder, unless it already exists.

        Args:
            path: relative and checked (`check_path`).
            pieces: its content; not read if the file exists.
            sha256, size: what the content must be.
            overwrite: replace a file that has other content.

        Returns:
            Whether it was written.

        Raises:
            AlreadyExists: a file of that name has other content, or there is a link or file where a folder belongs.
            MalformedManifest: the content is not what it must be; no file is left.
            StorageError: it cannot be written.
            what `pieces` raises
        """
        folder, _, name = path.rpartition("/")
        try:
            with self._open(folder) as fd:
                there = self._look(fd, name, sha256, size, mtime_ns)
                if there == "right":
                    self._folders.add(folder)  # an export that was killed may have written it
                    return False
                if there == "other" and not overwrite:
                    raise AlreadyExists(
                        f"a file in {self.path} differs from the corpus's: export to an empty folder, or give "
                        "--overwrite",
                        path=path,
                    )
                self._write(fd, name, pieces, sha256, size, mtime_ns, path)
        except OSError as error:
            if isinstance(error, SecuredataError):
                raise
            raise self._error(error, path) from None
        self._folders.add(folder)
        return True

    def make_durable(self) -> None:
        """Flush the folders to disk, so that the files survive a power cut; their content was flushed by `write`."""
        folders = {""}
        for folder in self._folders:
            parts = folder.split("/")
            folders.update("/".join(parts[:n]) for n in range(1, len(parts) + 1))
        for folder in sorted(folders):
            try:
                with self._open(folder) as fd:
                    os.fsync(fd)
            except OSError as error:
                raise self._error(error, folder) from None

    @contextlib.contextmanager
    def _open(self, folder: str) -> Iterator[int]:
        """Open a folder below the destination; it is made if it is missing."""
        fd = os.dup(self._fd)
        try:
            for name in folder.split("/") if folder else ():
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, self._folder_mode, dir_fd=fd)
                below = os.open(name, _FOLDER, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    def _look(self, folder: int, name: str, sha256: bytes, size: int, mtime_ns: int | None) -> str:
        try:
            fd = os.open(name, _READ, dir_fd=folder)
        except FileNotFoundError:
            return "nothing"
        except OSError as error:
            if error.errno == errno.ELOOP:
                return "other"
            raise
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size != size:
                return "other"
            digest, left = hashlib.sha256(), size + 1  # a file might grow as fast as it is read
            while left and (piece := os.read(fd, min(_PIECE, left))):
                digest.update(piece)
                left -= len(piece)
            if digest.digest() != sha256:
                return "other"
            if mtime_ns is not None and status.st_mtime_ns != mtime_ns:
                os.utime(fd, ns=(mtime_ns, mtime_ns))
            return "right"
        finally:
            os.close(fd)

    def _write(
        self,
        folder: int,
        name: str,
        pieces: Iterable[Buffer],
        sha256: bytes,
        size: int,
        mtime_ns: int | None,
        path: str,
    ) -> None:
        # A hash, since NAME.part might be too long, or the name of another file of the corpus. Always the same one, so
        # that plaintext which a killed export left is removed. An existing file of that name is never written to.
        part = f".{hashlib.sha256(name.encode()).hexdigest()[:24]}.part"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part, dir_fd=folder)  # left by a killed export
        fd = os.open(part, NEW, self._file_mode, dir_fd=folder)
        try:
            try:
                digest, written = hashlib.sha256(), 0
                for piece in pieces:
                    if self._stopped:
                        raise DestinationFailed("the export was stopped; run it again to continue", path=path)
                    digest.update(piece)
                    write_all(fd, piece)
                    written += len(piece)
                if written != size or digest.digest() != sha256:
                    raise MalformedManifest(
                        "an object is authentic, but not the source file that its row describes; nothing was written "
                        "for it: read it with 'securedata cat'",
                        path=path,
                    )
                if mtime_ns is not None:
                    os.utime(fd, ns=(mtime_ns, mtime_ns))
                os.fsync(fd)
            finally:
                os.close(fd)
            put_in_place(part, name, folder)
        except BaseException:  # raised again, without leaving half a file
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=folder)
            raise

    def _error(self, error: OSError, path: str) -> StorageError:
        """The message names the destination only: paths below it contain the names of people."""
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EISDIR):
            text = f"in {self.path} there is a link, file or folder where the export has something else; remove it"
            return AlreadyExists(text, path=path)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
            return DestinationFailed(f"{self.path}: {reason}; run it again to continue", path=path)
        kind = AccessDenied if error.errno in (errno.EACCES, errno.EPERM) else StorageUnreachable
        return kind(f"a file in {self.path} cannot be written: {reason}", path=path)
