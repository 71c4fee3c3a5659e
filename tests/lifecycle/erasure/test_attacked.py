"""Erasure attacked: what comes back afterwards, and whether the receipt had said that it could."""

from __future__ import annotations

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, SupersededKey
from securedata.lifecycle.erasure.erase import erase
from securedata.lifecycle.erasure.request import Request
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, look, open_quietly
from tests.kit.corpora.rows import content, row, table, writer_of
from tests.lifecycle.erasure.test_erase import statement_of

ANN = Request("subject", names=("ann",))


def test_a_backup_of_the_head_is_refused_and_its_objects_are_gone(
    corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    """Where nobody has seen the newer head, an old one with its parts opens: the receipt says so."""
    saved = {key: value for key, value in place.objects.items() if not key.startswith("objects/")}
    erased = erase(people, ANN)
    place.objects.update(saved)
    with pytest.raises(SupersededKey):
        open_quietly(corpus, place)
    with pytest.raises(SupersededKey):
        writer_of(corpus, place)
    said = " ".join(statement_of(erased).remains)
    assert "who may use one of these KMS keys" in said
    assert look(corpus, place).head.rows == 5
    assert "Backups, snapshots of storage or KMS" in said


def test_a_copy_of_the_bucket_reads_on_and_the_receipt_says_so(
    corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    copy = MemoryStorage()
    copy.objects, copy.clock = dict(place.objects), place.clock
    generation = look(corpus, place).head.generation
    erased = erase(people, ANN)
    assert "may have kept what they read" in statement_of(erased).remains[0]
    assert open_quietly(corpus, copy, accept_generation=generation).read("ann/1") == content("ann/1")


def test_a_segment_that_shares_its_object_is_not_said_to_be_erased(
    corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    """The recording's bytes stay with the other segment, which every reader can open."""
    first = row(people, "dan/t@0-50", content("dan/t"), ["dan"], consent_id="C5", sample_rate=100, frames=50)
    people.commit(table(first, {**first, "path": "dan/t@50-100", "consent_id": "C6"}))
    before = dict(place.objects)
    for request in (Request("path", paths=("dan/t@0-50",)), Request("consent", consents=("C5",))):
        with pytest.raises(InvalidArgument, match="1 of the rows are segments"):
            erase(writer_of(corpus, place), request)
    assert place.objects == before
    erase(writer_of(corpus, place), Request("path", paths=("dan/t@0-50", "dan/t@50-100")))
    assert not any(path.startswith("dan") for path in current(corpus, place))
