"""The work of an ingest's threads: read files, probe them, seal them and put them.

Small files are read whole and put in parallel: the next is sealed while those before it are being sent. Large ones are
read in pieces. What goes into packs is sealed in memory, and nothing is put.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from securedata.corpus.objects.put import Put
from securedata.corpus.packs.choice import MOST
from securedata.corpus.segments import TOLERANCE, recording_path
from securedata.corpus.writer import Writer
from securedata.format.cobblestone import Buffer
from securedata.format.sealed import sealed_size
from securedata.ingest.byte_budget import TOTAL, ByteBudget, needed
from securedata.ingest.cutting import CutFrom, Cutter
from securedata.ingest.items import Item
from securedata.ingest.sources.origin import PIECE, LocalOrigin, Origin, SourceProblem, Stamp
from securedata.ingest.sources.walk.tree import Problem
from securedata.ingest.unfinished import Unfinished
from securedata.media.audio.probe import NO_AUDIO, AudioInfo, probe
from securedata.media.blocks import Blocks
from securedata.media.reason import Undecodable

_ROUNDS = 4
"""Small files of one task, as a multiple of the parallel puts: towards its end, fewer and fewer are being sent."""
_FILES = 16
"""Small files of one task that seals in memory."""

_COPIES = 3  # of a file: read, sealed, and opened again

_Outcome = TypeVar("_Outcome")


@dataclass(slots=True)
class Done:
    """What became of a file, or of a segment that was cut from it.

    Attributes:
        same: its digest is that of the row.
        conflict: its digest is another one, and it may not replace the row.
        cut_from: for a segment, its recording.
        unused: ids of objects that were put before a problem came up.
        sealed: the object, if it waits for a pack; it is not on storage.
    """

    item: Item
    put: Put | None = None
    info: AudioInfo | None = None
    problem: Problem | None = None
    same: bool = False
    conflict: bool = False
    cut_from: CutFrom | None = None
    unused: list[bytes] = field(default_factory=list)
    sealed: Buffer | None = field(default=None, repr=False)


class Sealing:
    """The state that the threads share.

    Attributes:
        tasks: number of threads to run.
        read_bytes: bytes of files read so far.
        stopping: set it to stop early.
    """

    def __init__(
        self,
        origin: Origin,
        writer: Writer,
        cells: Mapping[str, Callable[[int], Any]],
        threads: int,
        replace: bool,
        for_packs: bool = False,
    ) -> None:
        """`for_packs`: files that fit into packs are sealed in memory."""
        self._origin, self._writer, self._cells, self._replace = origin, writer, cells, replace
        self._budget = ByteBudget(TOTAL)
        self.for_packs = for_packs
        if for_packs:  # a thread that reads a folder is busy, one that reads over a network waits
            self._together = _FILES
            self.tasks = min(threads, os.cpu_count() or 1) if isinstance(origin, LocalOrigin) else threads
        else:
            # a source over a network needs threads that wait, so that several files are read at once
            side_by_side = min(threads, writer.storage.parallel_puts) if isinstance(origin, LocalOrigin) else 1
            self._together = _ROUNDS * side_by_side if side_by_side > 1 else 1
            self.tasks = max(1, threads // side_by_side)
        self.read_bytes = 0
        self.stopping = False

    def next(self, todo: deque[Item]) -> list[Item]:
        """The items of one task: a file, or several small ones where storage puts them in parallel."""
        items = [todo.popleft()]
        if items[0].apart:
            return items
        room = PIECE - self._size(items[0])
        while todo and len(items) < self._together and not todo[0].apart and self._size(todo[0]) <= room:
            room -= self._size(todo[0])
            items.append(todo.popleft())
        return items

    def _size(self, item: Item) -> int:
        size = int(self._cells["size"](item.rows[0]))
        return size if size >= 0 else PIECE  # a row of Parquet: it is in memory with its row group anyway

    def seal(self, items: list[Item]) -> list[Done]:
        """Read, seal and put one file of any size, several small ones, or the segments of one."""
        if items[0].apart:
            with self._budget.take(self._needed_apart(items[0])):
                found = self._guarded(items[0], self._apart)
                return [found] if isinstance(found, Done) else found
        if self._fits_a_pack(items[0]):
            with self._budget.take(sum(_COPIES * self._size(item) for item in items)):
                return [self._guarded(item, self._in_memory) for item in items]
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
        """Each file is read and sealed while those before it are being sent."""
        done: list[Done] = []
        under_way: list[tuple[Item, AudioInfo, str]] = []

        def plains() -> Iterator[bytes]:
            for item in items:
                found = self._guarded(item, self._read)
                if isinstance(found, Done):
                    done.append(found)
                else:
                    data, info = found
                    under_way.append((item, info, self._remark(info, data)))
                    yield data

        for at, put in self._writer.put_objects(plains()):
            item, info, odd = under_way[at]
            done.append(self._sealed(item, info, put, odd))
        return done

    def _fits_a_pack(self, item: Item) -> bool:
        return self.for_packs and sealed_size(self._size(item)) <= MOST

    def _in_memory(self, item: Item, path: str) -> Done:
        found = self._read(item, path)
        if isinstance(found, Done):
            return found
        data, info = found
        put, sealed = self._writer.seal(data)
        done = self._sealed(item, info, put, self._remark(info, data))
        done.sealed = sealed
        return done

    def _read(self, item: Item, path: str) -> Done | tuple[bytes, AudioInfo]:
        """The content and header of a small file, if it must be sealed."""
        data = self._whole(item.file, self._stamp(item))
        settled = self._compared(item, [data])
        return settled or (data, NO_AUDIO if self._is_other(item) else probe(data))

    def _large(self, item: Item, path: str) -> Done:
        origin, stamp = self._origin, self._stamp(item)
        if item.digest is not None:
            settled = self._compared(item, self._counted(origin.pieces(item.file, stamp)))
            if settled:
                return settled
        if self._is_other(item):
            return self._sealed(item, NO_AUDIO, self._writer.put_object(self._counted(origin.pieces(item.file, stamp))))
        info = origin.probe(item.file, stamp)
        length = Unfinished(info, stamp.size)

        def pieces() -> Iterator[Buffer]:
            for piece in self._counted(origin.pieces(item.file, stamp)):
                length.see(piece)
                yield piece

        put = self._writer.put_object(pieces())
        return self._sealed(item, info, put, length.remark())

    def _is_other(self, item: Item) -> bool:
        """Is it a file that is sealed as it is, and no recording?"""
        return self._cells["media_type"](item.rows[0]) is not None

    @staticmethod
    def _remark(info: AudioInfo, data: bytes) -> str:
        if info is NO_AUDIO:
            return ""
        length = Unfinished(info, len(data))
        length.see(data)
        return length.remark()

    def _needed_apart(self, item: Item) -> int:
        most = max(self._cells["memory"](i) for i in item.rows)
        return needed(max(self._size(item), most), self._writer.storage) + 4 * Blocks.BLOCK + int(most)

    def _apart(self, item: Item, path: str) -> list[Done] | Done:
        """Seal segments of a recording, each in an object of its own."""
        origin, stamp = self._origin, self._stamp(item)
        data = self._whole(item.file, stamp) if stamp.size <= PIECE else None
        size = stamp.size if data is None else len(data)

        def all_of_it() -> Iterable[Buffer]:
            return self._counted(origin.pieces(item.file, stamp)) if data is None else [data]

        if settled := self._compared(item, all_of_it()):
            return settled
        if data is None:
            info = origin.probe(item.file, stamp)
            cutter = Cutter.of(info, origin, item.file, stamp)
        else:
            info = probe(data)
            cutter = Cutter.over(info, data)
        done: list[Done] = []
        length, digest = Unfinished(info, size), hashlib.sha256()
        try:
            self._put_segments(item, cutter, done)
            # read last: its end shows whether the file is the one that was listed
            for piece in all_of_it():
                length.see(piece)
                digest.update(piece)
        except SourceProblem as problem:
            unused = [one.put.object_id for one in done if one.put]
            return Done(item, problem=Problem(path, str(problem)), unused=unused)
        cells = self._cells
        whole = recording_path(path, cells["start"](item.rows[0]), cells["frames_in_segment"](item.rows[0]))
        cut_from = CutFrom(whole, size, digest.digest())
        for one in done:
            one.cut_from = cut_from if one.put else None
        if odd := length.remark():
            done.append(Done(Item(item.file, ()), problem=Problem(path, odd, taken=True)))
        return done

    def _put_segments(self, item: Item, cutter: Cutter, done: list[Done]) -> None:
        """Seal each row's segment, small ones in parallel; what becomes of them is added to `done`."""
        lengths = self._cells["frames_in_segment"]
        rows = deque(item.rows)
        while rows:
            batch, room = [rows.popleft()], PIECE
            room -= cutter.file(lengths(batch[0])).size
            while rows and cutter.file(lengths(rows[0])).size <= room:
                room -= cutter.file(lengths(rows[0])).size
                batch.append(rows.popleft())
            if room < 0:
                one = Item(item.file, (batch[0],), apart=True)
                done.append(self._guarded(one, lambda one, _: self._put_segment(one, cutter)))
            else:
                self._put_small(item.file, batch, cutter, done)

    def _put_segment(self, item: Item, cutter: Cutter) -> Done:
        start, frames = (self._cells[name](item.rows[0]) for name in ("start", "frames_in_segment"))

        def checked() -> Iterator[Buffer]:
            for piece in cutter.pieces(start, frames):
                self._check_stopping()
                yield piece

        put = self._writer.put_object(checked())
        return Done(item, put, cutter.file(frames).info)

    def _put_small(self, file: str, rows: list[int], cutter: Cutter, done: list[Done]) -> None:
        starts, lengths = self._cells["start"], self._cells["frames_in_segment"]
        under_way: list[Item] = []

        def plains() -> Iterator[bytes]:
            for i in rows:
                self._check_stopping()
                item = Item(file, (i,), apart=True)
                try:
                    data = b"".join(cutter.pieces(starts(i), lengths(i)))
                except Undecodable as error:
                    done.append(Done(item, problem=Problem(self._cells["path"](i), str(error))))
                    continue
                under_way.append(item)
                yield data

        for at, put in self._writer.put_objects(plains()):
            item = under_way[at]
            done.append(Done(item, put, cutter.file(lengths(item.rows[0])).info))

    def _stamp(self, item: Item) -> Stamp:
        i = item.rows[0]
        return Stamp(int(self._cells["size"](i)), self._cells["mtime_ns"](i), self._cells["version"](i))

    def _compared(self, item: Item, pieces: Iterable[Buffer]) -> Done | None:
        """What the digest of a file decides; None if it must be sealed."""
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

    def _sealed(self, item: Item, info: AudioInfo, put: Put, odd: str = "") -> Done:
        i = item.rows[0]
        path = self._cells["path"](i)
        problem = Problem(path, odd, taken=True) if odd else self._duration_problem(i, path, info)
        return Done(item, put, info, problem=problem)

    def _whole(self, file: str, stamp: Stamp) -> bytes:
        if stamp.size > PIECE:
            return b"".join(self._counted(self._origin.pieces(file, stamp)))
        self._check_stopping()
        data = self._origin.whole(file, stamp)
        self.read_bytes += len(data)
        return data

    def _counted(self, pieces: Iterator[Buffer]) -> Iterator[Buffer]:
        for piece in pieces:
            self._check_stopping()
            self.read_bytes += len(piece)  # for the progress bar; a lost increment does no harm
            yield piece

    def _check_stopping(self) -> None:
        if self.stopping:
            raise SourceProblem("the ingest was stopped")

    def _duration_problem(self, i: int, path: str, info: AudioInfo) -> Problem | None:
        said = self._cells["duration"](i)
        seconds = info.frames / info.sample_rate if info.sample_rate else 0.0
        if said is None or info is NO_AUDIO or abs(said - seconds) <= TOLERANCE:
            return None
        return Problem(path, f"the manifest says {said:g} s, the recording has {seconds:.2f} s", taken=True)
