"""`securedata.load`: one recording by its URL, as torchaudio's load reads a file."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from securedata.corpus.reader import Corpus
from securedata.corpus.recordings.opened import with_corpus
from securedata.corpus.recordings.url import locate
from securedata.corpus.state.consent import as_purpose
from securedata.errors import InvalidArgument
from securedata.torch.decode import (
    decode_object,
    decode_piece,
    fetch_piece,
    open_object,
    piece_of,
    read_audio,
    span_of,
)


def load(
    uri: str | os.PathLike[str],
    frame_offset: int = 0,
    num_frames: int = -1,
    normalize: bool = True,
    channels_first: bool = True,
    format: str | None = None,
    buffer_size: int = 4096,
    backend: str | None = None,
    *,
    purpose: str | None = None,
) -> tuple[Tensor, int]:
    """Read a recording, or a part of it: a stand-in for `torchaudio.load`, whose arguments these are.

    Every failure raises; a result never has less audio than it should. Where the format allows it, only what the part
    needs is fetched and decrypted. A corpus is opened at its first use in a process, and again if a path is not in
    what was opened.

    Args:
        uri: `securedata://NAME/PATH`, with a name from the config; `securedata://PATH::ROOT`; or ROOT/PATH, where ROOT
            is the path or URL of a corpus that the config has. The path of a segment returns the segment.
        frame_offset: frames to skip at the beginning.
        num_frames: frames to read, at most; -1 for all.
        normalize: samples are always float32 in [-1, 1]; False is ignored with a warning, as in torchaudio.
        channels_first: [channels, frames] instead of [frames, channels].
        format, buffer_size, backend: ignored, as in torchaudio.
        purpose: what the recording is read for, such as 'asr'; None: from the config. Recordings without consent to it
            are not in what is opened.

    Returns:
        float32 [channels, frames], and the sample rate in Hz. An offset beyond the end returns no frames.

    Raises:
        InvalidArgument: no such URL; a negative offset.
        NoSuchPath, ConsentExpired, UndecodableMedia, and as `Corpus.read` and `open_corpus`.

    Example:
        waveform, sample_rate = sd.load("securedata://voice-a/ann/utt0.wav", frame_offset=800, num_frames=1600)
        assert waveform.shape == (1, 1600)
    """
    if not normalize:
        warnings.warn("normalize=False is ignored: samples are always float32 in [-1, 1]", UserWarning, stacklevel=2)
    if frame_offset < 0 or num_frames < -1:
        raise InvalidArgument(
            f"frame_offset={frame_offset}, num_frames={num_frames}: must be at least 0, and at least -1"
        )
    reference, path = locate(uri)
    if purpose is not None:
        reference = replace(reference, options={**reference.options, "purpose": as_purpose(purpose)})
    return with_corpus(reference, lambda corpus: _load(corpus, path, frame_offset, num_frames, channels_first))


def _load(corpus: Corpus, path: str, offset: int, count: int, channels_first: bool) -> tuple[Tensor, int]:
    i = corpus.find(path)
    row = read_audio(corpus, i)
    first, frames = span_of(row)
    start = first + min(offset, frames)
    frames = first + frames - start
    if count >= 0:
        frames = min(frames, count)
    if frames == 0:
        audio = np.zeros((0, row.channels), np.float32)
    elif (piece := piece_of(corpus, i, row, start, frames)) is not None:
        audio = decode_piece(corpus, row, piece, fetch_piece(corpus, row, piece), start, frames)
    else:
        with open_object(corpus, i, row) as file:
            audio = decode_object(corpus, i, row, file, start, frames)
    return torch.from_numpy(np.ascontiguousarray(audio.T) if channels_first else audio), row.sample_rate
