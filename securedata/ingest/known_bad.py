"""Remembers what a run could not take, so that a later one can tell new problems from old ones."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Protocol

from securedata.errors import InvalidArgument
from securedata.files import put_in_place, read_bounded
from securedata.ingest.sources.walk.file_kinds import is_table
from securedata.media.audio.suffixes import is_audio
from securedata.printable import plural

if TYPE_CHECKING:
    from securedata.ingest.sources.recordings import SourceList

CONFLICT = "other content or people under a path that is taken"
ERASED = "of a person who was erased"
HELD = "of a person under a hold, whose rows stay as they are"
_LARGEST = 2**30
"""Largest size of such a file in bytes: it is read whole, and may be a pipe."""


@dataclass(frozen=True, slots=True, order=True, repr=False)  # paths often name people
class NotTaken:
    """A recording that is not taken, and why.

    Attributes:
        path: of the recording, under the source.
        reason: why it is not taken.
        stamp: size, time and version in the listing; '' if it has no such file. Another file under the same path is a
            new problem.
    """

    path: str
    reason: str
    stamp: str = ""

    def said(self) -> dict[str, str]:
        """The path and reason, for `--json`."""
        return {"path": self.path, "reason": self.reason}


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
    @property
    def held(self) -> Sequence[str]: ...


def bad_of(report: _Report, sources: SourceList | None = None) -> list[NotTaken]:
    """Everything that a run did not take; without `sources`, the entries have no stamps."""
    problems = [one for one in report.problems if not one.taken]
    paths = {*report.conflicts, *report.held, *(one.path for one in problems)}
    stamps = _stamps(sources, paths) if sources is not None else {}
    return [
        *(NotTaken(one.path, one.reason, stamps.get(one.path, "")) for one in problems),
        *(NotTaken(path, CONFLICT, stamps.get(path, "")) for path in report.conflicts),
        *(NotTaken(path, ERASED) for path in report.erased),
        *(NotTaken(path, HELD, stamps.get(path, "")) for path in report.held),
    ]


def amount(bad: Sequence[NotTaken]) -> str:
    """How many recordings these are, and how many other entries, such as texts, tables and folders."""
    recordings = sum(1 for one in bad if one.reason in (CONFLICT, ERASED, HELD) or _is_recording(one.path))
    others = len(bad) - recordings
    parts = [plural(recordings, "recording")] if recordings or not others else []
    if others:
        parts.append(f"{others:,} other {'entry' if others == 1 else 'entries'}")
    return " and ".join(parts)


def _is_recording(path: str) -> bool:
    table, _, row = path.rpartition("#")
    return is_audio(path) or (is_table(table) and row.isdecimal())


def _stamps(sources: SourceList, paths: set[str]) -> dict[str, str]:
    """Size, time and version of these files in the listing, as text."""
    if not paths:
        return {}
    columns = (sources.table.column(name).to_pylist() for name in ("path", "size", "mtime_ns", "version"))
    rows = ((path, stamp) for path, *stamp in zip(*columns, strict=True) if path in paths)
    known = ((path, list(stamp)) for path, stamp in sources.stamps.items())
    return {path: " ".join(map(str, stamp)).strip() for path, stamp in (*rows, *known)}


def read_known(file: str | os.PathLike[str] | None) -> frozenset[NotTaken]:
    """Read what `write_bad` wrote; empty without a file.

    Raises:
        InvalidArgument: it cannot be read, or is another kind of file.
    """
    if file is None:
        return frozenset()
    try:
        lines = read_bounded(os.open(file, os.O_RDONLY | os.O_CLOEXEC), os.fspath(file), _LARGEST).decode().split("\n")
        entries = [json.loads(line) for line in lines if line.strip()]
        found = (NotTaken(str(one["path"]), str(one["reason"]), str(one.get("stamp", ""))) for one in entries)
        return frozenset(map(_key, found))
    except OSError as error:
        raise InvalidArgument(
            f"--known-bad {file} cannot be read ({error.strerror}); a run with --write-bad {file} creates it"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidArgument(
            f"--known-bad {file} was not written by --write-bad: each line must hold a path and a reason"
        ) from None


def news(found: Iterable[NotTaken], known: frozenset[NotTaken]) -> list[NotTaken]:
    """What was not known, or is bad for another reason, or is another file by now."""
    return [one for one in found if not known.intersection((_key(one), _key(replace(one, stamp=""))))]


def check_writable(file: str | os.PathLike[str]) -> None:
    """Check, before any work, that `write_bad` can write this file.

    Raises:
        InvalidArgument: it cannot.
    """
    where = os.path.abspath(file)
    try:
        _check_replaceable(where)
        with tempfile.TemporaryFile(dir=os.path.dirname(where)):
            pass
    except OSError as error:
        raise InvalidArgument(f"--write-bad {file} cannot be written: {error.strerror}") from None


def _check_replaceable(path: str) -> None:
    """Refuse a link, device or pipe, such as /dev/stdout: a file written beside it would replace it.

    Raises:
        OSError: something other than a regular file is there.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a link, device or pipe; name a regular file")


def write_bad(file: str | os.PathLike[str], found: Iterable[NotTaken]) -> None:
    """Write what was not taken, a JSON object per line, readable by this user only: paths often name people.

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
            _check_replaceable(os.path.join(folder, name))
            put_in_place(scratch, os.path.join(folder, name))
        except BaseException:  # re-raised: leave no partial file
            with contextlib.suppress(FileNotFoundError):
                os.unlink(scratch)
            raise
    except OSError as error:
        raise InvalidArgument(f"--write-bad {file} cannot be written: {error.strerror}") from None


def _key(one: NotTaken) -> NotTaken:
    """Without numbers of lines and rows, which change when a manifest grows."""
    return replace(one, reason=re.sub(r"\b(line|row|recording) \d+", r"\1", one.reason))
