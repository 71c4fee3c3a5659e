"""Requests for erasure that are not done: what waits for a hold, what was interrupted, and until when it is due."""

from __future__ import annotations

import datetime
import os
from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from securedata.corpus.config import Reference, resolve
from securedata.corpus.state.head import Head
from securedata.corpus.state.lifecycle import Restriction
from securedata.errors import MalformedManifest
from securedata.lifecycle.erasure.journal import Open, unfinished
from securedata.lifecycle.people.listing import checked
from securedata.lifecycle.people.reading import Current, read_current
from securedata.printable import plural
from securedata.storage.base import Storage


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request for erasure that is not done.

    Attributes:
        reference: of the request; '' if none was given.
        received: the day it was received, YYYY-MM-DD; '' if none was given.
        recorded: the day that the corpus recorded it.
        due: one month after the day it was received, or else recorded (GDPR article 12(3)), without regard to weekends
            and holidays, which can move it on; None: an interrupted erasure that names no request.
        days_left: until then, 0 on that day; negative: overdue.
        interrupted: an erasure was begun and is not finished; otherwise the recordings were under a hold.
        people: how many people it names; 0: an interrupted erasure by something else than names.
        cases: that hold these people now; none: no hold of their own keeps them any more.
    """

    reference: str
    received: str
    recorded: str
    due: str | None
    days_left: int | None
    interrupted: bool
    people: int
    cases: tuple[str, ...] = ()

    @property
    def overdue(self) -> bool:
        """Has the day passed when it was due?"""
        return self.days_left is not None and self.days_left < 0


@dataclass(frozen=True, slots=True)
class RequestsReport:
    """Results of `open_requests`.

    Attributes:
        root, name, generation: of the corpus.
        today: the day, in UTC, for which days are counted.
        requests: the one that is due first comes first; those without a day come last.
    """

    root: str
    name: str | None
    generation: int
    today: str
    requests: tuple[OpenRequest, ...] = ()

    def __str__(self) -> str:
        late = f", {self.overdue:,} overdue" if self.overdue else ""
        return plural(len(self.requests), "open request") + late

    @property
    def overdue(self) -> int:
        """How many are overdue."""
        return sum(one.overdue for one in self.requests)


def open_requests(
    target: str | os.PathLike[str] | Reference,
    *,
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    accept_generation: int | None = None,
    storage: Storage | None = None,
) -> RequestsReport:
    """List the requests for erasure that a corpus has recorded and not fulfilled.

    These are requests that met a hold, and erasures that were interrupted. A request that nobody has entered with
    `securedata erase --request` is not known here.

    Args:
        target: a name from the config, `securedata://NAME`, a path or a URL.
        kms: KMS URIs that are trusted to unwrap the corpus key. None: from the config.
        pin: identifies the corpus. None: from the config.
        accept_generation: accept this generation although this machine has seen a newer one.
        storage: used instead of the one that the root names, for tests and benchmarks.

    Returns:
        The requests, with the days that are left.

    Raises:
        MalformedManifest: what the head records of them cannot be read.
        as `open_corpus`, but never PurposeRequired

    Example:
        report = sd.open_requests("voice-a")
        assert not report.overdue, [one.reference for one in report.requests if one.overdue]
    """
    return read_current(
        resolve(target, kms, pin), _report, accept_generation=checked(accept_generation), storage=storage
    )


def one_month_after(day: datetime.date) -> datetime.date:
    """The same day of the next month, or its last day if it is shorter."""
    year, month = (day.year, day.month + 1) if day.month < 12 else (day.year + 1, 1)
    return datetime.date(year, month, min(day.day, monthrange(year, month)[1]))


def _report(current: Current) -> RequestsReport:
    head, root = current.head, current.reference.root
    today = _day(current.now)
    found = [*_waiting(head, root, today), *_interrupted(unfinished(head, root), today)]
    found.sort(key=lambda one: (one.due is None, one.due or "", one.reference))
    return RequestsReport(root, current.reference.name, head.generation, today.isoformat(), tuple(found))


def _waiting(head: Head, root: str, today: datetime.date) -> Iterator[OpenRequest]:
    """The requests that met a hold; what one request asks for several people is one."""
    together: dict[tuple[str, str, str], list[Restriction]] = {}
    for one in head.restricted:
        alone = "" if one.request else one.tag.hex()
        together.setdefault((one.request, one.received, alone), []).append(one)
    for (reference, received, _), some in together.items():
        tags = {one.tag for one in some}
        recorded = min(_day(one.time) for one in some)
        try:
            begun = datetime.date.fromisoformat(received) if received else recorded
        except ValueError:
            raise MalformedManifest(
                f"the head of {root} has a request for erasure whose day cannot be read; a newer or broken securedata "
                "might have written it: update securedata",
                root=root,
            ) from None
        cases = sorted({hold.case for hold in head.holds if hold.tag in tags})
        yield _request(reference, received, recorded, begun, today, False, len(tags), tuple(cases))


def _interrupted(drafts: list[Open], today: datetime.date) -> Iterator[OpenRequest]:
    for one in drafts:
        request, recorded = one.draft.request, _day(one.time)
        received = (request.received if request else None) or ""
        begun = None
        if request is not None:
            begun = datetime.date.fromisoformat(received) if received else recorded
        reference = request.reference if request else ""
        yield _request(reference, received, recorded, begun, today, True, len(one.people))


def _request(
    reference: str,
    received: str,
    recorded: datetime.date,
    begun: datetime.date | None,
    today: datetime.date,
    interrupted: bool,
    people: int,
    cases: tuple[str, ...] = (),
) -> OpenRequest:
    due = None if begun is None else one_month_after(begun)
    left = None if due is None else (due - today).days
    day = None if due is None else due.isoformat()
    return OpenRequest(reference, received, recorded.isoformat(), day, left, interrupted, people, cases)


def _day(seconds: float) -> datetime.date:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).date()
