"""What a process that had opened the corpus before an erasure gets from the erased rows, and from others."""

from __future__ import annotations

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.state.layout import object_key
from securedata.corpus.writer import Writer
from securedata.errors import NoSuchPath, RowReplaced, SubjectErased
from securedata.lifecycle.erasure.erase import erase
from securedata.lifecycle.erasure.readmit import readmit
from securedata.lifecycle.erasure.request import Request
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, open_quietly
from tests.kit.corpora.rows import content, row, table, writer_of

COLUMNS = ["path", "subjects", "consent_id", "source_sha256"]


@pytest.mark.parametrize(
    "request_",
    [
        Request("subject", names=("ann",)),
        Request("consent", consents=("C1",)),
        Request("path", paths=("ann/1",)),
    ],
    ids=lambda one: one.kind,
)
def test_an_erased_row_says_so_until_refresh(
    corpus: Reference, place: MemoryStorage, people: Writer, request_: Request
) -> None:
    reader = open_quietly(corpus, place, columns=COLUMNS)
    erase(people, request_)
    with pytest.raises(SubjectErased):
        reader.read("ann/1")
    assert reader.read("bob/1") == content("bob/1")
    reader.refresh()
    with pytest.raises(NoSuchPath):
        reader.read("ann/1")


def test_a_row_that_was_only_removed_is_not_called_erased(
    corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    """Bob was erased and came back: his old bars, of no consent too, say nothing of a row under the new consent."""
    erase(people, Request("subject", names=("bob",)))
    writer = writer_of(corpus, place)
    readmit(writer, "bob", "C9")
    writer.commit(table(row(writer, "bob/2", content("bob/2"), ["bob"], consent_id="C9")))
    readers = [open_quietly(corpus, place, columns=each) for each in (COLUMNS, ["path", "subjects"])]
    key = object_key(current(corpus, place)["bob/2"]["object_id"])
    writer_of(corpus, place).commit(remove=["bob/2"])
    place.delete(key)
    for reader in readers:
        with pytest.raises(RowReplaced):
            reader.read("bob/2")
