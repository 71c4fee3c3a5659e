"""Corpora that tests harm: what lies on the storage, or a head or rows that a broken writer might leave."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from securedata.corpus.check.report import VerifyReport
from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.opening import open_corpus
from securedata.corpus.state.head import WRAP, OpenedHead, TableRef, seal_head
from securedata.corpus.state.tables import seal_table
from securedata.corpus.writer import Writer
from securedata.errors import SecuredataError
from securedata.format.header import Header, Kind
from securedata.format.sealed import Expect, open_whole, seal
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import keys_of, look
from tests.kit.corpora.rows import add, commit, content, make, row, table, writer_of

ROOT = "memory://voice"
PATHS = ("ann-of-cork/1.flac", "ann-of-cork/2.flac", "bob/1.flac")
WORDS = "what was said"

BIG = os.urandom(4 * 1024 * 1024 + 5)  # two pieces
FILES = {"ann/1.wav": b"one" * 1000, "ann/2.wav": b"", "bob/1.wav": b"x" * 16384, "bob/2.wav": BIG}


@dataclass
class MemoryCorpus:
    """A corpus in memory, sound until a test harms it."""

    reference: Reference
    place: MemoryStorage
    writer: Writer

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
        _, time = self.place.objects.get(key, (b"", self.place.clock))
        self.place.objects[key] = (bytes(data), time)

    def data(self, key: str) -> bytes:
        return self.place.objects[key][0]

    def put_head(self, **changes: Any) -> None:
        """An authentic head with other content, as a broken writer makes it."""
        opened = self.opened
        self.put("head", seal_head(replace(opened.head, **changes), opened.key))

    def put_rows(self, *rows: dict[str, Any]) -> None:
        """A part with these rows, as a broken writer makes it: past all checks."""
        ref, sealed = seal_table(table(*rows), self.opened.head.corpus_id)
        self.place.put_new(ref.storage_key, [sealed])
        self.put_head(parts=(*self.opened.head.parts, ref))

    def put_body(self, body: bytes) -> None:
        """An authentic head with this body."""
        opened = self.opened
        tlvs = tuple((WRAP, wrap.encode()) for wrap in opened.head.wraps)
        header = Header(Kind.HEAD, opened.head.corpus_id, opened.head.write_id, opened.head.key_id, tlvs)
        self.put("head", seal(header, opened.key, body))

    def body(self) -> dict[str, Any]:
        opened = self.opened
        expect = Expect(Kind.HEAD, opened.head.corpus_id, None, self.place.url)
        found: dict[str, Any] = json.loads(open_whole(opened.key, self.data("head"), expect))
        return found

    def id_of(self, path: str) -> bytes:
        """The id of the object of a row."""
        corpus = open_corpus(self.reference, storage=self.place)
        return bytes(corpus.value("object_id", corpus.find(path)))

    def verify(self, **options: Any) -> VerifyReport:
        return verify(self.reference, storage=self.place, threads=2, **options)


@dataclass
class TwoCorpora(MemoryCorpus):
    """A corpus in memory, and another one of another owner."""

    other_place: MemoryStorage
    other: Reference


def four_files() -> MemoryCorpus:
    """A corpus of FILES in two parts; the last object is larger than what is fetched at once."""
    place = MemoryStorage(ROOT)
    reference = make(place, ROOT)
    writer = writer_of(reference, place)
    add(writer, dict(list(FILES.items())[:2]))
    add(writer, dict(list(FILES.items())[2:]))
    return MemoryCorpus(reference, place, writer)


def two_corpora() -> TwoCorpora:
    """Three rows of two people in two parts; the other corpus has the same paths."""
    place, other_place = MemoryStorage(ROOT), MemoryStorage("memory://other")
    reference, other = make(place, ROOT), make(other_place, "memory://other", name="other")
    writer = writer_of(reference, place)
    for one in (writer, writer_of(other, other_place)):
        commit(one, *(row(one, path, content(path), ["ann"], transcript=WORDS) for path in PATHS[:2]))
        commit(one, row(one, PATHS[2], content(PATHS[2]), ["bob"], transcript=WORDS))
    return TwoCorpora(reference, place, writer, other_place, other)


def check_text(error: SecuredataError, made: TwoCorpora) -> None:
    """What, where, and the next step; no path, no words, no people, no keys."""
    text = str(error)
    assert ROOT in text or "local://" in text
    assert ";" in text or ":" in text
    assert text.isprintable()
    opened = look(made.other, made.other_place)
    for secret in (*PATHS, WORDS, "cork", "bob", opened.key.hex(), opened.head.secret.hex()):
        assert secret not in text


Harm = Callable[[TwoCorpora], object]


def part(made: TwoCorpora) -> TableRef:
    return made.opened.head.parts[0]


def change_part(made: TwoCorpora, how: Callable[[bytes], bytes]) -> None:
    key = part(made).storage_key
    made.put(key, how(made.data(key)))


def an_object(made: TwoCorpora) -> str:
    return next(key for key in sorted(keys_of(made.place)) if key.startswith("objects/"))


def errors(report: VerifyReport) -> list[str]:
    """The names of what verify found."""
    return sorted(finding.error for finding in report.findings)


def put_back(root: str) -> None:
    """Give a corpus in a folder its previous head again."""
    Path(root, "head").write_bytes(Path(root, "head.prev").read_bytes())
