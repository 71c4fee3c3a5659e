"""The pool of a run's tasks: the same for threads of this process and for other processes."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Generic, TypeVar

from securedata.corpus.config import Reference
from securedata.corpus.state.head import OpenedHead
from securedata.corpus.tasks.engine import slots_of
from securedata.corpus.tasks.messages import (
    PROTOCOL,
    Envelope,
    describe_reference,
    dumps,
    loads,
    open_message,
    seal_message,
    wrap_run_key,
)
from securedata.corpus.tasks.worker import DONE, OTHER_KEY, OTHER_VERSION, answer, error_of, this_version
from securedata.errors import AuthenticationFailed, ConfigError, SecuredataError
from securedata.threads import BoundedPool

T = TypeVar("T")
R = TypeVar("R")

_TRIES = 5
"""Of one task, while the corpus key is being replaced."""


class Work(ABC, Generic[T, R]):
    """What a run does with each of its tasks, in a thread or in another process.

    Attributes:
        worker: 'MODULE:CLASS' of the `Worker` that does the same in another process.
        single_writer: as the run was called with it.
    """

    worker: ClassVar[str]
    single_writer: bool = False

    @abstractmethod
    def do(self, task: T) -> R:
        """Do a task in this process. Called from several threads."""

    @property
    @abstractmethod
    def reference(self) -> Reference:
        """The corpus that a worker opens, with its pin."""

    @abstractmethod
    def opened(self, again: bool) -> OpenedHead:
        """The head that this process has; read again if `again`. Called from another thread."""

    @abstractmethod
    def settings(self) -> Any:
        """What a worker's `begin` takes."""

    @abstractmethod
    def pack(self, task: T) -> Any:
        """What a worker's `do` takes for a task."""

    @abstractmethod
    def unpack(self, task: T, answer: Any) -> R:
        """The result of a task from what a worker's `do` returned. Called from another thread."""


class TaskPool(BoundedPool[T, R]):
    """Tasks under way. With an executor they are done in its processes, otherwise in threads of this one."""

    def __init__(self, name: str, work: Work[T, R], executor: Executor | None, threads: int, size: int) -> None:
        """Begin without a task.

        Args:
            threads, size: as for `BoundedPool`. With an executor there is room for three tasks for each of its slots:
                one that is done, one that waits for a slot, one whose result waits to be taken.
        """
        super().__init__(name, threads, size if executor is None else 3 * slots_of(executor))
        self._work = work
        self._dispatch = None if executor is None else _Dispatch(work, executor)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._dispatch is not None and kind is not None:
            self._dispatch.cancel()
        super().__exit__(kind, error, trace)

    def take(self, task: T) -> None:
        """Begin a task."""
        if self._dispatch is None:
            self.begin(task, partial(self._work.do, task))
        else:
            self._calls.append((task, self._dispatch.submit(task)))

    def each(self, tasks: Iterable[T]) -> Iterator[tuple[T, R]]:
        """Do tasks, each begun when there is room; yields them with their results, in order."""
        todo = iter(tasks)
        while True:
            while self.room and (task := next(todo, None)) is not None:
                self.take(task)
            if not self._calls:
                return
            task, future = self._calls.popleft()
            yield task, future.result()


class _Dispatch(Generic[T, R]):
    """Sends tasks to an executor, and opens what comes back."""

    def __init__(self, work: Work[T, R], executor: Executor) -> None:
        self._work, self._executor = work, executor
        self._run, self._key = os.urandom(16), os.urandom(32)
        self._lock = threading.Lock()
        self._number = 0
        self._under_way: dict[int, Future[Any]] = {}
        self._stopped = False
        opened = work.opened(False)
        self._corpus_id, self._root = opened.head.corpus_id, work.reference.root
        self._envelope = Envelope(
            protocol=PROTOCOL,
            version=this_version(),
            worker=work.worker,
            reference=describe_reference(work.reference),
            single_writer=work.single_writer,
            run=self._run,
            corpus_id=self._corpus_id,
            key_id=opened.head.key_id,
            key=wrap_run_key(opened, self._key),
            settings=seal_message(self._key, self._corpus_id, dumps(work.settings())),
        )

    def submit(self, task: T) -> Future[R]:
        """Send a task; returns the future of its result. Raises ConfigError: the executor takes no more."""
        future: Future[R] = Future()
        future.set_running_or_notify_cancel()
        number = self._number
        self._number += 1
        # the number is sealed with the task: an executor that mixes up tasks would have their results swapped
        message = seal_message(self._key, self._corpus_id, dumps((number, self._work.pack(task))))
        self._send(task, number, message, future, 1)
        return future

    def cancel(self) -> None:
        """Drop what has not begun; nobody waits for the rest."""
        with self._lock:
            self._stopped = True
            calls = list(self._under_way.values())
        for call in calls:
            call.cancel()

    def _send(self, task: T, number: int, message: bytes, future: Future[R], tries: int) -> None:
        # the executor gets plain types and sealed bytes only
        call = self._executor.submit(answer, self._envelope, message)
        with self._lock:
            self._under_way[number] = call
        call.add_done_callback(partial(self._arrived, task, number, message, future, tries))

    def _arrived(
        self, task: T, number: int, message: bytes, future: Future[R], tries: int, call: Future[tuple[str, Any]]
    ) -> None:
        with self._lock:
            self._under_way.pop(number, None)
            if self._stopped:
                future.set_exception(ConfigError("the run was stopped"))
                return
        try:
            outcome, said = call.result()
            if outcome == OTHER_KEY and tries < _TRIES:
                self._renew()
                self._send(task, number, message, future, tries + 1)
                return
            future.set_result(self._read(task, number, outcome, said))
        except BaseException as error:  # noqa: BLE001 - raised where the result is taken
            future.set_exception(error)

    def _renew(self) -> None:
        """Seal the run's key under the corpus key of now: it was replaced meanwhile."""
        opened = self._work.opened(True)
        with self._lock:
            self._envelope = {
                **self._envelope,
                "key_id": opened.head.key_id,
                "key": wrap_run_key(opened, self._key),
            }

    def _read(self, task: T, number: int, outcome: str, said: Any) -> R:
        if outcome == OTHER_VERSION:
            raise ConfigError(
                f"a worker has securedata {said}, and this process {this_version()}: install the same version on every "
                "node"
            )
        if outcome == OTHER_KEY:
            raise ConfigError(
                f"a worker sees another corpus key of {self._root} than this process, again and again: do all nodes "
                "reach the same storage, and is its head up to date there?",
                root=self._root,
            )
        if outcome != DONE:
            raise error_of(said)
        answered, _, (well, value) = loads(open_message(self._key, self._corpus_id, said, self._root))
        if answered != number:  # the executor, or who can write where it keeps results, has mixed them up
            raise AuthenticationFailed(
                f"a worker's answer is of another task; nothing of it was taken from {self._root}"
            )
        if not well:
            assert isinstance(value, SecuredataError)
            raise value
        return self._work.unpack(task, value)
