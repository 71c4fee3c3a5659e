"""What there is of one person, here and in the corpora that were made from this one."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

import securedata as sd
from securedata.corpus.config import Reference, drop_entry, write_entry
from securedata.corpus.state.commit import Next
from securedata.corpus.state.lifecycle import Hold, Restriction
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, NoSuchSubject
from securedata.keys.tags import Tagger
from securedata.lifecycle.derived import register_derived
from securedata.lifecycle.erasure.erase import erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.people.person import look_up
from securedata.lifecycle.receipt.operator import make_operator
from securedata.lifecycle.retention import set_rule
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import clip
from tests.lifecycle.people.test_listing import add, day, fill


def test_what_there_is(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    add(writer, "e", ["Ann"], last_contact=day(-3))
    set_rule(writer, raw=30 * 24 * 3600)
    tag = Tagger(writer.head.secret).tag("ann")
    members = {"holds": (Hold(tag, "8", 2.0), Hold(tag, "7", 1.0)), "restricted": (Restriction(tag, "R", "", 3.0),)}
    writer.transact(lambda attempt: Next(None, members))
    found = sd.person(corpus, "ann", storage=place)
    assert (found.rows, found.objects, found.seconds, found.shared) == (3, 3, 5.0, 1)
    assert str(found) == "3 rows, 3 objects, 5.00 s of audio"
    assert found.paths == ("a", "b", "c")
    a, b = found.consents
    assert (a.consent_id, a.rows, a.purposes, a.unrecorded, a.expired) == ("A", 2, {"asr": 2, "tts": 1}, 0, 1)
    assert (b.consent_id, b.rows, b.unrecorded, b.first_end) == ("B", 1, 1, day(5).timestamp())
    assert found.first_ingested is not None
    assert found.first_ingested <= (found.last_ingested or 0)
    assert found.last_contact is None
    assert [one.case for one in found.holds] == ["7", "8"]
    assert [one.request for one in found.restrictions] == ["R"]
    assert (found.erased, found.unfinished, found.derived, found.roles) == (None, 0, (), ())
    assert [(one.uri, one.trusted) for one in found.kms] == [(writer.head.wraps[0].uri, True)]
    assert found.retention == {"raw": "30d"}
    assert found.near == ("Ann",)


def test_other_spellings_are_counted_with_it(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    add(writer, "e", ["Ann", "ann"], last_contact=day(-3))
    found = sd.person(corpus, "ann", also=["Ann", "ann"], storage=place)
    assert (found.rows, found.shared, found.also, found.near) == (4, 1, ("Ann",), ())
    assert found.last_contact == day(-3).timestamp()


def test_a_name_is_the_same_in_every_form_of_unicode(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    add(writer, "e", ["Zo\u00eb"])
    found = sd.person(corpus, "Zoe\u0308", storage=place)
    assert (found.rows, found.subject, found.near) == (1, "Zo\u00eb", ())


def test_nobody_of_that_name(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    for name, text in (("anne", "names that are like it are there"), ("zoe", "no name is like it")):
        with pytest.raises(NoSuchSubject, match=text) as caught:
            sd.person(corpus, name, storage=place)
        assert "'securedata people' lists" in str(caught.value)
        assert name not in str(caught.value)
    for wrong in ("", "\udc80"):
        with pytest.raises(InvalidArgument, match="name of a person"):
            sd.person(corpus, wrong, storage=place)


def test_who_was_erased_is_an_answer(tmp_path: Path) -> None:
    make_operator("example.com/erasure")
    root = make_corpus(tmp_path)
    erase(Writer(root.reference), Request("subject", names=("ann",)))
    found = sd.person(root.reference, "ann")
    assert (found.rows, found.erased, found.paths) == (0, 3, ())
    with pytest.raises(NoSuchSubject):
        sd.person(root.reference, "Ann")


@pytest.fixture
def chain(tmp_path: Path) -> tuple[Root, Root, Root]:
    """A corpus, one that was made from it, and one that was made from that."""
    roots = [
        make_corpus(tmp_path, [clip("ann/0.wav", 0.5, seed=1)], "voice-a"),
        make_corpus(tmp_path, [clip("ann/0.wav", 0.5), clip("bob/0.wav", 0.5, seed=1, speaker="bob")], "first"),
        make_corpus(tmp_path, [clip("bob/0.wav", 0.25, speaker="bob")], "second"),
    ]
    for source, made in pairwise(roots):
        register_derived(Writer(source.reference), Writer(made.reference).head)
    register_derived(Writer(roots[2].reference), Writer(roots[0].reference).head)  # a circle ends
    return roots[0], roots[1], roots[2]


def test_corpora_made_from_it_are_looked_into(chain: tuple[Root, Root, Root]) -> None:
    source, first, second = chain
    found = sd.person(source.reference, "ann")
    assert [(one.name, one.rows, one.seconds, one.reached) for one in found.derived] == [
        ("first", 1, 0.5, True),
        ("second", 0, 0.0, True),
    ]
    assert [one.pin for one in found.derived] == [first.pin, second.pin]
    assert all(one.kms[0].trusted for one in found.derived)
    only_there = sd.person(source.reference, "bob")
    assert (only_there.rows, [one.rows for one in only_there.derived]) == (0, [1, 1])


def test_those_that_are_not_reached_are_named(chain: tuple[Root, Root, Root]) -> None:
    source, first, second = chain
    second.key_file.unlink()
    [one, other] = sd.person(source.reference, "ann").derived
    assert (other.name, other.reached, other.rows) == ("second", False, 0)
    assert "key file" in (other.why or "")
    drop_entry("first")
    [one] = sd.person(source.reference, "ann").derived
    assert (one.pin, one.name, one.reached, one.why) == (first.pin, None, False, "it is not in your config")
    with pytest.raises(NoSuchSubject, match=f"not reached: {first.pin}"):
        sd.person(source.reference, "bob")


def test_keys_and_roles_that_could_read(chain: tuple[Root, Root, Root]) -> None:
    source, first, _ = chain
    arn = "arn:aws:iam::1:role/T"
    write_entry("voice-a", replace(source.reference, options={"role": arn}))
    write_entry("first", replace(first.reference, options={"role": arn + "2"}))
    found = look_up(source.reference, "ann")
    assert found.roles == (arn,)
    [one] = found.derived
    assert (one.reached, one.roles) == (False, (arn + "2",)), "a role's session needs S3, but it is named"
