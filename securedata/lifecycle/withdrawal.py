"""A withdrawal of consent in a corpus and in the corpora that were made from it.

They come first, as in an erasure: while one of them cannot be reached, the corpus itself still says what is to be done.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from securedata.corpus.writer import Writer
from securedata.lifecycle.consent import Withdrawn, withdraw
from securedata.lifecycle.derived import Reached, in_each_derived


@dataclass(frozen=True, slots=True)
class WithdrawnEverywhere:
    """What a withdrawal did.

    Attributes:
        here: in the corpus itself.
        derived: by pin, in each corpus that was made from it and was reached.
        missed: pins of those that the caller's config does not have: in them nothing was withdrawn.
    """

    here: Withdrawn
    derived: dict[str, Withdrawn] = field(default_factory=dict)
    missed: tuple[str, ...] = ()

    @property
    def held(self) -> bool:
        """Did rows stay as they are anywhere, because of a hold?"""
        return bool(self.here.held) or any(one.held for one in self.derived.values())


def withdraw_everywhere(writer: Writer, consent_id: str, purpose: str | None = None) -> WithdrawnEverywhere:
    """As `withdraw`; in the derived corpora first, as far as the caller's config has them.

    A corpus that is made meanwhile, from rows that were read before, is corrected when the making is run again.

    Raises:
        InvalidArgument: no row has this consent, here or in a derived corpus; nothing was written.
        as `withdraw`, of a derived corpus too: this corpus is then unchanged, and running it again does the rest.
    """
    derived: dict[str, Withdrawn] = {}
    reached = _in_derived(writer, consent_id, purpose, derived)
    elsewhere = any(one.rows for one in derived.values())
    here = withdraw(writer, consent_id, purpose, absent_ok=elsewhere)
    return WithdrawnEverywhere(here, derived, reached.missed)


def _in_derived(writer: Writer, consent_id: str, purpose: str | None, done: dict[str, Withdrawn]) -> Reached:
    def act(one: Writer) -> Reached:
        below = _in_derived(one, consent_id, purpose, done)
        done[str(one.head.pin)] = withdraw(one, consent_id, purpose, absent_ok=True)
        return below

    return in_each_derived(writer, act)
