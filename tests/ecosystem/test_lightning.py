"""Lightning's checkpoints have their lineage record from the first moment on, and not longer than they are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

import securedata as sd
from securedata.errors import InvalidArgument
from securedata.integrations.lightning import LineageCallback
from securedata.lineage.files import find
from securedata.lineage.record import Lineage
from tests.kit.corpora.recorded import Root, add_clips, make_corpus
from tests.kit.sources.recordings import clip

FRAMES = 160


class Model(lightning.LightningModule):
    def __init__(self, look: Any = None) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(FRAMES, 1)
        self.look = look

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.layer(batch).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.look:
            self.look()


def waveform(sample: sd.Sample) -> torch.Tensor:
    return torch.nn.functional.pad(sample.waveform[0], (0, FRAMES - sample.waveform.shape[1]))


def dataset(root: Root, **options: Any) -> sd.EncryptedAudioDataset:
    return sd.EncryptedAudioDataset(root, num_frames=FRAMES, crop="start", map=waveform, **options)


def fit(tmp_path: Path, data: Any, callback: Any, epochs: int = 2, look: Any = None, **options: Any) -> Any:
    keep = ModelCheckpoint(tmp_path / "run", "{epoch}", save_top_k=options.pop("keep", -1))
    trainer = lightning.Trainer(
        max_epochs=epochs, callbacks=[callback, keep], accelerator="cpu", logger=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Model(look), DataLoader(data, batch_size=2) if not isinstance(data, list) else data[0], **options)
    return trainer


def record_of(path: Path) -> Lineage:
    found = find(str(path))
    assert found is not None
    return found


def test_every_checkpoint_has_its_record(root: Root, tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def look() -> None:
        seen.append(sorted(path.name for path in tmp_path.glob("run/*")))

    with dataset(root) as ds:
        trainer = fit(tmp_path, ds, LineageCallback(), look=look)
    # the record is there when the checkpoint is about to be written
    assert seen[0] == ["epoch=0.ckpt.lineage.json"]
    first, second = (record_of(tmp_path / "run" / f"epoch={n}.ckpt") for n in range(2))
    assert first.id != second.id
    assert [one.rows for one in first.entries] == [one.rows for one in second.entries] == [6]
    assert first.complete
    assert "save_checkpoint" not in vars(trainer)
    assert not {"load_checkpoint", "remove_checkpoint"} & set(vars(trainer.strategy))


def test_a_record_goes_with_its_checkpoint(root: Root, tmp_path: Path) -> None:
    with dataset(root) as ds:
        fit(tmp_path, ds, LineageCallback(), epochs=3, keep=1)
    assert sorted(path.name for path in tmp_path.glob("run/*")) == ["epoch=2.ckpt", "epoch=2.ckpt.lineage.json"]


def test_a_fit_that_resumes_takes_over_the_record(root: Root, tmp_path: Path) -> None:
    other = make_corpus(tmp_path / "other", name="voice-b")
    with dataset(other) as ds:
        fit(tmp_path, ds, LineageCallback(ds), epochs=1)
    checkpoint = tmp_path / "run" / "epoch=0.ckpt"
    with dataset(root) as ds:
        fit(tmp_path, ds, LineageCallback(), ckpt_path=checkpoint, weights_only=False)
    found = record_of(tmp_path / "run" / "epoch=1.ckpt")
    assert [one.pin for one in found.entries] == [root.pin, other.pin]
    assert found.complete


def test_a_checkpoint_without_a_record_is_said(root: Root, tmp_path: Path) -> None:
    with dataset(root) as ds:
        fit(tmp_path, ds, LineageCallback(), epochs=1)
        checkpoint = tmp_path / "run" / "epoch=0.ckpt"
        Path(f"{checkpoint}.lineage.json").unlink()
        fit(tmp_path, ds, LineageCallback(), ckpt_path=checkpoint, weights_only=False)
    assert not record_of(tmp_path / "run" / "epoch=1.ckpt").complete


def test_a_model_whose_weights_it_begins_with_is_named(root: Root, tmp_path: Path) -> None:
    with dataset(make_corpus(tmp_path / "other", name="voice-b")) as ds:
        sd.save_lineage(ds, tmp_path / "base.pt")
    with dataset(root) as ds:
        fit(tmp_path, ds, LineageCallback(base=tmp_path / "base.pt"), epochs=1)
    assert len(record_of(tmp_path / "run" / "epoch=0.ckpt").entries) == 2


def test_rows_of_a_refresh_and_of_an_earlier_loader_stay(root: Root, tmp_path: Path) -> None:
    class Data(lightning.LightningDataModule):
        epoch = 0

        def train_dataloader(self) -> Any:
            self.epoch += 1
            if self.epoch == 2:
                add_clips(root, [clip("cid/1.wav", 0.5, speaker="cid")])
            return DataLoader(dataset(root, speaker="ann" if self.epoch == 1 else "cid"), batch_size=2)

    keep = ModelCheckpoint(tmp_path / "run", "{epoch}", save_top_k=-1)
    trainer = lightning.Trainer(
        max_epochs=2, callbacks=[LineageCallback(), keep], accelerator="cpu", logger=False,
        enable_progress_bar=False, enable_model_summary=False, reload_dataloaders_every_n_epochs=1,
    )  # fmt: skip
    trainer.fit(Model(), datamodule=Data())
    assert [one.rows for one in record_of(tmp_path / "run" / "epoch=1.ckpt").entries] == [1, 3]


def test_nothing_sealed_is_an_error_before_the_first_step(tmp_path: Path) -> None:
    plain = DataLoader(torch.utils.data.TensorDataset(torch.zeros(4, FRAMES)))
    with pytest.raises(InvalidArgument, match="no sealed dataset"):
        fit(tmp_path, [plain], LineageCallback())
    assert list(tmp_path.glob("run/*")) == []
