"""The epochs and states of a stream: where it is, and how it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch.utils.data import get_worker_info

from securedata.corpus.option_values import as_whole
from securedata.corpus.parts.counting import Counts
from securedata.corpus.parts.reader import PartwiseCorpus, changed
from securedata.errors import InvalidArgument
from securedata.torch.stats import Tally
from securedata.torch.stream.epoch import Epoch
from securedata.torch.stream.place import rank_and_world
from securedata.torch.stream.plan import Plan, Run, Source
from securedata.torch.stream.state import At, State, corpus_mark, digest_of


class Resumable:
    """A stream that knows how far it is."""

    corpora: tuple[PartwiseCorpus, ...]
    _counts: list[Counts]
    _rows: Sequence[int]
    _state: State
    _epoch: Epoch
    _tally: Tally
    _ranks: tuple[int, int] | None
    _delivered: At | None
    """Where this process is in the iteration that began last."""

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration is of."""
        return self._epoch.number

    def set_epoch(self, epoch: int) -> None:
        """Call it before each epoch: every epoch has an order of its own. Workers that persist begin it as well.

        In the epoch of a state that was loaded it changes nothing, so that what is left of that epoch follows.

        Raises:
            InvalidArgument
        """
        self._epoch.number = as_whole("epoch", epoch, 0, 2**62)

    def _current(self) -> State:
        """The state to begin from: another epoch than the state's begins with all rows."""
        if self._state.epoch == self.epoch:
            return self._state
        return replace(self._state, epoch=self.epoch, runs=(), at=None)

    def _planned(self) -> Plan:
        state = self._current()
        sources = [
            Source(counts.rows, origin.block, origin.window, rows)
            for counts, origin, rows in zip(self._counts, state.origins, self._rows, strict=True)
        ]
        plan = Plan(sources, state.seed, state.epoch, state.uneven)
        for run in state.runs:
            plan.follow(run)
        return plan

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
            if at is None:
                if self._tally.total().samples > self._tally.samples:
                    raise InvalidArgument(
                        "the workers of a loader have read ahead of the loop: pass state_dict(loader, steps), or use "
                        "torchdata's StatefulDataLoader"
                    )
                return state.dump()
            return state.with_run(Run(world, 1, 1, at.delivered)).dump()
        if loader is None or steps is None:
            raise InvalidArgument("state_dict() takes a loader and the steps of the loop, or neither")
        steps = as_whole("steps", steps, 0, 2**62)
        if not getattr(loader, "in_order", True):
            raise InvalidArgument("a loader with in_order=False does not say which batches it gave: use in_order=True")
        batch = as_whole("batch_size", getattr(loader, "batch_size", None) or 1, 1, 2**31)
        return state.with_run(Run(world, max(1, int(loader.num_workers)), batch, steps)).dump()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state, with any number of ranks and workers; call it on every rank, before the loader starts.

        Raises:
            InvalidArgument: not a state of this stream: of other corpora, filters, weights, or another `uneven=`.
            GenerationChanged: a corpus has changed since, and the stream was not opened with `refresh=True`.
            UnknownVersion: a newer securedata wrote it.
        """
        state = State.load(state_dict)
        if [one.corpus for one in state.origins] != [corpus_mark(one.corpus_id) for one in self.corpora]:
            raise InvalidArgument(
                f"the state is of other corpora, or of the same in another order, than {self._roots()}"
            )
        if state.uneven != self._state.uneven:
            raise InvalidArgument(f"the state is of a stream with uneven={state.uneven!r}: open it with the same")
        for corpus, origin in zip(self.corpora, state.origins, strict=True):
            if corpus.generation != origin.generation:
                raise changed(corpus.root, origin.generation, corpus.generation)
        for counts, rows, origin in zip(self._counts, self._rows, state.origins, strict=True):
            if origin.digest != digest_of(counts.rows, rows):
                raise InvalidArgument(
                    f"the state is of other rows of {self._roots()}: open the stream with the filters, purpose and "
                    "weights that it was made with"
                )
        if state.at is not None and get_worker_info() is None:
            raise InvalidArgument("this is the state of one worker: load securedata.merge_state(...) of all of them")
        self._state = state
        self._epoch.number = state.epoch
        self._delivered = None

    def _roots(self) -> str:
        return ", ".join(corpus.name or corpus.root for corpus in self.corpora)
