"""Rows of features: what they take over from the recording's row, and how a later run recognises them."""

from __future__ import annotations

from securedata.corpus.objects.put import Put
from securedata.corpus.reader import Corpus
from securedata.corpus.writer import Writer
from securedata.lifecycle.deriving.rows import Row, fingerprint, first_object, rows_there
from securedata.lifecycle.features.computing import Computed
from securedata.lifecycle.features.recipe import Recipe
from securedata.lifecycle.select import FEATURES_SUFFIX
from securedata.media.npy import DTYPES, FORMAT

_TAKEN = (
    "subjects",
    "speaker",
    "utterance",
    "transcript",
    "split",
    "language",
    "consent_id",
    "purposes",
    "expires",
    "last_contact",
    "extra",
)
_SUBTYPES = {str(dtype): subtype for subtype, dtype in DTYPES.items()}


def row_of_features(corpus: Corpus, made: Computed, put: Put, recipe: Recipe, computed_with: int) -> Row:
    """The manifest row of the features of one recording."""
    taken = dict(zip(_TAKEN, corpus.index.values(_TAKEN, made.row), strict=True))
    names = ("path", "size", "source_sha256", "source_mtime_ns")
    path, size, sha256, mtime = corpus.index.values(names, made.row)
    channels, bins, frames = made.shape
    return {
        **taken,
        "path": path + FEATURES_SUFFIX,
        **put.columns(),
        "format": FORMAT,
        "subtype": _SUBTYPES[recipe.dtype],
        "sample_rate": recipe.sample_rate,
        "channels": channels,
        "frames": made.audio[1],
        "source_mtime_ns": mtime,
        # an erasure by path names a recording by its digest, here too
        "recording": path,
        "recording_size": size,
        "recording_sha256": sha256,
        "derived_from": first_object(corpus, made.row),
        "feature_bins": bins,
        "feature_frames": frames,
        "computed_with": computed_with,
    }


def to_compute(corpus: Corpus, writer: Writer) -> tuple[list[int], set[str]]:
    """The recordings without features, or with features that no longer fit: another recording, people, words, consent.

    Returns:
        Their row numbers, and the logical paths of features that are to be replaced.
    """
    there = {
        row["path"]: fingerprint([row["derived_from"], *(row[name] for name in _TAKEN)])
        for row in rows_there(writer, ("path", "derived_from", *_TAKEN))
    }
    todo, replaced = [], set()
    for row in range(len(corpus)):
        path = corpus.index.value("path", row) + FEATURES_SUFFIX
        known = there.get(path)
        if known is not None:
            if known == fingerprint([first_object(corpus, row), *corpus.index.values(_TAKEN, row)]):
                continue
            replaced.add(path)
        todo.append(row)
    return todo, replaced
