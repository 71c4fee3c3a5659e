"""How a dataset numbers its rows, and what it keeps about them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from torch import Tensor

from securedata.corpus.reader import Corpus
from securedata.corpus.snapshot import Snapshot
from securedata.errors import GenerationChanged


class Rows:
    """What follows from the open rows, shared by a dataset and its shallow copies.

    `copy.copy(ds)`, which people use to make a second dataset with another transform, keeps the corpora, so a `refresh`
    of one renumbers the rows of the other too.
    """

    def __init__(self) -> None:
        self.starts: Sequence[int] = (0,)
        self._kept: dict[object, Tensor] = {}

    def open(self, corpora: Sequence[Corpus]) -> None:
        """Count the rows that the corpora have now."""
        self.starts = list(accumulate((len(corpus) for corpus in corpora), initial=0))
        self._kept = {}

    def place(self, row: int) -> tuple[int, int]:
        """Which corpus a row belongs to, and its number there."""
        which = bisect_right(self.starts, row) - 1
        return which, row - self.starts[which]

    def once(self, what: object, compute: Callable[[], Tensor]) -> Tensor:
        """What `compute` returns about the open rows, called once for each `what` until others are open."""
        found = self._kept.get(what)
        if found is None:
            found = self._kept[what] = compute()
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return Rows, ()  # lengths, say, are megabytes for a million rows and, like all else here, follow from the index


def refuse_mixed(corpora: Sequence[Corpus], held: Sequence[Snapshot]) -> None:
    """Called after a read: the text comes from a row and the audio from an object, each looked up by number.

    Args:
        corpora: those that were read.
        held: their snapshots before the read.

    Raises:
        GenerationChanged: another thread called `refresh` meanwhile, which opened newer rows.
    """
    for corpus, before in zip(corpora, held, strict=True):
        if corpus.snapshot is not before and corpus.generation != before.generation:
            raise GenerationChanged(
                f"refresh() opened newer rows of {corpus.root} during another thread's read: call it between batches",
                root=corpus.root,
            )
