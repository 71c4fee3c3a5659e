"""Decoding: the same floats as soundfile, no more bytes than a crop needs, one clear error for what is no audio."""

from __future__ import annotations

import os
import resource
import signal
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
from hypothesis import given
from hypothesis import strategies as st

import securedata as sd
from securedata.corpus.objects.file import READ_AHEAD
from securedata.corpus.opening import open_corpus
from securedata.errors import AuthenticationFailed, MalformedManifest, UndecodableMedia
from securedata.format.cobblestone import CHUNK, PREFIX, SEALED_CHUNK
from securedata.format.header import FIXED
from securedata.media.audio import plan
from securedata.media.audio.decode import decode_file
from securedata.media.audio.resample import resampled_length, resampled_lengths, window
from securedata.media.reason import Undecodable
from securedata.storage.local import LocalStorage
from securedata.torch.decode import read_row
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import Clip, clip, encode, noise, read

# (format, subtype, channels): all that ingest takes, and what it keeps a data_offset for
KINDS = [
    *[("WAV", subtype, channels) for subtype in ("PCM_16", "PCM_24") for channels in (1, 2, 5)],
    *[("WAV", subtype, 1) for subtype in ("PCM_U8", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM")],
    ("WAVEX", "PCM_16", 2),
    ("RF64", "PCM_16", 1),
    ("FLAC", "PCM_16", 1),
    ("FLAC", "PCM_24", 2),
    ("OGG", "VORBIS", 1),
    ("OGG", "VORBIS", 2),
    ("OGG", "OPUS", 1),
    ("MP3", "MPEG_LAYER_III", 1),
    ("MP3", "MPEG_LAYER_III", 2),
    ("AIFF", "PCM_16", 1),
]


def _of_kind(number: int, format: str, subtype: str, channels: int) -> Clip:
    rate = 48_000 if subtype == "OPUS" else 16_000
    return Clip(f"kinds/{number:02}.bin", encode(noise(0.5, rate, channels, number), rate, format, subtype))


@pytest.fixture
def kinds(tmp_path: Path) -> Root:
    return make_corpus(tmp_path, [_of_kind(number, *kind) for number, kind in enumerate(KINDS)])


# ------------------------------------------------------------------------------------------ the same as soundfile


def test_every_format_is_bit_exact(kinds: Root) -> None:
    with sd.EncryptedAudioDataset(kinds) as ds:
        known = 0
        for i, (one, kind) in enumerate(zip(kinds.clips, KINDS, strict=True)):
            waveform = ds[i].waveform
            assert waveform.dtype == torch.float32
            assert waveform.is_contiguous()
            assert np.array_equal(waveform.numpy(), one.audio), kind
            known += ds.corpora[0].value("data_offset", i) is not None
        assert known == sum(kind[0] in ("WAV", "WAVEX", "RF64") and kind[1] != "IMA_ADPCM" for kind in KINDS)


@pytest.mark.parametrize("at", [0, 1, 777, 7_000])
def test_every_crop_is_that_part_of_the_whole(kinds: Root, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randint", lambda high, size, generator: torch.tensor(min(at, high - 1)))
    with sd.EncryptedAudioDataset(kinds, num_frames=1_000) as ds:
        for i, (one, kind) in enumerate(zip(kinds.clips, KINDS, strict=True)):
            expected = one.audio[:, at : at + 1_000]
            if kind[0] == "MP3":  # the last bits of MPEG-2 depend on where decoding began
                assert np.abs(ds[i].waveform.numpy() - expected).max() < 1.2e-7
            else:
                assert np.array_equal(ds[i].waveform.numpy(), expected), kind


def test_segments_are_parts_of_their_recording(tmp_path: Path) -> None:
    segments = [(0, 3_000), (3_000, 1), (7_999, 1), (100, 7_900)]
    root = make_corpus(
        tmp_path, [clip(f"a/long.{suffix}", 0.5, segments=segments) for suffix in ("flac", "ogg", "wav")]
    )
    with sd.EncryptedAudioDataset(root) as ds:
        assert ds.lengths.tolist() == [frames for _ in range(3) for _, frames in segments]
        for i in range(len(ds)):
            start, frames = segments[i % len(segments)]
            assert np.array_equal(ds[i].waveform.numpy(), read(root.clips[i // len(segments)].data, start, frames))
    with sd.EncryptedAudioDataset(root, num_frames=500, crop="start") as ds:
        assert np.array_equal(ds[11].waveform.numpy(), read(root.clips[2].data, 100, 500))
    with sd.EncryptedAudioDataset(root, duration=(0.1, 0.4)) as ds:  # of the segment, not of the recording
        assert set(ds.lengths.tolist()) == {3_000}


# ----------------------------------------------------------------------------------------------------- which bytes


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The (offset, length) of every range that is asked of storage from now on."""
    ranges: list[tuple[int, int]] = []
    real = LocalStorage.get_ranges

    def tracked(self: LocalStorage, key: str, wanted: Any) -> list[bytes]:
        ranges.extend(wanted)
        return real(self, key, wanted)

    monkeypatch.setattr(LocalStorage, "get_ranges", tracked)
    return ranges


def test_crop_of_a_wav_fetches_its_chunks_only(tmp_path: Path, fetched: list[tuple[int, int]]) -> None:
    root = make_corpus(tmp_path, [clip("a/minute.wav", 60.0)])
    with sd.EncryptedAudioDataset(root, num_frames=1_000) as ds:
        offset = ds.corpora[0].value("data_offset", 0)
        torch.manual_seed(3)
        at = int(torch.randint(60 * 16_000 - 1_000 + 1, ()))
        torch.manual_seed(3)
        fetched.clear()
        waveform = ds[0].waveform
    assert np.array_equal(waveform.numpy(), read(root.clips[0].data, at, 1_000))
    first, last = (offset + 2 * at) // CHUNK, (offset + 2 * (at + 1_000) - 1) // CHUNK
    assert first > 1
    start = FIXED + PREFIX
    assert fetched == [(0, start), (start + first * SEALED_CHUNK, (last - first + 1) * SEALED_CHUNK)]


def test_resampled_crop_of_a_wav_fetches_little_more(tmp_path: Path, fetched: list[tuple[int, int]]) -> None:
    root = make_corpus(tmp_path, [clip("a/minute.wav", 60.0, rate=44_100)])
    with sd.EncryptedAudioDataset(root, num_frames=16_000, sample_rate=16_000) as ds:
        fetched.clear()
        assert ds[0].waveform.shape == (1, 16_000)
    assert 44_100 * 2 < sum(length for _, length in fetched) < 44_100 * 2 + 4 * SEALED_CHUNK


def test_small_compressed_file_is_fetched_once(tmp_path: Path, fetched: list[tuple[int, int]]) -> None:
    root = make_corpus(tmp_path, [clip("a/short.flac", 30.0)])
    assert len(root.clips[0].data) > 2 * READ_AHEAD
    with sd.EncryptedAudioDataset(root, num_frames=100) as ds:
        fetched.clear()
        _ = ds[0]
        assert len(fetched) == 1
        assert ds.corpora[0].counters.bytes == len(root.clips[0].data)


@pytest.fixture
def large(tmp_path: Path) -> Root:
    """White noise, which FLAC cannot compress: about 6 MB."""
    audio = np.random.default_rng(0).uniform(-1, 1, (24_000 * 45, 2)).astype(np.float32)
    data = encode(audio, 24_000, "FLAC", "PCM_24")
    assert len(data) > plan.WHOLE + 1024 * 1024
    return make_corpus(tmp_path, [Clip("a/large.flac", data)], name="voice-b")


def test_crop_of_a_large_file_is_read_ahead_of_the_decoder(large: Root, fetched: list[tuple[int, int]]) -> None:
    with sd.EncryptedAudioDataset(large, num_frames=1_000, crop="start") as ds:
        fetched.clear()
        assert np.array_equal(ds[0].waveform.numpy(), read(large.clips[0].data, 0, 1_000))
        assert sum(length for _, length in fetched) < 1024 * 1024
    with sd.EncryptedAudioDataset(large) as ds:
        fetched.clear()
        assert np.array_equal(ds[0].waveform.numpy(), large.clips[0].audio)
        assert len(fetched) == 1  # all of it is wanted, so all of it is verified before anything is decoded


def test_error_below_the_decoder_is_raised_as_it_is(large: Root, capfd: pytest.CaptureFixture[str]) -> None:
    # libsndfile calls back into Python: an exception there would be printed to stderr and taken for the end of the file
    [path] = [path for path in Path(large, "objects").rglob("*") if path.is_file()]
    with sd.EncryptedAudioDataset(large, num_frames=1_000, crop="start") as ds, path.open("r+b") as file:
        file.seek(FIXED + PREFIX + 100)
        file.write(b"\0\0\0\0")
        file.flush()
        with pytest.raises(AuthenticationFailed, match="chunk 0"):
            ds[0]
    assert capfd.readouterr().err == ""


def test_interrupt_below_the_decoder_is_raised(tmp_path: Path) -> None:
    def interrupted(at: int, buffer: object) -> int:
        raise KeyboardInterrupt

    root = make_corpus(tmp_path, [clip("a/short.flac")])
    with open_corpus(root) as corpus:
        row = read_row(corpus, 0)
        with pytest.raises(KeyboardInterrupt):
            decode_file(row, interrupted, 0, 10)


def test_one_samples_memory_is_not_the_next_ones(kinds: Root) -> None:
    with sd.EncryptedAudioDataset(kinds) as ds:
        kept = [ds[i].waveform for i in range(len(ds))]
    for waveform, one in zip(kept, kinds.clips, strict=True):
        assert np.array_equal(waveform.numpy(), one.audio)


def test_nothing_is_written_to_any_file(kinds: Root, large: Root) -> None:
    with sd.EncryptedAudioDataset([kinds, large]) as ds, sd.EncryptedAudioDataset(large, num_frames=1_000) as crops:
        child = os.fork()
        if child == 0:  # a process in which no file, of whatever file system, can grow by a byte
            status = 1
            try:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
                try:
                    with tempfile.TemporaryFile() as file:
                        file.write(b"x")
                except OSError:
                    decoded = [ds[i] for i in range(len(ds))] + [crops[0]]
                    status = 0 if len(decoded) == len(KINDS) + 2 else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# ----------------------------------------------------------------------------------------------- what is no audio


def _refused(tmp_path: Path, one: Clip, error: type[Exception], reason: str) -> None:
    root = make_corpus(tmp_path, [one])
    with sd.EncryptedAudioDataset(root) as ds:
        with pytest.raises(error, match=reason) as caught:
            ds[0]
        object_id = ds.corpora[0].value("object_id", 0)
    text = str(caught.value)
    assert object_id.hex() in text
    assert root in text
    assert "securedata info voice-a --object" in text
    assert "secret-name" not in text + repr(caught.value)
    assert " object at 0x" not in text
    assert (caught.value.root, caught.value.object_id, caught.value.path) == (root, object_id, one.path)
    inner = caught.value.__context__
    assert inner is None or (isinstance(inner, (Undecodable, ValueError)) and caught.value.__suppress_context__)
    assert inner is None or inner.__context__ is None  # soundfile's own errors name the file object


FLAC = {"format": "FLAC", "subtype": "PCM_16", "sample_rate": 16_000, "channels": 1, "frames": 8_000}
WAV = {**FLAC, "format": "WAV", "data_offset": 44}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: b"secret-name" * 1_000, "unknown format|unrecognised|not recognised"),
        (lambda data: b"", "."),
        (lambda data: data[:1], "."),
        (lambda data: data[: len(data) // 2], "frames|decoder|Internal"),
        (lambda data: data[:5_000] + bytes(3_000) + data[8_000:], "frames|decoder|sync|Internal"),
        (lambda data: encode(noise(0.5, 16_000, 2), 16_000, "FLAC"), "it has 2 channels"),
        (lambda data: encode(noise(0.5, 16_000), 8_000, "FLAC"), "8000 Hz"),
        (lambda data: encode(noise(0.4, 16_000), 16_000, "FLAC"), "6400 frames"),
    ],
    ids=["text", "empty", "one byte", "cut", "hole", "channels", "rate", "shorter"],
)
def test_what_cannot_be_decoded_is_undecodable(tmp_path: Path, change: Any, reason: str) -> None:
    data = change(encode(noise(0.5), 16_000, "FLAC"))
    _refused(tmp_path, Clip("secret-name/a.flac", data, columns=FLAC), UndecodableMedia, reason)


def test_recording_that_ends_early_is_undecodable(tmp_path: Path) -> None:
    # libsndfile reads what there is of an MP3, and says nothing
    data = encode(noise(0.5), 16_000, "MP3")
    cut = Clip("secret-name/a.mp3", data[: len(data) // 2], columns={**FLAC, "format": "MP3"})
    _refused(tmp_path, cut, UndecodableMedia, r"only \d+ frames from 0 on can be read")


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"frames": 8_001}, "at byte 16046 of 16044"),
        ({"data_offset": 46}, "at byte 16046 of 16044"),
        ({"data_offset": -2}, "at byte"),
        ({"channels": 0}, "0 channels"),
        ({"sample_rate": 0}, "0 Hz"),
        ({"frames": 0}, "frames 0 to 0"),
        ({"start": 8_000, "frames_in_segment": 1}, "frames 8000 to 8001 of 8000"),
        ({"start": -1, "frames_in_segment": 1}, "frames -1 to 0"),
        ({"start": 0, "frames_in_segment": -1}, "frames 0 to -1"),
    ],
)
def test_row_that_makes_no_sense_is_malformed(tmp_path: Path, columns: dict[str, Any], reason: str) -> None:
    data = encode(noise(0.5), 16_000)
    assert len(data) == 16_044
    _refused(tmp_path, Clip("secret-name/a.wav", data, columns={**WAV, **columns}), MalformedManifest, reason)


def test_row_that_claims_more_than_memory_is_undecodable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a FLAC header can claim 2**36 frames in 100 bytes; soundfile believes it
    data = bytearray(encode(noise(0.5), 16_000, "FLAC"))
    frames = 2**36 - 1
    data[21] |= 0x0F
    data[22:26] = b"\xff\xff\xff\xff"
    monkeypatch.setattr(np, "empty", _no_memory)
    _refused(
        tmp_path,
        Clip("secret-name/a.flac", bytes(data), columns={**FLAC, "frames": frames}),
        UndecodableMedia,
        f"{frames} frames do not fit into memory",
    )


def test_row_that_claims_more_than_the_file_is_refused_before_memory_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(noise(0.5), 16_000, "FLAC")
    columns = {**FLAC, "frames": 2**40}
    monkeypatch.setattr(np, "empty", _no_memory)
    _refused(tmp_path, Clip("secret-name/a.flac", data, columns=columns), UndecodableMedia, "and 8000 frames, where")


def _no_memory(*_: object, **__: object) -> None:
    raise MemoryError


# ----------------------------------------------------------------------------------------------------- resampling

RATES = st.sampled_from([8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 7_919, 16_001])


@given(st.integers(1, 60_000), RATES, RATES)
def test_resampled_length_is_what_soxr_gives(frames: int, rate: int, target: int) -> None:
    expected = len(soxr.resample(np.zeros(frames, np.float32), rate, target))
    assert resampled_length(frames, rate, target) == expected
    assert resampled_lengths(np.array([frames]), np.array([rate]), target).tolist() == [expected]


def test_resampled_length_of_exactly_half_a_frame() -> None:
    # 193378.5 in exact arithmetic: libsoxr divides in double precision, and falls short of it
    assert resampled_length(52_620, 12_000, 44_100) == 193_378
    assert len(soxr.resample(np.zeros(52_620, np.float32), 12_000, 44_100)) == 193_378


@given(RATES, RATES, st.integers(0, 2**20), st.data())
def test_crop_of_the_resampled_is_resampled_from_a_part(rate: int, target: int, seed: int, data: st.DataObject) -> None:
    frames = data.draw(st.integers(2, 3 * rate))
    total = resampled_length(frames, rate, target)
    if total < 1:
        return
    count = data.draw(st.integers(1, total))
    at = data.draw(st.integers(0, total - count))
    audio = np.random.default_rng(seed).uniform(-1, 1, frames).astype(np.float32)
    whole = soxr.resample(audio, rate, target) if rate != target else audio
    part = window(frames, rate, target, at, count)
    assert part.start >= 0
    assert part.start + part.frames <= frames
    read_part = audio[part.start : part.start + part.frames]
    made = soxr.resample(read_part, rate, target) if rate != target else read_part
    skip = min(part.skip, len(made) - count)
    assert skip >= part.skip - 1
    if skip == part.skip:  # else one frame off, at the very end of a recording
        assert np.abs(made[skip : skip + count] - whole[at : at + count]).max() < 2e-5  # noise of full scale


@pytest.fixture(params=["wav", "flac"])
def sine(request: pytest.FixtureRequest, tmp_path: Path) -> Root:
    rate = 44_100
    audio = (0.5 * np.sin(np.arange(rate * 2) * 0.05)).astype(np.float32)[:, None]
    return make_corpus(tmp_path, [Clip(f"a/sine.{request.param}", encode(audio, rate, request.param.upper()))])


def test_resampling_is_soxrs(sine: Root) -> None:
    [one] = sine.clips
    whole = soxr.resample(one.audio[0], 44_100, 16_000)
    with sd.EncryptedAudioDataset(sine, sample_rate=16_000) as ds:
        assert ds[0].sample_rate == 16_000
        assert np.array_equal(ds[0].waveform.numpy()[0], whole)
    with sd.EncryptedAudioDataset(sine, sample_rate=16_000, num_frames=5_000) as ds:
        torch.manual_seed(11)
        at = int(torch.randint(len(whole) - 5_000 + 1, ()))
        torch.manual_seed(11)
        assert np.abs(ds[0].waveform.numpy()[0] - whole[at : at + 5_000]).max() < 1e-5


def test_soundfile_says_which_formats_there_are() -> None:
    # the formats above are those that this libsndfile knows; without one of them the tests would prove less
    assert {"WAV", "FLAC", "OGG", "MP3"} <= set(soundfile.available_formats())
