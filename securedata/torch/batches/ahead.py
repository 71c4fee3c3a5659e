"""Look-ahead of a worker: the batches that are queued for it are fetched while it decodes the one before.

Samples are the same without it. The generator for the crops of a batch follows from how many batches its dataset was
asked for before, not from when it was planned. What is planned is a guess, which is thrown away if something else is
asked for.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch.utils.data import get_worker_info

from securedata.corpus.snapshot import Fetch
from securedata.torch.batches.batch import Batch
from securedata.torch.batches.index_queue import IndexQueue, index_queue_of, indices_of
from securedata.torch.combine import shares_of

if TYPE_CHECKING:
    from securedata.torch.base import EncryptedDataset

OFF = "SECUREDATA_LOOK_AHEAD"
"""Set it to 0, and nothing is fetched ahead."""

_WRONG = 3
"""Wrong guesses in succession after which a worker stops guessing: each may have fetched something in vain."""

_REST, _LONGEST = 40, 0.005
"""Between two polls, as many times what one took, but at most so many seconds: what arrives together costs less CPU."""


class _Guess(NamedTuple):
    """What a dataset will be asked for in a batch that is queued.

    Attributes:
        number: how many batches it will have been asked for before.
        batch: None if nothing of it was started.
    """

    dataset: EncryptedDataset[Any]
    rows: list[int]
    number: int
    batch: Batch[Any] | None


class _Asked(NamedTuple):
    """A number for a dataset, in the order of their first batches, and how many batches it was asked for."""

    which: int
    batches: int


class _Worker:
    """What one worker process has been asked for, and what it has planned."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        # read once, at the first batch: a transform might seed torch again for each sample
        self._seed = torch.initial_seed()
        self._asked: WeakKeyDictionary[EncryptedDataset[Any], _Asked] = WeakKeyDictionary()
        self._due: list[_Guess] = []
        """Of the item that torch's loop is at, what it has not been asked for yet."""
        self._queued: deque[tuple[object, list[_Guess]]] = deque()
        self._under_way: deque[Fetch] = deque()
        self._next_poll = 0.0
        self._wrong = 0
        self._indices: list[Any] | None = None
        """What that item asks for, and with `_read` what was read for it, of which dataset."""
        self._read: list[tuple[EncryptedDataset[Any], list[int]]] = []
        self._passed_to: EncryptedDataset[Any] | None = None
        """The dataset that a wrapper of an unknown class has passed the last batch on to, as it was."""
        found = index_queue_of(self._handed_out) if os.environ.get(OFF) != "0" else None
        self._queue: IndexQueue | None = None
        self._outer: Any = None
        if found is not None:
            self._queue, self._outer = found

    def begin(self, dataset: EncryptedDataset[Any], rows: list[int]) -> Batch[Any]:
        """The batch of these rows, started: the one that was planned, if the guess was right."""
        asked = self._asked.get(dataset, _Asked(len(self._asked), 0))
        self._asked[dataset] = _Asked(asked.which, asked.batches + 1)
        self._read.append((dataset, rows))
        guess = next((one for one in self._due if one.dataset is dataset), None)
        batch: Batch[Any] | None = None
        if guess is not None:
            self._due.remove(guess)
            if guess.rows == rows and guess.number == asked.batches:
                batch = guess.batch
            else:
                self._drop(guess)
        if batch is None:
            batch = Batch(dataset, self._draw(asked.which, asked.batches), self.meanwhile)
            batch.start(rows)
        else:
            self._wrong = 0
            dataset._tally.batches_ahead += 1
        self._look()  # after it, so that it goes first
        return batch

    def meanwhile(self) -> None:
        """Plan what has been queued, and receive what has arrived."""
        self._look()
        if self._under_way and (begun := time.perf_counter()) >= self._next_poll:
            if not self._under_way[0].poll():
                self._under_way.popleft()
            now = time.perf_counter()
            self._next_poll = now + min(_REST * (now - begun), _LONGEST)

    def _draw(self, which: int, number: int) -> torch.Generator:
        """The generator for the crops of one batch."""
        digest = hashlib.blake2b(f"{self._seed} {which} {number}".encode(), digest_size=8).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, "little", signed=True))

    def _look(self) -> None:
        for item in self._queue.look() if self._queue is not None else ():
            self._queued.append((item, self._guesses(item, start=self._wrong < _WRONG)))

    def _guesses(self, item: object, start: bool) -> list[_Guess]:
        """What an item will make torch's loop ask for; with `start` its fetches are begun."""
        guesses: list[_Guess] = []
        indices = indices_of(item)
        try:
            shares = None if indices is None else shares_of(self._outer, indices)
            if shares is None and indices is not None and self._passed_to is not None:
                shares = self._passed_to._shares(indices)
            for dataset, rows in shares or ():
                before = [*self._due, *(one for _, others in self._queued for one in others), *guesses]
                asked = self._asked.get(dataset)
                number = (asked.batches if asked else 0) + sum(one.dataset is dataset for one in before)
                batch = None
                if start and asked is not None:  # else its own number is not known yet
                    batch = Batch(dataset, self._draw(asked.which, number), self.meanwhile)
                    batch.start(rows)
                    self._under_way.extend(batch.fetches())
                guesses.append(_Guess(dataset, rows, number, batch))
        except Exception:  # noqa: BLE001, S110 - it is raised again when the batch is asked for
            pass
        return guesses

    def _handed_out(self, item: object) -> None:
        """torch's loop begins with an item, and has not asked for what is left of the one before."""
        for guess in self._due:
            self._drop(guess)
        self._passed_to = None
        if self._indices is not None and len(self._read) == 1:
            dataset, rows = self._read[0]
            self._passed_to = dataset if rows == self._indices else None
        self._indices, self._read = indices_of(item), []
        if self._queued and self._queued[0][0] is item:
            self._due = self._queued.popleft()[1]
        else:
            self._due = []
            self._due = self._guesses(item, start=False)

    def _drop(self, guess: _Guess) -> None:
        if guess.batch is not None:
            guess.batch.cancel()
            self._wrong += 1


_worker: _Worker | None = None


def _this() -> _Worker | None:
    """What this process knows as a worker; None if it is none, or in a thread beside torch's loop."""
    global _worker
    if threading.current_thread() is not threading.main_thread():
        return None
    if _worker is None or _worker.pid != os.getpid():
        if get_worker_info() is None:
            return None
        _worker = _Worker()
    return _worker


def begin(dataset: EncryptedDataset[Any], rows: list[int]) -> Batch[Any]:
    """The batch of these rows, started.

    Raises:
        MalformedManifest, AccessDenied, StorageUnreachable, ...
    """
    worker = _this()
    if worker is not None:
        return worker.begin(dataset, rows)
    batch: Batch[Any] = Batch(dataset, None, _nothing)
    batch.start(rows)
    return batch


def _nothing() -> None:
    """What a process does between two samples that is no worker."""


def meanwhile() -> None:
    """To be called between two samples; takes microseconds."""
    worker = _this()
    if worker is not None:
        worker.meanwhile()
