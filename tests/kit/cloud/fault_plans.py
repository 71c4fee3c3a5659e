"""What the fault matrix is made of: a case, and plans that put a fault where it belongs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from securedata.testing import faults
from securedata.testing.proxy import Exchange, Fault, FaultProxy, passed

SLOW_DOWN = faults.status(503, "SlowDown")


@dataclass(frozen=True)
class Between:
    """The proxies in front of the servers, and the storage keys of the corpus's objects, in the order of its rows."""

    s3: FaultProxy
    kms: FaultProxy
    aws: FaultProxy
    sts: FaultProxy
    objects: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[FaultProxy, ...]:
        return self.s3, self.kms, self.aws, self.sts


Plan = Callable[[Between], object]
Says = tuple[str, str, str] | tuple[()]


@dataclass(frozen=True)
class Case:
    """One line of the matrix.

    Attributes:
        fault: what goes wrong, in words.
        plan: programs the proxies.
        error: how it ends; None: well.
        says: pieces of the error's text: the object, the cause, the next step.
        options: of the dataset.
        daily: whether it is in the default run.
        real: with the product's own times, which the other cases shorten.
        least: the fewest seconds that it takes if the fault happened, for faults that no request shows.
        within: the most seconds that it may take, from the fault on.
        lost: rows that the next one replaces.
        rounds: how many epochs it takes; with several, samples are slow, so that a session ends meanwhile.
    """

    fault: str
    plan: Plan
    error: type[Exception] | None = None
    says: Says = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    daily: bool = False
    real: bool = False
    least: float = 0
    within: float = 40
    lost: tuple[int, ...] = ()
    rounds: int = 1

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


def aws(fault: Fault, times: int | None = 1) -> Plan:
    """For calls to AWS KMS."""
    return lambda between: between.aws.plan(fault, method="POST", times=times)


def sts(fault: Fault, times: int | None = 1) -> Plan:
    """For new sessions."""
    return lambda between: between.sts.plan(fault, method="POST", times=times)


def commit(fault: Fault, times: int | None = 1) -> Plan:
    """For the conditional put of the head."""
    return lambda between: between.s3.plan(fault, method="PUT", path="/head", times=times)


def put(fault: Fault, times: int | None = 1, skip: int = 0) -> Plan:
    """For puts of objects; of a large one its parts."""
    return lambda between: between.s3.plan(fault, method="PUT", path="/objects/", times=times, skip=skip)


def post(fault: Fault, skip: int) -> Plan:
    """For the requests that begin (`skip` 0) and complete (1) an upload in parts."""
    return lambda between: between.s3.plan(fault, method="POST", path="/objects/", skip=skip)


def put_part(fault: Fault, times: int | None = 1) -> Plan:
    """For the put of a manifest part."""
    return lambda between: between.s3.plan(fault, method="PUT", path="/manifest/", times=times)


def of_rows(fault: Fault, *rows: int) -> Plan:
    """For all GETs of these rows' objects."""

    def plan(between: Between) -> object:
        planned = [between.s3.plan(fault, method="GET", path=between.objects[row], times=None) for row in rows]
        return planned[-1]

    return plan


def every_third(fault: Fault) -> Plan:
    """For the first put of every third object."""

    def plan(between: Between) -> object:
        met: dict[str, int] = {}

        def sometimes(exchange: Exchange) -> None:
            target = exchange.request.target
            again = target in met
            (passed if again or met.setdefault(target, len(met)) % 3 else fault)(exchange)

        return between.s3.plan(sometimes, method="PUT", path="/objects/", times=None)

    return plan


def lost_and_down(between: Between) -> object:
    """The answer to the put of the head is lost, and from then on the head cannot be read."""

    def fault(exchange: Exchange) -> None:
        between.s3.plan(SLOW_DOWN, method="GET", path="/head", times=None)
        faults.lost_answer(exchange)

    return between.s3.plan(fault, method="PUT", path="/head")


def s3_down(seconds: float = float("inf")) -> Plan:
    return lambda between: between.s3.refuse(seconds)


def kms_down(seconds: float = float("inf")) -> Plan:
    return lambda between: between.kms.refuse(seconds)


def vault(status: int, text: str) -> Fault:
    return faults.status(status, body=b'{"errors":["%s"]}' % text.encode(), content_type="application/json")


def aws_error(status: int, code: str) -> Fault:
    body = b'{"__type":"%s","message":"made by a test"}' % code.encode()
    return faults.status(status, body=body, content_type="application/x-amz-json-1.1")


def sts_error(status: int, code: str) -> Fault:
    return faults.status(status, body=b"<ErrorResponse><Error><Code>%s</Code></Error></ErrorResponse>" % code.encode())
