"""Erase people, recordings or consents from a corpus, with a receipt. Safe to run again after any interruption."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from securedata.corpus.config import Reference
from securedata.corpus.fresh_key import FreshKey, names_key
from securedata.corpus.state.commit import Next
from securedata.corpus.state.head import Head
from securedata.corpus.writer import Writer
from securedata.errors import (
    CommitRace,
    ConfigError,
    DeleteRefused,
    InvalidArgument,
    NoSuchPath,
    NoSuchSubject,
    SecuredataError,
)
from securedata.keys.tags import Tagger
from securedata.lifecycle.derived import reference_of
from securedata.lifecycle.erasure.deed import Committed, Deed, check_all, shared_refused
from securedata.lifecycle.erasure.finish import Receipt, finish
from securedata.lifecycle.erasure.follow_up import follow_up
from securedata.lifecycle.erasure.journal import Open, asked_before, unfinished
from securedata.lifecycle.erasure.pending import PASSED_ON, Asked
from securedata.lifecycle.erasure.preview import Preview, preview
from securedata.lifecycle.erasure.reach import ELSEWHERE, HELD, Reach, give_up, reach_pending, whole
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.holds.locked import refuse_locked
from securedata.lifecycle.holds.restriction import restrict_with_derived
from securedata.lifecycle.receipt.members import Derived, utc
from securedata.lifecycle.receipt.opening import Opening
from securedata.lifecycle.receipt.operator import Operator, load_operator
from securedata.lifecycle.receipt.store import drop_openings, keep_finals, stray_openings
from securedata.lineage.search import Model, Records
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
        derived_later: go on if a corpus that was made from this one fails; a later run erases there.
        progress: show a bar for long work.
        models: records of models, among which the people are looked for; None: the receipt says that none were.
    """

    partial: bool = False
    drop_wraps: tuple[str, ...] = ()
    all_rows: int | None = None
    all_meant: bool = False
    absent_ok: bool = False
    derived_later: bool = False
    progress: bool = False
    models: Records | None = None


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
        missed: those of the derived corpora in which not all of it was erased, and why.
        reached: what became of derived corpora that earlier erasures had not reached.
        completed: the receipts of these, which say so now.
        models: those whose records name the people, here and in the corpora made from this one.
        receipts: all that this run wrote: `finished`, those of the corpora made from this one, and `receipt`.
    """

    commit: Committed
    receipt: Receipt | None
    finished: tuple[Receipt, ...] = ()
    left: int = 0
    derived: tuple[Derived, ...] = field(default=())
    erased_before: int = 0
    missed: tuple[Reach, ...] = ()
    reached: tuple[Reach, ...] = ()
    completed: tuple[Receipt, ...] = ()
    models: tuple[Model, ...] = ()
    receipts: tuple[Receipt, ...] = ()


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
        MalformedLineage: a record of a model could not be read; nothing was written.
        KMSDenied, KMSUnreachable, NoTrustedKey: a wrap of the fresh key cannot be made.
        StorageError, CorpusError: run it again.
    """
    options, operator = options or Options(), load_operator()
    if options.models is not None:
        options.models.require_read()
    reached = _reach(writer, options, operator) if writer.head.pending else ()
    done = _erase(writer, request, options, operator)
    receipts = (*(each for one in reached for each in one.receipts), *done.receipts)
    return replace(done, reached=reached, completed=follow_up(writer, operator), receipts=receipts)


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


def reach_derived(writer: Writer, options: Options | None = None) -> tuple[tuple[Reach, ...], tuple[Receipt, ...]]:
    """Erase in derived corpora what earlier erasures did not reach there; no name is needed.

    Returns:
        What became of each of them, and the receipts of those erasures, which say so now.

    Raises:
        as `erase`, of the corpus itself: a derived corpus that fails is one of the results.
    """
    operator = load_operator()
    reached = _reach(writer, options or Options(), operator)
    return reached, follow_up(writer, operator)


def forget_derived(writer: Writer, pin: str) -> tuple[int, tuple[Receipt, ...]]:
    """Note that a corpus that was made from this one is gone for good: no erasure looks for it any more.

    The receipts of erasures that had not reached it say that the operator stated this; nothing is checked.

    Returns:
        How many erasures these are, and the receipts that say so now.

    Raises:
        InvalidArgument: no such corpus was made from this one, or the caller's config has it.
        as `erase`
    """
    operator = load_operator()
    writer.require_newest()
    return give_up(writer, pin), follow_up(writer, operator)


def _reach(writer: Writer, options: Options, operator: Operator) -> tuple[Reach, ...]:
    writer.require_newest()
    return reach_pending(
        writer, lambda reference, request: _erase_in(reference, request, options, operator, always=True)
    )


def _erase_in(reference: Reference, request: Request, options: Options, operator: Operator, *, always: bool) -> Erased:
    """Erase in a corpus that was made from another one."""
    inner = open_to_erase(reference)
    drop = tuple(uri for uri in options.drop_wraps if any(names_key(uri, one) for one in inner.head.wraps))
    options = replace(options, drop_wraps=drop, all_meant=True)
    return _erase(inner, request, options, operator, asked=True, always=always)


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
    below: list[Receipt] = []
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
        models: list[Model] = []
        reached, missed, passed = _ask_derived(writer, request, found, options, operator, models, below)
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
            models=options.models,
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
    named = (*find_models(writer.head, request, found, options.models), *models)
    written = (*finished, *below, *([receipt] if receipt else ()))
    return Erased(done, receipt, finished, left, tuple(reached), before, tuple(missed), models=named, receipts=written)


def find_models(head: Head, request: Request, found: Preview, records: Records | None) -> Sequence[Model]:
    """The models whose records name those whom an erasure of this corpus takes out."""
    if records is None:
        return ()
    names = {name for name, _ in found.facts.consents}
    if request.kind == "subject":
        tagger = Tagger(head.secret)
        names = {*request.names, *(name for name in names if tagger.tag(name) in request.tags)}
    return records.naming(head.corpus_id, Tagger(head.secret), names - set(found.kept))


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
    writer: Writer,
    request: Request,
    found: Preview,
    options: Options,
    operator: Operator,
    models: list[Model],
    receipts: list[Receipt],
) -> tuple[list[Derived], list[Reach], Asked | None]:
    """Erase the same in the corpora that were made from this one: the leaves first, this corpus last.

    What a hold keeps here is not erased there either: where a hold keeps it too, it opens for nobody from now on.
    Models of theirs are added to `models`, and `receipts`.
    """
    entries = writer.head.derived
    states = {one["corpus"]: Derived(one["corpus"], one["pin"], "not reached") for one in entries}
    if request.kind not in PASSED_ON:  # of this corpus only: what was made from it has a life of its own
        return list(states.values()), [], None
    tagger = Tagger(writer.head.secret)
    by_tag = {tagger.tag(name): name for name, _ in found.facts.consents}
    asked = Asked(request, found.facts, found.own, {tag: by_tag[tag] for tag in request.tags if tag in by_tag})
    # None: a hold keeps all of it, or an earlier run took it out, from there first
    passed = asked.passed_on(found.kept, tagger)
    # with nothing to commit here there is no receipt that needs theirs; they are visited all the same
    always = bool(found.rows or request.tags) or len(found.erased_before) < len(request.names)
    missed = []
    for one in entries:
        reference = reference_of(one)
        if reference is None:
            missed += [Reach(one["pin"], "elsewhere", ELSEWHERE)] if passed is not None else []
            continue
        try:
            if found.waiting:
                restrict_with_derived(open_to_erase(reference), found.waiting, request.reference, request.received)
            if passed is None:
                continue
            result = _erase_in(reference, passed, options, operator, always=always)
        except SecuredataError as error:
            if not options.derived_later:
                raise
            missed.append(Reach(one["pin"], "failed", str(error)))
            continue
        missed += result.missed
        models += result.models
        receipts += result.receipts
        digest = whole(result)
        if digest is not None and asked.is_whole(tagger):
            states[one["corpus"]] = Derived(one["corpus"], one["pin"], "erased", digest)
        elif result.commit.held or result.commit.restricted:
            missed.append(Reach(one["pin"], "held", HELD))
    return list(states.values()), missed, asked


def _tidy(writer: Writer) -> None:
    """Delete what killed runs left here: openings of erasures that did not happen, and receipts that are not final."""
    head = writer.head
    known = {one["id"] for one in (*head.erasures, *head.receipts)}
    for id in stray_openings(head.corpus_id.hex(), known):  # before anything in their folders changes
        drop_openings(head.corpus_id.hex(), id)
    keep_finals(head.corpus_id.hex(), {one["id"]: one["digest"] for one in head.receipts})
