"""What an erasure has not reached yet: corpora that were made from its corpus, and are elsewhere.

The erasing commit puts an entry for each of them into the head. It names people, consents and recordings only by tags
under the derived corpus's own key of subject tags, so whoever has both corpora can erase there without being told a
name. The entry stays until the erasure's receipt says what has become of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from securedata.corpus.state.head import Head
from securedata.corpus.state.json_values import hex_bytes, json_list, json_object, natural, seconds, text
from securedata.errors import MalformedManifest
from securedata.keys.tags import Tagger, consent_under, recording_under, tag_under
from securedata.lifecycle.erasure.request import Facts, Kind, Request
from securedata.lifecycle.select import Piece

PASSED_ON: tuple[Kind, ...] = ("subject", "path", "consent", "expired")
"""The kinds of erasure that go to derived corpora too."""
GONE = "gone"
"""The outcome of an entry whose corpus is gone for good, as the operator says. Otherwise it is a receipt's digest."""


@dataclass(frozen=True, slots=True)
class Person:
    """A person who was erased.

    Attributes:
        tag, there: the subject tags in the corpus of the erasure, and in the derived one.
        commitment: to the person, as in the erasure's receipt.
    """

    tag: bytes
    there: bytes
    commitment: str


@dataclass(frozen=True, slots=True)
class Pending:
    """An erasure that has not reached a derived corpus.

    Attributes:
        id: of the erasure, 32 hex digits.
        corpus, pin: of the derived corpus.
        people: of kind subject.
        tags: of kind consent or path: tags of these under the derived corpus's key.
        pieces: of kind path: pieces of recordings, each by such a tag.
        now: of kind expired: the moment by which a consent had ended, in seconds since the epoch.
        reference, received: of the request.
        outcome: the digest of the derived corpus's receipt, or `GONE`; None: still to be reached.
    """

    id: str
    corpus: str
    pin: str
    kind: Kind
    people: tuple[Person, ...] = ()
    tags: tuple[bytes, ...] = ()
    pieces: tuple[Piece, ...] = ()
    now: float = 0.0
    reference: str = ""
    received: str = ""
    outcome: str | None = None

    def request(self) -> Request:
        """What to erase in the derived corpus."""
        return Request(
            self.kind,
            now=self.now,
            reference=self.reference,
            received=self.received,
            pieces=frozenset(self.pieces),
            tags=frozenset(self.tags) | {one.there for one in self.people},
            commitments={one.there: one.commitment for one in self.people},
        )

    def to_json(self) -> dict[str, Any]:
        """The entry of `pending` in the head."""
        people = [{"tag": one.tag.hex(), "there": one.there.hex(), "commitment": one.commitment} for one in self.people]
        found: dict[str, Any] = {
            "id": self.id,
            "corpus": self.corpus,
            "pin": self.pin,
            "kind": self.kind,
            "people": people,
            "tags": [tag.hex() for tag in self.tags],
            "pieces": [{"tag": tag.hex(), "start": start, "frames": stop - start} for tag, start, stop in self.pieces],
            "now": self.now,
            "request": self.reference,
            "received": self.received,
        }
        return found if self.outcome is None else {**found, "outcome": self.outcome}


def pending(head: Head, root: str) -> list[Pending]:
    """The entries of a head, the oldest first.

    Raises:
        MalformedManifest: one cannot be read.
    """
    return [_parse(one, root) for one in head.pending]


@dataclass(frozen=True, slots=True)
class Asked:
    """What an erasure asks of derived corpora.

    Attributes:
        request: it.
        facts: whose rows it takes out here.
        own: what it bars here: see `Request.facts`.
        names: by subject tag, people whom the request gives only by tags, as rows name them.
    """

    request: Request
    facts: Facts
    own: Facts
    names: Mapping[bytes, str] = field(default_factory=dict, repr=False)

    def passed_on(self, kept: Collection[str], tagger: Tagger) -> Request | None:
        """The request for a derived corpus whose names are its own; None if there is nothing to ask.

        Args:
            kept: names of people whom a hold keeps here.
        """
        request = self.request
        names = tuple(name for name in dict.fromkeys((*request.names, *self.names.values())) if name not in kept)
        digests = self.own.digests | request.digests
        pieces = self.own.pieces if request.tags else self.own.pieces | request.pieces
        consents = tuple(sorted(consents_of(request, self.facts, tagger)))
        if not {"subject": names, "path": digests or pieces, "consent": consents}.get(request.kind, True):
            return None
        return replace(
            request,
            names=names,
            paths=(),
            digests=digests,
            pieces=pieces if request.kind == "path" else frozenset(),
            consents=consents,
            more=self.own | request.more,
            rows=self.facts.rows,
            tags=frozenset(),
            commitments={},
        )

    def is_whole(self, tagger: Tagger) -> bool:
        """Are all people, consents and recordings known by more than a tag? Only these can be passed on."""
        key = tagger.subject_key
        known = {consent_under(key, one) for one in consents_of(self.request, self.facts, tagger)}
        known |= {recording_under(key, one) for one in self.own.digests}
        pieces = {(recording_under(key, one), *span) for one, *span in self.own.pieces}
        if not self.request.tags:
            return True
        return self.request.tags <= known | self.names.keys() and self.request.pieces <= pieces

    def missed(self, id: str, entry: Mapping[str, Any], people: Mapping[bytes, str], tagger: Tagger) -> Pending | None:
        """The entry for a derived corpus that was not reached; None if nothing can be asked of it.

        Args:
            id: of the erasure.
            entry: the derived corpus in the registry.
            people: by subject tag, the commitment to each person who is erased by name.
        """
        request, key = self.request, bytes.fromhex(entry["tag_key"])
        named = {tagger.tag(name): name for name in request.names} | dict(self.names)
        persons = [Person(tag, tag_under(key, named[tag]), one) for tag, one in people.items() if tag in named]
        tags: set[bytes] = set()
        pieces: set[Piece] = set()
        if request.kind == "consent":
            tags = {consent_under(key, one) for one in consents_of(request, self.facts, tagger)}
        if request.kind == "path":
            facts = self.own | request.more
            tags = {recording_under(key, one) for one in facts.digests | request.digests}
            pieces = {(recording_under(key, one), start, stop) for one, start, stop in facts.pieces}
            if not request.tags:
                pieces |= {(recording_under(key, one), start, stop) for one, start, stop in request.pieces}
        if not (persons or tags or pieces or request.kind == "expired"):
            return None
        return Pending(
            id,
            entry["corpus"],
            entry["pin"],
            request.kind,
            tuple(sorted(persons, key=lambda one: one.there)),
            tuple(sorted(tags)),
            tuple(sorted(pieces)),
            request.now,
            request.reference,
            request.received,
        )


def consents_of(request: Request, facts: Facts, tagger: Tagger) -> set[str]:
    """The consents that a request names; of one that gives tags alone, those that rows have."""
    own = {one for _, one in facts.consents if one and consent_under(tagger.subject_key, one) in request.tags}
    return own | set(request.consents)


def _piece(one: Mapping[str, Any]) -> Piece:
    start = natural(one["start"])
    return hex_bytes(one["tag"], 32), start, start + natural(one["frames"])


def _parse(entry: Mapping[str, Any], root: str) -> Pending:
    try:
        kind = next(one for one in PASSED_ON if one == entry["kind"])
        people = [json_object(one) for one in json_list(entry["people"])]
        return Pending(
            text(entry["id"]),
            text(entry["corpus"]),
            text(entry["pin"]),
            kind,
            tuple(
                Person(hex_bytes(one["tag"], 32), hex_bytes(one["there"], 32), text(one["commitment"]))
                for one in people
            ),
            tuple(hex_bytes(one, 32) for one in json_list(entry["tags"])),
            tuple(_piece(json_object(one)) for one in json_list(entry.get("pieces", []))),
            seconds(entry["now"]),
            text(entry["request"]),
            text(entry["received"]),
            None if "outcome" not in entry else text(entry["outcome"]),
        )
    except (KeyError, TypeError, ValueError, StopIteration):
        raise MalformedManifest(
            f"the head of {root} has an erasure that did not reach a derived corpus and cannot be read; it was written "
            "by a newer or broken securedata: update it",
            root=root,
        ) from None
