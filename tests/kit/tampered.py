"""A corpus in memory whose storage tests tamper with, and what an error text must and must not say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from securedata.corpus.config import Reference
from securedata.corpus.state.head import WRAP, OpenedHead, TableRef, seal_head
from securedata.errors import (
    SecuredataError,
)
from securedata.format.header import Header, Kind
from securedata.format.sealed import Expect, open_whole, seal
from securedata.testing.memory import MemoryStorage
from tests.kit.little import content, keys_of, look, make, row, table, writer_of

ROOT = "memory://voice"
PATHS = ("ann-of-cork/1.flac", "ann-of-cork/2.flac", "bob/1.flac")
WORDS = "what was said"


@dataclass
class Made:
    """A corpus in memory, and another one of another owner."""

    place: MemoryStorage
    reference: Reference
    other_place: MemoryStorage
    other: Reference

    @property
    def opened(self) -> OpenedHead:
        return look(self.reference, self.place)

    @property
    def unpinned(self) -> Reference:
        return Reference(self.reference.root, None, self.reference.kms)

    @property
    def header_size(self) -> int:
        return int.from_bytes(self.data("head")[10:12], "big")

    def put(self, key: str, data: bytes | bytearray) -> None:
        self.place.objects[key] = (bytes(data), self.place.clock)

    def data(self, key: str) -> bytes:
        return self.place.objects[key][0]

    def put_head(self, **changes: Any) -> None:
        """An authentic head with other content, as a broken writer makes it."""
        opened = self.opened
        self.put("head", seal_head(replace(opened.head, **changes), opened.key))

    def put_body(self, body: bytes) -> None:
        """An authentic head with this body."""
        opened = self.opened
        tlvs = tuple((WRAP, wrap.encode()) for wrap in opened.head.wraps)
        header = Header(Kind.HEAD, opened.head.corpus_id, opened.head.write_id, opened.head.key_id, tlvs)
        self.put("head", seal(header, opened.key, body))

    def body(self) -> dict[str, Any]:
        opened = self.opened
        expect = Expect(Kind.HEAD, opened.head.corpus_id, None, ROOT)
        found: dict[str, Any] = json.loads(open_whole(opened.key, self.data("head"), expect))
        return found


def two_corpora() -> Made:
    """Three rows of two people in two parts; the other corpus has the same paths."""
    place, other_place = MemoryStorage(ROOT), MemoryStorage("memory://other")
    reference, other = make(place, ROOT), make(other_place, "memory://other", name="other")
    for each, storage in ((reference, place), (other, other_place)):
        writer = writer_of(each, storage)
        writer.commit(table(*(row(writer, path, content(path), ["ann"], transcript=WORDS) for path in PATHS[:2])))
        writer.commit(table(row(writer, PATHS[2], content(PATHS[2]), ["bob"], transcript=WORDS)))
    return Made(place, reference, other_place, other)


def check_text(error: SecuredataError, made: Made) -> None:
    """What, where, and the next step; no path, no words, no people, no keys."""
    text = str(error)
    assert ROOT in text or "local://" in text
    assert ";" in text or ":" in text
    assert text.isprintable()
    opened = look(made.other, made.other_place)
    for secret in (*PATHS, WORDS, "cork", "bob", opened.key.hex(), opened.head.secret.hex()):
        assert secret not in text


Harm = Callable[[Made], object]


def part(made: Made) -> TableRef:
    return made.opened.head.parts[0]


def change_part(made: Made, how: Callable[[bytes], bytes]) -> None:
    key = part(made).storage_key
    made.put(key, how(made.data(key)))


def an_object(made: Made) -> str:
    return next(key for key in sorted(keys_of(made.place)) if key.startswith("objects/"))
