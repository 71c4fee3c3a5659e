"""`securedata.load`: one recording by its URL, as torchaudio's load reads a file."""

from __future__ import annotations

import os
import threading
import time
import unicodedata
import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from securedata.corpus.config import SCHEME, Reference, resolve
from securedata.corpus.opening import open_corpus
from securedata.corpus.reader import Corpus
from securedata.corpus.state.consent import as_purpose
from securedata.errors import ConsentExpired, InvalidArgument, NoSuchPath, RowReplaced, SubjectRestricted
from securedata.torch.decode import (
    AudioRow,
    decode_object,
    decode_piece,
    fetch_piece,
    open_object,
    piece_of,
    read_audio,
    span_of,
)

_LOOK_AGAIN = 10.0
"""Seconds after which a path that is missing or replaced makes `load` look for a newer head."""


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
        uri: `securedata://NAME/PATH`, with a name from the config. The path of a segment returns the segment.
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
    reference, path = _parse(os.fspath(uri))
    if purpose is not None:
        reference = replace(reference, options={**reference.options, "purpose": as_purpose(purpose)})
    opened = _opened(reference)
    try:
        return _load(opened.corpus, path, frame_offset, num_frames, channels_first)
    except (NoSuchPath, RowReplaced, ConsentExpired, SubjectRestricted):
        newer = _opened(reference, than=opened)
        if newer is opened:
            raise
    return _load(newer.corpus, path, frame_offset, num_frames, channels_first)


def _parse(uri: str) -> tuple[Reference, str]:
    name, _, path = uri.removeprefix(SCHEME).partition("/")
    if not uri.startswith(SCHEME) or not name or not path:
        raise InvalidArgument("load() reads securedata://NAME/PATH only, with a name from the config")
    return resolve(SCHEME + name), unicodedata.normalize("NFC", path)


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


# ---------------------------------------------------------------- opened corpora


class _Opened(NamedTuple):
    """A corpus that is never refreshed, so that its rows keep their numbers, and when it was opened."""

    corpus: Corpus
    at: float


_corpora: dict[object, _Opened] = {}
_lock = threading.Lock()


def _opened(reference: Reference, than: _Opened | None = None) -> _Opened:
    """The corpus as this process has it open; opened again if that is `than`, unless `than` is only seconds old."""
    key = (reference.root, reference.kms, reference.pins, tuple(sorted(reference.options.items())))
    found = _corpora.get(key)
    if found is not None and (found is not than or time.monotonic() - found.at < _LOOK_AGAIN):
        return found
    with _lock:
        if _corpora.get(key) is not found:  # another thread has just opened it
            return _corpora[key]
        _corpora[key] = _Opened(open_corpus(reference, columns=AudioRow._fields), time.monotonic())
        return _corpora[key]


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread may have held it


os.register_at_fork(after_in_child=_after_fork)
