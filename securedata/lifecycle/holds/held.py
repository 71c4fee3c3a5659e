"""Who is held in a corpus, for which cases, and which erasures wait."""

from __future__ import annotations

from dataclasses import dataclass, field

from securedata.corpus.config import Reference
from securedata.corpus.state.head import Head
from securedata.corpus.state.lifecycle import Restriction
from securedata.keys.tags import Tagger
from securedata.lifecycle.holds.count import COLUMNS, Amount, add_rows
from securedata.lifecycle.holds.notes import Note, read_notes
from securedata.lifecycle.people.reading import Current, read_current
from securedata.storage.base import Storage


@dataclass(frozen=True, slots=True)
class HeldFor:
    """One hold of a person.

    Attributes:
        case: the reference of the case.
        time: storage's time of the hold, in seconds since the epoch.
        reason: as the operator's note on this machine has it; None without a note.
        object_lock: versions on storage may have legal holds of Object Lock because of it.
    """

    case: str
    time: float
    reason: str | None = field(default=None, repr=False)
    object_lock: bool = False


@dataclass(frozen=True, slots=True)
class HeldPerson:
    """A person who is held, or whose rows a request for erasure restricts.

    Attributes:
        tag: the subject tag.
        subject: the name, as rows or the operator's notes have it; None if neither does.
        holds: by the time of the hold; none if they have ended and only a restriction is left.
        restrictions: requests for erasure that wait.
        rows, seconds: of the person; a row of several people counts for each.
    """

    tag: bytes
    subject: str | None = field(repr=False)
    holds: tuple[HeldFor, ...]
    restrictions: tuple[Restriction, ...]
    rows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Held:
    """Holds and restrictions of a corpus.

    Attributes:
        root, generation: of the corpus.
        people: who is held or restricted, the longest held first.
        left: notes on this machine of holds that are not in the corpus, since a run was killed or the hold was ended
            from another machine; `hold release` deletes them.
    """

    root: str
    generation: int
    people: tuple[HeldPerson, ...]
    left: tuple[Note, ...]


def list_holds(reference: Reference, *, accept_generation: int | None = None, storage: Storage | None = None) -> Held:
    """The holds and restrictions of a corpus. Opens no object, and reads no key of one.

    Raises:
        as `open_corpus`
    """
    head, amounts = read_current(reference, _amounts, accept_generation=accept_generation, storage=storage)
    notes = read_notes(head.corpus_id)
    people = sorted(
        (_person(head, tag, amount, notes) for tag, amount in amounts.items()),
        key=lambda one: min((hold.time for hold in one.holds), default=float("inf")),
    )
    there = {(one.tag, one.case) for one in head.holds}
    left = tuple(note for key, note in notes.items() if key not in there)
    return Held(reference.root, head.generation, tuple(people), left)


def _person(head: Head, tag: bytes, amount: Amount, notes: dict[tuple[bytes, str], Note]) -> HeldPerson:
    mine = {case: note for (other, case), note in notes.items() if other == tag}
    holds = [
        HeldFor(one.case, one.time, mine[one.case].reason if one.case in mine else None, one.object_lock)
        for one in head.holds
        if one.tag == tag
    ]
    name = min(amount.names, default=next((note.subject for note in mine.values()), None))
    restrictions = tuple(one for one in head.restricted if one.tag == tag)
    return HeldPerson(
        tag, name, tuple(sorted(holds, key=lambda one: one.time)), restrictions, amount.rows, amount.seconds
    )


def _amounts(current: Current) -> tuple[Head, dict[bytes, Amount]]:
    """The head, and the rows of the people whom it holds or restricts."""
    head = current.head
    tags = {one.tag for one in head.holds} | {one.tag for one in head.restricted}
    amounts = {tag: Amount() for tag in tags}
    for table in current.tables(COLUMNS) if amounts else ():
        add_rows(amounts, table, Tagger(head.secret))
    return head, amounts
