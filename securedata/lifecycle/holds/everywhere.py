"""A hold in a corpus and in the corpora that were made from it.

It is put into each of them before the corpus itself, and released after it: an erasure looks for a hold in the source
first, then erases from derived corpora, and checks the holds of each, so it never takes out what is held anywhere.
"""

from __future__ import annotations

from securedata.corpus.state.commit import Next, Try
from securedata.corpus.writer import Writer
from securedata.errors import NoSuchHold, NoSuchSubject
from securedata.lifecycle.derived import Reached, in_each_derived
from securedata.lifecycle.holds.hold import HoldAdded, HoldReleased, add_hold, check_there, release_hold, tag_of


def add_everywhere(
    writer: Writer, subject: str, case: str, *, reason: str | None = None, absent_ok: bool = False
) -> tuple[HoldAdded, Reached]:
    """As `add_hold`; the derived corpora first, whether they have rows of the person or not.

    Raises:
        NoSuchSubject: no row of the corpus itself names the person, and `absent_ok` is False; nothing was written.
        as `add_hold`
    """
    tag = tag_of(writer, subject)

    def look(attempt: Try) -> Next[None]:
        if not absent_ok and all(one.tag != tag for one in attempt.head.holds):
            check_there(
                attempt, tag, writer.root, "there is nothing to hold; for recordings that may come: --absent-ok"
            )
        return Next(None, None)

    writer.transact(look)
    reached = in_each_derived(writer, lambda one: add_everywhere(one, subject, case, reason=reason, absent_ok=True)[1])
    return add_hold(writer, subject, case, reason=reason, absent_ok=absent_ok), reached


def release_everywhere(
    writer: Writer, case: str, *, subject: str | None = None, tag: bytes | None = None, keep: bool = False
) -> tuple[HoldReleased, Reached]:
    """As `release_hold`; then in the derived corpora, if the person is given by name. One without the hold is as good.

    Raises:
        as `release_hold`
    """
    done = release_hold(writer, case, subject=subject, tag=tag, keep=keep)
    if subject is None:  # a tag of this corpus says nothing in another
        return done, Reached(missed=tuple(one["pin"] for one in writer.head.derived))

    def release(one: Writer) -> Reached:
        try:
            return release_everywhere(one, case, subject=subject, keep=keep)[1]
        except (NoSuchHold, NoSuchSubject):
            return Reached()

    return done, in_each_derived(writer, release)
