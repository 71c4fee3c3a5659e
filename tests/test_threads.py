"""A pool of threads: bounded, in order, and over before an error comes out of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from securedata.threads import BoundedPool


def test_results_come_in_order_and_no_more_is_taken_than_fits() -> None:
    taken: list[int] = []
    most = 0

    def calls() -> Iterator[tuple[int, Callable[[], int]]]:
        for number in range(20):
            taken.append(number)
            yield number, partial(pow, number, 2)

    with BoundedPool[int, int]("securedata-test", 3, 5) as pool:
        for at, (number, result) in enumerate(pool.results(calls())):
            most = max(most, len(taken) - at)
            assert (number, result.result()) == (at, at**2)
    assert len(taken) == 20
    assert most == 5


def test_the_first_ones_and_all_that_have_ended() -> None:
    go = [threading.Event() for _ in range(3)]
    with BoundedPool[int, bool]("securedata-test", 3, 3) as pool:
        for number, event in enumerate(go):
            assert pool.room
            pool.begin(number, partial(event.wait, 60))
        assert not pool.room
        assert list(pool.finished(0.001)) == []
        go[1].set()
        while not (behind := list(pool.all_finished())):
            pass
        assert behind == [(1, True)]
        assert list(pool.finished(0.001)) == [], "the first one is under way"
        go[0].set()
        go[2].set()
        assert next(number for number, _ in pool.finished(60)) == 0
    assert len(pool) <= 1


@pytest.mark.parametrize("where", ["a call", "what takes the results", "what makes the calls"])
def test_an_error_ends_it_and_no_thread_is_left(where: str) -> None:
    begun: list[int] = []
    free = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number == 0 and where == "a call":
            raise ConnectionError
        if number:
            free.wait(60)
        return number

    def calls() -> Iterator[tuple[int, Callable[[], int]]]:
        for number in range(50):
            if number == 8 and where == "what makes the calls":
                raise ConnectionError
            yield number, partial(work, number)

    def take(pool: BoundedPool[int, int]) -> None:
        for _, result in pool.results(calls()):
            result.result()
            if where == "what takes the results":
                raise ConnectionError

    def run() -> None:
        with BoundedPool[int, int]("securedata-ended", 2, 8) as pool:
            try:
                take(pool)
            except ConnectionError:
                threading.Timer(0.5, free.set).start()  # by then the pool is being left
                raise

    with pytest.raises(ConnectionError):
        run()
    assert len(begun) < 8, "what no thread had begun was dropped"
    assert not [one for one in threading.enumerate() if one.name.startswith("securedata-ended")]
