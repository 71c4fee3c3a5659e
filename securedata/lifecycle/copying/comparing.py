"""Compare a sample of recordings in both corpora, byte for byte."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np

from securedata.corpus.objects.fetch import PIECE
from securedata.corpus.opening import open_corpus
from securedata.corpus.progress import Progress
from securedata.corpus.reader import Corpus
from securedata.corpus.writer import Writer
from securedata.errors import (
    AccessDenied,
    ConsentExpired,
    KeysError,
    MalformedManifest,
    NoSuchPath,
    RowReplaced,
    SecuredataError,
    SessionExpired,
    StorageUnreachable,
    SubjectErased,
    SubjectRestricted,
)
from securedata.lifecycle.copying.objects import Rows
from securedata.lifecycle.copying.report import CorpusExportReport

if TYPE_CHECKING:
    from securedata.lifecycle.copying.copying import Options

_GONE = (SubjectErased, SubjectRestricted, RowReplaced, ConsentExpired)
_STOP = (KeysError, AccessDenied, SessionExpired, StorageUnreachable)


def compare(
    corpus: Corpus,
    rows: Rows,
    target: Writer,
    options: Options,
    report: CorpusExportReport,
    progress: Progress | None,
) -> None:
    """Read a sample of rows from both corpora; results go into the report. What it lists already is not compared.

    Each object was already checked when it was put: this is a second look, from the other corpus's head and keys.
    """
    listed = {*report.conflicts, *report.held, *(path for path, _ in report.failed)}
    drawn = random.Random(options.seed).sample(range(len(rows)), min(options.verify_sample, len(rows)))  # noqa: S311 - no secret
    chosen = np.sort(rows[drawn]).tolist()
    total = sum(corpus.index.value("size", row) for row in chosen)
    size = 0
    if not chosen:
        return
    with open_corpus(target.reference, purpose=options.purpose) as copy:
        for done, row in enumerate(chosen, 1):
            path = corpus.index.path(row)
            if path in listed:
                continue
            try:
                other = copy.find(path)
            except NoSuchPath:  # left out, erased or refused: listed elsewhere
                continue
            try:
                _compare(corpus, row, copy, other)
            except _STOP:
                raise
            except _GONE:
                continue
            except SecuredataError as error:
                report.different.append((path, error))
            report.compared += 1
            size += corpus.index.value("size", row)
            if progress:
                progress(done, len(chosen), size, total)


def _compare(corpus: Corpus, row: int, copy: Corpus, other: int) -> None:
    size = corpus.index.value("size", row)
    same = size == copy.index.value("size", other)
    for at in range(0, size, PIECE):
        same = same and corpus.read_range(row, at, PIECE) == copy.read_range(other, at, PIECE)
    if not same:
        object_id = copy.index.location(other).object_id
        raise MalformedManifest(
            f"object {object_id.hex()} of {copy.root} is not the recording of {corpus.root} under the same path: one "
            "of them was replaced meanwhile; run it again",
            root=copy.root,
            object_id=object_id,
        )
