"""What an erasure would take out of a corpus now; nothing is written. The commit chooses its rows again."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.changes import Mask
from securedata.corpus.rows.checks import CHECKED
from securedata.corpus.rows.durations import seconds_of
from securedata.keys.tags import Tagger
from securedata.lifecycle.erasure.kept import held_rows, kept_people, select_without
from securedata.lifecycle.erasure.request import Facts, Request
from securedata.lifecycle.holds.restriction import Manifest
from securedata.lifecycle.select import ByPath
from securedata.lifecycle.spellings import near_spellings

_SHOWN = ("object_id", "origin", "frames", "frames_in_segment", "sample_rate", *CHECKED)


@dataclass(frozen=True, slots=True)
class Preview:
    """What an erasure would take out.

    Attributes:
        rows, objects, seconds: how many, and how much audio.
        paths: logical paths of the rows.
        facts: whose rows they are.
        own: what is barred because of them: see `Request.facts`.
        others: people in these recordings whom the request does not name: their rows go too.
        erased_before: names that were erased before.
        absent: names, paths and consents of the request that the corpus does not have.
        near: by name of the request, spellings in the corpus that might be the same person.
        all: would it take out every row?
        held: logical paths of rows that a hold keeps.
        kept: names of the request whose whole erasure waits for the end of a hold.
        waiting: names of the people whose rows the request restricts because of a hold; an end of consent asks for
            nobody.
        shared: how many of the rows are segments of an object that other rows keep.
    """

    rows: int = 0
    objects: int = 0
    seconds: float = 0.0
    paths: tuple[str, ...] = field(default=(), repr=False)
    facts: Facts = field(default_factory=Facts)
    own: Facts = field(default_factory=Facts)
    others: tuple[str, ...] = field(default=(), repr=False)
    erased_before: tuple[str, ...] = field(default=(), repr=False)
    absent: tuple[str, ...] = field(default=(), repr=False)
    near: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    all: bool = False
    held: tuple[str, ...] = field(default=(), repr=False)
    kept: tuple[str, ...] = field(default=(), repr=False)
    waiting: tuple[str, ...] = field(default=(), repr=False)
    shared: int = 0


def preview(manifest: Manifest, request: Request, spellings: bool = True) -> Preview:
    """Look at what a request would take out: one read of each manifest part.

    Args:
        spellings: look for near spellings of every name, 0.1 s each among 10,000 people; else of absent ones only.

    Raises:
        PartMissing, StorageError, KeysError
    """
    head = manifest.head
    tagger = Tagger(head.secret)
    kept = kept_people(manifest, request, tagger)
    select = select_without(request, tagger, kept)
    columns = tuple(dict.fromkeys((*select.columns, *_SHOWN)))
    chosen: list[pa.Table] = []
    held: list[pa.Table] = []
    people: set[str] = set()
    shared = 0
    for part in head.parts:
        view = manifest.read_table(part, columns)
        people.update(pc.unique(view.column("subjects").combine_chunks().flatten()).to_pylist())
        hits, stays = select.hits(head, view), held_rows(head, view)
        shared += _shared(view, hits & ~stays)
        for tables, mask in ((chosen, hits & ~stays), (held, hits & stays)):
            rows = view.filter(pa.array(mask))
            tables += [rows] if rows.num_rows else []
    paths, held_paths = _paths(chosen), _paths(held)
    consents = {consent for table in (*chosen, *held) for consent in pc.unique(table.column("consent_id")).to_pylist()}
    dead = {one.tag for one in head.tombstones}
    before = tuple(name for name in request.names if tagger.tag(name) in dead)
    absent = [name for name in request.names if name not in people and name not in before]
    absent += [one for one in request.consents if one not in consents]
    if request.paths:
        absent += ByPath(request.paths).unmatched((*paths, *held_paths))
    facts = Facts.of(chosen, request.asks_derived(head))
    asked = request.names if spellings else [name for name in request.names if name in absent]
    return Preview(
        rows=len(paths),
        objects=sum(pc.count_distinct(table.column("object_id")).as_py() for table in chosen),
        seconds=float(sum(pc.sum(seconds_of(table)).as_py() for table in chosen)),
        paths=paths,
        facts=facts,
        own=request.facts(head, chosen),
        others=_others(request, facts),
        erased_before=before,
        absent=tuple(absent),
        near={name: tuple(near) for name in asked if (near := near_spellings(name, people))},
        all=bool(paths) and len(paths) == head.rows,
        held=held_paths,
        kept=tuple(name for name in request.names if tagger.tag(name) in kept),
        waiting=_waiting(manifest, request, tagger, kept, held),
        shared=shared,
    )


def _waiting(
    manifest: Manifest, request: Request, tagger: Tagger, kept: frozenset[bytes], held: list[pa.Table]
) -> tuple[str, ...]:
    if request.kind in ("expired", "retention"):
        return ()
    tags = kept or {one.tag for one in manifest.head.holds}
    names = {name for name, _ in Facts.of(held).consents} | set(request.names if kept else ())
    return tuple(sorted(name for name in names if tagger.tag(name) in tags))


def _shared(view: pa.Table, taken: Mask) -> int:
    """Rows to be taken out whose object others of the part keep; all rows of an object are in one part."""
    mine = view.filter(pa.array(taken)).column("object_id")
    others = view.filter(pa.array(~taken)).column("object_id")
    return int(pc.sum(pc.is_in(mine, value_set=pc.unique(others))).as_py() or 0)


def _paths(tables: list[pa.Table]) -> tuple[str, ...]:
    return tuple(path for table in tables for path in table.column("path").to_pylist())


def _others(request: Request, facts: Facts) -> tuple[str, ...]:
    if request.kind != "subject":
        return ()
    return tuple(sorted({name for name, _ in facts.consents} - set(request.names)))
