"""From a file's bytes to samples, in memory only: float32 [frames, channels]."""

from __future__ import annotations

from typing import Any

import numpy as np
import soundfile

from securedata.media.audio import ffmpeg
from securedata.media.audio.encodings import Floats, is_header_wrong
from securedata.media.audio.plan import Recording, block_bytes
from securedata.media.audio.sniff import EMPTY_TAG, By, Kind, sniff, wants_tag
from securedata.media.kept import KeptError, ReadInto
from securedata.media.quiet import c_quiet
from securedata.media.reason import Undecodable

# Encodings scaled by a power of two, which NumPy converts to the same floats as libsndfile, ten times faster.
_SCALES = {"PCM_16": ("<i2", 2.0**-15), "PCM_32": ("<i4", 2.0**-31), "FLOAT": ("<f4", 1.0), "DOUBLE": ("<f8", 1.0)}
_NUMPY = {name: (np.dtype(kind), np.float32(scale)) for name, (kind, scale) in _SCALES.items()}
_FLOAT = np.dtype(np.float32)

_DROPPED = 65_536  # frames at once


def decode(recording: Recording, data: memoryview, whole: bool, start: int, frames: int) -> Floats:
    """Frames [start, start + frames) of the recording, from the bytes that `plan` says they need.

    Args:
        data: the bytes.
        whole: whether they are the whole file, not only the range.

    Returns:
        float32 [frames, channels], its own memory.

    Raises:
        Undecodable
    """
    block = block_bytes(recording)
    if block is None:
        return _compressed(recording, KeptError.over(data), start, frames)
    if whole:
        at = (recording.data_offset or 0) + start * block
        data = data[at : at + frames * block]
    return _pcm(recording, data, frames)


def decode_file(recording: Recording, read_into: ReadInto, start: int, frames: int) -> Floats:
    """Like `decode`, from a file of which the decoder reads what it needs.

    Raises:
        Undecodable, and what `read_into` raises.
    """
    return _compressed(recording, KeptError(read_into, recording.size), start, frames)


def _compressed(recording: Recording, file: KeptError, start: int, frames: int) -> Floats:
    kind = sniff(file.read_at)  # not the row's format: the bytes choose the decoder, as at ingest
    if kind is not None and kind.by is By.FFMPEG:
        return _by_ffmpeg(kind, recording, file, start, frames)
    if wants_tag(kind, file.read_at):
        file.put_in_front(EMPTY_TAG)
    if not recording.subtype.startswith("MPEG"):
        return _decode(recording, file, start, frames)
    with c_quiet:  # mpg123 complains about the first frames after a seek, which are dropped
        return _decode(recording, file, start, frames)


def _by_ffmpeg(kind: Kind, recording: Recording, file: KeptError, start: int, frames: int) -> Floats:
    rate, channels = recording.sample_rate, recording.channels
    try:
        return ffmpeg.decode(kind, file.read_at, recording.size, start, frames, rate, channels)
    except Undecodable as error:
        raise Undecodable(
            f"{error}, where its row says {_wanted(recording)}; the file was damaged before it was sealed, or this "
            "FFmpeg cannot read it"
        ) from None


def _wanted(recording: Recording) -> str:
    return f"{recording.channels} channels, {recording.sample_rate} Hz and {recording.frames} frames"


def _pcm(recording: Recording, data: memoryview, frames: int) -> Floats:
    if recording.subtype in _NUMPY:
        kind, scale = _NUMPY[recording.subtype]
        flat: Floats = np.multiply(np.frombuffer(data, kind), scale, dtype=_FLOAT)
        return flat.reshape(frames, recording.channels)
    raw = {
        "format": "RAW",
        "subtype": recording.subtype,
        "endian": "LITTLE",
        "samplerate": recording.sample_rate,
        "channels": recording.channels,
    }
    return _decode(recording, KeptError.over(data), 0, frames, raw)


def _part(recording: Recording, audio: soundfile.SoundFile, start: int, frames: int) -> Floats:
    """These frames exactly as in the whole recording, even if a decoder that begins elsewhere returns others."""
    if not audio.seekable():
        return _onward(audio, start, frames, recording.channels)
    if is_header_wrong(audio.format, audio.subtype):
        return _read(audio, start + frames, recording.channels)[start:]  # soundfile seeks after each read
    if recording.subtype == "MPEG_LAYER_III":
        # mpg123 returns different last bits after a seek, so whole recordings are also read after one
        lead = mp3_lead(recording.sample_rate, start)
        audio.seek(start - lead)
        return _read(audio, lead + frames, recording.channels)[lead:]
    if recording.subtype == "VORBIS" and start:
        return _vorbis(recording, audio, start, frames)
    if start:
        audio.seek(start)
    return _read(audio, frames, recording.channels)


def mp3_lead(rate: int, start: int) -> int:
    """How many frames before `start` decoding an MP3 must begin: all that the bit reservoir can reach, and more.

    A frame of Layer III takes bits from up to 511 bytes before it, in MPEG-2 from 255, which are at most 29 of the
    smallest frames. The filter bank repeats every 8 frames, so a multiple of 8 also returns the same last bits, unless
    the encoder's delay shifts it; then they differ by float32's rounding.
    """
    length = 1152 if rate >= 32_000 else 576
    return start - max(0, (start - 29 * length) // (8 * length) * 8 * length)


_FROM_START = 600
"""Seconds up to which Vorbis is decoded from its beginning, at 15 ms per minute."""
_APART = 20
"""Seconds between two seeks in longer ones: more than a page of Ogg holds at any usual bit rate."""


def _vorbis(recording: Recording, audio: soundfile.SoundFile, start: int, frames: int) -> Floats:
    """libsndfile's seek in Vorbis sometimes misses by some hundred frames, depending on where the pages begin.

    Short recordings are decoded from the beginning. In long ones two seeks to different pages must return the same
    frames; if they do not, these are decoded from the beginning as well.
    """
    rate = recording.sample_rate
    if start > _FROM_START * rate:
        audio.seek(start - rate)
        near = _onward(audio, rate, frames, recording.channels)
        audio.seek(start - _APART * rate)
        far = _onward(audio, _APART * rate, frames, recording.channels)
        if np.array_equal(near, far):
            return near
        audio.seek(0)
    return _onward(audio, start, frames, recording.channels)


def _onward(audio: soundfile.SoundFile, skip: int, frames: int, channels: int) -> Floats:
    """The frames after the next `skip` frames, which are decoded and dropped."""
    dropped: Floats = np.empty((min(skip, _DROPPED), channels), np.float32)
    while skip > 0:
        done = len(audio.read(out=dropped[:skip]))
        if done == 0:
            return dropped[:0]
        skip -= done
    return _read(audio, frames, channels)


def _read(audio: soundfile.SoundFile, frames: int, channels: int) -> Floats:
    out: Floats = np.empty((frames, channels), np.float32)
    found: Floats = audio.read(out=out)
    return found


def _decode(
    recording: Recording, file: KeptError, start: int, frames: int, raw: dict[str, Any] | None = None
) -> Floats:
    try:
        with soundfile.SoundFile(file, **(raw or {})) as audio:
            found = (audio.channels, audio.samplerate)
            if audio.format == "SD2":
                reason = (
                    "libsndfile takes it for SD2 because of the file '._' in the working directory: remove that file"
                )
            elif found != (recording.channels, recording.sample_rate) or audio.frames < start + frames:
                reason = f"it has {found[0]} channels, {found[1]} Hz and {audio.frames} frames"
            else:
                out = _part(recording, audio, start, frames)
                done = len(out)
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
    raise Undecodable(
        f"{reason}, where its row says {_wanted(recording)}; the file was damaged before it was sealed, or this "
        f"libsndfile ({soundfile.__libsndfile_version__}) cannot read it"
    )
