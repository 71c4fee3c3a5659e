"""Compute features: float32 [channels, frames] in, [channels, features, frames] out.

torchaudio is imported when it is needed. Each recording is computed by itself, with one thread: padding it to the
length of others, or sharing a matrix product with them, would change its last bits, and a result could not be computed
again for comparison.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from securedata.errors import ConfigError, InvalidArgument
from securedata.foreign.describe import describe
from securedata.lifecycle.features.recipe import Recipe, function_of
from securedata.media.npy import Features
from securedata.media.reason import Undecodable

Transform = Callable[[Tensor], Tensor]

_WITH_MEL = ("n_mfcc", "dct_type", "dct_norm", "log_mels")
_WINDOWS = {"hann": torch.hann_window, "hamming": torch.hamming_window, "blackman": torch.blackman_window}
_REFUSED = (AssertionError, ArithmeticError, RuntimeError, TypeError, ValueError)
"""What torch and torchaudio raise for arguments and recordings that they cannot use."""


def compute(recipe: Recipe, waveform: Tensor) -> Features:
    """The features of one recording.

    Args:
        waveform: float32 [channels, frames] at the recipe's rate.

    Returns:
        [channels, features, frames] of the recipe's dtype, finite.

    Raises:
        Undecodable: this recording has no such features: it is too short, or they are not finite.
    """
    transform = _transform(recipe)
    try:
        with _one_thread(), torch.inference_mode():
            found = transform(waveform)
    except Exception as error:  # noqa: BLE001 - a caller's function raises anything; it is the recording's error
        raise Undecodable(f"{recipe.transform} failed on its {waveform.shape[1]} frames ({describe(error)})") from None
    array = _checked(recipe, found)
    if array.size == 0:
        raise Undecodable(f"its {waveform.shape[1]} frames are too short for one frame of {recipe.transform}")
    with np.errstate(over="ignore"):
        made = np.ascontiguousarray(array.astype(recipe.dtype))
    if not np.isfinite(made).all():
        why = f"is beyond {recipe.dtype}" if np.isfinite(array).all() else "is infinite or no number"
        raise Undecodable(f"a value of its {recipe.transform} {why}")
    return made


def check(recipe: Recipe) -> None:
    """Compute the features of one second of noise, so that impossible arguments fail at once.

    Raises:
        InvalidArgument
    """
    noise = torch.rand(1, recipe.sample_rate, generator=torch.Generator().manual_seed(0)) - 0.5
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            compute(recipe, noise)
        except Undecodable as error:
            raise InvalidArgument(f"on one second of noise at {recipe.sample_rate} Hz: {error}") from error
        except _REFUSED as error:
            raise InvalidArgument(
                f"torchaudio refuses these arguments of {recipe.transform}: {describe(error)}"
            ) from None
    if any("mel filterbank has all zero values" in str(one.message) for one in caught):
        raise InvalidArgument(
            f"some of the {recipe.arguments['n_mels']} mel bands have no frequency at {recipe.sample_rate} Hz: choose "
            "a smaller n_mels or a larger n_fft"
        )


def _checked(recipe: Recipe, found: Any) -> np.ndarray[Any, Any]:
    if not isinstance(found, Tensor) or found.ndim != 3 or not found.is_floating_point():
        shape = f"{found.dtype} {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise Undecodable(
            f"{recipe.transform} must return a floating-point tensor [channels, features, frames], not {shape}"
        )
    return found.detach().to("cpu", torch.float32).numpy()


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    if before != 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before != 1:
            torch.set_num_threads(before)


def _transform(recipe: Recipe) -> Transform:
    return _made(recipe.transform, recipe.sample_rate, tuple(sorted(recipe.arguments.items())))


@lru_cache(4)  # filters are made once per process
def _made(name: str, rate: int, arguments: tuple[tuple[str, Any], ...]) -> Transform:
    given = dict(arguments)
    if name == "log-mel":
        return _log_mel(rate, given)
    if name == "mfcc":
        return _mfcc(rate, given)
    if name == "fbank":
        return _fbank(rate, given)
    function = function_of(name)
    return lambda waveform: function(waveform, rate)


def _of_torchaudio(module: str) -> ModuleType:
    """A module of torchaudio, which fails to import beside a torch that it was not built for."""
    try:
        return import_module(f"torchaudio.{module}")
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"torchaudio cannot be imported beside torch {torch.__version__} ({describe(error)}): install the "
            "torchaudio of that torch, or give a function of your own as MODULE:FUNCTION"
        ) from None


def _log_mel(rate: int, arguments: dict[str, Any]) -> Transform:
    floor = arguments.pop("floor")
    mel = _of_torchaudio("transforms").MelSpectrogram(rate, **_with_window(arguments))
    return lambda waveform: mel(waveform).clamp_(min=floor).log_()


def _mfcc(rate: int, arguments: dict[str, Any]) -> Transform:
    own = {key: arguments.pop(key) for key in _WITH_MEL}
    made: Transform = _of_torchaudio("transforms").MFCC(
        rate, own["n_mfcc"], own["dct_type"], own["dct_norm"], own["log_mels"], _with_window(arguments)
    )
    return made


def _with_window(arguments: dict[str, Any]) -> dict[str, Any]:
    name = arguments.pop("window")
    if name not in _WINDOWS:
        raise InvalidArgument(f"the argument window is one of {', '.join(_WINDOWS)}, not {name!r}")
    return {**arguments, "window_fn": _WINDOWS[name]}


def _fbank(rate: int, arguments: dict[str, Any]) -> Transform:
    fbank = _of_torchaudio("compliance.kaldi").fbank
    scale = arguments.pop("scale")

    def transform(waveform: Tensor) -> Tensor:
        scaled = waveform * scale
        channels = [
            fbank(scaled, channel=one, sample_frequency=float(rate), **arguments).T for one in range(len(scaled))
        ]
        return torch.stack(channels)

    return transform
