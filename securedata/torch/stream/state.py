"""The state of a stream: from what it was planned, and the runs so far. It holds no key and names nobody."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from securedata.errors import InvalidArgument, UnknownVersion
from securedata.torch.stream.planning.dealing import delivered
from securedata.torch.stream.planning.plan import Run
from securedata.torch.stream.planning.spans import Ints

VERSION = 1
_UNEVEN: tuple[str | None, ...] = (None, "pad", "drop")
_MOST = 2**62


class Origin(NamedTuple):
    """One corpus of a plan, as a state names it.

    Attributes:
        corpus: 16 characters from the corpus's id.
        generation: whose rows are numbered.
        block, window: rows of a block, and over which a lane shuffles.
        digest: over the rows of each part, and how many rows an epoch takes.
    """

    corpus: str
    generation: int
    block: int
    window: int
    digest: int


def corpus_mark(corpus_id: bytes) -> str:
    """How a state names a corpus: 96 bits of its id, which is not secret."""
    return base64.urlsafe_b64encode(corpus_id[:12]).decode()


def digest_of(parts: Ints, rows: int, chosen: int = 0) -> int:
    """A checksum over what numbers the rows: other filters or weights give another. `chosen`: of `Counts`."""
    return zlib.crc32(np.append(parts, (rows, chosen)).astype("<i8").tobytes())


class At(NamedTuple):
    """Where one worker is in a run that is not over: `delivered` rows of its lane."""

    ranks: int
    workers: int
    rank: int
    worker: int
    delivered: int


@dataclass(frozen=True)
class State:
    """The state of a stream; `at` only in the worker of a loader."""

    seed: int
    epoch: int
    uneven: str | None
    origins: tuple[Origin, ...]
    runs: tuple[Run, ...] = ()
    at: At | None = field(default=None)
    seen: bytes = field(default=b"", repr=False)
    """Marks of what was delivered before `runs`, which are of the generations in `origins`; 8 bytes each, sorted."""

    def with_run(self, run: Run) -> State:
        """After another run; one that delivered nothing is left out."""
        empty = not any(run.counts) if run.counts else not run.steps
        return replace(self, runs=self.runs if empty else (*self.runs, run), at=None)

    def dump(self) -> dict[str, Any]:
        """As numbers, text and lists, which JSON and torch.save take."""
        found: dict[str, Any] = {
            "v": VERSION,
            "seed": self.seed,
            "epoch": self.epoch,
            "uneven": _UNEVEN.index(self.uneven),
            "corpora": [list(one) for one in self.origins],
            "runs": [[*one[:4], *one.counts] for one in self.runs],
        }
        if self.at is not None:
            found["at"] = list(self.at)
        if self.seen:
            found["seen"] = base64.b64encode(self.seen).decode()
        return found

    @classmethod
    def load(cls, given: Any) -> State:
        """Raises InvalidArgument: not a state of a stream; UnknownVersion: of a newer securedata."""
        version = given.get("v") if isinstance(given, Mapping) else None
        if isinstance(version, int) and version > VERSION:
            raise UnknownVersion(
                f"the stream's state has version {version}, this securedata reads {VERSION}: update it"
            )
        try:
            if version != VERSION:
                raise ValueError
            at = given.get("at")
            return cls(
                _whole(given["seed"], 2**64),
                _whole(given["epoch"]),
                _UNEVEN[_whole(given["uneven"], len(_UNEVEN))],
                tuple(Origin(str(one[0]), *map(_whole, one[1:])) for one in given["corpora"]),
                tuple(_run(one) for one in given["runs"]),
                None if at is None else At(*map(_whole, at)),
                _marks(given.get("seen", "")),
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            raise InvalidArgument(
                "this is not the state of a stream, or it was damaged: pass what state_dict() or merge_state() returned"
            ) from None


def _marks(text: str) -> bytes:
    marks = base64.b64decode(text, validate=True)
    if len(marks) % 8:
        raise ValueError
    return marks


def _whole(value: Any, most: int = _MOST) -> int:
    if isinstance(value, bool) or int(value) != value or not 0 <= value < most:
        raise ValueError
    return int(value)


def _run(given: Sequence[Any]) -> Run:
    ranks, workers, batch, steps, *counts = map(_whole, given)
    if not ranks or not workers or len(counts) not in (0, workers, ranks * workers):
        raise ValueError
    return Run(ranks, workers, batch, steps, tuple(counts))


def merge_state(states: Any) -> dict[str, Any]:
    """Make one state of the states of a loader's workers, which any number of ranks and workers can continue from.

    torchdata's StatefulDataLoader keeps a state for each worker, and loads it only into as many workers again.

    Args:
        states: what `StatefulDataLoader.state_dict()` returned on one rank, for the other ranks are as far; or a list
            of what it returned on every rank, which is exact also if some delivered fewer rows.

    Returns:
        A state for `stream.load_state_dict`.

    Raises:
        InvalidArgument: there is no stream's state in it, or workers are missing, or they are of different runs.
        UnknownVersion

    Example:
        states = [stream.state_dict()]  # of a StatefulDataLoader: loader.state_dict()
        stream.load_state_dict(sd.merge_state(states))
    """
    several = list(states) if isinstance(states, (list, tuple)) else [states]
    found: dict[tuple[int, int], State] = {}
    whole: list[State] = []
    for one in several:
        for state in _states_in(one):
            if state.at is None:
                whole.append(state)
            else:
                found[state.at.rank, state.at.worker] = state
    if whole and not found:
        return whole[0].dump()
    if not found:
        raise InvalidArgument("there is no state of a stream's worker in what merge_state() was given")
    first = next(iter(found.values()))
    assert first.at is not None
    ranks, workers = first.at.ranks, first.at.workers
    for state in found.values():
        same = state.at is not None and state.at[:2] == (ranks, workers)
        if not same or replace(state, at=None) != replace(first, at=None):
            raise InvalidArgument("merge_state() was given states of different runs: pass those of one step of one run")
    of_ranks = sorted({rank for rank, _ in found})
    counts = [found[rank, worker].at for rank in of_ranks for worker in range(workers) if (rank, worker) in found]
    if len(of_ranks) not in (1, ranks) or len(counts) != len(of_ranks) * workers:
        raise InvalidArgument(
            f"merge_state() needs the states of {workers} workers, of one rank or of all {ranks}; it was given "
            f"{len(counts)} of {len(of_ranks)} ranks"
        )
    return first.with_run(_shortest(ranks, workers, [at.delivered for at in counts if at is not None])).dump()


def _shortest(ranks: int, workers: int, counts: list[int]) -> Run:
    """The run in which a loader's workers delivered so much: as steps if each gave the same batches in turn."""
    of_rank = counts[:workers]
    if counts == of_rank * (len(counts) // workers):
        most, least = max(of_rank), min(of_rank)
        batch = most - least or most or 1
        steps = sum(of_rank) // batch
        if of_rank == [delivered(most, workers, worker, batch, steps) for worker in range(workers)]:
            return Run(ranks, workers, batch, steps)
        counts = of_rank
    return Run(ranks, workers, 0, 0, tuple(counts))


def _states_in(value: Any) -> list[State]:
    if isinstance(value, Mapping):
        if {"v", "seed", "corpora", "runs"} <= set(value):
            return [State.load(value)]
        return [state for one in value.values() for state in _states_in(one)]
    if isinstance(value, (list, tuple)):
        return [state for one in value for state in _states_in(one)]
    return []


def size_of(state: Mapping[str, Any]) -> int:
    """Bytes of a state as JSON."""
    return len(json.dumps(state, separators=(",", ":")))
