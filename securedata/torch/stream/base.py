"""What every stream of sealed rows shares: the plan, reading ahead, states. It knows no audio."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, ClassVar, Self, TypeVar, cast

import pyarrow.compute as pc
from torch.utils.data import IterableDataset, get_worker_info

from securedata.corpus.objects.fetch import Piece
from securedata.corpus.option_values import as_whole
from securedata.corpus.parts.counting import Counts
from securedata.corpus.parts.reader import PartwiseCorpus, open_parts
from securedata.corpus.reader import Corpus
from securedata.corpus.state.consent import LeftOut
from securedata.errors import InvalidArgument, SecuredataError, StorageUnreachable
from securedata.lineage.record import Entry, Lineage
from securedata.torch.base import Target, function_or_none
from securedata.torch.combine import call
from securedata.torch.lineage import Base, lineage_of
from securedata.torch.replace import Replacing, limit
from securedata.torch.select import Check, Duration, for_each, rows_where, several
from securedata.torch.stats import Stats, Tally
from securedata.torch.stream.epoch import Epoch
from securedata.torch.stream.moving import Movable
from securedata.torch.stream.opened import entry_of
from securedata.torch.stream.place import rank_in_group, ranks_given, worker_and_workers
from securedata.torch.stream.reading import BLOCK_BYTES, Item, LaneReader, Media
from securedata.torch.stream.resuming import Iteration, Named
from securedata.torch.stream.shares import as_weights, shares
from securedata.torch.stream.spares import Spares
from securedata.torch.stream.state import At, Origin, State, corpus_mark, digest_of
from securedata.torch.workers import refuse_lineage, workers

_IN_FLIGHT = 256 * 1024 * 1024  # bytes under way in all workers of a job

SHUFFLE = 64 * 1024 * 1024

SampleT = TypeVar("SampleT")


class SealedStream(Movable, IterableDataset[SampleT]):
    """Rows of one sealed corpus or several in a shuffled order, decrypted in memory as they come.

    A subclass says what a row becomes, by the methods that it would give an `EncryptedDataset`.
    """

    _content: ClassVar[str]
    """The field of a sample that `transform` is applied to."""
    _columns: ClassVar[tuple[str, ...] | None] = None
    """The manifest's columns that rows need; None: those of training."""
    _any_file: ClassVar[bool] = True
    """Whether it takes files that are neither recordings nor features."""

    corpora: tuple[PartwiseCorpus, ...] = ()

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
        weights: Sequence[float] | None,
        seed: int,
        shuffle: int,
        uneven: str | None,
        rank: int | None,
        world: int | None,
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
        """Open the heads of the corpora, and count their rows. The options are those of the subclasses."""
        self.transform = function_or_none("transform", transform)
        self._map = function_or_none("map", map)
        self._replacing = Replacing(on_error, on_erased, on_gone)
        self._shuffle = as_whole("shuffle", shuffle, 0, 2**40)
        if uneven not in (None, "pad", "drop"):
            raise InvalidArgument(f"uneven= is 'pad', 'drop' or None, not {uneven!r}")
        self._ranks = ranks_given(rank, world)
        targets = several(target)
        if not targets:
            raise InvalidArgument("a stream needs at least one corpus")
        self._weights = as_weights(weights, len(targets))
        accepted = for_each(len(targets), accept_generation)
        where = rows_where(filter, split, duration)
        check = Check(speaker, split)
        self._refresh = refresh
        self._seen_of = (b"", {})
        opened: list[PartwiseCorpus] = []
        try:
            for one, accept in zip(targets, accepted, strict=True):
                opened.append(
                    open_parts(
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
                        others=self._any_file,
                    )
                )
            self.corpora = tuple(opened)
            self._tally = Tally()
            self._epoch = Epoch()
            self._counts: list[Counts] = []
            self._count(check)
            if where is not None or check.speakers is not None:
                check.judge(opened, [int(one.rows.sum()) for one in self._counts])
            self._state = State(as_whole("seed", seed, 0, 2**64 - 1), 0, uneven, self._origins())
            self._publish()
        except BaseException:  # raised again: nobody else could close them
            for corpus in opened:
                corpus.close()
            raise

    def _count(self, check: Check | None = None) -> None:
        """Count the rows of the heads that are open now, and check that this stream can read them."""
        look = None if check is None else check.look
        self._counts = [corpus.count(look) for corpus in self.corpora]
        for corpus, counts in zip(self.corpora, self._counts, strict=True):
            self._check_formats(counts.formats, corpus.root)
        self._rows = shares([int(one.rows.sum()) for one in self._counts], self._weights)
        self._tally.open_rows(corpus.generation for corpus in self.corpora)

    def _origins(self) -> tuple[Origin, ...]:
        """What a new plan is made from."""
        size = sum(rows * one.mean for rows, one in zip(self._rows, self._counts, strict=True))
        found = []
        for corpus, counts, rows in zip(self.corpora, self._counts, self._rows, strict=True):
            block = max(1, round(BLOCK_BYTES / counts.mean)) if counts.packed else 1
            # Rows leave the window one by one, so half of it is in memory: `shuffle` bytes in all, of each corpus its
            # share. Single objects are fetched one by one, in any order, so they need none.
            window = round(2 * self._shuffle * rows / size) if counts.packed and size else 0
            digest = digest_of(counts.rows, rows, counts.chosen)
            found.append(Origin(corpus_mark(corpus.corpus_id), corpus.generation, block, window, digest))
        return tuple(found)

    def _named(self) -> list[Named]:
        return [
            Named(corpus.name or corpus.root, corpus.corpus_id, corpus.generation, counts.rows, rows, counts.chosen)
            for corpus, counts, rows in zip(self.corpora, self._counts, self._rows, strict=True)
        ]

    def _read_ahead(self) -> bool:
        return self._epoch.taken

    def _settle(self) -> None:
        if self._epoch.settle():
            self._iteration, self._strayed = None, False

    def _begun(self, loader: Any) -> bool:
        return self._epoch.taken if loader.num_workers else super()._begun(loader)

    def _begin(self, state: State, at: At, ahead: bool = False) -> Iteration:
        iteration = super()._begin(state, at, ahead)
        self._epoch.begin(state.epoch)
        return iteration

    def _restart(self, loaded: bool) -> None:
        super()._restart(loaded)
        if get_worker_info() is None:
            self._epoch.restart(loaded)

    @property
    def _epoch_now(self) -> int:
        return self._epoch.number

    @_epoch_now.setter
    def _epoch_now(self, epoch: int) -> None:
        self._epoch.number = epoch

    # ------------------------------------------------------------ what a subclass says

    @abstractmethod
    def _check_formats(self, formats: Collection[str], root: str) -> None:
        """Raise InvalidArgument if this stream cannot read one of the formats."""

    @abstractmethod
    def _check_corpus(self, corpus: Corpus) -> None:
        """The same for the rows of one manifest part."""

    @abstractmethod
    def _plan(self, corpus: Corpus, i: int) -> Any:
        """As `EncryptedDataset._plan`."""

    @abstractmethod
    def _piece(self, corpus: Corpus, i: int, plan: Any) -> Piece | None:
        """As `EncryptedDataset._piece`."""

    @abstractmethod
    def _decode(self, corpus: Corpus, piece: Piece, data: memoryview, plan: Any) -> SampleT:
        """As `EncryptedDataset._decode`."""

    def _read_large(self, corpus: Corpus, i: int, plan: Any) -> SampleT:
        """As `EncryptedDataset._read_large`."""
        raise NotImplementedError(f"{type(self).__name__} reads whole objects only")

    # ------------------------------------------------------------ samples

    def __repr__(self) -> str:
        roots = ", ".join(corpus.name or corpus.root for corpus in self.corpora)
        if not hasattr(self, "_rows"):  # it could not be opened
            return f"<{type(self).__name__}>"
        others = f", {self._others()} other files left out" if self._others() else ""
        return f"<{type(self).__name__} of {roots}: {sum(self._rows)} recordings{others}, epoch {self.epoch}>"

    def _others(self) -> int:
        return sum(one.others for one in self._counts)

    def __len__(self) -> int:
        """How many samples this rank's loader delivers: in an epoch, or in what a loaded state left of it."""
        rank, world = self._rank_and_world()
        return self._planned().share(world, rank)

    def __iter__(self) -> Iterator[SampleT]:
        """This worker's share of what is left of the epoch.

        Raises:
            GenerationChanged: a manifest part is gone, since the corpus has changed.
            UndecodableMedia, ConsentExpired, SubjectErased, ObjectMissing, FormatError, ...: as `Corpus.read`
            TooManyReplaced: more than 1 % of an epoch was replaced.
            InvalidArgument: the loaded state is that of another worker; or it was loaded after this one was started.
        """
        self._settle()
        rank, world = self._rank_and_world()
        worker, many = worker_and_workers()
        state = self._current()  # once: another process can set the epoch meanwhile
        lane = self._planned(state).lane(world, many, rank, worker)
        begun = 0
        if state.at is not None:
            if state.at[:4] != (world, many, rank, worker):
                raise InvalidArgument(
                    f"the state is of worker {state.at.worker} of {state.at.workers} on rank {state.at.rank} of "
                    f"{state.at.ranks}, this is {worker} of {many} on rank {rank} of {world}: load "
                    "securedata.merge_state(...) of all workers instead"
                )
            begun = state.at.delivered
        iteration = self._begin(state, At(world, many, rank, worker, begun))
        media = Media(self._check_corpus, self._plan, self._piece)
        exact = [one.exact for one in self._counts]
        return self._deliver(LaneReader(self.corpora, exact, lane, begun, media, _IN_FLIGHT // workers()), iteration)

    def _deliver(self, reader: LaneReader, iteration: Iteration) -> Iterator[SampleT]:
        spares, owed = Spares(), 0
        failure: SecuredataError | None = None
        equal = iteration.state.uneven is not None and iteration.at.ranks > 1
        try:
            if self._epoch.behind:  # told by the first sample: torch's workers end without a word if `iter` raises
                raise InvalidArgument(
                    "load_state_dict() was called after this worker was started, which began from another state: make "
                    "a new DataLoader after load_state_dict()"
                )
            for item in reader:
                sample: SampleT | None = None
                if item.i >= 0 and not item.corpus.ended_before(item.i):
                    try:
                        sample = self._sample(item)
                    except SecuredataError as error:
                        self._replace(item, error)
                        skipped = self._replacing.skips(error)
                        failure = failure if skipped else error
                    else:
                        spares.keep(item)
                else:  # the plan numbers it, so another takes its place where ranks must have equally many
                    skipped = not equal
                self._advance(iteration)
                if sample is None:
                    if skipped:
                        continue
                    if (spare := spares.take()) is None:
                        owed += 1
                        continue
                    sample = self._sample(spare)
                yield self._finished(sample)
                for _ in range(owed):  # in the place of rows before the first readable one, or after the last spare
                    yield self._finished(self._sample(item))
                owed = 0
            if owed and failure is not None:
                raise failure
        finally:
            reader.close()
            self._publish()

    def _sample(self, item: Item) -> SampleT:
        # it can have waited in the window since it was opened: its person might be erased, or the consent over
        refused = item.error or item.corpus.refusal(item.i)
        if refused is not None:
            raise refused
        if item.piece is None:
            return self._read_large(item.corpus, item.i, item.plan)
        assert item.data is not None
        return self._decode(item.corpus, item.piece, memoryview(item.data), item.plan)

    def _finished(self, sample: SampleT) -> SampleT:
        self._tally.samples += 1
        self._publish()
        made: Any = sample
        if self.transform is not None:
            made = made._replace(**{self._content: call("transform", self.transform, getattr(made, self._content))})
        return cast(SampleT, made if self._map is None else call("map", self._map, made))

    def _replace(self, item: Item, error: SecuredataError) -> None:
        """Raise the error, or count that its row is skipped or replaced."""
        if not self._replacing.allows(error):
            raise error
        before, self._failed = getattr(self, "_failed", None), error
        if isinstance(error, StorageUnreachable) and isinstance(before, StorageUnreachable):
            raise error  # two rows in succession: the cause is storage, not one object
        if self._replacing.skips(error):
            self._tally.skip(1)
            self._replacing.warn_once("a sample was skipped: its row is gone", error)
            return
        self._replacing.warn_once("a sample was replaced by another of the stream", error)
        rows = sum(self._rows)
        limit(self._tally.replace(1, rows), rows, error)

    # ------------------------------------------------------------ statistics

    def stats(self) -> Stats:
        """What this process and the workers of its loaders have done so far."""
        self._publish()
        left_out = map(sum, zip(*(one.left_out for one in self._counts), strict=True))
        return self._tally.total()._replace(**LeftOut._make(left_out)._asdict(), other_files=self._others())

    def _publish(self) -> None:
        self._tally.publish([corpus.counters for corpus in self.corpora])

    # ------------------------------------------------------------ keep

    def lineage_entries(self, record: str) -> list[Entry]:
        """What a lineage record with this id says of this stream; reads all manifest parts.

        Raises:
            InvalidArgument: in a worker of a loader.
            GenerationChanged: a manifest part is gone, since a corpus has changed.
        """
        refuse_lineage()
        return [entry_of(corpus, record) for corpus in self.corpora]

    def lineage(self, base: Base | Sequence[Base] | None = None) -> Lineage:
        """What a model that is trained with this stream was trained with, as `EncryptedAudioDataset.lineage`: every row
        that the filters leave, delivered or not."""
        return lineage_of([self], base)

    def close(self) -> None:
        """Release the shared memory. Workers that were started before continue."""
        for corpus in self.corpora:
            corpus.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        # a spawned worker cannot ask torch.distributed; whoever is no rank itself must not say which rank others are
        return {**self.__dict__, "_ranks": self._ranks or rank_in_group(), "_iteration": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if any(
            one.generation != origin.generation for one, origin in zip(self.corpora, self._state.origins, strict=True)
        ):
            begun = self._current()
            self._takes_newer(begun, self._named())  # or raises: what was delivered is known by the older rows only
            self._seen_of = (b"", {})
            self._count()
            self._state = self._moved(begun)
