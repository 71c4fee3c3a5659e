"""States that name what was delivered, so that an epoch goes on over a corpus that has changed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from securedata.corpus.parts.counting import Counts
from securedata.corpus.parts.reader import PartwiseCorpus
from securedata.errors import GenerationChanged, InvalidArgument
from securedata.torch.stream.opened import marks_of, seen_among
from securedata.torch.stream.planning.plan import Mask
from securedata.torch.stream.resuming import Named, Resumable
from securedata.torch.stream.state import Origin, State

_COLUMNS = ("object_id", "origin", "start", "recording")


class Movable(Resumable):
    """A stream whose state can be taken to a newer generation."""

    corpora: tuple[PartwiseCorpus, ...]
    _counts: list[Counts]
    _weights: tuple[float, ...] | None
    _refresh: bool
    _seen_of: tuple[bytes, dict[int, list[Mask]]]
    """For the marks of a state, the rows of each part of each corpus that they name."""

    @abstractmethod
    def _origins(self) -> tuple[Origin, ...]:
        """What a new plan is made from."""

    def _takes_newer(self, state: State, named: Sequence[Named]) -> bool:
        moved = any(one.generation != origin.generation for one, origin in zip(named, state.origins, strict=True))
        if moved and self._refresh and (state.runs or state.at):
            raise GenerationChanged(
                f"{named[0].root} has changed since the state was saved, which does not name what was delivered: "
                "save stream.with_objects(state) before a corpus changes, and load that with refresh=True",
                root=named[0].root,
            )
        return moved and self._refresh

    def _moved(self, state: State) -> State:
        return replace(state, origins=self._origins())

    def _seen_rows(self, which: int, seen: bytes) -> list[Mask]:
        if self._seen_of[0] != seen:
            self._seen_of = (seen, {})
        known = self._seen_of[1]
        if which not in known:
            tables = self.corpora[which].tables(_COLUMNS, self._counts[which].exact)
            known[which] = [seen_among(marks_of(one), seen) for one in tables]
        return known[which]

    def with_objects(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """A state that also names the objects that were delivered, by 8 bytes each, of this epoch.

        From it a stream that is opened with `refresh=True` goes on after the corpus has changed: what was erased or
        removed since is left out, what was added comes, and nothing comes twice. It reads all manifest parts.

        Args:
            state: what `state_dict` or `merge_state` returned, of the generation that this stream has open.

        Raises:
            as `load_state_dict`; InvalidArgument if the stream has `weights`, by which a recording comes several times.
        """
        if self._weights is not None:
            raise InvalidArgument("with weights= a recording can come several times, so a state cannot name it")
        loaded = self._accepted(state)
        plan = self._planned(loaded)
        found = [np.frombuffer(loaded.seen, "<u8")]
        for which, (corpus, counts) in enumerate(zip(self.corpora, self._counts, strict=True)):
            delivered = [np.ones(rows, bool) for rows in counts.rows.tolist()]
            for _, left in plan.left(which):
                for part in np.unique(left.part).tolist():
                    delivered[part][left.row[left.part == part]] = False
            for table, mask in zip(corpus.tables(_COLUMNS, counts.exact), delivered, strict=True):
                found.append(marks_of(table)[mask])
        return replace(loaded, runs=(), seen=np.unique(np.concatenate(found)).astype("<u8").tobytes()).dump()
