"""What a head records for the life of people's data: bars, holds, restrictions, drafts of receipts, derived corpora.

Each is a member at the top level of the head's JSON and is written only if it holds something, so that a corpus that
uses none of it stays as it was. None names an id on storage that `parts` or `leaving` does not name. People are named
by tags only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from securedata.corpus.state.json_values import hex_bytes, json_list, json_object, natural, seconds, text

if TYPE_CHECKING:
    from securedata.corpus.state.head import Head

BARS, ERASURES, HOLDS, PURPOSE, RESTRICTIONS = "bars", "erasures", "holds", "purpose", "restrictions"
FEATURES = frozenset((BARS, ERASURES, HOLDS, PURPOSE, RESTRICTIONS))
"""Features that no reader or writer may ignore. A head that uses one names it in a critical TLV of its header."""

BY_NAME = "by_name"
"""Member of an entry of `receipts`: every row that the erasure took out names a person who is tombstoned."""


@dataclass(frozen=True, slots=True, order=True)
class BarredPiece:
    """A piece of a recording that was erased: no row enters whose object holds a frame of it.

    Attributes:
        tag: of the recording.
        start, frames: the piece, in frames of the recording.
    """

    tag: bytes
    start: int
    frames: int


@dataclass(frozen=True, slots=True)
class Hold:
    """A person whose rows no commit may take out or change, and the case that this is for.

    Attributes:
        tag: the person's subject tag.
        case: the reference of the case; the reason itself is in the operator's file.
        time: storage's time of the hold, in seconds since the epoch.
        object_lock: may versions on storage have a legal hold of Object Lock because of it? Set before the first is
            turned on, and until the last is turned off.
    """

    tag: bytes
    case: str
    time: float
    object_lock: bool = False


@dataclass(frozen=True, slots=True)
class Restriction:
    """A request for erasure that met a hold: until it is decided, the person's rows open for nobody.

    Attributes:
        tag: the person's subject tag.
        request: the request's reference; '' if none was given.
        received: the day it was received, as YYYY-MM-DD; '' if none was given.
        time: storage's time of the restriction, in seconds since the epoch.
    """

    tag: bytes
    request: str
    received: str
    time: float


def features(head: Head) -> tuple[str, ...]:
    """The features in use that no reader or writer may ignore, sorted.

    Unfinished erasures are among them: older software would clear their leaving lists after a day, and what was to be
    deleted would then not be known any more.
    """
    used = {
        BARS: head.barred or head.barred_pieces,
        ERASURES: head.erasures,
        HOLDS: head.holds,
        PURPOSE: head.purpose_required,
        RESTRICTIONS: head.restricted,
    }
    return tuple(sorted(name for name, content in used.items() if content))


def erasures_of(head: Head) -> frozenset[str]:
    """The ids of all erasures that a head shows, finished or not."""
    return frozenset(one["id"] for one in (*head.erasures, *head.receipts))


def without_tombstones(head: Head) -> frozenset[str]:
    """The ids of those whose rows are not all shown by tombstones, as those of an erasure by name are."""
    drafts = (one["id"] for one in head.erasures if not _is_by_name(one))
    return frozenset((*drafts, *(one["id"] for one in head.receipts if not one.get(BY_NAME))))


def _is_by_name(draft: Mapping[str, Any]) -> bool:
    scope = draft.get("scope")
    return isinstance(scope, dict) and (scope.get("kind") == "subject" or scope.get("rows") == 0)


def members_json(head: Head) -> dict[str, Any]:
    """The members of a head's JSON; none for what holds nothing."""
    members: dict[str, Any] = {
        "barred": [tag.hex() for tag in head.barred],
        "barred_pieces": [
            {"tag": one.tag.hex(), "start": one.start, "frames": one.frames} for one in head.barred_pieces
        ],
        "holds": [_hold_json(one) for one in head.holds],
        "restricted": [
            {"tag": one.tag.hex(), "request": one.request, "received": one.received, "time": one.time}
            for one in head.restricted
        ],
        "purpose_required": head.purpose_required,
        "erasures": list(head.erasures),
        "receipts": list(head.receipts),
        "derived": list(head.derived),
        "pending": list(head.pending),
        "retention": head.retention,
        "data_keys_since": head.data_keys_since,
        "grace": head.grace,
    }
    return {name: content for name, content in members.items() if content}


def parse_members(body: dict[str, Any]) -> dict[str, Any]:
    """Take the members out of a head's JSON; returns fields of `Head`.

    Raises:
        ValueError, KeyError, TypeError: a member breaks the format.
    """
    required = body.pop("purpose_required", False)
    if not isinstance(required, bool):
        raise TypeError("a boolean was expected")
    return {
        "barred": tuple(hex_bytes(one, 32) for one in json_list(body.pop("barred", []))),
        "barred_pieces": tuple(_piece(one) for one in json_list(body.pop("barred_pieces", []))),
        "holds": tuple(_hold(one) for one in json_list(body.pop("holds", []))),
        "restricted": tuple(_restriction(one) for one in json_list(body.pop("restricted", []))),
        "purpose_required": required,
        "erasures": _with_ids(body.pop("erasures", [])),
        "receipts": _with_ids(body.pop("receipts", [])),
        "derived": tuple(json_object(one) for one in json_list(body.pop("derived", []))),
        "pending": _pending(body.pop("pending", [])),
        "retention": json_object(body.pop("retention", {})),
        "data_keys_since": natural(body.pop("data_keys_since", 0)),
        "grace": {hex_bytes(id, 16).hex(): seconds(time) for id, time in json_object(body.pop("grace", {})).items()},
    }


def _piece(one: Mapping[str, Any]) -> BarredPiece:
    frames = natural(one["frames"])
    if not frames:
        raise ValueError("a piece has no frame")
    return BarredPiece(hex_bytes(one["tag"], 32), natural(one["start"]), frames)


def _hold(one: Mapping[str, Any]) -> Hold:
    object_lock = one.get("object_lock", False)
    if not isinstance(object_lock, bool):
        raise TypeError("a boolean was expected")
    return Hold(hex_bytes(one["tag"], 32), text(one["case"]), seconds(one["time"]), object_lock)


def _hold_json(one: Hold) -> dict[str, Any]:
    entry: dict[str, Any] = {"tag": one.tag.hex(), "case": one.case, "time": one.time}
    return {**entry, "object_lock": one.object_lock} if one.object_lock else entry


def _restriction(one: Mapping[str, Any]) -> Restriction:
    return Restriction(hex_bytes(one["tag"], 32), text(one["request"]), text(one["received"]), seconds(one["time"]))


def _with_ids(entries: Any) -> tuple[dict[str, Any], ...]:
    """Entries that are told apart by the write id of the commit that made them."""
    found = tuple(json_object(one) for one in json_list(entries))
    ids = {hex_bytes(one["id"], 16) for one in found}
    if len(ids) != len(found):
        raise ValueError("an id is given twice")
    return found


def _pending(entries: Any) -> tuple[dict[str, Any], ...]:
    """Entries that are told apart by the erasure and the derived corpus."""
    found = tuple(json_object(one) for one in json_list(entries))
    if len({(hex_bytes(one["id"], 16), hex_bytes(one["corpus"], 16)) for one in found}) != len(found):
        raise ValueError("a corpus is given twice for an erasure")
    return found
