"""What the columns of a manifest are called elsewhere, and where they say that a segment begins and ends."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

from securedata.errors import InvalidArgument

UNITS = ("s", "ms", "samples")
"""Of the times of segments: seconds, milliseconds, frames of the recording."""

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


# Compared as `folded` has them.
KNOWN_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "audio", "audio_filepath", "audio_filename", "audio_file", "wav"),
    "transcript": ("transcript", "text", "sentence", "transcription"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk_id"),
    "subjects": ("subjects",),
    "split": ("split", "subset"),
    "language": ("language", "lang", "locale"),
    "utterance": ("utterance", "id"),
    "offset": _with_units("offset", "offset", "start", "start_time", "starttime", "begin", "begin_time", "onset"),
    "end": _with_units("end", "end", "end_time", "endtime", "stop", "stop_time"),
    "duration": _with_units("duration", "duration", "dur"),
}
_TARGETS = {name: target for target, names in KNOWN_COLUMNS.items() for name in names}
_WORDS = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+")
# of a part of a recording, in words or units of which nobody can be sure
_PERHAPS_START = frozenset(("start", "begin", "begins", "onset", "offset", "xmin", "tmin", "t0"))
_PERHAPS_END = frozenset(("end", "ends", "stop", "xmax", "tmax", "t1"))
_PAIRS = {"from": "start", "to": "end"}  # as whole names


@lru_cache(4096)  # asked for every row of an export
def folded(name: str) -> str:
    """The name of a column as it is compared: `start_ms` for 'Start (ms)', 'startMs' and 'START_MS'."""
    name = name.strip()
    if name.isascii() and name[:1].isalnum():
        return "_".join(_WORDS.findall(name)).lower()
    return name.casefold()


def target_of(name: str) -> str | None:
    """What a column of this name usually holds; None: something else."""
    return _TARGETS.get(folded(name))


def perhaps_start(name: str) -> bool:
    """Does it sound as if a part of a recording starts there?"""
    return not _PERHAPS_START.isdisjoint(_words(name))


def perhaps_end(name: str) -> bool:
    """Does it sound as if a part of a recording ends there?"""
    return not _PERHAPS_END.isdisjoint(_words(name))


def _words(name: str) -> list[str]:
    name = folded(name)
    return _PAIRS.get(name, name).split("_")


_TIMES = ("offset", "end", "duration")
_ROUNDING = {"s": 0.0105, "samples": 1.5}  # to hundredths of a second


class BadValue(Exception):
    """A value that its column cannot hold; becomes the fault of its row."""


class Times:
    """How one manifest says where segments are: in which columns, and in which unit.

    Attributes:
        in_samples: whether what `span` returns counts frames of the recording; else it is seconds.
    """

    def __init__(self, where: str, unit: str | None) -> None:
        """`unit` is what the caller says of columns whose names say nothing."""
        self._where, self._unit = where, unit
        self._columns: dict[str, str] = {}  # the first that serves as what
        self._units: dict[str, str] = {}
        self._seen: set[str] = set()
        self._others: list[str] = []  # columns that serve as nothing, with a number at first
        self.in_samples = False

    def note(self, roles: Mapping[str, str]) -> None:
        """Look at the columns of a row, by what they serve as.

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
                f"{self._where} gives times in samples and in others: {said}; say --segment-unit samples if all are, "
                "or leave one out, as --columns duration="
            )

    def note_others(self, values: Mapping[str, Any]) -> None:
        """Look at the columns of a row that serve as nothing: numbers in them may be times after all."""
        if not self._seen.issuperset(values):
            new = [name for name in values if name not in self._seen]
            self._others += [name for name in new if _is_number(values[name])]
            self._seen.update(new)

    def check(self, chosen: AbstractSet[str]) -> None:
        """See that segments are not taken for whole recordings, or for others.

        Args:
            chosen: what the caller said of columns, for nobody has to say it twice.

        Raises:
            InvalidArgument: the manifest has only one end of its segments, or columns that seem to be both of them.
        """
        start, end = self._columns.get("offset"), self._columns.get("end")
        if not start and not end and chosen.isdisjoint(("offset", "end")):
            self._check_others()
        if end and not start:
            raise InvalidArgument(
                f"{self._where} has a column {end!r} and none that says where a segment starts: name it, as --columns "
                "offset=NAME, or, if these are no segments, say --columns end="
            )
        if start and not _is_nemos(start) and not end and "duration" not in self._columns:
            raise InvalidArgument(
                f"{self._where} has a column {start!r} and none that says where a segment ends: name it, as --columns "
                "end=NAME or duration=NAME, or, if these are no segments, say --columns offset="
            )

    def _check_others(self) -> None:
        start = next(filter(perhaps_start, self._others), None)
        end = next((name for name in self._others if name != start and perhaps_end(name)), None)
        if start is not None and end is not None:
            raise InvalidArgument(
                f"{self._where} has columns {start!r} and {end!r}: if they are where a segment starts and ends, say "
                f"--columns offset={start!r} --columns end={end!r} (and --segment-unit); if not, say --columns end="
            )

    def span(self, values: Mapping[str, Any], roles: Mapping[str, str]) -> tuple[float | None, float | None]:
        """Where the segment of a row starts and how long it is; None for what the row does not say.

        Raises:
            BadValue
        """
        start, end, length = (self._number(target, values.get(target), roles) for target in _TIMES)
        if end is None:
            open_end = "end" not in self._columns and _is_nemos(roles.get("offset", "offset"))
            if start is not None and length is None and not open_end:
                raise BadValue("it has a start and no end")
            return start, length
        if start is None:
            raise BadValue("it has an end and no start")
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
            raise InvalidArgument(f"{self._where}: column {column!r} is in {said}, and --segment-unit {self._unit}")
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
        if isinstance(value, str) and "_" in value:  # which Python takes for a number
            number = math.nan
        whole = unit != "samples" or number == int(number) if math.isfinite(number) else False
        if isinstance(value, bool) or not whole or number < 0:
            what = {"s": "seconds", "ms": "milliseconds", "samples": "samples"}[unit]
            hint = "" if column == target else f" (if it is none, say --columns {target}=)"
            raise BadValue(f"its {column} is not a number of {what} from 0{hint}")
        return number / 1000 if unit == "ms" else number


def _is_nemos(column: str) -> bool:
    """NeMo's `offset` alone means: up to the end of the recording."""
    return folded(column) == "offset"


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False
