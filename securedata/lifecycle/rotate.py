"""`rotate`: seal the head under a fresh corpus key, wrapped by every KMS key that wraps the current one.

From then on the key that earlier readers were given opens no newer head. It takes nothing back: see `rotate`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from securedata.corpus.config import Reference, resolve
from securedata.corpus.fresh_key import FreshKey, names_key
from securedata.corpus.option_values import MAX_THREADS, as_flag, as_seconds, as_whole
from securedata.corpus.progress import Progress, check_progress, reporting
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.retired import DELAY
from securedata.corpus.tasks.engine import Engine, check_engine, executor_of
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument
from securedata.lifecycle.reencrypt import ReencryptReport, reencrypt
from securedata.printable import plural
from securedata.storage.base import Storage

LONGEST = 10 * 365 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class RotateReport:
    """Results of `rotate`.

    Attributes:
        root: of the corpus.
        generation: of the head that was sealed under the fresh key.
        wraps: the KMS keys that open it, as the head names them.
        dropped: those that opened the head before it, and do not open this one.
        resumed: no key was made: an earlier rotation's re-encryption was gone on with.
        unfinished: objects still have data keys that are older than this rotation, and a run with `data_keys` goes on.
        data_keys: results of the re-encryption, if it was asked for.
    """

    root: str
    generation: int
    wraps: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    resumed: bool = False
    unfinished: bool = False
    data_keys: ReencryptReport | None = None

    def __str__(self) -> str:
        return f"{self.root}: generation {self.generation}, a fresh corpus key, {plural(len(self.wraps), 'wrap')}"


def rotate(
    target: str | os.PathLike[str] | Reference,
    *,
    drop_wraps: Sequence[str] = (),
    data_keys: bool = False,
    grace: float = DELAY,
    threads: int | None = None,
    engine: Engine = "local",
    progress: bool | Progress | None = None,
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
        data_keys: then seal every object again under a fresh data key: see `reencrypt`. If an earlier run of this did
            not finish, it is gone on with, under the corpus key that it made.
        grace: with `data_keys`, seconds after which the old objects are deleted, 24 hours or more: readers in flight
            need them until they refresh.
        threads: with `data_keys`, objects are handled by so many threads. None: two per core, at most 8.
        engine: with `data_keys`, 'local': objects are handled by threads of this process; 'ray': by tasks of a Ray
            cluster; or an executor of processes. See docs/scale.md.
        progress: with `data_keys`, True for a bar on a terminal or in a notebook; or a callable that is called from
            one thread with (objects done, objects in total, bytes done, bytes in total).
        kms: KMS URIs that are trusted, of all wraps that stay. None: from the config.
        pin: identifies the corpus, as `securedata info` prints it. None: from the config.
        single_writer: rotate on storage where two writers could lose rows; nobody else may ever write there.
        accept_generation: take a head of this generation although this machine has seen a newer one.
        storage: used instead of the one that the root names, for tests and benchmarks.

    Raises:
        PinRequired: the pin is missing; no request was made.
        InvalidArgument: a wrap to drop is not there, or none would remain; the grace is too short.
        NoTrustedKey: a wrap that stays is by a key that the caller does not name.
        KMSDenied, KMSUnreachable, KMSThrottled: a wrap was not made; nothing was committed.
        CommitRace, OutcomeUnknown, StorageError, ...: as `Writer.transact`; it can be run again.
    """
    check_progress(progress)
    data_keys, grace = as_flag("data_keys", data_keys), as_seconds("grace", grace)
    engine = check_engine(engine, storage)
    at_once = None if threads is None else as_whole("threads", threads, 1, MAX_THREADS)
    if not DELAY <= grace <= LONGEST:
        raise InvalidArgument(f"the grace must be 24 hours to 10 years, not {grace / 3600:g} hours")
    # with the user's own credentials: a role's session may not encrypt
    reference = resolve(target, kms, pin).without_role()
    writer = Writer(reference, single_writer=single_writer, accept_generation=accept_generation, storage=storage)
    if not data_keys:
        return rotate_head(writer, drop_wraps)
    with executor_of(engine) as executor:  # before anything is written
        report = _open_again(writer, drop_wraps)
        with reporting(progress, "re-encrypting") as notify:
            done = reencrypt(writer, threads=at_once, executor=executor, grace=grace, progress=notify)
    return replace(report, data_keys=done, unfinished=not done.finished)


def _open_again(writer: Writer, drop_wraps: Sequence[str]) -> RotateReport:
    """Rotate for a re-encryption; or take up one that did not finish, unless there is a wrap left to drop."""
    head = writer.head
    if not head.data_keys_since or any(names_key(uri, wrap) for uri in drop_wraps for wrap in head.wraps):
        return rotate_head(writer, drop_wraps, data_keys=True)
    return RotateReport(writer.root, head.generation, tuple(wrap.uri for wrap in head.wraps), resumed=True)


def rotate_head(writer: Writer, drop_wraps: Sequence[str] = (), data_keys: bool = False) -> RotateReport:
    """As `rotate`, with an open writer: one commit.

    Args:
        data_keys: record that all objects are to be sealed again. A re-encryption that did not finish begins again
            with any rotation: who could read in between may have the data keys of in between.
    """
    fresh = FreshKey(writer.root, writer.trusted, drop_wraps)

    def change(attempt: Try) -> Next[RotateReport]:
        head, members = attempt.head, dict(fresh.members(attempt.opened))
        dropped = tuple(wrap.uri for wrap in head.wraps if any(names_key(uri, wrap) for uri in drop_wraps))
        kept = tuple(wrap.uri for wrap in members["wraps"])
        unfinished = data_keys or head.data_keys_since > 0
        if unfinished:
            members["data_keys_since"] = head.generation + 1
        report = RotateReport(writer.root, head.generation + 1, kept, dropped, unfinished=unfinished)
        return Next(report, members, fresh.key)

    return writer.transact(change)
