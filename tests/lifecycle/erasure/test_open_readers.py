"""What a process that had opened the corpus before an erasure gets from the erased rows, and from others."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.objects.fetch import Piece
from securedata.corpus.reader import Corpus
from securedata.corpus.state.layout import TABLES, object_key
from securedata.corpus.writer import Writer
from securedata.errors import NoSuchPath, PartMissing, RowReplaced, SecuredataError, SubjectErased
from securedata.lifecycle.erasure.erase import Options, erase
from securedata.lifecycle.erasure.readmit import readmit
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.reencrypt import reencrypt
from securedata.lifecycle.retention import Rule
from securedata.lifecycle.rotate import rotate_head
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, open_quietly
from tests.kit.corpora.rows import DAY, content, row, table, writer_of

COLUMNS = ["path", "subjects", "consent_id", "source_sha256"]
FAR = datetime.datetime(2090, 1, 1, tzinfo=datetime.UTC)
LATER = FAR.timestamp() + DAY
EVERY_KIND = pytest.mark.parametrize(
    "request_",
    [
        Request("subject", names=("ann",)),
        Request("consent", consents=("C1",)),
        Request("path", paths=("ann/1",)),
        Request("expired", now=LATER),
        Request("retention", now=LATER, rule=Rule(inactive=1)),
        Request("all"),
    ],
    ids=lambda one: one.kind,
)


@pytest.fixture
def dated(people: Writer) -> Writer:
    """Consent to ann/1 ends, and her last contact was, long after any clock that counts here."""
    one = row(people, "ann/1", content("ann/1"), consent_id="C1", sample_rate=100, frames=50)
    people.commit(table({**one, "expires": FAR, "last_contact": FAR}), reseal=True)
    return people


def renew(corpus: Corpus) -> None:
    lease = corpus.snapshot.lease
    lease.take(lease._renew(lease.grant))


def outcome(corpus: Corpus, path: str) -> Any:
    """What reading a row gives, by itself and together with others: its content, or the class of the error."""
    together = dict(corpus.read_many([Piece(corpus.find(path))]))[0]
    if isinstance(together, SecuredataError):
        with pytest.raises(type(together)):
            corpus.read(path)
        return type(together)
    assert corpus.read(path) == together
    return bytes(together)


def parts_read(place: MemoryStorage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of tables that are fetched from now on."""
    fetched: list[str] = []
    get = place.get

    def counted(key: str, limit: int | None = None) -> bytes:
        if key.startswith(TABLES):
            fetched.append(key)
        return get(key, limit)

    monkeypatch.setattr(place, "get", counted)
    return fetched


@EVERY_KIND
@pytest.mark.parametrize("columns", [None, COLUMNS], ids=["usual columns", "more columns"])
def test_an_erased_row_says_so_until_refresh(
    corpus: Reference, place: MemoryStorage, dated: Writer, request_: Request, columns: list[str] | None
) -> None:
    reader = open_quietly(corpus, place, columns=columns)
    erase(dated, request_, Options(all_meant=True))
    assert outcome(reader, "ann/1") is SubjectErased
    if request_.kind != "all":
        assert outcome(reader, "bob/1") == content("bob/1")
    reader.refresh()
    with pytest.raises(NoSuchPath):
        reader.read("ann/1")


@EVERY_KIND
def test_a_renewal_closes_erased_rows_although_their_objects_still_answer(
    corpus: Reference, place: MemoryStorage, dated: Writer, request_: Request
) -> None:
    reader = open_quietly(corpus, place)
    objects = {key: found for key, found in place.objects.items() if key.startswith("objects/")}
    erase(dated, request_, Options(all_meant=True))
    place.objects.update(objects)  # as under Object Lock, or out of a cache
    assert outcome(reader, "ann/1") == content("ann/1"), "nothing was asked yet"
    renew(reader)
    assert outcome(reader, "ann/1") is SubjectErased
    if request_.kind != "all":
        assert outcome(reader, "bob/1") == content("bob/1")
    renew(reader)
    assert outcome(reader, "ann/1") is SubjectErased
    assert place.get(object_key(reader.snapshot.index.location(reader.find("ann/1")).object_id))


def test_a_file_that_stays_open_over_a_refresh_is_closed(
    corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    reader = open_quietly(corpus, place)
    file = reader.open("ann/1")
    objects = dict(place.objects)
    erase(people, Request("path", paths=("ann/1",)))
    place.objects.update({key: found for key, found in objects.items() if key.startswith("objects/")})
    reader.refresh()
    with pytest.raises(SubjectErased):
        file.read()


def test_the_parts_are_read_once_for_an_erasure_that_no_tombstone_shows(
    corpus: Reference, place: MemoryStorage, people: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = open_quietly(corpus, place)
    erase(people, Request("subject", names=("cid",)))
    fetched = parts_read(place, monkeypatch)
    renew(reader)
    assert (outcome(reader, "cid/1"), fetched) == (SubjectErased, []), "a tombstone tells"
    erase(people, Request("path", paths=("ann/1",)))
    fetched.clear()
    renew(reader)
    assert sorted(fetched) == sorted(part.storage_key for part in people.refresh().parts)
    fetched.clear()
    people.commit(remove=["ann/2"])
    fetched.clear()
    renew(reader)
    assert [outcome(reader, path) for path in ("ann/1", "cid/1")] == [SubjectErased] * 2
    assert fetched == [], "what is known is not searched again"
    late = open_quietly(corpus, place)
    fetched.clear()
    renew(late)
    assert fetched == [], "nor what was erased before it was opened"


def test_rows_that_were_removed_or_moved_beside_an_erasure_are_read_for_their_day(
    corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    reader = open_quietly(corpus, place)
    people.commit(remove=["bob/1"])
    people.commit(table(row(people, "cid/1", content("cid/1", 1), ["cid"])), replace=True)
    people.commit(table(row(people, "both/1", content("both/1"), ["ann", "bob"])), reseal=True)
    rotate_head(people, data_keys=True)
    reencrypt(people)
    erase(people, Request("path", paths=("ann/1",)))
    renew(reader)
    assert outcome(reader, "ann/1") is SubjectErased
    for path in ("ann/2", "bob/1", "cid/1", "both/1"):
        assert outcome(reader, path) == content(path)


def _reencrypted(writer: Writer) -> None:
    rotate_head(writer, data_keys=True)
    reencrypt(writer)


def _resealed(writer: Writer) -> None:
    writer.commit(table(row(writer, "ann/1", content("ann/1"), consent_id="C1")), reseal=True)


@pytest.mark.parametrize("columns", [None, ["path", "origin"]], ids=["usual columns", "origin"])
def test_what_was_sealed_again_twice_is_not_called_erased(
    corpus: Reference, place: MemoryStorage, people: Writer, columns: list[str] | None
) -> None:
    _reencrypted(people)
    reader = open_quietly(corpus, place, columns=columns)
    objects = {path: object_key(found["object_id"]) for path, found in current(corpus, place).items()}
    _reencrypted(people)
    erase(people, Request("path", paths=("ann/1",)))
    renew(reader)
    assert outcome(reader, "ann/1") is SubjectErased
    assert outcome(reader, "ann/2") == content("ann/2")
    place.delete(objects["ann/2"])
    assert outcome(reader, "ann/2") is RowReplaced


@pytest.mark.parametrize("again", [_reencrypted, _resealed])
def test_what_a_recording_was_sealed_in_before_is_closed_with_it(
    corpus: Reference, place: MemoryStorage, people: Writer, again: Callable[[Writer], None]
) -> None:
    reader = open_quietly(corpus, place)
    first = object_key(reader.snapshot.index.location(reader.find("ann/1")).object_id)
    for _ in range(2):
        again(people)
    kept = place.objects[first]
    erase(people, Request("path", paths=("ann/1",)))
    assert first not in place.objects
    place.objects[first] = kept
    renew(reader)
    assert outcome(reader, "ann/1") is SubjectErased


def test_a_person_who_was_let_in_again_is_erased_for_readers_from_before(
    corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    reader = open_quietly(corpus, place)
    objects = dict(place.objects)
    erase(people, Request("subject", names=("bob",)))
    readmit(people, "bob", "C9")
    assert outcome(reader, "bob/1") is SubjectErased, "the tombstone is gone"
    place.objects.update({key: found for key, found in objects.items() if key.startswith("objects/")})
    renew(reader)
    assert outcome(reader, "bob/1") is SubjectErased
    assert outcome(reader, "ann/1") == content("ann/1")


def test_a_row_that_was_only_removed_is_not_called_erased(
    corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    """Bob was erased and came back: his erasure says nothing of a row under the new consent."""
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


def test_a_head_that_is_replaced_while_its_parts_are_read(
    corpus: Reference, place: MemoryStorage, people: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The renewal reads the newest head again; a part that stays away ends it, for nobody knows what may be read."""
    reader = open_quietly(corpus, place)
    erase(people, Request("path", paths=("ann/1",)))
    get, moved = place.get, [0]

    def raced(key: str, limit: int | None = None) -> bytes:
        if key.startswith(TABLES) and not moved[0]:
            moved[0] = 1
            erase(writer_of(corpus, place), Request("path", paths=("ann/2",)))
        return get(key, limit)

    monkeypatch.setattr(place, "get", raced)
    renew(reader)
    assert [outcome(reader, path) for path in ("ann/1", "ann/2")] == [SubjectErased] * 2
    assert outcome(reader, "bob/1") == content("bob/1")
    late = open_quietly(corpus, place)
    erase(people, Request("path", paths=("cid/1",)))
    place.delete(people.refresh().parts[0].storage_key)
    with pytest.raises(PartMissing):
        renew(late)
