"""What an audio file says about itself, read from its header.

A file is opened as in training, by libsndfile on a descriptor or on bytes, never by name: what is sealed here can be
decoded there, and no file name gets into an error text.

A file that ends earlier than its header says is refused if that can be seen without decoding all of it:

- WAV, RF64: the data chunk reaches beyond the end of the file (the placeholders of writers that could not seek back are
  not a length: then the recording is what the file holds);
- AIFF, AU, CAF, NIST, RIFX, SVX, VOC, W64: the same (an AU with more samples than it counts is refused too);
- FLAC: its last frame cannot be read (one with audio after it, by a wrong header or joined files, is refused too);
- MP3 with a Xing or Info header: that header counts more bytes than there are, by more than one frame.

It cannot be seen for Ogg (Vorbis, Opus) or for an MP3 without such a header: cut off, they are valid files of a shorter
recording. Damage in the middle of files other than Ogg shows only in decoding.

The frames are those that libsndfile decodes. It trusts the header of an MP3, guesses without one, and reads no further:
so the frames of each MP3 are counted (in a WAV too, and of Layer II), decoded if the header counts others, and the file
is refused if libsndfile would leave some out. Several Ogg recordings in one file (chained), of which libsndfile reads
the first, are refused too, and an Ogg with a missing or damaged page, where libsndfile stops. For formats whose headers
or seeks libsndfile misreads (PAF, SDS, DWVW) frames are decoded; bytes after the samples of a W64, SVX or VOC, which
libsndfile would read, are left out.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import soundfile

from securedata.media.audio import ffmpeg, flac, lengths, mp3, ogg
from securedata.media.audio.encodings import SAMPLE_BYTES, is_header_wrong
from securedata.media.audio.sniff import EMPTY_TAG, By, Kind, sniff, wants_tag
from securedata.media.audio.wav import BLOCK_CODED, WavData, coded_frames, wav_data
from securedata.media.blocks import Blocks, Bytes
from securedata.media.kept import KeptError
from securedata.media.quiet import c_quiet
from securedata.media.reason import Undecodable

_WAV_FORMATS = ("WAV", "WAVEX", "RF64")
_MANY = 4096  # bytes: fewer than this after a header are tags and padding
_WIDTHS = SAMPLE_BYTES | {"PCM_S8": 1}
_UNKNOWN_FRAMES = 2**62  # libsndfile returns 2**63 - 1 for a FLAC whose header has no length

_ReadAt = Callable[[int, int], bytes]  # (offset, at most this many bytes)


class AudioInfo(NamedTuple):
    """What the header says.

    Attributes:
        format, subtype: libsndfile's names, such as 'WAV' and 'PCM_16', 'OGG' and 'OPUS'; if FFmpeg decodes it, the
            container's name in `sniff` and FFmpeg's name of the codec, such as 'MP4' and 'AAC'.
        sample_rate: Hz.
        channels, frames: at least 1 each.
        data_offset: position of the first PCM byte, so that a crop of a WAV is one range: frame i begins at
            data_offset + i * channels * bytes per sample. None if frames are not evenly spaced bytes.
    """

    format: str
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    data_offset: int | None


NO_AUDIO = AudioInfo("", "", 0, 0, 0, None)
"""What a row says of the audio of a file that is no recording."""


def probe(source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> AudioInfo:
    """Read the header of a file, or of a file's bytes (a bytearray or memoryview is copied once).

    Args:
        source: path of the file, or its content.

    Raises:
        Undecodable: cannot be read, is not audio, has no frames, or was cut off.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        view = memoryview(source).cast("B")
        return _probe(io.BytesIO(source), lambda offset, n: bytes(view[offset : offset + n]), len(view))
    try:
        # O_NONBLOCK: a named pipe among the recordings must not stop the whole ingest.
        descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise Undecodable(f"the file cannot be opened: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Undecodable("not a regular file")
        return _probe(descriptor, lambda offset, n: os.pread(descriptor, n, offset), status.st_size)
    except OSError as error:
        raise Undecodable(f"the file cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)


def probe_ranges(read_at: Callable[[int, int], Bytes], size: int) -> AudioInfo:
    """Read the header of a remote file, by ranges.

    Args:
        read_at: returns bytes for an (offset, length) inside the file; what it raises goes to the caller.
        size: bytes of the file.

    Raises:
        Undecodable: as `probe`.
    """
    blocks = Blocks(read_at, size)
    file = KeptError(blocks.read_into, size)
    try:
        found = _probe(file, blocks.read_at, size)
    except Undecodable:
        if file.error is not None:
            raise file.error from None
        raise
    return found


def _probe(file: int | io.BytesIO | KeptError, read_at: _ReadAt, size: int) -> AudioInfo:
    if size == 0:
        raise Undecodable("the file is empty")
    kind = sniff(read_at)
    if kind is None or kind.by in (By.NOTHING, By.OTHER):
        raise Undecodable(not_media(kind))
    if kind.by is By.FFMPEG:
        codec, rate, channels, frames = ffmpeg.describe(kind, read_at, size)
        return AudioInfo(kind.name, codec, rate, channels, frames, None)
    wav = wav_data(read_at, size)
    frames_at, mpeg = read_at, None
    if wav is None:
        mpeg = mp3.find(read_at, size)
    elif wav.is_mp3:
        frames_at = _chunk_of(read_at, wav)
        mpeg = mp3.find(frames_at, wav.length)
    if missing := _missing_bytes(kind, wav, mpeg, read_at, size):
        raise Undecodable(f"cut off: {missing} bytes that its header counts are missing; {ffmpeg.AGAIN}")
    if wants_tag(kind, read_at):
        file = file if isinstance(file, KeptError) else KeptError.ranges(read_at, size)
        file.put_in_front(EMPTY_TAG)
    try:
        # mpg123 complains on stderr; our reason says what is wrong with the file
        with c_quiet if mpeg else nullcontext(), soundfile.SoundFile(file, closefd=False) as audio:
            format, subtype = audio.format, audio.subtype
            if format == "SD2":
                raise Undecodable("taken for SD2 because of the file '._' in the working directory: remove that file")
            frames = int(audio.frames)
            if format == "OGG":
                _check_ogg(read_at, size)
            if frames >= _UNKNOWN_FRAMES:
                raise Undecodable(
                    "its header does not say how long it is (written into a pipe?), so libsndfile cannot decode it: "
                    "'ffmpeg -i IN OUT.flac' writes a correct one"
                )
            if frames == 0 and wav is not None and subtype in SAMPLE_BYTES:
                # a killed writer left 0 for the length; PCM is read by position, whatever libsndfile says
                frames = wav.length // (SAMPLE_BYTES[subtype] * audio.channels)
            if frames <= 0 or audio.samplerate <= 0 or audio.channels <= 0:
                raise _no_frames(wav, size)
            if format == "FLAC":
                _check_flac(audio, file, read_at, size)
            if subtype.startswith("MPEG"):
                frames = _mp3_frames(audio, mpeg, frames_at)
            elif kind.name in ("W64", "SVX", "VOC") and subtype in _WIDTHS:
                samples = lengths.sample_bytes(read_at, size)
                frames = min(frames, samples // (_WIDTHS[subtype] * audio.channels)) if samples else frames
            elif wav is not None and subtype in BLOCK_CODED:
                frames = _coded_frames(wav, size, subtype, frames)
            elif is_header_wrong(format, subtype):
                frames = _decoded(audio)
            info = AudioInfo(format, subtype, audio.samplerate, audio.channels, frames, None)
    except soundfile.LibsndfileError as error:
        # error_string alone: str(error) names the file.
        reason = error.error_string.strip().rstrip(".")
        text = f"no audio that libsndfile can decode ({reason}); if another program plays it: {ffmpeg.WAY}"
        if os.path.lexists("._"):
            text += "; libsndfile reads the file '._' in the working directory for such files: remove that first"
        raise Undecodable(text) from None
    if isinstance(file, KeptError) and file.error is not None:
        raise file.error
    return info._replace(data_offset=_data_offset(info, wav))


def _chunk_of(read_at: _ReadAt, wav: WavData) -> _ReadAt:
    return lambda offset, length: read_at(wav.offset + offset, max(0, min(length, wav.length - offset)))


def _missing_bytes(kind: Kind, wav: WavData | None, mpeg: mp3.Mp3 | None, read_at: _ReadAt, size: int) -> int:
    """Bytes that the header counts beyond the end of the file.

    Raises:
        Undecodable: there are more samples than it counts.
    """
    if wav is not None:
        return max(0, wav.offset + wav.length - size)
    if mpeg is not None:
        return mp3.missing_bytes(mpeg, size)
    if kind.name in ("FLAC", "OGG"):
        return 0
    if left := lengths.left_bytes(read_at, size):
        raise Undecodable(
            f"{left} bytes after the samples that its header counts, which libsndfile leaves out (its writer was "
            f"killed, or files were joined): {ffmpeg.WAY} reads them"
        )
    return lengths.missing_bytes(read_at, size)


def _check_ogg(read_at: _ReadAt, size: int) -> None:
    """Refuse an Ogg of which libsndfile would read a part only.

    Raises:
        Undecodable
    """
    pages = ogg.walk(read_at, size)
    if pages.is_chained:
        raise Undecodable(
            "several recordings in one file (chained Ogg), of which libsndfile reads the first only: "
            "split it, or join them with 'ffmpeg -i IN OUT.flac'"
        )
    if pages.tracks > 1:
        raise Undecodable(ffmpeg.tracks(pages.tracks))
    if not pages.is_whole:  # libsndfile's read would end at a missing page, but a read of another length might not
        raise Undecodable(f"damaged: a page is missing or wrong; {ffmpeg.AGAIN}")


def _no_frames(wav: WavData | None, size: int) -> Undecodable:
    left = size - wav.offset if wav else 0
    if left < _MANY:
        return Undecodable("the recording has no frames")
    return Undecodable(
        f"the recording has no frames by its header, but {left} bytes follow (its writer was killed?): "
        "ffmpeg -ignore_length 1 -i IN.wav -c:a flac OUT.flac"
    )


def _coded_frames(wav: WavData, size: int, subtype: str, frames: int) -> int:
    """The frames that libsndfile counts, less those that it invents after the end.

    Raises:
        Undecodable: it leaves some out.
    """
    found = coded_frames(wav, subtype)
    if found is None:
        return frames
    if not found:
        raise _no_frames(wav, size)
    if found > frames:
        raise Undecodable(
            f"its last block is cut off, and libsndfile leaves out {found - frames} frames of it; convert it: "
            f"{ffmpeg.WAY}"
        )
    return found


def _mp3_frames(audio: soundfile.SoundFile, found: mp3.Mp3 | None, read_at: _ReadAt) -> int:
    """How many frames there are: by walking over them, and if the encoder's count differs, by decoding them.

    Raises:
        Undecodable: there are more than libsndfile reads.
    """
    if found is None:
        return _decoded(audio)
    count, unbroken = mp3.count(found, read_at)
    if unbroken and found.is_headed and found.counted == count and audio.format == "MP3":
        return int(audio.frames)  # fewer, by the encoder's delay
    frames = count * found.samples
    if unbroken and count and not found.is_headed:
        if audio.frames < frames:
            raise _left_out(int(audio.frames), frames, audio)
        return frames
    decoded = _decoded(audio)
    if frames > decoded + 4 * found.samples:
        raise _left_out(decoded, frames, audio)
    return decoded


def _left_out(read: int, frames: int, audio: soundfile.SoundFile) -> Undecodable:
    rate, is_mp3 = audio.samplerate, (audio.format, audio.subtype) == ("MP3", "MPEG_LAYER_III")
    way = "'ffmpeg -i IN -c copy OUT.mp3' writes a correct one" if is_mp3 else ffmpeg.WAY
    return Undecodable(
        f"libsndfile reads {read / rate:.1f} s of it, but there are {frames / rate:.1f} s (no header with its length, "
        f"a wrong one, damage, or files that were joined): {way}"
    )


def _decoded(audio: soundfile.SoundFile) -> int:
    """How many frames decoding returns until it stops; none are kept.

    A further read might continue after what stopped it, but training reads once.
    """
    part = np.empty((65_536, audio.channels), np.float32)
    total, done = 0, len(part)
    while done == len(part):
        done = len(audio.read(out=part))
        total += done
    if total == 0:
        raise Undecodable("none of its frames can be decoded")
    return total


def not_media(kind: Kind | None) -> str:
    """Why a file that is never passed to libsndfile or FFmpeg is refused, and what to do."""
    if kind is None:
        return (
            f"no audio that is known by its first bytes; if another program plays it: {ffmpeg.WAY}; if it is samples "
            "without a header, say what they are: ffmpeg -f s16le -ar 16000 -ac 1 -i IN OUT.flac"
        )
    if kind.by is By.OTHER:
        return f"no audio by its first bytes: {kind.name}"
    if kind.tag:
        return f"an ID3 tag before {kind.name}, where decoders expect none: tail -c +{kind.tag + 1} IN > OUT"
    if kind.name.endswith("archive"):
        return f"a {kind.name}: unpack it"
    return f"{kind.name} is not decoded here; convert it: {ffmpeg.WAY}"


def _check_flac(audio: soundfile.SoundFile, file: int | io.BytesIO | KeptError, read_at: _ReadAt, size: int) -> None:
    """Refuse a FLAC that ends before the last frame that its header counts, or after it.

    Raises:
        Undecodable
    """
    frames = int(audio.frames)
    if not _last_frame_reads(audio):
        raise Undecodable(f"cut off, or joined: the last of its {frames} frames cannot be read; {ffmpeg.AGAIN}")
    position = os.lseek(file, 0, os.SEEK_CUR) if isinstance(file, int) else file.tell()
    if flac.has_more(read_at, size, frames, position):
        raise Undecodable(
            f"there is audio after the {frames} frames that its header counts, which libsndfile leaves out (a wrong "
            "header, or files that were joined): 'ffmpeg -i IN OUT.flac' writes a correct one; split joined files first"
        )


def _last_frame_reads(audio: soundfile.SoundFile) -> bool:
    """Seeking is enough, because libsndfile decodes the frame that it seeks to; `read` would seek three times more."""
    last = int(audio.frames) - 1
    try:
        return int(audio.seek(last)) == last
    except soundfile.LibsndfileError:
        return False


def _data_offset(info: AudioInfo, wav: WavData | None) -> int | None:
    """The data chunk's offset, if libsndfile decodes exactly the frames of this chunk."""
    width = SAMPLE_BYTES.get(info.subtype)
    if wav is None or width is None or info.format not in _WAV_FORMATS:
        return None
    return wav.offset if wav.length // (width * info.channels) == info.frames else None
