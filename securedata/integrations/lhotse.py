"""Sealed corpora in lhotse: `securedata.lhotse`. Import it only where `lhotse` is installed.

Importing it lets lhotse open securedata:// URLs in this process, wherever they come from. The cuts of `cuts` take that
along: who unpickles one, such as a spawned worker, imports this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
from lhotse import CutSet, MonoCut, MultiCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource
from lhotse.cut import MixedCut
from lhotse.cut.data import DataCut
from lhotse.serialization import CompositeIOBackend, IOBackend, get_current_io_backend, set_current_io_backend

from securedata.corpus.config import SCHEME, Reference
from securedata.corpus.objects.fetch import Piece
from securedata.corpus.reader import Corpus
from securedata.corpus.recordings.opened import with_corpus
from securedata.corpus.recordings.url import locate, url_of
from securedata.errors import InvalidArgument, SecuredataError
from securedata.foreign.describe import describe
from securedata.torch.base import Target
from securedata.torch.dataset import EncryptedAudioDataset

_COLUMNS = (
    *("path", "sample_rate", "channels", "frames", "start", "frames_in_segment"),
    *("transcript", "speaker", "utterance", "language", "split"),
)
_AT_ONCE = 1024  # rows that are Python objects at the same time


def cuts(target: Target | EncryptedAudioDataset, filter: pc.Expression | None = None) -> CutSet:
    """The recordings of a corpus as a lazy CutSet: one cut a row, with one supervision, in the manifest's order.

    A cut's recording is a `url` source: lhotse fetches and decrypts it when audio is loaded. The ids are logical paths;
    a segment of a longer recording is a cut of it. `custom` of the supervision has `utterance` and `split`.

    Args:
        target: a corpus as `EncryptedAudioDataset` takes it, or such a dataset, of whose rows cuts are made, under its
            filters and purpose; options such as `sample_rate` do not matter: use `cuts.resample`.
        filter: a pyarrow expression over the manifest's columns.

    Raises:
        as `EncryptedAudioDataset`
    """
    if filter is not None and not isinstance(filter, pc.Expression):
        raise InvalidArgument(f"filter= is a pyarrow expression, not {type(filter).__name__}")
    if not isinstance(target, EncryptedAudioDataset):
        target, filter = EncryptedAudioDataset(target, filter=filter), None
    register()
    found = SealedCuts(target, filter)
    len(found)  # a filter that cannot be applied is an error here
    return CutSet(found)


class SealedCuts:
    """What a lazy CutSet goes over. A pickle is one of the dataset: it holds references and no keys."""

    def __init__(self, rows: EncryptedAudioDataset, filter: pc.Expression | None = None) -> None:
        """`filter`: of the rows of the dataset, which has its own filters and purpose already."""
        self._rows, self._filter = rows, filter

    def __len__(self) -> int:
        return len(self._rows) if self._filter is None else sum(len(self._table(one)) for one in self._rows.corpora)

    def _table(self, corpus: Corpus) -> pa.Table:
        table = corpus.table
        if self._filter is not None:
            try:
                table = table.filter(self._filter)
            except (pa.ArrowException, KeyError) as error:
                raise InvalidArgument(f"filter= cannot be applied to the dataset's rows: {describe(error)}") from None
        return table.select(list(_COLUMNS))

    def __iter__(self) -> Iterator[Any]:
        for corpus in self._rows.corpora:
            table = self._table(corpus)
            for at in range(0, len(table), _AT_ONCE):
                for row in table.slice(at, _AT_ONCE).to_pylist():
                    yield _cut(row, corpus)


class SealedURL(str):
    """A URL whose unpickling lets lhotse open it."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return SealedURL, (str(self),)  # which imports this module


def _cut(row: dict[str, Any], corpus: Corpus) -> Any:
    path, rate, channels = row["path"], row["sample_rate"], list(range(row["channels"]))
    url = path.join(url_of(corpus.name, corpus.root))
    recording = Recording(
        id=path,
        sources=[AudioSource(type="url", channels=channels, source=SealedURL(url))],
        sampling_rate=rate,
        num_samples=row["frames"],
        duration=row["frames"] / rate,
    )
    segment = row["frames_in_segment"] is not None
    duration = (row["frames_in_segment"] if segment else row["frames"]) / rate
    mono = len(channels) == 1
    supervision = SupervisionSegment(
        id=path,
        recording_id=path,
        start=0.0,
        duration=duration,
        channel=channels[0] if mono else channels,
        text=row["transcript"],
        speaker=row["speaker"],
        language=row["language"] or None,
        custom={"utterance": row["utterance"], "split": row["split"]},
    )
    return (MonoCut if mono else MultiCut)(
        id=path,
        start=(row["start"] or 0) / rate if segment else 0.0,
        duration=duration,
        channel=supervision.channel,
        supervisions=[supervision],
        recording=recording,
    )


# ---------------------------------------------------------------- one URL at a time


class SecuredataIOBackend(IOBackend):  # lhotse finds it by its name
    """Opens securedata:// URLs by fsspec, for whatever lhotse reads: audio, features, manifests."""

    def open(self, identifier: Any, mode: str) -> Any:
        """A file that opens at its first use: lhotse hides what this call raises: it says to install smart_open."""
        return _Opening(str(identifier), mode)

    def handles_special_case(self, identifier: Any) -> bool:
        """Is it a URL of ours?"""
        return str(identifier).startswith(SCHEME)

    is_applicable = handles_special_case


class _Opening:
    def __init__(self, url: str, mode: str) -> None:
        self._url, self._mode = url, mode
        self._file: Any = None

    def _opened(self) -> Any:
        if self._file is None:
            self._file = fsspec.open(self._url, self._mode).open()
        return self._file

    def __enter__(self) -> Any:
        return self._opened()

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._opened())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._opened(), name)


def register() -> None:
    """Let lhotse open securedata:// URLs in this process; called when this module is imported."""
    current = get_current_io_backend()
    if not any(isinstance(one, SecuredataIOBackend) for one in getattr(current, "backends", [])):
        set_current_io_backend(CompositeIOBackend([SecuredataIOBackend(), current]))


# ---------------------------------------------------------------- a batch at once


class BatchLoader:
    """Fetches the recordings of a batch of cuts in parallel: as a transform of cuts, before they are collated.

    Example:
        K2SpeechRecognitionDataset(cut_transforms=[securedata.lhotse.BatchLoader()], input_strategy=AudioSamples())
    """

    def __call__(self, cuts: CutSet) -> CutSet:
        """The cuts with their recordings in memory; those given are left as they are. Other sources stay too.

        Raises:
            SecuredataError: of the first recording that cannot be read.
        """
        eager = list(cuts)
        urls = {
            source.source for cut in eager for one in _recordings(cut) for source in one.sources if _is_sealed(source)
        }
        data = _read(sorted(urls))
        return CutSet.from_cuts(_with_data(cut, data) for cut in eager)


def _is_sealed(source: Any) -> bool:
    return source.type == "url" and str(source.source).startswith(SCHEME)


def _recordings(cut: Any) -> Iterator[Any]:
    if isinstance(cut, MixedCut):
        for track in cut.tracks:
            yield from _recordings(track.cut)
    elif isinstance(cut, DataCut) and cut.has_recording:
        yield cut.recording


def _with_data(cut: Any, data: dict[str, bytes]) -> Any:
    if isinstance(cut, MixedCut):
        return replace(cut, tracks=[replace(track, cut=_with_data(track.cut, data)) for track in cut.tracks])
    if not any(_is_sealed(source) for one in _recordings(cut) for source in one.sources):
        return cut
    sources = [
        replace(source, type="memory", source=data[source.source]) if _is_sealed(source) else source
        for source in cut.recording.sources
    ]
    return replace(cut, recording=replace(cut.recording, sources=sources))


def _read(urls: list[str]) -> dict[str, bytes]:
    """The bytes of each, by one fetch for each corpus."""
    corpora: dict[Any, tuple[Reference, dict[str, str]]] = {}
    for url in urls:
        reference, path = locate(url)
        corpora.setdefault((reference.root, reference.kms, reference.pins), (reference, {}))[1][path] = url
    found: dict[str, bytes] = {}
    for reference, paths in corpora.values():
        pieces = with_corpus(reference, lambda corpus, paths=paths: _read_paths(corpus, list(paths)))  # type: ignore[misc]  # bound now
        found |= {paths[path]: data for path, data in pieces.items()}
    return found


def _read_paths(corpus: Corpus, paths: list[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for at, outcome in corpus.read_many([Piece(corpus.find(path)) for path in paths]):
        if isinstance(outcome, SecuredataError):
            raise outcome
        found[paths[at]] = bytes(outcome)
    return found


register()
