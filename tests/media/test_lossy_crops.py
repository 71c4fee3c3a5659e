"""A crop of a lossy or block-coded recording is that part of the whole recording."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
import soundfile
import torch

import securedata as sd
from securedata.media.audio.decode import decode
from securedata.media.reason import Undecodable
from tests.kit.corpora.recorded import make_corpus
from tests.kit.sources.recordings import Clip, Floats


class Made(NamedTuple):
    """A file as a row describes it."""

    data: bytes
    size: int
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    data_offset: int | None = None


def speech(rate: int, seconds: float, channels: int = 1) -> Floats:
    """Loud and silent in turns, with every part different: what bit reservoirs and block switches are made for."""
    random = np.random.default_rng(3)
    t = np.arange(round(rate * seconds)) / rate
    voice = 0.4 * np.sin(2 * np.pi * 180 * t + 3 * np.sin(2 * np.pi * 4 * t)) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * t))
    heard = np.repeat(random.random(int(seconds * 20) + 1) > 0.4, rate // 20)[: len(t)]
    audio = voice * heard + 0.02 * random.standard_normal(len(t))
    return np.repeat(audio[:, None], channels, 1).astype(np.float32)


def made(format: str, subtype: str, rate: int, seconds: float = 6, channels: int = 1, **options: object) -> Made:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, channels, subtype, format=format, **options) as out:
        for part in np.array_split(speech(rate, seconds, channels), 20):
            out.write(part)
    return of(file.getvalue(), subtype)


def of(data: bytes, subtype: str) -> Made:
    with soundfile.SoundFile(io.BytesIO(data)) as audio:
        return Made(data, len(data), subtype, audio.samplerate, audio.channels, len(audio.read(audio.frames)))


def paged(data: bytes, microseconds: int) -> bytes:
    """The same packets of Ogg in pages of another length."""
    out = io.BytesIO()
    with (
        av.open(io.BytesIO(data)) as source,
        av.open(out, "w", format="ogg", options={"page_duration": str(microseconds)}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return out.getvalue()


MP3 = [
    (rate, mode, level)
    for rate in (8_000, 16_000, 22_050, 44_100, 48_000)
    for mode, level in (("CONSTANT", 0.99), ("VARIABLE", 0.5))
]
NO_SEEK = [("WAV", "GSM610"), ("WAV", "NMS_ADPCM_16"), ("WAV", "G721_32"), ("AU", "G723_24"), ("XI", "DPCM_16")]


def check(one: Made, tolerance: float) -> None:
    whole = decode(one, memoryview(one.data), True, 0, one.frames)
    assert len(whole) == one.frames
    random = np.random.default_rng(1)
    length = one.sample_rate // 5
    starts = [0, 1, 1_151, 1_152, one.frames - length, *random.integers(0, one.frames - length, 30)]
    for start in map(int, starts):
        crop = decode(one, memoryview(one.data), True, start, length)
        assert np.abs(crop - whole[start : start + length]).max() <= tolerance, start


@pytest.mark.parametrize(("rate", "mode", "level"), MP3)
def test_mp3(rate: int, mode: str, level: float) -> None:
    channels = 2 if rate == 44_100 else 1
    one = made("MP3", "MPEG_LAYER_III", rate, channels=channels, bitrate_mode=mode, compression_level=level)
    check(one, 0.0 if rate >= 32_000 else 1.2e-7)


@pytest.mark.parametrize("from_start", [True, False])
@pytest.mark.parametrize("page", [20_000, 1_000_000])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_vorbis(rate: int, page: int, from_start: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not from_start:
        monkeypatch.setattr("securedata.media.audio.decode._FROM_START", 3)
        monkeypatch.setattr("securedata.media.audio.decode._APART", 2)
    check(of(paged(made("OGG", "VORBIS", rate, 8).data, page), "VORBIS"), 0.0)


def test_a_seek_that_misses_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    one = made("OGG", "VORBIS", 16_000, 8)
    monkeypatch.setattr("securedata.media.audio.decode._FROM_START", 3)
    monkeypatch.setattr("securedata.media.audio.decode._APART", 2)
    real: Callable[..., int] = soundfile.SoundFile.seek
    near = [0]

    def seek(audio: soundfile.SoundFile, frames: int, whence: int = 0) -> int:
        near[0] += 1
        return real(audio, frames + 300 if near[0] == 1 else frames, whence)

    whole = decode(one, memoryview(one.data), True, 0, one.frames)
    monkeypatch.setattr(soundfile.SoundFile, "seek", seek)
    assert np.array_equal(decode(one, memoryview(one.data), True, 70_000, 500), whole[70_000:70_500])


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_opus(rate: int) -> None:
    check(made("OGG", "OPUS", rate), 0.003)


@pytest.mark.parametrize(("format", "subtype"), [("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("CAF", "ALAC_16")])
def test_block_coded(format: str, subtype: str) -> None:
    check(made(format, subtype, 16_000), 0.0)


@pytest.mark.parametrize(("format", "subtype"), NO_SEEK)
def test_what_cannot_seek_is_decoded_from_the_start(format: str, subtype: str) -> None:
    one = made(format, subtype, 8_000, 12)
    check(one, 0.0)
    cut = one._replace(data=one.data[: one.size // 3])
    with pytest.raises(Undecodable):
        decode(cut, memoryview(cut.data), True, one.frames - 500, 500)


def test_segments_and_crops_of_a_dataset(tmp_path: Path) -> None:
    kinds = [
        made("MP3", "MPEG_LAYER_III", 48_000, bitrate_mode="CONSTANT", compression_level=0.99),
        made("OGG", "VORBIS", 16_000),
        made("WAV", "GSM610", 8_000),
    ]
    wholes = [decode(one, memoryview(one.data), True, 0, one.frames).T for one in kinds]
    segments = [(0, 5_000), (20_000, 9_000)]
    names = ("a.mp3", "b.ogg", "c.wav")
    root = make_corpus(
        tmp_path, [Clip(name, one.data, segments=segments) for name, one in zip(names, kinds, strict=True)]
    )
    with sd.EncryptedAudioDataset(root) as ds, sd.EncryptedAudioDataset(root, num_frames=1_000) as crops:
        for i in range(len(ds)):
            start, frames = segments[i % 2]
            segment = wholes[i // 2][:, start : start + frames]
            assert np.array_equal(ds[i].waveform.numpy(), segment)
            for seed in range(5):
                torch.manual_seed(seed)
                got = crops[i].waveform.numpy()
                torch.manual_seed(seed)
                at = int(torch.randint(frames - 1_000 + 1, ()))
                assert np.array_equal(got, segment[:, at : at + 1_000])
