"""The files that a run must read, and the rows that need each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from securedata.corpus.schema import CUT
from securedata.ingest.classify import Known, ReadTable, Todo, of_recordings


@dataclass(frozen=True, slots=True)
class Item:
    """One file to read, and the source rows that need it.

    Attributes:
        digest: if the file has this digest, nothing is sealed.
        apart: each row becomes an object of its own, with its segment only.
    """

    file: str
    rows: tuple[int, ...]
    digest: bytes | None = None
    apart: bool = False


class Digests(NamedTuple):
    """Digests of a row of the corpus: of its recording's file, and of its object's content; usually the same."""

    file: bytes
    content: bytes


def digests_of(known: Known, load: ReadTable) -> dict[int, Digests]:
    """Digests of the rows to hash or to update, by index in `known`."""
    found: dict[int, Digests] = {}
    wanted = (known.todo == Todo.HASH) | (known.todo == Todo.UPDATE)
    for number in np.unique(known.part[wanted]):
        at = np.flatnonzero(wanted & (known.part == number))
        rows = load(known.parts[number], ("source_sha256", "start", *CUT.names)).take(pa.array(known.row[at]))
        contents = rows.column("source_sha256").to_pylist()
        files = of_recordings(rows, "recording_sha256", "source_sha256", known.cut[at]).to_pylist()
        found.update(zip(at.tolist(), map(Digests, files, contents), strict=True))
    return found


def items_of(
    known: Known,
    rows: Sequence[int],
    files: Sequence[str],
    apart: np.ndarray[tuple[int], np.dtype[np.bool_]],
    digests: Mapping[int, Digests],
) -> deque[Item]:
    """The files to read, in the order of their rows; neighbouring rows that need the same share an item.

    Args:
        rows: the source rows that `known` is of.
        files: of all source rows, as `apart` is.
        digests: by index in `known`.
    """
    return together(
        Item(files[i], (i,), digests[at].file if todo == Todo.HASH else None, bool(apart[i]))
        for at, (i, todo) in enumerate(zip(rows, known.todo.tolist(), strict=True))
        if todo in (Todo.HASH, Todo.SEAL)
    )


def together(items: Iterable[Item]) -> deque[Item]:
    """Neighbouring items that need the same of one file, as one."""
    found: deque[Item] = deque()
    for item in items:
        last = found[-1] if found else None
        if last and (last.file, last.digest, last.apart) == (item.file, item.digest, item.apart):
            found[-1] = Item(item.file, (*last.rows, *item.rows), item.digest, item.apart)
        else:
            found.append(item)
    return found
