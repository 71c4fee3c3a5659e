"""What must hold in every state, and over every commit. Each function returns what is broken, or None."""

from __future__ import annotations

from collections.abc import Iterable

from tests.model.program import Program
from tests.model.state import Corpus, Head, Part, Took, World

BAD_OUTCOMES = {"ObjectMissing", "PartMissing", "RowReplaced within a day", "a sample of an erased person"}


def broken(world: World) -> str | None:
    """What is wrong with a state."""
    for actor in world.actors:
        if actor.step == "done" and actor.memory[0] in BAD_OUTCOMES:
            return f"a reader met: {actor.memory[0]}"
    for number, corpus in enumerate(world.corpora):
        if fault := _dangles(corpus) or _barred(corpus.head) or _left_behind(corpus):
            return fault
        for took in world.took:
            if took.corpus == number and (fault := _erased(world, corpus, took)):
                return fault
    return None


def broken_commit(before: Head, after: Head, by: Program, source: Head | None = None) -> str | None:
    """What is wrong with one commit: rows are the same recordings whatever object holds them.

    `source` is the head of the corpus that this one is derived from, as its registry says.
    """
    held = before.holds | (source.holds if source else frozenset())
    was, now = {row.origin: row for row in before.rows()}, {row.origin: row for row in after.rows()}
    for origin in sorted(was.keys() - now.keys()):
        if was[origin].person in held:
            return f"{origin} left while its person was held"
        if not by.takes(was[origin]):
            return f"{origin} was lost by {by}"
    for origin in sorted(now.keys() - was.keys()):
        if not by.brings(now[origin]):
            return f"{origin} came back by {by}"
    return None


def broken_end(world: World) -> str | None:
    """What is wrong when all actors have ended."""
    for corpus in world.corpora:
        if corpus.head.drafts:
            return "a draft is open, though everybody has ended"
    return None


def _dangles(corpus: Corpus) -> str | None:
    missing = corpus.head.ids() - {id for id, _ in corpus.store}
    return f"the head names {sorted(missing)}, not on storage" if missing else None


def _left_behind(corpus: Corpus) -> str | None:
    """What heads named once is named now, or on a leaving list, or deleted."""
    once = {part.id for _, part in corpus.named} | {row.object for _, part in corpus.named for row in part.rows}
    lost = (once & {id for id, _ in corpus.store}) - corpus.head.ids() - corpus.head.listed()
    return f"{sorted(lost)} left the head, are on storage, and are on no list" if lost else None


def _barred(head: Head) -> str | None:
    rows = sorted(row.origin for row in head.rows() if head.barred(row))
    return f"the head names {rows} of somebody erased" if rows else None


def _erased(world: World, corpus: Corpus, took: Took) -> str | None:
    """An erasing commit is followed up: by an open draft that can be finished, or by one final receipt that is true."""
    head = corpus.head
    drafts = [one for one in head.drafts if one.id == took.draft]
    finals = [one for one in head.finals if one.draft == took.draft]
    if len(drafts) + len(finals) != 1:
        return f"{took.draft} has {len(drafts)} open drafts and {len(finals)} final receipts"
    for receipt in world.receipts:  # void ones too: they are signed, and somebody might show one
        if receipt.draft == took.draft and receipt.corpus == took.corpus:
            if there := sorted(receipt.deleted & corpus.on_storage()):
                return f"a receipt lists {there} as deleted, which are on storage"
            if fault := _gone(corpus, took):
                return f"a receipt was written, but {fault}"
    if drafts:
        listed = {id for one in head.leaving if one.id == drafts[0].leaving for id in one.ids}
        if lost := sorted({row.object for row in took.rows} & corpus.on_storage() - listed):
            return f"{took.draft} is open, but {lost} are on storage, and no list names them"
        return None
    written = [one for one in world.receipts if (one.draft, one.digest) == (took.draft, finals[0].digest)]
    if not written:
        return f"the head records the digest of a receipt of {took.draft} that nobody wrote"
    return _derived(world, took, written[0].unreached)


def _gone(corpus: Corpus, took: Took) -> str | None:
    """Nothing on storage, in no version, and nothing that opens with today's corpus key, shows an erased row."""
    there, people = corpus.on_storage(), {row[:2] for row in took.rows}
    if _names(corpus.head.parts, people):
        return "the head names rows of somebody erased"
    if objects := sorted({row.object for row in took.rows} & there):
        return f"{objects} are on storage"
    if any(_names(version.parts, people) for version in corpus.versions):
        return "an older version of the head names the rows"
    for key, part in corpus.named:
        if _names([part], people):
            if part.id in there:
                return f"{part.id}, which holds keys of the rows, is on storage"
            if key == corpus.head.key:
                return "a saved head that names the rows opens with today's corpus key"
    return None


def _names(parts: Iterable[Part], people: set[tuple[str, ...]]) -> bool:
    return any(row[:2] in people for part in parts for row in part.rows)


def _derived(world: World, took: Took, unreached: frozenset[int]) -> str | None:
    """No registered derived corpus holds rows of the erased, unless the receipt says that it was not reached; then the
    head notes that."""
    people = {(row.person, row.consent) for row in took.rows}
    for number in world.corpora[took.corpus].head.derived - unreached:
        if rows := sorted(row.origin for row in world.corpora[number].head.rows() if row[:2] in people):
            return f"a final receipt does not mention derived corpus {number}, which holds {rows}"
    noted = {one.corpus for one in world.corpora[took.corpus].head.pending if one.draft == took.draft}
    for number in unreached - noted:
        if rows := sorted(row.origin for row in world.corpora[number].head.rows() if row[:2] in people):
            return f"no note says that derived corpus {number}, which holds {rows}, has still to be reached"
    return None
