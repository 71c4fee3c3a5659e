"""`rotate`: seal the head under a fresh corpus key, wrapped by every KMS key that wraps the current one.

From then on the key that earlier readers were given opens no newer head. It takes nothing back: see `rotate`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from securedata.corpus.config import Reference, resolve
from securedata.corpus.fresh_key import FreshKey, names_key
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.writer import Writer
from securedata.printable import plural
from securedata.storage.base import Storage


@dataclass(frozen=True, slots=True)
class RotateReport:
    """Results of `rotate`.

    Attributes:
        root: of the corpus.
        generation: of the head that was sealed under the fresh key.
        wraps: the KMS keys that open it, as the head names them.
        dropped: those that opened the head before it, and do not open this one.
    """

    root: str
    generation: int
    wraps: tuple[str, ...]
    dropped: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.root}: generation {self.generation}, a fresh corpus key, {plural(len(self.wraps), 'wrap')}"


def rotate(
    target: str | os.PathLike[str] | Reference,
    *,
    drop_wraps: Sequence[str] = (),
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    single_writer: bool = False,
    accept_generation: int | None = None,
    storage: Storage | None = None,
) -> RotateReport:
    """Seal the head under a fresh corpus key, wrapped by every KMS key that wraps the current one.

    Asks the KMS for one Decrypt to open the head, and for one Encrypt and one Decrypt per wrap, before anything is
    written. No object and no part is touched. Readers in flight go on; they take the fresh key when they renew theirs.

    It takes nothing back. Who could read the corpus before may have kept recordings, words, and the data keys of
    objects; a head that was saved before is still opened by the KMS keys that wrapped it.

    Args:
        target: a name from the config, `securedata://NAME`, a path or a URL.
        drop_wraps: KMS URIs, as in the head or in a config, that do not open the new head; their KMS is not asked.
        kms: KMS URIs that are trusted, of all wraps that stay. None: from the config.
        pin: identifies the corpus, as `securedata info` prints it. None: from the config.
        single_writer: rotate on storage where two writers could lose rows; nobody else may ever write there.
        accept_generation: take a head of this generation although this machine has seen a newer one.
        storage: used instead of the one that the root names, for tests and benchmarks.

    Raises:
        PinRequired: the pin is missing; no request was made.
        InvalidArgument: a wrap to drop is not there, or none would remain.
        NoTrustedKey: a wrap that stays is by a key that the caller does not name.
        KMSDenied, KMSUnreachable, KMSThrottled: a wrap was not made; nothing was committed.
        CommitRace, OutcomeUnknown, StorageError, ...: as `Writer.transact`; it can be run again.
    """
    # with the user's own credentials: a role's session may not encrypt
    reference = resolve(target, kms, pin).without_role()
    writer = Writer(reference, single_writer=single_writer, accept_generation=accept_generation, storage=storage)
    return rotate_head(writer, drop_wraps)


def rotate_head(writer: Writer, drop_wraps: Sequence[str] = ()) -> RotateReport:
    """As `rotate`, with an open writer: one commit."""
    fresh = FreshKey(writer.root, writer.trusted, drop_wraps)

    def change(attempt: Try) -> Next[RotateReport]:
        head, members = attempt.head, fresh.members(attempt.opened)
        dropped = tuple(wrap.uri for wrap in head.wraps if any(names_key(uri, wrap) for uri in drop_wraps))
        kept = tuple(wrap.uri for wrap in members["wraps"])
        return Next(RotateReport(writer.root, head.generation + 1, kept, dropped), members, fresh.key)

    return writer.transact(change)
