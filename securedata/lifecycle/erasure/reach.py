"""Erase, in the corpora that were made from a corpus, what earlier erasures did not reach there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from securedata.corpus.config import Reference
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, SecuredataError
from securedata.lifecycle.derived import reference_of
from securedata.lifecycle.erasure.deed import Committed
from securedata.lifecycle.erasure.finish import Receipt
from securedata.lifecycle.erasure.pending import GONE, Pending, pending
from securedata.lifecycle.erasure.request import Request

HELD = "a hold keeps rows there; when it is released, run 'securedata erase --finish'"
ELSEWHERE = "it is not in your config; run 'securedata erase --finish' where it is"


@dataclass(frozen=True, slots=True)
class Reach:
    """What became of a derived corpus.

    Attributes:
        pin: of it.
        state: erased; held: a hold keeps rows of the request; failed; elsewhere: the caller's config does not have it.
        why: it is not erased.
        receipts: of what was erased there, and in the corpora made from it.
    """

    pin: str
    state: Literal["erased", "held", "failed", "elsewhere"]
    why: str = field(default="", repr=False)
    receipts: tuple[Receipt, ...] = field(default=(), repr=False)


class _Erased(Protocol):
    """The result of an erasure there."""

    @property
    def commit(self) -> Committed: ...

    @property
    def receipt(self) -> Receipt | None: ...

    @property
    def receipts(self) -> tuple[Receipt, ...]: ...


Act = Callable[[Reference, Request], _Erased]
"""Erases what a request names in a derived corpus, with a receipt even if there is nothing."""


def reach_pending(writer: Writer, act: Act) -> tuple[Reach, ...]:
    """Erase in each derived corpus that an erasure has still to reach; what fails there stays as it is.

    Raises:
        as `Writer.transact`, of the corpus itself
    """
    return tuple(_reach(writer, one, act) for one in pending(writer.refresh(), writer.root) if one.outcome is None)


def _reach(writer: Writer, one: Pending, act: Act) -> Reach:
    held = {hold.tag for hold in writer.head.holds}
    if any(person.tag in held for person in one.people):
        return Reach(one.pin, "held", "a hold keeps the person here")
    reference = reference_of({"pin": one.pin})
    if reference is None:
        return Reach(one.pin, "elsewhere", ELSEWHERE)
    try:
        done = act(reference, one.request())
    except SecuredataError as error:
        return Reach(one.pin, "failed", str(error))
    digest = whole(done)
    if digest is None:
        return Reach(one.pin, "held", HELD, done.receipts)
    _settle(writer, lambda other: (other.id, other.corpus) == (one.id, one.corpus), digest)
    return Reach(one.pin, "erased", receipts=done.receipts)


def whole(done: _Erased) -> str | None:
    """The digest of the receipt of an erasure that a hold has kept from nothing; None otherwise."""
    if done.receipt is None or done.commit.held or done.commit.restricted:
        return None
    return done.receipt.digest


def give_up(writer: Writer, pin: str) -> int:
    """Note that a derived corpus is gone for good, as the operator says: no erasure looks for it any more.

    Returns:
        How many erasures had not reached it. Their receipts will say what the operator said.

    Raises:
        InvalidArgument: no corpus with this pin was made from this one, or the caller's config has it.
        as `Writer.transact`
    """
    known = writer.refresh()
    if all(one["pin"] != pin for one in (*known.derived, *known.pending)):
        raise InvalidArgument(f"no corpus with this pin was made from {writer.root}", root=writer.root)
    found = reference_of({"pin": pin})
    if found is not None:
        raise InvalidArgument(
            f"this corpus is in your config as {found.name}: 'securedata erase --finish' reaches it. If it is gone, "
            "run 'securedata forget' first",
            root=writer.root,
        )
    return _settle(writer, lambda one: one.pin == pin, GONE, unregister=pin)


def _settle(writer: Writer, mine: Callable[[Pending], bool], outcome: str, unregister: str | None = None) -> int:
    """Record what became of entries that are still open; returns of how many."""

    def change(attempt: Try) -> Next[int]:
        head = attempt.head
        before = pending(head, writer.root)
        after = [replace(one, outcome=outcome) if one.outcome is None and mine(one) else one for one in before]
        changed = sum(a is not b for a, b in zip(before, after, strict=True))
        left = tuple(one for one in head.derived if one["pin"] != unregister)
        if not changed and left == head.derived:
            return Next(0, None)
        return Next(changed, {"pending": tuple(one.to_json() for one in after), "derived": left})

    return writer.transact(change)
