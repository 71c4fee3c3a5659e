"""`EncryptedAudioDataset`: sealed recordings by number."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex, cast

import pyarrow as pa
import pyarrow.compute as pc
from torch import Tensor

from securedata.corpus.config import Reference
from securedata.corpus.objects.fetch import Piece
from securedata.corpus.opening import open_corpus
from securedata.corpus.option_values import as_whole
from securedata.corpus.reader import Corpus
from securedata.corpus.schema import STORAGE_COLUMNS, TRAINING
from securedata.errors import InvalidArgument, SecuredataError
from securedata.torch.combine import Recordings, call, row_of
from securedata.torch.crop import Cut, cut_of, sample_of
from securedata.torch.decode import Row, decode_object, decode_piece, fetch_piece, open_object, piece_of, read_row
from securedata.torch.replace import Outcome, Replacing, Source
from securedata.torch.rows import Rows, refuse_mixed
from securedata.torch.sample import Metadata, Sample
from securedata.torch.select import Check, Duration, for_each, rows_where, several
from securedata.torch.stats import Stats, Tally
from securedata.torch.workers import refuse_later_epochs, refuse_refresh, workers

Target = str | os.PathLike[str] | Reference

_METADATA = ("path", "sample_rate", "transcript", "speaker", "utterance", "extra")
_SHOWN = tuple(name for name in TRAINING if name not in STORAGE_COLUMNS or name == "size")
_IN_FLIGHT = 256 * 1024 * 1024  # bytes under way in all workers of a job
_MAX_RATE = 768_000
_MAX_RATIO = 1_000  # beyond it soxr takes minutes, or forever, to make filters


class EncryptedAudioDataset(Recordings[Sample]):
    """Recordings of one sealed corpus or several, decrypted in memory as they are asked for.

    `ds[i]` is a `Sample`, or what `map` makes of it. A dataset never changes under its reader; `refresh` opens the
    current rows. DataLoader workers get it under fork, spawn and forkserver without another call to the KMS. Any other
    pickle carries references and no keys.
    """

    # set before a row is open: a traceback with local variables shows a dataset that could not open
    corpora: tuple[Corpus, ...] = ()
    _rows = Rows()

    def __init__(
        self,
        target: Target | Sequence[Target],
        *,
        kms: str | Sequence[str] | None = None,
        pin: str | Sequence[str] | None = None,
        role: str | None = None,
        filter: pc.Expression | None = None,
        speaker: str | Sequence[str] | None = None,
        split: str | Sequence[str] | None = None,
        duration: Duration | None = None,
        sample_rate: int | None = None,
        num_frames: int | None = None,
        crop: str = "random",
        transform: Callable[[Tensor], Tensor] | None = None,
        map: Callable[[Sample], Any] | None = None,
        on_error: str = "raise",
        on_erased: str = "replace",
        ttl: float = 3600.0,
        kms_wait: float = 600.0,
        refresh: bool = False,
        accept_generation: int | Sequence[int | None] | None = None,
    ) -> None:
        """Open one corpus or several, whose rows follow each other in the order given.

        Args:
            target: a name from the config, `securedata://NAME`, a path or a URL; or a list of these.
            kms: KMS URIs that are trusted to unwrap the corpus keys. None: from the config.
            pin: which corpora are meant, as `securedata info` prints them. None: from the config.
            role: ARN of a role to assume for reading, under a policy cut to the corpus. None: from the config.
            filter: a pyarrow expression over the manifest's columns. Rows that it leaves out cannot be decrypted. A
                pickle holds it unchanged, names of people included.
            speaker: only these speakers, each of whom must be in one of the corpora. Pickles never hold their names.
            split: only these splits, likewise.
            duration: (shortest, longest) in seconds, both included; None for no limit.
            sample_rate: resample to this rate in Hz, by soxr. None: each recording has its own.
            num_frames: cut longer recordings to this many frames, counted after resampling; shorter ones stay as
                they are. Only what the cut needs is fetched and decrypted, where the format allows it.
            crop: 'random', drawn from torch's generator, or 'start'.
            transform: called with the waveform, in the process that reads it.
            map: called last, with the Sample; its result replaces the Sample. As `ds.map(function)`.
            on_error: 'raise', or 'replace': in a loader's batches the next readable row replaces a sample that is not
                audio, whose object is missing, or whose row is gone. What fails authentication always raises.
            on_erased: the same for the recordings of people who were erased since the corpus was opened.
            ttl: seconds that the keys can be used before the KMS is asked again.
            kms_wait: seconds that a read then waits for a KMS that does not answer.
            refresh: an unpickled copy can open newer rows than this dataset was made from.
            accept_generation: read a head of this generation only, even if this machine has seen a newer one: the
                corpus is a copy or a backup. It holds for this dataset, its workers and its pickles. For several
                corpora a list, with None for those that are current.

        Raises:
            InvalidArgument: options that make no sense; a speaker or split that none of the corpora has.
            ConfigError, NotACorpus, PinMismatch, NoTrustedKey, KMSDenied, KMSUnreachable, FormatError, ...

        Example:
            ds = sd.EncryptedAudioDataset("voice-a", speaker="ann", sample_rate=8_000, num_frames=4_000)
            print(len(ds), ds[0].waveform.shape)  # float32 [channels, frames]
        """
        if crop not in ("random", "start"):
            raise InvalidArgument(f"crop= must be 'random' or 'start', not {crop!r}")
        self.sample_rate = _natural("sample_rate", sample_rate, _MAX_RATE)
        self.num_frames = _natural("num_frames", num_frames, 2**62)
        self.crop = crop
        self.transform = _function("transform", transform)
        self._map = _function("map", map)
        self._replacing = Replacing(on_error, on_erased)
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
                        filter=where,
                        speakers=check.speakers,
                        ttl=ttl,
                        kms_wait=kms_wait,
                        refresh=refresh,
                        accept_generation=accept,
                        look=None if where is None and check.speakers is None else check.look,
                    )
                )
            self.corpora = tuple(opened)
            self._tally = Tally()
            self._rows = Rows()
            self._count()
            check.judge(opened)
            self._publish()
        except BaseException:  # raised again: nobody else could close them
            for corpus in opened:
                corpus.close()
            raise

    def _count(self) -> None:
        """Count the rows that are open now, and check their rates."""
        self._tally.open_rows(corpus.generation for corpus in self.corpora)
        self._rows.open(self.corpora)
        if self.sample_rate is not None:
            for corpus in self.corpora:
                for rate in pc.unique(corpus.table.column("sample_rate")).to_pylist():
                    if rate * _MAX_RATIO < self.sample_rate or self.sample_rate * _MAX_RATIO < rate:
                        raise InvalidArgument(
                            f"{corpus.root} has recordings at {rate} Hz, which cannot become {self.sample_rate} Hz: "
                            "pass another sample_rate=, or leave them out with filter="
                        )

    def __repr__(self) -> str:
        roots = ", ".join(corpus.name or corpus.root for corpus in self.corpora)
        return f"<EncryptedAudioDataset of {roots}: {len(self)} recordings>"

    def __len__(self) -> int:
        return self._rows.starts[-1]

    def __getitem__(self, index: SupportsIndex) -> Sample:
        """Fetch, decrypt and decode one recording.

        Args:
            index: a Python, NumPy or torch integer; negative ones count from the end.

        Raises:
            IndexError
            UndecodableMedia: the object is authentic, but not audio.
            SubjectErased, RowReplaced, ObjectMissing, FormatError, KeysExpired, ...: as `Corpus.read`
            GenerationChanged: as `check_rows`, and if another thread calls `refresh` meanwhile
        """
        corpus, i = self._locate(index)
        opened = corpus.snapshot
        cut = self._cut(read_row(corpus, i))
        try:
            sample = self._read(corpus, i, cut)
            if corpus.snapshot is not opened:
                refuse_mixed([corpus], [opened])
            self._tally.samples += 1
        finally:
            self._publish()
        return self._transformed(sample)

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[Sample]:
        """A batch, in order: all objects are fetched in parallel, and decoded as they arrive.

        A DataLoader calls this by itself. Crops are drawn first and transforms run last, both in the batch's order,
        so seeds hold.

        Raises:
            as `ds[i]`, for the first of the batch that fails and is not replaced
            TooManyReplaced: more than 1 % of an epoch was replaced.
        """
        self.check_rows()
        rows = [self._row(index) for index in indices]
        source = Source(len(self), self._read_rows, self._people, self._count_replaced)
        try:
            samples = self._replacing.fill(rows, self._read_rows(rows), source)
            self._tally.samples += len(samples)
        finally:
            self._publish()
        # last and in order: a transform may draw from torch's generator, and objects arrive in any order
        return [self._transformed(sample) for sample in samples]

    def _read_rows(self, rows: Sequence[int]) -> list[Outcome]:
        held = [corpus.snapshot for corpus in self.corpora]
        places = [self._place(row) for row in rows]
        cuts = [self._cut(read_row(corpus, i)) for corpus, i in places]
        found: dict[int, Outcome] = {}
        for corpus in dict.fromkeys(corpus for corpus, _ in places):
            mine = [at for at, place in enumerate(places) if place[0] is corpus]
            self._read_batch(corpus, [(at, places[at][1], cuts[at]) for at in mine], found)
        refuse_mixed(self.corpora, held)
        return [found[at] for at in range(len(rows))]

    def _read_batch(self, corpus: Corpus, rows: list[tuple[int, int, Cut]], found: dict[int, Outcome]) -> None:
        pieces: list[Piece] = []
        owners: list[tuple[int, Cut]] = []
        for at, i, cut in rows:
            piece = piece_of(corpus, i, cut.row, cut.start, cut.frames)
            if piece is not None:
                pieces.append(piece)
                owners.append((at, cut))
                continue
            try:
                found[at] = self._read(corpus, i, cut)
            except SecuredataError as error:
                found[at] = error
        for position, data in corpus.read_many(pieces, _IN_FLIGHT // workers()):
            at, cut = owners[position]
            if isinstance(data, SecuredataError):
                found[at] = data
                continue
            try:
                found[at] = self._decode(corpus, pieces[position], memoryview(data), cut)
            except SecuredataError as error:
                found[at] = error

    def _read(self, corpus: Corpus, i: int, cut: Cut) -> Sample:
        """One recording by itself."""
        piece = piece_of(corpus, i, cut.row, cut.start, cut.frames)
        if piece is not None:
            return self._decode(corpus, piece, fetch_piece(corpus, cut.row, piece), cut)
        with open_object(corpus, i, cut.row) as file:
            begun = time.perf_counter()
            sample = sample_of(cut, decode_object(corpus, i, cut.row, file, cut.start, cut.frames))
            self._tally.seconds_decode += time.perf_counter() - begun - file.seconds
        return sample

    def _decode(self, corpus: Corpus, piece: Piece, data: memoryview, cut: Cut) -> Sample:
        begun = time.perf_counter()
        sample = sample_of(cut, decode_piece(corpus, cut.row, piece, data, cut.start, cut.frames))
        self._tally.seconds_decode += time.perf_counter() - begun
        return sample

    def _cut(self, row: Row) -> Cut:
        return cut_of(row, self.sample_rate, self.num_frames, self.crop)

    def _transformed(self, sample: Sample) -> Sample:
        if self.transform is not None:
            sample = sample._replace(waveform=call("transform", self.transform, sample.waveform))
        return sample if self._map is None else cast(Sample, call("map", self._map, sample))

    def get_metadata(self, index: SupportsIndex) -> Metadata:
        """What `ds[i]` holds besides the audio, the logical path first; nothing is fetched or decrypted.

        Raises:
            IndexError
        """
        corpus, i = self._locate(index)
        found = Metadata._make(corpus.index.values(_METADATA, i))
        return found if self.sample_rate is None else found._replace(sample_rate=self.sample_rate)

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
        return self._tally.total()

    def _publish(self) -> None:
        self._tally.publish([corpus.counters for corpus in self.corpora])

    def _count_replaced(self, many: int) -> int:
        return self._tally.replace(many, len(self))

    def _people(self, row: int) -> list[tuple[int, str]]:
        corpus, i = self._place(row)
        return [(self.corpora.index(corpus), name) for name in corpus.index.value("subjects", i)]

    # ------------------------------------------------------------ all rows at once

    @property
    def lengths(self) -> Tensor:
        """int64 [N]: the frames of each waveform, after resampling and cropping, before `transform`."""
        self.check_rows()
        return self._rows.lengths(self.corpora, self.sample_rate, self.num_frames)

    @property
    def speakers(self) -> list[str]:
        """Every speaker once, sorted; '' is among them if a recording has none."""
        return sorted({name for one in self.corpora for name in pc.unique(one.table.column("speaker")).to_pylist()})

    @property
    def metadata(self) -> pa.Table:
        """The manifest's columns, row i for `ds[i]`; without keys and object ids. No copy."""
        self.check_rows()
        return pa.concat_tables([corpus.table.select(_SHOWN) for corpus in self.corpora])

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

    def __enter__(self) -> EncryptedAudioDataset:
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._count()  # with refresh=True the rows might differ from those at pickling


def _function(name: str, value: Any) -> Any:
    if value is not None and not callable(value):
        raise InvalidArgument(f"{name}= must be a function, not {type(value).__name__}")
    return value


def _natural(name: str, value: int | None, most: int) -> int | None:
    return None if value is None else as_whole(name, value, 1, most)
