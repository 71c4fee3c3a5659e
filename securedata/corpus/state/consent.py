"""The consent that rows record, and which of them may be read by it: a rule that securedata keeps, not the keys.

`expires`     past by this host's clock or storage's: not read; null has no end
`purposes`    an empty list is consent to nothing: not read; null: no purpose is recorded
a purpose     named at opening: only rows whose `purposes` include it; no recorded purpose is no consent to it
"""

from __future__ import annotations

import datetime
import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.columns import BadValue
from securedata.errors import InvalidArgument, PurposeRequired
from securedata.printable import plural

COLUMNS = ("purposes", "expires")
"""The columns that decide."""

REASONS = {
    "restricted": "restricted by a request for erasure that met a hold",
    "expired": "whose consent has ended",
    "withdrawn": "with consent to no purpose",
    "other_purpose": "without consent to the purpose",
}
"""For each count of `LeftOut`, what it counts."""

_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)?)?")
_SHOWN = 5
_Mask = np.ndarray[Any, np.dtype[np.bool_]]


class LeftOut(NamedTuple):
    """Rows that were left out when a corpus was opened, each counted once.

    Attributes:
        restricted: of people whose erasure waits for the end of a hold.
        expired: whose consent had ended.
        withdrawn: with consent to no purpose at all.
        other_purpose: without consent to the purpose that was named.
    """

    restricted: int = 0
    expired: int = 0
    withdrawn: int = 0
    other_purpose: int = 0


def as_purpose(value: Any) -> str:
    """A purpose, as callers and sources name it: text in NFC, compared as it is.

    Raises:
        InvalidArgument
    """
    if not isinstance(value, str):
        raise InvalidArgument(f"a purpose is a text, such as 'asr', not {type(value).__name__}")
    purpose = unicodedata.normalize("NFC", value.strip())
    if not purpose or ";" in purpose or not purpose.isprintable():
        raise InvalidArgument("a purpose is a text such as 'asr', without ';', line ends and control characters")
    return purpose


class Consent(NamedTuple):
    """What a source says of a recording's consent, by the manifest's columns; None where it says nothing."""

    consent_id: str | None = None
    purposes: tuple[str, ...] | None = None
    expires: datetime.datetime | None = None
    last_contact: datetime.datetime | None = None


def consent_of(values: Mapping[str, Any]) -> Consent:
    """Read the cells of a source.

    Args:
        values: text as tables hold it, JSON values, or the dates and lists of a Parquet file; '' and None: nothing.

    Raises:
        BadValue
    """
    id = values.get("consent_id")
    if id is not None and (not isinstance(id, (str, int)) or isinstance(id, bool)):
        raise BadValue(f"its consent_id is a {type(id).__name__}, not text")
    if isinstance(id, str) and not id.isprintable():
        raise BadValue("a control character in its consent_id")
    return Consent(
        str(id).strip() or None if id is not None else None,
        as_purposes(values.get("purposes")),
        as_end("expires", values.get("expires")),
        as_end("last_contact", values.get("last_contact")),
    )


def as_purposes(value: Any) -> tuple[str, ...] | None:
    """Purposes: a list, as such or as JSON text, or text with ';' between them; an empty list is consent to nothing.

    Raises:
        BadValue
    """
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                raise BadValue("its purposes begin like a JSON list but are not valid JSON") from None
        else:
            value = [one for one in text.split(";") if one.strip()] or None
    if value is None:
        return None
    if not isinstance(value, (list, tuple)):
        raise BadValue(f"its purposes are a {type(value).__name__}, not a list such as ['asr'] or text such as asr;tts")
    try:
        return tuple(dict.fromkeys(map(as_purpose, value)))
    except InvalidArgument as error:
        raise BadValue(f"among its purposes: {error}") from None


def as_end(column: str, value: Any) -> datetime.datetime | None:
    """A time in UTC from a date, which means the end of that day, or a time, which is in UTC unless it has a zone.

    Raises:
        BadValue: not ISO 8601. A number is refused: it might be seconds or milliseconds since 1970, or a year.
    """
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        if not _ISO.fullmatch(text):
            raise BadValue(f"its {column} is not a date or time such as 2027-12-31 or 2027-12-31T18:00:00Z")
        try:
            value = datetime.date.fromisoformat(text) if len(text) == 10 else datetime.datetime.fromisoformat(text)
        except ValueError:
            raise BadValue(f"its {column} is no date that there is") from None
    if value is None:
        return None
    if isinstance(value, datetime.datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
    elif isinstance(value, datetime.date):
        moment = datetime.datetime.combine(value, datetime.time.max, datetime.UTC)
    else:
        raise BadValue(
            f"its {column} is a {type(value).__name__}, which can mean several things: write it as 2027-12-31 or "
            "2027-12-31T18:00:00Z"
        )
    try:
        return moment.astimezone(datetime.UTC)
    except OverflowError:
        raise BadValue(f"its {column} is beyond the year 9999, or before 1") from None


def check_purpose(head_requires: bool, purpose: str | None, root: str) -> None:
    """Raise PurposeRequired if the corpus opens only with a purpose, and none is named."""
    if head_requires and purpose is None:
        raise PurposeRequired(
            f"{root} opens only with a purpose, so that only recordings with consent to it are read: give purpose= or "
            "--purpose, or write purpose = into its config entry; 'securedata consent list' shows the purposes",
            root=root,
        )


class Admission:
    """Decides part by part which rows may be read, and counts the others."""

    def __init__(self, purpose: str | None, now: float, restricted: Callable[[pa.Table], _Mask] | None = None) -> None:
        """
        Args:
            now: seconds since the epoch, by the later of the clocks that count.
            restricted: which rows a restriction closes, from a table with the column `subjects`; None: there is none.
        """
        self._purpose, self._is_restricted = purpose, restricted
        micros = math.floor(now * 1e6) if abs(now) < 2**43 else 2**63 - 1
        self._now = pa.scalar(micros, pa.int64())
        self.restricted = self.expired = self.withdrawn = self.other_purpose = self.rows = 0
        self._purposes: set[str] = set()

    @property
    def left_out(self) -> LeftOut:
        """The rows left out so far."""
        return LeftOut(self.restricted, self.expired, self.withdrawn, self.other_purpose)

    def admit(self, rows: pa.Table) -> pa.Array | None:
        """Which rows of a part may be read, as booleans; None: all of them. `rows` has COLUMNS and `subjects`."""
        self.rows += rows.num_rows
        expires, purposes = rows.column("expires"), rows.column("purposes")
        unrestricted = self._is_restricted is None and self._purpose is None
        if unrestricted and expires.null_count == purposes.null_count == rows.num_rows:  # nearly always
            return None
        restricted, other = np.zeros(rows.num_rows, dtype=bool), np.zeros(rows.num_rows, dtype=bool)
        if self._is_restricted is not None:
            restricted = self._is_restricted(rows)
        expired = _mask(pc.less_equal(expires.cast(pa.int64()), self._now)) & ~restricted
        withdrawn = _mask(pc.equal(pc.list_value_length(purposes), 0)) & ~expired & ~restricted
        if self._purpose is not None:
            other = ~self._consented(purposes) & ~expired & ~withdrawn & ~restricted
        self.restricted += int(restricted.sum())
        self.expired += int(expired.sum())
        self.withdrawn += int(withdrawn.sum())
        self.other_purpose += int(other.sum())
        out = restricted | expired | withdrawn | other
        return pa.array(~out) if out.any() else None

    def _consented(self, purposes: pa.ChunkedArray) -> _Mask:
        column = purposes.combine_chunks()
        names = column.flatten()
        found = np.zeros(len(column), dtype=bool)
        named = pc.equal(names, pa.scalar(self._purpose, names.type))
        found[pc.list_parent_indices(column).filter(named).to_numpy()] = True
        if not found.any() and len(self._purposes) <= _SHOWN:
            self._purposes.update(pc.unique(names).to_pylist())
        return found

    def warning(self, root: str) -> str | None:
        """One line about what was left out; None if that is nothing."""
        left = self.left_out
        if not any(left):
            return None
        said = ", ".join(f"{count:,} {REASONS[reason]}" for reason, count in left._asdict().items() if count)
        said = said.replace("the purpose", repr(self._purpose))
        line = f"{sum(left):,} of {plural(self.rows, 'recording')} of {root} are left out: {said}"
        if left.other_purpose == self.rows and self._purposes:
            line += f" (purposes recorded there: {', '.join(map(repr, sorted(self._purposes)[:_SHOWN]))})"
        return line


def end_text(seconds: float) -> str:
    """The end of a consent, for messages."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def refuse_listed(root: str) -> InvalidArgument:
    """The error of reading an object through a corpus that was opened to list its rows."""
    return InvalidArgument(f"{root} was opened to list its rows, whatever their consent, not to read them", root=root)


def _mask(values: pa.ChunkedArray) -> _Mask:
    mask: _Mask = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return mask
