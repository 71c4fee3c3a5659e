"""Work of several threads, in the thread of an actor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any


class AtOnce(list[tuple[Any, Any]]):
    """A `BoundedPool` without threads, so that the scheduler has all calls of an actor in one."""

    room = True

    def __init__(self, name: str, threads: int, size: int) -> None:
        super().__init__()

    def __enter__(self) -> AtOnce:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def begin(self, of: Any, call: Callable[[], Any]) -> None:
        self.append((of, call()))

    def results(self, calls: Iterable[tuple[Any, Callable[[], Any]]]) -> Iterator[tuple[Any, Future[Any]]]:
        for of, call in calls:
            done: Future[Any] = Future()
            done.set_result(call())
            yield of, done

    def all_finished(self) -> list[tuple[Any, Any]]:
        done = list(self)
        self.clear()
        return done

    def finished(self, seconds: float) -> list[tuple[Any, Any]]:
        return self.all_finished()


class TasksAtOnce(AtOnce):
    """A `TaskPool` likewise."""

    def __init__(self, name: str, work: Any, executor: None, threads: int, size: int) -> None:
        super().__init__(name, threads, size)
        self._work = work

    def take(self, task: Any) -> None:
        self.append((task, self._work.do(task)))
