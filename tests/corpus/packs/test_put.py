"""A pack counts as stored only if storage holds the bytes that were sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from securedata.corpus.objects.fetch import PIECE
from securedata.corpus.packs.put import put_pack
from securedata.corpus.state.layout import pack_key
from securedata.errors import AlreadyExists, AuthenticationFailed, NotFound
from securedata.format.cobblestone import Buffer
from securedata.testing.memory import MemoryStorage

MEMBERS = [b"a" * 100, b"b" * PIECE, b"c"]
WHOLE = b"".join(MEMBERS)


class Odd(MemoryStorage):
    """Keeps something else than it was given."""

    def __init__(self, change: Callable[[bytes], bytes], checksums: bool = False) -> None:
        super().__init__()
        self.change, self.checksums = change, checksums

    def put_new(self, key: str, pieces: Iterable[Buffer]) -> float:
        return super().put_new(key, [self.change(b"".join(pieces))])


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: data[:-1] + b"\0", lambda data: b""]
)
def test_a_pack_that_reads_back_otherwise_is_never_named(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(AuthenticationFailed, match="does not read back"):
        put_pack(Odd(change), MEMBERS, lambda: False)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE])
def test_sizes_around_a_piece(size: int) -> None:
    storage = MemoryStorage()
    put = put_pack(storage, [b"x" * size], lambda: False)
    assert (put.size, storage.get(pack_key(put.pack_id))) == (size, b"x" * size)


def test_where_the_server_checks_it_is_not_read_back() -> None:
    class Unread(Odd):
        def get_ranges(self, *_: object) -> list[bytes]:
            raise AssertionError

    put = put_pack(Unread(bytes, checksums=True), MEMBERS, lambda: False)
    assert put.size == len(WHOLE)


class Twice(MemoryStorage):
    """An intermediary sends each put twice, and passes on the second answer."""

    checksums = True

    def put_new(self, key: str, pieces: Iterable[Buffer]) -> float:
        super().put_new(key, pieces)
        raise AlreadyExists("again")


def test_one_that_landed_counts_whatever_was_answered() -> None:
    storage = Twice()
    put = put_pack(storage, MEMBERS, lambda: False)
    assert storage.get(pack_key(put.pack_id)) == WHOLE
    assert put.time <= storage.clock


@pytest.mark.parametrize("pruned", [True, False])
def test_one_that_a_prune_took_before_it_was_read_back(pruned: bool) -> None:
    class Gone(MemoryStorage):
        def put_new(self, key: str, pieces: Iterable[Buffer]) -> float:
            when = super().put_new(key, pieces)
            self.delete(key)
            return when

    if pruned:
        assert put_pack(Gone(), MEMBERS, lambda: True).time == float("-inf")
    else:
        with pytest.raises(NotFound):
            put_pack(Gone(), MEMBERS, lambda: False)
