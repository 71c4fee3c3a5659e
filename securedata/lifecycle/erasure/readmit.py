"""Let a person who was erased record again, under a new consent: the tombstone goes, the bars of old consents stay."""

from __future__ import annotations

from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.lifecycle import BY_NAME
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, NoSuchSubject
from securedata.keys.tags import Tagger
from securedata.lifecycle.erasure.journal import unfinished
from securedata.lifecycle.erasure.pending import Pending, pending


def readmit(writer: Writer, name: str, consent_id: str) -> None:
    """Turn a person's tombstone into bars of their old consents, in one commit; doing it again changes nothing.

    The erasure has barred each consent that it found, and rows without one; they stay barred.

    Args:
        consent_id: the new consent, under which recordings enter from now on.

    Raises:
        InvalidArgument: no consent is given, it is one of the old ones, or the erasure is not finished or has not
            reached a corpus that was made from this one.
        NoSuchSubject: nobody of that name was erased.
        as `Writer.transact`
    """
    if not consent_id.strip():
        raise InvalidArgument("a person is let in again by a new consent: give its id with --consent")

    def change(attempt: Try) -> Next[None]:
        head, tagger = attempt.head, Tagger(attempt.head.secret)
        tag = tagger.tag(name)
        if any(tag in one.people for one in unfinished(head, writer.root)):
            raise InvalidArgument(
                f"the erasure of this person from {writer.root} is not finished: run 'securedata erase --finish' first",
                root=writer.root,
            )
        waiting = {one.pin for one in pending(head, writer.root) if one.outcome is None and _names(one, tag)}
        if waiting:  # it would take out there what is recorded under the new consent
            raise InvalidArgument(
                f"the erasure of this person has not reached corpora made from {writer.root} ({', '.join(waiting)}): "
                "run 'securedata erase --finish' where your config has them, or --derived-gone if they are gone",
                root=writer.root,
            )
        if tagger.consent_of(tag, consent_id) in head.barred:
            raise InvalidArgument(f"this consent was erased from {writer.root}: give a new one", root=writer.root)
        nothing = tagger.consent_of(tag, None)
        stones = tuple(one for one in head.tombstones if one.tag != tag)
        if len(stones) == len(head.tombstones):
            if nothing in head.barred:  # an earlier run did it
                return Next(None, None)
            raise NoSuchSubject(f"nobody of that name was erased from {writer.root}", root=writer.root)
        barred = head.barred if nothing in head.barred else (*head.barred, nothing)
        # readers that opened the corpus before the erasure find their rows gone, which the tombstone would have shown
        receipts = tuple({name: cell for name, cell in one.items() if name != BY_NAME} for one in head.receipts)
        return Next(None, {"tombstones": stones, "barred": barred, "receipts": receipts})

    writer.transact(change)


def _names(one: Pending, tag: bytes) -> bool:
    return any(person.tag == tag for person in one.people)
