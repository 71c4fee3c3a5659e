"""WAVs whose writer was killed: the header still has its first count, and more samples follow.

Python's `wave` writes the length of the first piece and corrects it at the end; others write 0 until then. Such a file
is taken as decoders read it, and named: nobody can tell from the corpus that there was more.
"""

from __future__ import annotations

from securedata.format.cobblestone import Buffer
from securedata.media.audio.probe import AudioInfo

_MANY = 4096  # bytes: fewer than that after the samples are tags and padding


class Unfinished:
    """Sees the bytes of one recording go by, in order."""

    def __init__(self, info: AudioInfo, size: int) -> None:
        self._info, self._size = info, size
        self._length: int | None = None  # of the samples, as the header says
        self._end = 0  # of the samples
        self._behind = b""
        self._seen = 0

    def see(self, piece: Buffer) -> None:
        """The next bytes of the file."""
        offset = self._info.data_offset
        if offset is None:
            return
        if not self._seen:
            self._length = int.from_bytes(piece[offset - 4 : offset], "little")
            self._end = offset + self._length + (self._length & 1)
        at = self._end - self._seen + len(self._behind)
        if len(self._behind) < 4 and 0 <= at < len(piece):
            self._behind += bytes(piece[at : at + 4 - len(self._behind)])
        self._seen += len(piece)

    def remark(self) -> str:
        """What is odd about the length; '' if nothing is."""
        left = self._size - self._end
        if self._length == 0:
            return f"its header counts no samples: its writer was killed; all {self._info.frames:,} frames were taken"
        if self._length is None or left < _MANY or _is_name(self._behind):
            return ""
        return (
            f"{left:,} bytes follow the {self._info.frames:,} frames that its header counts; its writer was perhaps "
            "killed. Only the frames counted were taken: repair it (ffmpeg -ignore_length 1 -i IN.wav OUT.wav) and "
            "run again"
        )


def _is_name(behind: bytes) -> bool:
    """Does another chunk begin there, such as LIST, or a tag?"""
    return behind.isascii() and behind.decode("ascii").isprintable()
