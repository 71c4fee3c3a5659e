"""Strict deletion on storage without versions: unlink or delete, make it durable, and look again.

Snapshots that a file system or its volume keeps are not seen from here.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from securedata.errors import AccessDenied, DeleteRefused, LimitExceeded, NotFound, SecuredataError, StorageUnreachable
from securedata.files import TEMPORARY, read_bounded
from securedata.storage.base import PARTIAL, Buffer, Purged, Storage, previous_key
from securedata.storage.beneath import Root

CHUNK = 100_000
"""The most keys that a purge holds in memory."""

ToError = Callable[[str, OSError], SecuredataError]
Outcome = tuple[str, Purged | SecuredataError]


def probe_key() -> str:
    """A key for a probe, which no other process has."""
    return f".tmp-probe-{os.urandom(8).hex()}"


def chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    """The keys, sorted and each once, in lists of at most `CHUNK`."""
    todo = iter(keys)
    while chunk := list(islice(todo, CHUNK)):
        yield sorted(set(chunk))


def still_there(key: str, url: str) -> StorageUnreachable:
    """The error for a key that is listed after its deletion was confirmed."""
    return StorageUnreachable(
        f"{key} of {url} was deleted, and something is there again: stop what restores or writes it, then run it again",
        root=url,
    )


def check_by_probe(storage: Storage) -> None:
    """As `Storage.check_deletable`, for storage without versions."""
    key = probe_key()
    storage.put_new(key, [b"1"])
    for _, outcome in storage.purge([key]):
        if isinstance(outcome, SecuredataError):
            raise DeleteRefused(
                f"{outcome}; so nothing can be deleted there: allow it, or {PARTIAL}. The probe {key} had to stay",
                root=storage.url,
            ) from outcome


# ---------------------------------------------------------------------------------------------------------- any storage


def purge_each(storage: Storage, keys: Iterable[str]) -> Iterator[Outcome]:
    """As `Storage.purge`, one key after another."""
    for key in keys:
        try:
            there = _exists(storage, key)
            storage.delete(key)
            yield key, still_there(key, storage.url) if _exists(storage, key) else Purged(int(there))
        except AccessDenied as error:
            yield key, refused(error)
        except SecuredataError as error:
            yield key, error


def _exists(storage: Storage, key: str) -> bool:
    try:
        storage.get_ranges(key, [(0, 1)])
    except NotFound:
        return False
    return True


def purge_previous(storage: Storage, key: str, is_older: Callable[[Buffer], bool], limit: int) -> int:
    """As `Storage.purge_older`, where nothing but the copy of `replace` is left."""
    previous = previous_key(key)
    try:
        if not is_older(storage.get(previous, limit)):
            return 0
    except NotFound:
        return 0
    except LimitExceeded:  # not what `replace` left
        pass
    count = 0
    for _, outcome in storage.purge([previous]):
        if isinstance(outcome, SecuredataError):
            raise outcome
        count += outcome.versions
    return count


def refused(error: SecuredataError) -> DeleteRefused:
    """The same refusal as one of a deletion."""
    return DeleteRefused(f"{error}; deleting was refused: allow it, or {PARTIAL}", root=error.root)


# ------------------------------------------------------------------------------------------------------------- a folder


def purge_files(root: Root, keys: Sequence[str], url: str, to_error: ToError) -> Iterator[Outcome]:
    """As `Storage.purge`, below a local root, folder by folder."""
    folders: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        folder, _, name = key.rpartition("/")
        folders[folder].append(name)
    for folder, names in folders.items():
        at = f"{folder}/" if folder else ""
        try:
            with root.folder(folder) as fd:
                found = _purge_names(fd, names)
        except FileNotFoundError:
            found = dict.fromkeys(names, 0)
        except OSError as error:
            found = dict.fromkeys(names, error)
        for name, outcome in found.items():
            if isinstance(outcome, OSError):
                said = to_error(at + name, outcome)
                yield at + name, refused(said) if isinstance(said, AccessDenied) else said
            else:
                yield at + name, still_there(at + name, url) if outcome < 0 else Purged(outcome)


def _purge_names(fd: int, names: Sequence[str]) -> dict[str, int | OSError]:
    """Delete files of a folder and their temporary ones. Returns how many; -1 if one is there again."""
    found: dict[str, int | OSError] = dict.fromkeys(names, 0)
    for name, of in _files_of(fd, found):
        count = found[of]
        if isinstance(count, OSError):
            continue
        try:
            os.unlink(name, dir_fd=fd)
            found[of] = count + 1
        except FileNotFoundError:  # deleted meanwhile
            continue
        except OSError as error:
            found[of] = error
    os.fsync(fd)  # also if nothing was found: another process may have unlinked it a moment ago
    for _, of in _files_of(fd, found):
        if not isinstance(found[of], OSError):
            found[of] = -1
    return found


def _files_of(fd: int, names: dict[str, int | OSError]) -> list[tuple[str, str]]:
    """Names in a folder, each with the wanted name that it is or is temporary for."""
    pairs = ((name, name if name in names else name.partition(TEMPORARY)[0]) for name in os.listdir(fd))
    return [(name, of) for name, of in pairs if of in names]


def purge_older_files(root: Root, key: str, is_older: Callable[[Buffer], bool], limit: int, url: str) -> int:
    """As `Storage.purge_older`, below a local root. The caller holds the lock, so no other process writes temporaries.

    Raises:
        OSError
    """
    folder, _, name = key.rpartition("/")
    previous = previous_key(name)
    with root.folder(folder) as fd:
        names = os.listdir(fd)
        older = [one for one in names if _is_leftover(one, name)]
        if previous in names:
            content = _content(root, previous_key(key), limit)
            if content is None or is_older(content):
                older.append(previous)
        count = 0
        for one in older:
            try:
                os.unlink(one, dir_fd=fd)
                count += 1
            except FileNotFoundError:
                continue
        os.fsync(fd)
        left = set(os.listdir(fd))
        if again := [one for one in older if one in left]:
            raise still_there(f"{folder}/{again[0]}" if folder else again[0], url)
        return count


def _is_leftover(one: str, name: str) -> bool:
    """Whether a file is what a killed `replace` of `name` leaves."""
    return one == f"{name}.tmp" or one.startswith((f"{name}{TEMPORARY}", f"{previous_key(name)}{TEMPORARY}"))


def _content(root: Root, key: str, limit: int) -> bytes | None:
    """What a file holds; None if it cannot be read, is no regular file or is too large."""
    try:
        return read_bounded(root.read(key)[0], key, limit)
    except OSError:
        return None
