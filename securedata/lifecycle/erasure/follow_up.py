"""A later receipt of the same erasure: it says what has become since of what the earlier one could not say.

The head records the digest of the final receipt, so the later one takes the place of the earlier one there, in a commit
that also takes out what it says now.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.head import Head
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, UnknownSigner
from securedata.lifecycle.erasure.finish import Receipt
from securedata.lifecycle.erasure.journal import final_digest
from securedata.lifecycle.erasure.pending import GONE, Pending, pending
from securedata.lifecycle.receipt.members import Derived, Level, Packed, Stated, Validation, utc
from securedata.lifecycle.receipt.operator import Operator
from securedata.lifecycle.receipt.statement import Draft, Statement
from securedata.lifecycle.receipt.store import find_receipt, keep_final, write_receipt
from securedata.lifecycle.receipt.verify import read_receipt, verify_receipt


def follow_up(writer: Writer, operator: Operator) -> tuple[Receipt, ...]:
    """Complete the receipts of erasures whose derived corpora were reached since, or are gone.

    Only receipts that this machine has, and that this operator has signed: the others wait for theirs.

    Raises:
        MalformedReceipt, BadSignature: a receipt on this machine was changed.
        ConfigError, StorageError, CorpusError, KeysError: run it again.
    """
    head = writer.head
    done = []
    for id in dict.fromkeys(one["id"] for one in head.pending if "outcome" in one):
        final = final_digest(head, id)
        path = None if final is None else find_receipt(head.corpus_id.hex(), id, final)
        if final is None or path is None:
            continue
        try:
            statement = verify_receipt(read_receipt(path), [operator.public]).statement
        except UnknownSigner:
            continue
        outcomes = outcomes_of(head, id, writer.root)
        after = later(
            statement,
            outcomes,
            writer,
            operator,
            levels=statement.levels,
            validation=statement.validation,
            responsible=statement.who.responsible,
        )
        digest = record(writer, id, final, write_receipt(after, operator).digest, outcomes)
        keep_final(head.corpus_id.hex(), id, digest)
        path = find_receipt(head.corpus_id.hex(), id, digest)
        done.append(Receipt(id, digest, path, tuple(one.words for one in after.levels)))
    return tuple(done)


def outcomes_of(head: Head, id: str, root: str) -> list[Pending]:
    """What has become of derived corpora that an erasure had not reached."""
    return [one for one in pending(head, root) if one.id == id and one.outcome is not None]


def later(
    statement: Statement,
    outcomes: Sequence[Pending],
    writer: Writer,
    operator: Operator,
    *,
    levels: Sequence[Level],
    stated: Sequence[Stated] = (),
    validation: Validation | None,
    responsible: str | None,
    packed: Packed | None = None,
) -> Statement:
    """The statement of the later receipt.

    Args:
        statement: of the earlier one.
        levels, validation, responsible: as they are by now.
        packed: likewise; None: as the earlier one says.
        stated: what the operator adds.
    """
    erased = {one.corpus: one.outcome for one in outcomes if one.outcome != GONE}
    gone = [
        Stated(f"the corpus {one.pin}, made from this one", "it is gone") for one in outcomes if one.outcome == GONE
    ]
    return Statement.build(
        Draft(
            statement.id,
            statement.request,
            statement.scope,
            statement.sanitization.wraps,
            packed=packed or statement.packed,
        ),
        pin=writer.head.pin,
        operator=operator.name,
        media=statement.sanitization.media,
        times=replace(statement.times, signed=utc(time.time())),
        deleted=statement.deleted,
        checked=statement.checked,
        levels=levels,
        derived=[
            Derived(one.corpus, one.pin, "erased", erased[one.corpus]) if one.corpus in erased else one
            for one in statement.derived
        ],
        models=statement.models,
        stated=tuple(dict.fromkeys((*statement.stated, *gone, *stated))),
        validation=validation,
        responsible=responsible,
    )


def record(writer: Writer, id: str, old: str, new: str, outcomes: Sequence[Pending]) -> str:
    """Record the later receipt's digest in place of the old one, and take out what it says; returns the final digest.

    Raises:
        InvalidArgument: the corpus does not know the receipt any more.
        as `Writer.transact`
    """
    said = {one.corpus for one in outcomes}

    def change(attempt: Try) -> Next[str]:
        head = attempt.head
        known = final_digest(head, id)
        if known is None:
            raise InvalidArgument(f"{writer.root} records no receipt with the id {id} any more", root=writer.root)
        if known != old:  # another run has completed it meanwhile
            return Next(known, None)
        entry = {"digest": new, "time": attempt.now()}
        members = {
            "receipts": tuple({**one, **entry} if one["id"] == id else one for one in head.receipts),
            "pending": tuple(one for one in head.pending if not (one["id"] == id and one["corpus"] in said)),
        }
        return Next(new, members)

    return writer.transact(change)
