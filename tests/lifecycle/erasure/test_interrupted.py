"""An erasure that is cut off at any point is finished by the next run, with one final receipt."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from securedata.corpus.config import Reference
from securedata.corpus.home import state_dir
from securedata.corpus.state.seen import remember
from securedata.corpus.writer import Writer
from securedata.errors import CorpusError, InvalidArgument, NoSuchPath, StorageUnreachable
from securedata.keys.tags import Tagger
from securedata.lifecycle.erasure.erase import Options, erase, finish_open
from securedata.lifecycle.erasure.readmit import readmit
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.retention import Rule
from securedata.storage.base import Storage
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, keys_of, look, named_keys, open_quietly
from tests.kit.corpora.rows import add, content, writer_of
from tests.kit.hooked import Hooked

ANN = Request("subject", names=("ann",))
WRITES = ("put_new", "replace", "delete", "purge", "purge_older", "make_durable")


class Killed(BaseException):
    """The process is gone: nothing catches this."""


def receipts() -> list[Path]:
    return sorted((state_dir() / "receipts").rglob("*.receipt"))


def killed(place: MemoryStorage, at: int, after: bool) -> Storage:
    """A door to the storage that kills its user at the `at`th write, before or after it has happened."""
    count = 0

    def strike(call: str, late: bool) -> None:
        nonlocal count
        if call not in WRITES:
            return
        count += not late
        if count > at or (count == at and (late or not after)):
            raise Killed

    return Hooked(place, lambda call, key: strike(call, False), lambda call, key: strike(call, True))


def whole(corpus: Reference, place: MemoryStorage) -> None:
    """Nothing of ann is left, everything of others is, and the head records one final receipt, which is here."""
    head = look(corpus, place).head
    assert sorted(current(corpus, place)) == ["bob/1", "cid/1"]
    assert [open_quietly(corpus, place).read(path) for path in ("bob/1", "cid/1")] == [
        content("bob/1"),
        content("cid/1"),
    ]
    assert head.erasures == ()
    [final] = head.receipts
    [path] = receipts()
    assert path.stem.endswith(final["digest"][:16])
    left = keys_of(place) - named_keys(head, place)
    assert all(key.startswith(("manifest/", ".tmp-probe-")) for key in left), "orphans, which nothing opens"


def runs(corpus: Reference, people: Writer, start: MemoryStorage, at: int, after: bool) -> bool:
    """Kill an erasure at a write and run it again; returns whether it got that far."""
    place = MemoryStorage()
    place.objects, place.clock = dict(start.objects), start.clock
    remember(look(corpus, place).head, reset=True)
    for path in receipts():
        path.unlink()
    try:
        erase(Writer(corpus, storage=killed(place, at, after)), ANN)
    except Killed:
        assert len(receipts()) <= 1
        again = erase(writer_of(corpus, place), ANN)
        assert again.receipt is not None or again.finished or again.erased_before
        whole(corpus, place)
        return True
    whole(corpus, place)
    return False


def test_at_every_write(corpus: Reference, place: MemoryStorage, people: Writer) -> None:
    at = 1
    while runs(corpus, people, place, at, after=False):
        assert runs(corpus, people, place, at, after=True)
        at += 1
    assert at > 10


def test_a_storage_that_goes_away(corpus: Reference, place: MemoryStorage, people: Writer) -> None:
    """The draft stays open, and says nothing of what was not done; anybody finishes it, without knowing a name."""

    def before(call: str, key: str) -> None:
        if call == "purge" and not key.startswith(".tmp"):
            raise StorageUnreachable("the line is cut")

    writer = Writer(corpus, storage=Hooked(place, before, lambda call, key: None))
    with pytest.raises(StorageUnreachable):
        erase(writer, ANN)
    head = look(corpus, place).head
    assert len(head.erasures) == 1
    assert head.receipts == ()
    assert receipts() == []
    assert sorted(current(corpus, place)) == ["bob/1", "cid/1"]
    [done] = finish_open(writer_of(corpus, place))
    assert done.levels == ("deleted where visible",)
    whole(corpus, place)


def test_the_draft_names_nobody_and_its_list_outlives_a_day(
    corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    def before(call: str, key: str) -> None:
        if call == "purge" and not key.startswith(".tmp"):
            raise Killed

    writer = Writer(corpus, storage=Hooked(place, before, lambda call, key: None))
    with pytest.raises(Killed):
        erase(writer, ANN)
    [draft] = look(corpus, place).head.erasures
    assert "ann" not in str(draft)
    place.clock += 10 * 24 * 3600
    writer_of(corpus, place).commit(remove=["bob/1"])
    writer_of(corpus, place).commit_horizon()
    assert draft["list"] in [one.table.id.hex() for one in look(corpus, place).head.retired]
    [done] = finish_open(writer_of(corpus, place), Options())
    assert done.path is not None
    assert sorted(current(corpus, place)) == ["cid/1"]


def test_two_finish_the_same(corpus: Reference, place: MemoryStorage, people: Writer) -> None:
    """The one whose digest the head records has the final receipt; the other's is deleted."""
    other: list[object] = []

    def before(call: str, key: str) -> None:
        if call == "purge_older" and not other:
            other.append(None)
            other.append(finish_open(writer_of(corpus, place)))

    erased = erase(Writer(corpus, storage=Hooked(place, before, lambda call, key: None)), ANN)
    [first] = other[1]  # type: ignore[misc]  # what finish_open returns
    assert erased.receipt is not None
    assert erased.receipt.digest == first.digest
    whole(corpus, place)


def test_another_run_finishes_it_before_this_one_reads_the_list(
    corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    """The list of what to delete is cleared with the draft; the receipt is the other run's."""
    other: list[object] = []

    def after(call: str, key: str) -> None:
        if call == "replace" and not other:
            other.append(None)
            other.append(finish_open(writer_of(corpus, place)))

    erased = erase(Writer(corpus, storage=Hooked(place, lambda call, key: None, after)), ANN)
    [first] = other[1]  # type: ignore[misc]  # what finish_open returns
    assert erased.receipt is not None
    assert (erased.receipt.digest, erased.receipt.path) == (first.digest, first.path)
    whole(corpus, place)


@pytest.mark.parametrize(
    "request_",
    [
        Request("path", paths=("ann/1", "both/*")),
        Request("consent", consents=("C1",)),
        Request("expired", now=2e9),
        Request("retention", now=2e9, rule=Rule(1.0)),
        Request("all"),
    ],
    ids=lambda one: one.kind,
)
def test_a_request_that_names_no_people_is_known_again(
    request_: Request, corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    """Its rows are gone, so that only its tag tells a rerun from a request for what is not there."""
    if request_.kind == "expired":
        add(people, {"dan/1": content("dan/1")}, expires=datetime(2020, 5, 1, tzinfo=UTC))

    def before(call: str, key: str) -> None:
        if call == "purge" and not key.startswith(".tmp"):
            raise Killed

    options = Options(all_meant=True)
    with pytest.raises(Killed):
        erase(Writer(corpus, storage=Hooked(place, before, lambda call, key: None)), request_, options)
    again = erase(writer_of(corpus, place), request_, options)
    assert ([one.levels for one in again.finished], again.receipt) == ([("deleted where visible",)], None)
    generation = look(corpus, place).head.generation
    again = erase(writer_of(corpus, place), request_, options)
    assert (again.finished, again.receipt) == ((), None)
    assert again.erased_before == len(request_.paths + request_.consents)
    head = look(corpus, place).head
    assert (head.generation, head.erasures, len(head.receipts)) == (generation, (), 1)
    # another one is not
    part = request_.paths[:1] or ("zoe/1",)
    for other in (Request("path", paths=part), Request("consent", consents=("C9",))):
        with pytest.raises((NoSuchPath, InvalidArgument)):
            erase(writer_of(corpus, place), other)
    assert Tagger(head.secret).request("path", ["b", "a", "a"]) == hmac.digest(
        HKDFExpand(SHA512(), 32, b"securedata/v1 request tag").derive(head.secret), b"path\0a\0b", "sha256"
    )


def test_what_the_head_still_names_is_never_signed(
    corpus: Reference, place: MemoryStorage, people: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No writer of ours does this; with --partial it would be the only thing that shows it."""
    real = Writer.named
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "named", lambda self, ids: set(list(ids)[:1]))
        with pytest.raises(CorpusError, match="names 1 rows or objects of what was erased"):
            erase(people, ANN, Options(partial=True))
    assert Writer.named is real
    assert receipts() == []
    assert len(look(corpus, place).head.erasures) == 1


def test_nobody_is_let_in_again_before_the_erasure_is_finished(
    corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    def before(call: str, key: str) -> None:
        if call == "purge" and not key.startswith(".tmp"):
            raise Killed

    writer = Writer(corpus, storage=Hooked(place, before, lambda call, key: None))
    with pytest.raises(Killed):
        erase(writer, ANN)
    with pytest.raises(InvalidArgument, match="is not finished"):
        readmit(writer_of(corpus, place), "ann", "C9")
    finish_open(writer_of(corpus, place))
    readmit(writer_of(corpus, place), "ann", "C9")
