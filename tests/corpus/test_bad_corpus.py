"""A corpus whose head was swapped, put back, forged or cut, and who may open it: one class of error per cause."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from securedata.corpus.state.head import WRAP, seal_head
from securedata.errors import (
    AuthenticationFailed,
    CorpusGone,
    KMSDenied,
    KMSUnreachable,
    MalformedHeader,
    NotACorpus,
    NoTrustedKey,
    NotSealed,
    OlderGeneration,
    PinMismatch,
    SecuredataError,
    SupersededKey,
    Truncated,
    UnknownSuite,
    UnknownVersion,
    WrongKind,
)
from securedata.format.header import Header, Kind
from securedata.format.sealed import seal
from securedata.keys.kms import open_all
from securedata.keys.local import create_key_file, uri_for
from securedata.keys.pin import make_pin
from securedata.keys.wraps import wrap_key
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import look, open_quietly
from tests.kit.corpora.harmed import PATHS, ROOT, Harm, TwoCorpora, an_object, check_text, part
from tests.kit.corpora.rows import content, fill, make, writer_of


def superseded(made: TwoCorpora) -> None:
    """A rotation, then the head of before it, as somebody who still holds the old key can forge it anew."""
    opened = made.opened
    made.put_head(generation=opened.head.generation + 7)
    forged = made.data("head")
    new = replace(
        opened.head,
        generation=opened.head.generation + 1,
        key_id=b"n" * 16,
        superseded=(opened.head.key_id,),
        wraps=wrap_key(open_all(made.reference.kms), b"R" * 32, opened.head.corpus_id),
    )
    made.put("head", seal_head(new, b"R" * 32))
    writer_of(made.reference, made.place)  # this machine sees it
    made.put("head", forged)


def change(key: str, at: int, new: bytes) -> Harm:
    def harm(made: TwoCorpora) -> None:
        data = made.data(key)
        at_ = at if at >= 0 else len(data) + at
        made.put(key, data[:at_] + new + data[at_ + len(new) :])

    return harm


def absurd_tlv(made: TwoCorpora) -> None:
    data = made.data("head")
    made.put("head", data[:66] + b"\xff\xff" + data[68:])


def wide_wrap(made: TwoCorpora) -> None:
    opened = made.opened
    header = Header(Kind.HEAD, opened.head.corpus_id, b"w" * 16, opened.head.key_id, ((WRAP, b"\xff\xffabc"),))
    made.put("head", seal(header, opened.key, b"{}"))


HEADS: list[tuple[str, Harm, type[SecuredataError]]] = [
    ("another file", lambda made: made.put("head", b"hello" * 100), NotSealed),
    ("empty", lambda made: made.put("head", b""), NotSealed),
    ("cut in the header", lambda made: made.put("head", made.data("head")[:100]), Truncated),
    ("cut in the body", lambda made: made.put("head", made.data("head")[:-20]), AuthenticationFailed),
    ("cut to its header", lambda made: made.put("head", made.data("head")[: made.header_size + 56]), Truncated),
    ("extended", lambda made: made.put("head", made.data("head") + b"\0"), AuthenticationFailed),
    ("version", change("head", 8, b"\2"), UnknownVersion),
    ("suite", change("head", 9, b"\7"), UnknownSuite),
    ("header length", change("head", 10, b"\xff\xf8"), Truncated),
    ("odd header length", change("head", 10, b"\x00\x41"), MalformedHeader),
    ("field length", absurd_tlv, MalformedHeader),
    ("wrap length", wide_wrap, MalformedHeader),
    ("critical field", change("head", 64, b"\x80\x02"), UnknownVersion),
    ("an object", lambda made: made.put("head", made.data(an_object(made))), WrongKind),
    ("a part", lambda made: made.put("head", made.data(part(made).storage_key)), WrongKind),
    ("another corpus", lambda made: made.put("head", made.other_place.objects["head"][0]), PinMismatch),
    ("another key id", change("head", 40, b"\xff\xff"), AuthenticationFailed),
    ("another write id", change("head", 50, b"\xff\xff"), AuthenticationFailed),
    ("flipped", change("head", -40, b"\xff\xff\xff"), AuthenticationFailed),
    ("gone", lambda made: made.place.delete("head"), CorpusGone),
    ("an old key", superseded, SupersededKey),
]


@pytest.mark.parametrize(("harm", "error"), [one[1:] for one in HEADS], ids=[one[0] for one in HEADS])
def test_a_head_that_is_not_the_one(harm: Harm, error: type[SecuredataError], made: TwoCorpora) -> None:
    reader = open_quietly(made.reference, made.place, ttl=3600)
    writer = writer_of(made.reference, made.place)
    harm(made)
    for read in (reader.refresh, lambda: open_quietly(made.reference, made.place)):
        with pytest.raises(SecuredataError) as caught:
            read()
        assert type(caught.value) is error
        check_text(caught.value, made)
    assert reader.read(PATHS[0]) == content(PATHS[0]), "what was open stays open"
    for act in (
        writer.refresh,
        lambda: fill(writer, "new"),
        lambda: writer_of(made.reference, made.place),
    ):
        before = dict(made.place.objects)
        with pytest.raises(SecuredataError) as caught:
            act()
        assert type(caught.value) is error
        check_text(caught.value, made)
        assert made.place.objects.get("head") == before.get("head")


@pytest.mark.parametrize("pinned", [True, False])
def test_no_corpus_and_a_corpus_that_is_gone_are_told_apart(pinned: bool, made: TwoCorpora) -> None:
    nothing = MemoryStorage(ROOT)
    with pytest.raises(CorpusGone if pinned else NotACorpus):
        open_quietly(made.reference if pinned else made.unpinned, nothing)
    made.place.delete("head")
    with pytest.raises(CorpusGone, match=r"head\.prev"):
        open_quietly(made.reference if pinned else made.unpinned, made.place)


# --------------------------------------------------------------------------------------------- readers and old heads


def test_a_reader_refuses_an_old_head_by_what_it_has_seen_itself(
    made: TwoCorpora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = made.data("head")
    fill(writer_of(made.reference, made.place), "new")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # on a machine that has written nothing
    reader = open_quietly(made.reference, made.place, ttl=0.05, kms_wait=0)
    made.put("head", old)
    with pytest.raises(OlderGeneration, match="generation 3, but 4 was seen") as caught:
        reader.refresh()
    check_text(caught.value, made)
    time.sleep(0.05)  # the grant is to be renewed, by the next read
    with pytest.raises(OlderGeneration):
        reader.read("new")
    assert open_quietly(made.reference, made.place).generation == 3, "who has not seen a newer one cannot know"


def test_a_reader_that_opened_under_a_new_key_refuses_the_old_one(made: TwoCorpora) -> None:
    opened = made.opened
    old = made.data("head")
    new = replace(
        opened.head,
        generation=opened.head.generation + 1,
        key_id=b"n" * 16,
        superseded=(opened.head.key_id,),
        wraps=wrap_key(open_all(made.reference.kms), b"R" * 32, opened.head.corpus_id),
    )
    made.put("head", seal_head(new, b"R" * 32))
    reader = open_quietly(made.reference, made.place)
    made.put("head", old)
    with pytest.raises(SupersededKey, match=opened.head.key_id.hex()) as caught:
        reader.refresh()
    check_text(caught.value, made)


# ---------------------------------------------------------------------------------------------------- who may open it


def other_key(tmp_path: Path) -> str:
    create_key_file(tmp_path / "other.kek")
    return uri_for(tmp_path / "other.kek")


def test_a_kms_key_that_made_no_wrap(made: TwoCorpora, tmp_path: Path) -> None:
    uri = other_key(tmp_path)
    wrong = replace(made.reference, kms=(uri,))
    for act in (lambda: open_quietly(wrong, made.place), lambda: writer_of(wrong, made.place)):
        with pytest.raises(NoTrustedKey, match="SECUREDATA_KMS") as caught:
            act()
        check_text(caught.value, made)
        assert uri in str(caught.value)
    with pytest.raises(NoTrustedKey):
        open_quietly(replace(made.reference, kms=()), made.place)


def test_a_wrap_of_another_corpus_by_the_same_key_does_not_open(made: TwoCorpora) -> None:
    # the same KMS key wraps both; what keeps them apart is the context, which is never taken from storage
    theirs = MemoryStorage("memory://theirs")
    shared = make(theirs, "memory://theirs", name="theirs", kms=made.reference.kms)
    stolen = look(shared, theirs).head.wraps
    opened = made.opened
    forged = replace(opened.head, wraps=stolen)
    made.put("head", seal_head(forged, opened.key))
    with pytest.raises(KMSDenied) as caught:
        open_quietly(made.reference, made.place)
    check_text(caught.value, made)


def test_a_kms_that_is_away(made: TwoCorpora) -> None:
    (uri,) = made.reference.kms
    Path(uri.removeprefix("local://")).unlink()
    for act in (
        lambda: open_quietly(made.reference, made.place),
        lambda: writer_of(made.reference, made.place),
    ):
        with pytest.raises(KMSUnreachable) as caught:
            act()
        check_text(caught.value, made)


@pytest.mark.parametrize("forged", [True, False])
def test_a_wrong_pin(forged: bool, made: TwoCorpora) -> None:
    head = made.opened.head
    pin = make_pin(head.corpus_id, bytes(32)) if forged else made.other.pins[0]
    wrong = replace(made.reference, pins=(pin,))
    for act in (lambda: open_quietly(wrong, made.place), lambda: writer_of(wrong, made.place)):
        with pytest.raises(PinMismatch) as caught:
            act()
        check_text(caught.value, made)


def test_a_corpus_made_anew_with_the_same_id_is_refused_by_the_pin(made: TwoCorpora) -> None:
    # whoever may use the KMS key, and has never read the corpus, can wrap a key of his own under its context
    head = made.opened.head
    mine = b"M" * 32
    forged = replace(
        head, secret=bytes(32), parts=(), wraps=wrap_key(open_all(made.reference.kms), mine, head.corpus_id)
    )
    made.put("head", seal_head(forged, mine))
    with pytest.raises(PinMismatch, match="another secret"):
        open_quietly(made.reference, made.place)
    with pytest.raises(PinMismatch, match="another secret"):
        writer_of(made.reference, made.place)
