"""`local:///path/to/kek`: a key file on this machine, the built-in default.

The file is one line of text, so that it can be copied into a password manager or printed:

    securedata-kek-v1 <id: 32 hex digits> <key: 64 hex digits>

A wrap is nonce (12) || AES-256-GCM(key), with the encryption context as associated data. A nonce is
random; one file wraps a handful of corpus keys, far below the 2^32 that random nonces allow.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, unquote

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from securedata.errors import ConfigError, InvalidKMSURI, KMSDenied, KMSUnreachable
from securedata.files import drop_left_over, fsync_folder, link_new, make_folders, temporary_name, write_durable
from securedata.foreign.describe import describe
from securedata.keys.kms import KMS, Context, Fate, context_bytes

SCHEME = "local://"
_MAGIC = "securedata-kek-v1"
_NONCE = 12
_LONGEST = 4096


class LocalKMS(KMS):
    """A key file. It is read again for every call, so that removing the file removes access."""

    def __init__(self, uri: str) -> None:
        path = unquote(uri.removeprefix(SCHEME))
        if not uri.startswith(SCHEME) or not path.startswith("/") or "\0" in path:
            raise InvalidKMSURI(f"{uri!r}: a local KMS URI is local:// and an absolute path, as local:///home/me/kek")
        self.uri = uri
        self.path = Path(path)

    @property
    def wrap_uri(self) -> str:
        return f"local:{self._load()[0].hex()}"

    def matches(self, wrap_uri: str) -> bool:
        return wrap_uri.startswith("local:") and wrap_uri == self.wrap_uri

    def wrap(self, key: bytes, context: Context) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self._load()[1]).encrypt(nonce, key, context_bytes(context))

    def unwrap(self, blob: bytes, context: Context) -> bytes:
        kek = self._load()[1]
        try:
            return AESGCM(kek).decrypt(blob[:_NONCE], blob[_NONCE:], context_bytes(context))
        except (InvalidTag, ValueError):
            raise KMSDenied(
                f"{self.uri} did not make this wrap, or made it for another corpus: check that it is the right key file"
            ) from None

    def fate(self, version: int | None) -> Fate:
        if os.path.lexists(self.path):
            return Fate("lives", "the key file is there")
        if not self.path.parent.is_dir():
            raise KMSUnreachable(
                f"{self.uri}: the folder of the key file is not there either: mount its disk, or make the empty folder "
                "again if both were destroyed"
            )
        return Fate("destroyed", "the key file is not there any more; copies of it were not looked for")

    def _load(self) -> tuple[bytes, bytes]:
        try:
            # Links are followed (Kubernetes makes secrets of links), and a FIFO is not waited for. The checks look at
            # the opened file, since its name might be another file's by now.
            fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            try:
                status = os.fstat(fd)
                self._check(status)
                text = os.read(fd, _LONGEST).decode("ascii", "replace")
            finally:
                os.close(fd)
        except PermissionError:
            raise KMSDenied(f"{self.uri}: this user has no permission to read the key file") from None
        except OSError as error:
            reason = describe(error)
            raise KMSUnreachable(f"{self.uri}: {reason}; restore the key file from its backup") from None
        words = text.split()
        try:
            magic, key_id, key = words
            parsed = bytes.fromhex(key_id), bytes.fromhex(key)
        except ValueError:
            magic, parsed = "", (b"", b"")
        if magic != _MAGIC or len(parsed[0]) != 16 or len(parsed[1]) != 32:
            raise KMSDenied(f"{self.uri} is not a {_MAGIC} key file; restore it from its backup")
        return parsed

    def _check(self, status: os.stat_result) -> None:
        if reason := why_not_private(status, self.path):
            raise KMSDenied(f"{self.uri}: {reason}")


def why_not_private(status: os.stat_result, path: Path) -> str:
    """Why an opened key file is not taken, and what to do; '' if it is this user's alone."""
    if not stat.S_ISREG(status.st_mode):
        return "the key file is not a regular file; restore it from its backup"
    if status.st_uid not in (os.geteuid(), 0):
        return (
            f"the key file belongs to another user (uid {status.st_uid}), who knows its key and can change it; if it "
            "is your key, make the file yours: chown"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        return f"others can read the key file; make it private: chmod 600 {path}"
    return ""


def uri_for(path: Path) -> str:
    """The KMS URI of a key file."""
    return SCHEME + quote(str(path.absolute()))


def create_key_file(path: Path) -> bool:
    """Make a new random key file, mode 0600, unless one exists; returns whether it was made.

    Raises:
        ConfigError: the folder cannot be written, or others can write there too.
    """
    return create_secret_file(path, f"{_MAGIC} {os.urandom(16).hex()} {os.urandom(32).hex()}\n")


def create_secret_file(path: Path, line: str) -> bool:
    """Make a file with this one secret line, mode 0600, unless one exists; returns whether it was made.

    The file appears whole or not at all, and an existing one is never touched.

    Raises:
        ConfigError: the folder cannot be written, or others can write there too.
    """
    try:
        drop_left_over(path.parent, path.name)
        if path.exists():
            with contextlib.suppress(PermissionError):  # then this user did not make it either
                fsync_folder(path.parent)  # the run that made it might have ended before it flushed the name
            return False
        make_folders(path.parent, 0o700)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _check_folder(path, os.fstat(folder))
            temporary = temporary_name(path.name)
            write_durable(temporary, line.encode(), 0o600, folder)
            made = True
            try:
                link_new(temporary, path.name, folder)
            except FileExistsError:
                made = False
            finally:
                with contextlib.suppress(FileNotFoundError):  # a file server that gets the request twice says so
                    os.unlink(temporary, dir_fd=folder)
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(f"the key file {path} cannot be made: {describe(error)}") from None
    return made


def _check_folder(path: Path, status: os.stat_result) -> None:
    """Refuse a folder in which others can remove the key file, because the corpus would be lost with it.

    This process's own group does not count: where the umask is 002, each user has a private group.
    """
    others = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid != os.getegid())
    if others and not status.st_mode & stat.S_ISVTX:
        raise ConfigError(
            f"the key file {path} is not made, because others could remove it there: choose a folder that only you can "
            f"write, or chmod go-w {path.parent}"
        )


def refuse_inside(root: str, uris: Iterable[str]) -> None:
    """Refuse a key file inside the corpus's folder: a key beside what it protects protects nothing.

    Raises:
        InvalidKMSURI
    """
    for uri in uris:
        if uri.startswith(SCHEME):
            path, folder = os.path.realpath(LocalKMS(uri).path), os.path.realpath(root)
            if path == folder or path.startswith(folder + os.sep):
                raise InvalidKMSURI(f"{uri} is inside the corpus {root}: a copy of the corpus would include the key")
