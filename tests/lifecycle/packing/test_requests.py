"""Packs are read by large ranges where all of them is read, and an error still names the one object that it is of."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.objects.neighbours import MOST
from securedata.corpus.state.layout import pack_key
from securedata.corpus.writer import Writer
from securedata.errors import StorageUnreachable
from securedata.lifecycle.reencrypt import reencrypt
from securedata.lifecycle.rotate import rotate_head
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current
from tests.kit.corpora.rows import row, table, writer_of
from tests.lifecycle.packing.test_pack import contents, packed

COUNT, SIZE = 200, 50_000


class Reads(MemoryStorage):
    """Notes what is read of packs; the byte at `bad` of a pack cannot be."""

    def __init__(self, start: MemoryStorage, bad: int | None = None) -> None:
        super().__init__(start.url, start.clock)
        self.objects, self.bad = start.objects, bad
        self.read: list[int] = []

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        if key.startswith("packs/"):
            self.read += [length for _, length in ranges]
            if self.bad is not None and any(begin <= self.bad < begin + length for begin, length in ranges):
                raise StorageUnreachable(f"{key}: Input/output error")
        return super().get_ranges(key, ranges)


@pytest.fixture
def one_pack(corpus: Reference, place: MemoryStorage, writer: Writer) -> MemoryStorage:
    """200 recordings of 50 kB in one pack, 10 MB."""
    writer.commit(table(*(row(writer, f"r/{number}", os.urandom(SIZE), ["ann"]) for number in range(COUNT))))
    assert packed(corpus, place, now=True).packs == 1
    return place


def few(storage: Reads, besides: int = 0) -> None:
    """All of the pack was read, by large ranges."""
    assert sum(storage.read) >= COUNT * SIZE
    assert max(storage.read) <= MOST
    assert len(storage.read) <= 4 + besides


def test_verify(corpus: Reference, one_pack: MemoryStorage) -> None:
    storage = Reads(one_pack)
    report = verify(corpus, storage=storage)
    assert (report.ok, report.objects_opened, report.bytes) == (True, COUNT, COUNT * SIZE)
    few(storage)


def test_a_sector_that_cannot_be_read_costs_one_recording(corpus: Reference, one_pack: MemoryStorage) -> None:
    [where] = [one for path, one in current(corpus, one_pack).items() if path == "r/7"]
    storage = Reads(one_pack, bad=where["offset"] + 300)
    report = verify(corpus, storage=storage)
    [finding] = report.findings
    assert (finding.error, finding.object_id, finding.paths) == ("StorageUnreachable", where["object_id"], ("r/7",))
    assert report.objects_opened == COUNT - 1


def test_a_flipped_bit_names_one_recording(corpus: Reference, one_pack: MemoryStorage) -> None:
    where = current(corpus, one_pack)["r/7"]
    key = pack_key(where["pack"])
    data, when = one_pack.objects[key]
    at = where["offset"] + 300
    one_pack.objects[key] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], when
    storage = Reads(one_pack)
    [finding] = verify(corpus, storage=storage).findings
    assert (finding.error, finding.paths) == ("AuthenticationFailed", ("r/7",))
    few(storage)


def test_a_pack_that_is_gone_is_asked_for_once_a_range(corpus: Reference, one_pack: MemoryStorage) -> None:
    del one_pack.objects[pack_key(current(corpus, one_pack)["r/7"]["pack"])]
    storage = Reads(one_pack)
    report = verify(corpus, storage=storage)
    assert report.counts() == {"ObjectMissing": COUNT}
    assert len(storage.read) <= 4


def test_compacting(corpus: Reference, one_pack: MemoryStorage) -> None:
    writer_of(corpus, one_pack).commit(remove=["r/7"])
    before = contents(corpus, one_pack)
    storage = Reads(one_pack)
    report = packed(corpus, storage, compact=0, threads=1, now=True)
    assert (report.objects, report.complete) == (COUNT - 1, True)
    written = 2  # a pack is read back after it was put
    assert sum(storage.read) >= 2 * (COUNT - 1) * SIZE
    assert len(storage.read) <= 4 + written * 2
    assert contents(corpus, one_pack) == before


def test_sealing_again(corpus: Reference, one_pack: MemoryStorage) -> None:
    storage = Reads(one_pack)
    writer = writer_of(corpus, storage)
    rotate_head(writer, data_keys=True)
    report = reencrypt(writer, threads=1)
    assert (report.objects, report.unpacked, report.finished) == (COUNT, COUNT, True)
    assert len(storage.read) <= COUNT / 30 + 1, "32 objects are sealed at once"
