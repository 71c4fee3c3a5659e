"""The grant: its deadline by either clock, renewal on use, waiting for a KMS that is away, threads and forks."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import statistics
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from securedata import clocks
from securedata.errors import (
    KeysExpired,
    KMSDenied,
    KMSThrottled,
    KMSUnreachable,
    OlderGeneration,
    PinMismatch,
    SecuredataError,
    StorageUnreachable,
)
from securedata.keys import grant
from securedata.keys.grant import Grant, Lease
from tests.kit.grants import KMS, Clock

TTL = 1000.0
ROOT = "memory://corpus"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(grant, "time", clock)
    monkeypatch.setattr(clocks, "time", clock)
    monkeypatch.setattr(grant.random, "random", lambda: 0.5)
    return clock


@pytest.fixture
def kms() -> KMS:
    return KMS()


@pytest.fixture(autouse=True)
def no_other_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork renews every lease of the process: here, none that other tests have left behind."""
    monkeypatch.setattr(grant._leases, "alive", weakref.WeakSet())


def issue(ttl: float = TTL) -> Grant:
    return Grant.issue(1, b"K" * 16, frozenset(), ttl)


def lease_of(kms: KMS, kms_wait: float = 600.0, ttl: float = TTL) -> Lease:
    return Lease(issue(ttl), kms, ROOT, kms_wait)


# -------------------------------------------------------------------------------------------------------- the deadline


@pytest.mark.parametrize(
    ("boot", "wall", "age"),
    [
        (10.0, 10.0, 10.0),
        (10.0, 0.0, 10.0),  # the wall clock stands still
        (10.0, -1e6, 10.0),  # it was set back
        (0.0, 10.0, 10.0),  # a machine whose boot clock stood still, as a virtual one that was paused
    ],
)
def test_age_is_what_the_later_clock_says(boot: float, wall: float, age: float, clock: Clock) -> None:
    grant = issue()
    clock.boot += boot
    clock.wall += wall
    assert grant.age() == age


@pytest.mark.parametrize("which", ["boot", "wall"])
def test_past_the_deadline_by_either_clock_nothing_is_served(which: str, clock: Clock, kms: KMS) -> None:
    lease = lease_of(kms, kms_wait=0)
    kms.fails = KMSUnreachable("away")
    setattr(clock, which, getattr(clock, which) + TTL - 0.001)
    lease.check()
    setattr(clock, which, getattr(clock, which) + 0.002)
    with pytest.raises(KeysExpired):
        lease.check()


def test_a_grant_is_not_changed() -> None:
    with pytest.raises(AttributeError):
        issue().ttl = 2 * TTL  # type: ignore[misc]  # that it is frozen is the point


# ------------------------------------------------------------------------------------------------------------- renewal


@pytest.mark.parametrize(("drawn", "due"), [(0.0, 0.75), (0.5, 0.80), (1.0, 0.85)])
def test_whoever_reads_past_75_percent_renews_with_jitter(
    drawn: float, due: float, clock: Clock, kms: KMS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grant.random, "random", lambda: drawn)
    lease = lease_of(kms)
    before = lease.grant
    clock.move(due * TTL - 1)
    assert lease.check() is before
    assert kms.calls == 0
    clock.move(2)
    after = lease.check()
    assert (after.generation, after.age(), kms.calls) == (2, 0, 1)
    clock.move(due * TTL - 1)
    lease.check()
    assert kms.calls == 1


def test_an_idle_process_asks_nobody(clock: Clock, kms: KMS) -> None:
    before = set(threading.enumerate())  # other tests of this process may have left some
    lease = lease_of(kms)
    clock.move(100 * TTL)
    assert kms.calls == 0
    assert set(threading.enumerate()) <= before
    lease.check()
    assert kms.calls == 1


@pytest.mark.parametrize("error", [KMSUnreachable("away"), KMSThrottled("slower"), StorageUnreachable("away")])
def test_a_failure_before_the_deadline_is_retried_with_backoff(error: SecuredataError, clock: Clock, kms: KMS) -> None:
    lease = lease_of(kms)
    kms.fails = error
    clock.move(0.81 * TTL)
    asked = []
    while lease.grant.age() < TTL:
        before = kms.calls
        assert lease.check().generation == 1
        if kms.calls > before:
            asked.append(lease.grant.age())
        clock.move(0.1)
    assert clock.slept == [], "nobody waits while the old grant holds"
    waits = [b - a for a, b in itertools.pairwise(asked)]
    assert len(asked) < 25
    assert waits[0] < 1
    assert 10 < max(waits) < 20
    kms.fails = None
    lease.check()
    assert lease.grant.generation == 2


@pytest.mark.parametrize("error", [KMSDenied("no"), PinMismatch("forged"), OlderGeneration("old")])
@pytest.mark.parametrize("age", [0.9, 1.5])
def test_a_refusal_raises_at_once(error: SecuredataError, age: float, clock: Clock, kms: KMS) -> None:
    lease = lease_of(kms)
    kms.fails = error
    clock.move(age * TTL)
    for calls in (1, 2):
        with pytest.raises(type(error)) as caught:
            lease.check()
        assert caught.value is error
        assert kms.calls == calls
    assert clock.slept == []


# ----------------------------------------------------------------------------------------------- past the deadline


def test_reads_wait_for_a_kms_that_comes_back(clock: Clock, kms: KMS, caplog: pytest.LogCaptureFixture) -> None:
    lease = lease_of(kms)
    kms.fails = KMSUnreachable("away")
    clock.move(TTL + 5)

    def mend() -> None:
        if sum(clock.slept) > 300:
            kms.fails = None

    clock.on_sleep = mend
    with caplog.at_level(logging.WARNING, "securedata"):
        assert lease.check().generation == 2
    assert 300 < sum(clock.slept) < 330
    assert max(clock.slept) < 20
    assert len(caplog.records) == 1, "logged once"
    assert ROOT in caplog.text
    assert "600" in caplog.text


def test_a_kms_that_stays_away_ends_with_the_cause(clock: Clock, kms: KMS) -> None:
    lease = lease_of(kms, kms_wait=60)
    kms.fails = KMSUnreachable("the cause")
    clock.move(TTL + 5)
    with pytest.raises(KeysExpired, match="the cause") as caught:
        lease.check()
    assert caught.value.__cause__ is kms.fails
    assert (ROOT in str(caught.value), caught.value.root) == (True, ROOT)
    assert "kms_wait=60" in str(caught.value)
    assert 59.9 < sum(clock.slept) < 60.1
    kms.fails = None
    assert lease.check().generation == 2, "a later read tries again"


def test_a_refusal_ends_the_waiting(clock: Clock, kms: KMS) -> None:
    lease = lease_of(kms)
    kms.fails = KMSUnreachable("away")
    clock.move(TTL + 5)
    clock.on_sleep = lambda: setattr(kms, "fails", KMSDenied("no"))
    with pytest.raises(KMSDenied):
        lease.check()
    assert len(clock.slept) == 1


# ------------------------------------------------------------------------------------------------------------- threads


def together(count: int, act: Callable[[], object]) -> list[tuple[object, float]]:
    """What several threads that start at once got, an error included, and how many seconds each took."""
    start = threading.Barrier(count)
    results: list[tuple[object, float]] = []

    def run() -> None:
        start.wait()
        begun = time.monotonic()
        try:
            result = act()
        except SecuredataError as error:
            result = error
        results.append((result, time.monotonic() - begun))

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_one_thread_renews_and_the_others_go_on_with_the_old_grant(clock: Clock) -> None:
    inside, leave = threading.Event(), threading.Event()
    calls = []

    def renew(old: Grant) -> Grant:
        calls.append(1)
        inside.set()
        assert leave.wait(30)
        return Grant.issue(2, old.key_id, old.superseded, old.ttl)

    lease = Lease(issue(), renew, ROOT)
    clock.move(0.9 * TTL)
    first = threading.Thread(target=lease.check)
    first.start()
    assert inside.wait(30)
    assert {grant.generation for grant, _ in together(8, lease.check)} == {1}  # type: ignore[attr-defined]  # all are grants
    leave.set()
    first.join()
    assert (len(calls), lease.grant.generation) == (1, 2)


def test_past_the_deadline_all_wait_for_the_one_that_renews(clock: Clock) -> None:
    calls = []

    def renew(old: Grant) -> Grant:
        calls.append(1)
        time.sleep(0.05)
        return Grant.issue(2, old.key_id, old.superseded, old.ttl)

    lease = Lease(issue(), renew, ROOT)
    clock.move(1.1 * TTL)
    assert [grant.generation for grant, _ in together(8, lease.check)] == [2] * 8  # type: ignore[attr-defined]  # all are grants
    assert len(calls) == 1


def test_kms_wait_is_what_each_read_waits_and_not_what_they_wait_one_after_the_other(kms: KMS) -> None:
    kms.fails = KMSUnreachable("away")
    lease = lease_of(kms, kms_wait=0.5, ttl=0.001)
    time.sleep(0.01)
    results = together(6, lease.check)
    assert {type(error) for error, _ in results} == {KeysExpired}
    assert all(seconds >= 0.45 for _, seconds in results)
    assert max(seconds for _, seconds in results) < 1.5, "six times half a second would be three"


# --------------------------------------------------------------------------------------------------- workers and forks


def in_child(act: Callable[[], bool]) -> None:
    """Run `act` in a forked child, which says whether it holds; a child that hangs is killed and fails."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        os._exit(0 if act() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_fork_hands_a_fresh_grant_over(clock: Clock, kms: KMS) -> None:
    lease = lease_of(kms)
    clock.move(0.7 * TTL)
    in_child(lambda: lease.grant.generation == 1)
    assert kms.calls == 0
    clock.move(0.06 * TTL)  # past 75 %, and before this process's own jitter says so
    in_child(lambda: lease.grant.generation == 2 and lease.check() is lease.grant)
    assert kms.calls == 1, "once in the parent, not in the worker"


@pytest.mark.parametrize("error", [KMSUnreachable("away"), KMSDenied("no")])
def test_a_fork_does_not_fail_or_wait_when_the_kms_does(error: SecuredataError, clock: Clock, kms: KMS) -> None:
    lease = lease_of(kms)
    kms.fails = error
    clock.move(2 * TTL)
    in_child(lambda: lease.grant.generation == 1)
    assert (kms.calls, clock.slept) == (1, [])


def test_a_lock_that_is_held_during_a_fork_is_free_in_the_child(clock: Clock, kms: KMS) -> None:
    lease = lease_of(kms)
    clock.move(2 * TTL)
    assert lease._lock.acquire()
    try:
        in_child(lambda: lease.check().generation == 2 and kms.calls == 1)
    finally:
        lease._lock.release()
    assert lease.grant.generation == 1, "a child's renewal is its own"


def test_each_worker_draws_its_own_time_to_renew(kms: KMS) -> None:
    lease = lease_of(kms, ttl=1e6)
    drawn = {lease._due}
    for _ in range(4):
        read, write = os.pipe()
        in_child(lambda write=write: os.write(write, repr(lease._due).encode()) > 0)  # type: ignore[misc]  # mypy infers no type for a lambda's default
        os.close(write)
        drawn.add(float(os.read(read, 100)))
        os.close(read)
    assert len(drawn) == 5
    assert 0.75e6 <= min(drawn) < max(drawn) <= 0.85e6


def test_hand_over_tries_once_and_leaves_failures_to_the_workers(clock: Clock, kms: KMS) -> None:
    lease = lease_of(kms)
    lease.hand_over()
    assert kms.calls == 0
    clock.move(0.76 * TTL)
    kms.fails = KMSThrottled("slower")
    lease.hand_over()
    assert (kms.calls, clock.slept, lease.grant.generation) == (1, [], 1)
    kms.fails = None
    clock.move(59)
    lease.hand_over()
    assert kms.calls == 1, "each of many workers would wait for what does not answer"
    clock.move(2)
    lease.hand_over()
    assert (kms.calls, lease.grant.generation) == (2, 2)
    lease.hand_over()
    assert kms.calls == 2


def test_a_retired_lease_is_renewed_on_use_and_before_no_fork(clock: Clock, kms: KMS) -> None:
    lease = lease_of(kms)
    lease.retire()
    clock.move(0.9 * TTL)
    grant._hand_over(lease)
    assert kms.calls == 0
    assert (lease.check().generation, kms.calls) == (2, 1)


def test_thousands_of_processes_do_not_ask_in_the_same_second() -> None:
    due = []
    for _ in range(400):
        lease = Lease(issue(3600.0), KMS(), ROOT)
        due.append(lease._due)
    assert statistics.pstdev(due) > 0.02 * 3600
