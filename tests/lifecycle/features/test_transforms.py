"""Transforms: what torchaudio computes, with every argument recorded; and what they refuse."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
import torch
import torchaudio
from torchaudio.compliance import kaldi

from securedata.errors import ConfigError, InvalidArgument
from securedata.lifecycle.features import transforms
from securedata.lifecycle.features.arguments import NAMES, defaults
from securedata.lifecycle.features.recipe import Recipe, environment
from securedata.lifecycle.features.transforms import check, compute
from securedata.media.reason import Undecodable
from tests.kit.sources.recordings import noise

OWN = "tests.lifecycle.features.own"


def waveform(seconds: float = 0.5, rate: int = 16_000, channels: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(noise(seconds, rate, channels).T))


def recipe(name: str = "log-mel", rate: int = 16_000, dtype: str = "float32", **arguments: Any) -> Recipe:
    return Recipe.make(name, rate, dtype, arguments)


def theirs(name: str, audio: torch.Tensor) -> torch.Tensor:
    """The same at 16 kHz by torchaudio alone."""
    mel = {"n_fft": 512, "win_length": 400, "hop_length": 160}
    if name == "log-mel":
        return torchaudio.transforms.MelSpectrogram(16_000, n_mels=80, **mel)(audio).clamp(min=1e-10).log()
    if name == "mfcc":
        return torchaudio.transforms.MFCC(16_000, n_mfcc=13, log_mels=True, melkwargs={"n_mels": 40, **mel})(audio)
    scaled = audio * 32_768
    return torch.stack([kaldi.fbank(scaled[one : one + 1], num_mel_bins=80).T for one in range(len(audio))])


@pytest.mark.parametrize("name", NAMES)
def test_the_result_is_torchaudios(name: str) -> None:
    audio = waveform()
    found = compute(recipe(name), audio)
    assert found.dtype == np.float32
    torch.testing.assert_close(torch.from_numpy(found), theirs(name, audio), rtol=1e-5, atol=1e-5)
    half = compute(recipe(name, dtype="float16"), audio)
    assert half.dtype == np.float16
    assert np.array_equal(half, found.astype("f2"))


@pytest.mark.parametrize("name", [*NAMES, f"{OWN}:loudness"])
def test_it_can_be_computed_again_whatever_was_computed_beside_it(name: str) -> None:
    audio = waveform(1.7)
    made = recipe(name)
    first = compute(made, audio)
    before = torch.get_num_threads()
    compute(made, waveform(0.3, channels=1))
    torch.set_num_threads(2)
    try:
        assert np.array_equal(compute(Recipe.parse(json.loads(json.dumps(made.json()))), audio), first)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_defaults_work_at_usual_rates_and_are_recorded_whole(name: str, rate: int) -> None:
    made = recipe(name, rate)
    check(made)
    assert made.arguments == defaults(name, rate)
    assert Recipe.parse(json.loads(json.dumps(made.json()))) == made


def test_arguments_are_taken_as_values_or_text() -> None:
    made = recipe("mfcc", n_mfcc="20", log_mels="false", f_max=4_000, norm="slaney", dct_norm="none")
    assert made.arguments["n_mfcc"] == 20
    assert made.arguments["log_mels"] is False
    assert made.arguments["f_max"] == 4_000.0
    assert (made.arguments["norm"], made.arguments["dct_norm"]) == ("slaney", None)
    assert compute(made, waveform()).shape[:2] == (2, 20)
    assert made.differences(recipe("mfcc", dtype="float16")) == [
        "dtype",
        "dct_norm",
        "f_max",
        "log_mels",
        "n_mfcc",
        "norm",
    ]


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("log-mel", {"n_mel": 80}, "no argument 'n_mel'; it has: .*n_mels"),
        ("log-mel", {"n_mels": "many"}, "n_mels of log-mel must be a whole number"),
        ("log-mel", {"n_mels": 80.5}, "must be a whole number"),
        ("log-mel", {"power": None}, "power of log-mel must be a number"),
        ("log-mel", {"center": "perhaps"}, "true or false"),
        ("log-mel", {"n_mels": 300}, "300 mel bands have no frequency"),
        ("log-mel", {"win_length": 600}, "torchaudio refuses|log-mel failed"),
        ("log-mel", {"window": "kaiser"}, "window is one of hann"),
        ("mfcc", {"n_mfcc": 41}, "torchaudio refuses"),
        ("mfcc", {"norm": "ortho"}, "torchaudio refuses"),
        ("fbank", {"window_type": "kaiser"}, "fbank failed"),
        ("fbank", {"dither": 1.0}, "dither"),
        ("chroma", {}, "log-mel, mfcc, fbank, or MODULE:FUNCTION"),
        ("nowhere.at.all:f", {}, "cannot be imported .*PYTHONPATH"),
        (f"{OWN}:nothing", {}, "cannot be imported"),
        (f"{OWN}:NOT_A_FUNCTION", {}, "no function"),
        (f"{OWN}:flat", {}, r"must return a floating-point tensor \[channels, features, frames\]"),
        (f"{OWN}:loudness", {"hop": 3}, "function of your own"),
        ("sys:intern", {}, "no file"),
    ],
)
def test_what_cannot_be_computed_is_refused_at_once(name: str, arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        check(recipe(name, **arguments))


def test_another_dtype_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="float16 or float32"):
        recipe(dtype="float64")


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_may_be_too_short(name: str) -> None:
    with pytest.raises(Undecodable, match=r"its 5 frames"):
        compute(recipe(name), waveform()[:, :5])


def test_a_function_of_ones_own() -> None:
    audio = waveform()
    made = recipe(f"{OWN}:loudness")
    assert len(made.code_sha256) == 64
    found = compute(made, audio)
    assert found.shape == (2, 1, 50)
    assert found[1, 0, 3] == pytest.approx(audio[1, 480:640].square().mean().item())
    with pytest.raises(Undecodable, match="failed on its 4000 frames") as caught:
        compute(recipe(f"{OWN}:refuses_short_ones"), audio[:, :4_000])
    assert "ann" not in str(caught.value)
    with pytest.raises(Undecodable, match="beyond float16"):
        compute(recipe(f"{OWN}:loud", dtype="float16"), audio)
    assert compute(recipe(f"{OWN}:loud"), audio).min() >= 1e6
    with pytest.raises(Undecodable, match="infinite or no number"):
        compute(made, audio * float("nan"))


def test_versions_and_processor_are_named() -> None:
    here = environment()
    assert here["torchaudio"] == version("torchaudio")
    assert sorted(here) == ["instructions", "machine", "torch", "torchaudio"]


def test_a_torchaudio_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise OSError("libtorch_cuda.so: cannot open shared object file")

    transforms._made.cache_clear()
    monkeypatch.setattr(transforms, "import_module", broken)
    with pytest.raises(ConfigError, match=r"torchaudio cannot be imported beside torch .*MODULE:FUNCTION"):
        check(recipe())
    check(recipe(f"{OWN}:loudness"))
    monkeypatch.undo()
    check(recipe())
