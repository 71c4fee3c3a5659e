"""What one opening of a corpus allows, and until when; renewed on use, per process.

A read past 75 % of the time to live renews, with jitter, one thread at a time. A failure is
retried with backoff while the old grant lasts; past the deadline nothing is served: reads wait up to
`kms_wait` seconds and then raise `KeysExpired`. There is no background thread and no lock between
processes, and an idle process never asks the KMS. The deadline limits fetching: keys that a thief copied
work until the objects are re-encrypted.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from securedata.clocks import Moment
from securedata.errors import KeysExpired, KMSThrottled, KMSUnreachable, SecuredataError, StorageUnreachable
from securedata.forks import Instances

_log = logging.getLogger("securedata")

RENEW_AT = 0.75
JITTER = 0.10
_FIRST_BACKOFF = 0.2
_LONGEST_BACKOFF = 15.0
_AFTER_FAILURE = 60.0
_PASSING = (KMSUnreachable, KMSThrottled, StorageUnreachable)


@dataclass(frozen=True, slots=True)
class Grant:
    """Immutable; workers get their parent's. `ttl` is in seconds after `began`.

    `storage_time`: storage's clock at `began`, in seconds since the epoch; None: no answer gave it.
    """

    generation: int
    key_id: bytes
    superseded: frozenset[bytes]
    ttl: float
    began: Moment
    storage_time: float | None = None

    @classmethod
    def issue(
        cls,
        generation: int,
        key_id: bytes,
        superseded: frozenset[bytes],
        ttl: float,
        storage_time: float | None = None,
    ) -> Grant:
        """A grant that begins now."""
        return cls(generation, key_id, superseded, ttl, Moment.now(), storage_time)

    def now(self) -> float:
        """The time in seconds since the epoch, by this host's clock or storage's, whichever is later."""
        if self.storage_time is None:
            return time.time()
        return max(time.time(), self.storage_time + self.began.since_boot())

    def age(self) -> float:
        """Seconds since it was issued, including those that a suspended host or a clock set back would hide."""
        return self.began.age()


class Lease:
    """Holds the current grant of one opened corpus and renews it when it is used."""

    def __init__(self, grant: Grant, renew: Callable[[Grant], Grant], root: str, kms_wait: float = 600.0) -> None:
        """`renew` makes a new grant from the old one, or raises; it is called by one thread at a time."""
        self.grant = grant
        self._renew = renew
        self._root = root
        self._kms_wait = kms_wait
        self._retired = False
        self._fresh_process()
        _leases.add(self)

    def _fresh_process(self) -> None:
        self._lock = threading.Lock()
        self._waiting_logged = False
        self._failure: SecuredataError | None = None
        self._failed_at = -math.inf
        self._backoff = _FIRST_BACKOFF
        self._schedule()

    def _schedule(self) -> None:
        # drawn per process, so that the workers of a job do not ask the KMS in the same second
        self._due = self.grant.ttl * (RENEW_AT + JITTER * random.random())  # noqa: S311 - jitter, no secret

    def holds(self) -> bool:
        """Whether no renewal is due."""
        return self.grant.age() < self._due

    def check(self) -> Grant:
        """Called before every fetch: returns a valid grant, renewed if it is due.

        Raises:
            KeysExpired: the deadline passed and the KMS did not answer for `kms_wait` seconds.
            KMSDenied, PinMismatch, ...: the renewal was refused; waiting would not help.
        """
        if self.holds():
            return self.grant
        began = time.monotonic()
        if self._lock.acquire(blocking=self.grant.age() >= self.grant.ttl):
            try:
                self._renew_or_wait(began)
            finally:
                self._lock.release()
        return self.grant

    def hand_over(self) -> None:
        """Called before new workers start: they should not begin with a grant that is about to expire.

        It tries once, and not soon after a failure: with storage gone, a try takes a minute, for each worker. A failure
        is left to the workers, which renew on use and can wait.
        """
        if self._retired or time.monotonic() - self._failed_at < _AFTER_FAILURE:
            return
        if self.grant.age() >= self.grant.ttl * RENEW_AT and self._lock.acquire(blocking=False):
            try:
                self._try()
            finally:
                self._lock.release()

    def retire(self) -> None:
        """Stop renewing before forks: no new worker uses a closed corpus."""
        self._retired = True

    def _renew_or_wait(self, began: float) -> None:
        if self.holds():  # another thread was first
            return
        # A thread that waited for the lock while another thread's try failed has already waited for the KMS.
        in_vain = self._failed_at >= began
        while in_vain or not self._try():
            in_vain = False
            age = self.grant.age()
            if age < self.grant.ttl:
                self._due = age + min(self._backoff, self.grant.ttl - age)
                return
            left = self._kms_wait - (time.monotonic() - began)
            if left <= 0:
                raise KeysExpired(
                    f"the keys of {self._root} expired {age - self.grant.ttl:.0f} s ago and could not be renewed "
                    f"within kms_wait={self._kms_wait:g} s: {self._failure}",
                    root=self._root,
                ) from self._failure
            if not self._waiting_logged:
                _log.warning(
                    "the keys of %s expired and the KMS does not answer (%s); reads wait up to %g s",
                    self._root,
                    self._failure,
                    self._kms_wait,
                )
                self._waiting_logged = True
            time.sleep(min(self._backoff, left))

    def _try(self) -> bool:
        try:
            self.grant = self._renew(self.grant)
        except _PASSING as error:
            self._failure, self._failed_at = error, time.monotonic()
            self._backoff = min(self._backoff * 2, _LONGEST_BACKOFF) * (0.75 + 0.5 * random.random())  # noqa: S311 - jitter
            return False
        self._failure = None
        self._waiting_logged = False
        self._backoff = _FIRST_BACKOFF
        self._schedule()
        return True


def _hand_over(lease: Lease) -> None:
    # DataLoader forks its workers without telling the dataset; a fork is the only sign of a hand-over
    try:
        lease.hand_over()
    except SecuredataError as error:
        _log.debug("renewal before a fork was refused, and the workers will raise this error: %s", error)


_leases = Instances(before=_hand_over, in_child=Lease._fresh_process)
