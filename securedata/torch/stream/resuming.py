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
from securedata.torch.stream.planning.dealing import rank_share, size_of, worker_share
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


class Iteration:
    """One way through what is left of an epoch.

    Attributes:
        state: what it began from.
        at: how far it is.
        ahead: whether a loader draws more of it than its loop was given.
    """

    def __init__(self, state: State, at: At, ahead: bool) -> None:
        self.state, self.at, self.ahead = state, at, ahead


class Resumable:
    """Rows in an order of their own that knows how far it is: a stream or a sampler."""

    _state: State
    _ranks: tuple[int, int] | None
    _iteration: Iteration | None = None
    """The one that began last in this process, since the epoch was set or a state was loaded."""
    _strayed = False
    """Whether another one, from before, has delivered since."""
    _left_of: tuple[State, int] | None = None
    """A state, and how many rows it leaves."""

    @abstractmethod
    def _named(self) -> list[Named]:
        """What is planned now."""

    def _read_ahead(self) -> bool:
        """Whether a loader has taken more than its loop."""
        return self._iteration is not None and self._iteration.ahead

    def _begun(self, loader: Any) -> bool:
        """Whether an iteration under a loader has begun since the epoch was set or a state was loaded."""
        return self._iteration is not None

    def _settle(self) -> None:
        """Called first: another process might have given this one what is here."""

    def _begin(self, state: State, at: At, ahead: bool = False) -> Iteration:
        """The iteration that begins now, from a state."""
        self._iteration = Iteration(state, at, ahead)
        self._strayed = False
        return self._iteration

    def _advance(self, iteration: Iteration) -> None:
        """It delivers one row more."""
        iteration.at = iteration.at._replace(delivered=iteration.at.delivered + 1)
        self._strayed = self._strayed or iteration is not self._iteration

    def _restart(self, loaded: bool) -> None:
        """The next iteration begins from something else: a state was `loaded`, or the epoch was set."""
        self._iteration, self._strayed = None, False

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

        In the epoch of a state that was loaded it changes nothing, so that what is left of that epoch follows. An
        iteration that is under way goes on in its epoch, but no longer counts in `state_dict`.

        Raises:
            InvalidArgument
        """
        epoch = as_whole("epoch", epoch, 0, 2**62)
        self._settle()
        begun = self._epoch_now if self._iteration is None else self._iteration.state.epoch
        if epoch != self._epoch_now or epoch != begun:
            self._epoch_now = epoch
            self._restart(loaded=False)

    def _current(self) -> State:
        """The state to begin from: another epoch than the state's begins with all rows."""
        if self._state.epoch == self._epoch_now:
            return self._state
        return replace(self._state, epoch=self._epoch_now, runs=(), at=None, seen=b"")

    def _planned(self, state: State | None = None) -> Plan:
        """What is left to deliver after a state; None: the one to begin from."""
        state = self._current() if state is None else state
        sources = [
            Source(one.parts, origin.block, origin.window, one.rows)
            for one, origin in zip(self._named(), state.origins, strict=True)
        ]
        plan = Plan(sources, state.seed, state.epoch, state.uneven)
        if state.seen:
            for which in range(len(sources)):
                plan.leave_out(which, self._seen_rows(which, state.seen))
        for run in state.runs:
            plan.follow(run)
        return plan

    def _takes_newer(self, state: State, named: Sequence[Named]) -> bool:
        """Whether a state of earlier generations is to be taken."""
        return False

    def _moved(self, state: State) -> State:
        """The same state for the generations that are open now."""
        raise NotImplementedError

    def _seen_rows(self, which: int, seen: bytes) -> Sequence[Mask]:
        """Which rows of each part of a corpus a state's marks name."""
        raise NotImplementedError

    def _rank_and_world(self) -> tuple[int, int]:
        return self._ranks or rank_and_world()

    def state_dict(self, loader: Any = None, steps: int | None = None) -> dict[str, Any]:
        """How far the epoch is, in some 100 bytes that JSON and torch.save take: no key, no name, no path.

        Without arguments: what was delivered by the iteration that began last in this process. So do torchdata's
        StatefulDataLoader, which asks each worker and has to be asked itself, and a loader without workers.

        Args:
            loader: a DataLoader with workers, which read ahead: only the loop knows what it was given.
            steps: how many batches the loop has taken of it since the iteration began.

        Raises:
            InvalidArgument: `steps` is missing, though workers have read ahead, or is more than the loader has; or what
                was delivered is no part of one epoch: an iteration went on after another began, or after `set_epoch` or
                `load_state_dict`.
        """
        self._settle()
        if loader is None and steps is None:
            return self._state_here().dump()
        if loader is None or steps is None:
            raise InvalidArgument("state_dict() takes a loader and the steps of the loop, or neither")
        steps = as_whole("steps", steps, 0, 2**62)
        if not getattr(loader, "in_order", True):
            raise InvalidArgument("a loader with in_order=False does not say which batches it gave: use in_order=True")
        batch = _batch_of(loader)
        if steps and not self._begun(loader):
            raise InvalidArgument(
                "no iteration has begun since set_epoch() or load_state_dict(), or at all, so there are no steps: ask "
                "for the state of an epoch before you set another"
            )
        state, workers = self._current(), self._workers_of(loader)
        rank, world = self._rank_and_world()
        share = rank_share(self._rows_left(state), world, rank, state.uneven)
        most = sum(-(-size_of(worker_share(share, workers, worker)) // batch) for worker in range(workers))
        if steps > most:
            raise InvalidArgument(
                f"steps={steps}, but the loader has only {most} batches of what is left of epoch {state.epoch}: count "
                "the batches of one iteration, in each epoch from 1 again"
            )
        return state.with_run(Run(world, workers, batch, steps)).dump()

    def _rows_left(self, state: State) -> int:
        """How many rows of its epoch a state leaves; found once, as it is asked for after each step."""
        known = self._left_of
        if known is None or known[0] != state:
            known = self._left_of = state, len(self._planned(state))
        return known[1]

    def _state_here(self) -> State:
        if self._strayed:
            raise InvalidArgument(
                "an iteration went on after another began, or after set_epoch() or load_state_dict(): no state says "
                "what both delivered, so end the first, or give each a stream or sampler of its own"
            )
        iteration = self._iteration
        if get_worker_info() is not None:
            return self._current() if iteration is None else replace(iteration.state, at=iteration.at)
        if self._read_ahead():
            raise InvalidArgument(
                "the workers of a loader have read ahead of the loop: pass state_dict(loader, steps), or use "
                "torchdata's StatefulDataLoader"
            )
        if iteration is None:
            return self._current()
        return iteration.state.with_run(Run(iteration.at.ranks, 1, 1, iteration.at.delivered))

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state, with any number of ranks and workers; call it on every rank, before the loader starts.

        An iteration that is under way goes on by itself, but no longer counts in `state_dict`.

        Raises:
            InvalidArgument: not a state of this stream: of other corpora, filters, weights, or another `uneven=`.
            GenerationChanged: a corpus has changed since, and the stream was not opened with `refresh=True`.
            UnknownVersion: a newer securedata wrote it.
        """
        self._settle()
        state = self._accepted(state_dict)
        self._epoch_now = state.epoch
        self._state = state
        self._restart(loaded=True)
        if state.seen and get_worker_info() is None:  # found once, for all workers
            for which in range(len(state.origins)):
                self._seen_rows(which, state.seen)

    def _accepted(self, state_dict: Mapping[str, Any]) -> State:
        """A state to continue from. Raises as `load_state_dict`."""
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
        return state


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
