"""The statement that a receipt signs, and the draft from which it can be built again after a crash."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from securedata.errors import InvalidArgument, LimitExceeded, MalformedReceipt, UnknownVersion
from securedata.keys.pin import Pin
from securedata.lifecycle.receipt.codec import from_json, from_text, known_members, to_json, to_text
from securedata.lifecycle.receipt.members import (
    DELETED,
    DESTROYED,
    REMAIN,
    Check,
    CorpusName,
    Deleted,
    Derived,
    DestroyedKeys,
    Level,
    Models,
    Packed,
    Request,
    Sanitization,
    Scope,
    Stated,
    Times,
    Validation,
    Who,
    check_id,
)

FORMAT = "securedata receipt"
VERSION = 1
_DISTRIBUTION = "securedata-torch"

MAX_IDS = 10_000_000
"""Object and part ids in one receipt, about 390 MB of it: an erasure of more must be several."""

LARGEST = 512 * 1024 * 1024
"""Bytes of a receipt that are read."""

PROVES = (
    "This receipt proves who said it, not that no copy exists; its times are the word of the operator who signed it."
)

METHOD = (
    "Cryptographic erasure of the records in scope, and deletion of their ciphertext through the storage's interface. "
    "None of clear, purge or destroy is claimed for the media, which hold other data and belong to the storage."
)
TECHNIQUE = (
    "The manifest parts that held the data keys of these records were rewritten without them, and the head was sealed "
    "under a fresh corpus key. Then storage was asked to delete the records' objects, the old parts and the old "
    "versions of the head; `levels` and `checked` say what was reached."
)
KEY_HIERARCHY = (
    "A KMS key wraps the corpus key; the encryption context binds the wrap to this corpus.",
    "The corpus key (256 bits, from the operating system's generator) seals the head, which holds the part keys.",
    "A part key (256 bits, random) seals a manifest part, which holds the data keys of its rows.",
    "A data key (256 bits, random, one for each object) seals one object, which holds one recording.",
    "Sealed is: AES-256-GCM in chunks under derived keys, with key commitment (C2SP chunked-encryption, "
    "Cobblestone-256).",
)
ESCROW = (
    "securedata keeps no key in escrow. Every KMS key of `wraps` that is not destroyed unwraps the old corpus key from "
    "a copy of an older head."
)


@dataclass(frozen=True, slots=True)
class Draft:
    """What the erasing commit writes into the head, and a rerun reads there. It names nobody.

    Attributes:
        id: the write id of the erasing commit, 32 hex digits.
        wraps: URIs of all wraps of the corpus key that the commit replaces.
        levels, derived, models: as far as they are known.
        packed: what remains in packs; None: nothing lay in one.
    """

    id: str
    request: Request | None
    scope: Scope
    wraps: tuple[str, ...]
    levels: tuple[Level, ...] = ()
    derived: tuple[Derived, ...] = ()
    models: Models | None = None
    packed: Packed | None = None

    def __post_init__(self) -> None:
        check_id(self.id)

    def to_json(self) -> dict[str, Any]:
        """The JSON object for the head; others may add members to it."""
        found: dict[str, Any] = to_json(self)
        return found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Draft:
        """Read a draft; members that it does not know are another's.

        Raises:
            MalformedReceipt
        """
        return from_json(cls, known_members(cls, value))


@dataclass(frozen=True, slots=True)
class Statement:
    """What a receipt says. Its fields are the members of the JSON, in their order; it checks that they agree."""

    format: str
    version: int
    id: str
    corpus: CorpusName
    request: Request | None
    scope: Scope
    levels: tuple[Level, ...]
    checked: tuple[Check, ...]
    stated: tuple[Stated, ...]
    validation: Validation | None
    derived: tuple[Derived, ...]
    models: Models
    remains: tuple[str, ...]
    proves: str
    who: Who
    times: Times
    sanitization: Sanitization
    deleted: Deleted
    packed: Packed | None = None

    def __post_init__(self) -> None:
        check_id(self.id)
        if problems := _problems(self):
            raise InvalidArgument(f"the receipt contradicts itself: {'; '.join(problems)}")

    @classmethod
    def build(
        cls,
        draft: Draft,
        *,
        pin: Pin,
        operator: str,
        media: str,
        times: Times,
        deleted: Deleted,
        checked: Sequence[Check],
        levels: Sequence[Level] | None = None,
        derived: Sequence[Derived] | None = None,
        models: Models | None = None,
        stated: Sequence[Stated] = (),
        validation: Validation | None = None,
        responsible: str | None = None,
    ) -> Statement:
        """The statement of an erasure; the same arguments give the same text, byte for byte.

        Args:
            draft: as the head has it.
            pin: of the corpus.
            operator: the name of the key that will sign.
            media: where the records were, such as 'an S3 bucket with versions'; a stranger reads it.
            deleted: ids from the list of what is leaving, and the versions of the head that were deleted.
            checked: what was checked after the deletion.
            levels, derived, models: None: those of the draft.
            stated: what the operator adds, unchecked.

        Raises:
            InvalidArgument: the members contradict each other.
            LimitExceeded: more than `MAX_IDS` ids.
        """
        check_count(len(deleted.objects) + len(deleted.parts))
        levels = tuple(draft.levels if levels is None else levels)
        derived = tuple(draft.derived if derived is None else derived)
        models = models or draft.models or Models.not_looked_for()
        return cls(
            format=FORMAT,
            version=VERSION,
            id=draft.id,
            corpus=CorpusName(pin.corpus_id.hex(), str(pin)),
            request=draft.request,
            scope=draft.scope,
            levels=levels,
            checked=tuple(checked),
            stated=tuple(stated),
            validation=validation,
            derived=derived,
            models=models,
            remains=what_remains(levels, draft.wraps, derived, models, bool(stated), draft.packed),
            proves=PROVES,
            who=Who(operator, responsible),
            times=times,
            sanitization=Sanitization(
                media=media,
                method=METHOD,
                technique=TECHNIQUE,
                tool="securedata",
                version=version(_DISTRIBUTION),
                key_hierarchy=KEY_HIERARCHY,
                destroyed=_destroyed(draft.scope, draft.packed),
                wraps=draft.wraps,
                escrow=ESCROW,
            ),
            deleted=deleted,
            packed=draft.packed,
        )

    def text(self) -> str:
        """The text that is signed: ASCII, the members in their order, a newline at its end."""
        return to_text(self)

    @classmethod
    def from_text(cls, text: str) -> Statement:
        """Read what `text` writes.

        Raises:
            MalformedReceipt: it is no receipt, or contradicts itself.
            UnknownVersion: a later version of the format.
        """
        if not text.startswith(f'{{\n "format": "{FORMAT}",\n "version": '):
            raise MalformedReceipt("it is a signed text, but no receipt of securedata")
        if not text.startswith(f'{{\n "format": "{FORMAT}",\n "version": {VERSION},\n'):
            raise UnknownVersion(f"the receipt has another version of the format than {VERSION}: update securedata")
        return from_text(cls, text)


def check_count(ids: int) -> None:
    """Refuse more ids than a receipt can list. An erasure calls this before it commits.

    Raises:
        LimitExceeded
    """
    if ids > MAX_IDS:
        raise LimitExceeded(
            f"a receipt lists at most {MAX_IDS:,} objects and parts, not {ids:,}: erase in several runs"
        )


def what_remains(
    levels: Collection[Level],
    wraps: Collection[str],
    derived: Collection[Derived],
    models: Models,
    stated: bool,
    packed: Packed | None = None,
) -> tuple[str, ...]:
    """What is still possible after an erasure, in sentences, as far as its receipt can know."""
    found = ["Anyone who could read the corpus before may have kept what they read; no erasure reaches their copies."]
    gone = {one.kms for one in levels if one.level == DESTROYED}
    if left := [uri for uri in wraps if uri not in gone]:
        found.append(
            "Copies of a head, a manifest part and an object that were made before the erasure still open for anyone "
            f"who may use one of these KMS keys: {', '.join(left)}."
        )
    found.append(
        "Caches on local disks of hosts that read the corpus may hold sealed copies of these objects, until a process "
        "there renews its keys or opens the corpus next; the keys of these copies are among those destroyed."
    )
    found += [f"Old versions remain on storage, as such copies: {one.why}." for one in levels if one.level == REMAIN]
    if packed is not None and packed.packs:
        found.append(
            f"Crypto-erased, but not deleted: the sealed bytes of {packed.objects} objects lie in {len(packed.packs)} "
            "packs with other recordings (`packed`). Their data keys are deleted, so they are noise; 'securedata pack "
            "--compact' rewrites the packs without them."
        )
    if packed is not None and packed.waiting:
        found.append(
            "Packs that can have sealed bytes of these recordings from before, when they lay elsewhere, or were "
            f"replaced or sealed again: {len(packed.waiting)}. They wait to be deleted, or 'securedata pack "
            "--compact 0' rewrites them."
        )
    if missed := sum(one.state == "not reached" for one in derived):
        found.append(f"Corpora made from this one that were not reached, and might keep what they hold: {missed}.")
    if models.state == "not looked for":
        found.append("Models trained on these recordings were not looked for.")
    elif models.found:
        found.append(f"Models trained on these recordings were found, and were not changed: {len(models.found)}.")
    says = "what the operator states of them was not checked" if stated else "nothing is stated of them"
    found.append(f"Backups, snapshots of storage or KMS, and caches outside securedata: {says}.")
    found.append("Transcripts and other words of the remaining rows were not searched for these people.")
    return tuple(found)


def _destroyed(scope: Scope, packed: Packed | None) -> tuple[DestroyedKeys, ...]:
    reach = "deleted with their last copies on storage, as far as `levels` say"
    objects = scope.objects + (0 if packed is None else packed.objects)
    return (
        DestroyedKeys("data keys of the objects in scope", objects, f"left out of the new parts; {reach}"),
        DestroyedKeys("keys of the replaced manifest parts", scope.parts, f"left out of the new head; {reach}"),
        DestroyedKeys("corpus key", 1, f"replaced by a fresh one; its wraps, in older heads alone, were {reach}"),
    )


def _problems(statement: Statement) -> list[str]:
    """What in a statement contradicts the rest."""
    levels, scope, deleted, wraps = statement.levels, statement.scope, statement.deleted, statement.sanitization.wraps
    found = []
    if (statement.format, statement.version, statement.proves) != (FORMAT, VERSION, PROVES):
        found.append("format, version and proves must be those of this format")
    states = [one.level for one in levels if one.level in (DELETED, REMAIN)]
    if not states or (DELETED in states and len(states) > 1):
        found.append(f"the levels must have either {DELETED!r}, once, or {REMAIN!r}")
    keys = [one.kms for one in levels if one.kms]
    if len(set(keys)) != len(keys):
        found.append("a KMS key has two levels")
    if unknown := [uri for uri in keys if uri not in wraps]:
        found.append(f"the level of a KMS key that wrapped no key of this corpus: {unknown[0]}")
    if DELETED in states:
        if not statement.checked or not all(one.passed for one in statement.checked):
            found.append(f"{DELETED!r} needs checks, all of them passed")
        if len(deleted.objects) < scope.objects or len(deleted.parts) < scope.parts:
            found.append(f"{DELETED!r}, but fewer objects or parts are listed than the scope counts")
        if statement.times.deleted is None or statement.times.verified is None:
            found.append(f"{DELETED!r} needs the times of deletion and verification")
    if not statement.remains:
        found.append("remains must say what is still possible")
    return found
