"""What a writer has put and no commit is known to name."""

from __future__ import annotations

import math
from collections.abc import Iterable

from securedata.corpus.objects.fetch import PIECE
from securedata.corpus.objects.put import GONE
from securedata.corpus.state.layout import object_key, pack_key
from securedata.errors import SecuredataError
from securedata.storage.base import Storage, Wanted


class Uncommitted:
    """The objects and packs that a writer has put and no commit is known to name, with storage's time of each.

    The time is -inf for an object whose commit is in doubt, which storage lost, or which its writer discarded: it is
    stale for every later commit, and only a prune deletes it.
    """

    def __init__(self, storage: Storage) -> None:
        self.times: dict[bytes, float] = {}
        self._horizons: dict[bytes, float] = {}
        self._packs: set[bytes] = set()
        self._storage = storage
        self._lost = storage.lost

    def look(self) -> int:
        """Give up what storage has lost since the last look; returns a number to pass to `add` with later puts."""
        if self._storage.lost != self._lost:
            self._lost = self._storage.lost
            self.times.update(dict.fromkeys(self.times, -math.inf))
        return self._lost

    def add(self, id: bytes, time: float, looked: int, horizon: float, pack: bool = False) -> None:
        """Record an object, or a pack.

        Args:
            looked: what `look` returned before it was put; storage may have lost it since then.
            horizon: of the newest head before it was put.
        """
        self._horizons[id] = horizon
        self.times[id] = time if self._storage.lost == looked else -math.inf
        if pack:
            self._packs.add(id)

    def key(self, id: bytes) -> str:
        """The storage key of one of them."""
        return pack_key(id) if id in self._packs else object_key(id)

    def hand_over(self, object_ids: Iterable[bytes]) -> list[tuple[bytes, float]]:
        """Make objects durable and leave them to the writer of another process, which commits.

        Returns:
            Their ids, with storage's time of each, or -inf if it did not last. Nothing is known of them here then.

        Raises:
            StorageUnreachable: they were lost on the way to the disk.
        """
        ids = list(object_ids)
        self._storage.make_durable()
        self.look()
        found = [(id, self.times.get(id, -math.inf)) for id in ids]
        self.forget(ids)
        return found

    def take_over(self, objects: Iterable[tuple[bytes, float]], horizon: float) -> None:
        """Take over what another process handed over, as if it had been put here: a commit may name it.

        Args:
            horizon: of the head that the other process had before it put them.
        """
        for object_id, stored in objects:
            self._horizons[object_id], self.times[object_id] = horizon, stored

    def forget(self, object_ids: Iterable[bytes]) -> None:
        for object_id in object_ids:
            self.times.pop(object_id, None)
            self._horizons.pop(object_id, None)
            self._packs.discard(object_id)

    def look_for(self, object_ids: Iterable[bytes], horizon: float) -> None:
        """Give up those of `object_ids` that were put under a horizon other than this one, and are gone.

        A horizon that was ahead and was set back no longer shows the prune that deleted by it.

        Raises:
            StorageError
        """
        ids = [id for id in self.among(object_ids) if self._horizons.get(id, horizon) != horizon]
        wanted = [Wanted(self.key(id), 0, 1) for id in ids]
        for at, got in self._storage.get_many(wanted, PIECE) if ids else ():
            if isinstance(got, GONE):
                self.times[ids[at]] = -math.inf
            elif isinstance(got, SecuredataError):
                raise got
            else:
                self._horizons[ids[at]] = horizon

    def doubt(self, object_ids: Iterable[bytes]) -> None:
        """Mark objects that a head may name or have named, or that are gone."""
        self.times.update((id, -math.inf) for id in object_ids if id in self.times)

    def among(self, object_ids: Iterable[bytes]) -> list[bytes]:
        """Those of `object_ids` that certainly no head names."""
        return [id for id in object_ids if self.times.get(id, -math.inf) > -math.inf]
