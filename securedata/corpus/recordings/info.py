"""`securedata.info`: what is known of a recording without reading it, as torchaudio's info says it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import NamedTuple

from securedata.corpus.reader import Corpus
from securedata.corpus.recordings.opened import with_corpus
from securedata.corpus.recordings.url import locate
from securedata.corpus.state.consent import as_purpose
from securedata.errors import UndecodableMedia
from securedata.media.audio.encodings import bits_of, encoding_of

_COLUMNS = ("format", "subtype", "sample_rate", "channels", "frames", "frames_in_segment")


class AudioMetadata(NamedTuple):
    """What `info` says, with the fields of torchaudio's `AudioMetaData`.

    Attributes:
        sample_rate: Hz.
        num_frames: of the recording, or of its segment.
        num_channels: at least 1.
        bits_per_sample: 0 if the encoding has no fixed number of them, as in MP3.
        encoding: torchaudio's name, such as PCM_S, PCM_U, PCM_F, FLAC, MP3, VORBIS, OPUS, ULAW, ALAW; of other
            encodings libsndfile's or FFmpeg's name.
    """

    sample_rate: int
    num_frames: int
    num_channels: int
    bits_per_sample: int
    encoding: str


def info(uri: str | os.PathLike[str], *, purpose: str | None = None) -> AudioMetadata:
    """The rate, length, channels and encoding of a recording, as `torchaudio.info` returned them up to version 2.8.

    They are in the manifest: the first call for a corpus opens it, and no recording is fetched or decrypted.

    Args:
        uri: as `load` takes it.
        purpose: what the recording is read for, as in `load`.

    Raises:
        InvalidArgument: no such URL.
        UndecodableMedia: the file is not a recording.
        NoSuchPath, and as `open_corpus`.

    Example:
        about = sd.info("securedata://voice-a/ann/utt0.wav")
        assert about.num_frames / about.sample_rate > 0.1
    """
    reference, path = locate(uri)
    if purpose is not None:
        reference = replace(reference, options={**reference.options, "purpose": as_purpose(purpose)})
    return with_corpus(reference, lambda corpus: _of_row(corpus, path))


def _of_row(corpus: Corpus, path: str) -> AudioMetadata:
    snapshot = corpus.snapshot
    i = snapshot.find(path)
    format, subtype, rate, channels, frames, in_segment = snapshot.index.values(_COLUMNS, i)
    if rate < 1 or channels < 1:
        raise UndecodableMedia(
            f"object {snapshot.index.location(i).object_id.hex()} of {corpus.root} is not a recording",
            root=corpus.root,
            path=path,
        )
    count = frames if in_segment is None else in_segment
    return AudioMetadata(rate, count, channels, bits_of(subtype), encoding_of(format, subtype))
