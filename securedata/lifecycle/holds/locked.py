"""What opens the rows of a held person, by the head that names it, and heads that have a legal hold."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from securedata.corpus.rows.checks import rows_of
from securedata.corpus.state.head import Head, open_head, open_with, peek
from securedata.corpus.state.layout import object_key, pack_key
from securedata.corpus.state.tables import read_table
from securedata.corpus.writer import Writer
from securedata.errors import (
    DeleteRefused,
    FormatError,
    KMSDenied,
    MalformedManifest,
    NotFound,
    NoTrustedKey,
    PinMismatch,
)
from securedata.keys.kms import retry_throttled
from securedata.keys.tags import Tagger
from securedata.storage.base import PARTIAL, Buffer, Storage

_COLUMNS = ("subjects", "object_id", "pack")

Flagged = frozenset[tuple[bytes, str]]
"""Holds that have legal holds, by tag and case."""


@dataclass(frozen=True, slots=True)
class Needed:
    """What opens the rows of some people.

    Attributes:
        parts: storage keys of the manifest parts with their rows.
        objects: storage keys of their objects that are in no pack.
        packs: storage keys of the packs with their other objects. These have recordings of other people, too.
    """

    parts: tuple[str, ...]
    objects: tuple[str, ...]
    packs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Locked:
    """What has legal holds for a hold now.

    Attributes:
        objects, packs, parts: how many, beside one version of the head. `objects` are in no pack.
        missing: how many of both storage does not have; 'securedata verify' lists them.
        generation: of that head.
    """

    objects: int
    packs: int
    parts: int
    missing: int
    generation: int


def flagged(head: Head) -> Flagged:
    """The holds of a head that have legal holds."""
    return frozenset((one.tag, one.case) for one in head.holds if one.object_lock)


def needed_for(head: Head, storage: Storage, tags: Collection[bytes], *, gone_ok: bool = False) -> Needed:
    """What opens the rows of these people, by a head.

    Args:
        gone_ok: leave out parts that storage does not have any more.

    Raises:
        NotFound: storage does not have a part any more.
        FormatError, StorageError
    """
    tagger, wanted = Tagger(head.secret), set(tags)
    parts: list[str] = []
    objects: dict[str, None] = {}
    packs: dict[str, None] = {}
    for part in head.parts if wanted else ():
        try:
            view = read_table(storage, head.corpus_id, part, _COLUMNS)
        except NotFound:
            if not gone_ok:
                raise
            continue
        rows = sorted(rows_of(view, tagger, wanted))
        if not rows:
            continue
        parts.append(part.storage_key)
        mine = view.take(rows)
        for id, pack in zip(mine.column("object_id").to_pylist(), mine.column("pack").to_pylist(), strict=True):
            if pack is None:
                objects[object_key(id)] = None
            else:
                packs[pack_key(pack)] = None
    return Needed(tuple(parts), tuple(objects), tuple(packs))


def refuse_locked(head: Head, root: str, partial: bool) -> None:
    """Refuse an erasure that legal holds would stop after its commit, unless it is to go on.

    Raises:
        DeleteRefused
    """
    cases = sorted({case for _, case in flagged(head)})
    if cases and not partial:
        raise DeleteRefused(
            f"{root}: for {'case' if len(cases) == 1 else 'cases'} {', '.join(cases)}, legal holds of Object Lock keep "
            "older versions of the head and manifest parts, with keys and names of everyone in them; nothing was "
            f"erased: end the hold with 'securedata hold release', or {PARTIAL}",
            root=root,
        )


class Heads:
    """Opens versions of the head, also under earlier corpus keys: one unwrap for each."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._keys: dict[bytes, bytes] = {}

    def open(self, data: Buffer, version: str = "") -> Head:
        """Open a head, which may be an old one.

        Raises:
            NoTrustedKey, KMSDenied, PinMismatch, FormatError: it cannot be opened; the text says what to do.
        """
        root, writer = self._writer.root, self._writer
        try:
            key_id = peek(data, root)[0].key_id
            if (key := self._keys.get(key_id)) is not None:
                return open_with(data, key, root)
            opened = retry_throttled(lambda: open_head(data, "", root, writer.trusted, writer.reference.pins))
        except (NoTrustedKey, KMSDenied, PinMismatch, FormatError, MalformedManifest) as error:
            if not version:
                raise
            raise type(error)(
                f"{error}; this is version {version} of the head, which has a legal hold, and what it keeps cannot be "
                "told: name its KMS key with --kms; or, if that key is gone, it opens nothing: turn off the legal hold "
                f"of this version with the tools of your storage, and run the same command again",
                root=root,
            ) from error
        self._keys[key_id] = opened.key
        return opened.head
