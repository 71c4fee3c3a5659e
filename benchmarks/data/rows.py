"""Manifest rows of a corpus that need not fit on the disk: with every column filled and an object for each row.

The objects do not exist; measurements with these rows (opening, lookup, memory) never read one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from securedata.corpus.schema import MAX_ROWS, SCHEMA
from securedata.format.sealed import sealed_size

WORDS = ("please", "enter", "the", "number", "of", "your", "conference", "followed", "by", "a", "pound", "key", "now")
SPEAKERS = 2_000


def synthetic(count: int, seed: int = 0, at_most: int = MAX_ROWS, speakers: int = SPEAKERS) -> Iterator[pa.Table]:
    """Tables of `at_most` rows: 15 s FLAC clips of `speakers` people with a transcript of about 70 characters."""
    random = np.random.default_rng(seed)
    sentences = pa.array([" ".join(random.choice(WORDS, size=14)) for _ in range(5_000)], pa.large_string())
    for start in range(0, count, at_most):
        yield _rows(start, min(at_most, count - start), random, sentences, speakers)


def _rows(start: int, count: int, random: np.random.Generator, sentences: pa.Array, speakers: int) -> pa.Table:
    people = [f"speaker-{number:05d}" for number in random.integers(speakers, size=count)]
    utterances = [f"utterance-{number:08d}" for number in range(start, start + count)]
    sizes = random.integers(150_000, 250_000, size=count)
    values: dict[str, object] = {
        "path": [f"synthetic/{who}/{what}.flac" for who, what in zip(people, utterances, strict=True)],
        "object_id": _random(16, count),
        "data_key": _random(32, count),
        "sealed_size": [sealed_size(int(size)) for size in sizes],
        "size": sizes,
        "format": ["FLAC"] * count,
        "subtype": ["PCM_16"] * count,
        "sample_rate": np.full(count, 16_000, np.int32),
        "channels": np.ones(count, np.int32),
        "frames": np.full(count, 15 * 16_000),
        "subjects": [[who] for who in people],
        "speaker": people,
        "utterance": utterances,
        "transcript": sentences.take(pa.array(random.integers(len(sentences), size=count))),
        "split": np.where(random.random(count) < 0.9, "train", "test").tolist(),
        "language": ["en"] * count,
        "source_sha256": _random(32, count),
        "source_mtime_ns": random.integers(1_600_000_000, 1_700_000_000, size=count) * 10**9,
        "extra": [""] * count,
    }
    columns = [_column(values.get(field.name), field, count) for field in SCHEMA]
    return pa.table(columns, schema=SCHEMA)


def _column(values: object, field: pa.Field, count: int) -> pa.Array:
    if values is None:
        return pa.nulls(count, field.type)
    return values if isinstance(values, pa.Array) else pa.array(values, field.type)


def _random(width: int, count: int) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), count, [None, pa.py_buffer(os.urandom(width * count))]
    )
