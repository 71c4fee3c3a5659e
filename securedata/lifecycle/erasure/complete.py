"""Complete a receipt: find out what has become of the KMS keys that wrapped the old corpus key, and sign that.

A head that was saved before an erasure opens as long as one of these keys lives. securedata never destroys a KMS key:
it says what is needed, and checks afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from securedata.corpus.config import load
from securedata.corpus.connection import connect
from securedata.corpus.packs.usage import stored_packs
from securedata.corpus.state.head import MAX_SEALED, peek
from securedata.corpus.state.layout import HEAD, PACKS, classify
from securedata.corpus.writer import Writer
from securedata.errors import DeleteRefused, InvalidArgument, KeysError, SecuredataError
from securedata.keys.kms import KMS, Fate
from securedata.keys.local import LocalKMS
from securedata.keys.wraps import parse_named, version_of
from securedata.lifecycle.erasure.finish import Receipt
from securedata.lifecycle.erasure.follow_up import later, outcomes_of, record
from securedata.lifecycle.erasure.journal import final_digest
from securedata.lifecycle.receipt.members import (
    DELETED,
    DESTROYED,
    REMAIN,
    SCHEDULED,
    Level,
    Packed,
    Stated,
    Validation,
)
from securedata.lifecycle.receipt.operator import Operator
from securedata.lifecycle.receipt.store import find_receipt, keep_final, write_receipt
from securedata.lifecycle.receipt.verify import verify_receipt
from securedata.storage.base import Storage


@dataclass(frozen=True, slots=True)
class KeyState:
    """One wrap of the old corpus key: as the receipt names it, and what has become of its KMS key.

    Attributes:
        fate: None: the caller does not name the key, or it cannot be asked; `why` says so.
        needed_by: corpora of the caller's config whose heads the same version of the key still opens.
    """

    wrap: str
    fate: Fate | None
    why: str = ""
    needed_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Completed:
    """The final receipt afterwards, the states of all keys, and whether this run wrote a new receipt."""

    receipt: Receipt
    keys: tuple[KeyState, ...] = field(repr=False)
    changed: bool


def complete(
    writer: Writer,
    data: bytes,
    operator: Operator,
    asked: Sequence[KMS],
    stated: Sequence[Stated] = (),
    *,
    validation: Validation | None = None,
    responsible: str | None = None,
) -> Completed:
    """Ask what has become of each KMS key of a receipt; if anything is new, sign and record a new receipt.

    It also says which derived corpora were reached since, and which packs with bytes of what was erased are gone.

    Args:
        data: the file of the final receipt.
        asked: KMS keys that the caller names; only these are asked.
        stated: what the operator adds, unchecked.
        validation: who has judged that the result is enough, in place of an earlier one. The same words again, on
            another day, are nothing new.
        responsible: a person or office, in place of an earlier one.

    Raises:
        MalformedReceipt, UnknownSigner, BadSignature: the file is not a receipt of this operator.
        InvalidArgument: it is of another corpus, or not the final one.
        StorageError, CorpusError, KeysError: run it again.
    """
    verified = verify_receipt(data, [operator.public])
    statement = verified.statement
    final = final_digest(writer.refresh(), statement.id)
    if statement.corpus.id != writer.corpus_id.hex() or final is None:
        raise InvalidArgument(f"{writer.root} has recorded no receipt with the id {statement.id}", root=writer.root)
    if final != verified.digest:
        where = find_receipt(statement.corpus.id, statement.id, final)
        raise InvalidArgument(
            f"this receipt is not the final one of its erasure any more: {where or f'the one with SHA-256 {final}'} is",
            root=writer.root,
        )
    keys = tuple(_state(one, asked) for one in statement.sanitization.wraps)
    reached = tuple(level for one in keys if (level := _level(one)) is not None)
    kept = tuple(one for one in statement.levels if one.level in (DELETED, REMAIN))
    # a key that lives again, restored from a copy, is destroyed no more; one that could not be asked stays as it was
    found = {one.wrap for one in keys if one.fate is not None}
    earlier = tuple(one for one in statement.levels if one.level == DESTROYED and one.kms not in found)
    levels = (*kept, *earlier, *reached)
    more = tuple(one for one in stated if one not in statement.stated)
    outcomes = outcomes_of(writer.head, statement.id, writer.root)
    judged, who = _judged(statement.validation, validation), responsible or statement.who.responsible
    packed = statement.packed and statement.packed.without(_gone_packs(writer.storage, statement.packed))
    before = (statement.levels, statement.validation, statement.who.responsible, statement.packed)
    same = (levels, judged, who, packed) == before
    if same and not more and not outcomes:
        path = find_receipt(statement.corpus.id, statement.id, final)
        return Completed(Receipt(statement.id, final, path, tuple(one.words for one in levels)), keys, False)
    now: dict[str, Any] = {"levels": levels, "stated": more, "validation": judged, "responsible": who, "packed": packed}
    after = later(statement, outcomes, writer, operator, **now)
    written = write_receipt(after, operator)
    digest = record(writer, statement.id, verified.digest, written.digest, outcomes)
    keep_final(statement.corpus.id, statement.id, digest)
    if digest != written.digest:
        where = find_receipt(statement.corpus.id, statement.id, digest)
        raise InvalidArgument(
            f"another run completed this receipt meanwhile: {where or f'the one with SHA-256 {digest}'} is final; "
            "complete that one",
            root=writer.root,
        )
    path = find_receipt(statement.corpus.id, statement.id, digest)
    return Completed(Receipt(statement.id, digest, path, tuple(one.words for one in levels)), keys, True)


def _gone_packs(storage: Storage, packed: Packed) -> set[str]:
    """Those of the packs of a receipt of which storage shows neither the pack nor an older version of it."""
    there = {id.hex() for id in stored_packs(storage)}
    wanted = {one for one in (*packed.packs, *packed.waiting) if one not in there}
    if not wanted:
        return wanted
    try:
        hidden = {classify(key)[1].hex() for key in storage.deleted_keys(PACKS, strict=True)}
    except DeleteRefused:  # older versions are not shown to us
        return set()
    return wanted - hidden


def _judged(before: Validation | None, now: Validation | None) -> Validation | None:
    if now is None or (before is not None and replace(before, day=now.day) == now):
        return before
    return now


def _state(wrap: str, asked: Sequence[KMS]) -> KeyState:
    uri, version = parse_named(wrap)
    try:
        kms = _key_of(uri, asked)
        if kms is None:
            return KeyState(wrap, None, "you do not name this key: give it with --kms")
        return KeyState(wrap, kms.fate(version), needed_by=needed_by(kms, version))
    except KeysError as error:
        return KeyState(wrap, None, str(error))


def _key_of(uri: str, asked: Sequence[KMS]) -> KMS | None:
    """The caller's key of a wrap. A key file that is gone has no id any more: it is taken for the only local wrap."""
    gone = []
    for kms in asked:
        if isinstance(kms, LocalKMS) and kms.fate(None).state == "destroyed":
            gone.append(kms)
        elif kms.matches(uri):
            return kms
    return gone[0] if len(gone) == 1 and uri.startswith("local:") else None


def needed_by(kms: KMS, version: int | None) -> tuple[str, ...]:
    """Corpora of the caller's config whose current head a key still opens, at this version or an older one.

    Others may exist that the config does not have. One that cannot be read is named with the reason.
    """
    found = []
    for name, reference in sorted(load().items()):
        try:
            wraps = peek(connect(reference).storage.get(HEAD, MAX_SEALED), reference.root)[1]
            ours = [one for one in wraps if kms.matches(one.uri)]
        except KeysError:  # the key file is gone, so nothing can be told from its id
            continue
        except SecuredataError as error:
            found.append(f"{name} (not read: {type(error).__name__})")
            continue
        if any(version is None or (version_of(one) or 0) <= version for one in ours):
            found.append(name)
    return tuple(found)


def _level(one: KeyState) -> Level | None:
    if one.fate is None or one.fate.state == "lives":
        return None
    if one.fate.state == SCHEDULED:
        return Level.scheduled(one.wrap, one.fate.until or "", one.fate.evidence)
    return Level.destroyed(one.wrap, one.fate.evidence)


def how_to_destroy(wrap: str) -> tuple[str, ...]:
    """The commands by which an operator destroys the key of a wrap; securedata never runs them."""
    uri, version = parse_named(wrap)
    if uri.startswith("hcvault"):
        mount, _, name = uri.partition("://")[2].partition("/")[2].rpartition("/keys/")
        least = (version or 0) + 1
        return (
            f"bao write -f {mount}/keys/{name}/rotate",
            "securedata rotate CORPUS    # every corpus that this key still opens",
            f"bao write {mount}/keys/{name}/config min_decryption_version={least} min_encryption_version={least}",
            f"bao write {mount}/keys/{name}/trim min_available_version={least}",
        )
    if uri.startswith("aws-kms://"):
        arn = uri.removeprefix("aws-kms://")
        region = (*arn.split(":"), "", "", "", "")[3]
        return (
            "securedata wrap add CORPUS --kms aws-kms://NEW; securedata wrap drop CORPUS --kms THIS --rotate",
            f"aws kms schedule-key-deletion --region {region} --key-id {arn} --pending-window-in-days 7",
        )
    return (
        "securedata wrap add CORPUS --kms local:///NEW.kek; securedata wrap drop CORPUS --kms THIS --rotate",
        "shred -u KEY-FILE           # and every copy of it; a disk may keep what it overwrites",
    )
