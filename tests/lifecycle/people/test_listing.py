"""Who is in a corpus, in counts."""

from __future__ import annotations

import datetime
import time

import pytest

import securedata as sd
from securedata.corpus.config import Reference
from securedata.corpus.state.commit import Next
from securedata.corpus.state.head import Tombstone
from securedata.corpus.state.lifecycle import Hold, Restriction
from securedata.corpus.writer import Writer
from securedata.errors import PartMissing
from securedata.keys.tags import Tagger
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.rows import content, row, table
from tests.kit.hooked import Hooked

DAY = 24 * 3600
NOW = int(time.time())


def day(days: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(NOW + days * DAY, datetime.UTC)


def add(writer: Writer, path: str, people: list[str], **columns: object) -> None:
    length = {"frames": 16_000, "sample_rate": 8_000}
    writer.commit(table(row(writer, path, content(path), people, **{**length, **columns})))


def fill(writer: Writer) -> None:
    """Four rows in four parts; merging puts some of them together."""
    add(writer, "a", ["ann"], consent_id="A", purposes=["tts", "asr"], expires=day(9))
    add(writer, "b", ["ann"], consent_id="A", purposes=["asr"], expires=day(-1))
    add(writer, "c", ["bob", "ann", "bob"], consent_id="B", expires=day(5), frames=8_000)
    add(writer, "d", ["cid"], purposes=[])


def test_everybody_is_listed(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    found = sd.people(corpus, storage=place)
    ann, bob, cid = found.people
    assert (ann.name, ann.rows, ann.seconds, ann.consents, ann.expired) == ("ann", 3, 5.0, 2, 1)
    assert ann.first_end == day(-1).timestamp()
    assert ann.purposes == ("asr", "tts")
    assert (bob.name, bob.rows, bob.seconds, bob.consents, bob.purposes) == ("bob", 1, 1.0, 1, ())
    assert (cid.name, cid.rows, cid.consents, cid.first_end, cid.purposes) == ("cid", 1, 0, None, ())
    assert not any(one.held or one.restricted for one in found.people)
    assert str(found) == "3 people, 4 rows, 7.00 s of audio"
    assert (found.rows, found.seconds, found.generation) == (4, 7.0, writer.head.generation)


def test_holds_restrictions_and_erasures_are_counted(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    ann, bob, eve = map(Tagger(writer.head.secret).tag, ("ann", "bob", "eve"))
    members = {
        "holds": (Hold(ann, "7", 1.0), Hold(bob, "7", 1.0), Hold(eve, "7", 1.0)),
        "restricted": (Restriction(bob, "R", "", 1.0),),
        "tombstones": (Tombstone(eve, 3),),
    }
    writer.transact(lambda attempt: Next(None, members))
    found = sd.people(corpus, storage=place)
    assert [(one.name, one.held, one.restricted) for one in found.people] == [
        ("ann", True, False),
        ("bob", True, True),
        ("cid", False, False),
    ]
    assert str(found) == "3 people, 4 rows, 7.00 s of audio; 2 held; 1 restricted; 1 erased before"


def test_an_empty_corpus_has_nobody(corpus: Reference, place: MemoryStorage) -> None:
    found = sd.people(corpus, storage=place)
    assert (found.people, str(found)) == ((), "0 people, 0 rows, 0.00 s of audio")


def test_a_head_that_is_replaced_meanwhile_is_read_again(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    fill(writer)
    part = writer.head.parts[0]
    moved = []

    def meanwhile(call: str, key: str) -> None:
        if call == "get" and key == part.storage_key and not moved:
            moved.append(key)
            writer.commit(remove=["a", "b", "c", "d"])
            del place.objects[key]

    found = sd.people(corpus, storage=Hooked(place, meanwhile))
    assert moved
    assert (found.people, found.generation) == ((), writer.head.generation)


def test_a_part_that_is_lost_is_an_error(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    del place.objects[writer.head.parts[0].storage_key]
    with pytest.raises(PartMissing):
        sd.people(corpus, storage=place)


def test_reprs_name_nobody(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    found = sd.people(corpus, storage=place)
    said = f"{found!r} {found} {found.people!r}"
    assert [name for name in ("ann", "bob", "cid") if name in said] == []
