"""The manifest's columns: one schema for every kind of corpus. Unknown columns are kept."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from securedata.errors import InvalidArgument

_TEXT = pa.large_string()
_LIST = pa.list_(pa.large_string())

_REQUIRED = [
    ("path", _TEXT),
    ("object_id", pa.binary(16)),
    ("data_key", pa.binary(32)),
]
_PACKED = [("pack", pa.binary(16)), ("offset", pa.int64())]
_SIZES = [("sealed_size", pa.int64()), ("size", pa.int64())]
_AUDIO = [
    ("format", _TEXT),
    ("subtype", _TEXT),
    ("sample_rate", pa.int32()),
    ("channels", pa.int32()),
    ("frames", pa.int64()),
]
_OPTIONAL_AUDIO = [("data_offset", pa.int64()), ("start", pa.int64()), ("frames_in_segment", pa.int64())]
_PEOPLE = [
    ("subjects", _LIST),
    ("speaker", _TEXT),
    ("utterance", _TEXT),
    ("transcript", _TEXT),
    ("split", _TEXT),
    ("language", _TEXT),
]
_SOURCE = [("source_sha256", pa.binary(32)), ("source_mtime_ns", pa.int64())]
_TIME = pa.timestamp("us", tz="UTC")
_CONSENT = [("consent_id", _TEXT), ("purposes", _LIST), ("expires", _TIME)]
_EXTRA = [("extra", _TEXT)]


def _fields(columns: list[tuple[str, pa.DataType]], nullable: bool) -> list[pa.Field]:
    return [pa.field(name, kind, nullable=nullable) for name, kind in columns]


SCHEMA = pa.schema(
    _fields(_REQUIRED, False)
    + _fields(_PACKED, True)
    + _fields(_SIZES, False)
    + _fields(_AUDIO, False)
    + _fields(_OPTIONAL_AUDIO, True)
    + _fields(_PEOPLE, False)
    + _fields(_SOURCE, False)
    + _fields(_CONSENT, True)
    + _fields(_EXTRA, False)
)

CUT = pa.schema([("recording", _TEXT), ("recording_size", pa.int64()), ("recording_sha256", pa.binary(32))])
"""For an object cut out of a longer recording: the recording's logical path, and its file's size and digest.

Only parts with such a row have these columns. They apply to a row only if its `start` is null.
"""

ADDED = pa.schema(
    [
        ("origin", pa.binary(16)),
        ("ingested", _TIME),
        ("last_contact", _TIME),
        ("keyed_since", pa.int64()),
        ("media_type", _TEXT),
    ]
)
"""Columns that parts of earlier versions lack, and that a part has only if one of its rows needs it.

`origin` is the id of the first object of this recording (null: `object_id`). `ingested` is storage's time of the row's
first commit, `last_contact` the last contact with the person; null: not known. No head up to generation `keyed_since`
names the data key; null: not known. `media_type` is that of a file that is no recording; its `format` is ''.
"""

FEATURES = pa.schema(
    [
        ("derived_from", pa.binary(16)),
        ("feature_bins", pa.int32()),
        ("feature_frames", pa.int64()),
        ("computed_with", pa.int32()),
    ]
)
"""For an object with features of a recording: the id of the recording's first object in the corpus that they were
computed from, the last two dimensions of their array, and which entry of the corpus's settings says by what versions.

Only parts with such a row have these columns. `sample_rate`, `channels` and `frames` are of the audio that the features
were computed from, so durations hold.
"""

OPTIONAL = pa.schema([*CUT, *FEATURES, *ADDED])
"""Columns of ours that a part may lack: null then. A column of another type under such a name is not ours."""

STORAGE_COLUMNS = ("object_id", "pack", "offset", "sealed_size", "size")
"""Columns that reading an object needs besides its key; every index has them."""

DESCRIPTIVE = (
    "speaker",
    "utterance",
    "transcript",
    "split",
    "language",
    "source_mtime_ns",
    "consent_id",
    "purposes",
    "expires",
    "last_contact",
    "extra",
)
"""Columns that a later ingest of the same recording may correct without sealing it again."""

TRAINING = (
    "path",
    *STORAGE_COLUMNS,
    *(name for name, _ in _AUDIO),
    *(name for name, _ in _OPTIONAL_AUDIO),
    *(name for name, _ in _PEOPLE),
    "extra",
)
"""Columns that Sample, get_metadata and the usual filters need."""

ALL = tuple(name for name in SCHEMA.names if name != "data_key")

MAX_ROWS = 100_000
"""The most rows that a manifest part may have."""


def rows_table(rows: Iterable[dict[str, object]]) -> pa.Table:
    """Rows as a table of SCHEMA; missing nullable columns are null, missing text is ''.

    The table has those of OPTIONAL that a row has; of CUT and FEATURES all or none.

    Raises:
        InvalidArgument: an unknown column, or a value that does not fit its type.
    """
    listed = list(rows)
    known = {*SCHEMA.names, *OPTIONAL.names}
    for row in listed:
        if unknown := set(row) - known:
            raise InvalidArgument(f"unknown manifest columns: {', '.join(sorted(unknown))}; put them into extra")
    defaults: dict[pa.DataType, object] = {_TEXT: "", _LIST: [], pa.int32(): 0, pa.int64(): 0}
    columns = []
    groups = [group for group in (CUT, FEATURES) if any(name in row for row in listed for name in group.names)]
    added = [field for field in ADDED if any(row.get(field.name) is not None for row in listed)]
    schema = pa.schema([*SCHEMA, *(field for group in groups for field in group), *added])
    for field in schema:
        default = None if field.nullable else defaults.get(field.type)
        try:
            columns.append(pa.array([row.get(field.name, default) for row in listed], field.type))
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            raise InvalidArgument(f"a value of column {field.name} does not fit {field.type}") from None
        if not field.nullable and columns[-1].null_count:
            raise InvalidArgument(f"column {field.name} must have a value in every row")
    return pa.table(columns, schema=schema)


def fit(table: pa.Table) -> pa.Table:
    """A caller's rows with the schema's columns in its order and types, followed by optional and unknown columns.

    Every part has the same fields: one with other nullability or with field metadata could not be read together with
    the others.

    Raises:
        InvalidArgument: a column is missing, does not fit its type, or has nulls that it must not have.
    """
    if missing := [name for name in SCHEMA.names if name not in table.schema.names]:
        raise InvalidArgument(f"rows to add lack column {missing[0]}")
    table = without_empty(table)
    ours = [*SCHEMA, *(field for field in OPTIONAL if field.name in table.schema.names)]
    columns = []
    for field in ours:
        column = table.column(field.name)
        if column.type != field.type:
            try:
                column = column.cast(field.type)
            except pa.ArrowException:
                raise InvalidArgument(f"column {field.name} is {column.type}, not {field.type}") from None
        if column.null_count and not field.nullable:
            raise InvalidArgument(f"column {field.name} must have a value in every row")
        columns.append(column)
    others = [field for field in unknown(table.schema) if field.name not in OPTIONAL.names]
    for field in others:
        if not _is_plain(field.type):
            raise InvalidArgument(
                f"column {field.name} is {field.type}: a manifest takes numbers, text, bytes, times and lists of them; "
                "put anything else into extra as JSON"
            )
    columns += [table.column(field.name) for field in others]
    return pa.table(columns, schema=pa.schema([*ours, *(field.remove_metadata() for field in others)]))


def optional(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column of OPTIONAL, of rows that may be of an earlier version: null where they lack it."""
    field = OPTIONAL.field(name)
    if name in table.schema.names and table.schema.field(name).type == field.type:
        return table.column(name)
    return pa.chunked_array([pa.nulls(table.num_rows, field.type)])


def with_optional(table: pa.Table, name: str) -> pa.Table:
    """The same rows with this column of OPTIONAL: null if they lack it."""
    if name in table.schema.names:
        return table
    return table.append_column(OPTIONAL.field(name), optional(table, name))


def set_optional(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    """The same rows with another column of OPTIONAL, or without it if it is null throughout."""
    at = table.schema.get_field_index(name)
    if column.null_count == len(column):
        return table if at < 0 else table.remove_column(at)
    field = OPTIONAL.field(name)
    return table.append_column(field, column) if at < 0 else table.set_column(at, field, column)


def without_empty(table: pa.Table) -> pa.Table:
    """The same rows without the columns of ADDED that no row needs."""
    empty = [name for name in ADDED.names if name in table.schema.names]
    return table.drop_columns([name for name in empty if table.column(name).null_count == table.num_rows])


def _is_plain(kind: pa.DataType) -> bool:
    """Is it a type that readers accept? See `arrow_file`."""
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind):
        kind = kind.value_type
    if types.is_fixed_size_binary(kind):
        return bool(kind.byte_width > 0)
    plain = (types.is_primitive, types.is_decimal, types.is_null, types.is_string, types.is_large_string)
    return any(one(kind) for one in (*plain, types.is_binary, types.is_large_binary))


def unknown(schema: pa.Schema) -> list[pa.Field]:
    """The columns that are not in SCHEMA."""
    return [field for field in schema if field.name not in SCHEMA.names]


def check_types(new: pa.Schema, there: pa.Schema) -> None:
    """Check that rows of both fit into one part: unknown columns of the same name widen to a type that holds both.

    Integers widen to integers, and floats, text and bytes likewise. All other types must be equal.

    Raises:
        InvalidArgument
    """
    for field in unknown(new):
        if field.name in there.names:
            other = there.field(field.name).type
            families = {_family(field.type), _family(other)} - {"null"}
            if len(families) > 1:
                raise InvalidArgument(
                    f"column {field.name} is {field.type}, but {other} in existing rows: cast it to that type, "
                    "or give it another name"
                )


def _family(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind) and kind != pa.uint64():  # no integer type holds both uint64 and negative values
        return "integer"
    if pa.types.is_floating(kind):
        return "float"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return "bytes"
    return str(kind)


def check_path(path: str) -> str:
    """Check a logical path: relative, `/`-separated, NFC, without `.` or `..` parts, control characters or a backslash.

    Raises:
        InvalidArgument
    """
    parts = path.split("/")
    if (
        not path
        or any(part in ("", ".", "..") for part in parts)
        or "\\" in path
        or any(ord(char) < 32 or ord(char) == 127 for char in path)
        or unicodedata.normalize("NFC", path) != path
    ):
        raise InvalidArgument(
            "a logical path must be relative, '/'-separated and NFC, without '..' or control characters", path=path
        )
    return path


OTHER = "other columns"
"""What a filter uses that the schema does not have."""

_ALL = pa.schema([*SCHEMA, *OPTIONAL])


def columns_of(filter: pc.Expression | None) -> tuple[str, ...]:
    """The manifest's columns that a filter uses, sorted; `OTHER` if it uses some that are not of the schema.

    It takes 10 ms, so it is called once, not for each part.

    What it compares them with may name people, and so may its text; so each column is left out, to see whether it is
    missed.
    """
    if filter is None:
        return ()
    table = _ALL.empty_table()
    if not _takes(filter, table):
        return (OTHER,)
    return tuple(sorted(name for name in _ALL.names if not _takes(filter, table.drop_columns(name))))


def _takes(filter: pc.Expression, table: pa.Table) -> bool:
    try:
        table.filter(filter)
    except (pa.ArrowException, KeyError, TypeError, ValueError):
        return False
    return True
