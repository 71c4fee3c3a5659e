"""From a sealed object to samples: fetch and decrypt no more than what is needed, in memory only.

PCM in a WAV is read by position. A compressed file of up to 4 MB is read whole; of a larger one the decoder
gets what it asks for, through a read-ahead. Bytes, names and paths never reach an error's text.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple, TypeVar

from securedata.corpus.objects.fetch import Piece
from securedata.corpus.objects.file import ObjectFile
from securedata.corpus.reader import Corpus
from securedata.errors import MalformedManifest, SecuredataError, UndecodableMedia
from securedata.media.audio.decode import decode, decode_file
from securedata.media.audio.encodings import Floats
from securedata.media.audio.plan import WHOLE, plan
from securedata.media.reason import Undecodable


class AudioRow(NamedTuple):
    """The cells of a manifest row that make its audio."""

    size: int
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    data_offset: int | None
    start: int | None
    frames_in_segment: int | None


class Row(NamedTuple):
    """The cells of a manifest row that make a sample."""

    size: int
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    data_offset: int | None
    start: int | None
    frames_in_segment: int | None
    transcript: str
    speaker: str
    utterance: str
    extra: str

    def __repr__(self) -> str:  # never shows the transcript or the speaker unasked
        return f"Row({self.frames} frames, {self.sample_rate} Hz, {self.channels} channels)"


AnyRow = AudioRow | Row
_R = TypeVar("_R", AudioRow, Row)


def span_of(row: AnyRow) -> tuple[int, int]:
    """First frame and number of frames: of the segment, or of the whole recording."""
    if row.frames_in_segment is None:
        return 0, row.frames
    return row.start or 0, row.frames_in_segment


def read_row(corpus: Corpus, i: int) -> Row:
    """The row, checked for values that no correct writer writes.

    Raises:
        MalformedManifest
    """
    return _checked(corpus, i, Row._make(corpus.snapshot.index.values(Row._fields, i)))


def read_audio(corpus: Corpus, i: int) -> AudioRow:
    """The same without the text. Raises as `read_row`."""
    return _checked(corpus, i, AudioRow._make(corpus.snapshot.index.values(AudioRow._fields, i)))


def _checked(corpus: Corpus, i: int, row: _R) -> _R:
    start, frames = span_of(row)
    if row.channels < 1 or row.sample_rate < 1 or start < 0 or frames < 1 or start + frames > row.frames:
        raise _error(
            MalformedManifest,
            corpus,
            i,
            f"its row has {row.channels} channels, {row.sample_rate} Hz and frames {start} to {start + frames} "
            f"of {row.frames}; it is not a recording, or a broken writer wrote it",
        )
    return row


def piece_of(corpus: Corpus, i: int, row: AnyRow, start: int, frames: int) -> Piece | None:
    """The part of the object that these frames need; None if the decoder must ask, as in a large compressed file.

    Raises:
        MalformedManifest
    """
    try:
        span = plan(row, start, frames)
    except ValueError as error:
        raise _error(MalformedManifest, corpus, i, str(error)) from None
    return None if span is None else Piece(i, span[0], span[1])


def fetch_piece(corpus: Corpus, row: AnyRow, piece: Piece) -> memoryview:
    """The plaintext of a piece; a whole object lies in memory that this thread's next call reuses.

    Raises:
        as `Corpus.read`
    """
    if piece.length is None:
        return _whole(corpus, piece.i, row.size)
    return memoryview(corpus.read_range(piece.i, piece.offset, piece.length))


def decode_piece(corpus: Corpus, row: AnyRow, piece: Piece, data: memoryview, start: int, frames: int) -> Floats:
    """Frames [start, start + frames) of the recording, decoded from the piece that `piece_of` named.

    Returns:
        float32 [frames, channels], its own memory.

    Raises:
        UndecodableMedia
    """
    try:
        return decode(row, data, piece.length is None, start, frames)
    except Undecodable as reason:
        raise undecodable(corpus, piece.i, str(reason)) from None


def open_object(corpus: Corpus, i: int, row: AnyRow) -> ObjectFile:
    """The object as a file that is read in parts; `decode_object` raises each of its errors."""
    return ObjectFile(corpus.snapshot.ranges(i), row.size)


def decode_object(corpus: Corpus, i: int, row: AnyRow, file: ObjectFile, start: int, frames: int) -> Floats:
    """Like `decode_piece`, from a large compressed file, of which the decoder reads what it needs.

    Raises:
        UndecodableMedia, and as `Corpus.read`
    """

    def read_into(at: int, buffer: Any) -> int:
        file.seek(at)
        return file.readinto(buffer)

    try:
        return decode_file(row, read_into, start, frames)
    except Undecodable as reason:
        raise undecodable(corpus, i, str(reason)) from None


# ---------------------------------------------------------------- memory


class _Scratch(threading.local):
    buffer = bytearray()


_scratch = _Scratch()


def _whole(corpus: Corpus, i: int, size: int) -> memoryview:
    """The whole plaintext, in memory that this thread's next call reuses: fresh pages cost more than decryption."""
    if size > WHOLE:
        buffer = bytearray(size)
    else:
        if len(_scratch.buffer) < size:
            _scratch.buffer = bytearray(min(WHOLE, size + size // 4))
        buffer = _scratch.buffer
    return memoryview(buffer)[: corpus.read_into(i, buffer)]


def undecodable(corpus: Corpus, i: int, reason: str) -> SecuredataError:
    """The error for a row whose object is authentic, but not what the row says."""
    return _error(UndecodableMedia, corpus, i, reason)


def _error(kind: type[SecuredataError], corpus: Corpus, i: int, reason: str) -> SecuredataError:
    object_id = corpus.index.location(i).object_id
    name = object_id.hex()
    return kind(
        f"object {name} of {corpus.root} is authentic but cannot be decoded: {reason}; "
        f"'securedata info {corpus.name or corpus.root} --object {name}' shows which recording it is",
        root=corpus.root,
        object_id=object_id,
        path=corpus.index.path(i),
    )
