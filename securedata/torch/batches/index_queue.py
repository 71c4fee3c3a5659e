"""What the main process of a DataLoader has asked of this worker, and this worker has not begun.

This is private to torch. So nothing is taken out of the queue before torch's own loop was seen to read through what was
put in its place here, and whatever looks different from what is known means that nothing can be seen.
"""

from __future__ import annotations

import queue
import select
from collections import deque
from collections.abc import Callable
from multiprocessing import queues
from typing import Any

from torch.utils.data import _DatasetKind, get_worker_info
from torch.utils.data._utils.worker import _worker_loop

from securedata.torch.workers import called_with


class IndexQueue:
    """Stands in front of the index queue of this worker: torch reads the same items in the same order."""

    def __init__(self, index_queue: Any, handed_out: Callable[[object], object]) -> None:
        """Put it in front.

        Args:
            handed_out: called with each item that torch takes, before it gets it.

        Raises:
            AttributeError, OSError, TypeError, ValueError: it is not such a queue.
        """
        self._get = index_queue.get
        self._handed_out = handed_out
        self._taken: deque[object] = deque()
        self._is_read = False
        # a tenth of the time of the queue's own `empty`, which is asked after every sample
        self._readable = select.poll()
        self._readable.register(index_queue._reader.fileno(), select.POLLIN)
        index_queue.get = self.get

    def get(self, block: bool = True, timeout: float | None = None) -> object:
        """The next item, as `multiprocessing.Queue.get`. Raises queue.Empty"""
        self._is_read = True
        item = self._taken.popleft() if self._taken else self._get(block, timeout)
        self._handed_out(item)
        return item

    def look(self) -> list[object]:
        """Items that have come since the last look, in order; torch gets them nevertheless."""
        seen: list[object] = []
        while self._is_read and self._readable.poll(0):
            try:
                seen.append(self._get(False))
            except queue.Empty:
                break
            self._taken.append(seen[-1])
        return seen


def index_queue_of(handed_out: Callable[[object], object]) -> tuple[IndexQueue, Any] | None:
    """The index queue of this worker, and the dataset whose rows its items number; None if anything is unknown.

    Only for workers that read a map-style dataset in batches. The loop of another loader might queue other things.
    """
    info, arguments = get_worker_info(), called_with(_worker_loop)
    if info is None or arguments is None:
        return None
    try:
        if arguments["dataset_kind"] != _DatasetKind.Map or arguments["auto_collation"] is not True:
            return None
        index_queue, dataset = arguments["index_queue"], arguments["dataset"]
        if not isinstance(index_queue, queues.Queue) or info.dataset is not dataset:
            return None
        return IndexQueue(index_queue, handed_out), dataset
    except (AttributeError, KeyError, OSError, TypeError, ValueError):
        return None


def indices_of(item: object) -> list[Any] | None:
    """The numbers that an item asks for; None if it is something else, such as the end mark or the mark of an epoch."""
    if type(item) is tuple and len(item) == 2 and type(item[0]) is int and type(item[1]) in (list, tuple):
        return list(item[1])
    return None
