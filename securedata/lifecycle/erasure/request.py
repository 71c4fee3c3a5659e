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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.changes import Select
from securedata.corpus.rows.checks import piece_of
from securedata.corpus.state.lifecycle import BarredPiece
from securedata.errors import InvalidArgument
from securedata.keys.tags import Tagger, consent_under, recording_under
from securedata.lifecycle.retention import Overdue, Rule
from securedata.lifecycle.select import All, ByConsent, ByDigest, ByPath, ByPerson, ByTag, Expired

Kind = Literal["subject", "path", "consent", "expired", "retention", "all"]
Piece = tuple[bytes, int, int]
"""The digest of a recording's file, and the first frame and the one after the last of a piece of it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Whose rows an erasure takes out, and what was recorded in them.

    Attributes:
        consents: each person with each of their consents.
        digests: of files, also of such as were cut out of a longer one, or computed from one.
        pieces: of longer recordings, from which rows were cut.
    """

    consents: frozenset[tuple[str, str | None]] = field(default=frozenset(), repr=False)
    digests: frozenset[bytes] = frozenset()
    pieces: frozenset[Piece] = frozenset()

    @classmethod
    def of(cls, rows: Iterable[pa.Table]) -> Facts:
        """Those of some rows, with the columns CHECKED as far as they have them."""
        consents: set[tuple[str, str | None]] = set()
        digests: set[bytes] = set()
        pieces: set[Piece] = set()
        for table in rows:
            columns = (table.column(name).to_pylist() for name in ("subjects", "consent_id"))
            consents.update((name, consent or None) for names, consent in zip(*columns, strict=True) for name in names)
            digests.update(table.column("source_sha256").to_pylist())
            if "recording_sha256" in table.schema.names:
                cut = table.filter(pc.is_valid(table.column("recording_sha256")))
                columns = (cut.column(name).to_pylist() for name in ("recording_sha256", "path", "recording", "start"))
                for sha256, *place in zip(*columns, strict=True):
                    span = piece_of(*place)
                    if span is None:
                        digests.add(sha256)
                    else:
                        pieces.add((sha256, *span))
        return cls(frozenset(consents), frozenset(digests), frozenset(pieces))

    def within(self, other: Facts) -> bool:
        """Are all of these among the others?"""
        return self.consents <= other.consents and self.digests <= other.digests and self.pieces <= other.pieces


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
    tags: frozenset[bytes] = frozenset()
    commitments: Mapping[bytes, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        given = {
            "subject": self.names or self.tags,
            "path": self.paths or self.digests or self.tags,
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
        return tagger.request(self.kind, (*self.paths, *self.consents, *(one.hex() for one in self.digests)))

    def select(self, tagger: Tagger) -> Select:
        """The rows to take out."""
        if self.kind == "subject":
            return ByPerson(self.people(tagger))
        if self.tags and self.kind == "path":
            return ByTag(self.tags, ByDigest.columns, recording_under)
        if self.tags and self.kind == "consent":
            return ByTag(self.tags, ("consent_id",), consent_under)
        if self.kind == "path":
            return ByPath(self.paths) if self.paths else ByDigest(self.digests)
        if self.kind == "consent":
            return ByConsent(self.consents)
        if self.kind == "retention":
            return Overdue(self.rule, self.now)
        if self.kind == "expired":
            return Expired(self.now)
        if self.kind == "all":
            return All()
        raise InvalidArgument(f"there is no erasure by {self.kind}")


@dataclass(frozen=True, slots=True)
class Barred:
    """What may not enter any more: tags of people, tags of consents and recordings, and pieces of recordings."""

    people: frozenset[bytes]
    bars: frozenset[bytes]
    pieces: frozenset[BarredPiece] = frozenset()


def barred_by(request: Request, tagger: Tagger, facts: Facts, free: frozenset[bytes]) -> Barred:
    """What an erasure bars.

    Args:
        facts: of the rows that it takes out.
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
