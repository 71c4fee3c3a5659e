"""Requests for erasure that are not done, and the days that are left."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

import securedata as sd
from securedata.corpus.config import Reference
from securedata.corpus.state.commit import Next
from securedata.corpus.state.lifecycle import Hold, Restriction
from securedata.corpus.writer import Writer
from securedata.errors import MalformedManifest
from securedata.keys.tags import Tagger
from securedata.lifecycle.erasure.journal import Open
from securedata.lifecycle.people.requests import OpenRequest, one_month_after
from securedata.lifecycle.receipt.members import Request, Scope
from securedata.lifecycle.receipt.statement import Draft
from securedata.testing.memory import MemoryStorage

TODAY = datetime.datetime.now(datetime.UTC).date()


def day(days: int) -> str:
    return (TODAY + datetime.timedelta(days)).isoformat()


def seconds(days: int) -> float:
    noon = datetime.datetime.combine(TODAY, datetime.time(12), datetime.UTC)
    return (noon + datetime.timedelta(days)).timestamp()


def put(writer: Writer, **members: Any) -> None:
    writer.transact(lambda attempt: Next(None, members))


@pytest.mark.parametrize(
    ("received", "due"),
    [
        ("2026-11-30", "2026-12-30"),
        ("2026-12-31", "2027-01-31"),
        ("2027-01-28", "2027-02-28"),
        ("2027-01-29", "2027-02-28"),
        ("2028-01-31", "2028-02-29"),
        ("2027-03-31", "2027-04-30"),
    ],
)
def test_a_month_later(received: str, due: str) -> None:
    assert one_month_after(datetime.date.fromisoformat(received)).isoformat() == due


def test_what_met_a_hold(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    ann, bob, cid = map(Tagger(writer.head.secret).tag, ("ann", "bob", "cid"))
    waiting = (
        Restriction(ann, "LATE", day(-60), seconds(-10)),
        Restriction(bob, "NEW", "", seconds(-3)),
        Restriction(cid, "NEW", "", seconds(-1)),
        Restriction(bob, "", "", seconds(0)),
        Restriction(cid, "", "", seconds(0)),
    )
    put(writer, restricted=waiting, holds=(Hold(ann, "8", 1.0), Hold(ann, "7", 1.0), Hold(bob, "9", 1.0)))
    report = sd.open_requests(corpus, storage=place)
    late, new, *unnamed = report.requests
    assert (late.reference, late.received, late.people, late.cases) == ("LATE", day(-60), 1, ("7", "8"))
    due = one_month_after(TODAY - datetime.timedelta(60))
    assert (late.due, late.days_left, late.overdue) == (due.isoformat(), (due - TODAY).days, True)
    assert (new.reference, new.received, new.recorded, new.people, new.cases) == ("NEW", "", day(-3), 2, ("9",))
    assert new.due == one_month_after(TODAY - datetime.timedelta(3)).isoformat()
    assert sorted((one.reference, one.people, one.cases) for one in unnamed) == [("", 1, ()), ("", 1, ("9",))]
    assert (report.overdue, str(report), report.today) == (1, "4 open requests, 1 overdue", day(0))


@pytest.mark.parametrize(("left", "overdue"), [(-1, True), (0, False), (1, False), (None, False)])
def test_the_last_day_is_not_overdue(left: int | None, overdue: bool) -> None:
    assert OpenRequest("R", "", day(0), None, left, False, 1).overdue is overdue


def test_erasures_that_were_interrupted(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    def draft(id: int, request: Request | None, kind: Any, people: int, days: int) -> dict[str, Any]:
        commitments = tuple(f"{n:064x}" for n in range(people))
        one = Draft(f"{id:032x}", request, Scope(kind, commitments, 1, 1.0, 1, 1), ("local:1",))
        return Open(one, None, tuple(bytes([n]) * 32 for n in range(people)), seconds(days)).to_json()

    erasures = (
        draft(1, None, "expired", 0, -90),
        draft(2, Request("R2", day(-40)), "subject", 2, -1),
        draft(3, Request("R3", None), "consent", 0, -2),
    )
    put(writer, erasures=erasures)
    report = sd.open_requests(corpus, storage=place)
    assert [(one.reference, one.people, one.interrupted, one.overdue) for one in report.requests] == [
        ("R2", 2, True, True),
        ("R3", 0, True, False),
        ("", 0, True, False),
    ]
    last = report.requests[-1]
    assert (last.due, last.days_left, last.recorded) == (None, None, day(-90))
    assert report.overdue == 1


def test_none(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    report = sd.open_requests(corpus, storage=place)
    assert (report.requests, str(report), report.generation) == ((), "0 open requests", writer.head.generation)


def test_a_day_that_cannot_be_read_is_an_error(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    put(writer, restricted=(Restriction(bytes(32), "R", "yesterday", 1.0),))
    with pytest.raises(MalformedManifest, match="update securedata"):
        sd.open_requests(corpus, storage=place)
