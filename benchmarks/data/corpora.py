"""Make corpora to measure: real clips that can be read, among any number of made-up rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import soundfile

from benchmarks.data.rows import synthetic
from securedata.corpus.config import Reference
from securedata.corpus.create import create_corpus
from securedata.corpus.schema import MAX_ROWS, SCHEMA, rows_table
from securedata.corpus.writer import Writer
from securedata.storage.base import Storage

REAL = "clip/"
"""The prefix of rows that have an object."""
ROOM = 1_000
"""Rows left free in each part for its share of the clips."""


@dataclass(frozen=True)
class Made:
    """A corpus, and the arguments to open it with."""

    root: str
    kms: str
    pin: str
    rows: int


def corpus(
    root: Path | str,
    kek: Path,
    clips: Sequence[Path],
    rows: int,
    storage: Storage | None = None,
    kms: str | None = None,
) -> Made:
    """A new corpus of `rows` rows, with the clips scattered among made-up ones. `kms` replaces the KEK."""
    reference = create_corpus(str(root), kms=[kms or f"local://{kek.resolve()}"], storage=storage).reference
    writer = Writer(reference, storage=storage)
    real = rows_table(_row(writer, path) for path in clips)
    random = np.random.default_rng(rows)
    parts = -(-rows // (MAX_ROWS - ROOM))
    shares = np.array_split(random.permutation(len(clips)), parts)
    made_up = synthetic(rows - len(clips), seed=rows, at_most=max(1, -(-(rows - len(clips)) // parts)))
    for table, share in zip_longest(made_up, shares):
        both = pa.concat_tables([SCHEMA.empty_table() if table is None else table, real.take(pa.array(share))])
        outcome = writer.commit(both.take(pa.array(random.permutation(both.num_rows))))
        if outcome.added != both.num_rows:
            raise AssertionError(f"only {outcome.added} of {both.num_rows} rows were committed")
    return _made(reference, rows)


def real_rows(table: pa.Table) -> list[int]:
    """The row numbers of the clips, ordered by path, so that the order of recordings is the same for every corpus."""
    paths = table.column("path")
    numbers = np.flatnonzero(pc.starts_with(paths, REAL).to_numpy())
    found = paths.take(pa.array(numbers)).to_pylist()
    return [int(numbers[i]) for i in sorted(range(len(found)), key=found.__getitem__)]


def _made(reference: Reference, rows: int) -> Made:
    return Made(reference.root, " ".join(reference.kms), " ".join(str(pin) for pin in reference.pins), rows)


def _row(writer: Writer, path: Path) -> dict[str, object]:
    plain = path.read_bytes()
    info = soundfile.info(path)
    put = writer.put_object(_pieces(plain))
    return {
        "path": f"{REAL}{path.parent.name}/{path.name}",
        **put.columns(),
        "format": info.format,
        "subtype": info.subtype,
        "sample_rate": info.samplerate,
        "channels": info.channels,
        "frames": info.frames,
        "subjects": [path.parent.name],
        "speaker": path.parent.name,
        "utterance": path.stem,
        "transcript": "as it was heard on the telephone",
        "split": "train",
        "language": "en",
        "source_mtime_ns": path.stat().st_mtime_ns,
        "extra": "",
    }


def _pieces(data: bytes, size: int = 1 << 20) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]
