"""A corpus in memory, sound until a test harms it, and what verify says of it."""

from __future__ import annotations

import os
from typing import Any

from securedata.corpus.check.report import VerifyReport
from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.opening import open_corpus
from securedata.corpus.schema import rows_table
from securedata.corpus.state.commit import Next
from securedata.corpus.state.tables import seal_table
from securedata.corpus.writer import Writer
from securedata.testing.memory import MemoryStorage
from tests.kit.small import add, in_memory

BIG = os.urandom(4 * 1024 * 1024 + 5)  # two pieces
FILES = {"ann/1.wav": b"one" * 1000, "ann/2.wav": b"", "bob/1.wav": b"x" * 16384, "bob/2.wav": BIG}

Made = tuple[Reference, MemoryStorage, Writer]


def made() -> Made:
    """Two parts of two rows each, the last one larger than what is fetched at once."""
    reference, storage, writer = in_memory()
    add(writer, dict(list(FILES.items())[:2]))
    add(writer, dict(list(FILES.items())[2:]))
    return reference, storage, writer


def check(made: Made, **options: Any) -> VerifyReport:
    return verify(made[0], storage=made[1], threads=2, **options)


def id_of(made: Made, path: str) -> bytes:
    corpus = open_corpus(made[0], storage=made[1])
    return bytes(corpus.value("object_id", corpus.find(path)))


def change(storage: MemoryStorage, key: str, data: bytes) -> None:
    storage.objects[key] = (data, storage.objects[key][1])


def commit_head(made: Made, **changes: Any) -> None:
    """A head as a broken writer might leave it."""
    made[2].transact(lambda attempt: Next(None, changes))


def commit_rows(made: Made, *rows: dict[str, Any]) -> None:
    """A part as a broken writer might leave it, past all checks of the real one."""
    ref, sealed = seal_table(rows_table(rows), made[2].corpus_id)
    made[1].put_new(ref.storage_key, [sealed])
    commit_head(made, parts=(*made[2].head.parts, ref))


def errors(report: VerifyReport) -> list[str]:
    return sorted(finding.error for finding in report.findings)
