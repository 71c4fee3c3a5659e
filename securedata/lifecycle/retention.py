"""How long a corpus may keep recordings: a rule in its head, what is overdue by it, and erasing that.

    raw        after that long since its ingest, a recording is overdue
    features   likewise an array of features
    inactive   after that long since the last contact with its person, whatever it is

A row whose ingest or last contact is not recorded is never overdue by it. Rows whose consent has ended are overdue too.
Erasing by a rule bars nobody and nothing: an ingest of the same source brings recordings back, for as long again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.changes import Mask
from securedata.corpus.rows.durations import seconds_of
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.head import Head
from securedata.corpus.state.json_values import natural
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, MalformedManifest
from securedata.lifecycle.select import mask_of
from securedata.media.npy import FORMAT as FEATURES

_DAY = 24 * 3600
_UNITS = {"d": _DAY, "w": 7 * _DAY, "y": 365 * _DAY}
_SPAN = re.compile(r"([0-9]{1,5})([dwy])")
_DURATION = ("frames", "frames_in_segment", "sample_rate")


@dataclass(frozen=True, slots=True)
class Rule:
    """A retention rule: seconds, or None for no limit."""

    raw: int | None = None
    features: int | None = None
    inactive: int | None = None

    @classmethod
    def of(cls, head: Head, root: str) -> Rule:
        """The rule of a corpus.

        Raises:
            MalformedManifest
        """
        try:
            return cls(**{name: natural(value) for name, value in head.retention.items()})
        except (TypeError, ValueError):
            raise MalformedManifest(
                f"the head of {root} has a retention rule that cannot be read; a newer securedata might have written "
                "it: update securedata",
                root=root,
            ) from None

    @property
    def limits(self) -> dict[str, int]:
        """The limits that the rule has, in seconds."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def parse_span(text: str) -> int:
    """Seconds of a span such as 30d, 6w or 2y (of 365 days).

    Raises:
        InvalidArgument: it is no span, or zero, which would erase everything at once.
    """
    match = _SPAN.fullmatch(text)
    if match is None or not int(match[1]):
        raise InvalidArgument(
            f"{text!r} is not a span of time such as 30d, 6w or 2y; to erase everything, use 'securedata erase --all'"
        )
    return int(match[1]) * _UNITS[match[2]]


def span_text(seconds: int) -> str:
    """A span as `parse_span` takes it, in the largest unit that is exact; in seconds, if another writer made it so."""
    unit, size = next(((unit, size) for unit, size in reversed(_UNITS.items()) if seconds % size == 0), (" s", 1))
    return f"{seconds // size}{unit}"


class Overdue:
    """The rows that a rule no longer allows at a moment, in seconds since the epoch."""

    columns = ("format", "ingested", "last_contact")

    def __init__(self, rule: Rule, now: float) -> None:
        self.rule, self.now = rule, now

    def hits(self, head: Head, view: pa.Table) -> Mask:
        """As `Select.hits`."""
        features = mask_of(pc.equal(view.column("format"), FEATURES))
        found = _older(view, "ingested", self.rule.features, self.now) & features
        found |= _older(view, "ingested", self.rule.raw, self.now) & ~features
        return found | _older(view, "last_contact", self.rule.inactive, self.now)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is overdue in a corpus.

    Attributes:
        overdue, seconds: rows that the rule no longer allows, and their audio.
        expired: rows whose consent has ended.
        undated: rows without the time of their ingest, which the rule cannot judge.
    """

    overdue: int = 0
    seconds: float = 0.0
    expired: int = 0
    undated: int = 0


def set_rule(writer: Writer, **changes: int | None) -> Rule:
    """Change the limits that are given (None: no limit) in one commit; returns the rule."""

    def change(attempt: Try) -> Next[Rule]:
        rule = Rule(**{**asdict(Rule.of(attempt.head, writer.root)), **changes})
        same = rule.limits == attempt.head.retention
        return Next(rule, None if same else {"retention": rule.limits})

    return writer.transact(change)


def standing(head: Head, tables: Mapping[bytes, pa.Table], root: str, now: float) -> Standing:
    """What is overdue now, from the columns of `looked_at` of each part, by part id."""
    rule = Rule.of(head, root)
    total = Standing()
    for view in tables.values():
        late = Overdue(rule, now).hits(head, view)
        ended = _older(view, "expires", 0, now)
        undated = ~_known(view, "ingested") if rule.raw or rule.features else np.zeros(view.num_rows, bool)
        total = Standing(
            total.overdue + int(late.sum()),
            total.seconds + float(pc.sum(seconds_of(view.filter(pa.array(late)))).as_py() or 0.0),
            total.expired + int(ended.sum()),
            total.undated + int(undated.sum()),
        )
    return total


def looked_at() -> tuple[str, ...]:
    """The columns that `standing` needs."""
    return (*Overdue.columns, "expires", *_DURATION)


def _older(view: pa.Table, name: str, span: int | None, now: float) -> Mask:
    if span is None or name not in view.schema.names:
        return np.zeros(view.num_rows, dtype=bool)
    column: Any = view.column(name)
    return mask_of(pc.less_equal(column, pa.scalar(int((now - span) * 1e6), column.type)))


def _known(view: pa.Table, name: str) -> Mask:
    if name not in view.schema.names:
        return np.zeros(view.num_rows, dtype=bool)
    return mask_of(pc.is_valid(view.column(name)))
