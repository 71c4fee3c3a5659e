"""Restrictions: an erasure request that meets a hold is recorded, and the person's rows open for nobody until it is
decided. Only `export --held` opens them, for those who work on the case.

A restriction ends with the erasure, or when somebody lifts it: `hold release --keep`. The end of a hold does not end
it.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from securedata.corpus.option_values import as_text
from securedata.corpus.rows.checks import rows_of
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.head import Head, TableRef
from securedata.corpus.state.lifecycle import Hold, Restriction
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument
from securedata.keys.tags import Tagger
from securedata.lifecycle.derived import Reached, in_each_derived


@dataclass(frozen=True, slots=True)
class Restricted:
    """Results of `restrict`.

    Attributes:
        tags: of the people whose rows are restricted for this request now.
        free: of the people none of whose rows is held any more: an erasure can take them.
        changed: False if all restrictions were there already.
        first: is this the first restriction in the corpus? Then older software refuses it from now on.
        generation: of the corpus, afterwards.
    """

    tags: tuple[bytes, ...]
    free: tuple[bytes, ...]
    changed: bool
    first: bool
    generation: int


def restrict(writer: Writer, tags: Collection[bytes], request: str = "", received: str = "") -> Restricted:
    """Record that a request to erase these people met a hold: from now on their rows open for nobody.

    Whose rows are still held is looked up at every try. The rows of the others stay open: erase them.

    Args:
        tags: the people's subject tags.
        request: the request's reference; '' if there is none.
        received: the day it was received, as YYYY-MM-DD; '' if that is not known.

    Raises:
        InvalidArgument: `received` is not a day.
        as `Writer.transact`
    """
    check_request(request, received)

    def change(attempt: Try) -> Next[Restricted]:
        head = attempt.head
        kept = kept_by_holds(attempt, tags)
        free = tuple(tag for tag in tags if tag not in kept)
        members = with_restrictions(head, sorted(kept), request, received, attempt.now())
        new = members != head.restricted
        outcome = Restricted(tuple(sorted(kept)), free, new, new and not head.restricted, head.generation + new)
        return Next(outcome, {"restricted": members} if new else None)

    return writer.transact(change)


def restrict_with_derived(writer: Writer, names: Sequence[str], request: str, received: str) -> None:
    """As `restrict`, by name; first in the corpora that were made from this one, as far as the caller's config has
    them. Where no hold keeps a person's rows they stay open.

    Raises:
        as `restrict`
    """

    def act(one: Writer) -> Reached:
        restrict_with_derived(one, names, request, received)
        return Reached()

    in_each_derived(writer, act)
    tagger = Tagger(writer.head.secret)
    restrict(writer, [tagger.tag(name) for name in names], request, received)


class Manifest(Protocol):
    """A head and its parts: a try of a commit, or a writer."""

    @property
    def head(self) -> Head: ...

    def read_table(self, part: TableRef, columns: Sequence[str] | None) -> pa.Table: ...


def kept_by_holds(manifest: Manifest, tags: Iterable[bytes], holds: Sequence[Hold] | None = None) -> frozenset[bytes]:
    """Those of `tags` who have a row that a hold keeps: their own hold, or that of another person in the recording.

    `holds`: instead of those of the head.
    """
    head, left = manifest.head, set(tags)
    held = {one.tag for one in (head.holds if holds is None else holds)}
    kept: set[bytes] = set()
    if not held:
        return frozenset()
    tagger = Tagger(head.secret)
    for part in head.parts:
        view = manifest.read_table(part, ("subjects",))
        rows = rows_of(view, tagger, held)
        if rows and left:
            here = {tag for tag in left if rows & rows_of(view, tagger, {tag})}
            kept |= here
            left -= here
    return frozenset(kept)


def with_restrictions(
    head: Head, tags: Iterable[bytes], request: str, received: str, now: float
) -> tuple[Restriction, ...]:
    """The member `restricted` of the next head, with these people added; a request that it has already is left."""
    known = {(one.tag, one.request) for one in head.restricted}
    more = [Restriction(tag, request, received, now) for tag in dict.fromkeys(tags) if (tag, request) not in known]
    return (*head.restricted, *more)


def without_restrictions(head: Head, tags: Collection[bytes]) -> tuple[Restriction, ...]:
    """The member `restricted` of the next head, without these people: they are erased in the same commit, or somebody
    has decided that they stay."""
    return tuple(one for one in head.restricted if one.tag not in tags)


def check_request(request: str, received: str) -> None:
    """Check the reference and the day of a request.

    Raises:
        InvalidArgument
    """
    as_text("request", request)
    if received:
        try:
            day = datetime.date.fromisoformat(as_text("received", received))
        except ValueError:
            day = None
        if day is None or day.isoformat() != received:
            raise InvalidArgument("received= must be a day such as 2026-11-30")
