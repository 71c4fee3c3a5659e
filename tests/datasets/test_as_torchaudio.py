"""Each drop-in corpus beside torchaudio's own over the same tree: items, metadata, length, order and errors."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
import torchaudio

import securedata as sd
from tests.kit.sources import drop_ins

TREES: dict[str, Callable[[Path], None]] = {
    "LIBRISPEECH": drop_ins.librispeech,
    "LIBRITTS": drop_ins.libritts,
    "SPEECHCOMMANDS": drop_ins.speech_commands,
    "VCTK_092": drop_ins.vctk,
    "COMMONVOICE": drop_ins.common_voice,
    "LJSPEECH": drop_ins.speech_of_one,
    "VoxCeleb1Identification": drop_ins.voxceleb,
}

CASES = [
    ("LIBRISPEECH", {"url": "dev-clean"}),
    ("LIBRISPEECH", {}),
    ("SPEECHCOMMANDS", {}),
    ("SPEECHCOMMANDS", {"subset": "training"}),
    ("SPEECHCOMMANDS", {"subset": "validation"}),
    ("SPEECHCOMMANDS", {"subset": "testing"}),
    ("LIBRITTS", {"url": "dev-clean"}),
    ("VCTK_092", {}),
    ("VCTK_092", {"mic_id": "mic1"}),
    ("COMMONVOICE", {}),
    ("COMMONVOICE", {"tsv": "dev.tsv"}),
    ("COMMONVOICE", {"tsv": "validated.tsv"}),
    ("LJSPEECH", {}),
    ("VoxCeleb1Identification", {}),
    ("VoxCeleb1Identification", {"subset": "test"}),
]


def load(path: str | os.PathLike[str]) -> tuple[torch.Tensor, int]:
    """torchaudio 2.11 loads by torchcodec, which is not installed here."""
    samples, rate = soundfile.read(os.fspath(path), dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T.copy()), rate


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of each corpus in a folder of its name."""
    root = tmp_path_factory.mktemp("trees")
    for name, make in TREES.items():
        make(root / name)
    return root


@pytest.fixture
def opened(trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, Any]], Any]:
    """Both datasets over the tree of a corpus, which is sealed first."""
    monkeypatch.setattr(torchaudio, "load", load)

    def both(name: str, arguments: dict[str, Any]) -> Any:
        report = sd.ingest(trees / name, tmp_path / name.lower())
        assert report.complete, report.problems
        theirs = getattr(torchaudio.datasets, name)(trees / name, **arguments)
        return getattr(sd.datasets, name)(name.lower(), **arguments), theirs

    return both


def same(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert type(one) is type(other)
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_every_item(opened: Any, name: str, arguments: dict[str, Any]) -> None:
    ours, theirs = opened(name, arguments)
    assert len(ours) == len(theirs) > 1
    batch = ours.__getitems__(range(len(theirs)))
    for n in range(len(theirs)):
        same(ours[n], theirs[n])
        same(batch[n], theirs[n])
        if hasattr(theirs, "get_metadata"):
            same(ours.get_metadata(n), theirs.get_metadata(n))
    same(ours[-1], theirs[-1])
    for wrong in (len(theirs), -len(theirs) - 1):
        for dataset in (ours, theirs):
            with pytest.raises(IndexError):
                dataset[wrong]
    if hasattr(theirs, "_walker"):
        below = str(theirs._path).partition(name)[0] + name
        walks = [one.replace(below, name.lower()) if isinstance(one, str) else one for one in theirs._walker]
        assert ours._walker == walks
        ours._walker = ours._walker[1::-1]
        same(ours[0], theirs[1])
        same(ours[1], theirs[0])
        assert len(ours) == 2


@pytest.mark.parametrize("name", TREES)
def test_the_arguments_are_torchaudios(name: str) -> None:
    ours, theirs = (
        inspect.signature(getattr(module, name)).parameters.values() for module in (sd.datasets, torchaudio.datasets)
    )
    assert [(one.name, one.default) for one in ours if one.kind is not one.VAR_KEYWORD] == [
        (one.name, one.default) for one in theirs
    ]
