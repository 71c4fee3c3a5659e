"""What every dataset of sealed rows shares: rows by number, batches, errors and statistics. It knows no audio."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self, SupportsIndex, TypeVar, cast

import pyarrow as pa
import pyarrow.compute as pc
import torch

from securedata.corpus.config import Reference
from securedata.corpus.objects.fetch import Piece
from securedata.corpus.opening import open_corpus
from securedata.corpus.reader import Corpus
from securedata.corpus.schema import STORAGE_COLUMNS, TRAINING
from securedata.corpus.state.consent import LeftOut
from securedata.errors import InvalidArgument, SecuredataError
from securedata.lineage.record import Entry
from securedata.torch.batches.ahead import begin, meanwhile
from securedata.torch.combine import Recordings, call, row_of, without_skipped
from securedata.torch.opened import OpenedRows
from securedata.torch.replace import SKIPPED, Replacing, Skipped, Source
from securedata.torch.rows import Rows, refuse_mixed
from securedata.torch.select import Check, Duration, for_each, rows_where, several
from securedata.torch.stats import Stats, Tally
from securedata.torch.workers import refuse_later_epochs, refuse_lineage, refuse_refresh

Target = str | os.PathLike[str] | Reference

_SHOWN = tuple(name for name in TRAINING if name not in STORAGE_COLUMNS or name == "size")

SampleT = TypeVar("SampleT")


class EncryptedDataset(Recordings[SampleT]):
    """Rows of one sealed corpus or several, decrypted in memory as they are asked for.

    A subclass says what a row becomes: `_plan` says what to read of it, `_piece` which bytes of its object
    that needs, and `_decode` makes the sample. `_read_large` serves rows whose decoder asks for bytes by itself.
    """

    _content: ClassVar[str]
    """The field of a sample that `transform` is applied to."""
    _metadata: ClassVar[Any]
    """The named tuple that `get_metadata` returns; its fields are columns of the manifest, the path first."""
    _columns: ClassVar[tuple[str, ...] | None] = None
    """The manifest's columns that rows need; None: those of training."""

    # set before a row is open: a traceback with local variables shows a dataset that could not open
    corpora: tuple[Corpus, ...] = ()
    _rows = Rows()

    def __init__(
        self,
        target: Target | Sequence[Target],
        *,
        kms: str | Sequence[str] | None,
        pin: str | Sequence[str] | None,
        role: str | None,
        filter: pc.Expression | None,
        speaker: str | Sequence[str] | None,
        split: str | Sequence[str] | None,
        duration: Duration | None,
        transform: Callable[[Any], Any] | None,
        map: Callable[[SampleT], Any] | None,
        on_error: str,
        on_erased: str,
        on_gone: str | None,
        purpose: str | None,
        ttl: float,
        kms_wait: float,
        refresh: bool,
        accept_generation: int | Sequence[int | None] | None,
        cache: str | os.PathLike[str] | None,
        cache_size: int | str | None,
    ) -> None:
        """Open the corpora. The options are those of the subclasses, which describe them."""
        self.transform = function_or_none("transform", transform)
        self._map = function_or_none("map", map)
        self._replacing = Replacing(on_error, on_erased, on_gone)
        targets = several(target)
        if not targets:
            raise InvalidArgument("a dataset needs at least one corpus")
        accepted = for_each(len(targets), accept_generation)
        where = rows_where(filter, split, duration)
        check = Check(speaker, split)
        opened: list[Corpus] = []
        try:
            for one, accept in zip(targets, accepted, strict=True):
                opened.append(
                    open_corpus(
                        one,
                        kms=kms,
                        pin=pin,
                        role=role,
                        purpose=purpose,
                        columns=self._columns,
                        filter=where,
                        speakers=check.speakers,
                        ttl=ttl,
                        kms_wait=kms_wait,
                        refresh=refresh,
                        accept_generation=accept,
                        cache=cache,
                        cache_size=cache_size,
                        others=False,
                        look=None if where is None and check.speakers is None else check.look,
                    )
                )
            self.corpora = tuple(opened)
            self._tally = Tally()
            self._rows = Rows()
            self._opened = OpenedRows()
            self._count()
            check.judge(opened)
            self._publish()
        except BaseException:  # raised again: nobody else could close them
            for corpus in opened:
                corpus.close()
            raise

    def _count(self) -> None:
        """Count the rows that are open now, and check that this dataset can read them."""
        self._tally.open_rows(corpus.generation for corpus in self.corpora)
        self._rows.open(self.corpora)
        self._opened.note(self.corpora)
        for corpus in self.corpora:
            self._check_corpus(corpus)

    # ------------------------------------------------------------ what a subclass says

    @abstractmethod
    def _check_corpus(self, corpus: Corpus) -> None:
        """Raise InvalidArgument if this dataset cannot read rows of the corpus."""

    @abstractmethod
    def _plan(self, corpus: Corpus, i: int, draw: torch.Generator | None) -> Any:
        """What to read of a row; called once for each sample, in the batch's order, so it can draw: from `draw`, or
        from torch's generator if that is None.

        Raises:
            MalformedManifest
        """

    @abstractmethod
    def _piece(self, corpus: Corpus, i: int, plan: Any) -> Piece | None:
        """The bytes of the object that the plan needs; None if `_read_large` must read them.

        Raises:
            MalformedManifest
        """

    @abstractmethod
    def _fetch(self, corpus: Corpus, plan: Any, piece: Piece) -> memoryview:
        """The plaintext of one piece by itself. Raises as `Corpus.read`."""

    @abstractmethod
    def _decode(self, corpus: Corpus, piece: Piece, data: memoryview, plan: Any) -> SampleT:
        """The sample from its piece. Raises UndecodableMedia"""

    def _read_large(self, corpus: Corpus, i: int, plan: Any) -> SampleT:
        """The sample of a row without a piece. Raises UndecodableMedia, and as `Corpus.read`."""
        raise NotImplementedError(f"{type(self).__name__} reads whole objects only")

    # ------------------------------------------------------------ samples

    def __repr__(self) -> str:
        roots = ", ".join(corpus.name or corpus.root for corpus in self.corpora)
        others = f", {self._others()} other files left out" if self._others() else ""
        return f"<{type(self).__name__} of {roots}: {len(self)} recordings{others}>"

    def _others(self) -> int:
        return sum(corpus.others for corpus in self.corpora)

    def __len__(self) -> int:
        return self._rows.starts[-1]

    def __getitem__(self, index: SupportsIndex) -> SampleT:
        """Fetch, decrypt and decode one recording.

        Args:
            index: a Python, NumPy or torch integer; negative ones count from the end.

        Raises:
            IndexError
            UndecodableMedia: the object is authentic, but not what the dataset reads.
            ConsentExpired, SubjectErased, RowReplaced, ObjectMissing, FormatError, ...: as `Corpus.read`
            GenerationChanged: as `check_rows`, and if another thread calls `refresh` meanwhile
        """
        corpus, i = self._locate(index)
        opened = corpus.snapshot
        plan = self._plan(corpus, i, None)
        try:
            sample = self._read(corpus, i, plan)
            if corpus.snapshot is not opened:
                refuse_mixed([corpus], [opened])
            self._tally.samples += 1
        finally:
            self._publish()
        return self._transformed(sample)

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[SampleT]:
        """A batch, in order: all objects are fetched in parallel, and decoded as they arrive.

        A DataLoader calls this by itself, and its workers fetch the batches ahead that are queued for them. Crops are
        drawn first and transforms run last, both in the batch's order, so seeds hold. With `on_gone="skip"` a batch is
        shorter if rows are gone, but has at least one sample.

        Raises:
            as `ds[i]`, for the first of the batch that fails and is not replaced
            TooManyReplaced: more than 1 % of an epoch was replaced.
        """
        return without_skipped(self._batch(indices))

    def _batch(self, indices: Sequence[SupportsIndex], keep: bool = True) -> list[Any]:
        self.check_rows()
        rows = [self._row(index) for index in indices]
        try:
            batch = begin(self, rows)
            source = Source(len(self), batch.others, self._people, self._count_replaced, self._tally.skip)
            samples = self._replacing.fill(rows, batch.samples(), source, keep)
            self._tally.samples += sum(sample is not SKIPPED for sample in samples)
        finally:
            self._publish()
        # last and in order: a transform may draw from torch's generator, and objects arrive in any order
        for at, sample in enumerate(samples):
            if not isinstance(sample, Skipped):
                samples[at] = self._transformed(sample)
                meanwhile()
        return samples

    def outcomes(self, indices: Sequence[SupportsIndex]) -> list[SampleT | SecuredataError]:
        """Like `__getitems__`, with the error of each row that cannot be read in its place; nothing is replaced, and
        neither `transform` nor `map` is called."""
        self.check_rows()
        rows = [self._row(index) for index in indices]
        try:
            found: list[SampleT | SecuredataError] = begin(self, rows).samples()
            self._tally.samples += sum(not isinstance(one, SecuredataError) for one in found)
        finally:
            self._publish()
        return found

    def _shares(self, indices: Sequence[SupportsIndex]) -> list[tuple[EncryptedDataset[Any], list[int]]] | None:
        """What a batch reads of which dataset, for look-ahead; None if a subclass reads it in its own way."""
        mine, base = type(self), EncryptedDataset
        if mine.__getitems__ is not base.__getitems__ or mine._batch is not base._batch:
            return None
        self.check_rows()
        return [(self, [self._row(index) for index in indices])]

    def _read(self, corpus: Corpus, i: int, plan: Any) -> SampleT:
        """One row by itself."""
        piece = self._piece(corpus, i, plan)
        if piece is None:
            return self._read_large(corpus, i, plan)
        return self._decode(corpus, piece, self._fetch(corpus, plan, piece), plan)

    def _transformed(self, sample: SampleT) -> SampleT:
        made: Any = sample
        if self.transform is not None:
            made = made._replace(**{self._content: call("transform", self.transform, getattr(made, self._content))})
        return cast(SampleT, made if self._map is None else call("map", self._map, made))

    def get_metadata(self, index: SupportsIndex) -> Any:
        """What `ds[i]` holds besides its array, the logical path first; nothing is fetched or decrypted.

        Raises:
            IndexError
        """
        corpus, i = self._locate(index)
        return self._metadata._make(corpus.index.values(self._metadata._fields, i))

    def _row(self, index: SupportsIndex) -> int:
        return row_of(index, len(self))

    def _place(self, row: int) -> tuple[Corpus, int]:
        which, i = self._rows.place(row)
        return self.corpora[which], i

    def _locate(self, index: SupportsIndex) -> tuple[Corpus, int]:
        self.check_rows()
        return self._place(self._row(index))

    def check_rows(self) -> None:
        """Every access by number calls this: in a worker with `persistent_workers=True` it raises once the loader's
        process has refreshed, because later numbers might mean rows that this worker does not have.

        Raises:
            GenerationChanged
        """
        if self._tally.is_behind():
            refuse_later_epochs(self.corpora)

    # ------------------------------------------------------------ statistics

    def stats(self) -> Stats:
        """What this process and the workers of its loaders have done so far; a worker reports after each batch."""
        self._publish()
        left_out = map(sum, zip(*(corpus.left_out for corpus in self.corpora), strict=True))
        return self._tally.total()._replace(**LeftOut._make(left_out)._asdict(), other_files=self._others())

    def _publish(self) -> None:
        self._tally.publish([corpus.counters for corpus in self.corpora])

    def _count_replaced(self, many: int) -> int:
        return self._tally.replace(many, len(self))

    def _people(self, row: int) -> list[tuple[int, str]]:
        corpus, i = self._place(row)
        return [(self.corpora.index(corpus), name) for name in corpus.index.value("subjects", i)]

    # ------------------------------------------------------------ all rows at once

    @property
    def speakers(self) -> list[str]:
        """Every speaker once, sorted; '' is among them if a recording has none."""
        return sorted({name for one in self.corpora for name in pc.unique(one.table.column("speaker")).to_pylist()})

    @property
    def metadata(self) -> pa.Table:
        """The manifest's columns, row i for `ds[i]`; without keys and object ids. No copy."""
        self.check_rows()
        return pa.concat_tables([corpus.table.select(_SHOWN) for corpus in self.corpora])

    def lineage_entries(self, record: str) -> list[Entry]:
        """What a lineage record with this id says of this dataset. Raises InvalidArgument in a worker of a loader."""
        refuse_lineage()
        return self._opened.entries(self.corpora, record)

    # ------------------------------------------------------------ keep

    def refresh(self) -> bool:
        """Open the current rows; returns whether there were newer ones. Do not call it while other threads read.

        Workers of a DataLoader keep the rows that they were started with. They finish their epoch, whose numbers were
        drawn for these rows; persistent ones raise `GenerationChanged`, so make a new DataLoader.

        Raises:
            as the constructor; InvalidArgument in a worker, whose numbers are drawn for the loader's rows.
        """
        if self._tally.inherited:
            refuse_refresh()
        try:
            return any([corpus.refresh() for corpus in self.corpora])  # noqa: C419 - all of them, not up to the first
        finally:
            self._count()
            self._replacing.forget()

    def close(self) -> None:
        """Release the shared memory. Workers that were started before continue."""
        for corpus in self.corpora:
            corpus.close()

    def __enter__(self) -> Self:
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._count()  # with refresh=True the rows might differ from those at pickling


def function_or_none(name: str, value: Any) -> Any:
    """An option that is a function. Raises InvalidArgument"""
    if value is not None and not callable(value):
        raise InvalidArgument(f"{name}= must be a function, not {type(value).__name__}")
    return value
