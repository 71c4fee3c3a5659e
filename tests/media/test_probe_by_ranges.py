"""The probe of a recording that is read by ranges; the times of files as file systems give them."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from securedata.ingest.sources import remote
from securedata.media.audio.probe import probe, probe_ranges
from securedata.media.blocks import Blocks
from securedata.media.reason import Undecodable
from tests.media.test_audio_probe import COMPRESSED, encoded


class Ranges:
    """Bytes that are read by range; counts how many."""

    def __init__(self, content: bytes, fail_at: int | None = None) -> None:
        self.content, self.read, self.fail_at = content, 0, fail_at

    def __call__(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert 0 < length <= len(self.content) - offset, "asked for what is not there"
        self.read += length
        if self.fail_at is not None and offset <= self.fail_at < offset + length:
            raise ConnectionError("cut")
        return self.content[offset : offset + length]


@pytest.mark.parametrize(("kind", "subtype"), [*((one[1], one[2]) for one in COMPRESSED), ("WAV", "PCM_16")])
@pytest.mark.parametrize("block", [61, 4096, 1 << 20])
def test_by_ranges_it_is_the_same(kind: str, subtype: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Blocks, "BLOCK", block)
    content = encoded(kind, subtype, 48_000)
    assert probe_ranges(Ranges(content), len(content)) == probe(content)


def test_little_of_a_long_recording_is_read() -> None:
    content = encoded("WAV", "PCM_16", 8_000_000)
    ranges = Ranges(content)
    assert probe_ranges(ranges, len(content)).frames == 8_000_000
    assert ranges.read <= 2 * Blocks.BLOCK


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_a_failure_of_the_place_is_no_damage(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Blocks, "BLOCK", 512)
    content = encoded(kind, "VORBIS" if kind == "OGG" else "PCM_16", 48_000)
    with pytest.raises(ConnectionError):
        probe_ranges(Ranges(content, fail_at=200), len(content))
    if kind != "WAV":  # its end needs no look
        with pytest.raises(ConnectionError):
            probe_ranges(Ranges(content, fail_at=len(content) - 1), len(content))
    with pytest.raises(Undecodable):
        probe_ranges(Ranges(b"no audio" * 1000), 8000)


JANUARY = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"size": 3, "mtime": 1.5}, (3, 1_500_000_000, "")),
        ({"size": 3, "LastModified": JANUARY, "ETag": '"x"'}, (3, 1767312000 * 10**9, '"x"')),
        ({"size": 3, "updated": "2026-01-02T00:00:00Z", "generation": 7}, (3, 1767312000 * 10**9, "7")),
        ({"size": 3, "modified": datetime.datetime(2026, 1, 2)}, (3, 1767312000 * 10**9, "")),
        ({"size": 3, "mtime": None, "modify": "2026-01-02"}, (3, 1767312000 * 10**9, "")),
        ({"size": None, "created": "yesterday"}, (0, 0, "")),
        ({}, (0, 0, "")),
    ],
)
def test_times_as_file_systems_tell_them(info: dict[str, Any], expected: tuple[int, int, str]) -> None:
    assert remote._stamp(info) == expected
