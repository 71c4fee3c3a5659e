"""How features are computed: everything that a corpus of features records about it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from securedata.errors import InvalidArgument
from securedata.foreign.describe import describe
from securedata.lifecycle.features.arguments import NAMES, Arguments, complete

DTYPES = ("float16", "float32")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How features are computed from a recording.

    Attributes:
        transform: 'log-mel', 'mfcc', 'fbank', or MODULE:FUNCTION.
        sample_rate: Hz that recordings are resampled to before.
        dtype: 'float16' or 'float32', of the result.
        arguments: all arguments of the transform; those of a function are its own.
        code_sha256: of the file with the function, in hex; '' for transforms of torchaudio.
    """

    transform: str
    sample_rate: int
    dtype: str
    arguments: Arguments = field(default_factory=dict)
    code_sha256: str = ""

    @classmethod
    def make(cls, transform: str, sample_rate: int, dtype: str, given: Mapping[str, Any]) -> Recipe:
        """Complete a caller's wishes.

        Raises:
            InvalidArgument: no such transform, argument or function.
        """
        if dtype not in DTYPES:
            raise InvalidArgument(f"dtype= is float16 or float32, not {dtype!r}")
        if transform in NAMES:
            return cls(transform, sample_rate, dtype, complete(transform, sample_rate, given))
        if ":" not in transform:
            raise InvalidArgument(f"features= is one of {', '.join(NAMES)}, or MODULE:FUNCTION, not {transform!r}")
        if given:
            raise InvalidArgument(f"{transform} is a function of your own: fix its arguments in the module")
        function_of(transform)
        return cls(transform, sample_rate, dtype, {}, _code_digest(transform))

    def json(self) -> dict[str, Any]:
        """As it is recorded in the corpus's settings."""
        found: dict[str, Any] = {
            "transform": self.transform,
            "sample_rate": self.sample_rate,
            "dtype": self.dtype,
            "arguments": self.arguments,
        }
        return {**found, "code_sha256": self.code_sha256} if self.code_sha256 else found

    @classmethod
    def parse(cls, recorded: Mapping[str, Any]) -> Recipe:
        """What `json` recorded. Raises KeyError and TypeError if it is something else."""
        return cls(
            str(recorded["transform"]),
            int(recorded["sample_rate"]),
            str(recorded["dtype"]),
            dict(recorded["arguments"]),
            str(recorded.get("code_sha256", "")),
        )

    def differences(self, other: Recipe) -> list[str]:
        """Names of what differs from another recipe."""
        mine, theirs = self.json(), other.json()
        names = [key for key in mine if key != "arguments" and mine[key] != theirs.get(key)]
        keys = {*self.arguments, *other.arguments}
        return names + sorted(key for key in keys if self.arguments.get(key) != other.arguments.get(key))


def function_of(name: str) -> Callable[[Any, int], Any]:
    """The function that MODULE:FUNCTION names.

    Raises:
        InvalidArgument: it cannot be imported, or is no function.
    """
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidArgument(
            f"features={name!r} cannot be imported ({type(error).__name__}): set PYTHONPATH to the folder of the module"
        ) from None
    if not callable(found):
        raise InvalidArgument(f"features={name!r} is no function")
    function: Callable[[Any, int], Any] = found
    return function


def _code_digest(name: str) -> str:
    module = name.partition(":")[0]
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        raise InvalidArgument(f"the module of features={name!r} is no file, so its code cannot be recorded")
    try:
        return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()
    except OSError as error:
        raise InvalidArgument(f"the module of features={name!r} cannot be read: {describe(error)}") from None


def environment() -> dict[str, str]:
    """What else the last bits of a result depend on: versions, and the processor's instructions."""
    import torch

    try:
        audio = version("torchaudio")  # not imported: a function of the user's may do without it
    except PackageNotFoundError:
        audio = "none"
    return {
        "torch": torch.__version__,
        "torchaudio": audio,
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
