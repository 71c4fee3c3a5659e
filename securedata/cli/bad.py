"""What an earlier run could not take, so that a later one can tell news from old: `--write-bad` and `--known-bad`."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from securedata.errors import InvalidArgument

CONFLICT = "other content or people under a path that is taken"
ERASED = "of a person who was erased"


@dataclass(frozen=True, slots=True, order=True, repr=False)  # paths are often names of people
class Bad:
    """One recording that is not taken, and why."""

    path: str
    reason: str


class _Problem(Protocol):
    @property
    def path(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def taken(self) -> bool: ...


class _Report(Protocol):
    @property
    def problems(self) -> Sequence[_Problem]: ...
    @property
    def conflicts(self) -> Sequence[str]: ...
    @property
    def erased(self) -> Sequence[str]: ...


def bad_of(report: _Report) -> list[Bad]:
    """Everything that a run did not take."""
    return [
        *(Bad(one.path, one.reason) for one in report.problems if not one.taken),
        *(Bad(path, CONFLICT) for path in report.conflicts),
        *(Bad(path, ERASED) for path in report.erased),
    ]


def read_known(file: str | None) -> frozenset[Bad]:
    """What `write_bad` wrote; nothing without a file.

    Raises:
        InvalidArgument: it cannot be read, or is no such file.
    """
    if file is None:
        return frozenset()
    try:
        with open(file, encoding="utf-8") as lines:
            entries = [json.loads(line) for line in lines if line.strip()]
        return frozenset(_key(Bad(str(one["path"]), str(one["reason"]))) for one in entries)
    except OSError as error:
        raise InvalidArgument(
            f"--known-bad {file} cannot be read ({error.strerror}); a run with --write-bad {file} makes it"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise InvalidArgument(
            f"--known-bad {file} is not what --write-bad writes: a path and a reason a line"
        ) from None


def news(found: Iterable[Bad], known: frozenset[Bad]) -> list[Bad]:
    """What is bad and was not known, or for another reason."""
    return [one for one in found if _key(one) not in known]


def write_bad(file: str, found: Iterable[Bad]) -> None:
    """Write what is bad, one JSON object a line, for this user alone: paths are often names of people.

    Raises:
        InvalidArgument: it cannot be written.
    """
    text = "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in sorted(set(found)))
    folder, name = os.path.split(os.path.abspath(file))
    try:
        descriptor, scratch = tempfile.mkstemp(prefix=f".{name}.", dir=folder)  # made 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                out.write(text)
            os.replace(scratch, os.path.join(folder, name))
        except BaseException:  # raised again: nothing half written stays
            os.unlink(scratch)
            raise
    except OSError as error:
        raise InvalidArgument(f"--write-bad {file} cannot be written: {error.strerror}") from None


def _key(one: Bad) -> Bad:
    """A manifest that grew gives the same row another line."""
    return Bad(one.path, re.sub(r"\bline \d+", "line", one.reason))
