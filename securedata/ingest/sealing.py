"""The work of the threads of an ingest: read files, see what they are, seal them and put them.

Small files are read as a whole and put side by side, the next of them sealed while those before it are on their way.
Large ones are read in pieces.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from securedata.corpus.objects.put import Put
from securedata.corpus.segments import TOLERANCE
from securedata.corpus.writer import Writer
from securedata.format.cobblestone import Buffer
from securedata.ingest.byte_budget import TOTAL, ByteBudget, needed
from securedata.ingest.sources.origin import PIECE, LocalOrigin, Origin, SourceProblem, Stamp
from securedata.ingest.sources.walk import Problem
from securedata.ingest.unfinished import Unfinished
from securedata.media.audio.probe import AudioInfo, probe
from securedata.media.reason import Undecodable

_ROUNDS = 4
"""Small files of one task, as a multiple of those under way at once: at its end there are fewer and fewer of them."""

_Outcome = TypeVar("_Outcome")


@dataclass(frozen=True, slots=True)
class Item:
    """One file to read, and the source rows that need it. `digest`: only hash it, if it has this digest."""

    file: str
    rows: tuple[int, ...]
    digest: bytes | None = None


@dataclass(slots=True)
class Done:
    """What became of a file. `same`: its digest is the row's; `conflict`: it is not, and it may not replace the row."""

    item: Item
    put: Put | None = None
    info: AudioInfo | None = None
    problem: Problem | None = None
    same: bool = False
    conflict: bool = False


class Sealing:
    """What the threads share.

    Attributes:
        tasks: how many threads there should be.
        read_bytes: of files, so far.
        stopping: set to end it early.
    """

    def __init__(
        self, origin: Origin, writer: Writer, cells: Mapping[str, Callable[[int], Any]], threads: int, replace: bool
    ) -> None:
        self._origin, self._writer, self._cells, self._replace = origin, writer, cells, replace
        self._budget = ByteBudget(TOTAL)
        # for a source over a network it takes threads that wait, so that several files are read side by side
        side_by_side = min(threads, writer.storage.parallel_puts) if isinstance(origin, LocalOrigin) else 1
        self._together = _ROUNDS * side_by_side if side_by_side > 1 else 1
        self.tasks = max(1, threads // side_by_side)
        self.read_bytes = 0
        self.stopping = False

    def next(self, todo: deque[Item]) -> list[Item]:
        """What one task takes: a file, or several small ones where storage puts them side by side."""
        items = [todo.popleft()]
        room = PIECE - self._size(items[0])
        while todo and len(items) < self._together and self._size(todo[0]) <= room:
            room -= self._size(todo[0])
            items.append(todo.popleft())
        return items

    def _size(self, item: Item) -> int:
        size = int(self._cells["size"](item.rows[0]))
        return size if size >= 0 else PIECE  # a row of Parquet: it is in memory with its row group anyway

    def seal(self, items: list[Item]) -> list[Done]:
        """Read, seal and put files: one of any size, or several small ones."""
        with self._budget.take(sum(needed(self._size(item), self._writer.storage) for item in items)):
            if self._size(items[0]) > PIECE:
                return [self._guarded(items[0], self._large)]
            return self._small(items)

    def _guarded(self, item: Item, work: Callable[[Item, str], _Outcome]) -> _Outcome | Done:
        path = self._cells["path"](item.rows[0])
        try:
            return work(item, path)
        except (Undecodable, SourceProblem) as error:
            return Done(item, problem=Problem(path, str(error)))

    def _small(self, items: list[Item]) -> list[Done]:
        """The next is read and sealed while those before it are on their way."""
        done: list[Done] = []
        under_way: list[tuple[Item, AudioInfo, str]] = []

        def plains() -> Iterator[bytes]:
            for item in items:
                found = self._guarded(item, self._read)
                if isinstance(found, Done):
                    done.append(found)
                else:
                    data, info = found
                    length = Unfinished(info, len(data))
                    length.see(data)
                    under_way.append((item, info, length.remark()))
                    yield data

        for at, put in self._writer.put_objects(plains()):
            item, info, odd = under_way[at]
            done.append(self._sealed(item, info, put, odd))
        return done

    def _read(self, item: Item, path: str) -> Done | tuple[bytes, AudioInfo]:
        """All of a small file and what its header says, if it is to be sealed."""
        data = self._whole(item.file, self._stamp(item))
        settled = self._compared(item, [data])
        return settled or (data, probe(data))

    def _large(self, item: Item, path: str) -> Done:
        origin, stamp = self._origin, self._stamp(item)
        if item.digest is not None:
            settled = self._compared(item, self._counted(origin.pieces(item.file, stamp)))
            if settled:
                return settled
        info = origin.probe(item.file, stamp)
        length = Unfinished(info, stamp.size)

        def pieces() -> Iterator[Buffer]:
            for piece in self._counted(origin.pieces(item.file, stamp)):
                length.see(piece)
                yield piece

        put = self._writer.put_object(pieces())
        return self._sealed(item, info, put, length.remark())

    def _stamp(self, item: Item) -> Stamp:
        i = item.rows[0]
        return Stamp(int(self._cells["size"](i)), self._cells["mtime_ns"](i), self._cells["version"](i))

    def _compared(self, item: Item, pieces: Iterable[Buffer]) -> Done | None:
        """What is known of a file once its digest is; None if it is to be sealed."""
        if item.digest is None:
            return None
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        if digest.digest() == item.digest:
            return Done(item, same=True)
        if self._replace:
            return None
        return Done(item, conflict=True)

    def _sealed(self, item: Item, info: AudioInfo, put: Put, odd: str) -> Done:
        i = item.rows[0]
        path = self._cells["path"](i)
        problem = Problem(path, odd, taken=True) if odd else self._duration_problem(i, path, info)
        return Done(item, put, info, problem=problem)

    def _whole(self, file: str, stamp: Stamp) -> bytes:
        if self.stopping:
            raise SourceProblem("the ingest was stopped")
        data = self._origin.whole(file, stamp)
        self.read_bytes += len(data)
        return data

    def _counted(self, pieces: Iterator[Buffer]) -> Iterator[Buffer]:
        for piece in pieces:
            if self.stopping:
                raise SourceProblem("the ingest was stopped")
            self.read_bytes += len(piece)  # a count for people; a lost increment does no harm
            yield piece

    def _duration_problem(self, i: int, path: str, info: AudioInfo) -> Problem | None:
        said = self._cells["duration"](i)
        seconds = info.frames / info.sample_rate
        if said is None or abs(said - seconds) <= TOLERANCE:
            return None
        return Problem(path, f"the manifest says {said:g} s, the recording has {seconds:.2f} s", taken=True)
