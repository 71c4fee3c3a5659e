"""Other names for the columns of a manifest, and the columns that give the start and end of a segment."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

from securedata.errors import InvalidArgument

UNITS = ("s", "ms", "samples")
"""Units of segment times: seconds, milliseconds, frames of the recording."""

_SUFFIXES = {
    **dict.fromkeys(("_s", "_sec", "_secs", "_second", "_seconds"), "s"),
    **dict.fromkeys(("_ms", "_msec", "_millis", "_milliseconds"), "ms"),
    **dict.fromkeys(("_samples", "_sample"), "samples"),
}
_IN_SAMPLES = {"offset": ("frame_offset",), "end": (), "duration": ("num_frames", "num_samples")}


_OF = ("", "segment_", "seg_", "clip_", "chunk_", "utterance_", "utt_")


def _with_units(target: str, *names: str) -> tuple[str, ...]:
    whole = [of + name for name in names for of in _OF]
    return (*whole, *(name + suffix for name in whole for suffix in _SUFFIXES), *_IN_SAMPLES[target])


# Names as `folded` returns them.
KNOWN_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "audio", "audio_filepath", "audio_filename", "audio_file", "wav"),
    "transcript": ("transcript", "text", "sentence", "transcription"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk_id"),
    "subjects": ("subjects",),
    "split": ("split", "subset"),
    "language": ("language", "lang", "locale"),
    "utterance": ("utterance", "id"),
    "consent_id": ("consent_id",),
    "purposes": ("purposes", "consent_purposes"),
    "expires": ("expires", "consent_expires"),
    "last_contact": ("last_contact",),
    "offset": _with_units("offset", "offset", "start", "start_time", "starttime", "begin", "begin_time", "onset"),
    "end": _with_units("end", "end", "end_time", "endtime", "stop", "stop_time"),
    "duration": _with_units("duration", "duration", "dur"),
}
_TARGETS = {name: target for target, names in KNOWN_COLUMNS.items() for name in names}
_WORDS = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+")
# words that suggest a segment's bounds without being certain
_PERHAPS_START = frozenset(("start", "begin", "begins", "onset", "offset", "xmin", "tmin", "t0"))
_PERHAPS_END = frozenset(("end", "ends", "stop", "xmax", "tmax", "t1"))
_PAIRS = {"from": "start", "to": "end"}  # as whole names


@lru_cache(4096)  # called for every row of an export
def folded(name: str) -> str:
    """A column's name in the form used for comparison: `start_ms` for 'Start (ms)', 'startMs' and 'START_MS'."""
    name = name.strip()
    if name.isascii() and name[:1].isalnum():
        return "_".join(_WORDS.findall(name)).lower()
    return name.casefold()


def target_of(name: str) -> str | None:
    """The column of ours that this name usually means; None: unknown."""
    return _TARGETS.get(folded(name))


def perhaps_start(name: str) -> bool:
    """Might a column of this name hold the start of a segment?"""
    return not _PERHAPS_START.isdisjoint(_words(name))


def perhaps_end(name: str) -> bool:
    """Might a column of this name hold the end of a segment?"""
    return not _PERHAPS_END.isdisjoint(_words(name))


def _words(name: str) -> list[str]:
    name = folded(name)
    return _PAIRS.get(name, name).split("_")


_TIMES = ("offset", "end", "duration")
_ROUNDING = {"s": 0.0105, "samples": 1.5}  # to hundredths of a second


class BadValue(Exception):
    """A value that its column cannot hold; reported as a problem of its row."""


class Times:
    """How one manifest gives segments: in which columns, and in which unit.

    Attributes:
        in_samples: whether `span` returns frames of the recording rather than seconds.
    """

    def __init__(self, where: str, unit: str | None) -> None:
        """`unit` is the caller's, for columns whose names give none."""
        self._where, self._unit = where, unit
        self._columns: dict[str, str] = {}  # by role, the first column that has it
        self._units: dict[str, str] = {}
        self._seen: set[str] = set()
        self._others: list[str] = []  # columns without a role whose first value is a number
        self.in_samples = False

    def note(self, roles: Mapping[str, str]) -> None:
        """Note the columns of a row, by role.

        Raises:
            InvalidArgument: units that contradict each other.
        """
        for target in _TIMES:
            column = roles.get(target)
            if column is not None and column not in self._units:
                self._columns.setdefault(target, column)
                self._add(column)

    def _add(self, column: str) -> None:
        units = self._units
        units[column] = self._unit_of(column)
        self.in_samples = "samples" in units.values()
        if self.in_samples and set(units.values()) != {"samples"}:
            said = ", ".join(f"{name!r} in {unit}" for name, unit in units.items())
            raise InvalidArgument(
                f"{self._where} gives times both in samples and in other units: {said}; give --segment-unit samples "
                "if all are in samples, or leave one out, such as --columns duration="
            )

    def note_others(self, values: Mapping[str, Any]) -> None:
        """Note the columns of a row that have no role: numbers in them may be times after all."""
        if not self._seen.issuperset(values):
            new = [name for name in values if name not in self._seen]
            self._others += [name for name in new if _is_number(values[name])]
            self._seen.update(new)

    def check(self, chosen: AbstractSet[str]) -> None:
        """Check that segments are not mistaken for whole recordings or other segments.

        Args:
            chosen: roles that the caller has assigned or cleared, about which there is no question.

        Raises:
            InvalidArgument: the manifest has only one bound of its segments, or two columns that seem to be both.
        """
        start, end = self._columns.get("offset"), self._columns.get("end")
        if not start and not end and chosen.isdisjoint(("offset", "end")):
            self._check_others()
        if end and not start:
            raise InvalidArgument(
                f"{self._where} has a column {end!r}, but none for where a segment starts: name it with --columns "
                "offset=NAME, or, if these are not segments, give --columns end="
            )
        if start and not _is_nemos(start) and not end and "duration" not in self._columns:
            raise InvalidArgument(
                f"{self._where} has a column {start!r}, but none for where a segment ends: name it with --columns "
                "end=NAME or duration=NAME, or, if these are not segments, give --columns offset="
            )

    def _check_others(self) -> None:
        start = next(filter(perhaps_start, self._others), None)
        end = next((name for name in self._others if name != start and perhaps_end(name)), None)
        if start is not None and end is not None:
            raise InvalidArgument(
                f"{self._where} has columns {start!r} and {end!r}: if a segment starts and ends there, give --columns "
                f"offset={start!r} --columns end={end!r} (and --segment-unit); if not, give --columns end="
            )

    def span(self, values: Mapping[str, Any], roles: Mapping[str, str]) -> tuple[float | None, float | None]:
        """The start and length of a row's segment; None for what the row does not give.

        Raises:
            BadValue
        """
        start, end, length = (self._number(target, values.get(target), roles) for target in _TIMES)
        if end is None:
            open_end = "end" not in self._columns and _is_nemos(roles.get("offset", "offset"))
            if start is not None and length is None and not open_end:
                raise BadValue("it has a start but no end")
            return start, length
        if start is None:
            raise BadValue("it has an end but no start")
        if end <= start:
            raise BadValue("it ends before it starts")
        if length is not None and abs(start + length - end) > _ROUNDING["samples" if self.in_samples else "s"]:
            raise BadValue("its end and its duration contradict each other")
        return start, end - start

    def _unit_of(self, column: str) -> str:
        name = folded(column)
        said = next((unit for suffix, unit in _SUFFIXES.items() if name.endswith(suffix)), None)
        if any(name in names for names in _IN_SAMPLES.values()):
            said = "samples"
        if said and self._unit and said != self._unit:
            raise InvalidArgument(f"{self._where}: column {column!r} is in {said}, but --segment-unit is {self._unit}")
        return said or self._unit or "s"

    def _number(self, target: str, value: Any, roles: Mapping[str, str]) -> float | None:
        if value is None or value == "":
            return None
        column = roles[target]
        unit = self._units[column]
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if isinstance(value, str) and "_" in value:  # Python reads 1_0 as a number
            number = math.nan
        whole = unit != "samples" or number == int(number) if math.isfinite(number) else False
        if isinstance(value, bool) or not whole or number < 0:
            what = {"s": "seconds", "ms": "milliseconds", "samples": "samples"}[unit]
            hint = "" if column == target else f" (if it is not meant to be, give --columns {target}=)"
            raise BadValue(f"its {column} is not a number of {what} from 0{hint}")
        return number / 1000 if unit == "ms" else number


def _is_nemos(column: str) -> bool:
    """Is this NeMo's `offset`? Alone, it means: up to the end of the recording."""
    return folded(column) == "offset"


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False
