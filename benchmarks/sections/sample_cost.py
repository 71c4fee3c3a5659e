"""How much of a sample's CPU time goes into decryption and lookup: `ds[i]` beside `ds[i]` without them.

Without them, the sealed object is fetched as usual, but the decoder gets the plaintext from memory, and the row's cells
come from a list. Everything else is the same code, so the difference is the cost of sealing in training.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.data import corpora
from benchmarks.tools.stats import Estimate, Figure, estimate
from benchmarks.tools.timing import Call, by_turns, run
from securedata.corpus.reader import Corpus
from securedata.corpus.state.layout import object_key
from securedata.storage.registry import open_storage
from securedata.torch import dataset as dataset_module
from securedata.torch import decode
from securedata.torch.dataset import EncryptedAudioDataset

SHARE = 3.0


def measure(made: corpora.Made, runs: int) -> tuple[list[Figure], dict[str, object]]:
    """The share by difference, which is the figure, and by the reader's own clock, which separates the two parts."""
    ds = EncryptedAudioDataset(made.root, kms=made.kms, pin=made.pin)
    rows = corpora.real_rows(ds.metadata)
    whole: list[Call] = [partial(ds.__getitem__, i) for i in rows]
    bare = without(ds)
    less: list[Call] = [partial(bare, i) for i in rows]
    for one, other in zip(whole, less, strict=True):
        _same(one(), other())
    pairs = [by_turns(whole, less) for _ in range(runs)]
    shares = estimate((full - rest) / full * 100 for full, rest in pairs)
    sizes = [ds.corpora[0].value("size", i) for i in rows]
    results = {
        "clips": len(rows),
        "mean_bytes": sum(sizes) / len(sizes),
        "ms_each": [[full / len(rows) * 1e3, rest / len(rows) * 1e3] for full, rest in pairs],
        "own_clock": own_clock(ds, rows, runs),
    }
    name = f"ds[i], {len(rows)} clips of {results['mean_bytes'] / 1e3:.0f} kB: decryption and lookup"
    return [Figure(name, SHARE, shares, at_most=True, unit="% of CPU")], results


def own_clock(ds: EncryptedAudioDataset, rows: list[int], runs: int) -> dict[str, object]:
    """Microseconds of a sample by part: decryption and fetch by the reader's counters, lookup timed between samples.

    Lookups are timed between samples because decoding displaces the caches: by itself a lookup takes a tenth.
    """
    corpus = ds.corpora[0]
    parts: dict[str, list[float]] = {"decrypt": [], "fetch": [], "lookup": [], "sample": []}
    for _ in range(runs):
        before = (corpus.counters.seconds_decrypt, corpus.counters.seconds_fetch)
        lookup = sample = 0.0
        for i, following in zip(rows, rows[1:] + rows[:1], strict=True):
            sample += run([partial(ds.__getitem__, i)], 1).cpu
            lookup += run([partial(_look_up, corpus, following)], 1).cpu
        parts["decrypt"].append((corpus.counters.seconds_decrypt - before[0]) / len(rows) * 1e6)
        parts["fetch"].append((corpus.counters.seconds_fetch - before[1]) / len(rows) * 1e6)
        parts["lookup"].append(lookup / len(rows) * 1e6)
        parts["sample"].append(sample / len(rows) * 1e6)
    found: dict[str, Estimate] = {name: estimate(values) for name, values in parts.items()}
    share = (found["decrypt"].median + found["lookup"].median) / found["sample"].median * 100
    return {"microseconds": {name: value.json() for name, value in found.items()}, "share_percent": share}


def _look_up(corpus: Corpus, i: int) -> None:
    decode.read_row(corpus, i)
    corpus.index.location(i)
    corpus.index.key(i)


def without(ds: EncryptedAudioDataset) -> Callable[[int], Any]:
    """The same dataset's `ds[i]` without decryption and lookup."""
    corpus = ds.corpora[0]
    storage = open_storage(corpus.root)
    rows = [decode.read_row(corpus, i) for i in range(len(ds))]
    locations = [corpus.index.location(i) for i in range(len(ds))]
    plain = {i: memoryview(corpus.read(i)) for i in corpora.real_rows(ds.metadata)}
    whole, read_row = decode._whole, dataset_module.read_row

    def fetched(_: object, i: int, size: int) -> memoryview:
        storage.get_ranges(object_key(locations[i].object_id), [(0, locations[i].sealed_size + 1)])
        return plain[i]

    def row(_: object, i: int) -> decode.Row:
        return rows[i]

    def read(i: int) -> Any:
        decode._whole, dataset_module.read_row = fetched, row
        try:
            return ds[i]
        finally:
            decode._whole, dataset_module.read_row = whole, read_row

    return read


def _same(one: Any, other: Any) -> None:
    if not (one.waveform.equal(other.waveform) and one[1:] == other[1:]):
        raise AssertionError("the sample without decryption differs: the measurement compares different things")
