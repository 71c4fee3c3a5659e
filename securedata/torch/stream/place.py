"""Which rank this process is of, and which worker."""

from __future__ import annotations

import os

import torch.distributed
from torch.utils.data import get_worker_info

from securedata.corpus.option_values import as_whole
from securedata.errors import InvalidArgument


def ranks_given(rank: int | None, world: int | None) -> tuple[int, int] | None:
    """A caller's `rank` and `world`; None if it gives none. Raises InvalidArgument"""
    if rank is None and world is None:
        return None
    if rank is None or world is None:
        raise InvalidArgument("rank= and world= go together: this process's number, and how many there are")
    world = as_whole("world", world, 1, 2**31)
    return as_whole("rank", rank, 0, world - 1), world


def rank_in_group() -> tuple[int, int] | None:
    """This process's rank in torch.distributed and how many there are; None if it has joined no group."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return None


def rank_and_world() -> tuple[int, int]:
    """This process's rank and how many there are: from torch.distributed, or else as torchrun gives them."""
    group = rank_in_group()
    if group is not None:
        return group
    try:
        rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    except ValueError:
        raise InvalidArgument("RANK and WORLD_SIZE in the environment are not numbers: pass rank= and world=") from None
    if not 0 <= rank < world:
        raise InvalidArgument(f"rank {rank} of {world} in the environment makes no sense: pass rank= and world=")
    return rank, world


def worker_and_workers() -> tuple[int, int]:
    """This worker's number and how many the loader has; (0, 1) outside a worker."""
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)
