"""The checkpoints of transformers' Trainer have their lineage record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainingArguments

import securedata as sd
from securedata.errors import InvalidArgument
from securedata.integrations.transformers import LineageCallback
from securedata.lineage.files import find
from securedata.lineage.record import Lineage
from tests.kit.corpora.recorded import Root, make_corpus

FRAMES = 160


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(FRAMES, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": self.layer(x).square().mean()}


def features(sample: sd.Sample) -> dict[str, torch.Tensor]:
    return {"x": torch.nn.functional.pad(sample.waveform[0], (0, FRAMES - sample.waveform.shape[1]))}


def dataset(root: Root) -> sd.EncryptedAudioDataset:
    return sd.EncryptedAudioDataset(root, num_frames=FRAMES, crop="start", map=features)


def train(folder: Path, data: Any, callback: Any, steps: int, resume: Any = None, **options: Any) -> None:
    arguments = TrainingArguments(
        str(folder), max_steps=steps, save_steps=2, per_device_train_batch_size=1, report_to=[], use_cpu=True,
        disable_tqdm=True, remove_unused_columns=False, logging_strategy="no", **options,
    )  # fmt: skip
    trainer = Trainer(Model(), arguments, train_dataset=data, callbacks=[callback])
    trainer.train(resume_from_checkpoint=resume)


def record_of(path: Path) -> Lineage:
    found = find(str(path))
    assert found is not None
    return found


def test_every_checkpoint_has_its_record(root: Root, tmp_path: Path) -> None:
    with dataset(root) as ds:
        train(tmp_path / "run", ds, LineageCallback(), 4, save_total_limit=1)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("run/*/*.lineage.json")] == [
        "run/checkpoint-4/securedata.lineage.json"
    ]
    found = record_of(tmp_path / "run" / "checkpoint-4")
    assert ([one.rows for one in found.entries], found.complete) == ([6], True)


def test_a_training_that_resumes_takes_over_the_record(root: Root, tmp_path: Path) -> None:
    other = make_corpus(tmp_path / "other", name="voice-b")
    with dataset(other) as ds:
        train(tmp_path / "run", ds, LineageCallback(ds), 2)
    with dataset(root) as ds:
        train(tmp_path / "run", ds, LineageCallback(), 4, resume=True)
    found = record_of(tmp_path / "run" / "checkpoint-4")
    assert ([one.pin for one in found.entries], found.complete) == ([root.pin, other.pin], True)


def test_a_checkpoint_without_a_record_is_said(root: Root, tmp_path: Path) -> None:
    with dataset(root) as ds:
        train(tmp_path / "run", ds, LineageCallback(), 2)
        (tmp_path / "run" / "checkpoint-2" / "securedata.lineage.json").unlink()
        train(tmp_path / "run", ds, LineageCallback(), 4, resume=str(tmp_path / "run" / "checkpoint-2"))
    assert not record_of(tmp_path / "run" / "checkpoint-4").complete


def test_nothing_sealed_is_an_error_before_the_first_step(tmp_path: Path) -> None:
    plain = [{"x": torch.zeros(FRAMES)}] * 4
    with pytest.raises(InvalidArgument, match="no sealed dataset"):
        train(tmp_path / "run", plain, LineageCallback(), 2)
    assert list(tmp_path.glob("run/checkpoint-*")) == []
