"""The head: the only object that is ever replaced, and therefore the commit point.

Its header holds the corpus key, wrapped by one or more KMS keys; its body is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from securedata.corpus.state.json_values import hex_bytes, json_object, members_once, natural, no_constant, seconds
from securedata.corpus.state.layout import table_key
from securedata.corpus.state.lifecycle import (
    FEATURES,
    BarredPiece,
    Hold,
    Restriction,
    features,
    members_json,
    parse_members,
)
from securedata.errors import (
    InvalidArgument,
    LimitExceeded,
    MalformedManifest,
    OlderGeneration,
    SecuredataError,
    SupersededKey,
    UnknownVersion,
)
from securedata.format.header import MAX_HEAD_HEADER, REQUIRES, WRAP, Header, Kind
from securedata.format.sealed import Expect, open_whole, read_header, seal, sealed_size
from securedata.keys.kms import KMS
from securedata.keys.pin import Pin, check_corpus, check_secret, make_pin
from securedata.keys.wraps import Wrap, unwrap_key
from securedata.storage.base import Buffer

MAX_BODY = 64 * 1024 * 1024
MAX_SEALED = sealed_size(MAX_BODY, MAX_HEAD_HEADER)
WRITES_KEPT = 64
MAX_GENERATION = 2**45
"""Generations are below this: one key can seal 2^53 heads of 64 MiB, and a commit can take many tries."""


@dataclass(frozen=True, slots=True)
class TableRef:
    """A reference to a manifest part: its id, its key, its number of rows and its size on storage.

    `others` is how many of its rows are of files that are neither recordings nor features; 0 if that is not known.
    """

    id: bytes
    key: bytes = field(repr=False)
    rows: int
    size: int
    others: int = 0

    @property
    def storage_key(self) -> str:
        return table_key(self.id)


@dataclass(frozen=True, slots=True)
class Retired:
    """The leaving list of one commit, and storage's time of that commit in seconds."""

    table: TableRef
    time: float


@dataclass(frozen=True, slots=True)
class Tombstone:
    """An erased subject's tag, and the generation that erased it."""

    tag: bytes
    generation: int


@dataclass(frozen=True, slots=True)
class Head:
    """The content of a head. `unknown` keeps members that a newer version wrote.

    Attributes:
        barred: tags of consents and recordings that no commit adds rows of; see `keys.tags`.
        barred_pieces: pieces of recordings of which no commit adds a frame.
        holds, restricted, purpose_required, retention: see `state.lifecycle`.
        erasures: drafts of receipts, of erasures that are not finished.
        receipts: the digests of final receipts.
        derived: corpora that were made from this one.
        pending: erasures that have not reached one of them yet, or whose receipts do not say yet that they have.
        data_keys_since: the generation of a rotation whose re-encryption of objects is not finished: rows whose
            `keyed_since` is lower, or null, still have earlier data keys. 0: none.
        grace: by the id of a leaving list in hex, storage's time of its commit, if what it lists is kept for longer
            than a day: its `time` is later than that.
    """

    corpus_id: bytes
    key_id: bytes
    write_id: bytes
    wraps: tuple[Wrap, ...]
    generation: int
    secret: bytes = field(repr=False)
    parts: tuple[TableRef, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    tombstones: tuple[Tombstone, ...] = ()
    retired: tuple[Retired, ...] = ()
    horizon: float = 0.0
    superseded: tuple[bytes, ...] = ()
    writes: tuple[bytes, ...] = ()
    barred: tuple[bytes, ...] = ()
    barred_pieces: tuple[BarredPiece, ...] = ()
    holds: tuple[Hold, ...] = ()
    restricted: tuple[Restriction, ...] = ()
    purpose_required: bool = False
    erasures: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    receipts: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    derived: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    pending: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    retention: dict[str, Any] = field(default_factory=dict)
    data_keys_since: int = 0
    grace: dict[str, float] = field(default_factory=dict)
    unknown: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def pin(self) -> Pin:
        return make_pin(self.corpus_id, self.secret)

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def unreached(self) -> int:
        """How many corpora that were made from this one an erasure has still to reach."""
        return len({one["corpus"] for one in self.pending if "outcome" not in one})

    def next(self, write_id: bytes, **changes: Any) -> Head:
        """The head of the next generation."""
        writes = (*self.writes, write_id)[-WRITES_KEPT:]
        after = replace(self, generation=self.generation + 1, write_id=write_id, writes=writes, **changes)
        lists = {one.table.id.hex() for one in after.retired}
        return replace(after, grace={id: time for id, time in after.grace.items() if id in lists})


@dataclass(frozen=True, slots=True)
class OpenedHead:
    """A head, the corpus key that opened it, and storage's version of it, which a commit replaces."""

    head: Head
    key: bytes = field(repr=False)
    version: str


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest head that a reader or writer has seen of a corpus. Older heads, and heads that do not follow from it,
    are refused.

    `write_id` is that of this generation; None: unknown.
    """

    generation: int = 0
    superseded: frozenset[bytes] = frozenset()
    write_id: bytes | None = None

    @classmethod
    def of(cls, head: Head) -> Seen:
        """What is seen from one head."""
        return cls(head.generation, frozenset(head.superseded), head.write_id)

    def newest(self, other: Seen) -> Seen:
        """Both combined."""
        later = other.generation > self.generation or (other.generation == self.generation and self.write_id is None)
        newer = other if later else self
        return Seen(newer.generation, self.superseded | other.superseded, newer.write_id)

    @classmethod
    def add(cls, known: dict[bytes, Seen], more: Mapping[bytes, Seen]) -> None:
        """Merge `more` into `known`, both by corpus id."""
        for corpus_id, one in more.items():
            known[corpus_id] = known.get(corpus_id, cls()).newest(one)

    def admits(self, head: Head) -> bool:
        """Is `head` the one seen, or does it follow from it by commits? A head knows only its last 64 commits."""
        back = head.generation - self.generation
        unknown = self.write_id is None or back >= len(head.writes)
        return back >= 0 and (unknown or self.write_id in head.writes)

    @classmethod
    def parse(cls, text: bytes) -> Seen:
        """Parse what `json` of this version or an earlier one wrote.

        Raises:
            ValueError, KeyError, TypeError, RecursionError: it is damaged.
        """
        content = json_object(json.loads(text.decode()))
        superseded, write_id = content["superseded"], content.get("write_id")
        if not isinstance(superseded, list):
            raise TypeError("a list was expected")
        return cls(
            natural(content["generation"], MAX_GENERATION),
            frozenset(hex_bytes(one, 16) for one in superseded),
            None if write_id is None else hex_bytes(write_id, 16),
        )

    def json(self) -> bytes:
        """The content of the file of `seen`; not secret."""
        content: dict[str, Any] = {
            "generation": self.generation,
            "superseded": sorted(one.hex() for one in self.superseded),
        }
        if self.write_id is not None:
            content["write_id"] = self.write_id.hex()
        return json.dumps(content).encode()


def seal_head(head: Head, key: bytes) -> bytearray:
    """The head's bytes for storage, sealed under the corpus key.

    Raises:
        LimitExceeded: no reader would open it.
        InvalidArgument: the settings cannot be written as JSON.
    """
    if head.generation >= MAX_GENERATION:
        raise LimitExceeded(
            f"corpus {head.corpus_id.hex()} is at generation {head.generation - 1}, the last one possible; "
            "nothing was committed: export it and make a new corpus"
        )
    body = {
        **head.unknown,
        "generation": head.generation,
        "secret": head.secret.hex(),
        "parts": [_table_json(part) for part in head.parts],
        "settings": head.settings,
        "tombstones": [{"tag": one.tag.hex(), "generation": one.generation} for one in head.tombstones],
        "leaving": [{**_table_json(one.table), "time": one.time} for one in head.retired],
        "horizon": head.horizon,
        "superseded": [one.hex() for one in head.superseded],
        "writes": [one.hex() for one in head.writes],
        **members_json(head),
    }
    tlvs = [(WRAP, wrap.encode()) for wrap in head.wraps]
    if required := features(head):
        tlvs.append((REQUIRES, " ".join(required).encode()))
    header = Header(Kind.HEAD, head.corpus_id, head.write_id, head.key_id, tuple(tlvs))
    try:
        text = json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidArgument(f"the settings are not JSON: {type(error).__name__}; nothing was committed") from None
    if len(text) > MAX_BODY:
        raise LimitExceeded(
            f"the head of corpus {head.corpus_id.hex()} would have {len(text)} bytes, above the limit of {MAX_BODY}; "
            "nothing was committed"
        )
    return seal(header, key, text)


def open_head(
    data: Buffer,
    version: str,
    root: str,
    trusted: Sequence[KMS],
    pins: tuple[Pin, ...] = (),
    seen: Seen | None = None,
) -> OpenedHead:
    """Open a head through the KMS. Whatever needs no key is checked before the KMS is called.

    Raises:
        FormatError, PinMismatch, NoTrustedKey, KMSDenied, ..., OlderGeneration, SupersededKey, MalformedManifest
    """
    header, wraps = peek(data, root)
    check_corpus(pins, header.corpus_id, root)
    if seen and header.key_id in seen.superseded:
        raise SupersededKey(
            f"the head of {root} is under corpus key {header.key_id.hex()}, which a later head has replaced: "
            f"{_put_back(lambda: open_with(data, unwrap_key(wraps, trusted, header.corpus_id, root), root))}",
            root=root,
        )
    key = unwrap_key(wraps, trusted, header.corpus_id, root)
    head = open_with(data, key, root)
    check_secret(pins, head.corpus_id, head.secret, root)
    if seen and not seen.admits(head):
        older = head.generation < seen.generation
        what = (
            f", but {seen.generation} was seen before"
            if older
            else f" but does not follow from generation {seen.generation}, which was seen before"
        )
        raise OlderGeneration(
            f"the head of {root} has generation {head.generation}{what}: {_put_back(lambda: head)}", root=root
        )
    return OpenedHead(head, key, version)


def _put_back(old: Callable[[], Head]) -> str:
    """What may have happened, and what to do; the generation to accept is read from the old head, if it still opens."""
    text = "an old head was put back, or is this a copy or a backup of the corpus? Restore the newest head; "
    try:
        number = old().generation
    except SecuredataError as error:  # the reason for refusing it matters more
        return f"{text}this one cannot be accepted, since it does not open ({type(error).__name__})"
    return f"{text}or, if you mean this one, open it with --accept-generation {number} (accept_generation={number})"


def peek(data: Buffer, root: str) -> tuple[Header, tuple[Wrap, ...]]:
    """The header and wraps of a head that is not opened yet; not authenticated.

    Raises:
        FormatError
    """
    header = read_header(data, Expect(Kind.HEAD, None, None, root))
    for kind, value in header.tlvs:
        if kind == REQUIRES and (unknown := set(value.split(b" ")) - {name.encode() for name in FEATURES}):
            # not authenticated yet, so it may hold anything
            plain = sorted(name.decode() for name in unknown if name.isalpha() and name.islower() and len(name) <= 32)
            names = ", ".join(plain[:8]) or "features without a name"
            raise UnknownVersion(
                f"the head of {root} requires what this securedata does not know ({names}): update securedata",
                root=root,
            )
    return header, tuple(Wrap.decode(value, root) for kind, value in header.tlvs if kind == WRAP)


def open_with(data: Buffer, key: bytes, root: str) -> Head:
    """Open a head with a known corpus key.

    Raises:
        FormatError, MalformedManifest
    """
    header, wraps = peek(data, root)
    body = open_whole(key, data, Expect(Kind.HEAD, header.corpus_id, None, root))
    try:
        parsed = json.loads(body.decode(), parse_constant=no_constant, object_pairs_hook=members_once)
        return _parse(parsed, header, wraps)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedManifest(
            f"the head of {root} is authentic but breaks the format ({type(error).__name__}); "
            "it was written by a broken writer: restore head.prev or an older version",
            root=root,
        ) from None


def _parse(body: dict[str, Any], header: Header, wraps: tuple[Wrap, ...]) -> Head:
    body = dict(body)
    head = Head(
        corpus_id=header.corpus_id,
        key_id=header.key_id,
        write_id=header.object_id,
        wraps=wraps,
        generation=natural(body.pop("generation"), MAX_GENERATION),
        secret=hex_bytes(body.pop("secret"), 32),
        parts=tuple(_table(one) for one in body.pop("parts")),
        settings=json_object(body.pop("settings")),
        tombstones=tuple(
            Tombstone(hex_bytes(one["tag"], 32), natural(one["generation"])) for one in body.pop("tombstones")
        ),
        retired=tuple(Retired(_table(one), seconds(one["time"])) for one in body.pop("leaving")),
        horizon=seconds(body.pop("horizon")),
        superseded=tuple(hex_bytes(one, 16) for one in body.pop("superseded")),
        writes=tuple(hex_bytes(one, 16) for one in body.pop("writes")),
        **parse_members(body),
        unknown=body,
    )
    ids = [part.id for part in head.parts]
    if len(set(ids)) != len(ids):
        raise ValueError("a part is named twice")
    return head


def _table_json(ref: TableRef) -> dict[str, Any]:
    found = {"id": ref.id.hex(), "key": ref.key.hex(), "rows": ref.rows, "size": ref.size}
    return {**found, "others": ref.others} if ref.others else found


def _table(one: dict[str, Any]) -> TableRef:
    rows = natural(one["rows"])
    others = natural(one.get("others", 0), rows + 1)
    return TableRef(hex_bytes(one["id"], 16), hex_bytes(one["key"], 32), rows, natural(one["size"]), others)
