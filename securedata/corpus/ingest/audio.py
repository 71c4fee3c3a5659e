"""What an audio file says about itself, read from its header.

Opened the way training opens it, by libsndfile on a descriptor or on bytes, never by name: what is sealed here can be
decoded there, and no file name gets into an error text.

A file that ends before its header says it does is refused where that can be seen without decoding all of it:

- WAV, RF64: the data chunk reaches beyond the end of the file (the placeholders of writers that could not seek back are
  not taken for a length: then the recording is what the file holds);
- FLAC: its last frame cannot be read;
- MP3 with a Xing or Info header: that header counts more bytes than there are, by more than one frame.

It cannot be seen for Ogg (Vorbis, Opus) or for an MP3 without such a header: cut off, they are valid files of a shorter
recording. Damage in the middle of a file shows at decoding only. libsndfile estimates the length of a VBR MP3 without a
Xing header, and reads no further than that estimate.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from typing import Any, NamedTuple

import soundfile

from securedata.errors import UndecodableMedia
from securedata.format.cobblestone import Buffer

# Sample encodings in which every frame has the same number of bytes, with their bytes per sample.
_SAMPLE_BYTES = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1}
_WAV_FORMATS = ("WAV", "WAVEX", "RF64")

# Data chunk lengths that mean 'unknown': what ffmpeg and sox write into a pipe, and a header never completed.
_UNKNOWN_LENGTHS = (0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
_MAX_CHUNKS = 1000  # before the data chunk; a real file has a handful
_MAX_MP3_FRAME = 1441  # bytes: Layer III at 320 kbit/s and 32 kHz, padded
_UNKNOWN_FRAMES = 2**62  # libsndfile says 2**63 - 1 for a FLAC whose header gives no length

_ReadAt = Callable[[int, int], bytes]  # (offset, at most this many bytes)


class AudioInfo(NamedTuple):
    """What the header says.

    Attributes:
        format, subtype: libsndfile's names, such as 'WAV' and 'PCM_16', 'OGG' and 'OPUS'.
        sample_rate: Hz.
        channels, frames: at least 1 each.
        data_offset: position of the first PCM byte, so that a crop of a WAV is one range: frame i stands at
            data_offset + i * channels * bytes per sample. None where frames are not evenly spaced bytes.
    """

    format: str
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    data_offset: int | None


class _WavData(NamedTuple):
    offset: int
    length: int  # as the header says, or what the file holds where the header does not know


def probe(source: str | os.PathLike[str] | bytes | bytearray | memoryview, *, path: str | None = None) -> AudioInfo:
    """Read the header of a file, or of a file's bytes (a bytearray or memoryview is copied once).

    Args:
        source: path of the file, or its content.
        path: the logical path, for the error's attribute.

    Raises:
        UndecodableMedia: cannot be read, is no audio, holds no frame, or was cut off.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        view = memoryview(source).cast("B")
        return _probe(io.BytesIO(source), lambda offset, n: bytes(view[offset : offset + n]), len(view), path)
    try:
        # O_NONBLOCK: a named pipe among the recordings must not stop the whole ingest.
        descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise UndecodableMedia(f"the file cannot be opened: {error.strerror}", path=path) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UndecodableMedia("not a regular file", path=path)
        return _probe(descriptor, lambda offset, n: os.pread(descriptor, n, offset), status.st_size, path)
    except OSError as error:
        raise UndecodableMedia(f"the file cannot be read: {error.strerror}", path=path) from None
    finally:
        os.close(descriptor)


def probe_ranges(read_at: Callable[[int, int], Buffer], size: int, *, path: str | None = None) -> AudioInfo:
    """Read the header of a file that is elsewhere, by ranges.

    Args:
        read_at: gives bytes by (offset, length), of which the file holds as many; what it raises goes to the caller.
        size: bytes of the file.

    Raises:
        UndecodableMedia: as `probe`.
    """
    file = _RangeFile(read_at, size)
    try:
        found = _probe(file, file.read_at, size, path)
    except UndecodableMedia:
        # libsndfile is called back in C, where an exception cannot pass: it sees an end of file
        if file.failure is not None:
            raise file.failure from None
        raise
    if file.failure is not None:
        raise file.failure
    return found


class _RangeFile(io.RawIOBase):
    """A file in blocks, the last few of which are kept: libsndfile reads few bytes at a time, and goes back."""

    BLOCK = 1024 * 1024
    KEPT = 4

    def __init__(self, read_at: Callable[[int, int], Buffer], size: int) -> None:
        self._read_at, self._size, self._at = read_at, size, 0
        self._blocks: dict[int, bytes] = {}
        self.failure: Exception | None = None

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from `offset`, fewer where the file ends."""
        end = min(offset + length, self._size)
        found = bytearray()
        while offset < end:
            number, start = divmod(offset, self.BLOCK)
            found += self._block(number)[start : start + end - offset]
            offset = number * self.BLOCK + self.BLOCK
        return bytes(found)

    def _block(self, number: int) -> bytes:
        block = self._blocks.pop(number, None)
        if block is None:
            at = number * self.BLOCK
            block = bytes(self._read_at(at, min(self.BLOCK, self._size - at)))
            while len(self._blocks) >= self.KEPT:
                del self._blocks[next(iter(self._blocks))]
        self._blocks[number] = block
        return block

    def readinto(self, target: Any) -> int:
        if self.failure is not None:
            return 0
        try:
            found = self.read_at(self._at, len(target))
        except Exception as error:  # noqa: BLE001 - for the caller of libsndfile, which would only print it
            self.failure = error
            return 0
        target[: len(found)] = found
        self._at += len(found)
        return len(found)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _probe(file: int | io.BytesIO | _RangeFile, read_at: _ReadAt, size: int, path: str | None) -> AudioInfo:
    if size == 0:
        raise UndecodableMedia("the file is empty", path=path)
    wav = _wav_data(read_at, size)
    missing = _mp3_missing(read_at, size) if wav is None else max(0, wav.offset + wav.length - size)
    if missing:
        raise UndecodableMedia(f"cut off: {missing} bytes that its header counts are missing; copy it again", path=path)
    try:
        with soundfile.SoundFile(file, closefd=False) as audio:
            frames = int(audio.frames)
            if frames >= _UNKNOWN_FRAMES:
                raise UndecodableMedia(
                    "its header does not say how long it is (written into a pipe?), so libsndfile cannot decode it; "
                    "encode it anew",
                    path=path,
                )
            if frames <= 0 or audio.samplerate <= 0 or audio.channels <= 0:
                raise UndecodableMedia("the recording has no frames", path=path)
            if audio.format == "FLAC" and not _last_frame_reads(audio):
                reason = f"cut off: the last of its {frames} frames cannot be read; copy it again"
                raise UndecodableMedia(reason, path=path)
            info = AudioInfo(audio.format, audio.subtype, audio.samplerate, audio.channels, frames, None)
    except soundfile.LibsndfileError as error:
        # error_string alone: str(error) names the file.
        reason = error.error_string.strip().rstrip(".")
        raise UndecodableMedia(f"no audio that libsndfile can decode ({reason})", path=path) from None
    return info._replace(data_offset=_data_offset(info, wav))


def _last_frame_reads(audio: soundfile.SoundFile) -> bool:
    """libsndfile decodes the frame that it seeks to; soundfile's `read` would seek three times more."""
    last = int(audio.frames) - 1
    try:
        return int(audio.seek(last)) == last
    except soundfile.LibsndfileError:
        return False


def _data_offset(info: AudioInfo, wav: _WavData | None) -> int | None:
    """The data chunk's offset, if all that libsndfile decodes are the frames of this chunk."""
    width = _SAMPLE_BYTES.get(info.subtype)
    if wav is None or width is None or info.format not in _WAV_FORMATS:
        return None
    return wav.offset if wav.length // (width * info.channels) == info.frames else None


def _wav_data(read_at: _ReadAt, size: int) -> _WavData | None:
    """Where the samples of a little-endian WAV stand; None for anything else (RIFX is big-endian)."""
    head = read_at(0, 12)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
        return None
    position, long_length = 12, 0
    for _ in range(_MAX_CHUNKS):
        chunk = read_at(position, 8)
        if len(chunk) < 8:
            return None
        name, length = chunk[:4], int.from_bytes(chunk[4:], "little")
        if name == b"data":
            if head[:4] == b"RF64" and length == 0xFFFFFFFF:
                length = long_length
            offset = position + 8
            return _WavData(offset, size - offset if length in _UNKNOWN_LENGTHS else length)
        if name == b"ds64":
            long_length = int.from_bytes(read_at(position + 16, 8), "little")
        position += 8 + length + (length & 1)
    return None


def _mp3_missing(read_at: _ReadAt, size: int) -> int:
    """Bytes that the Xing or Info header of an MP3 counts beyond the end of the file, if more than a frame; else 0."""
    start = 0
    tag = read_at(0, 10)
    if tag[:3] == b"ID3" and len(tag) == 10:
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
    frame = read_at(start, 64)
    if len(frame) < 64 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return 0
    # The header follows the side information, whose length depends on version, channels and CRC: 9 to 34 bytes.
    at = max(frame.find(b"Xing", 4, 48), frame.find(b"Info", 4, 48))
    if at < 0 or not frame[at + 7] & 2:  # flag 2: a byte count, after the frame count if flag 1
        return 0
    counted_at = at + 8 + (4 if frame[at + 7] & 1 else 0)
    missing = start + int.from_bytes(frame[counted_at : counted_at + 4], "big") - size
    return missing if missing > _MAX_MP3_FRAME else 0
