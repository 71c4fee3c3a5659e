"""Nothing is opened after the keys have ended: not by the next group of a batch, nor after a slow fetch or source."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from securedata.corpus.check.verify import verify
from securedata.corpus.objects.fetch import Piece
from securedata.corpus.reader import Corpus
from securedata.corpus.state.commit import Next
from securedata.errors import KeysExpired
from securedata.format import sealed
from securedata.storage.base import BATCH_BYTES, Buffer, Wanted
from securedata.storage.local import LocalStorage
from tests.kit.corpora.contents import open_quietly
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.corpora.rows import writer_of
from tests.kit.sources.recordings import Clip

TTL = 0.3
BIG = BATCH_BYTES + 1
"""Bytes of a recording that lands in a group of its own."""


@pytest.fixture
def root(tmp_path: Path) -> Root:
    told = {"format": "WAV", "subtype": "PCM_16", "frames": 1}  # read by ranges
    return make_corpus(tmp_path, [Clip(f"ann/{i}.raw", bytes([i]) * BIG, columns=told) for i in range(4)])


def end_keys(root: Root) -> None:
    """The KMS is away from now on, and what was granted ends."""
    root.key_file.rename(root.key_file.with_suffix(".away"))
    time.sleep(TTL)


class Slow(LocalStorage):
    """Calls something while an object is fetched, once."""

    meanwhile: Callable[[], None] | None = None

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Buffer]:
        found = super().get_ranges(key, ranges)
        if self.meanwhile and key.startswith("objects/"):
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return list(found)

    def get_many(self, wanted: Sequence[Wanted], in_flight: int) -> Iterator[tuple[int, Buffer]]:
        for at, one in enumerate(wanted):
            yield at, self.get_ranges(one.key, [(one.offset, one.length)])[0]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each whole object was opened."""
    times: list[float] = []
    inner = sealed.open_whole

    def noted(*arguments: object) -> bytearray:
        times.append(time.monotonic())
        return inner(*arguments)

    monkeypatch.setattr("securedata.corpus.objects.fetch.open_whole", noted)
    return times


def test_a_batch_ends_where_its_consumer_outlasts_the_keys(root: Root, opened: list[float]) -> None:
    with open_quietly(root.reference, ttl=TTL, kms_wait=0.0) as corpus:
        batch = corpus.read_many([Piece(i) for i in range(4)])
        at, data = next(batch)
        assert bytes(data) == root.clips[at].data
        before = len(opened)
        end_keys(root)
        with pytest.raises(KeysExpired):
            next(batch)
        assert len(opened) == before < 4


def test_a_batch_goes_on_where_the_keys_can_be_renewed(root: Root) -> None:
    with open_quietly(root.reference, ttl=TTL, kms_wait=0.0) as corpus:
        found = []
        for at, _ in corpus.read_many([Piece(i) for i in range(4)]):
            found.append(at)
            time.sleep(TTL)
        assert sorted(found) == [0, 1, 2, 3]
        assert corpus.counters.unwraps >= 4


def test_a_batch_that_was_started_is_opened_by_the_keys_of_when_it_is_taken(root: Root, opened: list[float]) -> None:
    with open_quietly(root.reference, ttl=TTL, kms_wait=0.0) as corpus:
        renewed = corpus.start([Piece(i) for i in range(4)])
        time.sleep(TTL)
        before = corpus.counters.unwraps
        renewed.poll()
        assert corpus.counters.unwraps == before, "no key is needed until then"
        assert sorted(at for at, _ in renewed.outcomes()) == [0, 1, 2, 3]
        assert corpus.counters.unwraps > before
        refused = corpus.start([Piece(i) for i in range(4)])
        count = len(opened)
        end_keys(root)
        with pytest.raises(KeysExpired):
            list(refused.outcomes())
        assert len(opened) == count == 4


READS: dict[str, Callable[[Corpus], object]] = {
    "read": lambda corpus: corpus.read(0),
    "read_into": lambda corpus: corpus.read_into(0, bytearray(BIG)),
    "read_range": lambda corpus: corpus.read_range(0, 100, 100),
    "read_many": lambda corpus: list(corpus.read_many([Piece(0)])),
    "a piece of read_many": lambda corpus: list(corpus.read_many([Piece(0, 100, 100)])),
    "a file": lambda corpus: corpus.open(0).read(10),
}


@pytest.mark.parametrize("read", READS)
def test_what_comes_after_the_keys_have_ended_is_not_opened(root: Root, read: str, opened: list[float]) -> None:
    storage = Slow(str(root))
    with open_quietly(root.reference, storage, ttl=TTL, kms_wait=0.0) as corpus:
        storage.meanwhile = lambda: end_keys(root)
        with pytest.raises(KeysExpired):
            READS[read](corpus)
        assert opened == []


def test_a_file_that_is_held_for_hours_renews_or_ends(root: Root) -> None:
    with open_quietly(root.reference, ttl=TTL, kms_wait=0.0) as corpus:
        file = corpus.open(0)
        assert file.read(10) == root.clips[0].data[:10]
        time.sleep(TTL)
        file.seek(300 * 1024)
        assert file.read(10) == root.clips[0].data[:10]  # renewed: one window is 256 kB
        end_keys(root)
        file.seek(0)
        with pytest.raises(KeysExpired):
            file.read(10)


def test_verify_opens_nothing_after_its_keys_have_ended(tmp_path: Path) -> None:
    root = make_corpus(tmp_path, [Clip("ann/0.raw", b"one", columns={"format": "wav", "frames": 1})])
    storage = Slow(str(root))
    storage.meanwhile = lambda: end_keys(root)
    with pytest.raises(KeysExpired):
        verify(root.reference, storage=storage, threads=1, ttl=TTL, kms_wait=0.0)


@pytest.mark.parametrize("together", [True, False])
def test_ingest_seals_nothing_after_its_keys_have_ended(root: Root, together: bool) -> None:
    """A stream of sources can take hours."""
    writer = writer_of(root.reference, ttl=TTL, kms_wait=0.0)
    taken = []

    def sources() -> Iterator[bytes]:
        for number in range(4):
            if number == 2:
                end_keys(root)
            taken.append(number)
            yield b"source"

    put = (lambda: list(writer.put_objects(sources()))) if together else (lambda: writer.put_object(sources()))
    with pytest.raises(KeysExpired):
        put()
    assert taken == [0, 1, 2]


def test_a_commit_looks_at_its_keys_before_each_try(root: Root) -> None:
    writer = writer_of(root.reference, ttl=TTL, kms_wait=0.0)
    other = writer_of(root.reference)
    tries = 0

    def change(attempt: object) -> object:
        nonlocal tries
        tries += 1
        other.commit(settings={"tries": tries})  # this try loses
        end_keys(root)
        return Next(None, {"settings": {}})

    with pytest.raises(KeysExpired):
        writer.transact(change)
    assert tries == 1
