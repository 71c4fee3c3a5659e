"""New objects and packs of a corpus: put under new ids, and known until a commit names them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from securedata.corpus.objects.put import Put, put_object, put_objects, seal_object
from securedata.corpus.objects.uncommitted import Uncommitted
from securedata.corpus.packs.put import PackPut, put_pack
from securedata.corpus.state.head import Head
from securedata.corpus.state.live import LiveParts
from securedata.corpus.state.writer_lease import WriterLease
from securedata.format.cobblestone import Buffer
from securedata.storage.base import Storage


class ObjectWriter:
    """The part of a writer that puts objects and packs. Any thread may call it."""

    def __init__(self, root: str, storage: Storage, lease: WriterLease, live: LiveParts) -> None:
        self.root, self.storage = root, storage
        self._lease = self.lease = lease
        self._live = live
        self._uncommitted = self.uncommitted = Uncommitted(storage)
        self.corpus_id = self.head.corpus_id

    @property
    def head(self) -> Head:
        """The newest head that this writer has seen."""
        return self._lease.opened.head

    def refresh(self) -> Head:
        """Read the current head."""
        self._lease.check()
        head = self._lease.read().head
        self._live.forget_all_but(head)
        return head

    def put_object(self, pieces: Iterable[Buffer]) -> Put:
        """Seal pieces of plaintext into a new object, store it and check it.

        If a prune deleted it before it was checked, its rows are stale, and `commit` does not add them.

        Raises:
            KeysExpired, as `put.put_object`
        """
        looked, horizon = self._uncommitted.look(), self.head.horizon
        put = put_object(self.storage, self.corpus_id, self._lease.guard(pieces), self._pruned_since(horizon))
        self._uncommitted.add(put.object_id, put.time, looked, horizon)
        return put

    def put_objects(self, plains: Iterable[bytes]) -> Iterator[tuple[int, Put]]:
        """Seal whole plaintexts, each into a new object, and store them in parallel. Raises as `put_object`."""
        looked, horizon = self._uncommitted.look(), self.head.horizon
        sources = self._lease.guard(plains)
        for at, put in put_objects(self.storage, self.corpus_id, sources, self._pruned_since(horizon)):
            self._uncommitted.add(put.object_id, put.time, looked, horizon)
            yield at, put

    def seal(self, plain: bytes) -> tuple[Put, Buffer]:
        """Seal a whole plaintext into a member for `put_pack`; nothing is stored. Raises as `put.seal_object`."""
        return seal_object(self.root, self.corpus_id, plain, check=True)

    def put_pack(self, members: Iterable[Buffer]) -> PackPut:
        """As `packs.put.put_pack`: store sealed objects, each opened by the caller. Also raises KeysExpired."""
        looked, horizon = self._uncommitted.look(), self.head.horizon
        put = put_pack(self.storage, self._lease.guard(members), self._pruned_since(horizon))
        self._uncommitted.add(put.pack_id, put.time, looked, horizon, pack=True)
        return put

    def _pruned_since(self, horizon: float) -> Callable[[], bool]:
        """A check for whether the head now has another horizon: every prune commits one before it deletes."""
        return lambda: self._lease.read().head.horizon != horizon

    def put_times(self, ids: Iterable[bytes], head: Head) -> Mapping[bytes, float]:
        """For `Changes.put_times`; called in every try, with its new objects and packs, and its head.

        Raises:
            StorageError
        """
        self._uncommitted.look()
        self._uncommitted.look_for(ids, head.horizon)
        return self._uncommitted.times

    def discard(self, ids: Iterable[bytes]) -> None:
        """Delete objects and packs that this writer put and that no commit has or may have named; others stay.

        What the current head names is never deleted, even if it is passed here. Rows of what is deleted are stale.

        Raises:
            StorageError, KeysError, CorpusError: the head cannot be read, or an object cannot be deleted.
        """
        mine = self._uncommitted.among(ids)
        if not mine:
            return
        for id in sorted(set(mine) - self._live.named(self.refresh(), mine)):
            self.storage.delete(self._uncommitted.key(id))
            self._uncommitted.doubt([id])  # not forgotten: no later commit may name it
