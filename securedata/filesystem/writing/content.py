"""What a written file is, by its content: the columns that describe a recording, or those of any other file."""

from __future__ import annotations

import logging
from typing import Any

from securedata.corpus.objects.fetch import expect_of, extent_of, open_piece
from securedata.corpus.objects.put import Put
from securedata.corpus.rows.index import Location
from securedata.format.cobblestone import Buffer
from securedata.ingest.sources.walk.file_kinds import is_companion
from securedata.media.audio.probe import AudioInfo, probe, probe_ranges
from securedata.media.audio.sniff import By, ReadAt, sniff
from securedata.media.reason import Undecodable
from securedata.storage.base import Storage

_log = logging.getLogger("securedata")


def columns_of_bytes(path: str, data: bytes) -> dict[str, Any]:
    """The columns of a file that is in memory."""
    if not _may_be_audio(path, lambda offset, n: data[offset : offset + n]):
        return {}
    try:
        return probe(data)._asdict()
    except Undecodable as error:
        return _no_audio(error)


def reader_of(storage: Storage, corpus_id: bytes, put: Put) -> ReadAt:
    """Reads the plaintext of an object that no row names yet, by offset and length.

    It raises StorageError, FormatError.
    """
    location = Location(put.object_id, None, None, put.sealed_size, put.size)
    expect = expect_of(location, corpus_id, storage.url)

    def read_at(offset: int, length: int) -> bytes:
        key, _, ranges = extent_of(location, expect, offset, length)
        landed: list[Buffer] = list(storage.get_ranges(key, ranges))
        return bytes(open_piece(put.data_key, landed, ranges, offset, length, expect))

    return read_at


def columns_of_object(path: str, storage: Storage, corpus_id: bytes, put: Put) -> dict[str, Any]:
    """The columns of a large file that was sealed: its header, and what else tells its length, is read back by ranges.

    Raises:
        StorageError, FormatError
    """
    read_at = reader_of(storage, corpus_id, put)
    if not _may_be_audio(path, read_at):
        return {}
    try:
        return probe_ranges(read_at, put.size)._asdict()
    except Undecodable as error:
        return _no_audio(error)


def _may_be_audio(path: str, read_at: ReadAt) -> bool:
    if is_companion(path.rpartition("/")[2]):
        return False
    kind = sniff(read_at)
    return kind is not None and kind.by in (By.SNDFILE, By.FFMPEG)


def _no_audio(error: Undecodable) -> dict[str, Any]:
    """The columns of a file that only looks like a recording. It is kept: the writer might have meant any bytes."""
    _log.warning("a written file is kept, but not as a recording: %s", error)
    return {}


NO_AUDIO: dict[str, Any] = dict.fromkeys(("format", "subtype"), "") | dict.fromkeys(
    ("sample_rate", "channels", "frames"), 0
)
assert set(NO_AUDIO) | {"data_offset"} == set(AudioInfo._fields)
