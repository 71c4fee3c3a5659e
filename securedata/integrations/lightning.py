"""Lineage records beside the checkpoints of Lightning. Import it only where `lightning` is installed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from lightning.pytorch import Callback

from securedata.files import make_folders
from securedata.lineage.files import find, local, remove, save
from securedata.lineage.record import Lineage
from securedata.torch.lineage import Base, lineage_of, several_bases


class LineageCallback(Callback):
    """Writes a lineage record beside every checkpoint of a `fit`, and deletes it with the checkpoint.

    A record is there before its checkpoint is, so no checkpoint is ever without one; see docs/lineage.md. A fit that
    resumes from a checkpoint takes over its record; if it has none, the new records say so.

    Example:
        trainer = lightning.Trainer(callbacks=[LineageCallback()])
    """

    def __init__(self, data: Any = None, base: Base | Sequence[Base] | None = None) -> None:
        """
        Args:
            data: what is trained with, as `save_lineage` takes it; None: that of the trainer's train_dataloader.
            base: models whose weights the training begins with, apart from the checkpoint that it resumes from.
        """
        super().__init__()
        self._data = data
        self._bases: list[Base] = several_bases(base)
        self._complete = True
        self._seen: Any = None

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Put the record beside each checkpoint that this trainer writes."""
        if stage != "fit" or not trainer.is_global_zero:
            return
        # every checkpoint goes through these; no hook knows the path of one
        strategy = trainer.strategy
        trainer.save_checkpoint = partial(self._save, trainer.save_checkpoint)
        strategy.load_checkpoint = partial(self._load, strategy.load_checkpoint)
        strategy.remove_checkpoint = partial(_remove, strategy.remove_checkpoint)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave the trainer as it was."""
        vars(trainer).pop("save_checkpoint", None)
        for name in ("load_checkpoint", "remove_checkpoint"):
            vars(trainer.strategy).pop(name, None)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Notice a new loader, and fail in the first epoch, not at a checkpoint, if there is nothing sealed in it."""
        if not trainer.is_global_zero:
            return
        data = self._data if self._data is not None else trainer.train_dataloader
        if self._seen is not None and self._seen is not data:
            self._bases = [self._record()]  # of the loader before, which is not asked again
        self._seen = data
        self._record()

    def _record(self) -> Lineage:
        return lineage_of(self._seen, self._bases, self._complete)

    def _load(self, read: Callable[..., Any], checkpoint_path: Any, *args: Any, **options: Any) -> Any:
        """The fit resumes: take over the record of the checkpoint."""
        resumed = find(os.fspath(checkpoint_path))
        self._bases += [resumed] if resumed is not None else []
        self._complete &= resumed is not None
        return read(checkpoint_path, *args, **options)

    def _save(self, write: Callable[..., None], filepath: Any, *args: Any, **options: Any) -> None:
        if self._seen is not None:  # else nothing was trained yet
            path = os.fspath(filepath)
            if (here := local(path)) is not None:
                make_folders(os.path.dirname(here), 0o777)
            save(self._record(), path, beside=True)
        write(filepath, *args, **options)


def _remove(delete: Callable[..., None], filepath: Any) -> None:
    delete(filepath)
    remove(os.fspath(filepath))
