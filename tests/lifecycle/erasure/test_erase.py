"""What an erasure leaves behind: nothing of the person, everything of everybody else, and a receipt."""

from __future__ import annotations

import hashlib
import re

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.state.head import open_with
from securedata.corpus.writer import Writer
from securedata.errors import (
    AuthenticationFailed,
    InvalidArgument,
    NoOperatorKey,
    NoSuchPath,
    NoSuchSubject,
    SubjectErased,
)
from securedata.keys.tags import Tagger
from securedata.lifecycle.erasure.erase import Erased, Options, erase
from securedata.lifecycle.erasure.readmit import readmit
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.receipt.operator import Operator
from securedata.lifecycle.receipt.statement import Statement
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, keys_of, look, named_keys, open_quietly
from tests.kit.corpora.rows import content, make, row, table, writer_of


def statement_of(erased: Erased) -> Statement:
    """What its receipt says; the text before the signature."""
    assert erased.receipt is not None
    assert erased.receipt.path is not None
    data = erased.receipt.path.read_bytes()
    assert hashlib.sha256(data).hexdigest() == erased.receipt.digest
    return Statement.from_text(data.decode().rpartition("\n\n")[0] + "\n")


def test_a_person_is_erased(corpus: Reference, place: MemoryStorage, people: Writer, operator: Operator) -> None:
    before, rows, objects = look(corpus, place), current(corpus, place), dict(place.objects)
    reader = open_quietly(corpus, place)
    erased = erase(people, Request("subject", names=("ann",), reference="REQ-7", received="2026-11-30"))
    after = look(corpus, place)
    assert sorted(current(corpus, place)) == ["bob/1", "cid/1"]
    assert keys_of(place) == named_keys(after.head, place)  # all that is stored is named: no list, no old part
    gone = {rows[path]["object_id"].hex() for path in ("ann/1", "ann/2", "both/1")}
    assert not any(key.rpartition("/")[2] in gone for key in place.objects)
    assert open_quietly(corpus, place).read("bob/1") == content("bob/1")
    with pytest.raises(SubjectErased):
        reader.read("ann/1")
    assert reader.read("cid/1") == content("cid/1")
    # a head saved before opens with the old key alone, and today's key is another
    with pytest.raises(AuthenticationFailed):
        open_with(objects["head"][0], after.key, corpus.root)
    assert before.head.key_id in after.head.superseded
    said = statement_of(erased)
    assert (said.scope.kind, said.scope.rows, said.scope.objects, said.scope.seconds) == ("subject", 3, 3, 1.5)
    assert set(said.deleted.objects) == gone
    assert set(said.deleted.parts) == {part.id.hex() for part in before.head.parts}
    assert [one.words for one in said.levels] == ["deleted where visible"]
    assert said.request is not None
    assert (said.request.reference, said.request.received) == ("REQ-7", "2026-11-30")
    assert not re.search(r"\bann\b", said.text())  # as a word: random keys in base64 can have its letters
    assert after.head.erasures == ()
    assert after.head.receipts[0]["digest"] == erased.receipt.digest if erased.receipt else False


def test_nobody_of_that_name_comes_back(corpus: Reference, place: MemoryStorage, people: Writer) -> None:
    erase(people, Request("subject", names=("ann",)))
    writer = writer_of(corpus, place)
    outcome = writer.commit(
        table(*(row(writer, f"new/{k}", content(f"new/{k}"), names) for k, names in enumerate([["ann"], ["bob"]])))
    )
    assert (outcome.erased, outcome.added) == (["new/0"], 1)


def test_a_person_comes_back_under_a_new_consent_only(corpus: Reference, place: MemoryStorage, people: Writer) -> None:
    erase(people, Request("subject", names=("ann",)))
    writer = writer_of(corpus, place)
    with pytest.raises(InvalidArgument, match="give a new one"):
        readmit(writer, "ann", "C1")
    with pytest.raises(NoSuchSubject, match="nobody of that name was erased"):
        readmit(writer, "bob", "C9")
    for _ in range(2):
        readmit(writer, "ann", "C9")
    outcome = writer.commit(
        table(
            row(writer, "ann/1", content("ann/1"), consent_id="C1"),
            row(writer, "ann/2", content("ann/2")),
            row(writer, "ann/9", content("ann/9"), consent_id="C9"),
        )
    )
    assert (sorted(outcome.erased), outcome.added) == (["ann/1", "ann/2"], 1)


def test_erased_already_is_success(corpus: Reference, place: MemoryStorage, people: Writer) -> None:
    erase(people, Request("subject", names=("ann",)))
    head = place.objects["head"]
    again = erase(writer_of(corpus, place), Request("subject", names=("ann",)))
    assert (again.receipt, again.erased_before, again.commit.rows) == (None, 1, 0)
    assert place.objects["head"] == head


def test_a_consent_is_erased_and_a_new_one_enters(corpus: Reference, place: MemoryStorage, people: Writer) -> None:
    erased = erase(people, Request("consent", consents=("C1",)))
    assert sorted(current(corpus, place)) == ["ann/2", "bob/1", "both/1"]
    assert statement_of(erased).scope.people == ()
    writer = writer_of(corpus, place)
    outcome = writer.commit(
        table(
            row(writer, "ann/1", content("ann/1"), consent_id="C1"),
            row(writer, "ann/3", content("ann/3"), consent_id="C3"),
            row(writer, "dan/1", content("dan/1"), ["dan"], consent_id="C1"),
        )
    )
    assert (outcome.erased, outcome.added) == (["ann/1"], 2)


def test_a_recording_is_erased_and_barred_by_its_content(
    corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    erase(people, Request("path", paths=("ann/1", "cid")))
    assert sorted(current(corpus, place)) == ["ann/2", "bob/1", "both/1"]
    writer = writer_of(corpus, place)
    outcome = writer.commit(
        table(row(writer, "other name", content("ann/1"), consent_id="C9"), row(writer, "ann/1", content("ann/1", 1)))
    )
    assert (outcome.erased, outcome.added) == (["other name"], 1)


def test_all_of_it_must_be_meant(corpus: Reference, place: MemoryStorage, people: Writer) -> None:
    head = place.objects["head"]
    for request in (Request("all"), Request("subject", names=("ann", "bob", "cid"))):
        with pytest.raises(InvalidArgument, match=r"all 5 rows of .* --yes 5"):
            erase(people, request)
    with pytest.raises(InvalidArgument, match="all 5 rows"):
        erase(people, Request("all"), Options(all_rows=4))
    assert place.objects["head"] == head
    erase(people, Request("all"), Options(all_rows=5))
    assert current(corpus, place) == {}
    assert sorted(keys_of(place)) == ["head"]
    tagger = Tagger(people.head.secret)
    assert {one.tag for one in people.head.tombstones} == {tagger.tag(name) for name in ("ann", "bob", "cid")}


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (Request("subject", names=("Ann",)), NoSuchSubject),
        (Request("subject", names=("ann", "nobody")), NoSuchSubject),
        (Request("path", paths=("ann", "nothing/*")), NoSuchPath),
        (Request("consent", consents=("C1", "c1")), InvalidArgument),
    ],
)
def test_what_is_not_there_stops_it_before_the_first_write(
    place: MemoryStorage, people: Writer, request_: Request, error: type[Exception]
) -> None:
    before = dict(place.objects)
    with pytest.raises(error, match="nothing was erased"):
        erase(people, request_)
    assert place.objects == before


def test_an_empty_list_is_refused() -> None:
    for kind in ("subject", "path", "consent"):
        with pytest.raises(InvalidArgument, match="the list is empty"):
            Request(kind)  # type: ignore[arg-type]  # each is a kind


def test_without_an_operator_nothing_is_written(place: MemoryStorage, writer: Writer) -> None:
    writer.commit(table(row(writer, "ann/1", content("ann/1"))))
    before = dict(place.objects)
    with pytest.raises(NoOperatorKey, match="operator init"):
        erase(writer, Request("subject", names=("ann",)))
    assert place.objects == before


def test_somebody_who_is_not_there_can_be_barred(corpus: Reference, place: MemoryStorage, people: Writer) -> None:
    erased = erase(people, Request("subject", names=("dan",)), Options(absent_ok=True))
    assert statement_of(erased).scope.rows == 0
    writer = writer_of(corpus, place)
    assert writer.commit(table(row(writer, "dan/1", content("dan/1"), ["dan"]))).erased == ["dan/1"]


def test_a_thousand_people_in_one_commit(corpus: Reference, place: MemoryStorage, operator: Operator) -> None:
    writer = writer_of(corpus, place)
    names = [f"p{number}" for number in range(200)]
    writer.commit(table(*(row(writer, f"{name}/1", content(name), [name]) for name in [*names, "ann"])))
    generation = look(corpus, place).head.generation
    erased = erase(writer, Request("subject", names=tuple(names)))
    assert sorted(current(corpus, place)) == ["ann/1"]
    assert look(corpus, place).head.generation == generation + 2  # the erasing commit, and the one that ends it
    assert len(statement_of(erased).scope.people) == 200


def test_its_root_on_a_disk(tmp_path_factory: pytest.TempPathFactory, operator: Operator) -> None:
    """head.prev and temporaries belong to it."""
    root = tmp_path_factory.mktemp("sealed") / "corpus"
    reference = make(root=str(root), name="on-disk")
    writer = writer_of(reference)
    writer.commit(table(row(writer, "ann/1", content("ann/1")), row(writer, "bob/1", content("bob/1"), ["bob"])))
    saved = (root / "head").read_bytes()
    old = look(reference).head
    (root / "head.tmp-0123456789abcdef").write_bytes(saved)
    erased = erase(writer, Request("subject", names=("ann",)))
    left = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert {name for name in left if name.startswith("head")} <= {"head", "head.prev"}
    for name in left & {"head", "head.prev"}:
        assert look(reference).head.key_id.hex() != old.key_id.hex()
        assert old.key_id not in (root / name).read_bytes()[:64]
    assert sorted(current(reference)) == ["bob/1"]
    assert statement_of(erased).deleted.head_versions == 2
