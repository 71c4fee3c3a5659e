"""From a sealed object to samples: fetch, decrypt and decode no more than what is asked for, in memory only.

PCM in a WAV is read by position. A compressed file of up to 4 MB is taken whole; of a larger one the decoder
gets what it asks for, through a read-ahead. Bytes, names and paths never reach an error's text.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import soundfile

from securedata.corpus.batch import Piece
from securedata.corpus.objectfile import ObjectFile
from securedata.corpus.reader import Corpus
from securedata.errors import MalformedManifest, SecuredataError, UndecodableMedia
from securedata.torch.resample import Floats

WHOLE = 4 * 1024 * 1024

# Encodings in which frame i stands at data_offset + i * channels * bytes; ingest gives a data_offset for these only.
_PCM_BYTES = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1}
# Those that NumPy makes the same floats of as libsndfile, ten times faster: scaled by a power of two.
_NUMPY = {"PCM_16": ("<i2", 2.0**-15), "PCM_32": ("<i4", 2.0**-31), "FLOAT": ("<f4", 1.0), "DOUBLE": ("<f8", 1.0)}


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

    @property
    def span(self) -> tuple[int, int]:
        """First frame and number of frames: of the segment, or of the whole recording."""
        if self.frames_in_segment is None:
            return 0, self.frames
        return self.start or 0, self.frames_in_segment


def read_row(corpus: Corpus, i: int) -> Row:
    """The row, checked for what no writer of ours writes.

    Raises:
        MalformedManifest
    """
    row = Row._make(corpus.index.values(Row._fields, i))
    start, frames = row.span
    if row.channels < 1 or row.sample_rate < 1 or start < 0 or frames < 1 or start + frames > row.frames:
        raise _error(
            MalformedManifest,
            corpus,
            i,
            f"its row has {row.channels} channels, {row.sample_rate} Hz and frames {start} to {start + frames} "
            f"of {row.frames}; it is no recording, or was written by a broken writer",
        )
    return row


def piece_of(corpus: Corpus, i: int, row: Row, start: int, frames: int) -> Piece | None:
    """What of the object these frames need; None for a part of a large compressed file, which the decoder asks for.

    Raises:
        MalformedManifest
    """
    block = _block(row)
    if block is None:
        return Piece(i) if row.size <= WHOLE or frames == row.frames else None
    at, length = (row.data_offset or 0) + start * block, frames * block
    if at < 0 or at + length > row.size:
        raise _error(MalformedManifest, corpus, i, f"its row puts samples at byte {at + length} of {row.size}")
    return Piece(i) if frames == row.frames else Piece(i, at, length)


def fetch_piece(corpus: Corpus, row: Row, piece: Piece) -> memoryview:
    """The plaintext of a piece; of a whole object, in memory that this thread's next call reuses.

    Raises:
        as `Corpus.read`
    """
    if piece.length is None:
        return _whole(corpus, piece.i, row.size)
    return memoryview(corpus.read_range(piece.i, piece.offset, piece.length))


def decode_piece(corpus: Corpus, row: Row, piece: Piece, data: memoryview, start: int, frames: int) -> Floats:
    """Frames [start, start + frames) of the recording, out of what was fetched as `piece_of` says.

    Returns:
        float32 [frames, channels], its own memory.

    Raises:
        UndecodableMedia
    """
    block = _block(row)
    if block is None:
        return _decode(corpus, piece.i, row, _File.over(data), start, frames)
    if piece.length is None:
        at = (row.data_offset or 0) + start * block
        data = data[at : at + frames * block]
    return _pcm(corpus, piece.i, row, data, frames)


def decode_file(corpus: Corpus, i: int, row: Row, file: ObjectFile, start: int, frames: int) -> Floats:
    """Like `decode_piece`, out of a large compressed file, of which the decoder reads what it needs.

    Raises:
        UndecodableMedia, and as `Corpus.read`
    """
    return _decode(corpus, i, row, _File.reading(file), start, frames)


# ---------------------------------------------------------------- PCM


def _block(row: Row) -> int | None:
    """Bytes of a frame, where frames are evenly spaced bytes."""
    width = _PCM_BYTES.get(row.subtype)
    return width * row.channels if row.data_offset is not None and width is not None else None


def _pcm(corpus: Corpus, i: int, row: Row, data: memoryview, frames: int) -> Floats:
    if row.subtype in _NUMPY:
        kind, scale = _NUMPY[row.subtype]
        flat: Floats = np.multiply(np.frombuffer(data, kind), np.float32(scale), dtype=np.float32)
        return flat.reshape(frames, row.channels)
    raw = {
        "format": "RAW",
        "subtype": row.subtype,
        "endian": "LITTLE",
        "samplerate": row.sample_rate,
        "channels": row.channels,
    }
    return _decode(corpus, i, row, _File.over(data), 0, frames, raw)


# ---------------------------------------------------------------- libsndfile


def _decode(
    corpus: Corpus, i: int, row: Row, file: _File, start: int, frames: int, raw: dict[str, Any] | None = None
) -> Floats:
    try:
        with soundfile.SoundFile(file, **(raw or {})) as audio:
            found = (audio.channels, audio.samplerate)
            if found != (row.channels, row.sample_rate) or audio.frames < start + frames:
                reason = f"it has {found[0]} channels, {found[1]} Hz and {audio.frames} frames"
            else:
                # mpg123 gives other last bits after a seek, and soundfile.read always seeks; else a seek is lost time
                if start or audio.format == "MP3":
                    audio.seek(start)
                out: Floats = np.empty((frames, row.channels), np.float32)
                done = len(audio.read(out=out))
                if done == frames:
                    return out
                reason = f"only {done} frames from {start} on can be read"
    except soundfile.SoundFileError as error:
        # error_string alone: the whole text names the file object
        reason = str(getattr(error, "error_string", type(error).__name__)).strip().rstrip(".")
    except MemoryError:
        reason = f"{frames} frames do not fit into memory"
    if file.error is not None:
        raise file.error
    wanted = f"{row.channels} channels, {row.sample_rate} Hz and {row.frames} frames"
    raise _error(
        UndecodableMedia,
        corpus,
        i,
        f"{reason}, where its row says {wanted}; the file was damaged before it was sealed, or this libsndfile "
        f"({soundfile.__libsndfile_version__}) cannot read it",
    )


class _File:
    """What libsndfile reads from. It calls back from C, where an exception would be printed and lost: it is kept."""

    def __init__(self, read_at: Callable[[int, Any], int], size: int) -> None:
        """`read_at` fills a buffer from a position on, and returns how many bytes there were."""
        self._read_at = read_at
        self._size = size
        self._at = 0
        self.error: BaseException | None = None

    @classmethod
    def over(cls, data: memoryview) -> _File:
        """Bytes as a file, without the copy that io.BytesIO makes."""

        def read_at(at: int, buffer: Any) -> int:
            piece = data[at : at + len(buffer)]
            buffer[: len(piece)] = piece
            return len(piece)

        return cls(read_at, len(data))

    @classmethod
    def reading(cls, file: ObjectFile) -> _File:
        """A sealed object as a file, decrypted where it is read."""

        def read_at(at: int, buffer: Any) -> int:
            file.seek(at)
            return file.readinto(buffer)

        return cls(read_at, file.size)

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        # a damaged file sends decoders before its beginning
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        done = 0
        if self.error is None:
            try:
                done = self._read_at(self._at, buffer)
            except BaseException as error:  # noqa: BLE001 - raised by _decode, once C has returned
                self.error = error
        self._at += done
        return done


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


def _error(kind: type[SecuredataError], corpus: Corpus, i: int, reason: str) -> SecuredataError:
    object_id = corpus.index.location(i).object_id
    name = object_id.hex()
    return kind(
        f"object {name} of {corpus.root} is authentic and cannot be decoded: {reason}; "
        f"'securedata info {corpus.name or corpus.root} --object {name}' shows which recording it is",
        root=corpus.root,
        object_id=object_id,
        path=corpus.index.path(i),
    )
