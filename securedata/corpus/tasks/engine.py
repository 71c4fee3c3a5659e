"""Where the tasks of a run are done: in threads of this process, or in other processes, on this machine or others.

An engine is an `Executor` of the standard library, so that none is known here by name but Ray: whatever has an adapter
to `concurrent.futures` can be passed. Its processes must have this package, and must reach storage, KMS and source.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib import import_module
from typing import Protocol, runtime_checkable

from securedata.errors import InvalidArgument

LOCAL = "local"
NAMED = {"ray": "securedata.integrations.ray"}
"""Modules with an engine that is made by name. By name only: nothing here imports them, or what they need."""

ENGINES = (LOCAL, *NAMED)

Engine = str | Executor
"""'local', 'ray', or an executor whose calls run in other processes."""


@runtime_checkable
class Sized(Protocol):
    """An executor that says how many calls it runs at once."""

    slots: int


def slots_of(executor: Executor) -> int:
    """How many calls an executor runs at once, as far as it says."""
    if isinstance(executor, Sized):
        return max(1, executor.slots)
    return max(1, int(getattr(executor, "_max_workers", 0) or os.cpu_count() or 1))


def check_engine(engine: object, storage: object = None) -> Engine:
    """Check an `engine=`, which opens storage by its root, not by an object of this process. Raises InvalidArgument"""
    if storage is not None and engine != LOCAL:
        raise InvalidArgument("storage= is of this process only: leave it out with engine=")
    if isinstance(engine, Executor) or (isinstance(engine, str) and engine in ENGINES):
        return engine
    said = repr(engine) if isinstance(engine, str) else type(engine).__name__
    raise InvalidArgument(f"engine= is one of {', '.join(ENGINES)}, or a concurrent.futures.Executor, not {said}")


@contextmanager
def executor_of(engine: Engine) -> Iterator[Executor | None]:
    """The executor of a run; None: threads of this process. One that is made here ends with the run.

    Raises:
        ConfigError: its library is not installed, or its cluster does not answer.
    """
    if isinstance(engine, Executor):
        yield engine
    elif engine == LOCAL:
        yield None
    else:
        with import_module(NAMED[engine]).engine() as executor:
            yield executor
