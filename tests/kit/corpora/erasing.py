"""Erases people from a corpus of recordings, and loses its objects."""

from __future__ import annotations

from securedata.corpus.state.layout import object_key
from securedata.corpus.writer import Writer
from securedata.lifecycle.erasure.erase import Erased, Options, open_to_erase
from securedata.lifecycle.erasure.erase import erase as run_erasure
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.receipt.operator import make_operator
from tests.kit.corpora.recorded import Root


def erase(root: Root, *people: str) -> Erased:
    """Erase these people from a corpus, with a receipt; also those of whom it has no rows."""
    return erase_by(open_to_erase(root.reference), *people)


def erase_by(writer: Writer, *people: str) -> Erased:
    """As `erase`, by a writer."""
    make_operator("example.com/erasure")
    return run_erasure(writer, Request("subject", names=people), Options(absent_ok=True))


def lose(root: Root, *paths: str) -> None:
    """Delete the objects of these paths behind the corpus's back."""
    writer = Writer(root.reference)
    rows = [row for part in writer.head.parts for row in writer.read_table(part, ["path", "object_id"]).to_pylist()]
    for row in rows:
        if row["path"] in paths:
            writer.storage.delete(object_key(row["object_id"]))
