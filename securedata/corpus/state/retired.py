"""What commits took out, waiting a day for readers in flight before it is deleted.

A commit lists the ids of the objects, packs and parts that it took out in a small sealed table, which
the head names under `leaving`. Prune, or a later commit that finds the table due, deletes what it
lists and then clears it. Deleting again what is gone is fine, so a crash at any point is too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import pyarrow as pa

from securedata.corpus.state.head import Head, Retired
from securedata.corpus.state.layout import object_key, pack_key, table_key
from securedata.corpus.state.tables import RETIRED_SCHEMA, read_table
from securedata.errors import FormatError, MalformedManifest, NotFound
from securedata.storage.base import Storage

_log = logging.getLogger("securedata")

DELAY = 24 * 3600.0


def _storage_key(what: str, id: bytes) -> str:
    """The storage key of an entry, by what a leaving list calls it: an object, a part or a pack."""
    return {"object": object_key, "part": table_key}.get(what, pack_key)(id)


def retired_table(parts: Iterable[bytes], objects: Iterable[bytes]) -> pa.Table:
    """A leaving list."""
    rows = [(id, "part") for id in parts] + [(id, "object") for id in objects]
    return pa.table(
        [pa.array([id for id, _ in rows], pa.binary(16)), pa.array([what for _, what in rows], pa.large_string())],
        schema=RETIRED_SCHEMA,
    )


def due(head: Head, now: float) -> list[Retired]:
    """The lists whose day is over, by storage's clock."""
    return [one for one in head.retired if one.time + DELAY <= now]


def listed(storage: Storage, head: Head, one: Retired) -> list[str]:
    """The storage keys that a list names.

    Raises:
        NotFound, FormatError, MalformedManifest
    """
    return [_storage_key(what, id) for id, what in _entries(storage, head, one)]


def _entries(storage: Storage, head: Head, one: Retired) -> list[tuple[bytes, str]]:
    table = read_table(storage, head.corpus_id, one.table, None, RETIRED_SCHEMA)
    return list(zip(table.column("id").to_pylist(), table.column("what").to_pylist(), strict=True))


def delete_due(
    storage: Storage, head: Head, now: float, named: Callable[[list[bytes]], set[bytes]]
) -> tuple[Retired, ...]:
    """Delete what due lists name; returns the lists that a head without them may now clear.

    A list that is gone was cleared by a commit that came between, or it is lost. One that cannot be opened is as good
    as lost. Their day is over, so what they name is an orphan once they are cleared, which prune deletes.

    Args:
        named: those of some ids that a head names again. They stay: what a head names is never deleted.

    Raises:
        StorageError, what `named` raises
    """
    done = []
    for one in due(head, now):
        try:
            entries = _entries(storage, head, one)
        except NotFound:
            entries = []
        except (FormatError, MalformedManifest) as error:
            _log.warning("dropped from the head: %s", error)
            entries = []
        again = named([id for id, _ in entries])
        for id, what in entries:
            if id in again:
                _log.warning("%s of %s is on a list of what leaves, and named: it stays", id.hex(), storage.url)
            else:
                storage.delete(_storage_key(what, id))
        done.append(one)
    return tuple(done)
