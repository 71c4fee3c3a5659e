"""Lineage records in the checkpoints of transformers' Trainer. Import it only where `transformers` is installed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback

from securedata.errors import InvalidArgument
from securedata.lineage.files import find, save
from securedata.torch.lineage import Base, lineage_of, several_bases


class LineageCallback(TrainerCallback):
    """Writes a lineage record into every checkpoint folder, once the Trainer has written the checkpoint.

    See docs/lineage.md. A training that resumes takes over the record of its checkpoint: the one in `output_dir` with
    the step at which it begins, or that of the argument `resume_from_checkpoint`. If it has none, the new records say
    so. `trainer.save_model(folder)` calls no callback: call `save_lineage(ds, folder)` after it.

    Example:
        trainer = Trainer(model, args, train_dataset=ds, callbacks=[LineageCallback()])
    """

    def __init__(self, data: Any = None, base: Base | Sequence[Base] | None = None) -> None:
        """
        Args:
            data: what is trained with, as `save_lineage` takes it; None: the Trainer's train_dataset.
            base: models whose weights the training begins with, apart from the checkpoint that it resumes from.
        """
        self._data = data
        self._given: list[Base] = several_bases(base)
        self._bases: list[Base] = []
        self._complete = True
        self._seen: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """Find what is trained with, and fail now, not at a checkpoint, if nothing of it is sealed."""
        if not state.is_world_process_zero:
            return
        self._seen = self._data if self._data is not None else options.get("train_dataloader")
        self._bases, self._complete = list(self._given), True
        if state.global_step:
            resumed = _resumed(args, state)
            self._bases += [resumed] if resumed is not None else []
            self._complete = resumed is not None
        lineage_of(self._seen, self._bases, self._complete)

    def on_save(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """Write the record into the checkpoint's folder."""
        if not state.is_world_process_zero:
            return
        folder = _checkpoint(args, state)
        if not os.path.isdir(folder):
            raise InvalidArgument(
                "the checkpoint of this step is not in output_dir, so its lineage record has no place: a search for "
                "hyperparameters writes elsewhere; train without this callback, and call save_lineage for the model"
            )
        save(lineage_of(self._seen, self._bases, self._complete), folder)


def _resumed(args: Any, state: Any) -> Any:
    named = args.resume_from_checkpoint
    folder = named if isinstance(named, str) and os.path.isdir(named) else _checkpoint(args, state)
    return find(folder)


def _checkpoint(args: Any, state: Any) -> str:
    return os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
