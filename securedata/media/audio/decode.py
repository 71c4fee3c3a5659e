"""From a file's bytes to samples, in memory only: float32 [frames, channels]."""

from __future__ import annotations

from typing import Any

import numpy as np
import soundfile

from securedata.media.audio.encodings import Floats
from securedata.media.audio.plan import Recording, block_bytes
from securedata.media.kept import KeptError, ReadInto
from securedata.media.reason import Undecodable

# Those that NumPy makes the same floats of as libsndfile, ten times faster: scaled by a power of two.
_NUMPY = {"PCM_16": ("<i2", 2.0**-15), "PCM_32": ("<i4", 2.0**-31), "FLOAT": ("<f4", 1.0), "DOUBLE": ("<f8", 1.0)}


def decode(recording: Recording, data: memoryview, whole: bool, start: int, frames: int) -> Floats:
    """Frames [start, start + frames) of the recording, out of what `plan` says that they need.

    Args:
        data: the bytes.
        whole: they are the whole file, not only the range.

    Returns:
        float32 [frames, channels], its own memory.

    Raises:
        Undecodable
    """
    block = block_bytes(recording)
    if block is None:
        return _decode(recording, KeptError.over(data), start, frames)
    if whole:
        at = (recording.data_offset or 0) + start * block
        data = data[at : at + frames * block]
    return _pcm(recording, data, frames)


def decode_file(recording: Recording, read_into: ReadInto, start: int, frames: int) -> Floats:
    """Like `decode`, out of a file of which the decoder reads what it needs.

    Raises:
        Undecodable, and what `read_into` raises.
    """
    return _decode(recording, KeptError(read_into, recording.size), start, frames)


def _pcm(recording: Recording, data: memoryview, frames: int) -> Floats:
    if recording.subtype in _NUMPY:
        kind, scale = _NUMPY[recording.subtype]
        flat: Floats = np.multiply(np.frombuffer(data, kind), np.float32(scale), dtype=np.float32)
        return flat.reshape(frames, recording.channels)
    raw = {
        "format": "RAW",
        "subtype": recording.subtype,
        "endian": "LITTLE",
        "samplerate": recording.sample_rate,
        "channels": recording.channels,
    }
    return _decode(recording, KeptError.over(data), 0, frames, raw)


def _decode(
    recording: Recording, file: KeptError, start: int, frames: int, raw: dict[str, Any] | None = None
) -> Floats:
    try:
        with soundfile.SoundFile(file, **(raw or {})) as audio:
            found = (audio.channels, audio.samplerate)
            if found != (recording.channels, recording.sample_rate) or audio.frames < start + frames:
                reason = f"it has {found[0]} channels, {found[1]} Hz and {audio.frames} frames"
            else:
                # mpg123 gives other last bits after a seek, and soundfile.read always seeks; else a seek is lost time
                if start or audio.format == "MP3":
                    audio.seek(start)
                out: Floats = np.empty((frames, recording.channels), np.float32)
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
    wanted = f"{recording.channels} channels, {recording.sample_rate} Hz and {recording.frames} frames"
    raise Undecodable(
        f"{reason}, where its row says {wanted}; the file was damaged before it was sealed, or this libsndfile "
        f"({soundfile.__libsndfile_version__}) cannot read it"
    )
