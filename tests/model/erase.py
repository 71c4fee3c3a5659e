"""Erasing a person or a consent: leaves, a commit with a draft, deletion, verification, a receipt, a last commit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from tests.model.people import Hold
from tests.model.program import Program, Turn, leave, rewritten
from tests.model.state import Corpus, Draft, Final, Head, Pending, Receipt, Row, Took, World

SOURCE = 0


class Errand(NamedTuple):
    """What one process knows: the corpus it is at, derived ones that are done or out of reach, and the open draft.

    With `held` it only finishes drafts. `older` is the generation of a head that holds the erasure: versions of the
    head below it must go.
    """

    at: int = SOURCE
    handled: frozenset[int] = frozenset()
    missed: frozenset[int] = frozenset()
    tried: bool = False
    selected: frozenset[Row] = frozenset()
    draft: Draft | None = None
    ids: frozenset[str] = frozenset()
    older: int = 0
    unheard: bool = False
    held: bool = False


@dataclass(frozen=True)
class Erase(Program):
    """Erases a person, or one consent of a person. A rerun finishes every draft that it finds, then starts over.

    `reaches` is False for an operator who cannot find the derived corpora that the source's head names. Storage that is
    `deaf` might answer a deletion, and delete nothing, once.
    """

    person: str
    consent: str | None = None
    reaches: bool = True
    deaf: bool = False
    first: ClassVar[str] = "look"

    def look(self, turn: Turn, errand: Errand | None = None) -> Iterator[World]:
        """Read the head: an open draft first, then derived corpora, then a hold, then the commit."""
        errand = errand or Errand()
        head = turn.head(errand.at)
        held = self.person in head.holds and not (errand.tried and not turn.keeps("hold at every try"))
        if head.drafts and turn.keeps("finish drafts"):
            yield self._finish(turn, errand, min(head.drafts))
        elif errand.at != SOURCE:
            if errand.held or self._is_done(turn, head, errand.at):
                yield turn.go("look", errand._replace(at=SOURCE, handled=errand.handled | {errand.at}, tried=False))
            elif held:
                yield turn.go("restrict")
            else:
                yield self._begin(turn, errand)
        elif self._is_done(turn, head, SOURCE) and not turn.keeps("leaves of the erased"):
            yield turn.done("erased")
        elif errand.held != (held and turn.keeps("hold before leaves")):
            yield turn.go("look", errand._replace(held=not errand.held, handled=frozenset()))
        elif waiting := self._waiting(turn, head, errand):
            at = min(waiting)
            missed = errand.missed if self.reaches else errand.missed | {at}
            yield turn.go("look", errand._replace(at=at if self.reaches else SOURCE, missed=missed))
        elif self._is_done(turn, head, SOURCE):
            yield turn.done("erased")
        elif held:
            yield turn.go("restrict")
        else:
            yield self._begin(turn, errand)

    def _begin(self, turn: Turn, errand: Errand) -> World:
        head = turn.head(errand.at)
        selected = errand.selected if errand.tried else frozenset(filter(self.takes, head.rows()))
        errand = errand._replace(tried=True, selected=selected)
        if turn.keeps("commit first"):
            return turn.go("commit", head.generation, errand)
        _, left, _ = rewritten(head, lambda row: None if self.takes(row) else row)
        return turn.go("commit", head.generation, errand, corpora={errand.at: turn.corpus(errand.at).purged(left)})

    def restrict(self, turn: Turn) -> Iterator[World]:
        """A hold: record the request, which restricts the rows."""
        after = turn.head()._replace(restricted=turn.head().restricted | {self.person})
        yield turn.done("restricted", corpora={SOURCE: turn.corpus().committed(after, turn.time)})

    def commit(self, turn: Turn, generation: int, errand: Errand) -> Iterator[World]:
        head, at = turn.head(errand.at), errand.at
        if head.generation != generation:
            yield turn.go("look", errand)
            return
        anew = turn.keeps("selected anew")
        parts, left, dropped = rewritten(
            head, lambda row: None if (self.takes(row) if anew else row in errand.selected) else row
        )
        lists = leave(turn, head, left)
        draft = Draft(
            f"draft@{generation + 1}",
            f"list@{generation + 1}",
            errand.missed if turn.keeps("unreached in the draft") else frozenset(),
        )
        after = self._marked(turn, head)._replace(
            parts=parts,
            key=generation + 1 if turn.keeps("fresh key") else head.key,
            leaving=lists,
            drafts=head.drafts | {draft} if turn.keeps("draft") else head.drafts,
            pending=head.pending | self._notes(turn, draft, errand),
        )
        yield turn.go(
            "delete",
            errand._replace(tried=False, draft=draft, ids=_doomed(turn, after, draft), older=generation + 1),
            corpora={at: turn.corpus(at).committed(after, turn.time)},
            took=Took(at, draft.id, dropped),
        )

    # ------------------------------------------------------------------------------------------ finishing a draft

    def delete(self, turn: Turn, errand: Errand) -> Iterator[World]:
        """Delete what the draft's list names, and the parts of every list."""
        if self.deaf and not errand.unheard:
            yield turn.go("sweep", errand._replace(unheard=True))
        corpus = turn.corpus(errand.at)
        corpus = corpus.purged(errand.ids) if turn.keeps("every version") else corpus.deleted(errand.ids)
        yield turn.go("sweep", errand, corpora={errand.at: corpus})

    def sweep(self, turn: Turn, errand: Errand) -> Iterator[World]:
        """Delete the older versions of the head, and what is left of parts."""
        corpus = turn.corpus(errand.at)
        corpus = corpus._replace(
            versions=corpus.versions - _older(turn, corpus, errand), hidden=corpus.hidden - _old_parts(turn, corpus)
        )
        yield turn.go("verify" if turn.keeps("verify") else "receipt", errand, corpora={errand.at: corpus})

    def verify(self, turn: Turn, errand: Errand) -> Iterator[World]:
        """List: is all of it absent?"""
        corpus = turn.corpus(errand.at)
        left = errand.ids & corpus.on_storage() or _older(turn, corpus, errand) or _old_parts(turn, corpus)
        yield turn.go("delete" if left else "receipt" if turn.keeps("receipt first") else "record", errand)

    def receipt(self, turn: Turn, errand: Errand) -> Iterator[World]:
        """Write the receipt to a file, durable before the next step."""
        assert errand.draft
        digest = f"{turn.process}/{errand.draft.id}"
        receipt = Receipt(errand.at, errand.draft.id, digest, errand.ids, errand.draft.unreached)
        yield turn.go("record" if turn.keeps("receipt first") else "look", errand, receipt=receipt)

    def record(self, turn: Turn, errand: Errand) -> Iterator[World]:
        """Record the digest, and clear the draft and its list; if another process did, this receipt is void."""
        head, draft = turn.head(errand.at), errand.draft
        assert draft
        then = "look" if turn.keeps("receipt first") else "receipt"
        if draft not in head.drafts and turn.keeps("still open"):
            yield turn.go("look", errand._replace(draft=None, ids=frozenset()))
            return
        digest = f"{turn.process}/{draft.id}"
        after = head._replace(
            finals=head.finals | {Final(draft.id, digest)},
            drafts=head.drafts - {draft},
            leaving=frozenset(one for one in head.leaving if one.id != draft.leaving),
        )
        if then == "look":
            errand = errand._replace(draft=None, ids=frozenset(), older=0)
        yield turn.go(then, errand, corpora={errand.at: turn.corpus(errand.at).committed(after, turn.time)})

    # ------------------------------------------------------------------------------------------------------- parts

    def takes(self, row: Row) -> bool:
        return row.person == self.person and self.consent in (None, row.consent)

    def _finish(self, turn: Turn, errand: Errand, draft: Draft) -> World:
        head = turn.head(errand.at)
        step = "delete" if turn.keeps("delete again") else "sweep"
        ids = _doomed(turn, head, draft)
        return turn.go(step, errand._replace(draft=draft, ids=ids, older=head.generation, tried=False))

    def _is_done(self, turn: Turn, head: Head, at: int) -> bool:
        if at != SOURCE and not turn.keeps("tombstone in leaves") and not any(map(self.takes, head.rows())):
            return True
        if self.consent is None:
            return self.person in head.tombstones
        barred = (self.person, self.consent) in head.bars
        return barred or (not turn.keeps("bar") and not any(map(self.takes, head.rows())))

    def _waiting(self, turn: Turn, head: Head, errand: Errand) -> frozenset[int]:
        if errand.tried and not turn.keeps("registry at every try"):
            return frozenset()
        return head.derived - errand.handled - errand.missed

    def _notes(self, turn: Turn, draft: Draft, errand: Errand) -> frozenset[Pending]:
        missed = errand.missed if turn.keeps("unreached is noted") and errand.at == SOURCE else frozenset[int]()
        return frozenset(Pending(draft.id, at, self.person, self.consent) for at in missed)

    def _marked(self, turn: Turn, head: Head) -> Head:
        if self.consent is None:
            return head._replace(tombstones=head.tombstones | {self.person}, restricted=head.restricted - {self.person})
        return head._replace(bars=head.bars | {(self.person, self.consent)}) if turn.keeps("bar") else head


def _doomed(turn: Turn, head: Head, draft: Draft) -> frozenset[str]:
    """What the draft's own list names, and the parts of every list: they might hold keys of the erased rows."""
    own = {id for one in head.leaving if one.id == draft.leaving for id in one.ids}
    if turn.keeps("every listed part"):
        own |= {id for id in head.listed() if id.startswith("part")}
    return frozenset(own)


def _older(turn: Turn, corpus: Corpus, errand: Errand) -> frozenset:
    """Versions of the head that are older than the erasure."""
    if not turn.keeps("old heads"):
        return frozenset()
    if not turn.keeps("listing order"):
        return frozenset(one for one in corpus.versions if one.time < corpus.put)
    return frozenset(one for one in corpus.versions if one.generation < errand.older)


def _old_parts(turn: Turn, corpus: Corpus) -> frozenset[str]:
    """What is left of deleted parts, behind delete markers."""
    return frozenset(id for id in corpus.hidden if id.startswith("part")) if turn.keeps("old parts") else frozenset()


@dataclass(frozen=True)
class Reach(Erase):
    """Erases in derived corpora what notes in the source's head say, without being asked for anybody."""

    def look(self, turn: Turn, errand: Errand | None = None) -> Iterator[World]:
        """Read the source's head: a hold on the person first, then a note, whose corpus is erased, or was just now."""
        errand = errand or Errand()
        notes = turn.head().pending
        if errand.at != SOURCE:
            yield from super().look(turn, errand)
        elif not notes:
            yield turn.done("nothing noted")
        elif self.person in turn.head().holds:
            yield turn.done("held")
        elif min(notes).corpus in errand.handled or not turn.keeps("noted until erased"):
            yield turn.go("clear", errand, min(notes))
        else:
            yield turn.go("look", errand._replace(at=min(notes).corpus))

    def clear(self, turn: Turn, errand: Errand, note: Pending) -> Iterator[World]:
        """Take the note out."""
        after = turn.head()._replace(pending=turn.head().pending - {note})
        corpora = {SOURCE: turn.corpus().committed(after, turn.time)}
        if note.corpus in errand.handled:
            yield turn.go("look", errand, corpora=corpora)
        else:
            yield turn.go("look", errand._replace(at=note.corpus), corpora=corpora)

    def _is_done(self, turn: Turn, head: Head, at: int) -> bool:
        if not turn.keeps("tombstone by tag") and not any(map(self.takes, head.rows())):
            return True
        return super()._is_done(turn, head, at)


@dataclass(frozen=True)
class HoldThenErase(Hold, Erase):
    """Holds a person, releases, and then does what was asked in between."""

    releases: bool = True
    first: ClassVar[str] = "hold"

    def end(self, turn: Turn) -> Iterator[World]:
        yield turn.go("look")
