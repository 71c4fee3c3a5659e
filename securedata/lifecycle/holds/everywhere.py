"""A hold in a corpus and in the corpora that were made from it.

It is put into each of them before the corpus itself, and released after it: an erasure looks for a hold in the source
first, then erases from derived corpora, and checks the holds of each, so it never takes out what is held anywhere.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from securedata.corpus.state.commit import Next, Try
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, NoObjectLock, NoSuchHold, NoSuchSubject
from securedata.lifecycle.derived import Reached, in_each_derived
from securedata.lifecycle.holds.hold import (
    HoldAdded,
    HoldReleased,
    add_hold,
    check_case,
    check_there,
    release_hold,
    tag_of,
)
from securedata.lifecycle.holds.locked import Needed, flagged
from securedata.lifecycle.holds.object_lock import needed_now, own, turn_off, turn_on
from securedata.printable import plural


def add_everywhere(
    writer: Writer,
    subject: str,
    case: str,
    *,
    reason: str | None = None,
    absent_ok: bool = False,
    object_lock: bool = False,
    yes: bool = False,
    lock_or_not: bool = False,
    progress: bool = False,
) -> tuple[HoldAdded, Reached]:
    """As `add_hold`; the derived corpora first, whether they have rows of the person or not.

    Args:
        object_lock: then turn on legal holds of Object Lock in the bucket, and in those of the derived corpora that
            have it. Run again, it completes them, and adds them for rows that came later.
        yes: confirms `object_lock`: until the hold ends, no erasure from the corpus is complete.
        lock_or_not: `object_lock` where there is one; `HoldAdded.unlocked` names the corpora where there is none.
        progress: show a bar for long work.

    Raises:
        NoSuchSubject: no row of the corpus itself names the person, and `absent_ok` is False; nothing was written.
        NoObjectLock, AccessDenied: no legal holds can be turned on in the corpus's own bucket; nothing was written.
        InvalidArgument: `object_lock` without `yes`; nothing was written. The text says what it would do.
        as `add_hold`, `turn_on`
    """
    tag = tag_of(writer, subject)

    def look(attempt: Try) -> Next[None]:
        if not absent_ok and all(one.tag != tag for one in attempt.head.holds):
            check_there(
                attempt, tag, writer.root, "there is nothing to hold; for recordings that may come: --absent-ok"
            )
        return Next(None, None)

    writer.transact(look)
    mine, lock, unlocked = writer, False, []
    if object_lock:
        mine = own(writer)
        try:
            _check(mine, tag, yes)
            lock = True
        except NoObjectLock:
            if not lock_or_not:
                raise
            unlocked.append(str(mine.head.pin))

    def add(one: Writer) -> Reached:
        more = partial(add_everywhere, one, subject, case, reason=reason, absent_ok=True)
        done, below = more(object_lock=object_lock, yes=True, lock_or_not=True, progress=progress)
        unlocked.extend(done.unlocked)
        return below

    reached = in_each_derived(writer, add)
    done = add_hold(mine, subject, case, reason=reason, absent_ok=absent_ok, object_lock=lock)
    if {one["pin"] for one in writer.refresh().derived} - {*reached.reached, *reached.missed}:
        reached = in_each_derived(writer, add)  # one came meanwhile, and may have looked for holds before this one
    locked = turn_on(mine, tag, case, progress=progress) if lock else None
    return replace(done, locked=locked, unlocked=tuple(unlocked)), reached


def _check(writer: Writer, tag: bytes, yes: bool) -> None:
    """Check that legal holds can be turned on, and that the caller knows what it costs."""
    holds = writer.storage.legal_holds()
    if yes or not holds.enabled():
        holds.check()
    if not yes:
        raise _unconfirmed(needed_now(writer, {tag})[1], writer.root)


def _unconfirmed(needed: Needed, root: str) -> InvalidArgument:
    packs = f"{plural(len(needed.packs), 'pack')}, in which other people's recordings lie too, " if needed.packs else ""
    return InvalidArgument(
        f"this would turn on legal holds of Object Lock for {len(needed.objects):,} objects, {packs}"
        f"{len(needed.parts):,} manifest parts and the head of {root}; nothing was written. Head and parts also hold "
        "keys and names of other people, and later commits replace them, while the locked versions stay: until 'hold "
        "release', every erasure from this corpus is refused, or goes on with --partial, and its receipt says that old "
        "versions remain. If that is meant, confirm it with --yes",
        root=root,
    )


def release_everywhere(
    writer: Writer,
    case: str,
    *,
    subject: str | None = None,
    tag: bytes | None = None,
    keep: bool = False,
    progress: bool = False,
) -> tuple[HoldReleased, Reached]:
    """As `release_hold`; then in the derived corpora, if the person is given by name. One without the hold is as good.

    Legal holds of Object Lock that were turned on for the hold are turned off first, so that a run that is killed
    leaves a hold, and can be run again.

    Raises:
        as `release_hold`, `turn_off`
    """
    done = _release(writer, case, subject, tag, keep, progress)
    if subject is None:  # a tag of this corpus says nothing in another
        return done, Reached(missed=tuple(one["pin"] for one in writer.head.derived))

    def release(one: Writer) -> Reached:
        try:
            return release_everywhere(one, case, subject=subject, keep=keep, progress=progress)[1]
        except (NoSuchHold, NoSuchSubject):
            return Reached()

    return done, in_each_derived(writer, release)


def _release(
    writer: Writer, case: str, subject: str | None, tag: bytes | None, keep: bool, progress: bool
) -> HoldReleased:
    person = tag_of(writer, subject) if subject is not None else tag
    if person is None or not _may_have_locks(writer, check_case(case), person):
        return release_hold(writer, case, subject=subject, tag=tag, keep=keep)
    mine = own(writer)
    unlocked = turn_off(mine, person, check_case(case), progress=progress)
    done = release_hold(mine, case, subject=subject, tag=tag, keep=keep)
    for other in flagged(mine.refresh()) - unlocked.others:  # it came meanwhile, and may need what was turned off
        turn_on(mine, *other, progress=progress)
    return replace(done, unlocked=unlocked.versions)


def _may_have_locks(writer: Writer, case: str, tag: bytes) -> bool:
    """Might versions have legal holds for this hold?

    The head may not say it: a run that turned them on may have lost a race with an earlier release.
    """
    if (tag, case) in flagged(writer.refresh()):
        return True
    try:
        return own(writer).storage.legal_holds().enabled()
    except NoObjectLock:
        return False
