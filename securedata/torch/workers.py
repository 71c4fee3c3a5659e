"""What a worker process of a DataLoader knows of its loader."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache
from multiprocessing import current_process

from torch.utils.data import IterableDataset, get_worker_info

from securedata.corpus.reader import Corpus
from securedata.errors import GenerationChanged, InvalidArgument


def workers() -> int:
    """How many processes share the loader's work: 1 outside a worker."""
    info = get_worker_info()
    return info.num_workers if info is not None else 1


def refuse_later_epochs(corpora: Sequence[Corpus]) -> None:
    """In a worker that goes on after its epoch (`persistent_workers=True`): the process of the loader has newer rows.

    A dataset in a worker cannot see that an epoch begins, so nothing shows whether a number was drawn for the rows that
    this worker has. The workers of other loaders end with the epoch for which they were started, and finish it.

    Raises:
        GenerationChanged
    """
    if get_worker_info() is None or not _persists():
        return
    roots = ", ".join(f"{corpus.root} (generation {corpus.generation} here)" for corpus in corpora)
    raise GenerationChanged(
        f"refresh() opened newer rows of {roots} after this worker was started, and it keeps the old ones: "
        "make a new DataLoader after refresh(), or do without persistent_workers=True",
        root=corpora[0].root,
    )


def refuse_refresh() -> None:
    """In a worker whose numbers the process of the loader draws, for the rows that it has.

    An iterable dataset draws its own.

    Raises:
        InvalidArgument
    """
    info = get_worker_info()
    if info is not None and not isinstance(info.dataset, IterableDataset):
        raise InvalidArgument(
            "refresh() in a worker of a DataLoader would give the numbers that its loader draws to other rows: call it "
            "in the process of the loader, between epochs"
        )


@cache  # of a worker; a process that is none never asks
def _persists() -> bool:
    process = current_process()
    try:
        # by its name: torch and torchdata have it at places of their own
        called = inspect.signature(process._target).bind(*process._args, **process._kwargs)  # type: ignore[attr-defined]  # not public
        return bool(called.arguments["persistent_workers"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return True  # a loader of others: an error is better than other rows in silence
