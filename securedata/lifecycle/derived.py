"""The registry of derived corpora in the head of the corpus that they were made from.

An erasure of a person must reach every corpus that was made of that person's recordings. So a derived corpus is
registered in its source's head before its first row is committed. An entry names it by corpus id and pin, never by
root: storage must not tell anybody which other storage to contact. With its key of subject tags an erasure can name a
person in it, even where it cannot be opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from securedata.corpus.config import Reference, load
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.head import Head
from securedata.corpus.writer import Writer
from securedata.keys.tags import Tagger


def entry_of(derived: Head) -> dict[str, Any]:
    """The registry's entry of a derived corpus, from its own head."""
    return {
        "corpus": derived.corpus_id.hex(),
        "pin": str(derived.pin),
        "tag_key": Tagger(derived.secret).subject_key.hex(),
    }


def register_derived(writer: Writer, derived: Head) -> None:
    """Register a derived corpus in its source's head; nothing changes if it is there already.

    Args:
        writer: of the source.
        derived: the head of the derived corpus.

    Raises:
        as `Writer.transact`
    """
    entry = entry_of(derived)

    def register(attempt: Try) -> Next[None]:
        if any(one.get("corpus") == entry["corpus"] for one in attempt.head.derived):
            return Next(None, None)
        return Next(None, {"derived": (*attempt.head.derived, entry)})

    writer.transact(register)


def reference_of(entry: Mapping[str, Any]) -> Reference | None:
    """Where the caller's config has a derived corpus, by its pin; None: nowhere."""
    return next((one for one in load().values() if entry["pin"] in map(str, one.pins)), None)


@dataclass(frozen=True, slots=True)
class Reached:
    """The pins of derived corpora in which the same was done, and of those that the caller's config does not have."""

    reached: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()


def in_each_derived(writer: Writer, act: Callable[[Writer], Reached]) -> Reached:
    """Do the same in each corpus that was made from this one, as far as the caller's config has it.

    Args:
        act: does it in one of them, and says which corpora made from that one it has reached.
    """
    reached: list[str] = []
    missed: list[str] = []
    for entry in writer.refresh().derived:
        reference = reference_of(entry)
        if reference is None:
            missed.append(entry["pin"])
            continue
        below = act(Writer(reference))
        reached += [entry["pin"], *below.reached]
        missed += below.missed
    return Reached(tuple(reached), tuple(missed))
