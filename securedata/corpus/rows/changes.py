"""What a commit is to change, and the plan of what that does to one head."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from securedata.corpus.rows.inherit import Clear
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.schema import SCHEMA
from securedata.corpus.state.head import Head, TableRef
from securedata.errors import InvalidArgument

ReadTable = Callable[[TableRef, Sequence[str] | None], pa.Table]
"""Reads a live part: all columns (None), or those named."""

Mask = np.ndarray[Any, np.dtype[np.bool_]]

PLACES = frozenset(("object_id", "data_key", "pack", "offset", "sealed_size", "origin", "keyed_since"))
"""Columns that say where and under which key a row's object is. Changing them changes no recording."""


class Select(Protocol):
    """Chooses the rows that a commit takes out, again for every try."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that `hits` looks at."""

    def hits(self, head: Head, view: pa.Table) -> Mask:
        """Which rows of a part to take out; `view` has `columns`, and possibly others."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes of one logical commit.

    Attributes:
        add: new rows, followed by rows that may only update existing ones.
        updates: how many rows of `add` are of the second kind.
        remove: logical paths.
        replace: a new row replaces one that has other content or people.
        reseal: a new row also replaces one of the same recording.
        put_times: storage's time of each new object or pack, by its id.
        clear: cells of existing rows that are emptied, rather than kept, where `add` leaves them empty.
        select: chooses rows to take out.
        rewrite: new cells of existing rows: columns `path` and `old_id`, and those to change. A row is changed only if
            it still names the object `old_id` (compare and swap).
        moves: objects that get another place, in packs: see `corpus.packs.moves`.
        whole: how many rows of `add` each new pack must keep to be named.
    """

    add: pa.Table = field(default_factory=SCHEMA.empty_table, repr=False)
    updates: int = 0
    remove: tuple[str, ...] = field(default=(), repr=False)
    replace: bool = False
    reseal: bool = False
    put_times: Mapping[bytes, float] = field(default_factory=dict)
    clear: Clear = field(default_factory=dict, repr=False)
    select: Select | None = None
    rewrite: pa.Table | None = field(default=None, repr=False)
    moves: pa.Table | None = field(default=None, repr=False)
    whole: Mapping[bytes, int] = field(default_factory=dict, repr=False)

    @property
    def firsts(self) -> dict[bytes, bytes]:
        """By old object id, the first object id of each recording that `rewrite` gives another object."""
        if self.rewrite is None or "origin" not in self.rewrite.schema.names:
            return {}
        old, first = (self.rewrite.column(name).to_pylist() for name in ("old_id", "origin"))
        return dict(zip(old, first, strict=True))

    def only_updates(self, i: int) -> bool:
        """May this row of `add` only update an existing one? It brings no object of its own."""
        return i >= int(self.add.num_rows) - self.updates


@dataclass(frozen=True, slots=True)
class Edit:
    """A live part as a new part takes it over: rows to drop, and rows to update from rows of `add` or `rewrite`.

    Rows of `moved` go to another new part.
    """

    part: TableRef
    drop: frozenset[int] = frozenset()
    update: tuple[tuple[int, int], ...] = ()
    rewrite: tuple[tuple[int, int], ...] = ()
    moved: frozenset[int] = frozenset()

    @property
    def rows(self) -> int:
        return self.part.rows - len(self.drop) - len(self.moved)

    @property
    def changed(self) -> bool:
        return bool(self.drop or self.update or self.rewrite or self.moved)


@dataclass(frozen=True, slots=True)
class Fresh:
    """A row of `add` that is added with its object; it inherits from row `row` of the live part `part`, if any."""

    i: int
    part: TableRef | None = None
    row: int = 0


class Moved(NamedTuple):
    """Row `row` of the live part `part`, which goes to the place that row `j` of `Changes.moves` says."""

    part: TableRef
    row: int
    j: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One part of the next head: a live part kept as it is, or a new one made of edits, or moved rows, and added rows.

    Within one logical commit, equal slots hold equal rows, so a part made for one try can be used by the next.
    """

    edits: tuple[Edit, ...]
    fresh: tuple[Fresh, ...] = ()
    moved: tuple[Moved, ...] = ()

    @property
    def kept(self) -> TableRef | None:
        if len(self.edits) != 1 or self.fresh or self.moved or self.edits[0].changed:
            return None
        return self.edits[0].part

    @property
    def rows(self) -> int:
        return sum(edit.rows for edit in self.edits) + len(self.moved) + len(self.fresh)

    @property
    def size(self) -> int:
        """Total size of the sealed parts that it is made of."""
        return sum(edit.part.size for edit in self.edits)


@dataclass(frozen=True, slots=True)
class Plan:
    """The next head's parts in order, what the commit takes out, and its outcome.

    Attributes:
        dropped: for each part that loses rows to `Changes.select`, those rows: the columns of the selection, and those
            that every commit checks.
        held: likewise the rows that it chose and a hold keeps.
        firsts: for each object whose recording added rows have under another one, the id of the recording's first.
        retired_packs: packs that no row names any more.
        left_in_packs: objects that no row names any more, by id, and the pack that each lies in: with the pack.
        packed: whether any row of the head names a pack, as far as its parts had to be read.
    """

    slots: tuple[Slot, ...]
    retired_parts: tuple[bytes, ...]
    retired_objects: tuple[bytes, ...]
    outcome: Outcome
    dropped: tuple[pa.Table, ...] = field(default=(), repr=False)
    held: tuple[pa.Table, ...] = field(default=(), repr=False)
    firsts: Mapping[bytes, bytes] = field(default_factory=dict)
    retired_packs: tuple[bytes, ...] = ()
    left_in_packs: Mapping[bytes, bytes] = field(default_factory=dict)
    packed: bool = False


def check_objects(add: pa.Table) -> None:
    """Refuse rows of one object that name different people: erasing one person would take the others' object away.

    Raises:
        InvalidArgument
    """
    people: dict[bytes, set[str]] = {}
    for object_id, names in zip(add.column("object_id").to_pylist(), add.column("subjects").to_pylist(), strict=True):
        if people.setdefault(object_id, set(names)) != set(names):
            raise InvalidArgument(f"rows of object {object_id.hex()} name different people: split it into objects")
