"""The arguments of the feature transforms: their defaults at a rate, and those that a caller gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from securedata.errors import InvalidArgument

Arguments = dict[str, Any]

NAMES = ("log-mel", "mfcc", "fbank")
"""Transforms that torchaudio computes. Any other name is that of a Python function."""

FLOOR = 1e-10  # below it a band counts as silent; log(FLOOR) is -23


def defaults(name: str, rate: int) -> Arguments:
    """All arguments of a transform at `rate` Hz: windows of 25 ms every 10 ms.

    They have the names that they have in torchaudio; `dct_norm` is the `norm` of its MFCC. `floor` is the least mel
    power whose logarithm is taken, and `scale` what a waveform in [-1, 1] is multiplied by.
    """
    bands = 80 if name == "log-mel" and rate >= 16_000 else 40
    window = round(0.025 * rate)
    mel: Arguments = {
        "n_fft": 1 << (window - 1).bit_length(),
        "win_length": window,
        "hop_length": round(0.010 * rate),
        "f_min": 0.0,
        "f_max": rate / 2,
        "pad": 0,
        "n_mels": bands,
        "power": 2.0,
        "normalized": False,
        "center": True,
        "pad_mode": "reflect",
        "norm": None,
        "mel_scale": "htk",
        "window": "hann",
    }
    if name == "log-mel":
        return {**mel, "floor": FLOOR}
    if name == "mfcc":
        return {"n_mfcc": 13, "dct_type": 2, "dct_norm": "ortho", "log_mels": True, **mel}
    return {
        "num_mel_bins": 80 if rate >= 16_000 else 40,
        "frame_length": 25.0,
        "frame_shift": 10.0,
        "low_freq": 20.0,
        "high_freq": 0.0,
        "preemphasis_coefficient": 0.97,
        "window_type": "povey",
        "blackman_coeff": 0.42,
        "energy_floor": 1.0,
        "raw_energy": True,
        "use_energy": False,
        "use_log_fbank": True,
        "use_power": True,
        "remove_dc_offset": True,
        "round_to_power_of_two": True,
        "snip_edges": True,
        "htk_compat": False,
        "subtract_mean": False,
        "vtln_warp": 1.0,
        "vtln_low": 100.0,
        "vtln_high": -500.0,
        "dither": 0.0,
        "scale": 32_768.0,
    }


def complete(name: str, rate: int, given: Mapping[str, Any]) -> Arguments:
    """All arguments: those given, as values or as text, and the defaults of the others.

    Raises:
        InvalidArgument: no such argument, or a value that it cannot have.
    """
    found = defaults(name, rate)
    for key, value in given.items():
        if key not in found:
            raise InvalidArgument(f"{name} has no argument {key!r}; it has: {', '.join(sorted(found))}")
        found[key] = _as(name, key, value, found[key])
    if found.get("dither"):
        raise InvalidArgument("dither adds random numbers, so no result could be computed again: leave it at 0")
    return found


def _as(name: str, key: str, value: Any, default: Any) -> Any:
    """A value of the default's type."""
    words = {"true": True, "false": False, "none": None}
    plain: Any = words.get(value.lower(), value) if isinstance(value, str) else value
    try:
        if isinstance(default, bool):
            if isinstance(plain, bool):
                return plain
        elif isinstance(default, int):
            if not isinstance(plain, (bool, float)):
                return int(plain)
        elif isinstance(default, float):
            if not isinstance(plain, bool):
                return float(plain)
        elif plain is None or isinstance(plain, str):  # text, or none
            return plain
    except (TypeError, ValueError, OverflowError):
        pass  # reported with the others
    kind = {bool: "true or false", int: "a whole number", float: "a number"}.get(type(default), "text or none")
    raise InvalidArgument(f"the argument {key} of {name} must be {kind}")
