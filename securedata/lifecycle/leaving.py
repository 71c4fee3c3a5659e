"""Delete at once what a commit of ours took out, instead of a day later.

The ids of the leaving lists are noted in $XDG_STATE_HOME before the commit, so that a run that was killed between the
commit and the deletion can be finished by the next one. On another machine, a commit or prune deletes them after a day.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

from securedata.corpus.home import file_lock, state_dir
from securedata.corpus.state.commit import Next, Try, orphans
from securedata.corpus.state.head import Retired
from securedata.corpus.state.layout import classify
from securedata.corpus.state.live import named_keys
from securedata.corpus.state.retired import listed
from securedata.corpus.writer import Writer
from securedata.errors import ConfigError, NotFound, SecuredataError
from securedata.files import drop_left_over, make_folders, read_small, replace_file
from securedata.foreign.describe import describe

_LARGEST = 1024 * 1024
_ID = 16


class Notes:
    """The ids of leaving lists of one corpus that this user wants deleted at once."""

    def __init__(self, corpus_id: bytes) -> None:
        self._path: Path = state_dir() / "leaving" / f"{corpus_id.hex()}.ids"

    def read(self) -> frozenset[bytes]:
        """The ids, 16 bytes each.

        Raises:
            ConfigError: the file cannot be read.
        """
        try:
            data = read_small(self._path, _LARGEST)
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise ConfigError(f"{self._path} cannot be read: {describe(error)}") from None
        whole = len(data) - len(data) % _ID
        return frozenset(data[at : at + _ID] for at in range(0, whole, _ID))

    def add(self, ids: Collection[bytes]) -> None:
        """Note further ids; they are on the disk when this returns. Raises ConfigError."""
        self._change(ids, ())

    def drop(self, ids: Collection[bytes]) -> None:
        """Forget ids. Raises ConfigError."""
        self._change((), ids)

    def _change(self, more: Collection[bytes], less: Collection[bytes]) -> None:
        try:
            make_folders(self._path.parent, 0o700)
            with file_lock("leaving.lock"):
                drop_left_over(self._path.parent, self._path.name)
                after = (self.read() | frozenset(more)) - frozenset(less)
                if after:
                    replace_file(self._path, b"".join(sorted(after)))
                else:
                    with contextlib.suppress(FileNotFoundError):
                        self._path.unlink()
        except OSError as error:
            raise ConfigError(
                f"{self._path} cannot be written: {describe(error)}; set XDG_STATE_HOME to a folder that you can "
                "write to, or leave out --now"
            ) from None


def delete_now(writer: Writer, lists: Collection[bytes]) -> int:
    """Delete with all versions what these leaving lists name, then take the lists out of the head.

    Safe to run again: what is gone already is no error, and neither is a list that is not in the head any more.

    Args:
        lists: ids of leaving lists.

    Returns:
        How many objects, packs and parts were deleted by this call.

    Raises:
        DeleteRefused, StorageError: something could not be deleted; the lists stay in the head.
        as `Writer.transact`
    """
    deleted: set[str] = set()

    def change(attempt: Try) -> Next[tuple[Retired, ...]]:
        mine = tuple(one for one in attempt.head.retired if one.table.id in lists)
        if not mine:
            return Next(mine, None)
        keys = {key for one in mine for key in _listed(writer, attempt, one)}
        keys -= _named_again(attempt, keys)
        problem: SecuredataError | None = None
        for key, found in writer.storage.purge(keys - deleted):
            if isinstance(found, SecuredataError):
                problem = found
            else:
                deleted.add(key)
        if problem:
            raise problem
        return Next(mine, {"retired": tuple(one for one in attempt.head.retired if one not in mine)})

    cleared = writer.transact(change)
    with orphans():
        for one in cleared:
            writer.storage.delete(one.table.storage_key)
    return len(deleted)


def delete_noted(writer: Writer, notes: Notes, done: str) -> int:
    """`delete_now` what this run took out, and what an interrupted one had. `done`: what stays done if that fails.

    Raises:
        as `delete_now`
    """
    lists = notes.read()
    try:
        deleted = delete_now(writer, lists)
    except SecuredataError as error:
        raise type(error)(
            f"{done}, but not everything was deleted: {error}; run it again, or leave it to the first commit or prune "
            "after 24 hours",
            root=error.root,
        ) from error
    notes.drop(lists)
    return deleted


def _listed(writer: Writer, attempt: Try, one: Retired) -> list[str]:
    try:
        return listed(writer.storage, attempt.head, one)
    except NotFound:  # it was cleared by another commit, whose head the next try reads
        return []


def _named_again(attempt: Try, keys: Collection[str]) -> set[str]:
    """Those of the keys that the head names: a row can be renamed by adding it again with its object."""
    ids = {classify(key)[1]: key for key in keys}
    wanted = pa.array(list(ids), pa.binary(_ID))
    found = {part.id for part in attempt.head.parts} & ids.keys()
    for part in attempt.head.parts:
        view = attempt.read_table(part, ("object_id", "pack"))
        found |= named_keys(view, wanted)
    return {ids[id] for id in found}
