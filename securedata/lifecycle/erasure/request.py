"""What an erasure is asked to erase, and what may not enter the corpus after it.

subject   rows that name a person        the person is tombstoned, and their consents are barred
consent   rows under a consent           that consent of each person in them is barred
expired   rows whose consent has ended   likewise
path      rows of recordings             those recordings are barred, by their digest, and pieces that were cut out of
                                         longer ones by the recording's digest and their place in it
retention rows kept longer than allowed  nothing
all       every row                      every person is tombstoned
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.changes import Select
from securedata.corpus.rows.checks import piece_of
from securedata.corpus.schema import optional
from securedata.corpus.state.head import Head
from securedata.corpus.state.lifecycle import BarredPiece
from securedata.errors import InvalidArgument
from securedata.keys.tags import Tagger, consent_under, recording_under
from securedata.lifecycle.retention import Overdue, Rule
from securedata.lifecycle.select import (
    All,
    ByConsent,
    ByDigest,
    ByPath,
    ByPerson,
    ByPiece,
    ByTag,
    Either,
    Expired,
    MadeFrom,
    Origin,
    Piece,
)

Kind = Literal["subject", "path", "consent", "expired", "retention", "all"]


@dataclass(frozen=True, slots=True)
class Facts:
    """Whose rows an erasure takes out, and what was recorded in them.

    Attributes:
        consents: each person with each of their consents.
        digests: of files, also of such as were cut out of a longer one, or computed from one.
        pieces: of longer recordings, from which rows were cut.
        rows: the rows themselves, by which a derived corpus knows what was made from them; none if there is no such
            corpus.
    """

    consents: frozenset[tuple[str, str | None]] = field(default=frozenset(), repr=False)
    digests: frozenset[bytes] = frozenset()
    pieces: frozenset[Piece] = frozenset()
    rows: frozenset[Origin] = field(default=frozenset(), repr=False)

    @classmethod
    def of(cls, rows: Iterable[pa.Table], derived: bool = False) -> Facts:
        """Those of some rows, with `object_id`, `origin` and the columns CHECKED as far as they have them.

        Args:
            derived: note the rows themselves, too, since corpora were made from theirs.
        """
        consents: set[tuple[str, str | None]] = set()
        digests: set[bytes] = set()
        pieces: set[Piece] = set()
        origins: set[Origin] = set()
        for table in rows:
            columns = (table.column(name).to_pylist() for name in ("subjects", "consent_id"))
            consents.update((name, consent or None) for names, consent in zip(*columns, strict=True) for name in names)
            digests.update(table.column("source_sha256").to_pylist())
            if derived:
                firsts = pc.coalesce(optional(table, "origin"), table.column("object_id"))
                origins.update(zip(firsts.to_pylist(), table.column("path").to_pylist(), strict=True))
            if "recording_sha256" in table.schema.names:
                cut = table.filter(pc.is_valid(table.column("recording_sha256")))
                columns = (cut.column(name).to_pylist() for name in ("recording_sha256", "path", "recording", "start"))
                for sha256, *place in zip(*columns, strict=True):
                    span = piece_of(*place)
                    if span is None:
                        digests.add(sha256)
                    else:
                        pieces.add((sha256, *span))
        return cls(frozenset(consents), frozenset(digests), frozenset(pieces), frozenset(origins))

    def within(self, other: Facts) -> bool:
        """Are all of these among the others?"""
        return all(mine <= others for mine, others in zip(self._all(), other._all(), strict=True))

    def __or__(self, other: Facts) -> Facts:
        return Facts(*(mine | others for mine, others in zip(self._all(), other._all(), strict=True)))

    def _all(self) -> tuple[frozenset[Any], ...]:
        return self.consents, self.digests, self.pieces, self.rows


@dataclass(frozen=True, slots=True)
class Request:
    """A request for erasure.

    Attributes:
        kind: see above.
        names: the people, of kind subject.
        paths: logical paths, folders or globs, of kind path.
        digests: likewise the SHA-256 digests of recordings.
        consents: of kind consent.
        now: the moment by which a consent has ended, or that the rule is for, in seconds since the epoch.
        rule: of kind retention.
        reference, received: the request's reference, and the day it was received (YYYY-MM-DD); '' if there is none.
        more: what to bar besides what the rows show: that of the corpus from which this one was made.
        rows: rows of the corpus that asks: what was made from them goes, too, even if it has another name or consent by
            now, because one of the two was relabelled. Of kind path, digests name it.
        pieces: of kind path, beside digests or tags: pieces of recordings, from which the corpus may have other rows
            than the corpus that asks; by tag if there are tags.
        tags: in place of names, consents or digests: subject tags, or tags of consents or recordings under the key of
            subject tags. So the erasure of another corpus passes on what it could not erase here.
        commitments: by such a subject tag, the commitment to the person in that erasure's receipt.
    """

    kind: Kind
    names: tuple[str, ...] = field(default=(), repr=False)
    paths: tuple[str, ...] = field(default=(), repr=False)
    digests: frozenset[bytes] = frozenset()
    consents: tuple[str, ...] = field(default=(), repr=False)
    now: float = 0.0
    rule: Rule = field(default_factory=Rule)
    reference: str = ""
    received: str = ""
    more: Facts = field(default_factory=Facts)
    rows: frozenset[Origin] = field(default=frozenset(), repr=False)
    pieces: frozenset[Piece] = frozenset()
    tags: frozenset[bytes] = frozenset()
    commitments: Mapping[bytes, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        given = {
            "subject": self.names or self.tags,
            "path": self.paths or self.digests or self.pieces or self.tags,
            "consent": self.consents or self.tags,
        }
        if not given.get(self.kind, True):
            raise InvalidArgument(f"an erasure by {self.kind} needs at least one: the list is empty")

    def people(self, tagger: Tagger) -> frozenset[bytes]:
        """The subject tags of the people whom the request names; none of other kinds."""
        return frozenset(map(tagger.tag, self.names)) | (self.tags if self.kind == "subject" else frozenset())

    def asked(self, tagger: Tagger) -> bytes | None:
        """The tag by which a later run knows that it was asked for the same; None of people, who have tags,
        and of what another corpus passed on by tags.

        An end of consent and a rule are the same request on every day.
        """
        if self.kind == "subject" or self.tags:
            return None
        pieces = (f"{one.hex()}@{start}-{stop}" for one, start, stop in self.pieces)
        return tagger.request(self.kind, (*self.paths, *self.consents, *(one.hex() for one in self.digests), *pieces))

    def asks_derived(self, head: Head) -> bool:
        """Are there corpora that must also take out what was made from its rows? Of kind path, digests name those."""
        return bool(head.derived) and self.kind in ("subject", "consent", "expired")

    def select(self, tagger: Tagger) -> Select:
        """The rows to take out."""
        named = self._named(tagger)
        return Either(named, MadeFrom(self.rows)) if self.rows else named

    def _named(self, tagger: Tagger) -> Select:
        if self.kind == "subject":
            return ByPerson(self.people(tagger))
        if self.kind == "path" and self.pieces:
            return Either(self._of_recordings(), self._of_pieces())
        if self.tags and self.kind == "consent":
            return ByTag(self.tags, ("consent_id",), consent_under)
        if self.kind == "path":
            return self._of_recordings()
        if self.kind == "consent":
            return ByConsent(self.consents)
        if self.kind == "retention":
            return Overdue(self.rule, self.now)
        if self.kind == "expired":
            return Expired(self.now)
        if self.kind == "all":
            return All()
        raise InvalidArgument(f"there is no erasure by {self.kind}")

    def facts(self, head: Head, rows: Sequence[pa.Table]) -> Facts:
        """What to bar because of these rows, and to ask of other corpora: not what goes only because its object holds a
        piece that was asked for, but such pieces; and not what goes only because of what it was made from."""
        if self.rows:
            named = self._named(Tagger(head.secret))
            return Facts.of(one.filter(pa.array(named.hits(head, one))) for one in rows)
        if not self.pieces:
            return Facts.of(rows)
        recordings, pieces = self._of_recordings(), self._of_pieces()
        known = (pieces.pieces(head, one) for one in rows) if self.tags else (self.pieces,)
        facts = Facts.of(one.filter(pa.array(recordings.hits(head, one))) for one in rows)
        return replace(facts, pieces=facts.pieces.union(*known))

    def _of_recordings(self) -> Select:
        if self.tags:
            return ByTag(self.tags, ByDigest.columns, recording_under)
        return ByPath(self.paths) if self.paths else ByDigest(self.digests)

    def _of_pieces(self) -> ByPiece:
        return ByPiece(self.pieces, bool(self.tags))


@dataclass(frozen=True, slots=True)
class Barred:
    """What may not enter any more: tags of people, tags of consents and recordings, and pieces of recordings."""

    people: frozenset[bytes]
    bars: frozenset[bytes]
    pieces: frozenset[BarredPiece] = frozenset()


def barred_by(request: Request, tagger: Tagger, facts: Facts, free: frozenset[bytes]) -> Barred:
    """What an erasure bars.

    Args:
        facts: of the rows that it takes out: see `Request.facts`.
        free: tags of people whom a hold keeps, so that they are not tombstoned.
    """
    if request.kind == "retention":
        return Barred(frozenset(), frozenset())
    if request.kind == "path":
        digests = facts.digests | request.more.digests | request.digests
        pieces = (
            BarredPiece(tagger.recording(sha256), start, stop - start)
            for sha256, start, stop in facts.pieces | request.more.pieces
        )
        return Barred(frozenset(), frozenset(map(tagger.recording, digests)), frozenset(pieces))
    asked = request.people(tagger) - free
    named = {name: tagger.tag(name) for name, _ in facts.consents | request.more.consents}
    pairs = {(named[name], consent) for name, consent in facts.consents | request.more.consents}
    if request.kind == "subject":
        pairs = {pair for pair in pairs if pair[0] in asked} | {(tag, None) for tag in asked}
    people = asked if request.kind != "all" else frozenset(named.values()) - free
    return Barred(people, frozenset(tagger.consent_of(*pair) for pair in pairs))
