"""Seal features and commit their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter

from securedata.corpus.objects.put import Put
from securedata.corpus.reader import Corpus
from securedata.corpus.writer import Writer
from securedata.lifecycle.deriving.storing import Storing
from securedata.lifecycle.features.computing import Computed
from securedata.lifecycle.features.recipe import Recipe
from securedata.lifecycle.features.report import RetainReport
from securedata.lifecycle.features.rows import row_of_features


class StoringFeatures(Storing):
    """Features that were sealed and are not committed yet."""

    def __init__(
        self,
        source: Writer,
        corpus: Corpus,
        target: Writer,
        recipe: Recipe,
        computed_with: int,
        replaced: set[str],
        report: RetainReport,
    ) -> None:
        super().__init__(source, corpus, target, replaced, report)
        self._recipe, self._computed_with, self._features = recipe, computed_with, report

    def take(self, made: Sequence[Computed]) -> None:
        """Seal and store features; commit if it is time."""
        # in the order of the source's rows, not in that in which objects landed
        for at, put in sorted(self._put(made), key=itemgetter(0)):
            row = row_of_features(self._corpus, made[at], put, self._recipe, self._computed_with)
            self.add([row], [made[at].row], put.size)
            self._features.feature_bytes += put.size
        self.commit_if_due()

    def _put(self, made: Sequence[Computed]) -> Iterator[tuple[int, Put]]:
        """The object of each, by its place; those that another process has put are there."""
        new = [at for at, one in enumerate(made) if one.put is None]
        for number, put in self._target.put_objects(made[at].npy for at in new):
            yield new[number], put
        yield from ((at, one.put) for at, one in enumerate(made) if one.put is not None)
