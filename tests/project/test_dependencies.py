"""Every dependency is explained in docs/dependencies.md and pinned in constraints.txt, and nothing else is."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.kit.docs.tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OWN = canonicalize_name(PROJECT["project"]["name"])

# torch pins these itself, one version each; constraints.txt says so.
LEFT_TO_TORCH = re.compile(r"nvidia-.*|cuda-toolkit|triton")


# In .venv-eco only, where tests/ecosystem runs; what they ask for is in constraints-eco.txt, too.
ECOSYSTEM = {
    *("accelerate", "dask", "datasets", "duckdb", "lhotse", "librosa", "lightning", "pandas", "polars", "ray"),
    *("spdl-core", "torchcodec", "torchdata", "transformers", "universal-pathlib", "webdataset", "zarr"),
}


def pins(file: Path = ROOT / "constraints.txt") -> dict[str, Version]:
    """What a file of pins holds: canonical name -> version."""
    found: dict[str, Version] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([a-z0-9-]+)==(\S+)", line)
            assert match, f"not a pin: {line}"
            assert match[1] not in found, f"pinned twice: {match[1]}"
            found[match[1]] = Version(match[2])
    return found


def declared() -> dict[str, Requirement]:
    """Every dependency of pyproject.toml: of the core, of each extra, of the build."""
    project = PROJECT["project"]
    lines = [*project["dependencies"], *PROJECT["build-system"]["requires"]]
    for extra in project["optional-dependencies"].values():
        lines += extra
    found = {canonicalize_name(r.name): r for r in map(Requirement, lines)}
    found.pop(OWN)  # extras that hold other extras
    return found


def explained() -> dict[str, str]:
    """The entries of docs/dependencies.md: `- **name**: sentence.`"""
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    entries = re.findall(r"^- \*\*(.+?)\*\*: (.+(?:\n  .+)*)", text, flags=re.MULTILINE)
    return {canonicalize_name(name): sentence for name, sentence in entries}


def test_every_dependency_has_its_sentence() -> None:
    assert sorted(explained()) == sorted([*declared(), *ECOSYSTEM])
    assert set(pins(ROOT / "constraints-eco.txt")) >= ECOSYSTEM
    assert [
        name for name, text in explained().items() if len(text.split()) < 5 or not text.rstrip().endswith(".")
    ] == []


@pytest.mark.parametrize("name", sorted(declared()))
def test_dependency_is_pinned_within_its_bounds(name: str) -> None:
    assert declared()[name].specifier.contains(pins()[name])


def test_whatever_gets_installed_is_pinned() -> None:
    """Follows the requirements of what is installed here: a package that nobody pinned would change under our feet."""
    todo, seen = list(declared().values()), set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if name == OWN or (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            raise AssertionError(f"{name} is required here and not installed: run `make install`") from None
        for needed in map(Requirement, lines):
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(needed)
    missing = [name for name, _ in seen if name not in pins() and not LEFT_TO_TORCH.fullmatch(name)]
    assert sorted(missing) == []


def test_torch_and_torchaudio_move_together() -> None:
    # torchaudio names no torch of its own; which ones it imports with was found by trying.
    assert (pins()["torch"].release[:2], pins()["torchaudio"].release[:2]) in {((2, 11), (2, 11)), ((2, 12), (2, 11))}
