"""Legal holds of Object Lock for a person who is held: nobody can delete in the bucket what opens the person's rows.

An object without its data key is noise, and the keys are in the manifest parts and the head. So a legal hold is turned
on for one version of the head that has the hold, for the parts with rows of the person that it names, and for the
objects or packs of these rows: together they open with the KMS key, whatever later commits replace.

S3 does not record what a legal hold is for. A version of the head that has one tells it: it has been locked for the
holds that it names with `object_lock`. So what was turned on is found from any machine, and what another hold still
needs is left on.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from securedata.corpus.state.head import MAX_SEALED, Head
from securedata.corpus.state.layout import HEAD
from securedata.corpus.writer import Writer
from securedata.errors import CommitRace, NoSuchHold, NotFound, SecuredataError
from securedata.lifecycle.holds.locked import Flagged, Heads, Locked, Needed, flagged, needed_for

_TRIES = 8


@dataclass(frozen=True, slots=True)
class Unlocked:
    """Results of `turn_off`.

    Attributes:
        versions: how many legal holds were turned off.
        others: other holds that have legal holds; what they need was left on.
    """

    versions: int
    others: Flagged


def own(writer: Writer) -> Writer:
    """The writer, or one with the caller's own credentials: a role's session may not change legal holds."""
    reference = writer.reference.without_role()
    return writer if reference == writer.reference else Writer(reference)


# ------------------------------------------------------------------------------------------------------------------- on


def turn_on(writer: Writer, tag: bytes, case: str, *, progress: bool = False) -> Locked:
    """Turn on the legal holds of a hold that the head has with `object_lock`. Run again, it completes them.

    The head comes first, since what is locked for a hold is found from it.

    Raises:
        NoSuchHold: the head does not have this hold, as when somebody released it meanwhile.
        CommitRace: the head was replaced too often meanwhile.
        AccessDenied, StorageUnreachable, ...: not all are on; run it again.
    """
    try:
        return _turn_on(writer, tag, case, progress)
    except NoSuchHold:
        raise
    except SecuredataError as error:
        raise type(error)(
            f"{error}; the corpus has the hold for case {case}, and it binds securedata, but not all of its legal "
            f"holds are on: run the same command again",
            root=writer.root,
        ) from error


def _turn_on(writer: Writer, tag: bytes, case: str, progress: bool) -> Locked:
    storage, holds, heads = writer.storage, writer.storage.legal_holds(), Heads(writer)
    for _ in range(_TRIES):
        version, data = holds.current(HEAD, MAX_SEALED)
        head = heads.open(data)
        if head.generation < writer.refresh().generation:  # which refuses a head that was put back
            continue
        if (tag, case) not in flagged(head):
            raise _released(writer, case)
        try:
            holds.turn(HEAD, version, on=True)
            needed = needed_for(head, storage, {tag})
        except NotFound:  # the head was replaced, and what it named deleted, meanwhile
            continue
        missing: set[str] = set()
        keys = [*needed.parts, *needed.objects, *needed.packs]
        for key, outcome in _shown(holds.turn_on(keys), len(keys), "locking", progress):
            if isinstance(outcome, NotFound):
                missing.add(key)
            elif isinstance(outcome, SecuredataError):
                raise outcome
        after = writer.refresh()
        if (tag, case) not in flagged(after):
            raise _released(writer, case)
        if not missing or after.generation == head.generation:
            objects, packs = (len({*keys} - missing) for keys in (needed.objects, needed.packs))
            return Locked(objects, packs, len(needed.parts), len(missing), head.generation)
    raise CommitRace(f"the head of {writer.root} is replaced faster than its parts can be locked", root=writer.root)


def _released(writer: Writer, case: str) -> NoSuchHold:
    return NoSuchHold(
        f"the hold for case {case} in {writer.root} was released meanwhile; to turn off the legal holds that were "
        "turned on, run 'securedata hold release' again",
        root=writer.root,
    )


# ------------------------------------------------------------------------------------------------------------------ off


def turn_off(writer: Writer, tag: bytes, case: str, *, progress: bool = False) -> Unlocked:
    """Turn off the legal holds that were turned on for a hold, except where another hold needs them.

    Every version of the head is asked. Heads come last, since what is locked for a hold is found from them. Run again,
    it goes on where it was.

    Raises:
        NoTrustedKey, KMSDenied, FormatError: a locked version of the head cannot be opened.
        AccessDenied, StorageUnreachable, ...: run it again.
    """
    storage, holds, heads = writer.storage, writer.storage.legal_holds(), Heads(writer)
    now, needed = needed_now(writer, {tag})
    others = flagged(now) - {(tag, case)}
    objects, parts = {*needed.objects, *needed.packs}, set(needed.parts)
    keep = _all(needed_now(writer, _tags(others))[1])
    versions: list[str] = []
    for version, data in holds.held(HEAD, MAX_SEALED):
        head = heads.open(data, version)
        locked = flagged(head)
        if still := locked & others:
            keep |= _all(needed_for(head, storage, _tags(still), gone_ok=True))
        if (tag, case) in locked:
            needed = needed_for(head, storage, {tag}, gone_ok=True)
            objects.update(needed.objects, needed.packs)
            parts.update(needed.parts)
            versions += [] if still else [version]
    count = 0
    todo = [*sorted(objects - keep), *sorted(parts - keep)]  # in this order: a part shows which objects there are
    for _, outcome in _shown(holds.turn_off(todo), len(todo), "unlocking", progress):
        if isinstance(outcome, SecuredataError):
            raise outcome
        count += outcome
    for version in versions:
        try:
            holds.turn(HEAD, version, on=False)
        except NotFound:  # another run has turned it off, and it was deleted since
            continue
        count += 1
    return Unlocked(count, others)


def needed_now(writer: Writer, tags: Collection[bytes]) -> tuple[Head, Needed]:
    """The newest head, and what opens the rows of these people by it."""
    for left in reversed(range(_TRIES)):
        head = writer.refresh()
        try:
            return head, needed_for(head, writer.storage, tags)
        except NotFound:  # the head was replaced meanwhile, or a part is lost
            if not left:
                raise
    raise AssertionError("unreachable")


def _tags(held: Flagged) -> set[bytes]:
    return {tag for tag, _ in held}


def _all(needed: Needed) -> set[str]:
    return {*needed.parts, *needed.objects, *needed.packs}


def _shown(
    outcomes: Iterator[tuple[str, int | SecuredataError]], total: int, what: str, progress: bool
) -> Iterator[tuple[str, int | SecuredataError]]:
    """The outcomes, under a bar if it can be seen."""
    if not (progress and sys.stderr.isatty()):
        return outcomes
    from tqdm import tqdm

    return iter(tqdm(outcomes, total=total, desc=what, unit=" keys", file=sys.stderr))
