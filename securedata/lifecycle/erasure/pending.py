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
from securedata.corpus.state.json_values import hex_bytes, json_list, json_object, seconds, text
from securedata.errors import MalformedManifest
from securedata.keys.tags import Tagger, consent_under, recording_under, tag_under
from securedata.lifecycle.erasure.request import Facts, Kind, Request

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
        names: by subject tag, people whom the request gives only by tags, as rows name them.
    """

    request: Request
    facts: Facts
    names: Mapping[bytes, str] = field(default_factory=dict, repr=False)

    def passed_on(self, kept: Collection[str], tagger: Tagger) -> Request | None:
        """The request for a derived corpus whose names are its own; None if there is nothing to ask.

        Args:
            kept: names of people whom a hold keeps here.
        """
        request = self.request
        names = tuple(name for name in dict.fromkeys((*request.names, *self.names.values())) if name not in kept)
        digests = self.facts.digests | request.digests
        consents = tuple(sorted(consents_of(request, self.facts, tagger)))
        if not {"subject": names, "path": digests, "consent": consents}.get(request.kind, True):
            return None
        return replace(
            request,
            names=names,
            paths=(),
            digests=digests,
            consents=consents,
            more=self.facts,
            tags=frozenset(),
            commitments={},
        )

    def is_whole(self, tagger: Tagger) -> bool:
        """Are all people, consents and recordings known by more than a tag? Only these can be passed on."""
        key = tagger.subject_key
        known = {consent_under(key, one) for one in consents_of(self.request, self.facts, tagger)}
        known |= {recording_under(key, one) for one in self.facts.digests}
        return self.request.tags <= known | self.names.keys()

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
        if request.kind == "consent":
            tags = {consent_under(key, one) for one in consents_of(request, self.facts, tagger)}
        if request.kind == "path":
            digests = self.facts.digests | request.digests | request.more.digests
            tags = {recording_under(key, one) for one in digests}
        if not (persons or tags or request.kind == "expired"):
            return None
        return Pending(
            id,
            entry["corpus"],
            entry["pin"],
            request.kind,
            tuple(sorted(persons, key=lambda one: one.there)),
            tuple(sorted(tags)),
            request.now,
            request.reference,
            request.received,
        )


def consents_of(request: Request, facts: Facts, tagger: Tagger) -> set[str]:
    """The consents that a request names; of one that gives tags alone, those that rows have."""
    own = {one for _, one in facts.consents if one and consent_under(tagger.subject_key, one) in request.tags}
    return own | set(request.consents)


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
