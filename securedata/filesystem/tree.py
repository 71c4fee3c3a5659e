"""Folders, which a corpus does not store: derived from the sorted paths, skipping from one to the next."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from securedata.corpus.rows.index import Index

Rows = np.ndarray[Any, np.dtype[np.int64]]

_BULK = 4096  # from this many rows on, one Arrow call costs less than a cell at a time
_BATCH = 65_536  # rows that are Python objects at the same time, while a million are listed
_FIRST = 32  # paths to look at before searching for the end of a folder


def cells(index: Index, rows: Rows, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """The values of several columns, one tuple per row number."""
    if len(rows) < _BULK:
        return [tuple(index.values(columns, int(row))) for row in rows]
    found = index.table.select(list(columns)).take(pa.array(rows))
    return list(zip(*(found.column(name).to_pylist() for name in columns), strict=True))


def span(index: Index, folder: str) -> tuple[int, int]:
    """Where in `index.order` the paths below a folder begin and end; an empty folder name means all of them."""
    if not folder:
        return 0, len(index)
    # "0" is the character after "/": the first path that is no longer below the folder
    return index.lower_bound(folder + "/"), index.lower_bound(folder + "0")


def has_below(index: Index, folder: str) -> bool:
    """Whether there is a path below a folder. Costs half as much as `span`."""
    at = index.lower_bound(folder + "/")
    return at < len(index) and index.path(int(index.order[at])).startswith(folder + "/")


def children(index: Index, folder: str) -> Iterator[tuple[str, int | None]]:
    """The direct contents of a folder: full path and row number, which is None for a folder.

    The cost grows with what is returned: skipping a folder of a thousand recordings takes about ten lookups.
    """
    prefix = folder + "/" if folder else ""
    at, end = span(index, folder)
    step = _FIRST
    while at < end:
        rows = index.order[at : min(at + step, end)]
        paths = [path for (path,) in cells(index, rows, ("path",))]
        step = min(2 * step, _BATCH)
        k = 0
        while k < len(paths):
            name, inside, _ = paths[k][len(prefix) :].partition("/")
            if not inside:
                yield paths[k], int(rows[k])
                k += 1
                continue
            yield prefix + name, None
            below = f"{prefix}{name}/"
            if paths[-1].startswith(below):
                k = _end(index, below, at + len(paths) - 1, end) - at
                step = _FIRST
            else:
                k = bisect_left(paths, True, k, key=lambda path, below=below: not path.startswith(below))  # type: ignore[misc]  # bisect's stub wants no default
        at += k


def _end(index: Index, below: str, at: int, end: int) -> int:
    """The first position past those below a folder, from `at`, which is below it: doubling strides, then bisection."""

    def outside(position: int) -> bool:
        return not index.path(int(index.order[position])).startswith(below)

    stride = 1
    while at + stride < end and not outside(at + stride):
        at += stride
        stride *= 2
    return bisect_left(range(end), True, at, min(at + stride, end), key=outside)


def below(index: Index, folder: str, maxdepth: int | None, folders: set[str]) -> Iterator[tuple[list[str], Rows]]:
    """The files below a folder, at most `maxdepth` levels down: their paths and rows, tens of thousands at a time.

    Adds the folders that it passes to `folders`, except `folder` itself.
    """
    if maxdepth == 1:  # one level can skip subfolders; more levels are read in order
        found = list(children(index, folder))
        folders.update(path for path, row in found if row is None)
        files = [(path, row) for path, row in found if row is not None]
        yield [path for path, _ in files], np.array([row for _, row in files], np.int64)
        return
    outer = folder.count("/") + 1 if folder else 0
    at, end = span(index, folder)
    parent, deep = folder, False
    for start in range(at, end, _BATCH):
        rows = index.order[start : min(start + _BATCH, end)]
        paths = [path for (path,) in cells(index, rows, ("path",))]
        kept = []
        for k, path in enumerate(paths):
            above = path.rpartition("/")[0]
            if above != parent:
                parent = above
                depth = above.count("/") + 1 - outer if above else 0
                deep = maxdepth is not None and depth >= maxdepth
                while depth > 0 and above not in folders:
                    if maxdepth is None or depth <= maxdepth:
                        folders.add(above)
                    above, depth = above.rpartition("/")[0], depth - 1
            if not deep:
                kept.append(k)
        if len(kept) < len(paths):
            rows, paths = rows[kept], [paths[k] for k in kept]
        yield paths, rows
