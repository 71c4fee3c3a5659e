"""The head is sealed under a fresh corpus key: what the KMS is asked, what stays, and what stops it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.state.head import open_with
from securedata.corpus.wrapping import add_wrap
from securedata.corpus.writer import Writer
from securedata.errors import (
    FormatError,
    InvalidArgument,
    KMSDenied,
    KMSUnreachable,
    NoTrustedKey,
    PinRequired,
    SupersededKey,
)
from securedata.keys.kms import Context
from securedata.keys.local import LocalKMS, create_key_file, uri_for
from securedata.lifecycle.rotate import rotate, rotate_head
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import look, open_quietly, whole
from tests.kit.corpora.rows import fill, make, writer_of
from tests.kit.counting_kms import Counted


def others(place: MemoryStorage) -> dict[str, bytes]:
    """All that is stored but the head."""
    return {key: bytes(data) for key, (data, *_) in place.objects.items() if key != "head"}


def second_key(folder: Path) -> LocalKMS:
    """Of a key file, which is made if it is not there."""
    create_key_file(folder / "safe" / "second.kek")
    return LocalKMS(uri_for(folder / "safe" / "second.kek"))


def test_the_head_is_sealed_under_another_key_and_nothing_else_is_touched(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    fill(writer, "ann/1", "ann/2", commits=2)
    before, stored, old = look(corpus, place), others(place), bytes(place.objects["head"][0])
    report = rotate(corpus, storage=place)
    after = look(corpus, place)
    assert others(place) == stored
    assert after.head == before.head.next(
        after.head.write_id,
        key_id=after.head.key_id,
        wraps=after.head.wraps,
        superseded=(before.head.key_id,),
    )
    assert after.key != before.key
    with pytest.raises(FormatError):
        open_with(bytes(place.objects["head"][0]), before.key, corpus.root)
    assert open_with(old, before.key, corpus.root) == before.head  # it takes nothing back
    assert (report.generation, report.wraps, report.dropped) == (
        after.head.generation,
        tuple(wrap.uri for wrap in after.head.wraps),
        (),
    )
    fill(writer, "ann/3")  # by a writer that was open before
    whole(corpus, place, "ann/1", "ann/2", "ann/3")


def test_an_old_head_that_is_put_back_is_refused(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "ann/1")
    old = place.objects["head"]
    rotate(corpus, storage=place)
    place.objects["head"] = old
    for opens in (writer_of, open_quietly):
        with pytest.raises(SupersededKey):
            opens(corpus, place)


def test_what_the_kms_is_asked(counted: Counted, tmp_path: Path) -> None:
    place = MemoryStorage("memory://counted")
    corpus = make(place, "memory://counted", "counted", kms=[counted.uri])
    fill(writer_of(corpus, place), "ann/1")
    counted.forget()
    rotate(corpus, storage=place)
    assert (counted.unwraps, counted.wraps) == ([os.getpid()] * 2, 1)  # to open, to wrap and to check
    second = second_key(tmp_path)
    add_wrap(writer_of(corpus, place), second)
    counted.forget()
    both = replace(corpus, kms=(counted.uri, second.uri))
    assert len(rotate(both, storage=place).wraps) == 2
    assert (counted.unwraps, counted.wraps) == ([os.getpid()] * 2, 1)
    for uri in both.kms:
        assert look(replace(corpus, kms=(uri,)), place).head.generation == 5


WRAP = LocalKMS.wrap
RUBBISH: dict[str, Callable[[LocalKMS, bytes, Context], bytes]] = {
    "another key": lambda kms, key, context: WRAP(kms, bytes(32), context),
    "a wrap of another corpus": lambda kms, key, context: WRAP(kms, key, {"securedata:corpus": "00" * 16}),
    "bytes that do not open": lambda kms, key, context: bytes(76),
    "nothing": lambda kms, key, context: b"",
}
"""What a broken KMS returns, and no real server does when a test asks it to."""


@pytest.mark.parametrize("what", RUBBISH)
def test_a_kms_that_returns_rubbish_does_not_cost_the_corpus(
    corpus: Reference, place: MemoryStorage, writer: Writer, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(writer, "ann/1")
    before = dict(place.objects)
    with monkeypatch.context() as patch:
        patch.setattr(LocalKMS, "wrap", RUBBISH[what])
        with pytest.raises(KMSDenied, match="nothing was committed"):
            rotate(corpus, storage=place)
    assert dict(place.objects) == before
    whole(corpus, place, "ann/1")


def test_a_wrap_that_cannot_be_reached_stops_it_unless_it_is_dropped(
    corpus: Reference, place: MemoryStorage, writer: Writer, tmp_path: Path
) -> None:
    fill(writer, "ann/1")
    second = second_key(tmp_path)
    add_wrap(writer, second)
    name, both = second.wrap_uri, replace(corpus, kms=(*corpus.kms, second.uri))
    with pytest.raises(NoTrustedKey, match=f"--drop-wrap {name}"):
        rotate(corpus, storage=place)
    second.path.unlink()
    before = dict(place.objects)
    with pytest.raises(KMSUnreachable, match=f"nothing was committed.*--drop-wrap {name}"):
        rotate(both, storage=place)
    assert dict(place.objects) == before
    assert rotate(replace(both, kms=both.kms[::-1]), drop_wraps=[name], storage=place).dropped == (name,)
    add_wrap(writer, second_key(tmp_path))
    name = second_key(tmp_path).wrap_uri
    report = rotate(corpus, drop_wraps=[name], storage=place)
    assert report.dropped == (name,)
    assert [wrap.uri for wrap in look(corpus, place).head.wraps] == list(report.wraps)
    assert name not in report.wraps
    whole(corpus, place, "ann/1")
    for drop in (name, "nonsense"):  # it is gone
        with pytest.raises(InvalidArgument, match="has no wrap by"):
            rotate(corpus, drop_wraps=[drop], storage=place)


def test_a_kms_that_goes_away_meanwhile_stops_it(counted: Counted) -> None:
    place = MemoryStorage("memory://counted")
    corpus = make(place, "memory://counted", "counted", kms=[counted.uri])
    fill(writer_of(corpus, place), "ann/1")
    before = dict(place.objects)

    class Leaving(MemoryStorage):
        def get_versioned(self, key: str, limit: int) -> tuple[bytes, str]:
            found = super().get_versioned(key, limit)
            if self.reads == 1:
                counted.take_away()
            self.reads += 1
            return found

        reads = 0

    leaving = Leaving(place.url)
    leaving.objects = place.objects
    with pytest.raises(KMSUnreachable, match="nothing was committed"):
        rotate(corpus, storage=leaving)
    counted.bring_back()
    assert dict(place.objects) == before
    whole(corpus, place, "ann/1")


def test_the_pin_is_needed_and_a_role_is_not_used(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    with pytest.raises(PinRequired):
        rotate(replace(corpus, pins=()), storage=place)
    generation = writer.head.generation
    nobody = replace(corpus, options={"role": "arn:aws:iam::000000000000:role/nobody"})
    assert rotate(nobody, storage=place).generation == generation + 1


def test_two_writers_that_rotate_at_once_both_land(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    fill(writer, "ann/1")
    writers = [writer_of(corpus, place) for _ in range(3)]  # each has read the same head
    key = writer.head.key_id
    reports = [rotate_head(one) for one in writers]
    assert [one.generation for one in reports] == [writer.head.generation + 1 + n for n in range(3)]
    head = look(corpus, place).head
    assert len({*head.superseded, head.key_id}) == 4
    assert head.superseded[0] == key
    whole(corpus, place, "ann/1")
