"""Files that are taken though they are no recordings: layouts do not see them, so they do not name whose they are."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace

from securedata.ingest.sources.layouts.base import Described, LayoutRows
from securedata.ingest.sources.walk.tree import Problem, Tree

_LISTS = ("subject", "utterance", "transcript", "split", "language", "extra")


def recordings_of(tree: Tree) -> tuple[Tree, list[int]]:
    """The tree without the files that were included, and the index of each of its recordings in the whole tree."""
    if not tree.included:
        return tree, list(range(len(tree)))
    at = [i for i, path in enumerate(tree.paths) if path not in tree.included]
    return (
        replace(
            tree,
            paths=[tree.paths[i] for i in at],
            names=[tree.names[i] for i in at],
            sizes=array("q", (tree.sizes[i] for i in at)),
            mtimes=array("q", (tree.mtimes[i] for i in at)),
            versions=[tree.versions[i] for i in at],
        ),
        at,
    )


def spread(described: Described, at: Sequence[int], tree: Tree, layout: str) -> Described:
    """What a layout says of recordings, as entries for the whole tree, whose other files it does not describe."""
    whole = Described.blank(len(tree))
    for name in _LISTS:
        values = getattr(whole, name)
        for i, value in zip(at, getattr(described, name), strict=True):
            values[i] = value
    whole.problems, whole.names_people, whole.nobody = described.problems, described.names_people, described.nobody
    if described.rows is not None:
        located = [at[i] if i >= 0 else -1 for i in described.rows.located]
        whole.rows = LayoutRows(described.rows.rows, located)
    if whole.names_people and whole.rows is None:
        reason = (
            f"the layout {layout} does not name whose it is: seal it in a run of its own, with --layout none, "
            "--only-listed and a manifest that names its people"
        )
        whole.problems = [*whole.problems, *(Problem(path, reason) for path in tree.paths if path in tree.included)]
    return whole
