"""Storage on S3 and servers with its API: bulk reads and puts over libcurl, everything else through boto3."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from securedata.clocks import HeardClock, Moment
from securedata.errors import (
    AlreadyExists,
    LimitExceeded,
    NotFound,
    PreconditionFailed,
    SecuredataError,
    StorageUnreachable,
    UnsafeStorage,
)
from securedata.foreign.aws import Credentials
from securedata.roots import split_s3
from securedata.storage.base import CLOCK_SLACK, Buffer, Download, Entry, Group, Purged, Storage, Wanted
from securedata.storage.http.date import hear_date, time_of
from securedata.storage.http.engine import Flight, seconds_backing_off
from securedata.storage.http.get import Answer, Get
from securedata.storage.http.put import Put, Sent
from securedata.storage.part_stream import cut
from securedata.storage.s3.calls import Calls
from securedata.storage.s3.clients import Clients
from securedata.storage.s3.errors import Refusal, parse_error
from securedata.storage.s3.legal_holds import S3LegalHolds
from securedata.storage.s3.listing import bare, delete, deleted_keys, entries, hide, older
from securedata.storage.s3.multipart import put_parts
from securedata.storage.s3.probe import probe
from securedata.storage.s3.purge import check_deletable, purge, purge_older

PART = 16 * 1024 * 1024
"""The size of a part; objects of at least this many bytes are uploaded in parts."""
PARTS_UNDER_WAY = 2
"""Parts of one upload that are sent at once, while the next one is filled."""

_IN_FLIGHT = 256 * 1024 * 1024
_USABLE = frozenset({200, 206, 413, 416})
_PROBED: set[str] = set()


class _Asked(NamedTuple):
    """One GET, as `Get` takes it; `length` None: the whole object, of at most `limit` bytes."""

    key: str
    offset: int = 0
    length: int | None = None
    limit: int = 0
    least: int = 0


class S3Storage(Storage):
    """A prefix of a bucket."""

    buffered = (PARTS_UNDER_WAY + 2) * PART
    parallel_puts = 8

    def __init__(
        self, url: str, options: Mapping[str, str] | None = None, credentials: Credentials | None = None
    ) -> None:
        """`options`: profile, region and endpoint_url, as boto3 takes them. `credentials`: a role's session."""
        bucket, prefix = split_s3(url)
        self.url = url.rstrip("/")
        self.bucket = bucket
        self.prefix = prefix + "/" if prefix else ""
        self._clients = Clients(bucket, options or {}, credentials)
        self._calls = Calls(self.url, bucket, self.prefix, self._clients)
        self._clock = HeardClock()

    @property
    def checksums(self) -> bool:  # type: ignore[override]  # a constant elsewhere; here it depends on settings
        """As `Storage.checksums`: false if AWS's settings allow checksums only where a call requires one.

        Raises:
            ConfigError, InvalidArgument, ...: no client can be made from the settings.
        """
        return self._calls.endpoint().checksums

    def __repr__(self) -> str:
        return f"S3Storage({self.url!r})"

    # ------------------------------------------------------------ read

    def get(self, key: str, limit: int | None = None) -> Buffer:
        return self.get_versioned(key, limit)[0]

    def get_versioned(self, key: str, limit: int | None = None) -> tuple[Buffer, str]:
        most = limit if limit is not None else 2**40
        answer = self._fetch([_Asked(key, limit=most)])[0]
        if answer.status == 413:
            count = answer.size or f"more than {most}"
            raise LimitExceeded(f"{key} of {self.url} has {count} bytes, above the limit of {most}", root=self.url)
        hear_date(self._clock, answer.date)
        return answer.body, answer.etag

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Buffer]:
        asked = [_Asked(key, offset, length) for offset, length in ranges if length > 0]
        bodies = iter([answer.body for answer in self._fetch(asked)])
        return [next(bodies) if length > 0 else b"" for _, length in ranges]

    def get_part(self, key: str, offset: int, length: int) -> tuple[Buffer, str]:
        """One range, shorter where the object ends, and the object's version, as in `list`."""
        answer = self._fetch([_Asked(key, offset, length, least=length)])[0]
        return answer.body, bare(answer.etag)

    def get_many(self, wanted: Sequence[Wanted], in_flight: int) -> Iterator[tuple[int, Buffer | SecuredataError]]:
        """Several at once, each as it arrives; see `Storage.get_many`."""
        for group in self.get_batches(wanted, in_flight):
            yield from group

    def get_batches(self, wanted: Sequence[Wanted], in_flight: int) -> Iterator[Group]:
        """In lists of what arrived together; see `Storage.get_batches`."""
        yield from self.start(wanted, in_flight).groups

    def start(self, wanted: Sequence[Wanted], in_flight: int) -> Download:
        """See `Storage.start`."""
        if not wanted:
            return Download(iter(()))
        asked = [_Asked(one.key, one.offset, one.length, least=one.least) for one in wanted]
        began, flight = time.monotonic(), self._start(asked, in_flight, renew=False)

        def groups() -> Iterator[Group]:
            for group in self._answers(asked, flight, in_flight, began):
                yield [(at, outcome.body if isinstance(outcome, Answer) else outcome) for at, outcome in group]

        return Download(groups(), flight.poll, flight.cancel)

    def seconds_backing_off(self) -> float:
        return seconds_backing_off()

    def _fetch(self, asked: Sequence[_Asked]) -> list[Answer]:
        found: dict[int, Answer] = {}
        if not asked:
            return []
        began, flight = time.monotonic(), self._start(asked, _IN_FLIGHT, renew=False)
        for group in self._answers(asked, flight, _IN_FLIGHT, began):
            for at, outcome in group:
                if not isinstance(outcome, Answer):
                    raise outcome
                found[at] = outcome
        return [found[at] for at in range(len(asked))]

    def _answers(
        self, asked: Sequence[_Asked], flight: Flight[Answer], in_flight: int, began: float
    ) -> Iterator[list[tuple[int, Answer | SecuredataError]]]:
        """Usable answers, or errors. If new credentials or another region might help, a request is made once more.

        Args:
            began: when `flight` was started with what is `asked`.
        """
        again: list[int] = []
        renew = False
        for group in flight.answers():
            kept = []
            for at, answer in group:
                outcome = self._usable(asked[at], answer)
                if isinstance(outcome, Refusal):
                    stale = self._calls.may_renew(outcome, began)
                    if stale or (outcome.elsewhere and self._clients.move(outcome.region, began)):
                        renew |= stale
                        again.append(at)
                        continue
                kept.append((at, self._outcome(asked[at].key, outcome)))
            yield kept
        if not again:
            return
        asked = [asked[at] for at in again]
        for group in self._start(asked, in_flight, renew).answers():
            yield [(again[at], self._outcome(asked[at].key, self._usable(asked[at], one))) for at, one in group]

    def _start(self, asked: Sequence[_Asked], in_flight: int, renew: bool) -> Flight[Answer]:
        url, signer, engine = self._calls.ready(renew)
        return engine.start([self._get(url, one) for one in asked], signer, in_flight=in_flight)

    def _get(self, url: str, asked: _Asked) -> Get:
        path = quote(self.prefix + asked.key, safe="/~")
        return Get(url + path, asked.offset, asked.length, asked.limit, asked.least)

    def _usable(self, asked: _Asked, outcome: Answer | StorageUnreachable) -> Answer | Refusal | SecuredataError:
        if isinstance(outcome, StorageUnreachable):
            text = f"{asked.key} of {self.url}: {outcome}; check endpoint and network"
            return StorageUnreachable(text, root=self.url)
        if outcome.status not in _USABLE:
            return parse_error(outcome.body, outcome.status, outcome.region, outcome.date)
        if outcome.status == 416:  # the range begins after the end
            return outcome._replace(body=memoryview(b""))
        if not outcome.as_asked:
            text = f"{asked.key} of {self.url}: the server answered with another range than was asked for"
            return StorageUnreachable(f"{text}; check the endpoint, and any proxy in between", root=self.url)
        if asked.length is not None and (outcome.status == 413 or (outcome.status == 200 and asked.offset)):
            text = f"{asked.key} of {self.url}: the server ignores ranges, which reading needs: use another server"
            return StorageUnreachable(text, root=self.url)
        return outcome

    def _outcome(self, key: str, outcome: Answer | Refusal | SecuredataError) -> Answer | SecuredataError:
        return self._calls.to_error(outcome, key) if isinstance(outcome, Refusal) else outcome

    # ------------------------------------------------------------ write

    def put_new(self, key: str, pieces: Iterable[Buffer]) -> float:
        buffer = bytearray()
        source = iter(pieces)
        for piece in source:
            buffer += piece
            if len(buffer) >= PART:
                parts = cut(buffer, source, PART)
                begun = put_parts(self._calls, key, parts, PARTS_UNDER_WAY, lambda: self.get_ranges(key, [(0, 1)]))
                return begun - CLOCK_SLACK
        for _, outcome in self.put_many([(key, buffer)]):
            if isinstance(outcome, float):
                return outcome
            raise outcome
        raise AssertionError("unreachable")

    def put_many(self, wanted: Iterable[tuple[str, Buffer]]) -> Iterator[tuple[int, float | SecuredataError]]:
        """As `Storage.put_many`, several at once over libcurl."""
        begun, moment = time.monotonic(), Moment.now()
        under_way: dict[int, tuple[str, Buffer]] = {}
        again: dict[int, tuple[str, Buffer]] = {}
        renew = False

        def taken() -> Iterator[tuple[str, Buffer]]:
            for at, one in enumerate(wanted):
                under_way[at] = one
                yield one

        for at, outcome in self._puts(taken(), renew=False):
            one = under_way.pop(at)
            if isinstance(outcome, Sent) and outcome.status not in (200, 412):
                refusal = parse_error(memoryview(outcome.body), outcome.status, outcome.region, outcome.date)
                stale = self._calls.may_renew(refusal, begun)
                if stale or (refusal.elsewhere and self._clients.move(refusal.region, begun)):
                    renew |= stale
                    again[at] = one
                    continue
            yield at, self._put_outcome(one[0], outcome, moment)
        places = list(again)
        for number, outcome in self._puts(again.values(), renew) if again else ():
            at = places[number]
            yield at, self._put_outcome(again[at][0], outcome, moment)

    def _puts(
        self, wanted: Iterable[tuple[str, Buffer]], renew: bool
    ) -> Iterator[tuple[int, Sent | StorageUnreachable]]:
        url, signer, engine = self._calls.ready(renew)
        checksums = self._calls.endpoint().checksums
        puts = (Put(url + quote(self.prefix + key, safe="/~"), body, checksums) for key, body in wanted)
        for group in engine.run(puts, signer, at_most=self.parallel_puts, lazily=True):
            yield from group

    def _put_outcome(self, key: str, outcome: Sent | StorageUnreachable, begun: Moment) -> float | SecuredataError:
        if isinstance(outcome, StorageUnreachable):
            return StorageUnreachable(f"{key} of {self.url}: {outcome}; check endpoint and network", root=self.url)
        if outcome.status == 412 and (outcome.tries == 1 or not self._is_there(key)):
            return AlreadyExists(f"{key} of {self.url} exists already", root=self.url)
        if outcome.status not in (200, 412):
            refusal = parse_error(memoryview(outcome.body), outcome.status, outcome.region, outcome.date)
            return self._calls.to_error(refusal, key, writing=True)
        # 412: stored by an earlier try, whose answer was lost; the Date header is then that of a later answer
        try:
            when = time_of(outcome.date, f"{key} of {self.url}", self.url)
        except StorageUnreachable as error:
            return error
        return when - begun.age() - CLOCK_SLACK

    def _is_there(self, key: str) -> bool:
        """Whether there is an object under a key that an earlier try may have put."""
        try:
            self.get_ranges(key, [(0, 1)])
        except SecuredataError:  # the refusal of the put matters more, and the caller checks the key again
            return False
        return True

    def replace(self, key: str, data: Buffer, version: str | None) -> None:
        if version is not None and (not version or version.startswith("W/")):
            raise UnsafeStorage(
                f"{key} of {self.url}: the server gives {'a weak' if version else 'no'} ETag, so it cannot be replaced "
                "without a risk of losing another writer's change: check the endpoint, and any proxy in between",
                root=self.url,
            )
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        try:
            self._calls.call("put_object", key, once=True, Body=bytes(data), **condition)
        except NotFound as error:
            raise PreconditionFailed(str(error), root=self.url) from error

    def make_durable(self) -> None:
        """Do nothing: what S3 has confirmed is durable."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        return entries(self._calls, prefix)

    def deleted_keys(self, prefix: str = "", strict: bool = False) -> Iterator[str]:
        return deleted_keys(self._calls, prefix, strict)

    def older(self, key: str, limit: int) -> Iterator[tuple[str, Buffer]]:
        yield from super().older(key, limit)
        yield from older(self._calls, key, limit)

    def delete(self, key: str) -> None:
        delete(self._calls, key)

    def hide(self, key: str) -> None:
        hide(self._calls, key)

    def check_deletable(self) -> None:
        check_deletable(self._calls)

    def purge(self, keys: Iterable[str]) -> Iterator[tuple[str, Purged | SecuredataError]]:
        return purge(self._calls, keys)

    def purge_older(self, key: str, is_older: Callable[[Buffer], bool], limit: int) -> int:
        return purge_older(self._calls, key, is_older, limit)

    def legal_holds(self) -> S3LegalHolds:
        return S3LegalHolds(self._calls)

    def now(self) -> float:
        asked = _Asked("head", 0, 1)
        [[(_, answer)]] = self._start([asked], 1, renew=False).answers()
        outcome = self._usable(asked, answer)
        if isinstance(outcome, SecuredataError):
            raise outcome
        return time_of(outcome.date, self.url, self.url)  # a refusal has a date too

    def recent_time(self) -> float | None:
        return self._clock.now()

    def check_writable(self, single_writer: bool = False) -> None:
        endpoint = self._calls.ready(False)[0]
        if single_writer or endpoint in _PROBED:
            return
        probe(self._calls.call, self.delete, self.url)
        _PROBED.add(endpoint)
