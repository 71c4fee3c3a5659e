"""What a receipt is made of. docs/receipt.md describes every member; here are their types and what each must be.

Ids, commitments and digests are lowercase hex. Each class checks itself and raises InvalidArgument.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Literal

from securedata.errors import InvalidArgument
from securedata.keys.pin import parse_pin

DELETED: Literal["deleted where visible"] = "deleted where visible"
REMAIN: Literal["old versions remain"] = "old versions remain"
DESTROYED: Literal["key destroyed"] = "key destroyed"
SCHEDULED: Literal["scheduled"] = "scheduled"

_ID = re.compile("[0-9a-f]{32}")
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class CorpusName:
    """Which corpus: its id (32 hex digits) and its pin."""

    id: str
    pin: str

    def __post_init__(self) -> None:
        _require(parse_pin(self.pin).corpus_id.hex() == self.id, "the pin is not of the corpus with this id")


@dataclass(frozen=True, slots=True)
class Request:
    """The request that the erasure answers: the operator's reference, and the day it was received (YYYY-MM-DD)."""

    reference: str
    received: str | None

    def __post_init__(self) -> None:
        _require(bool(self.reference), "a request needs a reference")
        if self.received is not None:
            _check_day(self.received)


@dataclass(frozen=True, slots=True)
class Scope:
    """What was erased. `people` are commitments (64 hex digits), sorted; `seconds` is the length of the audio."""

    kind: Literal["subject", "path", "consent", "expired", "retention", "all"]
    people: tuple[str, ...]
    rows: int
    seconds: float
    objects: int
    parts: int

    def __post_init__(self) -> None:
        _check_sorted("people", self.people, _DIGEST)
        _require(bool(self.people) or self.kind != "subject", "a subject was erased, but people is empty")


@dataclass(frozen=True, slots=True)
class Level:
    """What was reached. `words` is its text; only the members that belong to the level are there.

    Attributes:
        why: of 'old versions remain': what keeps them.
        kms: of a KMS key's level: the URI of its wrap.
        until: of 'scheduled': the day when the KMS deletes its key, YYYY-MM-DD.
        evidence: of a KMS key's level: what the KMS answered, or what was found.
    """

    level: Literal["deleted where visible", "old versions remain", "key destroyed", "scheduled"]
    why: str | None = None
    kms: str | None = None
    until: str | None = None
    evidence: str | None = None

    def __post_init__(self) -> None:
        needed = {REMAIN: {"why"}, DESTROYED: {"kms", "evidence"}, SCHEDULED: {"kms", "until", "evidence"}}
        members = {name for name in ("why", "kms", "until", "evidence") if getattr(self, name) is not None}
        must = needed.get(self.level, set())
        _require(
            members == must and all(getattr(self, name) for name in must),
            f"the level {self.level!r} needs {' and '.join(sorted(must)) or 'no other member'}, and nothing else",
        )
        if self.until is not None:
            _check_day(self.until)

    @classmethod
    def deleted(cls) -> Level:
        """Everything that storage lets us see of what was erased is deleted, and listing shows it."""
        return cls(DELETED)

    @classmethod
    def remain(cls, why: str) -> Level:
        """Old versions remain on storage, or cannot be listed."""
        return cls(REMAIN, why)

    @classmethod
    def destroyed(cls, kms: str, evidence: str) -> Level:
        """A KMS key, or the version of it that wrapped the old corpus key, is gone."""
        return cls(DESTROYED, kms=kms, evidence=evidence)

    @classmethod
    def scheduled(cls, kms: str, until: str, evidence: str) -> Level:
        """The KMS will delete the key on that day; until then the deletion can be cancelled."""
        return cls(SCHEDULED, kms=kms, until=until, evidence=evidence)

    @property
    def words(self) -> str:
        """The level as text."""
        if self.level == SCHEDULED:
            return f"scheduled until {self.until}: {self.kms} ({self.evidence})"
        if self.level == DESTROYED:
            return f"key destroyed: {self.kms} ({self.evidence})"
        return f"{self.level}: {self.why}" if self.why else self.level


@dataclass(frozen=True, slots=True)
class Check:
    """One verification by securedata: what was checked, how, whether it passed, and what was found."""

    what: str
    how: str
    passed: bool
    found: str


@dataclass(frozen=True, slots=True)
class Stated:
    """What the operator says and securedata did not check, such as of backups, KMS snapshots or caches."""

    about: str
    says: str


@dataclass(frozen=True, slots=True)
class Validation:
    """Who judged, apart from the verification, that the result is enough for its purpose, in which words, and when."""

    by: str
    says: str
    day: str

    def __post_init__(self) -> None:
        _check_day(self.day)


@dataclass(frozen=True, slots=True)
class Derived:
    """A corpus made from this one. `receipt` is the SHA-256 of its own receipt, if it was erased there."""

    corpus: str
    pin: str
    state: Literal["erased", "not reached"]
    receipt: str | None = None

    def __post_init__(self) -> None:
        CorpusName(self.corpus, self.pin)
        _require((self.state == "erased") == (self.receipt is not None), "'erased' needs the digest of its receipt")
        _require(self.receipt is None or _DIGEST.fullmatch(self.receipt) is not None, "receipt must be 64 hex digits")


@dataclass(frozen=True, slots=True)
class Models:
    """Models trained on the recordings: not looked for, or where they were looked for and which were found."""

    state: Literal["not looked for", "looked for"]
    where: tuple[str, ...]
    found: tuple[str, ...]

    def __post_init__(self) -> None:
        looked = self.state == "looked for"
        _require(bool(self.where) == looked, "models: 'looked for' needs where, and 'not looked for' has none")
        _require(looked or not self.found, "models: found, but not looked for")

    @classmethod
    def not_looked_for(cls) -> Models:
        return cls("not looked for", (), ())

    @classmethod
    def looked_for(cls, where: tuple[str, ...], found: tuple[str, ...]) -> Models:
        return cls("looked for", where, found)


@dataclass(frozen=True, slots=True)
class DestroyedKeys:
    """Keys that storage no longer holds: which, how many, and how they were destroyed."""

    keys: str = field(repr=False)
    count: int
    how: str


@dataclass(frozen=True, slots=True)
class Sanitization:
    """What NIST SP 800-88 asks of a statement of cryptographic erasure. `wraps`: the KMS keys of the old corpus key."""

    media: str
    method: str
    technique: str
    tool: str
    version: str
    key_hierarchy: tuple[str, ...]
    destroyed: tuple[DestroyedKeys, ...]
    wraps: tuple[str, ...]
    escrow: str

    def __post_init__(self) -> None:
        _require(bool(self.wraps), "wraps cannot be empty: some KMS key wrapped the old corpus key")


@dataclass(frozen=True, slots=True)
class Who:
    """The name of the operator's key, and the person responsible, if the operator names one."""

    operator: str
    responsible: str | None


@dataclass(frozen=True, slots=True)
class Times:
    """When, in UTC (YYYY-MM-DDThh:mm:ssZ): by storage's clock for the commit, by the host's for the rest."""

    committed: str
    deleted: str | None
    verified: str | None
    signed: str

    def __post_init__(self) -> None:
        for moment in (self.committed, self.deleted, self.verified, self.signed):
            if moment is not None:
                _check_moment(moment)


@dataclass(frozen=True, slots=True)
class Deleted:
    """Ids of deleted objects and manifest parts, sorted, and how many versions of the head were deleted."""

    objects: tuple[str, ...]
    parts: tuple[str, ...]
    head_versions: int

    def __post_init__(self) -> None:
        _check_sorted("objects", self.objects, _ID)
        _check_sorted("parts", self.parts, _ID)

    @classmethod
    def of(cls, objects: Iterable[bytes], parts: Iterable[bytes], head_versions: int) -> Deleted:
        """Of ids as bytes (16 each), in any order, some perhaps twice."""
        return cls(_hex(objects), _hex(parts), head_versions)


@dataclass(frozen=True, slots=True)
class Packed:
    """Sealed bytes of what was erased in packs, which hold other recordings as well. Nothing has their data keys.

    Attributes:
        objects: how many objects in scope lay in packs.
        packs: ids of packs on storage that still have their bytes, sorted.
        waiting: ids of packs that can have bytes of what was packed, unpacked, replaced or sealed again before: those
            that an earlier commit had taken out, which are deleted within a day of it or after its grace, and those
            with dead bytes.
        deleted: ids of packs that had their bytes, and are deleted.
    """

    objects: int
    packs: tuple[str, ...]
    waiting: tuple[str, ...]
    deleted: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("packs", "waiting", "deleted"):
            _check_sorted(name, getattr(self, name), _ID)

    @classmethod
    def of(
        cls, objects: int, packs: Iterable[bytes], waiting: Iterable[bytes], deleted: Iterable[bytes] = ()
    ) -> Packed | None:
        """Of ids as bytes (16 each), in any order; None if there is nothing to say."""
        found = cls(objects, _hex(packs), _hex(waiting), _hex(deleted))
        return found if objects or found.packs or found.waiting or found.deleted else None

    def and_deleted(self, ids: Iterable[bytes]) -> Packed:
        """The same, with packs of which nothing else was alive, and which the erasure has deleted."""
        return Packed(self.objects, self.packs, self.waiting, tuple(sorted({*self.deleted, *_hex(ids)})))

    def without(self, gone: Collection[str]) -> Packed:
        """The same once these packs are gone."""
        kept, waiting = (tuple(one for one in ids if one not in gone) for ids in (self.packs, self.waiting))
        deleted = {one for one in (*self.packs, *self.waiting) if one in gone}.union(self.deleted)
        return Packed(self.objects, kept, waiting, tuple(sorted(deleted)))


def utc(seconds: float) -> str:
    """A moment, in seconds since the epoch, as receipts write it."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_id(text: str) -> None:
    """Check an id: 32 lowercase hex digits."""
    _require(_ID.fullmatch(text) is not None, "an id must be 32 lowercase hex digits")


def _hex(ids: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(sorted({one.hex() for one in ids}))


def _require(holds: bool, text: str) -> None:
    if not holds:
        raise InvalidArgument(text)


def _check_sorted(name: str, values: tuple[str, ...], form: re.Pattern[str]) -> None:
    size = 32 if form is _ID else 64
    _require(all(map(form.fullmatch, values)), f"{name} must be texts of {size} lowercase hex digits")
    _require(all(a < b for a, b in pairwise(values)), f"{name} must be sorted, each once")


def _check_day(text: str) -> None:
    try:
        same = date.fromisoformat(text).isoformat() == text
    except ValueError:
        same = False
    _require(same, "a day must be YYYY-MM-DD")


def _check_moment(text: str) -> None:
    try:
        same = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").strftime("%Y-%m-%dT%H:%M:%SZ") == text
    except ValueError:
        same = False
    _require(same, "a time must be YYYY-MM-DDThh:mm:ssZ, in UTC")
