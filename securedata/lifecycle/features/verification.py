"""Verify a corpus of features: every object is read back and opened, and a sample is computed again and compared."""

from __future__ import annotations

import random

import numpy as np

from securedata.corpus.config import Reference
from securedata.corpus.progress import Progress
from securedata.corpus.schema import FEATURES
from securedata.errors import InvalidArgument, KeysError, SecuredataError, StorageUnreachable
from securedata.lifecycle.deriving.fates import note_error
from securedata.lifecycle.deriving.rows import first_object
from securedata.lifecycle.features.computing import Source, computed
from securedata.lifecycle.features.recipe import Recipe, environment
from securedata.lifecycle.features.report import RetainReport
from securedata.lifecycle.select import FEATURES_SUFFIX
from securedata.media.npy import Features, from_npy
from securedata.torch.features import EncryptedFeatureDataset
from securedata.torch.sample import FeatureSample

_BATCH = 128

TOLERANCE = {"float16": (2.0**-8, 2.0**-6), "float32": (1e-4, 1e-4)}
"""By dtype, relative and absolute: how far results of other versions, or of another processor, may be apart."""


class Retained(EncryptedFeatureDataset):
    """All rows of a corpus of features, with what they were computed from and by."""

    _columns = (*(EncryptedFeatureDataset._columns or ()), *FEATURES.names)


def verify_features(
    target: Reference,
    source: Source,
    recipe: Recipe,
    environments: list[dict[str, str]],
    sample: int,
    seed: int,
    workers: int,
    purpose: str | None,
    report: RetainReport,
    progress: Progress | None,
) -> None:
    """Read back every object of features, and compute `sample` of them again; results go into the report.

    Args:
        environments: by number less 1, the versions that rows were computed with.
        seed: chooses the sample.
        workers: processes that compute it.
        purpose: what recordings and features are read for.
    """
    with Retained(target, purpose=purpose) as features:
        total = sum(features.corpora[0].table.column("size").to_pylist())
        size = 0
        for begin in range(0, len(features), _BATCH):
            rows = range(begin, min(begin + _BATCH, len(features)))
            for row, found in zip(rows, features.outcomes(rows), strict=True):
                if isinstance(found, (KeysError, StorageUnreachable)):
                    raise found
                if isinstance(found, SecuredataError):
                    report.unreadable.append((features.get_metadata(row).path, found))
                else:
                    report.opened += 1
                size += features.corpora[0].index.value("size", row)
            if progress:
                progress(rows.stop, len(features), size, total)
        _compare(features, source, recipe, environments, sample, seed, workers, report)


def _compare(
    features: Retained,
    source: Source,
    recipe: Recipe,
    environments: list[dict[str, str]],
    sample: int,
    seed: int,
    workers: int,
    report: RetainReport,
) -> None:
    recordings, made = source.corpora[0], features.corpora[0]
    pairs = {}
    for row in range(len(features)):
        path = made.index.path(row).removesuffix(FEATURES_SUFFIX)
        try:
            at = recordings.find(path)
        except FileNotFoundError:  # the recording was removed since: there is nothing to compare with
            continue
        if made.index.value("derived_from", row) == first_object(recordings, at):
            pairs[at] = row
    chosen = sorted(random.Random(seed).sample(sorted(pairs), min(sample, len(pairs))))  # noqa: S311 - no secret
    here = environment()
    for batch in computed(source, recipe, chosen, workers if chosen else 0):
        stored = features.outcomes([pairs[one.row] for one in batch])
        for one, kept in zip(batch, stored, strict=True):
            row = pairs[one.row]
            if one.error is not None:
                note_error(report, recordings.index.path(one.row), one.error)
                continue
            if not isinstance(kept, FeatureSample):  # among the unreadable
                continue
            report.compared += 1
            again, before = from_npy(bytearray(one.npy)), kept.features.numpy()
            if np.array_equal(again, before) and again.dtype == before.dtype:
                report.identical += 1
                continue
            same_versions = environments[made.index.value("computed_with", row) - 1] == here
            if same_versions or not agree(again, before):
                report.different.append(made.index.path(row))


def agree(one: Features, other: Features) -> bool:
    """Are two results equal within the tolerance of their dtype?

    Raises:
        InvalidArgument: they are neither float16 nor float32.
    """
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    try:
        relative, absolute = TOLERANCE[str(one.dtype)]
    except KeyError:
        raise InvalidArgument(f"features are float16 or float32, not {one.dtype}") from None
    return bool(np.allclose(one.astype("f8"), other.astype("f8"), rtol=relative, atol=absolute))
