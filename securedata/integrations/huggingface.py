"""Sealed recordings as datasets of Hugging Face. `datasets` is imported when `to_hf` is called."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.config import Reference
from securedata.corpus.option_values import as_flag, as_texts
from securedata.corpus.reader import Corpus
from securedata.corpus.recordings.url import url_of
from securedata.errors import InvalidArgument, NoSuchPath, SecuredataError
from securedata.torch.dataset import EncryptedAudioDataset
from securedata.torch.sample import Sample

AUDIO, LENGTH = "audio", "length"
COLUMNS = ("transcript", "speaker", "utterance", "split", "language")
_SHARDS = 128  # a power of two, so that ranks and workers divide it
_TOGETHER = 32  # rows that a stream reads at once


def to_hf(
    target: str | os.PathLike[str] | Reference | EncryptedAudioDataset,
    columns: str | Sequence[str] | None = None,
    sampling_rate: int | None = None,
    streaming: bool = False,
    allow_plaintext_export: bool = False,
) -> Any:
    """A corpus as a `datasets.Dataset`, or, with `streaming`, as a `datasets.IterableDataset`.

    Each example has `audio`, as Hugging Face decodes it: a dictionary with `array` (float32 [frames], or
    [channels, frames] if there are several), `sampling_rate` in Hz and `path`, which is a securedata:// URL. It has
    `length` (frames of that array, for `group_by_length`) and columns of the manifest. These are in memory; audio is
    fetched and decrypted when examples are read, that of a batch at once. Nothing is written to a disk: see
    docs/plaintext.md, which says what `datasets` can be made to write.

    Args:
        target: a corpus as `EncryptedAudioDataset` takes it, or such a dataset, whose filters, purpose and rate are
            then those of the result. Its `transform` and `map` are not called, and rows that cannot be read raise.
        columns: columns of the manifest, as `EncryptedAudioDataset.metadata` has them. None: transcript, speaker,
            utterance, split, language.
        sampling_rate: resample to this rate in Hz. None: each recording has its own.
        streaming: examples in the manifest's order, without random access; up to 128 shards, for workers, ranks and
            `shuffle`.
        allow_plaintext_export: let it write itself. Without this `save_to_disk`, `to_parquet`, `push_to_hub`,
            `map(cache_file_name=...)` and the like raise `PlaintextRefused`, also of what `map` or `select` return.

    Raises:
        ImportError: `datasets` is not installed, or is a version that combines datasets in an unknown way.
        InvalidArgument: no such column; another rate than the dataset's.
        ConfigError, KMSDenied, ...: as `EncryptedAudioDataset`
    """
    import datasets

    export = as_flag("allow_plaintext_export", allow_plaintext_export)
    source = Recordings(_opened(target, sampling_rate), COLUMNS if columns is None else as_texts("columns", columns))
    made: Any
    if as_flag("streaming", streaming):
        made = datasets.IterableDataset.from_generator(
            _examples, gen_kwargs={"source": source, "spans": _spans(len(source.rows))}
        )
    else:
        table = datasets.table.InMemoryTable(source.table(0, len(source.rows)))
        made = datasets.Dataset(table, fingerprint=source.fingerprint()).with_transform(source)
    from securedata.integrations.sealed_datasets import seal  # whose classes derive from those of `datasets`

    return seal(made, export)


def _opened(target: Any, sampling_rate: int | None) -> EncryptedAudioDataset:
    if not isinstance(target, EncryptedAudioDataset):
        return EncryptedAudioDataset(target, sample_rate=sampling_rate)
    if sampling_rate is not None and sampling_rate != target.sample_rate:
        raise InvalidArgument("sampling_rate= differs from that of the dataset: make it with this sample_rate=")
    return target


class Recordings:
    """Rows of a dataset for Hugging Face: their columns, and as a transform the audio of a batch, read at once.

    A pickle is one of the dataset: workers get it in memory, and any other holds references and no keys.
    """

    def __init__(self, rows: EncryptedAudioDataset, columns: Sequence[str]) -> None:
        """Raises InvalidArgument for a column that the manifest lacks."""
        self.rows = rows
        self.columns = tuple(columns)
        known = rows.metadata.schema.names
        if missing := [name for name in columns if name not in known]:
            raise InvalidArgument(f"columns={missing}: the columns are {', '.join(known)}")

    def __deepcopy__(self, memo: object) -> Recordings:
        return self  # `datasets` copies its formats; a copy would open the corpus once more

    def _corpora(self) -> Iterator[tuple[tuple[str, str], Corpus, int]]:
        """What the URLs of each corpus have before and after the path, the corpus, and the number of its first row."""
        first = 0
        for corpus in self.rows.corpora:
            yield url_of(corpus.name, corpus.root), corpus, first
            first += len(corpus)

    def fingerprint(self) -> str:
        """By it `datasets` tells apart what was made from these rows. Of references, never of plaintext."""
        seen = [(corpus.pin, corpus.generation, corpus.filtered_by, len(corpus)) for corpus in self.rows.corpora]
        return hashlib.sha256(repr((seen, self.columns, self.rows.sample_rate)).encode()).hexdigest()[:16]

    def table(self, start: int, stop: int) -> pa.Table:
        """Some rows: the URL of each, its length in frames, and the columns."""
        shown = self.rows.metadata.slice(start, stop - start)
        urls = []
        for (before, after), corpus, first in self._corpora():
            low, high = max(start - first, 0), min(stop - first, len(corpus))
            if low < high:
                paths = corpus.table.column("path").slice(low, high - low)
                urls += pc.binary_join_element_wise(_text(before), paths, _text(after), _text("")).chunks
        audio = pa.chunked_array(urls, pa.large_string()).cast(pa.string())  # what `datasets.Audio` can be cast from
        lengths = pa.array(self.rows.lengths[start:stop].numpy())
        return pa.table(
            [audio, lengths, *(shown.column(name) for name in self.columns)], names=[AUDIO, LENGTH, *self.columns]
        )

    def __call__(self, batch: Mapping[str, list[Any]]) -> dict[str, Any]:
        """The batch with audio in place of URLs.

        Raises:
            as `EncryptedAudioDataset.__getitems__`, which it does not let replace a row
        """
        made = dict(batch)
        if AUDIO in made:  # `datasets` asks for single columns, too
            made[AUDIO] = self._read(made[AUDIO])
        return made

    def _read(self, urls: Sequence[Any]) -> list[Any]:
        wanted = [at for at, url in enumerate(urls) if isinstance(url, str)]  # others are audio that `map` has made
        found = list(urls)
        if wanted:
            for at, outcome in zip(wanted, self.rows.outcomes([self._row(urls[at]) for at in wanted]), strict=True):
                if isinstance(outcome, SecuredataError):
                    raise outcome
                found[at] = audio_of(outcome, urls[at])
        return found

    def _row(self, url: str) -> int:
        missing: SecuredataError = InvalidArgument(
            "a URL in the column 'audio' is not one of the corpora that to_hf() opened"
        )
        for (before, after), corpus, first in self._corpora():
            if url.startswith(before) and url.endswith(after) and len(url) > len(before) + len(after):
                try:
                    return first + corpus.find(url[len(before) : len(url) - len(after)])
                except NoSuchPath as error:  # perhaps of the next: a root can be a part of another one's paths
                    missing = error
        raise missing


def _text(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())


def audio_of(sample: Sample, url: str) -> dict[str, Any]:
    """A sample as Hugging Face decodes one."""
    waveform = sample.waveform.numpy()
    return {"array": waveform[0] if len(waveform) == 1 else waveform, "sampling_rate": sample.sample_rate, "path": url}


def _spans(rows: int) -> list[tuple[int, int]]:
    """The shards of a stream: row numbers, of which each is in one."""
    count = min(rows, _SHARDS)
    ends = [rows * number // count for number in range(count + 1)] if count else [0, 0]
    return list(pairwise(ends))


def _examples(source: Recordings, spans: Sequence[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    for start, stop in spans:
        for at in range(start, stop, _TOGETHER):
            rows = source.table(at, min(at + _TOGETHER, stop)).to_pylist()
            audio = source({AUDIO: [row[AUDIO] for row in rows]})[AUDIO]
            for row, one in zip(rows, audio, strict=True):
                yield {**row, AUDIO: one}
