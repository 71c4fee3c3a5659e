"""Hold the rows of a person: until the hold ends, no commit takes them out, replaces or changes them.

The corpus holds the person's tag and the reference of the case; the name and the reason are in a note of the operator
(see `notes`). A hold binds securedata, of this version or later. Who can delete in the bucket is not stopped by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from securedata.corpus.option_values import as_text
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.lifecycle import Hold, Restriction
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, NoSuchHold, NoSuchSubject
from securedata.keys.tags import Tagger
from securedata.lifecycle.holds.count import COLUMNS, Amount, count
from securedata.lifecycle.holds.locked import Locked
from securedata.lifecycle.holds.notes import Note, drop_note, keep_note, read_notes
from securedata.lifecycle.holds.restriction import kept_by_holds, without_restrictions

_LONGEST = 200


@dataclass(frozen=True, slots=True)
class HoldAdded:
    """Results of `add_hold`.

    Attributes:
        tag: the person's subject tag.
        case: the reference of the case.
        changed: False if the hold was there already.
        first: is it the first hold in the corpus? Then older software refuses the corpus from now on.
        rows, seconds: of the person, in the corpus.
        generation: of the corpus, afterwards.
        object_lock: does the corpus say that this hold has legal holds of Object Lock?
        locked: what this call turned them on for.
        unlocked: pins of corpora made from this one, where storage has no Object Lock, so that only securedata is
            bound there.
    """

    tag: bytes
    case: str
    changed: bool
    first: bool
    rows: int
    seconds: float
    generation: int
    object_lock: bool = False
    locked: Locked | None = None
    unlocked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """An erasure request that nothing holds up any more.

    Attributes:
        restriction: the person's tag, and the reference and day of the request.
        subject: the person's name, if a row or a note has it.
    """

    restriction: Restriction
    subject: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class HoldReleased:
    """Results of `release_hold`.

    Attributes:
        tag: the person's subject tag.
        case: the reference of the case.
        changed: False if no case held the person any more, as after an earlier run.
        cases: references of other cases that still hold the person.
        lifted: restrictions of the person that this ended, because the caller said so.
        waiting: erasure requests that nothing holds up any more; their people's rows open for nobody until they are
            erased, or until the restriction is lifted.
        last: did this end the last hold and restriction, so that older software opens the corpus again?
        generation: of the corpus, afterwards.
        unlocked: legal holds of Object Lock that were turned off.
    """

    tag: bytes
    case: str
    changed: bool
    cases: tuple[str, ...]
    lifted: tuple[Restriction, ...]
    waiting: tuple[Waiting, ...]
    last: bool
    generation: int
    unlocked: int = 0


def add_hold(
    writer: Writer,
    subject: str,
    case: str,
    *,
    reason: str | None = None,
    absent_ok: bool = False,
    object_lock: bool = False,
) -> HoldAdded:
    """Hold the rows of a person for a case. Run again, it finishes what was killed, or finds it done.

    Args:
        subject: the person's name, as the rows have it.
        case: the reference of the case; everyone who can read the corpus can read it.
        reason: goes into the operator's note with the name; None keeps that of an earlier note.
        absent_ok: hold a person of whom the corpus has no rows, for rows that may come.
        object_lock: record that the hold has legal holds; `object_lock.turn_on` turns them on.

    Raises:
        InvalidArgument: a name or a reference that cannot be one.
        NoSuchSubject: no row names the person, and `absent_ok` is False; nothing was written.
        ConfigError: the note cannot be written; nothing was committed.
        as `Writer.transact`
    """
    case, tag = check_case(case), tag_of(writer, subject)
    before = read_notes(writer.corpus_id).get((tag, case))
    kept = before.reason if before and reason is None else as_text("reason", reason or "")
    note = Note(tag, case, subject, kept)
    noted = note == before

    def change(attempt: Try) -> Next[HoldAdded]:
        nonlocal noted
        head = attempt.head
        found = _amount(attempt, tag)
        mine = next((one for one in head.holds if (one.tag, one.case) == (tag, case)), None)
        there = mine is not None
        if not (found.rows or there or absent_ok):
            so = "there is nothing to hold; to hold recordings that may come, pass --absent-ok (absent_ok=True)"
            check_there(attempt, tag, writer.root, so)
        if not noted:  # before the commit: who finds a hold can find out why
            keep_note(writer.corpus_id, note)
            noted = True
        first = not (there or head.holds)
        hold = mine or Hold(tag, case, attempt.now())
        hold = replace(hold, object_lock=hold.object_lock or object_lock)
        after = head.generation + (hold != mine)
        outcome = HoldAdded(tag, case, not there, first, found.rows, found.seconds, after, hold.object_lock)
        others = (one for one in head.holds if one != mine)
        return Next(outcome, None if hold == mine else {"holds": (*others, hold)})

    return writer.transact(change)


def release_hold(
    writer: Writer, case: str, *, subject: str | None = None, tag: bytes | None = None, keep: bool = False
) -> HoldReleased:
    """End the hold of a person for one case; the rows are free when no other case holds them.

    A request for erasure that met the hold stays recorded, and keeps restricting the rows, until the person is erased,
    or until the restriction is lifted with `keep`. Run again, it finishes what was killed.

    Args:
        subject, tag: the person, by name or by subject tag.
        keep: also lift the restrictions of the person: somebody has decided that the rows stay.

    Raises:
        InvalidArgument: neither name nor tag, or both.
        NoSuchHold: only other cases hold the person.
        NoSuchSubject: no hold and no row names the person.
        as `Writer.transact`
    """
    case = check_case(case)
    if (subject is None) == (tag is None):
        raise InvalidArgument("release needs the person, by name or by tag: pass --subject ID, or --tag HEX")
    person = tag if tag is not None else tag_of(writer, subject or "")
    notes = read_notes(writer.corpus_id)
    finished = (person, case) in notes  # an earlier run may have ended the hold, and left the note

    def change(attempt: Try) -> Next[HoldReleased]:
        head = attempt.head
        there = any((one.tag, one.case) == (person, case) for one in head.holds)
        cases = tuple(sorted(one.case for one in head.holds if one.tag == person and one.case != case))
        mine = tuple(one for one in head.restricted if one.tag == person)
        if not (there or finished or (keep and mine)):
            if cases:
                text = f"case {case} does not hold this person in {writer.root}; cases that do: {', '.join(cases)}"
                raise NoSuchHold(text, root=writer.root)
            check_there(attempt, person, writer.root, "there is no hold to release")
        lifted = mine if keep else ()
        holds = tuple(one for one in head.holds if (one.tag, one.case) != (person, case))
        restricted = without_restrictions(head, {person}) if keep else head.restricted
        changed = (holds, restricted) != (head.holds, head.restricted)
        outcome = HoldReleased(
            person,
            case,
            changed,
            cases,
            lifted,
            _waiting(attempt, holds, restricted, {one.tag: one.subject for one in notes.values()}),
            changed and not (holds or restricted),
            head.generation + changed,
        )
        return Next(outcome, {"holds": holds, "restricted": restricted} if changed else None)

    outcome = writer.transact(change)
    drop_note(writer.corpus_id, person, case)
    return outcome


def _amount(attempt: Try, tag: bytes) -> Amount:
    tables = (attempt.read_table(part, COLUMNS) for part in attempt.head.parts)
    return count(tables, [tag], Tagger(attempt.head.secret))[tag]


def check_there(attempt: Try, tag: bytes, root: str, so: str) -> None:
    """Raise NoSuchSubject if no row names a person, which may be a slip of the pen."""
    if not _amount(attempt, tag).rows:
        erased = any(one.tag == tag for one in attempt.head.tombstones)
        why = "was erased from" if erased else "is named by no row of"
        raise NoSuchSubject(f"this person {why} {root}, so {so}", root=root)


def _waiting(
    attempt: Try, holds: tuple[Hold, ...], restricted: Sequence[Restriction], names: dict[bytes, str]
) -> tuple[Waiting, ...]:
    """The restrictions of people none of whose rows is held under these holds."""
    if not restricted:
        return ()
    head, tagger = attempt.head, Tagger(attempt.head.secret)
    kept = kept_by_holds(attempt, {one.tag for one in restricted}, holds)
    free = [one for one in restricted if one.tag not in kept]
    tables = (attempt.read_table(part, COLUMNS) for part in head.parts)
    amounts = count(tables, {one.tag for one in free}, tagger)
    return tuple(Waiting(one, min(amounts[one.tag].names, default=names.get(one.tag))) for one in free)


def tag_of(writer: Writer, subject: str) -> bytes:
    """The tag of a person whom somebody names.

    Raises:
        InvalidArgument: nobody can have this name. The text does not show it.
    """
    if not as_text("subject", subject):
        raise InvalidArgument("the name of a person is empty")
    try:
        return Tagger(writer.head.secret).tag(subject)
    except UnicodeEncodeError:  # not chained, since it contains the name
        raise InvalidArgument("the name of a person contains a lone surrogate, which is not a character") from None


def check_case(case: str) -> str:
    """The reference of a case, without blanks around it.

    Raises:
        InvalidArgument
    """
    case = as_text("case", case).strip()
    if not case or not case.isprintable() or len(case) > _LONGEST:
        raise InvalidArgument(f"the reference of a case is 1 to {_LONGEST} printable characters, such as 2026-17")
    return case
