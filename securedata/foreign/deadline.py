"""A call with a deadline, whatever the server sends.

The timeouts of botocore and requests restart with each piece that arrives, so a server that sends a byte now and then
could make them wait forever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

SLOWEST = 50_000
"""Bytes per second below which a body counts as stalled."""

_T = TypeVar("_T")


def within(seconds: float, call: Callable[[], _T]) -> _T:
    """Return or raise what `call` does. It runs in a thread of its own, in the caller's context.

    The thread of a call that misses the deadline is abandoned: it ends with its connection, and keeps no process alive.

    Raises:
        TimeoutError: it did not end in time.
    """
    context, ended = copy_context(), threading.Event()
    results: list[_T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(context.run(call))
        except BaseException as error:  # noqa: BLE001 - of any class; raised below, in the caller's thread
            errors.append(error)
        ended.set()

    threading.Thread(target=work, name="securedata-call", daemon=True).start()
    if not ended.wait(seconds):
        raise TimeoutError
    if errors:
        raise errors.pop()
    return results.pop()
