"""What `retain` finds when it reads features back and computes some of them again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import securedata as sd
from securedata.corpus.config import resolve
from securedata.corpus.writer import Writer
from securedata.lifecycle.features import verification
from securedata.lifecycle.features.recipe import environment
from securedata.media.npy import to_npy
from tests.kit.corpora.erasing import lose
from tests.kit.corpora.featured import array
from tests.kit.corpora.recorded import Root, add_clips, flip_object
from tests.kit.sources.recordings import clip
from tests.lifecycle.features.runs import kept, rows_of


def tamper(to: Path, path: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Commit other features under a path, with a row that describes them."""
    writer = Writer(resolve(to))
    [table] = [
        table
        for part in writer.head.parts
        if path in (table := writer.read_table(part, None)).column("path").to_pylist()
    ]
    at = table.column("path").to_pylist().index(path)
    with sd.EncryptedFeatureDataset(to) as ds:
        [features] = [ds[i].features.numpy() for i in range(len(ds)) if ds.get_metadata(i).path == path]
    put = writer.put_object([to_npy(change(features))])
    row = table.slice(at, 1)
    for name, value in put.columns().items():
        place = row.schema.get_field_index(name)
        row = row.set_column(place, row.schema.field(place), pa.array([value], row.schema.field(place).type))
    assert writer.commit(row, replace=True).replaced == 1


def test_other_features_are_found_by_computing_again(root: Root, to: Path) -> None:
    kept(root, to)
    tamper(to, "ann/0.wav.npy", lambda features: features + np.float16(0.001))
    report = kept(root, to)
    assert (report.compared, report.identical, report.different) == (5, 4, ["ann/0.wav.npy"])
    assert not report.complete
    assert kept(root, to, verify_sample=0).different == []
    samples = {tuple(kept(root, to, verify_sample=1, seed=seed).different) for seed in range(12)}
    assert samples == {(), ("ann/0.wav.npy",)}


def test_other_versions_agree_within_a_tolerance(root: Root, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(root, to)
    other = {**environment(), "torchaudio": "3.0"}
    for module in ("target", "verification"):
        monkeypatch.setattr(f"securedata.lifecycle.features.{module}.environment", lambda: other)
    tamper(to, "ann/0.wav.npy", lambda features: features + np.float16(0.008))
    tamper(to, "eve/0.wav.npy", lambda features: features + np.float16(1))
    add_clips(root, [clip("zoe/0.wav", 0.3, seed=9, speaker="zoe")])
    report = kept(root, to)
    assert (report.compared, report.identical, report.different) == (6, 4, ["eve/0.wav.npy"])
    assert [row["computed_with"] for row in rows_of(to)] == [1, 1, 1, 1, 1, 2]
    assert Writer(resolve(to)).head.settings["features"]["computed_with"][1] == other


def test_objects_that_do_not_open_are_found(root: Root, to: Path) -> None:
    created = kept(root, to).created
    assert created is not None
    features = Root(created.root)
    features.reference = created.reference
    flip_object(features, "ann/0.wav.npy")
    lose(features, "eve/0.wav.npy")
    report = kept(root, to)
    assert (report.opened, report.complete) == (3, False)
    assert [(path, type(error).__name__) for path, error in report.unreadable] == [
        ("ann/0.wav.npy", "AuthenticationFailed"),
        ("eve/0.wav.npy", "ObjectMissing"),
    ]


def test_tolerance_is_that_of_the_dtype() -> None:
    one = array(dtype="float32")
    assert verification.agree(one, one * np.float32(1 + 5e-5))
    assert not verification.agree(one, one + np.float32(0.01))
    assert not verification.agree(one, one.astype("f2"))
    assert not verification.agree(one, one[:, :, 1:])
    half = array()
    assert verification.agree(half, half + np.float16(0.01))
    assert not verification.agree(half, half + np.float16(0.5))
