"""The contract of a storage, on which a corpus relies. Subclass `StorageContract` in your tests to run it with pytest.

class TestMine(StorageContract):
    def new(self) -> Storage:
        return MyStorage(empty_place())

    def again(self, storage: Storage) -> Storage:
        return MyStorage(storage.url)
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TypeVar

from securedata.errors import (
    AlreadyExists,
    LimitExceeded,
    NotFound,
    PreconditionFailed,
    SecuredataError,
    UnsafeStorage,
)
from securedata.storage.base import Buffer, Purged, Storage

_E = TypeVar("_E", bound=BaseException)

OBJECT = "objects/3f/3f000000000000000000000000000001"
OTHER = "objects/3f/3f000000000000000000000000000002"
PART = "manifest/aa000000000000000000000000000001"
SLACK = 2.0
"""Seconds by which a storage's clock and its objects' times may differ."""


def raised(kind: type[_E], call: Callable[[], object]) -> _E:
    """The error that `call` raises, which must be of exactly this class."""
    try:
        call()
    except BaseException as error:
        if type(error) is kind:
            return error
        raise
    raise AssertionError(f"{kind.__name__} was not raised")


class StorageContract(ABC):
    """Every test takes a storage of its own from `new`."""

    single_writer = False
    """Whether it lacks conditional puts, and so allows only a single writer; then the race tests have one writer."""
    writers = 4
    """How many threads write at the same time in the race tests."""
    rounds = 10
    """How often they do."""
    many = 300
    """How many objects a test of many has."""
    early = 0.0
    """Seconds by which the time from `put_new` may be earlier than the one in a listing."""

    @abstractmethod
    def new(self) -> Storage:
        """A storage on an empty place."""

    @abstractmethod
    def again(self, storage: Storage) -> Storage:
        """Another instance on the same place, as another process would make it."""

    # ------------------------------------------------------------ objects

    def test_what_was_put_is_there_for_others(self) -> None:
        storage = self.new()
        objects: dict[str, list[Buffer]] = {
            OBJECT: [b"one", bytearray(b"two"), memoryview(b"three")],
            OTHER: [],
            PART: [b"", b"x" * 100_000, b""],
        }
        for key, pieces in objects.items():
            storage.put_new(key, pieces)
            storage.make_durable()
            assert bytes(self.again(storage).get(key)) == b"".join(pieces)

    def test_what_exists_is_never_written_again(self) -> None:
        storage = self.new()
        storage.put_new(OBJECT, [b"first"])
        for other in (storage, self.again(storage)):
            self._named(storage, raised(AlreadyExists, lambda other=other: other.put_new(OBJECT, [b"second"])))  # type: ignore[misc]  # mypy infers no type for a lambda's default
        assert bytes(storage.get(OBJECT)) == b"first"

    def test_an_error_of_the_source_comes_out_and_leaves_nothing(self) -> None:
        # an OSError too: the caller must be able to tell an unreadable source from unwritable storage
        storage = self.new()
        for error in (OSError(5, "the source"), FileNotFoundError(2, "the source"), KeyboardInterrupt("the source")):

            def pieces(error: BaseException = error) -> Iterator[Buffer]:
                yield b"half of it"
                raise error

            assert raised(type(error), lambda pieces=pieces: storage.put_new(OBJECT, pieces())) is error  # type: ignore[misc]  # as above
            raised(NotFound, lambda: storage.get(OBJECT))
            assert not list(storage.list("objects/"))
        storage.put_new(OBJECT, [b"whole"])
        assert bytes(storage.get(OBJECT)) == b"whole"

    def test_one_of_many_puts_wins_whole(self) -> None:
        storage = self.new()
        for number in range(self.rounds):
            key = f"{OBJECT}{number:02x}"

            def put(which: int, key: str = key) -> None:
                self.again(storage).put_new(key, [bytes([which]) * 5000] * 4)

            winners = self._race(put, AlreadyExists)
            assert len(winners) == 1, "exactly one put must succeed"
            assert bytes(storage.get(key)) == bytes([winners[0]]) * 20_000

    def test_what_is_missing(self) -> None:
        storage = self.new()
        for call in (
            lambda: storage.get(OBJECT),
            lambda: storage.get_ranges(OBJECT, [(0, 1)]),
            lambda: storage.get_versioned("head"),
        ):
            error = raised(NotFound, call)
            assert isinstance(error, FileNotFoundError)
            self._named(storage, error)

    def test_a_limit_is_kept(self) -> None:
        storage = self.new()
        storage.put_new(OBJECT, [b"12345"])
        assert bytes(storage.get(OBJECT, 5)) == b"12345"
        assert bytes(storage.get_versioned(OBJECT, 5)[0]) == b"12345"
        for call in (lambda: storage.get(OBJECT, 4), lambda: storage.get_versioned(OBJECT, 4)):
            error = raised(LimitExceeded, call)
            assert all(number in str(error) for number in "54"), "the error must give the size and the limit"
            self._named(storage, error)

    def test_ranges_end_where_the_object_ends(self) -> None:
        storage = self.new()
        storage.put_new(OBJECT, [b"0123456789"])
        ranges = [(0, 3), (8, 2), (8, 100), (3, 0), (10, 5), (99, 5), (0, 10), (2, 2**62)]
        wanted = [b"012", b"89", b"89", b"", b"", b"", b"0123456789", b"23456789"]
        assert [bytes(one) for one in storage.get_ranges(OBJECT, ranges)] == wanted
        assert storage.get_ranges(OBJECT, []) == []

    # ------------------------------------------------------------ the head

    def test_a_head_is_replaced_only_by_whoever_read_it(self) -> None:
        storage = self.new()
        storage.replace("head", b"one", None)
        data, version = storage.get_versioned("head")
        assert bytes(data) == b"one"
        assert self.again(storage).get_versioned("head")[1] == version
        self._named(storage, raised(PreconditionFailed, lambda: storage.replace("head", b"two", None)))
        self._named(storage, raised(PreconditionFailed, lambda: storage.replace("head", b"two", "another")))
        assert bytes(storage.get("head")) == b"one"
        self.again(storage).replace("head", memoryview(b"two"), version)
        raised(PreconditionFailed, lambda: storage.replace("head", b"three", version))
        data, newer = storage.get_versioned("head")
        assert (bytes(data), newer != version) == (b"two", True)

    def test_a_head_that_went_away_is_not_replaced(self) -> None:
        storage = self.new()
        storage.replace("head", b"one", None)
        version = storage.get_versioned("head")[1]
        storage.delete("head")
        raised(PreconditionFailed, lambda: storage.replace("head", b"two", version))
        raised(NotFound, lambda: storage.get("head"))

    def test_one_of_many_replaces_wins(self) -> None:
        storage = self.new()
        storage.replace("head", b"start", None)
        for number in range(self.rounds):
            version = storage.get_versioned("head")[1]

            def replace(which: int, version: str = version, number: int = number) -> None:
                self.again(storage).replace("head", f"{number} {which}".encode(), version)

            winners = self._race(replace, PreconditionFailed)
            assert len(winners) == 1, "exactly one replace must succeed"
            assert bytes(storage.get("head")) == f"{number} {winners[0]}".encode()

    def test_it_says_whether_conditional_puts_are_honest(self) -> None:
        self.new().check_writable(single_writer=True)
        if self.single_writer:
            storage = self.new()
            self._named(storage, raised(UnsafeStorage, storage.check_writable))
        else:
            self.new().check_writable()

    # ------------------------------------------------------------ listing, deleting, time

    def test_a_listing_has_what_begins_with_the_prefix(self) -> None:
        storage = self.new()
        assert list(storage.list()) == []
        times = {key: storage.put_new(key, [key.encode()]) for key in (OBJECT, OTHER, PART)}
        storage.replace("head", b"head", None)
        for prefix, wanted in (
            ("objects/", [OBJECT, OTHER]),
            ("objects/3", [OBJECT, OTHER]),
            (OBJECT[:-1], [OBJECT, OTHER]),
            (OBJECT, [OBJECT]),
            ("manifest/", [PART]),
            ("obj", [OBJECT, OTHER]),
            ("nothing/", []),
            ("", ["head", PART, OBJECT, OTHER]),
        ):
            found = {entry.key: entry for entry in self.again(storage).list(prefix)}
            assert sorted(found) == sorted(wanted)
            for key in set(wanted) & set(times):
                assert found[key].size == len(key)
                # never later than in the listing: a prune relies on the listing, a writer on put_new
                assert -1e-3 <= found[key].time - times[key] <= self.early + 1e-3, "put_new must return the same time"

    def test_delete_is_for_all_and_forgiving(self) -> None:
        storage = self.new()
        storage.put_new(OBJECT, [b"x"])
        storage.delete(OBJECT)
        storage.delete(OBJECT)
        raised(NotFound, lambda: self.again(storage).get(OBJECT))
        assert list(storage.list("objects/")) == []
        storage.put_new(OBJECT, [b"y"])
        assert bytes(storage.get(OBJECT)) == b"y"

    # ------------------------------------------------------------ strict deletion

    def test_purge_says_of_each_key_what_it_deleted(self) -> None:
        storage = self.new()
        for key in (OBJECT, OTHER, PART):
            storage.put_new(key, [b"x"])
        missing = f"{OBJECT[:-1]}f"
        for count in (1, 0):  # a second time, as after a crash, nothing is left to delete
            found = dict(self.again(storage).purge([PART, missing, OBJECT, "nothing/here"]))
            absent = Purged(0)
            assert found == {PART: Purged(count), OBJECT: Purged(count), missing: absent, "nothing/here": absent}
            for key in (OBJECT, PART):
                raised(NotFound, lambda key=key: self.again(storage).get(key))  # type: ignore[misc]  # as above
            assert bytes(storage.get(OTHER)) == b"x"
        assert [entry.key for entry in storage.list()] == [OTHER]
        assert list(storage.deleted_keys(strict=True)) == []

    def test_purge_takes_many_of_more(self) -> None:
        storage = self.new()
        keys = [f"objects/{n % 3:02x}/{n % 3:02x}{n:030x}" for n in range(self.many)]
        for _, when in storage.put_many((key, b"x") for key in keys):
            assert isinstance(when, float)
        wanted = keys[1::2]
        found = list(storage.purge(reversed(wanted)))
        assert sorted(found) == sorted((key, Purged(1)) for key in wanted), "each key must come once"
        assert sorted(entry.key for entry in storage.list()) == sorted(keys[::2])
        assert list(storage.purge([])) == []

    def test_the_probe_of_deletion_leaves_nothing(self) -> None:
        storage = self.new()
        storage.put_new(OBJECT, [b"x"])
        storage.check_deletable()
        assert [entry.key for entry in storage.list()] == [OBJECT]
        assert list(storage.deleted_keys(strict=True)) == []

    def test_earlier_heads_are_purged(self) -> None:
        storage = self.new()
        for content in (b"one", b"two", b"three", b"four"):
            version = None if content == b"one" else storage.get_versioned("head")[1]
            storage.replace("head", content, version)
        older = [bytes(content) for _, content in storage.older("head", 100)]
        assert storage.purge_older("head", lambda _: False, 100) == 0
        assert [bytes(content) for _, content in storage.older("head", 100)] == older
        assert storage.purge_older("head", lambda content: bytes(content) != b"four", 100) == len(older)
        assert list(storage.older("head", 100)) == []
        assert bytes(storage.get("head")) == b"four"
        assert storage.purge_older("head", lambda content: bytes(content) != b"four", 100) == 0
        assert [entry.key for entry in storage.list()] == ["head"]

    # ------------------------------------------------------------ other processes, time

    def test_what_another_deleted_need_not_be_made_durable(self) -> None:
        # a prune by another process takes an object that was put a day ago and never committed
        storage = self.new()
        storage.put_new(OBJECT, [b"x"])
        storage.put_new(OTHER, [b"x"])
        self.again(storage).delete(OBJECT)
        storage.make_durable()
        storage.make_durable()
        assert bytes(self.again(storage).get(OTHER)) == b"x"

    def test_the_clock_is_that_of_the_objects(self) -> None:
        storage = self.new()
        before = storage.now()
        put = storage.put_new(OBJECT, [b"x"])
        after = self.again(storage).now()
        assert before - SLACK - self.early <= put <= after + SLACK
        assert before <= after + SLACK

    # ------------------------------------------------------------ inside

    def _named(self, storage: Storage, error: SecuredataError) -> None:
        assert storage.url in str(error), "the error must name the root"
        assert error.root == storage.url

    def _race(self, act: Callable[[int], None], lost: type[SecuredataError]) -> list[int]:
        """Start several threads at once. Returns those that did not lose."""
        writers = 1 if self.single_writer else self.writers
        start = threading.Barrier(writers)
        winners: list[int] = []
        others: list[BaseException] = []

        def run(which: int) -> None:
            start.wait()
            try:
                act(which)
            except lost:
                return
            except BaseException as error:  # noqa: BLE001 - raised by the main thread, below
                others.append(error)
                return
            winners.append(which)

        threads = [threading.Thread(target=run, args=(which,)) for which in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for error in others:
            raise error
        return winners
