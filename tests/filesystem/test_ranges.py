"""What reading fetches from storage, counted there: the chunks that a range touches, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import fsspec
import pytest

from securedata.corpus.opening import open_corpus
from securedata.filesystem import SecuredataFileSystem, opened
from securedata.storage.base import Buffer
from securedata.storage.local import LocalStorage
from tests.filesystem.corpus import D, Voice
from tests.kit.hooked import Hooked

HEADER = 120  # header and prefix of an object
CHUNK = 16 * 1024
SEALED = CHUNK + 16
PATH = "bob/deep/down/d.bin"


class Counting(Hooked):
    """Counts the bytes of objects that it returns."""

    fetched = 0

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
        found = super().get_ranges(key, ranges)
        self.fetched += sum(len(one) for one in found)
        return found

    def since(self) -> int:
        """Bytes since the last call."""
        fetched, self.fetched = self.fetched, 0
        return fetched


@pytest.fixture
def counting(voice: Voice) -> Counting:
    """The storage of the corpus that filesystems with the root 'voice-a' read."""
    storage = Counting(LocalStorage(str(voice.root)))
    fs = fsspec.filesystem("securedata", root="voice-a")
    slot = opened._slot(fs._reference("voice-a"))
    slot.corpus = open_corpus(voice.reference, columns=opened.COLUMNS, storage=storage)
    storage.since()
    return storage


@pytest.fixture
def fs(counting: Counting) -> SecuredataFileSystem:
    return fsspec.filesystem("securedata", root="voice-a")


def test_ranges_fetch_their_chunks(fs: SecuredataFileSystem, counting: Counting) -> None:
    at = 20 * CHUNK
    for start, end, chunks in ((at, at + 10, 1), (at - 1, at + 1, 2), (at, at + CHUNK, 1), (at + 5, at + 5 + CHUNK, 2)):
        assert fs.cat_file(PATH, start, end) == D[start:end]
        assert counting.since() == HEADER + chunks * SEALED
    assert fs.cat_ranges([PATH] * 2, [0, at], [10, at + 10]) == [D[:10], D[at : at + 10]]
    assert counting.since() == 2 * (HEADER + SEALED)
    assert fs.head(PATH, 10) == D[:10]
    assert counting.since() == HEADER + SEALED
    assert fs.tail(PATH, 10) == D[-10:]
    assert counting.since() <= HEADER + SEALED  # the last chunk is short


def test_a_file_reads_ahead_by_one_block(fs: SecuredataFileSystem, counting: Counting) -> None:
    with fs.open(PATH) as file:
        assert counting.since() == 0
        file.seek(20 * CHUNK)
        assert file.read(10) == D[20 * CHUNK : 20 * CHUNK + 10]
        assert counting.since() <= HEADER + (file.blocksize // CHUNK + 2) * SEALED
        file.read(1000)
        assert counting.since() == 0
    with fs.open(PATH, cache_type="none") as file:
        file.seek(-10, 2)
        assert file.read() == D[-10:]
        assert counting.since() <= HEADER + SEALED


def test_listing_fetches_nothing(fs: SecuredataFileSystem, counting: Counting) -> None:
    fs.ls("")
    fs.find("", detail=True)
    fs.info(PATH)
    fs.glob("**/*.wav")
    fs.du("")
    assert counting.since() == 0
    assert not [call for call, _ in counting.calls if call == "list"]
