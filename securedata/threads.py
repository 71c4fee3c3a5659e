"""A bounded number of calls in threads, whose results are taken in the order in which the calls were begun."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class BoundedPool(Generic[T, R]):
    """Calls that are under way in threads, each with what its result is of. The threads end where its `with` ends.

    An error inside the `with` comes out only once the threads have ended: what is under way is waited for, and what no
    thread has begun is dropped.
    """

    def __init__(self, name: str, threads: int, size: int) -> None:
        """Begin without a call.

        Args:
            size: how many may be under way, wait for a thread, or wait for their result to be taken.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._size = size
        self._calls: deque[tuple[T, Future[R]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def room(self) -> bool:
        """Is there room for one more?"""
        return len(self._calls) < self._size

    def begin(self, of: T, call: Callable[[], R]) -> None:
        """Have a thread make a call. What it is made of is not kept beyond the call; `of` is, until it is taken."""
        self._calls.append((of, self._pool.submit(call)))

    def results(self, calls: Iterable[tuple[T, Callable[[], R]]]) -> Iterator[tuple[T, Future[R]]]:
        """Make calls, each taken when there is room; yields what each is of and its future, which may be under way."""
        todo = iter(calls)
        while True:
            while self.room and (call := next(todo, None)) is not None:
                self.begin(*call)
            if not self._calls:
                return
            yield self._calls.popleft()

    def finished(self, seconds: float) -> Iterator[tuple[T, R]]:
        """Wait that long for the first one; take the first ones up to one that is under way."""
        if self._calls:
            wait([self._calls[0][1]], timeout=seconds, return_when=FIRST_COMPLETED)
        while self._calls and self._calls[0][1].done():
            of, future = self._calls.popleft()
            yield of, future.result()

    def all_finished(self) -> Iterator[tuple[T, R]]:
        """Take all that have ended, also behind one that is under way."""
        for call in [call for call in self._calls if call[1].done()]:
            self._calls.remove(call)
            yield call[0], call[1].result()
