"""The fault matrix: what goes wrong, where, and how it ends.

tests/cloud/test_faults.py runs it and docs/faults.md shows it.
`python -m tests.cloud.faultcases` writes the table anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from securedata import errors
from securedata.testing import faults
from securedata.testing.proxy import Fault, FaultProxy
from tests.tree import ROOT

PAGE = ROOT / "docs" / "faults.md"
TABLES = re.compile(r"(?P<open><!-- matrix -->\n).*?(?P<close><!-- end of matrix -->\n)", re.S)


@dataclass(frozen=True)
class Between:
    """The proxies in front of the servers."""

    s3: FaultProxy
    kms: FaultProxy


Plan = Callable[[Between], object]


@dataclass(frozen=True)
class Case:
    """One line of the matrix.

    Attributes:
        fault: what goes wrong, in words.
        plan: programs the proxies.
        error: how it ends; None: well.
        says: pieces of the error's text.
        options: of the dataset.
        daily: is it in the default run?
        real: with the product's own times, which the other cases shorten.
        within: seconds that it may take, from the fault on.
    """

    fault: str
    plan: Plan
    error: type[Exception] | None = None
    says: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    daily: bool = False
    real: bool = False
    within: float = 25

    @property
    def id(self) -> str:
        return re.sub(r"\W+", "-", self.fault).strip("-")


def fetch(fault: Fault, times: int | None = 1, skip: int = 0) -> Plan:
    """For GETs of objects."""
    return lambda between: between.s3.plan(fault, method="GET", path="/objects/", times=times, skip=skip)


def head(fault: Fault, times: int | None = 1) -> Plan:
    """For GETs of the head."""
    return lambda between: between.s3.plan(fault, method="GET", path="/head", times=times)


def part(fault: Fault, times: int | None = 1) -> Plan:
    """For GETs of a manifest part."""
    return lambda between: between.s3.plan(fault, method="GET", path="/manifest/", times=times)


def unwrap(fault: Fault, times: int | None = 1) -> Plan:
    """For calls to the KMS."""
    return lambda between: between.kms.plan(fault, path="/decrypt/", times=times)


def commit(fault: Fault, times: int | None = 1) -> Plan:
    """For the conditional put of the head."""
    return lambda between: between.s3.plan(fault, method="PUT", path="/head", times=times)


def put(fault: Fault, times: int | None = 1) -> Plan:
    """For puts of objects."""
    return lambda between: between.s3.plan(fault, method="PUT", path="/objects/", times=times)


def s3_down(seconds: float = float("inf")) -> Plan:
    return lambda between: between.s3.refuse(seconds)


def kms_down(seconds: float = float("inf")) -> Plan:
    return lambda between: between.kms.refuse(seconds)


MIDDLE = 4_000
"""A byte in the middle of every object's body."""

SLOW_DOWN = faults.status(503, "SlowDown")
ERROR_500 = faults.status(500, "InternalError")
THROTTLED = faults.status(429, body=b'{"errors":["rate limit quota exceeded"]}', content_type="application/json")
DENIED = faults.status(403, body=b'{"errors":["permission denied"]}', content_type="application/json")
KMS_500 = faults.status(500, body=b'{"errors":["internal error"]}', content_type="application/json")
AWAY = errors.StorageUnreachable
NETWORK = "check endpoint and network"

FETCHING = [
    Case("100 ms more for every request", fetch(faults.latency(0.1), None)),
    Case("connections reset in the middle of bodies", fetch(faults.reset(MIDDLE), 5), daily=True),
    Case("every body reset", fetch(faults.reset(MIDDLE), None), AWAY, ("objects/", "tries in", NETWORK)),
    Case("bodies that stall", fetch(faults.stall(MIDDLE), 3), daily=True),
    Case("every body stalls", fetch(faults.stall(MIDDLE), None), AWAY, ("objects/", "tries in", NETWORK)),
    Case("requests that are never answered", fetch(faults.silence, 3)),
    Case("bodies cut short", fetch(faults.truncated(MIDDLE), 5)),
    Case("bodies cut short, and Content-Length agrees", fetch(faults.truncated(MIDDLE, told=True), 2), daily=True),
    Case(
        "every body cut short, and Content-Length agrees",
        fetch(faults.truncated(MIDDLE, told=True), None),
        errors.Truncated,
        ("object", "wrong length", "4000, but", "securedata verify"),
    ),
    Case("Content-Length too large", fetch(faults.miscounted(1_000), 3)),
    Case("Content-Length too small", fetch(faults.miscounted(-1_000), 2)),
    Case("503 SlowDown", fetch(SLOW_DOWN, 8), daily=True),
    Case("503 SlowDown, always", fetch(SLOW_DOWN, None), AWAY, ("objects/", "HTTP status 503", NETWORK), daily=True),
    Case("500", fetch(ERROR_500, 5)),
    Case("500, always", fetch(ERROR_500, None), AWAY, ("objects/", "HTTP status 500", NETWORK)),
    Case("bodies that drip", fetch(faults.drip(2_000, 0.1), 3)),
    Case("every body drips too slowly", fetch(faults.drip(20, 0.1), None), AWAY, ("objects/", "tries in", NETWORK)),
    Case("connections refused for 1.5 s", s3_down(1.5), daily=True),
    Case("connections refused for 20 s", s3_down(20), real=True, within=60),
    Case("connections refused, always", s3_down(), AWAY, ("objects/", "tries in", NETWORK)),
    Case("answers lost", fetch(faults.lost_answer, 5)),
    Case(
        "one bit flipped",
        fetch(faults.flipped(-1)),
        errors.AuthenticationFailed,
        ("object", "changed after it was sealed", "securedata verify"),
        daily=True,
    ),
    Case(
        "one bit flipped, `on_error=\"replace\"`",
        fetch(faults.flipped(-1)),
        errors.AuthenticationFailed,
        ("object", "changed after it was sealed", "securedata verify"),
        {"on_error": "replace"},
    ),
    Case(
        "403 for objects",
        fetch(faults.status(403, "AccessDenied"), None),
        errors.AccessDenied,
        ("objects/", "refused or missing"),
    ),
    Case(
        "404 for objects that are there",
        fetch(faults.status(404, "NoSuchKey"), None),
        errors.ObjectMissing,
        ("object", "not on storage"),
    ),
]  # fmt: skip

OPENING = [
    Case("head: connection reset", head(faults.reset(100), 2)),
    Case("head: 503 SlowDown", head(SLOW_DOWN, 3)),
    Case("head: 503 SlowDown, always", head(SLOW_DOWN, None), AWAY, ("head of s3://", "HTTP status 503", NETWORK)),
    Case("head: one bit flipped", head(faults.flipped(-1)), errors.AuthenticationFailed, ("head of s3://",)),
    Case("part: connection reset", part(faults.reset(100), 2)),
    Case("part: stalls", part(faults.stall(100))),
    Case("part: one bit flipped", part(faults.flipped(-1)), errors.AuthenticationFailed, ("securedata verify",)),
    Case("KMS slow by 0.5 s", unwrap(faults.latency(0.5), None)),
    Case("KMS throttles three calls", unwrap(THROTTLED, 3), daily=True),
    Case("KMS throttles, always", unwrap(THROTTLED, None), errors.KMSThrottled, ("hcvault", "too many calls", "later")),
    Case("KMS down", kms_down(), errors.KMSUnreachable, ("hcvault", "check address and network"), daily=True),
    Case("KMS never answers", unwrap(faults.silence, None), errors.KMSUnreachable, ("hcvault", "timed out", "check")),
    Case("KMS says 500", unwrap(KMS_500, None), errors.KMSUnreachable, ("hcvault", "internal error", "check")),
    Case("KMS says no", unwrap(DENIED, None), errors.KMSDenied, ("hcvault", "permission denied", "policy")),
]

EXPIRED = ("the keys of s3://", "expired", "within kms_wait=1 s", "hcvault")
RENEWING = [
    Case("KMS slow by 0.3 s", unwrap(faults.latency(0.3), None)),
    Case("KMS throttles for a while", unwrap(THROTTLED, 6), daily=True),
    Case("KMS down for 1.5 s", kms_down(1.5), daily=True),
    Case("KMS down for longer than `kms_wait`", kms_down(), errors.KeysExpired, EXPIRED, {"kms_wait": 1}, daily=True),
    Case("KMS never answers some calls", unwrap(faults.silence, 2)),
    Case("KMS's answers lost", unwrap(faults.lost_answer, 3)),
    Case("KMS says 500 for a while", unwrap(KMS_500, 3)),
    Case("KMS says no", unwrap(DENIED, None), errors.KMSDenied, ("hcvault", "permission denied", "policy")),
    Case("head: 503 SlowDown for a while", head(SLOW_DOWN, 6)),
]

COMMITTING = [
    Case("answer to the put of the head lost", commit(faults.lost_answer), daily=True),
    Case("request to put the head lost", commit(faults.lost_request)),
    Case("put of the head: 503 SlowDown", commit(SLOW_DOWN, 2)),
    Case("put of the head: 500", commit(ERROR_500, 2)),
    Case("put of the head is never answered", commit(faults.silence)),
    Case("answer to the put of the head never comes", commit(faults.stall())),
    Case("put of the head: 503 SlowDown, always", commit(SLOW_DOWN, None), AWAY, ("head of s3://", "SlowDown")),
    Case("put of an object: 503 SlowDown", put(SLOW_DOWN, 2)),
    Case("put of an object: connection reset", put(faults.lost_request, 2)),
    Case("answer to the put of an object lost", put(faults.lost_answer), daily=True),
    Case("answer to the put of an object stalls", put(faults.stall())),
    Case(
        "put of an object: 503 SlowDown, always",
        put(SLOW_DOWN, None),
        AWAY,
        ("objects/", "s3://", "SlowDown"),
        within=90,
    ),
]  # fmt: skip

GROUPS = {
    "A batch is fetched": ("every sample once, bit-exact", FETCHING),
    "A dataset is opened": ("it opens, and every sample comes once, bit-exact", OPENING),
    "Keys are renewed in the middle of an epoch": ("every sample once, bit-exact", RENEWING),
    "Rows are committed": ("committed once", COMMITTING),
}

OTHERS = [
    ("the session ends, and a new one is given", None, ()),
    (
        "the session is denied, and the renewed one too",
        errors.AccessDenied,
        ("objects/", "refused or missing"),
    ),
    ("the KMS's token is revoked", errors.KMSDenied, ("hcvault", "revoked")),
    ("a worker is killed with -9", RuntimeError, ("DataLoader worker", "exited unexpectedly")),
]
"""What no proxy makes: (fault, error, text), each with a test of its own."""


def _ends(well: str, error: type[Exception] | None, says: tuple[str, ...]) -> str:
    return well if error is None else f"`{error.__name__}`: " + " ... ".join(f"`{piece}`" for piece in says)


def tables() -> str:
    """The matrix, in Markdown."""
    lines: list[str] = []
    for title, (well, cases) in GROUPS.items():
        lines += ["", f"### {title}", "", "| fault | how it ends |", "|---|---|"]
        lines += [f"| {case.fault} | {_ends(well, case.error, case.says)} |" for case in cases]
    lines += ["", "### The run as a whole", "", "| fault | how it ends |", "|---|---|"]
    lines += [f"| {fault} | {_ends('every sample once, bit-exact', error, says)} |" for fault, error, says in OTHERS]
    return "\n".join([*lines, "", ""])


def with_tables(page: str) -> str:
    """The page with today's matrix."""
    return TABLES.sub(lambda found: found["open"] + tables() + found["close"], page)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
