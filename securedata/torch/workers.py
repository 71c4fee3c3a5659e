"""What a worker process of a DataLoader knows of its loader."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from multiprocessing import current_process
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from securedata.corpus.reader import Corpus
from securedata.errors import GenerationChanged, InvalidArgument


def workers() -> int:
    """How many processes share the loader's work: 1 outside a worker."""
    info = get_worker_info()
    return info.num_workers if info is not None else 1


def refuse_later_epochs(corpora: Sequence[Corpus]) -> None:
    """Raise in a worker that outlives its epoch (`persistent_workers=True`), once the loader's process has newer rows.

    A dataset in a worker cannot see that an epoch begins, so it cannot know whether a number was drawn for the rows
    that this worker has. The workers of other loaders end with the epoch they were started for, and finish it.

    Raises:
        GenerationChanged
    """
    if get_worker_info() is None or not _persists():
        return
    roots = ", ".join(f"{corpus.root} (generation {corpus.generation} here)" for corpus in corpora)
    raise GenerationChanged(
        f"refresh() opened newer rows of {roots} after this worker was started, and it keeps the old ones: "
        "make a new DataLoader after refresh(), or drop persistent_workers=True",
        root=corpora[0].root,
    )


def refuse_refresh() -> None:
    """Raise in a worker whose numbers the loader's process draws, for the rows that process has.

    An iterable dataset draws its own numbers.

    Raises:
        InvalidArgument
    """
    info = get_worker_info()
    if info is not None and not isinstance(info.dataset, IterableDataset):
        raise InvalidArgument(
            "refresh() in a worker of a DataLoader would make the numbers that the loader draws mean other rows: call "
            "it in the process of the loader, between epochs"
        )


def refuse_lineage() -> None:
    """Raise in a worker of a DataLoader: its rows are those that it was started with, not all that were open.

    Raises:
        InvalidArgument
    """
    if get_worker_info() is not None:
        raise InvalidArgument("lineage() is asked for in the process of the loader, which knows of every refresh()")


def draws_ahead() -> bool:
    """Whether this call comes from a loader of torch's with workers, which draws numbers before the loop gets them.

    torchdata's StatefulDataLoader does, too, but keeps the state of a sampler as it was at each batch.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if type(frame.f_locals.get("self")) is _MultiProcessingDataLoaderIter:
            return True
        frame = frame.f_back
    return False


def called_with(loop: Callable[..., object]) -> Mapping[str, Any] | None:
    """The arguments of the loop of this worker, by name; None if it is another loop, or none."""
    process = current_process()
    return _arguments(process) if getattr(process, "_target", None) is loop else None


def _arguments(process: BaseProcess) -> Mapping[str, Any] | None:
    try:
        # by name: torch and torchdata put them at different positions
        called = inspect.signature(process._target).bind(*process._args, **process._kwargs)  # type: ignore[attr-defined]  # not public
    except (AttributeError, TypeError, ValueError):
        return None
    return called.arguments


@cache  # per worker; other processes never ask
def _persists() -> bool:
    # an unknown loader: an error is better than silently reading other rows
    return bool((_arguments(current_process()) or {}).get("persistent_workers", True))
