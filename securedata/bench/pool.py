"""Worker processes that start the same work at the same moment, like the workers of a training job."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType

from securedata.bench.work import Case, Run, Work
from securedata.errors import SecuredataError

_LEAD = 0.0005  # seconds from sending the first order until the work begins, and the addition for each worker
_LEAD_EACH = 0.00005


class Pool:
    """Processes that wait for orders; each makes its own objects.

    They are spawned, not forked, so that they share no memory with this process.
    """

    def __init__(self, workers: int, cases: Sequence[Case]) -> None:
        context = get_context("spawn")
        self._workers = []
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, tuple(cases)), daemon=True)
            process.start()
            theirs.close()
            self._workers.append((process, ours))

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, connection in self._workers:
            connection.close()  # ends a worker that waits for an order; a busy one is terminated
            if kind is not None:
                process.terminate()
        for process, _ in self._workers:
            process.join()

    def wait(self) -> None:
        """Wait until every worker has made its objects."""
        for number in range(len(self._workers)):
            self._receive(number)

    def run(self, workers: int, case: Case, method: str, seconds: float) -> list[Run]:
        """Run a case on that many workers, all in the same `seconds`."""
        start = time.monotonic() + _LEAD + _LEAD_EACH * workers  # one clock for all processes of a machine
        for number in range(workers):
            try:
                self._workers[number][1].send((case, method, start, start + seconds))
            except OSError:
                raise self._ended(number) from None
        return [self._receive(number) for number in range(workers)]

    def _receive(self, number: int) -> Run:
        try:
            run: Run = self._workers[number][1].recv()
        except (EOFError, OSError):
            raise self._ended(number) from None
        return run

    def _ended(self, number: int) -> SecuredataError:
        process = self._workers[number][0]
        process.join()
        return SecuredataError(
            f"worker {number + 1} of {len(self._workers)} ended early (exit code {process.exitcode}): "
            "if the host ran out of memory, use fewer --workers or smaller --sizes"
        )


def _serve(connection: Connection, cases: Sequence[Case]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, and the parent ends us
    work = Work(cases)
    gc.freeze()
    gc.disable()
    connection.send(Run(0, 0.0, 0.0))
    while True:
        try:
            case, method, start, end = connection.recv()
        except EOFError:  # the parent is done
            return
        connection.send(work.run(case, method, start, end))
