"""Transcripts, speakers and segments from a NeMo manifest (JSON, one object per line) or a table (CSV, TSV, Parquet).

A line that is not a JSON object, has the wrong number of fields or names no audio file is an error: a manifest that is
broken in one place cannot be trusted in others. A well-formed row with an impossible value affects only its recording.

CSV follows RFC 4180 (quotes). TSV usually has no quoting: in Common Voice, sentences begin with quotation marks. Fields
that pandas quoted, because they hold a quotation mark, a tab or a line end, are unquoted.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa

from securedata.corpus.columns import KNOWN_COLUMNS, BadValue, Times, folded, target_of
from securedata.corpus.state.consent import Consent, consent_of
from securedata.errors import InvalidArgument
from securedata.files import read_bounded
from securedata.foreign.describe import describe
from securedata.ingest.sources.members.table import rows_of
from securedata.ingest.sources.nested import lift, lift_path, names_in
from securedata.ingest.sources.origin import MAX_CONTENT
from securedata.ingest.sources.texts import NoText, not_a_header, strip, text_of
from securedata.ingest.sources.values import NotAnObject, as_extra, as_people, as_person, as_text, json_object
from securedata.ingest.sources.walk.file_kinds import is_table, is_tar
from securedata.ingest.sources.walk.names import is_utf8, printable


@dataclass(slots=True, repr=False)  # holds transcripts and names
class Rows:
    """The rows of one manifest, as columns.

    Attributes:
        names: the audio file, as the row spells it.
        lines: numbers, from 1, for messages: of a line in a text, of a row in a table.
        transcript, speaker, utterance, split, language: '' where the row has none.
        subjects: the people in the recording: those in `subjects`, else the speaker; () where the row names nobody.
        offset, duration: of a segment, or None; in seconds, or in frames of the recording if `in_samples`.
        consent: what the row says of consent.
        extra: every other column, as one JSON object; '' if there is none.
        fault: what is wrong with the row, '' if nothing.
        files: the table of each row, if there are several; () for one manifest.
        of_what, name: what these are rows of, for messages.
        names_people: whether the manifest has a speaker or subjects column at all.
        columns: the names of all columns, with those inside JSON objects, such as 'meta.speaker'.
    """

    names: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    transcript: list[str] = field(default_factory=list)
    speaker: list[str] = field(default_factory=list)
    utterance: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    language: list[str] = field(default_factory=list)
    subjects: list[tuple[str, ...]] = field(default_factory=list)
    offset: list[float | None] = field(default_factory=list)
    duration: list[float | None] = field(default_factory=list)
    consent: list[Consent] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    fault: list[str] = field(default_factory=list)
    files: Sequence[str] = ()
    of_what: str = "the manifest"
    name: str = ""
    names_people: bool = False
    in_samples: bool = False
    columns: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def place(self, k: int) -> str:
        """The place of a row, for messages."""
        file = self.files[k] if self.files else self.of_what
        return f"{printable(self.names[k]) if is_tar(file) else self._number(k)} of {file}"

    def place_beside(self, k: int, other: int) -> str:
        """The place of a row, for a message that already gives the place of `other`."""
        return self.place(k) if self.files and self.files[k] != self.files[other] else self._number(k)

    def _number(self, k: int) -> str:
        return _number(self.files[k] if self.files else self.name, self.lines[k])


def _number(file: str, line: int) -> str:
    return f"{'row' if is_table(file) else 'recording' if is_tar(file) else 'line'} {line}"


def place_of(file: str, line: int) -> str:
    """The place of a row, for messages that end the run."""
    return f"{file}, {_number(file, line)}"


def read_rows(
    manifest: str | os.PathLike[str],
    columns: Mapping[str, str | None] | None = None,
    content: bytes | None = None,
    segment_unit: str | None = None,
) -> Rows:
    """Read a manifest: `.json`, `.jsonl`, `.ndjson` as JSON lines, `.csv`, `.tsv` as a table with a header, `.parquet`.

    Args:
        manifest: the file.
        content: its bytes, if they were fetched already.
        columns: which column to read for a field, as in `{"speaker": "client_id"}`; with None or '' the field is not
            read, and its column goes to extra. Without an entry the usual names are recognised (`KNOWN_COLUMNS`). They
            also work as names of the field: `{"text": ...}` is `{"transcript": ...}`. A column with dots reaches into
            JSON objects: `{"text": "annotation.text"}`.
        segment_unit: one of `UNITS`, for times in columns whose names do not tell the unit; None: seconds.

    Raises:
        InvalidArgument: it cannot be read, or is not a manifest in one of these forms.
    """
    where = os.path.basename(os.fspath(manifest))
    chosen = chosen_columns(columns or {})
    suffix = os.path.splitext(where)[1].lower()
    if suffix not in _SUFFIXES:
        raise InvalidArgument(f"{where}: a manifest must have one of the suffixes {', '.join(_SUFFIXES)}")
    try:
        content = _content(manifest) if content is None else content
    except OSError as error:
        raise InvalidArgument(f"{where}: the manifest cannot be read: {error.strerror}") from None
    return collect(lines_in(content, where), where, chosen, segment_unit)


def lines_in(content: bytes, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and values, by column, of each line of a manifest; its suffix, before any .gz, tells the format.

    Raises:
        InvalidArgument: it does not have this format.
    """
    suffix = os.path.splitext(name.lower().removesuffix(".gz"))[1]
    try:
        if suffix == ".parquet":
            yield from rows_of(content)
            return
        yield from _READERS[suffix](text_of(content), suffix, name)
    except NoText as error:
        raise InvalidArgument(f"{name}: the manifest is {error}") from None
    except (pa.ArrowException, OSError) as error:
        raise InvalidArgument(f"{name}: the manifest cannot be read as Parquet: {describe(error)}") from None


def chosen_columns(columns: Mapping[str, str | None]) -> dict[str, str | None]:
    """The columns that the caller chose, by field.

    Raises:
        InvalidArgument: a field is unknown, or has two columns.
    """
    chosen: dict[str, str | None] = {}
    for name, column in columns.items():
        target = name if name in KNOWN_COLUMNS else target_of(name)
        if target is None:
            raise InvalidArgument(f"unknown field {name!r}: choose one of {', '.join(KNOWN_COLUMNS)}")
        if (chosen.setdefault(target, column) or "") != (column or ""):
            both = f"{chosen[target] or ''!r} and {column or ''!r}"
            raise InvalidArgument(f"--columns names two columns for {target}, {both}: leave one out")
    return chosen


def collect(
    lines: Iterator[tuple[int, dict[str, Any]]],
    where: str,
    chosen: Mapping[str, str | None],
    segment_unit: str | None,
    at: Callable[[int], str] | None = None,
) -> Rows:
    """Make rows from the values of each line, by column.

    Args:
        where: what they are rows of, for messages.
        chosen: from `chosen_columns`.
        at: gives the place of a line, for messages; None: a line of `where`.

    Raises:
        InvalidArgument: there are no rows, or a required column is missing.
    """
    roles, times = _Roles(where, chosen, at or partial(place_of, where)), Times(where, segment_unit)
    rows = Rows(name=where)
    for line, values in lines:
        _append(rows, line, values, roles, times)
    if not len(rows):
        raise InvalidArgument(f"{where} has no rows")
    roles.check_all_found()
    times.check(chosen.keys())
    rows.in_samples = times.in_samples
    rows.names_people = "speaker" in roles.found or "subjects" in roles.found
    rows.columns = tuple(roles.columns)
    return rows


def _content(manifest: str | os.PathLike[str]) -> bytes:
    """All bytes of a file, which may be a pipe."""
    return read_bounded(os.open(manifest, os.O_RDONLY | os.O_CLOEXEC), os.fspath(manifest), MAX_CONTENT)


def _json_rows(text: str, suffix: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, content in enumerate(io.StringIO(text, newline=None), 1):
        if not content.strip():
            continue
        try:
            yield line, json_object(content, text)
        except NotAnObject as error:
            raise InvalidArgument(f"{where}, line {line}: {error}") from None


def _csv_rows(text: str, suffix: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    tsv = suffix == ".tsv"
    quoted = not tsv or _is_quoted(text)
    header: list[str] | None = None
    fault = ""
    reader = _reader(text, tsv, quoted)
    try:
        for raw in reader:
            fields = [strip(_unquoted(field) if tsv and not quoted else field) for field in raw]
            if header is None:
                if not any(fields):
                    continue
                header = fields
                fault = not_a_header(header, where)
                if twice := {name for name in header if header.count(name) > 1}:
                    raise InvalidArgument(f"{where}: {fault or f'the header names column {min(twice)!r} twice'}")
            elif any(fields) and len(fields) != len(header):
                uneven = f", line {reader.line_num}: {len(fields)} fields, but the header has {len(header)}"
                raise InvalidArgument(where + (f": {fault}" if fault else uneven))
            elif any(fields):
                yield reader.line_num, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        why = f": {fault}" if fault else f", line {reader.line_num}: {describe(error)}"
        raise InvalidArgument(f"{where}{why}") from None


_READERS = {".json": _json_rows, ".jsonl": _json_rows, ".ndjson": _json_rows, ".csv": _csv_rows, ".tsv": _csv_rows}
_SUFFIXES = (*_READERS, ".parquet")


def _reader(text: str, tsv: bool, quoted: bool) -> Any:
    lines = io.StringIO(text, newline="")  # a quoted field may hold line ends
    # a limit of the whole process (128 KiB by default), so it is only ever raised; the text is in memory already
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    if not quoted:
        return csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter="\t" if tsv else ",", strict=True, skipinitialspace=not tsv)


def _is_quoted(text: str) -> bool:
    """Is a TSV quoted? Its header is quoted throughout, or only quoting gives every line the right number of fields."""
    plain = _reader(text, True, False)
    try:
        header: list[str] = next((fields for fields in plain if any(fields)), [])
        if header and all(len(name) > 1 and name[0] == name[-1] == '"' for name in header):
            return True
        if all(len(fields) in (0, len(header)) for fields in plain):
            return False
        quoted = list(_reader(text, True, True))
    except csv.Error:
        return False
    return all(len(fields) in (0, len(header)) for fields in quoted)


def _unquoted(field: str) -> str:
    """Unquote a TSV field that was quoted because of quotation marks in it, which are doubled; others are unchanged."""
    inner = field[1:-1]
    if len(field) < 4 or field[0] != '"' or field[-1] != '"' or '""' not in inner or '"' in inner.replace('""', ""):
        return field
    return inner.replace('""', '"')


class _Roles:
    """Which column serves as which field, decided once per column name."""

    def __init__(self, where: str, chosen: Mapping[str, str | None], at: Callable[[int], str]) -> None:
        self.where, self.at = where, at
        self.chosen = chosen
        self.found: set[str] = set()
        self._by_name: dict[str, str | None] = {}
        self._text_file = ""  # NeMo can read transcripts from files
        self._mapped = {name: target for target, name in chosen.items() if name}
        self._dotted = {name: target for name, target in self._mapped.items() if "." in name}
        self.columns: dict[str, None] = {}  # an ordered set

    def of(self, values: dict[str, Any], line: int) -> dict[str, str]:
        """field -> column name, for the columns of this row; lifts columns out of JSON objects."""
        roles: dict[str, str] = {}
        if not self.columns.keys() >= values.keys():
            self.columns.update(dict.fromkeys(one for name in values for one in names_in(name, values[name])))
        if self._dotted:
            lift(values, self._dotted)
        for name in values:
            if name not in self._by_name:
                self._by_name[name] = self._target(name)
            target = self._by_name[name]
            if target is None:
                continue
            if target in roles:
                raise InvalidArgument(
                    f"{self.at(line)}: columns {roles[target]!r} and {name!r} could both be the {target}: "
                    f"choose one with --columns {target}={name}"
                )
            roles[target] = name
        if "path" not in roles:
            if self.where.lower().endswith((".csv", ".tsv")) and (fault := not_a_header(list(values), self.where)):
                raise InvalidArgument(f"{self.where}: {fault}")
            raise InvalidArgument(
                f"{self.at(line)}: no column names the audio file (columns: {', '.join(map(repr, values))}). "
                f"Its usual names are {', '.join(KNOWN_COLUMNS['path'])}; for another, use --columns path=NAME"
            )
        if type(values[roles["path"]]) is dict and "path" not in self.chosen:
            inner = lift_path(values, roles["path"])
            roles.update({target: name for target, name in inner.items() if target not in self.chosen})
        self.found.update(roles)
        return roles

    def check_all_found(self) -> None:
        """Raises InvalidArgument if a chosen column is missing, or transcripts are in files, which are not read."""
        if self._text_file and "transcript" not in self.found and "transcript" not in self.chosen:
            raise InvalidArgument(
                f"{self.where} names files with the transcripts (column {self._text_file!r}), which are not read: put "
                "them into a column 'text', or go without them with --columns transcript="
            )
        for target, name in self.chosen.items():
            if name and target not in self.found:
                raise InvalidArgument(f"{self.where} has no column {name!r}, which was chosen as the {target}")

    def _target(self, name: str) -> str | None:
        if name in self._mapped:
            return self._mapped[name]
        if folded(name) == "text_filepath":
            self._text_file = name
        target = target_of(name)
        return None if target in self.chosen else target


def _append(rows: Rows, line: int, values: dict[str, Any], roles: _Roles, times: Times) -> None:
    role = roles.of(values, line)
    times.note(role)
    name = values.pop(role.pop("path"))
    if not isinstance(name, str) or not name or not is_utf8(name):
        raise InvalidArgument(f"{roles.at(line)}: the audio file's name is empty or not text")
    taken = {target: values.pop(column) for target, column in role.items()}
    times.note_others(values)
    row, fault = _Row(), ""
    try:
        row = _row(taken, values, *times.span(taken, role))
    except BadValue as error:
        fault = str(error)
    rows.names.append(name)
    rows.lines.append(line)
    rows.transcript.append(row.transcript)
    rows.speaker.append(row.speaker)
    rows.utterance.append(row.utterance)
    rows.split.append(row.split)
    rows.language.append(row.language)
    rows.subjects.append(row.subjects)
    rows.offset.append(row.offset)
    rows.duration.append(row.duration)
    rows.consent.append(row.consent)
    rows.extra.append(row.extra)
    rows.fault.append(fault)


class _Row(NamedTuple):
    transcript: str = ""
    speaker: str = ""
    utterance: str = ""
    split: str = ""
    language: str = ""
    subjects: tuple[str, ...] = ()
    offset: float | None = None
    duration: float | None = None
    consent: Consent = Consent()
    extra: str = ""

    def __repr__(self) -> str:  # no transcripts or names in logs
        return "_Row()"


def _row(taken: dict[str, Any], others: dict[str, Any], offset: float | None, duration: float | None) -> _Row:
    people = tuple(dict.fromkeys(as_people(taken.get("subjects"))))
    speaker = as_person(taken.get("speaker"))
    if people and speaker and speaker not in people:
        raise BadValue("its speaker is not among its subjects")
    return _Row(
        transcript=as_text(taken.get("transcript")),
        speaker=speaker,
        utterance=as_text(taken.get("utterance")),
        split=as_text(taken.get("split")),
        language=as_text(taken.get("language")),
        subjects=people or ((speaker,) if speaker else ()),
        offset=offset,
        duration=duration,
        consent=consent_of(taken),
        extra=as_extra(others),
    )
