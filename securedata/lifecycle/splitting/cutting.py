"""The work of a split's threads: read a shared object, compare it with its rows, cut it, seal each segment and put it.

An object of up to 32 MiB is read once. A larger one is read in pieces, once to compare it, and again where its segments
are; so memory stays bounded.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from securedata.corpus.objects.fetch import expect_of, extent_of, open_in_pieces, open_piece
from securedata.corpus.objects.file import READ_WHOLE
from securedata.corpus.objects.put import Put
from securedata.corpus.writer import Writer
from securedata.errors import SecuredataError, UndecodableMedia
from securedata.format.cobblestone import Buffer
from securedata.ingest.byte_budget import TOTAL, ByteBudget, needed
from securedata.ingest.cutting import Cutter
from securedata.ingest.sources.origin import PIECE
from securedata.lifecycle.sealing import FAILURES, Stopped, check_content
from securedata.lifecycle.splitting.plan import Segment, Shared
from securedata.media.audio.cut import memory
from securedata.media.audio.probe import AudioInfo
from securedata.media.blocks import Blocks
from securedata.media.reason import Undecodable


class Piece(NamedTuple):
    """A segment, the object that it was sealed into, and the file in it."""

    segment: Segment
    put: Put
    info: AudioInfo


@dataclass(slots=True)
class Done:
    """What became of a shared object.

    Attributes:
        pieces: new objects, one for each of its segments unless there is an `error`.
        error: why it could not be cut; it stays as it is.
    """

    of: Shared
    pieces: list[Piece] = field(default_factory=list)
    error: SecuredataError | None = None


class Cutting:
    """The state that the threads share; set `stopping` to stop early."""

    def __init__(self, writer: Writer) -> None:
        self._writer, self._storage = writer, writer.storage
        self._budget = ByteBudget(TOTAL)
        self.stopping = False

    def do(self, one: Shared) -> Done:
        """Cut one object. Raises Stopped, and what storage raises if the run cannot go on."""
        done = Done(one)
        most = max(memory(one.info, segment.frames) for segment in one.cuts)
        whole = one.location.size <= READ_WHOLE
        with self._budget.take(
            (2 * one.location.size if whole else Blocks.KEPT * Blocks.BLOCK) + most + needed(PIECE, self._storage)
        ):
            try:
                cutter = self._read(one) if whole else self._in_blocks(one)
                self._put(one, cutter, done)
            except _Failed as failed:
                done.error = failed.error
            except Undecodable as reason:
                done.error = UndecodableMedia(
                    f"object {one.id.hex()} of {self._writer.root} cannot be cut: {reason}",
                    root=self._writer.root,
                    object_id=one.id,
                )
        return done

    # ------------------------------------------------------------ reading

    def _read(self, one: Shared) -> Cutter:
        """All of an object in memory."""
        return Cutter.over(one.info, b"".join(self._compared(one)))

    def _in_blocks(self, one: Shared) -> Cutter:
        for _ in self._compared(one):
            pass
        return Cutter(
            one.info, one.location.size, Blocks(lambda at, n: self._range(one, at, n), one.location.size).read_at
        )

    def _compared(self, one: Shared) -> Iterator[Buffer]:
        """The content of an object, which its row describes. Raises _Failed."""
        digest, size = hashlib.sha256(), 0
        expect = expect_of(one.location, self._writer.corpus_id, self._writer.root)
        try:
            for piece in open_in_pieces(self._storage, one.location, one.data_key, expect, self._check_stopping):
                digest.update(piece)
                size += len(piece)
                yield piece
            check_content(self._writer.root, one.location, one.sha256, digest.digest(), size)
        except FAILURES as error:
            raise _Failed(error) from None

    def _range(self, one: Shared, offset: int, length: int) -> Buffer:
        """A part of the content. Raises _Failed."""
        self._check_stopping()
        expect = expect_of(one.location, self._writer.corpus_id, self._writer.root)
        try:
            key, base, ranges = extent_of(one.location, expect, offset, length)
            landed = self._storage.get_ranges(key, [(base + at, size) for at, size in ranges])
            return open_piece(one.data_key, landed, ranges, offset, length, expect)
        except FAILURES as error:
            raise _Failed(error) from None

    # ------------------------------------------------------------ writing

    def _put(self, one: Shared, cutter: Cutter, done: Done) -> None:
        """Seal each segment into an object of its own, small ones in parallel."""
        todo = deque(one.cuts)
        for segment in todo:
            if not 0 <= (segment.start or 0) <= one.info.frames - segment.frames or segment.frames < 1:
                raise Undecodable("a segment is not inside the recording: see 'securedata verify'")
        while todo:
            batch = [todo.popleft()]
            room = PIECE - cutter.file(batch[0].frames).size
            while todo and cutter.file(todo[0].frames).size <= room:
                room -= cutter.file(todo[0].frames).size
                batch.append(todo.popleft())
            if room < 0:
                self._add(done, batch[0], self._writer.put_object(self._bytes(cutter, batch[0])), cutter)
            else:
                self._put_small(batch, cutter, done)

    def _put_small(self, batch: list[Segment], cutter: Cutter, done: Done) -> None:
        failure: list[_Failed | Undecodable] = []

        def files() -> Iterator[bytes]:
            for segment in batch:
                try:
                    file = b"".join(self._bytes(cutter, segment))
                except (_Failed, Undecodable) as error:  # raised once those before it are put, and known
                    failure.append(error)
                    return
                yield file

        for at, put in self._writer.put_objects(files()):
            self._add(done, batch[at], put, cutter)
        if failure:
            raise failure[0]

    def _bytes(self, cutter: Cutter, segment: Segment) -> Iterator[bytes]:
        for piece in cutter.pieces(segment.start or 0, segment.frames):
            self._check_stopping()
            yield piece

    @staticmethod
    def _add(done: Done, segment: Segment, put: Put, cutter: Cutter) -> None:
        done.pieces.append(Piece(segment, put, cutter.file(segment.frames).info))

    def _check_stopping(self) -> None:
        if self.stopping:
            raise Stopped


class _Failed(Exception):
    """A missing or damaged object; anything else that storage raises stops the run."""

    def __init__(self, error: SecuredataError) -> None:
        super().__init__()
        self.error = error
