"""Common Voice: clips/common_voice_LOCALE_N.mp3, described by train.tsv, dev.tsv, test.tsv and others beside clips/.

A clip in several tables gets the split of the first one in `_TABLES`: train, dev and test are parts of validated. So
that every row can be given as it was, extra has the line of each table that names the clip, its locale, and the columns
that are empty.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Any

from securedata.ingest.sources.layouts.base import LOST, Described, Layout, LayoutRows, Text, context_of, folder_of
from securedata.ingest.sources.manifest_reader import collect, lines_in
from securedata.ingest.sources.texts import spellings
from securedata.ingest.sources.walk.tree import Tree
from securedata.media.audio.suffixes import without_suffix

_TABLES = ("train.tsv", "dev.tsv", "test.tsv", "validated.tsv", "invalidated.tsv", "other.tsv")
_OURS = ("client_id", "path", "sentence")
_CLIP = re.compile(r"(?P<folder>(?:.*/)?)clips/common_voice_(?P<locale>[A-Za-z-]+)_\d+")


def _count(tree: Tree) -> int:
    tables = {posixpath.basename(name) for name in tree.companion_names}
    if tables.isdisjoint(_TABLES):
        return 0
    context = context_of(tree)
    return sum(1 for path in tree.paths if "common_voice_" in path and _CLIP.fullmatch(context + without_suffix(path)))


def _describe(tree: Tree, described: Described) -> None:
    context = context_of(tree)
    clips: dict[str, list[int]] = {}
    for i, path in enumerate(tree.paths):
        stem = without_suffix(path)
        if found := _CLIP.fullmatch(context + stem):
            described.language[i] = found["locale"]
        clips.setdefault(stem, []).append(i)
    located: list[int] = []
    files: list[str] = []
    other: dict[int, str] = {}
    lines = _rows(tree, described, clips, located, files, other)
    rows = collect(lines, "the tables of Common Voice", {"path": "path", "speaker": "client_id"}, None)
    rows.files, rows.of_what, rows.names_people = files, "the tables of Common Voice", True
    for k, i in enumerate(located):
        if i in other and not rows.fault[k]:
            rows.fault[k] = f"{other[i]} names another client_id for it"
    described.rows = LayoutRows(rows, located)


def _rows(
    tree: Tree,
    described: Described,
    clips: dict[str, list[int]],
    located: list[int],
    files: list[str],
    other: dict[int, str],
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The first row of each clip, in the order of the tables; adds an entry to `located` and `files` for each.

    Args:
        other: filled with the recordings for which a later row names another person, and the place of that row.
    """
    people: dict[int, tuple[str, str]] = {}  # table and client_id of the first row
    tables: dict[int, dict[str, int]] = {}
    left_out = {without_suffix(name) for name in tree.exclusions.names}
    for name in _tables(tree):
        folder = folder_of(name)
        split = posixpath.basename(name)[: -len(".tsv")]
        text = Text(tree, name, described)
        if (content := text.data()) is None:
            continue
        for line, values in lines_in(content, name):
            clip = str(values.get("path") or "")
            stems = [without_suffix(f"{folder}clips/{one}") for one in spellings(clip)]
            stem = next((one for one in stems if one in clips), None)
            if stem is None:
                if left_out.isdisjoint(stems):
                    text.note(LOST, line, clip)
                continue
            for i in clips[stem]:
                who = str(values.get("client_id") or "")
                tables.setdefault(i, {})[split] = line
                table, first = people.setdefault(i, (name, who))
                if first != who:
                    other[i] = f"line {line} of {name}"
                elif table == name:
                    described.extra[i] = {"tables": tables[i], **_unchanged(values, clip, tree.paths[i])}
                    located.append(i)
                    files.append(name)
                    yield line, {**values, "path": tree.paths[i], "split": split}
        text.report()


def _unchanged(values: dict[str, Any], clip: str, path: str) -> dict[str, Any]:
    """What the columns of a corpus would not tell of a row of a table."""
    kept: dict[str, Any] = {name: "" for name in values if not values[name] and name not in _OURS}
    if clip != posixpath.basename(path):
        kept["clip"] = clip
    return kept | ({"locale": values["locale"]} if values.get("locale") else {})


def _tables(tree: Tree) -> list[str]:
    """The tables of the tree, in the order of `_TABLES`."""
    order = {last: k for k, last in enumerate(_TABLES)}
    found = [name for name in tree.companion_names if posixpath.basename(name) in order]
    return sorted(found, key=lambda name: order[posixpath.basename(name)])


COMMON_VOICE = Layout("commonvoice", _count, _describe)
