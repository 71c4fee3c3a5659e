"""What commits took out: kept for a day, for running readers, then deleted.

A commit lists the ids of the objects, packs and parts that it took out in a small sealed table, the leaving list, which
the head names under `leaving`. Prune, or a later commit that finds the list due, deletes what it lists and then clears
it. A crash at any point is harmless, since everything can be deleted again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.state.head import Head, Retired
from securedata.corpus.state.layout import object_key, pack_key, table_key
from securedata.corpus.state.tables import RETIRED_SCHEMA, read_table
from securedata.errors import AccessDenied, FormatError, MalformedManifest, NotFound
from securedata.storage.base import Storage

_log = logging.getLogger("securedata")

DELAY = 24 * 3600.0


def storage_key(what: str, id: bytes) -> str:
    """The storage key of an entry of a leaving list: an object, a part or a pack."""
    return {"object": object_key, "part": table_key}.get(what, pack_key)(id)


def retired_tables(
    parts: Sequence[bytes],
    objects: Sequence[bytes],
    grace: float = DELAY,
    firsts: Mapping[bytes, bytes] | None = None,
    packs: Sequence[bytes] = (),
) -> list[tuple[pa.Table, float]]:
    """The leaving lists of a commit, each with how much later than after a day what it lists is deleted, in seconds.

    Args:
        grace: seconds after which objects and packs are deleted, at least a day. Parts are deleted after a day: running
            readers have read theirs.
        firsts: for objects whose recordings were sealed again or packed, the id of the recording's first object: see
            `former`.
    """
    later = max(0.0, grace - DELAY)
    lists = [(parts, objects, packs, 0.0)] if not later else [(parts, (), (), 0.0), ((), objects, packs, later)]
    tables = [(retired_table(*ids), more) for *ids, more in lists if any(ids)]
    return [(_with_origin(table, firsts), more) for table, more in tables] if firsts else tables


def _with_origin(table: pa.Table, firsts: Mapping[bytes, bytes]) -> pa.Table:
    """A leaving list with the column `origin`, which earlier versions do not look at."""
    origins = pa.array([firsts.get(id) for id in table.column("id").to_pylist()], pa.binary(16))
    return table.append_column("origin", origins)


def former(storage: Storage, head: Head, firsts: Collection[bytes]) -> list[bytes]:
    """Objects that wait to be deleted, of recordings that were sealed again, by the ids of their first objects.

    Raises:
        FormatError, MalformedManifest, StorageError
    """
    found: list[bytes] = []
    for one in head.retired if firsts else ():
        try:
            table = read_table(storage, head.corpus_id, one.table, None, RETIRED_SCHEMA)
        except NotFound:  # cleared by another commit, whose head the next try reads
            continue
        if "origin" in table.schema.names:
            mine = pc.is_in(table.column("origin"), value_set=pa.array(firsts, pa.binary(16)))
            found += table.column("id").filter(mine).to_pylist()
    return found


def listed_packs(storage: Storage, head: Head) -> list[bytes]:
    """Packs that wait to be deleted. Raises as `former`."""
    found: list[bytes] = []
    for one in head.retired:
        try:
            found += [id for id, what in entries(storage, head, one) if what == "pack"]
        except NotFound:  # cleared by another commit: what it listed is deleted
            continue
    return found


def removed(storage: Storage, head: Head) -> list[bytes]:
    """Objects that wait to be deleted because their rows were removed or replaced by another recording.

    Not those that an erasure deletes, and not those of recordings that were sealed again.

    Raises:
        FormatError, MalformedManifest, StorageError
    """
    found: list[bytes] = []
    erased = {one["list"] for one in head.erasures if "list" in one}
    for one in head.retired:
        if one.table.id.hex() in erased:
            continue
        try:
            table = read_table(storage, head.corpus_id, one.table, None, RETIRED_SCHEMA)
        except NotFound:  # cleared by another commit: what it listed is deleted
            continue
        if "origin" in table.schema.names:
            table = table.filter(pc.is_null(table.column("origin")))
        found += table.column("id").to_pylist()
    return found


def retired_table(parts: Iterable[bytes], objects: Iterable[bytes], packs: Iterable[bytes] = ()) -> pa.Table:
    """A leaving list."""
    rows = [(id, "part") for id in parts] + [(id, "object") for id in objects] + [(id, "pack") for id in packs]
    return pa.table(
        [pa.array([id for id, _ in rows], pa.binary(16)), pa.array([what for _, what in rows], pa.large_string())],
        schema=RETIRED_SCHEMA,
    )


def due(head: Head, now: float) -> list[Retired]:
    """The lists that are a day old by storage's clock, except those of erasures that are not finished.

    An unfinished erasure still needs its list: the receipt names what was deleted.
    """
    needed = {one["list"] for one in head.erasures if "list" in one}
    return [one for one in head.retired if one.time + DELAY <= now and one.table.id.hex() not in needed]


def listed(storage: Storage, head: Head, one: Retired) -> list[str]:
    """The storage keys that a list names.

    Raises:
        NotFound, FormatError, MalformedManifest
    """
    return [storage_key(what, id) for id, what in entries(storage, head, one)]


def entries(storage: Storage, head: Head, one: Retired) -> list[tuple[bytes, str]]:
    """The ids that a list names, and what each is: 'object', 'part' or 'pack'. Raises as `listed`."""
    table = read_table(storage, head.corpus_id, one.table, None, RETIRED_SCHEMA)
    return list(zip(table.column("id").to_pylist(), table.column("what").to_pylist(), strict=True))


def delete_due(
    storage: Storage, head: Head, now: float, named: Callable[[list[bytes]], set[bytes]]
) -> tuple[Retired, ...]:
    """Delete what due lists name; returns those lists, which the next head can drop.

    A missing list was cleared by another commit, or is lost; one that cannot be opened is as good as lost. Once such a
    list is dropped, whatever it names is an orphan, which prune deletes. A refused deletion ends its list, which stays;
    the others are still worked off.

    Args:
        named: returns those of some ids that a head names again; they are kept.

    Raises:
        StorageError, what `named` raises
    """
    done = []
    for one in due(head, now):
        try:
            found = entries(storage, head, one)
        except NotFound:
            found = []
        except (FormatError, MalformedManifest) as error:
            _log.warning("dropped a leaving list from the head: %s", error)
            found = []
        again = named([id for id, _ in found])
        for id in again.intersection(id for id, _ in found):
            _log.warning("%s of %s is on a leaving list, but the head names it: kept", id.hex(), storage.url)
        try:
            for id, what in found:
                if id not in again:
                    storage.delete(storage_key(what, id))
        except AccessDenied as error:  # such as by a legal hold, which can last for years: other lists are still due
            _log.warning("what a leaving list names is left to a later commit: %s", error)
        else:
            done.append(one)
    return tuple(done)
