"""Where lineage records are: beside the model. Written whole or not at all, on this machine or on other storage."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from securedata.errors import (
    AccessDenied,
    AlreadyExists,
    InvalidArgument,
    NotFound,
    PreconditionFailed,
    SecuredataError,
    StorageUnreachable,
)
from securedata.files import open_regular, read_bounded, replace_file
from securedata.foreign.describe import describe
from securedata.lineage.record import LARGEST, Lineage, is_record, parse
from securedata.roots import LOCAL
from securedata.storage.base import Storage, previous_key
from securedata.storage.registry import open_storage

SUFFIX = ".lineage.json"
"""What follows a model's name in the name of its record."""

IN_FOLDER = f"securedata{SUFFIX}"
"""The name of the record in the folder of a model that is a folder."""

_TRIES = 3


def save(record: Lineage, model: str, beside: bool = False) -> str:
    """Write a record beside a model, or replace the one that is there; returns where it is.

    Args:
        model: path or URL of a file, which need not exist yet, or of a folder that does.
        beside: beside a folder too, never in it: it might not exist yet, or be replaced.

    Raises:
        AlreadyExists: a file that is no lineage record has the name.
        InvalidArgument, StorageError, LimitExceeded
    """
    data = record.text().encode()
    if (path := local(model)) is not None:
        inside = os.path.isdir(path) and not beside
        where = os.path.join(path, IN_FOLDER) if inside else f"{path}{SUFFIX}"
        _save_here(where, data)
        return where
    storage, key = _place(f"{model.rstrip('/')}{SUFFIX}")
    for _ in range(_TRIES):  # another process may save the record of the same model
        try:
            _replace(storage, key, data)
            break
        except PreconditionFailed:
            continue
    else:
        _replace(storage, key, data)
    return f"{storage.url}/{key}"


def find(model: str) -> Lineage | None:
    """The record of a model, or the record that a path leads to; None if there is none.

    Raises:
        MalformedLineage, UnknownVersion, LimitExceeded: it cannot be read.
        InvalidArgument, StorageError
    """
    if (path := local(model)) is not None:
        path = path.rstrip(os.sep)
        # a link to the newest checkpoint has no record of its own
        for each in dict.fromkeys((path, os.path.realpath(path))):
            places = [each] if each.endswith(SUFFIX) else [f"{each}{SUFFIX}", os.path.join(each, IN_FOLDER)]
            for place in places:
                with contextlib.suppress(NotFound):
                    return parse(_read_here(place))
        return None
    url = model.rstrip("/")
    for place in [url] if url.endswith(SUFFIX) else [f"{url}{SUFFIX}", f"{url}/{IN_FOLDER}"]:
        storage, key = _place(place)
        with contextlib.suppress(NotFound):
            return parse(bytes(storage.get(key, LARGEST)))
    return None


def remove(model: str) -> None:
    """Delete the record that is beside a model; it is no error if there is none.

    Raises:
        InvalidArgument, StorageError
    """
    if (path := local(model)) is None:
        storage, key = _place(f"{model.rstrip('/')}{SUFFIX}")
        storage.delete(key)
        return
    try:
        os.unlink(f"{path}{SUFFIX}")
    except FileNotFoundError:
        return
    except OSError as error:
        raise _error(error) from None


def records(place: str) -> Iterator[tuple[str, Lineage | SecuredataError]]:
    """The records below a folder or URL, by where each is; those that cannot be read as errors.

    Raises:
        InvalidArgument: there is no such folder, or nothing below the URL.
        StorageError: it cannot be listed.
    """
    if (path := local(place)) is not None:
        yield from _records_here(path)
        return
    storage = open_storage(place.rstrip("/"))
    empty = True
    for entry in storage.list():
        empty = False
        if entry.key.endswith(SUFFIX):
            with contextlib.suppress(NotFound):  # deleted meanwhile, with its checkpoint
                try:
                    found: Lineage | SecuredataError = parse(bytes(storage.get(entry.key, LARGEST)))
                except NotFound:
                    raise
                except SecuredataError as error:
                    found = error
                yield f"{storage.url}/{entry.key}", found
    if empty:
        raise InvalidArgument(f"there is nothing at {storage.url}: models are to be looked for where some are")


def model_of(where: str) -> str:
    """Path or URL of the model whose record is there."""
    folder, name = os.path.split(where)
    return folder if name == IN_FOLDER else where.removesuffix(SUFFIX)


def local(place: str) -> str | None:
    """The path that is meant on this machine; None: a URL of other storage."""
    scheme, separator, rest = place.partition("://")
    if separator and scheme not in LOCAL:
        return None
    path = rest if separator else place
    if not path or "\0" in path:
        raise InvalidArgument("the path of a model must not be empty or contain a NUL character")
    return os.path.abspath(os.path.expanduser(path))


def _place(url: str) -> tuple[Storage, str]:
    parent, _, key = url.rpartition("/")
    if not key or parent.endswith((":/", ":")):
        raise InvalidArgument("the URL of a model must name a file below a bucket or folder")
    return open_storage(parent), key


def _replace(storage: Storage, key: str, data: bytes) -> None:
    version: str | None = None
    try:
        old, version = storage.get_versioned(key, LARGEST)
        _check_record(bytes(old[:4096]))
    except NotFound:
        pass
    storage.replace(key, data, version)
    if version is not None and not storage.url.startswith("s3://"):
        storage.delete(previous_key(key))  # what storage without versions keeps of it


def _save_here(where: str, data: bytes) -> None:
    try:
        if os.path.lexists(where):
            with open(open_regular(where), "rb", buffering=0) as file:
                _check_record(file.read(4096))
        replace_file(Path(where), data)
    except OSError as error:
        if isinstance(error, SecuredataError):
            raise
        raise _error(error) from None


def _check_record(begin: bytes) -> None:
    if not is_record(begin):
        raise AlreadyExists("what has the name of this model's lineage record is no such record: move it away")


def _read_here(path: str) -> bytes:
    try:
        return read_bounded(open_regular(path), path, LARGEST)
    except OSError as error:
        raise _error(error) from None


def _records_here(folder: str) -> Iterator[tuple[str, Lineage | SecuredataError]]:
    if not os.path.isdir(folder):
        raise InvalidArgument("there is no such folder to look for models in: name a folder or a URL")
    unread: list[OSError] = []
    for path, folders, files in os.walk(folder, onerror=unread.append):
        folders.sort()
        for name in sorted(files):
            if name.endswith(SUFFIX):
                where = os.path.join(path, name)
                try:
                    yield where, parse(_read_here(where))
                except SecuredataError as error:
                    if not isinstance(error, NotFound) or os.path.lexists(where):  # else deleted with its checkpoint
                        yield where, error
    for one in unread:
        yield str(one.filename), _error(one)


def _error(error: OSError) -> SecuredataError:
    """The text has no path: a model can be named after a person."""
    kind: type[SecuredataError] = AccessDenied if isinstance(error, PermissionError) else StorageUnreachable
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        kind = NotFound
    return kind(f"the file or folder of a lineage record: {describe(error)}", path=error.filename)
