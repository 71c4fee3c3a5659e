"""What a file is by its first bytes, and what FFmpeg decodes of it: the same frames whatever part is asked for."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import securedata as sd
from securedata.cli.main import main
from securedata.errors import UndecodableMedia
from securedata.media.audio.decode import decode, decode_file
from securedata.media.audio.probe import probe, probe_ranges
from securedata.media.audio.sniff import HEAD, By, Kind, sniff
from securedata.media.reason import Undecodable
from tests.conftest import FULL
from tests.kit.sources.ffmpeg import KINDS, Made, heard, make
from tests.kit.sources.recordings import encode, noise, recording_of

NAMES = [f"{kind.container}-{kind.codec}" for kind in KINDS]


def kind_of(data: bytes) -> Kind | None:
    return sniff(lambda offset, length: data[offset : offset + length])


# ------------------------------------------------------------------------------------------------------------- FFmpeg


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_a_part_is_the_same_part_of_the_whole(kind: Made) -> None:
    data = make(kind)
    info = probe(data)
    assert (info.format, info.subtype, info.sample_rate, info.channels) == (kind.format, kind.subtype, kind.rate, 1)
    assert info.frames == pytest.approx(kind.rate, abs=2048 + 1024)
    assert info.data_offset is None
    whole = decode(recording_of(data, info), memoryview(data), True, 0, info.frames)
    assert whole.shape == (info.frames, 1)
    draw = random.Random(1)
    for _ in range(20 if FULL else 4):
        start = draw.randrange(info.frames - 1)
        frames = draw.randrange(1, info.frames - start)
        part = decode(recording_of(data, info), memoryview(data), True, start, frames)
        assert np.array_equal(part, whole[start : start + frames])


@pytest.mark.parametrize("kind", [one for one in KINDS if one.codec in ("alac", "pcm_s16le")])
def test_lossless_is_what_went_in(kind: Made) -> None:
    data = make(kind)
    info = probe(data)
    whole = decode(recording_of(data, info), memoryview(data), True, 0, info.frames)
    assert np.abs(whole - heard(kind)).max() <= 2**-15


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_by_ranges_it_is_the_same(kind: Made) -> None:
    data = make(kind, channels=1)
    asked: list[int] = []

    def read_into(at: int, buffer: memoryview) -> int:
        asked.append(at)
        piece = data[at : at + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    info = probe(data)
    assert probe_ranges(lambda offset, length: data[offset : offset + length], len(data)) == info
    found = decode_file(recording_of(data, info), read_into, 100, 500)
    assert np.array_equal(found, decode(recording_of(data, info), memoryview(data), True, 100, 500))
    assert asked


def test_two_channels() -> None:
    data = make(KINDS[0], channels=2)
    info = probe(data)
    assert info.channels == 2
    assert decode(recording_of(data, info), memoryview(data), True, 10, 20).shape == (20, 2)


def test_several_tracks_are_not_reduced_to_one() -> None:
    with pytest.raises(Undecodable, match="2 audio tracks: extract one: ffmpeg"):
        probe(make(KINDS[0], tracks=2))


@pytest.mark.parametrize("kind", [one for one in KINDS if one.container in ("ipod", "mov", "matroska")])
def test_what_was_cut_off_is_refused(kind: Made) -> None:
    data = make(kind, seconds=4)
    for keep in (len(data) // 2, len(data) - len(data) // 5):
        with pytest.raises(Undecodable):
            probe(data[:keep])


class _Broken(Exception):
    pass


@pytest.mark.parametrize("kind", KINDS[:6], ids=NAMES[:6])
def test_a_failure_while_reading_is_no_short_recording(kind: Made) -> None:
    data = make(kind, seconds=3)
    info = probe(data)
    for failing in (1, 2, 4):
        calls = 0

        def read_into(at: int, buffer: memoryview, failing: int = failing) -> int:
            nonlocal calls
            calls += 1
            if calls > failing:
                raise _Broken
            piece = data[at : at + min(len(buffer), 4096)]
            buffer[: len(piece)] = piece
            return len(piece)

        with pytest.raises(_Broken):
            decode_file(recording_of(data, info), read_into, 0, info.frames)


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_damage_is_an_error_or_samples_but_nothing_else(kind: Made, capfd: pytest.CaptureFixture[str]) -> None:
    whole = make(kind)
    draw = random.Random(7)
    for _ in range(60 if FULL else 6):
        data = bytearray(whole)
        for _ in range(draw.randrange(1, 40)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            info = probe(bytes(data))
        except Undecodable:
            continue
        assert info.frames > 0
    assert capfd.readouterr() == ("", ""), "FFmpeg does not write on the terminal"


def test_a_track_of_an_unknown_encoding_is_an_error() -> None:
    (mov,) = [make(kind) for kind, name in zip(KINDS, NAMES, strict=True) if name == "mov-pcm_s16le"]
    assert mov.count(b"sowt") == 1
    with pytest.raises(Undecodable, match="FFmpeg can decode"):
        probe(mov.replace(b"sowt", b"xxxx"))


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_readers_of_earlier_releases_refuse_it(kind: Made) -> None:
    """They hand the bytes to libsndfile, whose error they raise as UndecodableMedia."""
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.SoundFile(io.BytesIO(make(kind)))


def without_av(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)


def test_a_reader_without_ffmpeg_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.m4a").write_bytes(make(KINDS[0]))
    assert main(["encrypt", str(tmp_path / "src"), str(tmp_path / "sealed"), "--one-subject", "x", "-q"]) == 0
    ds = sd.EncryptedAudioDataset(str(tmp_path / "sealed"))
    assert ds[0].waveform.shape[1] == ds.lengths[0]
    without_av(monkeypatch)
    with pytest.raises(UndecodableMedia, match=r"pip install 'securedata-torch\[media\]'"):
        ds[0]


def test_an_ingest_without_ffmpeg_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    without_av(monkeypatch)
    with pytest.raises(Undecodable, match=r"MP4 needs FFmpeg: pip install .* or convert it: ffmpeg -i IN"):
        probe(make(KINDS[0]))


def test_pyav_is_imported_for_such_files_only() -> None:
    code = (
        "import sys, io, soundfile, numpy\n"
        "from securedata.media.audio.probe import probe\n"
        "f = io.BytesIO(); soundfile.write(f, numpy.full(800, 0.1), 8000, format='WAV'); probe(f.getvalue())\n"
        "assert 'av' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --------------------------------------------------------------------------------------------------------- first bytes


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_files_of_ffmpeg_by_their_first_bytes(kind: Made) -> None:
    found = kind_of(make(kind))
    assert found is not None
    assert (found.name, found.by) == (kind.format, By.FFMPEG)


# SD2 is left out: libsndfile would write its other half into the working directory; RAW, HTK and MAT4 have no magic
@pytest.mark.parametrize("name", sorted(set(soundfile.available_formats()) - {"SD2", "RAW", "HTK", "MAT4"}))
def test_what_libsndfile_reads_is_known_by_its_first_bytes(name: str) -> None:
    for subtype in soundfile.available_subtypes(name):
        file = io.BytesIO()
        try:
            soundfile.write(file, noise(0.5, 16_000, 1), 16_000, format=name, subtype=subtype)
        except (soundfile.LibsndfileError, ValueError):
            continue  # that libsndfile cannot write
        data = file.getvalue()
        found = kind_of(data)
        assert found is not None, subtype
        assert found.by is By.SNDFILE, subtype
        if subtype.startswith("DWVW"):  # libsndfile cannot read it from a file object, and says so
            with pytest.raises(Undecodable):
                probe(data)
        else:
            assert probe(data).frames > 0


def id3(size: int) -> bytes:
    return b"ID3\x04\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(size)


@pytest.mark.parametrize("size", [0, 10, HEAD - 11, HEAD, 70_000])
def test_behind_an_id3_tag(size: int) -> None:
    mp3 = encode(noise(0.5), 16_000, "MP3")
    assert kind_of(id3(size) + mp3) == Kind("MP3", By.SNDFILE)
    assert kind_of(id3(size) + make(KINDS[6])) == Kind("AAC", By.FFMPEG, "aac")
    assert (kind_of(id3(size) + encode(noise(0.5), 16_000, "FLAC")) or Kind("", By.OTHER)).name == "FLAC"


def test_an_mp3_that_begins_late() -> None:
    mp3 = encode(noise(0.5), 16_000, "MP3")
    found = kind_of(bytes(100) + mp3)
    assert found is not None
    assert found.name == "MP3"


OTHERS: dict[str, Callable[[], bytes]] = {
    "text": lambda: b"hello\n" * 2000,
    "umlauts across the end": lambda: b"x" + "ä".encode() * 4000,
    "utf-16": lambda: "hello\n".encode("utf-16"),
    "playlist": lambda: b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n",
    "concat": lambda: b"ffconcat version 1.0\nfile /etc/passwd\n",
    "png": lambda: b"\x89PNG\r\n\x1a\n" + bytes(100),
    "pdf": lambda: b"%PDF-1.7\n\xff\xfe",
}


@pytest.mark.parametrize("name", OTHERS)
def test_no_library_is_asked_about_what_is_no_audio(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundfile, "SoundFile", None)
    without_av(monkeypatch)
    data = OTHERS[name]()
    found = kind_of(data)
    assert found is not None
    assert found.by is By.OTHER
    with pytest.raises(Undecodable, match="no audio by its first bytes"):
        probe(data)


def test_noise_is_nothing_that_is_known() -> None:
    draw = random.Random(3)
    found = [kind_of(draw.randbytes(HEAD)) for _ in range(300)]
    assert sum(one is not None for one in found) <= 3


def test_samples_without_a_header_and_archives_get_their_way() -> None:
    with pytest.raises(Undecodable, match="ffmpeg -f s16le"):
        probe((noise(0.5) * 30_000).astype("<i2").tobytes())
    with pytest.raises(Undecodable, match="a zip archive: unpack it"):
        probe(b"PK\x03\x04" + os.urandom(100))
