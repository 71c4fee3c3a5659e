"""The storage keys below the root of a corpus: built and parsed only here."""

from __future__ import annotations

import re
from enum import Enum

from securedata.files import TEMPORARY
from securedata.storage.base import previous_key
from securedata.storage.file_lock import LOCK

HEAD = "head"
OBJECTS = "objects/"
TABLES = "manifest/"
PACKS = "packs/"
_AUDIT = "audit/"


class What(Enum):
    """What a storage key is, by its form."""

    OBJECT = "object"
    TABLE = "manifest part or leaving list"
    PACK = "pack"
    TEMPORARY = "temporary file"
    OURS = "head, lock or audit log"
    FOREIGN = "foreign file"


_HEADS = (HEAD, previous_key(HEAD))
_OURS = frozenset((*_HEADS, LOCK))
_TEMPORARIES = re.compile(rf"{HEAD}\.tmp|\.tmp-probe-[0-9a-f]{{16}}")  # of a first head, and of probing a server
_PATTERNS = {
    What.OBJECT: re.compile(rf"{OBJECTS}([0-9a-f]{{2}})/(?P<id>\1[0-9a-f]{{30}})"),
    What.TABLE: re.compile(rf"{TABLES}(?P<id>[0-9a-f]{{32}})"),
    What.PACK: re.compile(rf"{PACKS}(?P<id>[0-9a-f]{{32}})"),
}


def object_key(object_id: bytes) -> str:
    """The storage key of an object that is not in a pack."""
    name = object_id.hex()
    return f"{OBJECTS}{name[:2]}/{name}"


def table_key(table_id: bytes) -> str:
    """The storage key of a manifest part or a leaving list."""
    return f"{TABLES}{table_id.hex()}"


def pack_key(pack_id: bytes) -> str:
    """The storage key of a pack."""
    return f"{PACKS}{pack_id.hex()}"


def classify(key: str) -> tuple[What, bytes]:
    """What a key is, and the id in it (b'' if there is none)."""
    for what, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(key):
            return what, bytes.fromhex(match["id"])
    if key in _OURS or key.startswith(_AUDIT):
        return What.OURS, b""
    base, mark, _ = key.rpartition(TEMPORARY)
    ours = (
        base in _HEADS or _TEMPORARIES.fullmatch(base) or any(pattern.fullmatch(base) for pattern in _PATTERNS.values())
    )
    if (mark and ours) or _TEMPORARIES.fullmatch(key):
        return What.TEMPORARY, b""
    return What.FOREIGN, b""
