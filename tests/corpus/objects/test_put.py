"""What is put was opened again before, or is read back; and memory stays bounded whatever is put."""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from securedata.corpus.objects.put import put_object, put_objects
from securedata.corpus.state.layout import object_key
from securedata.errors import AuthenticationFailed
from securedata.format.cobblestone import CHUNK, Message
from securedata.format.header import Kind
from securedata.format.sealed import Expect, open_whole
from securedata.ingest.byte_budget import ByteBudget, needed
from securedata.ingest.sources.origin import PIECE
from securedata.storage.part_stream import cut, side_by_side
from securedata.storage.s3.store import PART, S3Storage
from securedata.testing.memory import MemoryStorage

CORPUS = bytes(16)


def untouched() -> bool:
    """No prune was there."""
    return False


class Checksummed(MemoryStorage):
    """Compares checksums, as S3 does; counts what is read."""

    checksums = True
    reads = 0

    def get_ranges(self, *arguments: Any) -> list[bytes]:
        self.reads += 1
        return super().get_ranges(*arguments)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 5 * CHUNK + 7])
@pytest.mark.parametrize("piece", [1000, CHUNK, 3 * CHUNK])
def test_what_is_put_opens_and_is_not_read_back_where_checksums_are_compared(size: int, piece: int) -> None:
    data = os.urandom(size)
    for storage in (Checksummed(), MemoryStorage()):
        put = put_object(storage, CORPUS, [data[at : at + piece] for at in range(0, size, piece)], untouched)
        [(stored, _)] = storage.objects.values()
        expect = Expect(Kind.DATA, CORPUS, put.object_id, "x", put.sealed_size, size)
        assert bytes(open_whole(put.data_key, stored, expect)) == data
        if isinstance(storage, Checksummed):
            assert storage.reads == 0


def test_whole_ones_together() -> None:
    plains = [os.urandom(size) for size in (0, 1, CHUNK, 3 * CHUNK + 5, 100_000)]
    for storage in (Checksummed(), MemoryStorage()):
        found = dict(put_objects(storage, CORPUS, iter(plains), untouched))
        assert sorted(found) == list(range(len(plains)))
        for at, put in found.items():
            stored = storage.objects[object_key(put.object_id)][0]
            expect = Expect(Kind.DATA, CORPUS, put.object_id, "x", put.sealed_size, put.size)
            assert bytes(open_whole(put.data_key, stored, expect)) == plains[at]
            assert (put.sha256, put.time) == (hashlib.sha256(plains[at]).digest(), storage.clock)
        assert len({put.data_key for put in found.values()}) == len(plains)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("chunk", [0, 2, 5])
@pytest.mark.parametrize("what", ["key", "tag", "plain"])
def test_a_fault_of_memory_is_seen_before_anything_is_put(
    chunk: int, what: str, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bit that turns while a chunk is sealed: in its key, in what is sealed, or in what was read."""
    seal = Message.seal_chunks

    def faulty(self: Message, first: int, plain: memoryview, out: memoryview, last: bool) -> int:
        at = (chunk - first) * CHUNK
        hit = 0 <= at < len(plain)
        if hit:
            if what == "plain":
                changed = bytearray(plain)
                changed[at] ^= 1
                return seal(self, first, memoryview(changed), out, last)
            if what == "key":
                self._nonce ^= 1 << 90
        done = seal(self, first, plain, out, last)
        if hit and what == "tag":
            out[(chunk - first) * (CHUNK + 16)] ^= 1
        return done

    monkeypatch.setattr(Message, "seal_chunks", faulty)
    data = os.urandom(5 * CHUNK + 7)
    storage = Checksummed()
    pieces = [data[: 3 * CHUNK], data[3 * CHUNK :]]
    puts = put_objects(storage, CORPUS, [data], untouched)
    with pytest.raises(AuthenticationFailed):
        _ = dict(puts) if together else put_object(storage, CORPUS, pieces, untouched)
    assert storage.objects == {}


# -------------------------------------------------------------------------------------------------------------- parts


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 250, 300])
@pytest.mark.parametrize("piece", [7, 100, 1000])
def test_cut(size: int, piece: int) -> None:
    data = os.urandom(size)
    pieces = [data[at : at + piece] for at in range(0, size, piece)]
    parts = [part.read() for part in cut(b"start", iter(pieces), 100)]
    assert b"".join(parts) == b"start" + data
    assert [len(part) for part in parts[:-1]] == [100] * (len(parts) - 1)
    assert 0 < len(parts[-1]) <= 100


def some_parts(count: int, taken: list[int]) -> Iterator[mmap.mmap]:
    for number in range(1, count + 1):
        taken.append(number)
        yield mmap.mmap(-1, 1)


def test_side_by_side_in_order_and_a_few_at_once() -> None:
    taken: list[int] = []
    under_way, most = 0, 0
    lock = threading.Lock()

    def send(number: int, part: mmap.mmap) -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.02 / number)  # later ones are quicker
        with lock:
            under_way -= 1
        assert len(taken) <= number + 2, "no more is cut than is sent"
        return number

    assert side_by_side(send, some_parts(9, taken), 2) == list(range(1, 10))
    assert most == 2


def test_side_by_side_stops_at_a_failure() -> None:
    taken: list[int] = []

    def send(number: int, part: mmap.mmap) -> int:
        if number == 3:
            raise ConnectionError
        return number

    with pytest.raises(ConnectionError):
        side_by_side(send, some_parts(99, taken), 2)
    assert len(taken) <= 6


# --------------------------------------------------------------------------------------------------------------- room


def test_room_is_never_exceeded_and_is_given_in_turn() -> None:
    budget, lock = ByteBudget(100), threading.Lock()
    taken, most, order = 0, 0, []

    def work(number: int, count: int) -> None:
        nonlocal taken, most
        with budget.take(count):
            with lock:
                order.append(number)
                taken += min(count, 100)
                most = max(most, taken)
            time.sleep(0.005)
            with lock:
                taken -= min(count, 100)

    threads = [threading.Thread(target=work, args=(n, count)) for n, count in enumerate([30, 70, 1000, 1, 99, 5] * 4)]
    for thread in threads:
        thread.start()
        time.sleep(0.001)
    for thread in threads:
        thread.join(10)
    assert len(order) == 24
    assert 70 < most <= 100
    assert order.index(2) < order.index(9), "a large one is not passed for ever"


def test_room_is_given_back_after_an_error() -> None:
    budget = ByteBudget(10)
    for _ in range(3):
        with pytest.raises(ValueError, match="x"), budget.take(10):
            raise ValueError("x")


def test_needed_is_bounded() -> None:
    storage = S3Storage("s3://voice/x")
    assert needed(1000, storage) == 5000
    assert needed(10**12, storage) == 4 * PIECE + storage.buffered
    assert storage.buffered <= 5 * PART
    assert needed(10**12, MemoryStorage()) == 4 * PIECE
