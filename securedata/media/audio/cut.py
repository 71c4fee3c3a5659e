"""A part of a recording as a file of its own: a WAV that decodes to exactly the samples of that part.

PCM is copied; a losslessly compressed recording is written again as integers, each of which is checked. What a lossy
decoder returns is written as floats, unchanged.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from securedata.media.audio.decode import decode_file
from securedata.media.audio.encodings import SAMPLE_BYTES, Floats
from securedata.media.audio.plan import Recording, block_bytes
from securedata.media.audio.probe import AudioInfo
from securedata.media.blocks import Bytes
from securedata.media.reason import Undecodable

PIECE = 4 * 1024 * 1024
"""Bytes copied at once."""
_BLOCK = 2**19  # samples decoded at once, if a decoder returns the same samples wherever it begins

ReadAt = Callable[[int, int], Bytes]  # (offset, length) of the recording's file

# These decode to integers; the value is the WAV's name for integers of that size.
_WHOLE = {"PCM_S8": "PCM_U8", "PCM_U8": "PCM_U8", "PCM_16": "PCM_16", "PCM_24": "PCM_24"}
_WHOLE |= {"ULAW": "PCM_16", "ALAW": "PCM_16"}
_BITS = {"PCM_U8": 8, "PCM_16": 16, "PCM_24": 24}
_TAGS = {"FLOAT": 3, "DOUBLE": 3, "ALAW": 6, "ULAW": 7}
_LARGEST = 2**32 - 1


class Cut(NamedTuple):
    """The file that a part becomes.

    Attributes:
        header: its bytes before the samples.
        size: all of its bytes.
        info: what probing it returns.
    """

    header: bytes
    size: int
    info: AudioInfo


def cut_of(info: AudioInfo, frames: int) -> Cut:
    """The file for `frames` frames of a recording."""
    copied = info.data_offset is not None
    subtype = info.subtype if copied else _WHOLE.get(info.subtype, "FLOAT")
    rate, channels = info.sample_rate, info.channels
    length = frames * channels * SAMPLE_BYTES[subtype]
    header, format = _header(subtype, rate, channels, frames, length)
    cut = AudioInfo(format, subtype, rate, channels, frames, len(header))
    return Cut(header, len(header) + length + length % 2, cut)


def memory(info: AudioInfo, frames: int) -> int:
    """The most bytes of memory that samples take while `frames` frames of a recording are cut out."""
    if info.data_offset is not None:
        return PIECE
    samples = frames * info.channels
    return 4 * 4 * min(samples, _BLOCK) if info.subtype in _WHOLE else 3 * 4 * samples


def pieces(cut: Cut, recording: Recording, read_at: ReadAt, start: int) -> Iterator[bytes]:
    """The bytes of the file that holds `cut.info.frames` frames of a recording, from `start` on.

    PCM and FLAC are read in pieces. A part of a lossy recording is decoded at once, as in training: a decoder that
    begins elsewhere returns different last bits.

    Raises:
        Undecodable, and what `read_at` raises.
    """
    yield cut.header
    left = cut.size - len(cut.header)
    for piece in _samples(cut, recording, read_at, start):
        left -= len(piece)
        yield piece
    if left == 1:  # a chunk has an even number of bytes
        yield b"\0"
    elif left:
        raise Undecodable("the file ends before the samples that its header counts")


def _samples(cut: Cut, recording: Recording, read_at: ReadAt, start: int) -> Iterator[bytes]:
    frames, block = cut.info.frames, block_bytes(recording)
    if block is not None:
        at = (recording.data_offset or 0) + start * block
        end = at + frames * block
        while at < end and (copied := read_at(at, min(PIECE, end - at))):
            at += len(copied)
            yield bytes(copied)
        return
    if recording.subtype not in _WHOLE:
        yield _decoded(recording, read_at, start, frames).tobytes()
        return
    step = max(1, _BLOCK // recording.channels)
    for done in range(0, frames, step):
        part = _decoded(recording, read_at, start + done, min(step, frames - done))
        yield _whole_numbers(part, cut.info.subtype)


def _decoded(recording: Recording, read_at: ReadAt, start: int, frames: int) -> Floats:
    def read_into(at: int, buffer: Any) -> int:
        piece = read_at(at, len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    return decode_file(recording, read_into, start, frames)


def _whole_numbers(floats: Floats, subtype: str) -> bytes:
    """Samples as PCM.

    Raises:
        Undecodable: reading them back would not return the same bits.
    """
    bits = _BITS[subtype]
    whole = (floats * np.float32(2.0 ** (bits - 1))).astype(np.int32)
    again = whole.astype(np.float32) * np.float32(2.0 ** (1 - bits))
    if not np.array_equal(again.view(np.uint32), floats.view(np.uint32)):
        raise Undecodable(f"its samples are not integers of {bits} bits, as its header says")
    if bits == 8:
        return (whole + 128).astype(np.uint8).tobytes()
    if bits == 16:
        return whole.astype("<i2").tobytes()
    return np.ascontiguousarray(whole.astype("<i4")).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def _header(subtype: str, rate: int, channels: int, frames: int, length: int) -> tuple[bytes, str]:
    """The header of a WAV, or of an RF64 if the length does not fit, and the name of the format used."""
    tag, width = _TAGS.get(subtype, 1), SAMPLE_BYTES[subtype]
    block = width * channels
    form = struct.pack("<HHIIHH", tag, channels, rate, min(rate * block, _LARGEST), block, 8 * width)
    if tag != 1:
        form += bytes(2)  # no further fields
    chunks = _chunk(b"fmt ", form)
    if tag != 1:
        chunks += _chunk(b"fact", struct.pack("<I", min(frames, _LARGEST)))
    riff = 4 + len(chunks) + 8 + length + length % 2
    if riff <= _LARGEST:
        return b"RIFF" + struct.pack("<I", riff) + b"WAVE" + chunks + b"data" + struct.pack("<I", length), "WAV"
    long = _chunk(b"ds64", struct.pack("<QQQI", riff + 36, length, frames, 0))
    unknown = struct.pack("<I", _LARGEST)
    return b"RF64" + unknown + b"WAVE" + long + chunks + b"data" + unknown, "RF64"


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content
