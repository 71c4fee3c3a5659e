"""Cut a stream into parts of one size, and send several at once while the next one is filled."""

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
    """Yield `start` and the pieces after it in parts of `size` bytes. The last may be shorter, but is never empty.

    Each part is a mapping of its own, so that its pages return to the system with it: blocks of this size on the heap
    fragment it, which doubled the memory of the process.
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
    """Send parts, numbered from 1, in `at_once` threads. Returns the answers in order.

    After the first failure no more parts are taken; those under way are awaited.
    """
    calls = ((number, partial(send, number, part)) for number, part in enumerate(parts, start=1))
    with BoundedPool[int, Sent]("securedata-part", at_once, at_once + 1) as pool:  # one more is filled meanwhile
        return [answer.result() for _, answer in pool.results(calls)]
