"""Finish an erasure after its commit: delete, check, write the receipt, and record the receipt's digest in the head."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.layout import table_key
from securedata.corpus.writer import Writer
from securedata.errors import SecuredataError
from securedata.lifecycle.erasure.deletion import Deletion
from securedata.lifecycle.erasure.journal import Open, ended, final_digest
from securedata.lifecycle.receipt.members import Level, Times, utc
from securedata.lifecycle.receipt.operator import Operator
from securedata.lifecycle.receipt.statement import Statement
from securedata.lifecycle.receipt.store import find_receipt, keep_final, write_receipt

_ELSEWHERE = ("finished by another run, whose receipt says what was reached",)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The final receipt of an erasure.

    Attributes:
        id: of the erasure, 32 hex digits.
        digest: SHA-256 of the receipt's file, 64 hex digits, as the head records it.
        path: of the file; None: another run has finished the erasure, and this machine does not have its receipt.
        levels: what was reached, in words.
        packs: in how many packs sealed bytes of what was erased remain, without their keys.
        corpus: that it was erased from: its name in the caller's config, or its root.
    """

    id: str
    digest: str
    path: Path | None = field(repr=False)
    levels: tuple[str, ...]
    packs: int = 0
    corpus: str = ""


def finish(writer: Writer, one: Open, operator: Operator, *, partial: bool = False, progress: bool = False) -> Receipt:
    """Finish an erasure; whoever runs it again after an interruption gets the same result.

    Args:
        partial: go on where storage refuses to list or delete versions; the receipt then says that they remain.

    Raises:
        DeleteRefused: storage refuses; nothing is said to be deleted, and the draft stays.
        CorpusError: a row of what was erased is still named.
        StorageError, KeysError, ConfigError: run it again.
    """
    gone = Deletion(writer, one, partial, progress).run()
    if (digest := final_digest(writer.head, one.draft.id)) is not None:  # another run has finished it meanwhile
        return _final(writer, one, digest, _ELSEWHERE)
    moment = utc(time.time())
    levels = tuple(map(Level.remain, gone.remain)) or (Level.deleted(),)
    packed = one.draft.packed
    statement = Statement.build(
        one.draft if packed is None else replace(one.draft, packed=packed.and_deleted(gone.packs)),
        pin=writer.head.pin,
        operator=operator.name,
        media=_media(writer.root),
        times=Times(utc(one.time), moment, moment, utc(time.time())),
        deleted=gone.deleted,
        checked=gone.checks,
        levels=levels,
    )
    written = write_receipt(statement, operator)
    digest = _record(writer, one, written.digest)
    if one.leaving is not None and not gone.remain:
        for _, outcome in writer.storage.purge([table_key(one.leaving)]):
            if isinstance(outcome, SecuredataError):
                raise outcome
    left = 0 if packed is None else len(packed.packs)
    return replace(_final(writer, one, digest, tuple(one.words for one in levels)), packs=left)


def _final(writer: Writer, one: Open, digest: str, levels: tuple[str, ...]) -> Receipt:
    """The final receipt; those that this machine wrote for the same erasure and are not final are deleted."""
    corpus = writer.head.corpus_id.hex()
    keep_final(corpus, one.draft.id, digest)
    name = writer.reference.name or writer.root
    return Receipt(one.draft.id, digest, find_receipt(corpus, one.draft.id, digest), levels, corpus=name)


def _record(writer: Writer, one: Open, digest: str) -> str:
    """Clear the draft and record the digest; returns that of the final receipt, which another run may have recorded."""

    def change(attempt: Try) -> Next[str]:
        if (known := final_digest(attempt.head, one.draft.id)) is not None:
            return Next(known, None)
        return Next(digest, ended(attempt.head, one, digest, attempt.now()))

    return writer.transact(change)


def _media(root: str) -> str:
    scheme, mark, _ = root.partition("://")
    if scheme == "s3" and mark:
        return "a bucket of an S3 object store"
    return f"storage behind {scheme}" if mark else "a folder on a local disk"
