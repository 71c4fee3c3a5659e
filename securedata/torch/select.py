"""Which rows a dataset takes: the row filters as one pyarrow expression over the manifest's columns."""

from __future__ import annotations

import difflib
import math
import os
import unicodedata
import warnings
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from torch.utils.data import Dataset

from securedata.corpus.config import Reference
from securedata.corpus.option_values import as_texts
from securedata.corpus.reader import Corpus
from securedata.corpus.rows.durations import frames_of
from securedata.errors import InvalidArgument

Duration = tuple[float | None, float | None]


def rows_where(
    filter: pc.Expression | None,
    split: str | Sequence[str] | None,
    duration: Duration | None,
) -> pc.Expression | None:
    """All filters combined, except by speaker, since no expression names people; None if there are none.

    Raises:
        InvalidArgument
    """
    if filter is not None and not isinstance(filter, pc.Expression):
        raise InvalidArgument(
            f"filter= is a pyarrow expression, such as pyarrow.compute.field('frames') > 16000, not {type(filter)}"
        )
    filters = [filter, _one_of("split", split), *_within(duration)]
    combined: pc.Expression | None = None
    for one in filters:
        if one is not None:
            combined = one if combined is None else combined & one
    return combined


def _one_of(column: str, wanted: str | Sequence[str] | None) -> pc.Expression | None:
    if wanted is None:
        return None
    return pc.field(column).isin(pa.array(_texts(column, wanted), pa.large_string()))


def _texts(column: str, wanted: str | Sequence[str]) -> list[str]:
    return [unicodedata.normalize("NFC", one) for one in as_texts(column, wanted)]  # as ingest stores names


def _within(duration: Duration | None) -> list[pc.Expression]:
    if duration is None:
        return []
    wrong = InvalidArgument("duration= must be (shortest, longest) in seconds, either of which may be None")
    if isinstance(duration, (str, bytes, bytearray, Set, Mapping)):  # characters, and what has no order
        raise wrong
    try:
        shortest, longest = (None if end is None else float(end) for end in duration)
    except (TypeError, ValueError, OverflowError):
        raise wrong from None
    if any(end is not None and math.isnan(end) for end in (shortest, longest)):
        raise wrong
    if shortest is not None and longest is not None and shortest > longest:
        raise InvalidArgument(f"duration= must be (shortest, longest), but {shortest} s is longer than {longest} s")
    frames = frames_of(pc.field).cast(pa.float64())
    seconds = frames / pc.field("sample_rate").cast(pa.float64())
    bounds = []
    if shortest is not None:
        bounds.append(seconds >= pc.scalar(shortest))
    if longest is not None:
        bounds.append(seconds <= pc.scalar(longest))
    return bounds


class Check:
    """Looks through all rows of the corpora as they are opened, to find a speaker or split that none of them has."""

    def __init__(self, speaker: str | Sequence[str] | None, split: str | Sequence[str] | None) -> None:
        asked = {"speaker": speaker, "split": split}
        self._asked = {column: _texts(column, one) for column, one in asked.items() if one is not None}
        self._known: dict[str, set[str]] = {column: set() for column in self._asked}
        self._rows = 0

    @property
    def speakers(self) -> list[str] | None:
        """The requested speakers; None for all."""
        return self._asked.get("speaker")

    def look(self, rows: pa.Table) -> None:
        """Note some rows, before any are filtered out."""
        self._rows += rows.num_rows
        for column, known in self._known.items():
            known.update(pc.unique(rows.column(column)).to_pylist())

    def judge(self, corpora: Sequence[Corpus], rows: Sequence[int] | None = None) -> None:
        """Called when all corpora are open; warns if no row is left.

        Args:
            rows: how many the filters leave of each; None: those that are open.

        Raises:
            InvalidArgument: a speaker or a split that no row of any corpus has.
        """
        where = ", ".join(corpus.name or corpus.root for corpus in corpora)
        for column, asked in self._asked.items():
            known = self._known[column]
            for number, value in enumerate(asked):
                if value not in known:
                    which = "" if len(asked) == 1 else f", number {number + 1} of {len(asked)},"
                    hint = _splits(value, known) if column == "split" else _speakers(value, known)
                    raise InvalidArgument(f"{column}={which} is not in {where}: {hint}", root=corpora[0].root)
        if self._rows and not any(map(len, corpora) if rows is None else rows):
            warnings.warn(
                f"none of the {self._rows} recordings of {where} matches all filters", UserWarning, stacklevel=4
            )


def _splits(value: str, known: set[str]) -> str:
    if not known - {""}:
        return "no recording there has a split"
    near = difflib.get_close_matches(value, known, 5)
    shown = ", ".join(map(repr, near or sorted(known)[:10]))
    return f"it has no split {value!r}; {'similar ones are' if near else 'its splits are'} {shown}"


def _speakers(value: str, known: set[str]) -> str:
    # names of people stay out of error texts, which end up in logs
    folded = value.casefold().split()
    near = any(one.casefold().split() == folded for one in known)
    hint = "one name differs in case or spaces only; " if near else ""
    return f"no recording there has that speaker; {hint}ds.speakers lists the {len(known)} that there are"


def several(value: Any) -> list[Any]:
    """The items of a list, or the single value as a list."""
    alone = isinstance(value, (str, bytes, os.PathLike, Reference, Dataset)) or not isinstance(value, Iterable)
    return [value] if alone else list(value)


def for_each(corpora: int, accept_generation: Any) -> Sequence[int | None]:
    """The generation to accept for each corpus.

    Raises:
        InvalidArgument: not one for each.
    """
    if accept_generation is None:
        return [None] * corpora
    # a tuple or list, and nothing else that has a length: a number may arrive as text
    listed = list(accept_generation) if isinstance(accept_generation, (tuple, list)) else [accept_generation]
    if len(listed) != corpora:
        raise InvalidArgument(
            f"accept_generation= has {len(listed)} generations for {corpora} corpora: pass a list in their order, "
            "with None for those that are current"
        )
    return listed
