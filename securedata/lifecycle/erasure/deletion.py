"""Delete what an erasing commit took out, with all versions and all older heads, and check that it is gone."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from securedata.corpus.state.head import MAX_SEALED, Head, peek
from securedata.corpus.state.layout import HEAD, TABLES
from securedata.corpus.state.retired import entries, storage_key
from securedata.corpus.writer import Writer
from securedata.errors import AccessDenied, CorpusError, DeleteRefused, FormatError, NotFound, SecuredataError
from securedata.format.cobblestone import Buffer
from securedata.lifecycle.erasure.journal import Open
from securedata.lifecycle.receipt.members import Check, Deleted
from securedata.lifecycle.select import ByPerson
from securedata.storage.base import Purged

_Outcome = tuple[str, Purged | SecuredataError]


@dataclass(frozen=True, slots=True)
class Gone:
    """What was deleted, and what was checked afterwards.

    Attributes:
        packs: ids of deleted packs, of which nothing else was alive.
        remain: why old versions remain; empty if none is visible any more.
    """

    deleted: Deleted
    packs: tuple[bytes, ...]
    checks: tuple[Check, ...]
    remain: tuple[str, ...]


class Deletion:
    """The deletion of one erasure. It can be run again after any interruption."""

    def __init__(self, writer: Writer, one: Open, partial: bool, progress: bool) -> None:
        """`partial`: go on where storage refuses to list or delete versions, and note why."""
        self._writer, self._one, self._partial, self._progress = writer, one, partial, progress
        self._storage = writer.storage
        self._remain: dict[str, None] = {}

    def run(self) -> Gone:
        """Delete strictly what the erasure took out, every part on another leaving list, and all older heads; check.

        Raises:
            DeleteRefused: storage refuses, and the operator does not go on all the same.
            StorageError, KeysError, CorpusError: run it again.
        """
        head = self._writer.refresh()
        objects, parts, packs = self._listed(head)
        what = {"object": objects, "part": parts, "pack": packs}
        keys = [storage_key(kind, id) for kind, ids in what.items() for id in ids]
        versions = self._purge(keys)
        heads = self._purge_heads()
        left = "; ".join(self._remain) or "none is listed any more"
        checks = (
            Check(
                "objects and manifest parts",
                "each was deleted with all its versions, the deletion was answered, and its absence listed",
                not self._remain,
                f"{versions} versions were deleted in this run; {left}",
            ),
            Check(
                "older heads",
                "the head's versions were read from the newest on, and from the first under a replaced key on deleted",
                not self._remain,
                f"{heads} versions were deleted in this run; {left}",
            ),
            self._check_rows([*objects, *parts, *packs]),
        )
        return Gone(Deleted.of(objects, parts, heads), tuple(packs), checks, tuple(self._remain))

    def _listed(self, head: Head) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """Ids of objects, parts and packs to delete: those of the erasure's own list, and parts of every other list.

        A part that left earlier has names and keys of people who are erased now.
        """
        objects: list[bytes] = []
        parts: list[bytes] = []
        packs: list[bytes] = []
        for each in head.retired:
            try:
                found = entries(self._storage, head, each)
            except NotFound:  # another writer has cleared it since
                continue
            if each.table.id == self._one.leaving:
                objects += [id for id, what in found if what == "object"]
                packs += [id for id, what in found if what == "pack"]
            parts += [id for id, what in found if what == "part"]
        again = self._writer.named([*objects, *parts, *packs])
        kept = ([id for id in ids if id not in again] for ids in (objects, parts, packs))
        return next(kept), next(kept), next(kept)

    def _purge(self, keys: list[str]) -> int:
        """Delete the keys, and the parts that somebody without the right to delete versions has only hidden."""
        versions = 0
        for key, outcome in self._shown(self._outcomes(keys), len(keys)):
            if isinstance(outcome, Purged):
                versions += outcome.versions
            elif isinstance(outcome, DeleteRefused) and self._partial:
                self._note(outcome)
                self._hide(key)
            else:
                raise outcome
        return versions

    def _shown(self, outcomes: Iterator[_Outcome], total: int) -> Iterator[_Outcome]:
        """The outcomes, under a bar if it can be seen: tqdm's lock is shared with forks, and outlives a killed one."""
        if not (self._progress and sys.stderr.isatty()):
            return outcomes
        from tqdm import tqdm

        return iter(tqdm(outcomes, total=total, desc="deleting", unit=" objects", file=sys.stderr))

    def _outcomes(self, keys: list[str]) -> Iterator[_Outcome]:
        left = dict.fromkeys(keys)
        try:
            for key, outcome in self._storage.purge(keys):
                left.pop(key, None)
                yield key, outcome
            yield from self._storage.purge(self._storage.deleted_keys(TABLES, strict=True))
        except DeleteRefused as error:
            if not self._partial:
                raise
            self._note(error)
            for key in left:
                self._delete_or_hide(key)

    def _delete_or_hide(self, key: str) -> None:
        try:
            self._storage.delete(key)
        except AccessDenied:  # of one version, after versions could be listed again
            self._hide(key)

    def _hide(self, key: str) -> None:
        """Hide what may not be deleted from plain GETs: readers that still have its key then get nothing."""
        try:
            self._storage.hide(key)
        except AccessDenied:
            text = "what may not be deleted still answers plain reads, since hiding it was refused, too"
            self._note(DeleteRefused(f"{self._storage.url}: {text}"))

    def _purge_heads(self) -> int:
        try:
            return self._storage.purge_older(HEAD, self._is_older, MAX_SEALED)
        except DeleteRefused as error:
            if not self._partial:
                raise
            self._note(error)
            return 0

    def _is_older(self, data: Buffer) -> bool:
        """Is it a head under a corpus key that was replaced, or none at all?"""
        head = self._writer.head
        try:
            header = peek(data, self._writer.root)[0]
        except FormatError:
            return True
        return header.corpus_id != head.corpus_id or header.key_id in head.superseded

    def _note(self, error: DeleteRefused) -> None:
        """Keep the reason, once: the texts differ by the key that they begin with."""
        text = str(error).partition("; ")[0]
        self._remain[text.rpartition(f" of {self._storage.url}: ")[2].removeprefix(f"{self._storage.url}: ")] = None

    def _check_rows(self, ids: Iterable[bytes]) -> Check:
        """Check that the current head names nothing of what was erased, and no row of an erased person.

        Raises:
            CorpusError: it does, and no other run has finished the erasure meanwhile.
        """
        head = self._writer.refresh()
        again = len(self._writer.named(ids))
        if self._one.people:
            select = ByPerson(self._one.people)
            for part in head.parts:
                again += int(select.hits(head, self._writer.read_table(part, select.columns)).sum())
        if again and any(entry["id"] == self._one.draft.id for entry in head.erasures):
            raise CorpusError(
                f"the erasure {self._one.draft.id} of {self._writer.root} is not finished: the head of generation "
                f"{head.generation} names {again} rows or objects of what was erased; run 'securedata verify'",
                root=self._writer.root,
            )
        return Check(
            "rows",
            "the current head and all its manifest parts were read",
            True,
            f"the head of generation {head.generation} names nothing of what was erased",
        )
