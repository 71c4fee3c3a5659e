"""What a file is by its first bytes, whatever its name says.

Libraries that guess mistake text, images and playlists for media, and playlists name other files: only what is listed
here is passed to them, with the container's name for FFmpeg.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

HEAD = 4096
"""How many bytes are examined, at the start and again after an ID3 tag."""

ReadAt = Callable[[int, int], bytes]
"""(offset, most bytes to return)."""


class By(Enum):
    """What decodes a kind of file."""

    SNDFILE = "libsndfile"
    FFMPEG = "FFmpeg"
    NOTHING = ""
    OTHER = "no recording"


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        name: of its container: the manifest's `format` if FFmpeg decodes it; else for people.
        by: what decodes it.
        demuxer: FFmpeg's name of the container.
        tag: bytes of a leading ID3 tag that must be removed first.
    """

    name: str
    by: By
    demuxer: str = ""
    tag: int = 0


FLAC = Kind("FLAC", By.SNDFILE)
MP3 = Kind("MP3", By.SNDFILE)
AAC = Kind("AAC", By.FFMPEG, "aac")
MP4 = Kind("MP4", By.FFMPEG, "mov")
TTA = Kind("TTA", By.FFMPEG, "tta")

EMPTY_TAG = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)
"""Put before an MP3 for libsndfile, see `wants_tag`: without padding it does not recognise the tag."""

_LISTED: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"fLaC", FLAC),
    (0, b"OggS", Kind("OGG", By.SNDFILE)),
    (0, b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb", Kind("W64", By.SNDFILE)),
    (0, b".snd", Kind("AU", By.SNDFILE)),
    (0, b"dns.", Kind("AU", By.SNDFILE)),
    (0, b"caff\x00\x01", Kind("CAF", By.SNDFILE)),
    (0, b"NIST_1A\n", Kind("NIST", By.SNDFILE)),
    (0, b"Creative Voice File\x1a", Kind("VOC", By.SNDFILE)),
    (0, b"\x64\xa3", Kind("IRCAM", By.SNDFILE)),
    (2, b"\xa3\x64", Kind("IRCAM", By.SNDFILE)),
    (0, b" paf", Kind("PAF", By.SNDFILE)),
    (0, b"fap ", Kind("PAF", By.SNDFILE)),
    (0, b"PVF1\n", Kind("PVF", By.SNDFILE)),
    (0, b"2BIT", Kind("AVR", By.SNDFILE)),
    (0, b"ALawSoundFile**\x00", Kind("WVE", By.SNDFILE)),
    (0, b"Extended Instrument: ", Kind("XI", By.SNDFILE)),
    (0, b"MATLAB 5.0 MAT-file", Kind("MAT5", By.SNDFILE)),
    (0, b"\xf0\x7e", Kind("SDS", By.SNDFILE)),
    (0, b"\x01\x04", Kind("MPC2K", By.SNDFILE)),
    (4, b"ftyp", MP4),
    (4, b"moov", MP4),
    (4, b"mdat", MP4),
    (0, b"\x1a\x45\xdf\xa3", Kind("MATROSKA", By.FFMPEG, "matroska")),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", Kind("ASF", By.FFMPEG, "asf")),
    (0, b"#!AMR", Kind("AMR", By.FFMPEG, "amr")),
    (0, b"wvpk", Kind("WAVPACK", By.FFMPEG, "wv")),
    (0, b"TTA1", TTA),
    (0, b"\x0b\x77", Kind("AC3", By.FFMPEG, "ac3")),
    (0, b"MAC ", Kind("Monkey's Audio", By.NOTHING)),
    (0, b"MPCK", Kind("Musepack", By.NOTHING)),
    (0, b"MP+", Kind("Musepack", By.NOTHING)),
    (0, b"ajkg", Kind("Shorten", By.NOTHING)),
    (0, b"DSD ", Kind("DSF", By.NOTHING)),
    (0, b"FRM8", Kind("DSDIFF", By.NOTHING)),
    (0, b".RMF", Kind("RealMedia", By.NOTHING)),
    (0, b"FLV\x01", Kind("FLV", By.NOTHING)),
    (0, b"\x00\x00\x01\xba", Kind("MPEG", By.NOTHING)),
    (0, b"PK\x03\x04", Kind("zip archive", By.NOTHING)),
    (0, b"\x1f\x8b", Kind("gzip archive", By.NOTHING)),
    (0, b"BZh", Kind("bzip2 archive", By.NOTHING)),
    (0, b"\xfd7zXZ\x00", Kind("xz archive", By.NOTHING)),
    (0, b"7z\xbc\xaf\x27\x1c", Kind("7z archive", By.NOTHING)),
    (0, b"\x28\xb5\x2f\xfd", Kind("zstd archive", By.NOTHING)),
    (0, b"Rar!\x1a\x07", Kind("rar archive", By.NOTHING)),
    (257, b"ustar", Kind("tar archive", By.NOTHING)),
    (0, b"\x89PNG\r\n", Kind("image", By.OTHER)),
    (0, b"\xff\xd8\xff", Kind("image", By.OTHER)),
    (0, b"GIF8", Kind("image", By.OTHER)),
    (0, b"%PDF-", Kind("document", By.OTHER)),
    (0, b"\x93NUMPY", Kind("array", By.OTHER)),
    (0, b"\x89HDF\r\n", Kind("array", By.OTHER)),
    (0, b"PAR1", Kind("table", By.OTHER)),
    (0, b"ARROW1", Kind("table", By.OTHER)),
    (0, b"SQLite format 3\x00", Kind("table", By.OTHER)),
)

_TAGGED = {b"fLaC": FLAC, b"TTA1": TTA}  # what may follow an ID3 tag, besides MP3 and AAC

_CHUNKED = {  # by the container's name, then by what follows its length
    b"RIFF": {b"WAVE": Kind("WAV", By.SNDFILE), b"AVI ": Kind("AVI", By.NOTHING), b"WEBP": Kind("image", By.OTHER)},
    b"RIFX": {b"WAVE": Kind("WAV", By.SNDFILE)},
    b"RF64": {b"WAVE": Kind("RF64", By.SNDFILE)},
    b"BW64": {b"WAVE": Kind("RF64", By.SNDFILE)},
    b"FORM": dict.fromkeys((b"AIFF", b"AIFC"), Kind("AIFF", By.SNDFILE))
    | dict.fromkeys((b"8SVX", b"16SV"), Kind("SVX", By.SNDFILE)),
}

_MP4_SPACE = (b"free", b"skip", b"wide", b"pnot")  # ordinary words, so they count only after a length below 2**24
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_TEXT = Kind("text", By.OTHER)
_BITRATES = 15  # the index that no MPEG audio frame has


def sniff(read_at: ReadAt) -> Kind | None:
    """What the file is; None if its first bytes are not listed here."""
    head = read_at(0, 16)  # enough for nearly all
    if found := _CHUNKED.get(head[:4], {}).get(head[8:12]):
        return found
    head = read_at(0, HEAD)
    for offset, magic, kind in _LISTED:
        if head.startswith(magic, offset):
            return kind
    if head.startswith(b"\0") and head[4:8] in _MP4_SPACE:
        return MP4
    if tag := id3_bytes(head):
        behind = read_at(tag, HEAD)
        for magic, kind in _TAGGED.items():
            if behind.startswith(magic):
                return kind
        # libsndfile reads some of these, but not all of their audio
        if (found := _by_magic(behind)) and found.by in (By.SNDFILE, By.FFMPEG):
            return Kind(found.name, By.NOTHING, tag=tag)
        return AAC if _adts(behind, 0) else MP3
    if _adts(head, 0):
        return AAC
    if head.startswith(_UTF16) and _is_text(head):  # a byte order mark looks like the beginning of a frame
        return _TEXT
    if any(_mpeg(head, at) for at in _syncs(head)):
        return MP3
    return _TEXT if _is_text(head) else None


def _by_magic(head: bytes) -> Kind | None:
    """The kind by at least four bytes."""
    if found := _CHUNKED.get(head[:4], {}).get(head[8:12]):
        return found
    return next((kind for at, magic, kind in _LISTED if len(magic) > 3 and head.startswith(magic, at)), None)


def id3_bytes(head: bytes) -> int:
    """Bytes of the ID3 tag at the beginning of a file, without its footer; 0 without a tag."""
    if not head.startswith(b"ID3") or len(head) < 10:
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def wants_tag(kind: Kind | None, read_at: ReadAt) -> bool:
    """Whether libsndfile would look for a resource fork before it recognises this file.

    MPEG audio without a leading tag is the last format that it tries. Before that it opens `._` in the working
    directory, whose content decides: an empty one fails, and another makes it read the file as samples of some rate.
    """
    return kind is MP3 and read_at(0, 3) != b"ID3"


def _syncs(head: bytes) -> list[int]:
    return [at for at in range(len(head) - 3) if head[at] == 0xFF and head[at + 1] & 0xE0 == 0xE0]


def _adts(data: bytes, at: int) -> bool:
    """Whether an AAC frame is there, followed by another if `data` reaches that far."""
    if len(data) < at + 7 or data[at] != 0xFF or data[at + 1] & 0xF6 != 0xF0:
        return False
    length = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    after = data[at + length : at + length + 2]
    return length >= 7 and (len(after) < 2 or (after[0] == 0xFF and after[1] & 0xF6 == 0xF0))


def _mpeg(data: bytes, at: int) -> bool:
    """Whether a frame of MPEG audio is there, followed by another of its kind if `data` reaches that far."""
    length = mpeg_length(data[at : at + 4])
    if not length:
        return False
    after = data[at + length : at + length + 4]
    if len(after) < 4:
        return at == 0
    return bool(mpeg_length(after)) and after[1] & 0xFE == data[at + 1] & 0xFE and (after[2] ^ data[at + 2]) & 0x0C == 0


def mpeg_length(header: bytes) -> int:
    """Bytes of the frame, by ISO 11172-3 and 13818-3; 0 if this is not a frame's header, or is of free format."""
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3  # 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5; 3: layer I, 1: III
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 0 or bitrate in (0, _BITRATES) or rate == 3:
        return 0
    kilobits = _KILOBITS[(version == 3, layer)][bitrate - 1]
    hertz = (44100, 48000, 32000)[rate] // (1 if version == 3 else 2 if version == 2 else 4)
    padding = header[2] >> 1 & 1
    if layer == 3:
        return (12000 * kilobits // hertz + padding) * 4
    return (72000 if layer == 1 and version != 3 else 144000) * kilobits // hertz + padding


_KILOBITS = {
    (True, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def _is_text(head: bytes) -> bool:
    """Whether it is printable UTF-8, or UTF-16 with a byte order mark, which audio encoders never write."""
    if head.startswith(_UTF16):
        text = head[: len(head) & ~1].decode("utf-16", "replace")
    else:
        cut = head[:-3] if len(head) == HEAD else head  # the last character might be cut
        try:
            text = cut.decode("utf-8")
        except UnicodeDecodeError as error:
            if len(head) < HEAD or error.start < len(cut) - 3:
                return False
            text = cut[: error.start].decode("utf-8")
    return bool(text) and all(char.isprintable() or char in "\t\n\r\ufeff" for char in text)
