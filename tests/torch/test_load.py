"""`securedata.load`: torchaudio's arguments and slices, and every fault an error."""

from __future__ import annotations

import inspect
import io
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

import securedata as sd
from securedata.corpus.recordings import opened
from securedata.errors import AuthenticationFailed, ConfigError, InvalidArgument, NoSuchPath
from securedata.media.audio import plan
from tests.kit.corpora.recorded import Root, add_clips, flip_object, make_corpus
from tests.kit.sources.recordings import Clip, clip, read


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    monkeypatch.setattr(opened, "_corpora", {})
    return make_corpus(
        tmp_path,
        [
            clip("ann/a.wav", 0.5, channels=2),
            clip("ann/b.flac", 0.5),
            clip("ann/zoë.ogg", 0.5),
            clip("ann/talk.wav", 1.0, segments=[(4_000, 8_000)]),
        ],
    )


def test_the_arguments_are_torchaudios() -> None:
    ours, theirs = (inspect.signature(one).parameters.values() for one in (sd.load, torchaudio.load))
    assert [(one.name, one.default) for one in ours if one.name != "purpose"] == [
        (one.name, one.default) for one in theirs
    ]


@pytest.mark.parametrize(
    ("offset", "count"),
    [(0, -1), (0, 0), (0, 1), (100, -1), (100, 50), (7_999, 5), (8_000, 1), (9_000, -1)],
)
def test_slices(root: Root, offset: int, count: int) -> None:
    for one in root.clips[:3]:
        whole = read(one.data)
        expected = whole[:, offset:] if count < 0 else whole[:, offset : offset + count]
        waveform, rate = sd.load(f"securedata://voice-a/{one.path}", offset, count)
        assert rate == 16_000
        assert waveform.dtype == torch.float32
        assert waveform.is_contiguous()
        assert np.array_equal(waveform.numpy(), expected)
        turned, _ = sd.load(f"securedata://voice-a/{one.path}", offset, count, channels_first=False)
        assert np.array_equal(turned.numpy(), expected.T)


def test_a_segment_is_a_segment(root: Root) -> None:
    waveform, _ = sd.load("securedata://voice-a/ann/talk@4000-12000.wav", 10, 20)
    assert np.array_equal(waveform.numpy(), read(root.clips[3].data, 4_010, 20))
    assert sd.load("securedata://voice-a/ann/talk@4000-12000.wav")[0].shape == (1, 8_000)


@pytest.mark.parametrize("uri", ["ann/a.wav", "/etc/passwd", "securedata://voice-a", "securedata:///a", "s3://b/a.wav"])
def test_other_names_are_refused(root: Root, uri: str) -> None:
    with pytest.raises(InvalidArgument, match="securedata://NAME/PATH"):
        sd.load(uri)


@pytest.mark.parametrize(
    "where", ["{root}/", "file://{root}/", "securedata://{{}}::{root}", "securedata://{{}}::voice-a"]
)
def test_every_spelling_of_a_corpus(root: Root, where: str) -> None:
    where = where.format(root=root)
    uri = where.format("ann/zoë.ogg") if "{}" in where else f"{where}ann/zoë.ogg"
    assert np.array_equal(sd.load(uri)[0].numpy(), read(root.clips[2].data))
    with pytest.raises(NoSuchPath):
        sd.load(uri.replace("ann", "bob"))


def test_a_relative_path_and_one_without_a_config(root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECUREDATA_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("SECUREDATA_KMS", root.kms)
    monkeypatch.setenv("SECUREDATA_PIN", root.pin)
    assert sd.load("voice-a/ann/a.wav")[0].shape == (2, 8_000)


@pytest.mark.parametrize("uri", ["securedata://a::simplecache::{root}", "securedata://::{root}", "{root}", "{root}/"])
def test_what_names_no_recording(root: Root, uri: str) -> None:
    with pytest.raises(InvalidArgument, match="securedata://NAME/PATH"):
        sd.load(uri.format(root=root))


def test_info_is_what_torchaudio_said_and_fetches_nothing(root: Root) -> None:
    for path in Path(root).glob("objects/*/*"):
        path.unlink()
    about = {name: sd.info(f"securedata://voice-a/ann/{name}") for name in ("a.wav", "b.flac", "zoë.ogg")}
    assert about == {
        "a.wav": (16_000, 8_000, 2, 16, "PCM_S"),
        "b.flac": (16_000, 8_000, 1, 16, "FLAC"),
        "zoë.ogg": (16_000, 8_000, 1, 0, "VORBIS"),
    }
    assert sd.info("securedata://voice-a/ann/talk@4000-12000.wav").num_frames == 8_000
    assert about["a.wav"]._fields == ("sample_rate", "num_frames", "num_channels", "bits_per_sample", "encoding")


def test_what_makes_no_sense(root: Root) -> None:
    for values in ((-1, -1), (0, -2)):
        with pytest.raises(InvalidArgument, match="frame_offset"):
            sd.load("securedata://voice-a/ann/a.wav", *values)
    with pytest.raises(ConfigError):
        sd.load("securedata://voice-z/ann/a.wav")
    with pytest.warns(UserWarning, match="normalize"):
        sd.load("securedata://voice-a/ann/a.wav", normalize=False)


def test_a_newer_head_is_looked_for_where_a_path_is_missing(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    sd.load("securedata://voice-a/ann/a.wav")
    add_clips(root, [clip("bob/new.wav", 0.2)])
    with pytest.raises(NoSuchPath):  # not twice in ten seconds
        sd.load("securedata://voice-a/bob/new.wav")
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + 11)
    assert sd.load("securedata://voice-a/bob/new.wav")[0].shape == (1, 3_200)


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_flipped_byte_is_an_error_in_files_of_every_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    monkeypatch.setattr(opened, "_corpora", {})
    audio = np.random.default_rng(0).uniform(-1, 1, 16_000 * 30)
    file = io.BytesIO()
    soundfile.write(file, audio, 16_000, format=format)
    root = make_corpus(tmp_path, [Clip("a/long", file.getvalue())])
    flip_object(root, "a/long", 0.6)
    for whole in (plan.WHOLE, 100):
        monkeypatch.setattr(plan, "WHOLE", whole)
        with pytest.raises(AuthenticationFailed):
            sd.load("securedata://voice-a/a/long")
        with pytest.raises(AuthenticationFailed):
            sd.load("securedata://voice-a/a/long", 270_000, 50_000)
