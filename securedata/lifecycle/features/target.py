"""The corpus of features: found or made, and bound to its source and its recipe before a row is in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc

from securedata.corpus.reader import Corpus
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.head import Head
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, MalformedManifest
from securedata.lifecycle.deriving.rows import COPIED
from securedata.lifecycle.features.recipe import Recipe, environment

SETTING = "features"
"""The member of a corpus's settings that says what its features are of, and how they were computed."""


def recipe_for(
    recorded: Recipe | None,
    source: Corpus,
    transform: str,
    sample_rate: int | None,
    dtype: str | None,
    given: Mapping[str, Any],
) -> Recipe:
    """The recipe that a caller wishes; what is not said is as in the corpus of features, if it has a recipe.

    Raises:
        InvalidArgument
    """
    if recorded is not None:
        sample_rate = recorded.sample_rate if sample_rate is None else sample_rate
        dtype = dtype or recorded.dtype
        if transform == recorded.transform:
            given = {**recorded.arguments, **given}
    if sample_rate is None:
        rates = sorted(pc.unique(source.table.column("sample_rate")).to_pylist())
        if len(rates) != 1:
            found = f"recordings at {', '.join(map(str, rates))} Hz" if rates else "no recordings"
            raise InvalidArgument(
                f"{source.root} has {found}: give the rate to compute at, such as --sample-rate 16000", root=source.root
            )
        [sample_rate] = rates
    return Recipe.make(transform, sample_rate, dtype or "float16", given)


def recorded_in(head: Head, root: str) -> Recipe | None:
    """The recipe that a corpus of features records; None: it has none yet.

    Raises:
        InvalidArgument: it holds something else than features.
        MalformedManifest: what it records cannot be read.
    """
    recorded = head.settings.get(SETTING)
    if COPIED in head.settings:
        raise InvalidArgument(f"{root} holds what was exported from another corpus: retain into a new one", root=root)
    if recorded is None:
        if head.parts or head.derived:  # with `derived` it could be the source of this source
            raise InvalidArgument(f"{root} holds recordings, not features: retain into a new corpus", root=root)
        return None
    try:
        return Recipe.parse(recorded)
    except (KeyError, TypeError, ValueError):
        raise MalformedManifest(
            f"the settings of {root} do not say how its features were computed: a newer securedata might know",
            root=root,
        ) from None


def refuse_other(recipe: Recipe, recorded: Recipe, root: str) -> None:
    """Raise InvalidArgument if features would not be computed like those that are there."""
    if different := recipe.differences(recorded):
        raise InvalidArgument(
            f"{root} holds features that were computed with another {', '.join(different)}: leave that out, or retain "
            "into a new corpus",
            root=root,
        )


def bind(writer: Writer, source: Corpus, recipe: Recipe) -> int:
    """Record source, recipe and versions in the settings of the corpus of features.

    Returns:
        The number of the versions, from 1: what rows that are computed now have as `computed_with`.

    Raises:
        InvalidArgument: its features are of another corpus, or were computed in another way.
        as `Writer.transact`
    """
    here = environment()
    of = {"corpus": source.corpus_id.hex(), "pin": source.pin}

    def change(attempt: Try) -> Next[int]:
        before = recorded_in(attempt.head, writer.root)
        settings = attempt.head.settings
        if before is None:
            features = {"source": of, **recipe.json(), "computed_with": [here]}
            return Next(1, {"settings": {**settings, SETTING: features}})
        features = settings[SETTING]
        if features["source"] != of:
            raise InvalidArgument(
                f"{writer.root} holds features of another corpus ({features['source']['pin']}): retain into a new one",
                root=writer.root,
            )
        refuse_other(recipe, before, writer.root)
        known = features["computed_with"]
        if here in known:
            return Next(known.index(here) + 1, None)
        features = {**features, "computed_with": [*known, here]}
        return Next(len(known) + 1, {"settings": {**settings, SETTING: features}})

    return writer.transact(change)
