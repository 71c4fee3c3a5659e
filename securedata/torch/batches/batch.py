"""One batch of a dataset: what to read of its rows, the fetch that is on its way, and the samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import torch

from securedata.corpus.objects.fetch import Piece
from securedata.corpus.reader import Corpus
from securedata.corpus.snapshot import Fetch
from securedata.errors import SecuredataError
from securedata.torch.rows import refuse_mixed
from securedata.torch.workers import workers

if TYPE_CHECKING:
    from securedata.torch.base import EncryptedDataset

_IN_FLIGHT = 256 * 1024 * 1024  # bytes under way in all workers of a job

SampleT = TypeVar("SampleT")


class _Share(NamedTuple):
    """The rows of one corpus, each with its position in the batch and its plan.

    Attributes:
        pieces: what is fetched, of the rows in `owners`, in the same order.
        large: rows that are read by ranges once their turn comes.
    """

    corpus: Corpus
    pieces: list[Piece]
    owners: list[tuple[int, Any]]
    large: list[tuple[int, int, Any]]
    fetch: Fetch


class Batch(Generic[SampleT]):
    """Rows whose fetch is started at once, and whose samples are made when they are taken.

    Crops are drawn when rows are started, so that whatever draws later does not change them.
    """

    def __init__(
        self, dataset: EncryptedDataset[SampleT], draw: torch.Generator | None, meanwhile: Callable[[], object]
    ) -> None:
        """Read nothing yet.

        Args:
            draw: what crops are drawn from; None: torch's own generator.
            meanwhile: called after each decoding.
        """
        self._dataset, self._draw, self._meanwhile = dataset, draw, meanwhile
        self._rows: Sequence[int] = ()
        self._shares: list[_Share] = []
        self._held = [corpus.snapshot for corpus in dataset.corpora]

    def start(self, rows: Sequence[int]) -> None:
        """Plan what to read of the rows, in their order, and begin to fetch it.

        Raises:
            MalformedManifest, AccessDenied, StorageUnreachable, ...
        """
        dataset = self._dataset
        self._rows, self._shares = rows, []
        self._held = [corpus.snapshot for corpus in dataset.corpora]
        places = [dataset._place(row) for row in rows]
        plans = [dataset._plan(corpus, i, self._draw) for corpus, i in places]
        try:
            for corpus in dict.fromkeys(corpus for corpus, _ in places):
                pieces, owners, large = [], [], []
                for at, (its, i) in enumerate(places):
                    if its is not corpus:
                        continue
                    piece = dataset._piece(corpus, i, plans[at])
                    if piece is None:
                        large.append((at, i, plans[at]))
                    else:
                        pieces.append(piece)
                        owners.append((at, plans[at]))
                self._shares.append(
                    _Share(corpus, pieces, owners, large, corpus.start(pieces, _IN_FLIGHT // workers()))
                )
        except BaseException:  # raised again: nobody else could cancel them
            self.cancel()
            raise

    def fetches(self) -> Iterator[Fetch]:
        """What is on its way."""
        for share in self._shares:
            if share.pieces:
                yield share.fetch

    def cancel(self) -> None:
        """Abandon what has not been taken."""
        for share in self._shares:
            share.fetch.cancel()

    def others(self, rows: Sequence[int]) -> list[SampleT | SecuredataError]:
        """The samples of rows that take the place of some. Raises as `start` and `samples`."""
        self.start(rows)
        return self.samples()

    def samples(self) -> list[SampleT | SecuredataError]:
        """The samples of the rows that were started, in their order, or the error of each that cannot be read.

        Raises:
            KeysExpired, KMSDenied, ...: nothing more can be read.
            GenerationChanged: another thread called `refresh` meanwhile.
        """
        found: dict[int, SampleT | SecuredataError] = {}
        try:
            for share in self._shares:
                self._take(share, found)
        finally:
            self.cancel()
        refuse_mixed(self._dataset.corpora, self._held)
        return [found[at] for at in range(len(self._rows))]

    def _take(self, share: _Share, found: dict[int, SampleT | SecuredataError]) -> None:
        dataset, corpus = self._dataset, share.corpus
        for at, i, plan in share.large:
            try:
                found[at] = dataset._read_large(corpus, i, plan)
            except SecuredataError as error:
                found[at] = error
            self._meanwhile()
        for position, data in share.fetch.outcomes():
            at, plan = share.owners[position]
            if isinstance(data, SecuredataError):
                found[at] = data
                continue
            try:
                found[at] = dataset._decode(corpus, share.pieces[position], memoryview(data), plan)
            except SecuredataError as error:
                found[at] = error
            self._meanwhile()
