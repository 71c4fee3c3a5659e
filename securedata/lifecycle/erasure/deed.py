"""The erasing commit: rows go, bars come, and the head gets a fresh corpus key and a receipt's draft, in one step."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.fresh_key import FreshKey
from securedata.corpus.packs.usage import COLUMNS as PLACES
from securedata.corpus.packs.usage import stored_packs, usage_of
from securedata.corpus.rows.changes import Changes, Mask, Plan, Select
from securedata.corpus.rows.durations import seconds_of
from securedata.corpus.schema import optional
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.head import Head, Tombstone
from securedata.corpus.state.lifecycle import Restriction
from securedata.corpus.state.retired import former, listed_packs
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument
from securedata.keys.tags import Tagger
from securedata.keys.wraps import named
from securedata.lifecycle.erasure.journal import Open
from securedata.lifecycle.erasure.kept import kept_people, select_without
from securedata.lifecycle.erasure.pending import Asked, Pending
from securedata.lifecycle.erasure.request import Facts, Request, barred_by
from securedata.lifecycle.holds.locked import refuse_locked
from securedata.lifecycle.models.erased import models_member
from securedata.lifecycle.receipt import members
from securedata.lifecycle.receipt.members import Derived, Scope
from securedata.lifecycle.receipt.opening import Opening
from securedata.lifecycle.receipt.statement import Draft, check_count
from securedata.lifecycle.receipt.store import write_openings
from securedata.lineage.search import Records

_COUNTED = (
    "object_id",
    "pack",
    "subjects",
    "consent_id",
    "source_sha256",
    "frames",
    "frames_in_segment",
    "sample_rate",
    "origin",
)


@dataclass(frozen=True, slots=True)
class Committed:
    """What the erasing commit did.

    Attributes:
        open: the erasure, which is to be finished; None: there was nothing to erase.
        rows, seconds: that were taken out.
        held: logical paths of rows that a hold keeps.
        restricted: how many people were restricted, because a hold keeps their rows.
        again: nothing was committed, since corpora made from this one are to be asked first: one is registered that was
            not asked, or was not asked for all of this.
    """

    open: Open | None = None
    rows: int = 0
    seconds: float = 0.0
    held: tuple[str, ...] = field(default=(), repr=False)
    restricted: int = 0
    again: bool = False


def check_all(head: Head, rows: int, confirmed: int | None, root: str) -> None:
    """Refuse to take out all rows of a corpus, unless the caller has confirmed their number.

    Raises:
        InvalidArgument
    """
    if rows and rows == head.rows and confirmed != rows:
        raise InvalidArgument(
            f"this would erase all {rows:,} rows of {root}; nothing was erased. If that is meant, confirm it with "
            f"--yes {rows}",
            root=root,
        )


def shared_refused(rows: int, root: str) -> InvalidArgument:
    """The error for rows whose sound would stay in an object that other rows name."""
    return InvalidArgument(
        f"{rows:,} of the rows are segments of recordings in {root} that other segments keep: their sound would stay "
        "readable, so nothing was erased. Erase all segments of these recordings (--path), or all of the person "
        "(--subject); 'securedata split' gives segments of several people objects of their own",
        root=root,
    )


class _Counted:
    """A selection that also reads what an erasure counts and bars."""

    def __init__(self, select: Select) -> None:
        self._select = select
        self.columns = tuple(dict.fromkeys((*select.columns, *_COUNTED)))

    def hits(self, head: Head, view: pa.Table) -> Mask:
        return self._select.hits(head, view)


class Deed:
    """The change that a writer commits, in as many tries as it takes: everything is checked again at each."""

    def __init__(
        self,
        writer: Writer,
        request: Request,
        fresh: FreshKey,
        openings: Sequence[Opening],
        *,
        reached: Collection[Derived] = (),
        asked: Asked | None = None,
        always: bool = False,
        all_rows: int | None = None,
        all_meant: bool = False,
        partial: bool = False,
        models: Records | None = None,
    ) -> None:
        """Begin a deed; nothing is read or written yet.

        Args:
            openings: of the people whom the receipt will name; written before the first try writes anything.
            reached: corpora made from this one that were asked, and their state.
            asked: what they were asked for; None: this kind of request is not passed on to them.
            always: commit even if there is nothing to erase, so that there is a receipt.
            all_rows: how many rows the corpus has, if the caller knows that the request takes out all of them.
            all_meant: all rows may go, however many there are.
            partial: go on although legal holds keep older versions.
            models: records of models, among which the people are looked for; None: none.
        """
        self._tagger = Tagger(writer.head.secret)
        self._root, self._storage = writer.root, writer.storage
        self._request, self._fresh, self._openings = request, fresh, tuple(openings)
        self._changes: dict[frozenset[bytes], Changes] = {}
        self._reached = {one.corpus: one for one in reached}
        self._asked, self._always = asked, always
        self._all_rows, self._all_meant, self._partial = all_rows, all_meant, partial
        self._written: tuple[Opening, ...] = ()
        self._models = models

    def __call__(self, attempt: Try) -> Next[Committed]:
        head = attempt.head
        kept = kept_people(attempt, self._request, self._tagger)
        changes = self._changes_without(kept)
        plan = self._with_former(attempt, attempt.plan(changes))
        rows, facts = plan.outcome.removed, Facts.of(plan.dropped, self._request.asks_derived(head))
        own = self._request.facts(head, plan.dropped)
        if any(one["corpus"] not in self._reached for one in head.derived):
            return Next(Committed(again=True), None)
        if head.derived and self._asked is not None and not facts.within(self._asked.facts):
            return Next(Committed(again=True), None)
        if not self._all_meant:
            check_all(head, rows, self._all_rows, self._root)
        self._check_shared(plan)
        held_people = frozenset(self._tagger.tag(name) for name, _ in Facts.of(plan.held).consents)
        holds = frozenset(one.tag for one in head.holds)
        restricted = self._restricted(attempt, kept or held_people & holds)
        barred = barred_by(self._request, self._tagger, own, holds | held_people | kept)
        dead = {one.tag for one in head.tombstones}
        stones = tuple(Tombstone(tag, head.generation + 1) for tag in sorted(barred.people - dead))
        length = float(sum(pc.sum(seconds_of(one)).as_py() for one in plan.dropped))
        outcome = Committed(None, rows, length, tuple(plan.outcome.held), len(restricted))
        nobody = self._request.kind == "subject" and not barred.people  # a hold keeps all whom it names
        if not rows and not stones and (nobody or not self._always):
            if not restricted:
                return Next(outcome, None)
            return Next(outcome, {"restricted": (*head.restricted, *restricted)})
        refuse_locked(head, self._root, self._partial)
        openings = tuple(one for one in self._openings if self._tagger.tag(one.name) in barred.people)
        if openings != self._written:
            write_openings(head.corpus_id.hex(), attempt.write_id.hex(), openings)
            self._written = openings
        members = attempt.write(plan, changes) if rows else {}
        leaving = members["retired"][-1].table.id if "retired" in members else None
        people = {tag: one for tag, one in self._request.commitments.items() if tag in barred.people}
        people |= {self._tagger.tag(one.name): one.commitment for one in openings}
        entry = self._open(attempt, plan, leaving, barred.people, length, people)
        members |= {
            **self._fresh.members(attempt.opened),
            "tombstones": (*head.tombstones, *stones),
            "barred": (*head.barred, *sorted(barred.bars - set(head.barred))),
            "barred_pieces": (*head.barred_pieces, *sorted(barred.pieces - set(head.barred_pieces))),
            "restricted": (*(one for one in head.restricted if one.tag not in barred.people), *restricted),
            "erasures": (*head.erasures, entry.to_json()),
            "pending": (*head.pending, *(one.to_json() for one in self._missed(attempt, people))),
        }
        done = Committed(entry, rows, length, outcome.held, len(restricted))
        return Next(done, members, self._fresh.key)

    def _with_former(self, attempt: Try, plan: Plan) -> Plan:
        """The plan, and what the recordings lay in before they were sealed again or packed, if that is still kept."""
        columns = [pc.coalesce(optional(one, "origin"), one.column("object_id")) for one in plan.dropped]
        firsts = {first for column in columns for first in column.to_pylist()}
        gone = dict.fromkeys((*plan.retired_objects, *former(self._storage, attempt.head, firsts)))
        return replace(plan, retired_objects=tuple(gone))

    def _check_shared(self, plan: Plan) -> None:
        """Refuse to call rows erased whose recording stays, whole, in an object that other rows name.

        All rows of an object name the same people, so a request by person takes all of them, and a hold keeps all.
        """
        if self._request.kind in ("subject", "all"):
            return
        gone = {*plan.retired_objects, *plan.left_in_packs}
        shared = sum(id not in gone for one in plan.dropped for id in one.column("object_id").to_pylist())
        if shared:
            raise shared_refused(shared, self._root)

    def _changes_without(self, kept: frozenset[bytes]) -> Changes:
        """What is to be taken out; the same object for the same people, so that a try can use the parts of another."""
        if kept not in self._changes:
            self._changes[kept] = Changes(select=_Counted(select_without(self._request, self._tagger, kept)))
        return self._changes[kept]

    def _restricted(self, attempt: Try, kept: frozenset[bytes]) -> tuple[Restriction, ...]:
        """New restrictions of the people whom a hold keeps; an end of consent asks for nobody."""
        request, head = self._request, attempt.head
        if not kept or request.kind in ("expired", "retention"):
            return ()
        known = {one.tag for one in head.restricted if one.request == request.reference}
        now = attempt.now()
        return tuple(Restriction(tag, request.reference, request.received, now) for tag in sorted(kept - known))

    def _with_holes(self, attempt: Try, plan: Plan) -> list[bytes]:
        """Packs with dead bytes: perhaps of recordings in scope that were replaced or sealed again before."""
        if not plan.packed:
            return []
        usage = usage_of(attempt.read_table(part, PLACES) for part in attempt.head.parts)
        dead = usage.dead(stored_packs(self._storage))
        return [one for one in usage.live if dead[one] and one not in plan.retired_packs]

    def _missed(self, attempt: Try, people: Mapping[bytes, str]) -> list[Pending]:
        """What is to be erased later in derived corpora that were not reached, or not for all of it."""
        if self._asked is None:
            return []
        id, far = attempt.write_id.hex(), {one.corpus for one in self._reached.values() if one.state == "not reached"}
        entries = [one for one in attempt.head.derived if one["corpus"] in far]
        found = [self._asked.missed(id, one, people, self._tagger) for one in entries]
        return [one for one in found if one is not None]

    def _open(
        self,
        attempt: Try,
        plan: Plan,
        leaving: bytes | None,
        people: frozenset[bytes],
        seconds: float,
        commitments: Mapping[bytes, str],
    ) -> Open:
        request = self._request
        objects, parts = len(plan.retired_objects), len(plan.retired_parts)
        packs = set(plan.left_in_packs.values())
        waiting = (
            {*listed_packs(self._storage, attempt.head), *self._with_holes(attempt, plan)} if plan.dropped else set()
        )
        waiting -= packs
        packed = members.Packed.of(len(plan.left_in_packs), packs.difference(plan.retired_packs), waiting)
        check_count(objects + parts + len(packs) + len(waiting))
        scope = Scope(request.kind, tuple(sorted(commitments.values())), plan.outcome.removed, seconds, objects, parts)
        asked = members.Request(request.reference, request.received or None) if request.reference else None
        wraps = tuple(named(wrap) for wrap in attempt.head.wraps)
        draft = Draft(
            attempt.write_id.hex(),
            asked,
            scope,
            wraps,
            derived=tuple(self._reached.values()),
            models=self._look_for_models(attempt.head, plan, people),
            packed=packed,
        )
        by_name = tuple(sorted(people)) if request.kind == "subject" else ()
        return Open(draft, leaving, by_name, attempt.now(), request.asked(self._tagger))

    def _look_for_models(self, head: Head, plan: Plan, people: frozenset[bytes]) -> members.Models | None:
        if self._models is None:
            return None
        names = {name for name, _ in Facts.of(plan.dropped).consents}
        if self._request.kind == "subject":
            names = {name for name in names.union(self._request.names) if self._tagger.tag(name) in people}
        return models_member(self._models, head.corpus_id, self._tagger, names)
