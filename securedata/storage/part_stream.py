"""A stream in parts of one size, sent side by side while the next one is filled: a few of them are held at a time."""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from securedata.storage.base import Buffer
from securedata.threads import BoundedPool

Sent = TypeVar("Sent")


def cut(start: Buffer, pieces: Iterator[Buffer], size: int) -> Iterator[mmap.mmap]:
    """What comes in pieces after `start`, in parts of `size` bytes; the last one may be shorter, and is not empty.

    Each is a file in memory of its own, whose pages go back to the system with it: blocks of this size from the heap
    leave gaps in it, which doubled what a process held.
    """
    part = mmap.mmap(-1, size)
    for piece in itertools.chain([start], pieces):
        rest = memoryview(piece)
        while len(rest):
            taken = rest[: size - part.tell()]
            part.write(taken)
            rest = rest[len(taken) :]
            if part.tell() == size:
                part.seek(0)
                yield part
                part = mmap.mmap(-1, size)
    if part.tell():
        last = mmap.mmap(-1, part.tell())
        last.write(memoryview(part)[: part.tell()])
        last.seek(0)
        yield last


def side_by_side(send: Callable[[int, mmap.mmap], Sent], parts: Iterable[mmap.mmap], at_once: int) -> list[Sent]:
    """Send parts, numbered from 1, `at_once` of them in threads; returns what was answered, in order.

    The first failure ends it: what is under way is waited for, and nothing more is taken from `parts`.
    """
    calls = ((number, partial(send, number, part)) for number, part in enumerate(parts, start=1))
    with BoundedPool[int, Sent]("securedata-part", at_once, at_once + 1) as pool:  # one is filled meanwhile
        return [answer.result() for _, answer in pool.results(calls)]
