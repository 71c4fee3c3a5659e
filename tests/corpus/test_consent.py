"""Which rows open: consent that ended, was withdrawn, or does not cover the purpose; and what is said of the others."""

from __future__ import annotations

import datetime
import logging
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow.compute as pc
import pytest

from securedata.corpus.config import Reference
from securedata.corpus.objects.fetch import Piece
from securedata.corpus.opening import open_manifest
from securedata.corpus.reader import Corpus
from securedata.corpus.state.commit import Next
from securedata.corpus.state.consent import LeftOut
from securedata.corpus.writer import Writer
from securedata.errors import ConsentExpired, InvalidArgument, NoSuchPath, PurposeRequired
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import open_quietly
from tests.kit.corpora.rows import DAY, content, row, table

ROWS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "both": {"purposes": ["asr", "tts"]},
    "asr": {"purposes": ["asr"], "expires": 10 * DAY},
    "tts": {"purposes": ["tts"], "expires": DAY},
    "none": {"purposes": []},
    "over": {"purposes": ["asr"], "expires": -1.0},
}
"""What each row says of consent; its end in seconds from now."""


def fill(writer: Writer) -> None:
    for half in (list(ROWS)[::2], list(ROWS)[1::2]):  # two parts
        rows = []
        for path in half:
            said = dict(ROWS[path])
            if "expires" in said:
                said["expires"] = datetime.datetime.fromtimestamp(time.time() + said["expires"], datetime.UTC)
            rows.append(row(writer, path, content(path), **said))
        writer.commit(table(*rows))


@contextmanager
def later(seconds: float) -> Iterator[None]:
    """This host's clock goes ahead."""
    real = time.time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + seconds)
        yield


class OtherClock(MemoryStorage):
    """Storage that gives a time with each head, `ahead` seconds before or behind this host's."""

    ahead = 0.0

    def recent_time(self) -> float:
        return time.time() + self.ahead


def paths(corpus: Corpus) -> set[str]:
    return set(corpus.table.column("path").to_pylist())


def test_rows_are_left_out_and_counted(
    corpus: Reference, place: MemoryStorage, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    fill(writer)
    with caplog.at_level(logging.WARNING):
        opened = open_quietly(corpus, place)
    assert paths(opened) == {"nothing", "both", "asr", "tts"}
    assert opened.left_out == LeftOut(expired=1, withdrawn=1)
    said = "2 of 6 recordings of memory://corpus are left out: 1 whose consent has ended, 1 with consent to no purpose"
    assert [one.getMessage() for one in caplog.records] == [said]
    for path in paths(opened):
        assert opened.read(path) == content(path)
    with pytest.raises(NoSuchPath, match="consent"):
        opened.find("over")
    assert len(opened.index._keys.view) == 32 * 4, "nor does it hold their keys"


def test_a_purpose_opens_rows_that_name_it(
    corpus: Reference, place: MemoryStorage, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    fill(writer)
    opened = open_quietly(corpus, place, purpose="tts")
    assert paths(opened) == {"both", "tts"}
    assert opened.left_out == LeftOut(expired=1, withdrawn=1, other_purpose=2)
    assert "2 without consent to 'tts'" in caplog.text
    for path in paths(opened):
        assert opened.read(path) == content(path)
    assert paths(open_quietly(corpus, place, purpose="asr")) == {"both", "asr"}
    assert open_quietly(corpus, place, purpose="ASR").left_out == LeftOut(expired=1, withdrawn=1, other_purpose=4)


def test_a_purpose_that_nobody_consented_to_names_those_that_somebody_did(
    corpus: Reference, place: MemoryStorage, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    writer.commit(table(*(row(writer, one, content(one), purposes=[one]) for one in ("asr", "tts"))))
    assert len(open_quietly(corpus, place, purpose="ads")) == 0
    assert caplog.messages[-1].endswith("2 without consent to 'ads' (purposes recorded there: 'asr', 'tts')")


def test_only_rows_that_the_filter_keeps_are_counted(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    opened = open_quietly(corpus, place, filter=pc.field("path").isin(["over", "both", "nothing"]), purpose="asr")
    assert (paths(opened), opened.left_out) == ({"both"}, LeftOut(expired=1, other_purpose=1))
    assert opened.read("both") == content("both")
    somebody = open_quietly(corpus, place, speakers=["nobody"])
    assert (len(somebody), somebody.left_out) == (0, LeftOut())


@pytest.mark.parametrize("bad", ["", "  ", "a;b", "a\nb", 7])
def test_what_is_no_purpose_is_refused(corpus: Reference, place: MemoryStorage, writer: Writer, bad: Any) -> None:
    with pytest.raises(InvalidArgument, match="a purpose is a text"):
        open_quietly(corpus, place, purpose=bad)


def test_a_corpus_may_require_a_purpose(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    before = open_quietly(corpus, place)
    writer.transact(lambda attempt: Next(None, {"purpose_required": True}))
    with pytest.raises(PurposeRequired, match="opens only with a purpose"):
        open_quietly(corpus, place)
    with pytest.raises(PurposeRequired):
        before.refresh()
    assert before.read("both") == content("both"), "what is open stays open"
    opened = open_quietly(corpus, place, purpose="asr")
    assert not opened.refresh()
    assert paths(opened) == {"both", "asr"}


def reads(corpus: Corpus, path: str) -> dict[str, Any]:
    """Each way to read a row."""
    i = corpus.find(path)
    size = len(content(path))
    return {
        "read": lambda: bytes(corpus.read(path)),
        "read_into": lambda: corpus.read_into(i, bytearray(size)),
        "read_range": lambda: bytes(corpus.read_range(path, 10, 20)),
        "open": lambda: corpus.open(path).read(),
    }


@pytest.mark.parametrize("way", ["read", "read_into", "read_range", "open"])
def test_a_row_that_expires_meanwhile_is_refused(
    corpus: Reference, place: MemoryStorage, writer: Writer, way: str
) -> None:
    fill(writer)
    opened = open_quietly(corpus, place)
    others = opened.find("asr"), opened.find("nothing")
    reads(opened, "tts")[way]()
    with later(2 * DAY):
        with pytest.raises(ConsentExpired, match=r"object [0-9a-f]{32} of .* the consent to it ended at 20") as error:
            reads(opened, "tts")[way]()
        assert (error.value.path, error.value.root) == ("tts", "memory://corpus")
        assert "tts" not in str(error.value)
        assert len(opened) == 4
        assert (opened.find("asr"), opened.find("nothing")) == others
        reads(opened, "asr")[way]()
        reads(opened, "nothing")[way]()
        opened.refresh()
        assert (paths(opened), opened.left_out.expired) == ({"nothing", "both", "asr"}, 2)


def test_in_a_batch_the_others_are_read(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    opened = open_quietly(corpus, place)
    names = ["both", "tts", "asr", "tts", "nothing"]
    pieces = [Piece(opened.find(path)) for path in names]
    assert dict(opened.read_many(pieces)) == {at: content(path) for at, path in enumerate(names)}
    with later(2 * DAY):
        found = dict(opened.read_many(pieces))
    assert [type(found[at]) for at in range(5)] == [bytearray, ConsentExpired, bytearray, ConsentExpired, bytearray]
    assert [found[at] for at in (0, 2, 4)] == [content(names[at]) for at in (0, 2, 4)]


def test_a_batch_that_was_started_leaves_out_what_is_over_when_it_is_taken(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    fill(writer)
    opened = open_quietly(corpus, place)
    names = ["both", "tts", "asr", "tts", "nothing"]
    batch = opened.start([Piece(opened.find(path)) for path in names])
    with later(2 * DAY):
        before = opened.counters.bytes
        found = dict(batch.outcomes())
    assert [type(found[at]) for at in range(5)] == [bytearray, ConsentExpired, bytearray, ConsentExpired, bytearray]
    assert [found[at] for at in (0, 2, 4)] == [content(names[at]) for at in (0, 2, 4)]
    assert opened.counters.bytes - before == sum(len(content(names[at])) for at in (0, 2, 4))
    given_up = opened.start([Piece(opened.find("both"))])
    given_up.cancel()
    assert list(given_up.outcomes()) == []


def test_an_open_file_is_refused_at_its_next_fetch(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    end = datetime.datetime.fromtimestamp(time.time() + DAY, datetime.UTC)
    writer.commit(table(row(writer, "long", content("long", size=2_000_000), expires=end)))
    file = open_quietly(corpus, place).open("long")
    assert file.read(1000) == content("long", size=1000)
    with later(2 * DAY):
        file.seek(1_900_000)
        with pytest.raises(ConsentExpired):
            file.read(1000)


@pytest.mark.parametrize("ahead", [-30 * DAY, 2 * DAY])
def test_the_later_clock_decides(corpus: Reference, writer: Writer, place: MemoryStorage, ahead: float) -> None:
    fill(writer)
    there = OtherClock()
    there.objects, there.ahead = place.objects, ahead
    opened = open_quietly(corpus, there)
    assert paths(opened) == {"nothing", "both", "asr"} | ({"tts"} if ahead < 0 else set())


def test_storage_may_say_later_that_it_is_over(corpus: Reference, writer: Writer, place: MemoryStorage) -> None:
    fill(writer)
    there = OtherClock()
    there.objects = place.objects
    opened = open_quietly(corpus, there, ttl=3600)
    there.ahead = 2 * DAY
    assert opened.read("tts") == content("tts"), "nobody has asked storage yet"
    assert pickle.loads(pickle.dumps(opened._lease.grant)).storage_time is not None
    with later(3600), pytest.raises(ConsentExpired):  # the keys are renewed, and with the head comes a time
        opened.read("tts")


def test_to_list_all_rows_is_not_to_read_them(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer)
    writer.transact(lambda attempt: Next(None, {"purpose_required": True}))
    opened = open_manifest(corpus, columns=["path", "purposes"], storage=place)
    assert paths(opened) == set(ROWS)
    assert opened.left_out == LeftOut(expired=1, withdrawn=1)
    for way in reads(opened, "both").values():
        with pytest.raises(InvalidArgument, match="to list its rows"):
            way()
    with pytest.raises(InvalidArgument, match="to list its rows"):
        list(opened.read_many([Piece(0)]))


def test_an_empty_corpus_reads_nothing(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    opened = open_quietly(corpus, place)
    assert list(opened.read_many([])) == []
    assert opened.left_out == LeftOut()
