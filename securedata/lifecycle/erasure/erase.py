"""Erase people, recordings or consents from a corpus, with a receipt. Safe to run again after any interruption."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from securedata.corpus.config import Reference
from securedata.corpus.fresh_key import FreshKey, names_key
from securedata.corpus.state.commit import Next
from securedata.corpus.writer import Writer
from securedata.errors import CommitRace, ConfigError, DeleteRefused, InvalidArgument, NoSuchPath, NoSuchSubject
from securedata.keys.tags import Tagger
from securedata.lifecycle.derived import reference_of
from securedata.lifecycle.erasure.deed import Committed, Deed, check_all, shared_refused
from securedata.lifecycle.erasure.finish import Receipt, finish
from securedata.lifecycle.erasure.journal import Open, asked_before, unfinished
from securedata.lifecycle.erasure.preview import Preview, preview
from securedata.lifecycle.erasure.request import Facts, Request
from securedata.lifecycle.holds.locked import refuse_locked
from securedata.lifecycle.receipt.members import Derived, utc
from securedata.lifecycle.receipt.opening import Opening
from securedata.lifecycle.receipt.operator import Operator, load_operator
from securedata.lifecycle.receipt.store import drop_openings, keep_finals, stray_openings
from securedata.storage.base import Storage

_ROUNDS = 20
_APART = 3600.0
_YOUNG = 900.0
"""Seconds for which an unfinished erasure is left to the process that began it, unless the caller says otherwise."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to erase.

    Attributes:
        partial: go on where storage refuses to delete or list versions; the receipt says that they remain.
        drop_wraps: URIs of wraps that end, because their KMS cannot be reached.
        all_rows: the number of rows of the corpus, to confirm that all of them are meant.
        all_meant: all of them may go, however many there are then: a rule has decided, or another erasure.
        absent_ok: bar people of whom there is no row, too.
        progress: show a bar for long work.
    """

    partial: bool = False
    drop_wraps: tuple[str, ...] = ()
    all_rows: int | None = None
    all_meant: bool = False
    absent_ok: bool = False
    progress: bool = False


@dataclass(frozen=True, slots=True)
class Erased:
    """The result of an erasure.

    Attributes:
        commit: what the erasing commit did.
        receipt: the final receipt; None: there was nothing to erase.
        finished: receipts of earlier erasures that this run finished.
        left: how many unfinished erasures of others were left to them.
        derived: corpora made from this one, and their state.
        erased_before: how many of the people, paths or consents of the request were erased before.
    """

    commit: Committed
    receipt: Receipt | None
    finished: tuple[Receipt, ...] = ()
    left: int = 0
    derived: tuple[Derived, ...] = field(default=())
    erased_before: int = 0


def open_to_erase(reference: Reference, **options: object) -> Writer:
    """A writer with the caller's own credentials: a role's session may neither encrypt nor delete.

    Raises:
        as `Writer`
    """
    return Writer(reference.without_role(), **options)  # type: ignore[arg-type]  # passed on as they are


def erase(writer: Writer, request: Request, options: Options | None = None) -> Erased:
    """Erase what a request names: commit, delete, check, sign, record.

    The order makes every crash harmless: the operator's key is loaded and tried before the first write, and the commit
    writes a draft of the receipt into the head, which any later run finishes.

    Raises:
        NoOperatorKey, OperatorKeyRefused: no receipt could be signed; nothing was written.
        UnconfirmedGeneration, OlderGeneration: the head might not be the newest.
        NoSuchSubject, NoSuchPath, InvalidArgument: the corpus does not have what is to be erased.
        DeleteRefused: storage refuses to delete or list versions.
        KMSDenied, KMSUnreachable, NoTrustedKey: a wrap of the fresh key cannot be made.
        StorageError, CorpusError: run it again.
    """
    return _erase(writer, request, options or Options(), load_operator())


def finish_open(writer: Writer, options: Options | None = None) -> tuple[Receipt, ...]:
    """Finish the erasures whose drafts are in the head, also one whose own process might be finishing it.

    Raises:
        as `erase`
    """
    options = options or Options()
    operator = load_operator()
    writer.require_newest()
    done = tuple(
        finish(writer, one, operator, partial=options.partial, progress=options.progress)
        for one in unfinished(writer.refresh(), writer.root)
    )
    _tidy(writer)
    return done


def _erase(
    writer: Writer, request: Request, options: Options, operator: Operator, *, asked: bool = False, always: bool = False
) -> Erased:
    """Erase from one corpus, and before it from those made from it.

    Args:
        asked: by the erasure of the corpus that this one was made from, which has checked the request.
        always: commit even if there is nothing to erase, so that there is a receipt.
    """
    writer.require_newest()
    _check_deletable(writer, options)
    finished = tuple(
        finish(writer, one, operator, partial=options.partial, progress=options.progress)
        for one in _mine(writer, request)
    )
    fresh = FreshKey(writer.root, writer.trusted, options.drop_wraps)
    openings = [Opening.make(name) for name in request.names]
    for _ in range(_ROUNDS):
        writer.refresh()
        found = preview(writer, request, spellings=False)
        if not asked:
            check_present(writer, request, found, options)
            if not options.all_meant:
                check_all(writer.head, found.rows, options.all_rows, writer.root)
        if found.rows:
            refuse_locked(writer.head, writer.root, options.partial)
        if writer.head.derived:  # they change first, so what could stop the commit here must be known before
            writer.transact(lambda attempt: Next(fresh.members(attempt.opened), None))
        reached, passed = _ask_derived(writer, request, found, options, operator)
        deed = Deed(
            writer,
            request,
            fresh,
            openings,
            reached=reached,
            asked=passed,
            always=always,
            all_rows=options.all_rows,
            all_meant=options.all_meant,
            partial=options.partial,
        )
        done = writer.transact(deed)
        if not done.again:
            break
    else:
        raise CommitRace(
            f"corpora are being made from {writer.root} faster than they can be asked; nothing was erased here: stop "
            "the runs of 'securedata retain' that write to them, and run this again",
            root=writer.root,
        )
    receipt = None
    if done.open is not None:
        receipt = finish(writer, done.open, operator, partial=options.partial, progress=options.progress)
    _tidy(writer)
    left = len(unfinished(writer.head, writer.root))
    before = len(found.erased_before) or (len(found.absent) if _done_before(writer, request) else 0)
    return Erased(done, receipt, finished, left, tuple(reached), before)


def agreed_time(storage: Storage) -> float:
    """A moment that the clocks of this host and of storage have both passed, in seconds since the epoch.

    Raises:
        ConfigError: they differ by more than an hour, so one of them is wrong.
    """
    here, there = time.time(), storage.now()
    if abs(here - there) > _APART:
        raise ConfigError(
            f"this host's clock says {utc(here)}, and storage's {utc(there)}: one of them is wrong, so no consent was "
            "taken for ended, and nothing was erased; set the clock right"
        )
    return min(here, there)


def check_present(writer: Writer, request: Request, found: Preview, options: Options) -> None:
    """Refuse a request that names what the corpus does not have, before anything is written.

    Raises:
        NoSuchSubject, NoSuchPath, InvalidArgument
    """
    if found.shared and request.kind not in ("subject", "all"):
        raise shared_refused(found.shared, writer.root)
    if not found.absent or (request.kind == "subject" and options.absent_ok) or _done_before(writer, request):
        return
    root, count = writer.root, len(found.absent)
    if request.kind == "path":
        raise NoSuchPath(f"{count} of the paths match no row of {root}; nothing was erased", root=root)
    if request.kind == "consent":
        raise InvalidArgument(f"{count} of the consents are not in {root}; nothing was erased", root=root)
    near = "; other spellings are there: see --dry-run" if found.near else ""
    raise NoSuchSubject(
        f"{count} of the people are not in {root}, and nobody of that name was erased{near}; nothing was erased. To "
        "bar them all the same, give --absent-ok",
        root=root,
    )


def _done_before(writer: Writer, request: Request) -> bool:
    """Has an erasure that was asked for the same committed? A run can be killed before it says so."""
    return request.asked(Tagger(writer.head.secret)) in asked_before(writer.head)


def _check_deletable(writer: Writer, options: Options) -> None:
    try:
        writer.storage.check_deletable()
    except DeleteRefused:
        if not options.partial:
            raise


def _mine(writer: Writer, request: Request) -> list[Open]:
    """Unfinished erasures that this run finishes first: old ones, and those of the same people or the same request."""
    head = writer.refresh()
    tagger = Tagger(head.secret)
    people, asked = request.people(tagger), request.asked(tagger)
    now = writer.storage.now()
    return [
        one
        for one in unfinished(head, writer.root)
        if one.time + _YOUNG < now
        or (one.people and people.issuperset(one.people))
        or (asked is not None and one.asked == asked)
    ]


def _ask_derived(
    writer: Writer, request: Request, found: Preview, options: Options, operator: Operator
) -> tuple[list[Derived], Facts | None]:
    """Erase the same in the corpora that were made from this one: the leaves first, this corpus last.

    What a hold keeps here is not erased there either.
    """
    entries = writer.head.derived
    if request.kind in ("all", "retention"):  # of this corpus only: what was made from it has a life of its own
        return [Derived(one["corpus"], one["pin"], "not reached") for one in entries], None
    names = tuple(name for name in request.names if name not in found.kept)
    # with nothing to commit here there is no receipt that needs theirs; they are visited all the same
    always = bool(found.rows) or len(found.erased_before) < len(request.names)
    # a hold keeps all of it, or an earlier run took it out, from there first: then nothing is asked for
    any_named = {"subject": bool(names), "path": bool(found.facts.digests)}.get(request.kind, True)
    reached = []
    for one in entries:
        state = Derived(one["corpus"], one["pin"], "not reached")
        reference = reference_of(one)
        if reference is not None and any_named:
            passed = replace(request, names=names, paths=(), digests=found.facts.digests, more=found.facts)
            inner = open_to_erase(reference)
            drop = tuple(uri for uri in options.drop_wraps if any(names_key(uri, one) for one in inner.head.wraps))
            result = _erase(
                inner, passed, replace(options, drop_wraps=drop, all_meant=True), operator, asked=True, always=always
            )
            if result.receipt is not None:
                state = replace(state, state="erased", receipt=result.receipt.digest)
        reached.append(state)
    return reached, found.facts


def _tidy(writer: Writer) -> None:
    """Delete what killed runs left here: openings of erasures that did not happen, and receipts that are not final."""
    head = writer.head
    known = {one["id"] for one in (*head.erasures, *head.receipts)}
    for id in stray_openings(head.corpus_id.hex(), known):  # before anything in their folders changes
        drop_openings(head.corpus_id.hex(), id)
    keep_finals(head.corpus_id.hex(), {one["id"]: one["digest"] for one in head.receipts})
