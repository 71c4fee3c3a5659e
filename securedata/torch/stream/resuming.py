"""The epochs and states of a stream: where it is, and how it goes on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from torch.utils.data import BatchSampler, get_worker_info

from securedata.corpus.option_values import as_whole
from securedata.corpus.parts.reader import changed
from securedata.errors import InvalidArgument
from securedata.torch.stream.place import rank_and_world
from securedata.torch.stream.planning.plan import Mask, Plan, Run, Source
from securedata.torch.stream.planning.spans import Ints
from securedata.torch.stream.state import At, State, corpus_mark, digest_of


class Named(NamedTuple):
    """A corpus whose rows are planned, and the rows of each of its parts, of which an epoch takes so many.

    `chosen` is that of `Counts`.
    """

    root: str
    corpus_id: bytes
    generation: int
    parts: Ints
    rows: int
    chosen: int = 0


class Resumable:
    """Rows in an order of their own that knows how far it is: a stream or a sampler."""

    _state: State
    _ranks: tuple[int, int] | None
    _delivered: At | None = None
    """Where this process is in the iteration that began last."""

    @abstractmethod
    def _named(self) -> list[Named]:
        """What is planned now."""

    def _read_ahead(self) -> bool:
        """Whether workers have taken more than the loop."""
        return False

    def _workers_of(self, loader: Any) -> int:
        """How many lanes each rank has under a loader."""
        return max(1, int(loader.num_workers))

    @property
    def _epoch_now(self) -> int:
        return self._state.epoch

    @_epoch_now.setter
    def _epoch_now(self, epoch: int) -> None:
        self._state = replace(self._state, epoch=epoch, runs=(), at=None, seen=b"")

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration is of."""
        return self._epoch_now

    def set_epoch(self, epoch: int) -> None:
        """Call it before each epoch: every epoch has an order of its own. Workers that persist begin it as well.

        In the epoch of a state that was loaded it changes nothing, so that what is left of that epoch follows.

        Raises:
            InvalidArgument
        """
        epoch = as_whole("epoch", epoch, 0, 2**62)
        if epoch != self._epoch_now:
            self._epoch_now = epoch
            self._delivered = None

    def _current(self) -> State:
        """The state to begin from: another epoch than the state's begins with all rows."""
        if self._state.epoch == self._epoch_now:
            return self._state
        return replace(self._state, epoch=self._epoch_now, runs=(), at=None, seen=b"")

    def _planned(self) -> Plan:
        state = self._current()
        sources = [
            Source(one.parts, origin.block, origin.window, one.rows)
            for one, origin in zip(self._named(), state.origins, strict=True)
        ]
        plan = Plan(sources, state.seed, state.epoch, state.uneven)
        if state.seen:
            for which in range(len(sources)):
                plan.leave_out(which, self._seen_rows(which))
        for run in state.runs:
            plan.follow(run)
        return plan

    def _takes_newer(self, state: State, named: Sequence[Named]) -> bool:
        """Whether a state of earlier generations is to be taken."""
        return False

    def _moved(self, state: State) -> State:
        """The same state for the generations that are open now."""
        raise NotImplementedError

    def _seen_rows(self, which: int) -> Sequence[Mask]:
        """Which rows of each part of a corpus the state's marks name."""
        raise NotImplementedError

    def _rank_and_world(self) -> tuple[int, int]:
        return self._ranks or rank_and_world()

    def state_dict(self, loader: Any = None, steps: int | None = None) -> dict[str, Any]:
        """How far the epoch is, in some 100 bytes that JSON and torch.save take: no key, no name, no path.

        Without arguments: what this process has delivered. So do torchdata's StatefulDataLoader, which asks each
        worker and has to be asked itself, and a loader without workers.

        Args:
            loader: a DataLoader with workers, which read ahead: only the loop knows what it was given.
            steps: how many batches the loop has taken of it since the iteration began.

        Raises:
            InvalidArgument: `steps` is missing, though workers have read ahead.
        """
        state, at = self._current(), self._delivered
        world = self._rank_and_world()[1]
        if loader is None and steps is None:
            if get_worker_info() is not None:
                return replace(state, at=at).dump()
            if self._read_ahead():
                raise InvalidArgument(
                    "the workers of a loader have read ahead of the loop: pass state_dict(loader, steps), or use "
                    "torchdata's StatefulDataLoader"
                )
            if at is None:
                return state.dump()
            return state.with_run(Run(world, 1, 1, at.delivered)).dump()
        if loader is None or steps is None:
            raise InvalidArgument("state_dict() takes a loader and the steps of the loop, or neither")
        steps = as_whole("steps", steps, 0, 2**62)
        if not getattr(loader, "in_order", True):
            raise InvalidArgument("a loader with in_order=False does not say which batches it gave: use in_order=True")
        return state.with_run(Run(world, self._workers_of(loader), _batch_of(loader), steps)).dump()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state, with any number of ranks and workers; call it on every rank, before the loader starts.

        Raises:
            InvalidArgument: not a state of this stream: of other corpora, filters, weights, or another `uneven=`.
            GenerationChanged: a corpus has changed since, and the stream was not opened with `refresh=True`.
            UnknownVersion: a newer securedata wrote it.
        """
        state = State.load(state_dict)
        named = self._named()
        roots = ", ".join(one.root for one in named)
        if [one.corpus for one in state.origins] != [corpus_mark(one.corpus_id) for one in named]:
            raise InvalidArgument(f"the state is of other corpora than {roots}, or of the same in another order")
        if state.uneven != self._state.uneven:
            raise InvalidArgument(f"the state is of a stream with uneven={state.uneven!r}: open it with the same")
        if self._takes_newer(state, named):
            state = self._moved(state)
        for one, origin in zip(named, state.origins, strict=True):
            if one.generation != origin.generation:
                raise changed(one.root, origin.generation, one.generation)
            if origin.digest != digest_of(one.parts, one.rows, one.chosen):
                raise InvalidArgument(
                    f"the state is of other rows of {roots}: open them with the filters, purpose and weights that it "
                    "was made with"
                )
        if state.at is not None and get_worker_info() is None:
            raise InvalidArgument("this is the state of one worker: load securedata.merge_state(...) of all of them")
        self._epoch_now = state.epoch
        self._state = state
        self._delivered = None
        if state.seen and get_worker_info() is None:  # found once, for all workers
            for which in range(len(named)):
                self._seen_rows(which)


def _batch_of(loader: Any) -> int:
    """How many rows a batch of a loader has. Raises InvalidArgument"""
    sampler, size = getattr(loader, "batch_sampler", None), getattr(loader, "batch_size", None)
    if size is None and sampler is not None:  # torch sets the loader's size to None
        if type(sampler) is not BatchSampler:
            raise InvalidArgument(
                f"a {type(sampler).__name__} does not say batches of which sizes it drew: use torch's BatchSampler, or "
                "batch_size="
            )
        size = sampler.batch_size
    return as_whole("batch_size", 1 if size is None else size, 1, 2**31)
