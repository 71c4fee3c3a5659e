"""Read-only storage on a web server: anything that answers GET with ranges, such as nginx, a CDN or a public bucket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NoReturn
from urllib.parse import quote

from securedata.clocks import HeardClock
from securedata.errors import (
    AccessDenied,
    ConfigError,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    SecuredataError,
    StorageUnreachable,
)
from securedata.foreign.aws import Failed
from securedata.roots import check_segments
from securedata.storage.base import Buffer, Download, Entry, Group, Storage, Wanted
from securedata.storage.http.date import hear_date
from securedata.storage.http.engine import Flight, engine, seconds_backing_off
from securedata.storage.http.get import Answer, Get
from securedata.storage.http.settings import route_to

_IN_FLIGHT = 256 * 1024 * 1024
_NOT_ESCAPED = "%/:[]~!$&'()*+,;=@"


class WebStorage(Storage):
    """A folder on a web server. It cannot be written to or listed."""

    def __init__(self, url: str) -> None:
        """Makes no connection.

        Raises:
            InvalidArgument: the URL has no host, or it has a user, a password, a query or dot segments.
        """
        scheme, _, rest = url.partition("://")
        host = rest.partition("/")[0]
        if not host or "@" in host or "?" in rest or "#" in rest:
            where = f"{scheme}://..."  # the rest may hold a secret
            text = "write https://HOST/FOLDER, without user, password or query"
            raise InvalidArgument(f"{where} cannot be a root: {text}", root=where)
        check_segments(url, rest)
        self.url = url.rstrip("/")
        self._base = quote(self.url, safe=_NOT_ESCAPED)  # the URL may be escaped already
        self._route: tuple[str, str] | None = None
        self._clock = HeardClock()

    def __repr__(self) -> str:
        return f"WebStorage({self.url!r})"

    # ------------------------------------------------------------ read

    def get(self, key: str, limit: int | None = None) -> Buffer:
        return self.get_versioned(key, limit)[0]

    def get_versioned(self, key: str, limit: int | None = None) -> tuple[Buffer, str]:
        most = limit if limit is not None else 2**40
        flight = self._start([Get(self._place(key), limit=most)], _IN_FLIGHT)
        [[(_, got)]] = self._answers(flight, [key])
        if isinstance(got, SecuredataError):
            raise got
        if got.status == 413:
            count = got.size or f"more than {most}"
            raise LimitExceeded(f"{key} of {self.url} has {count} bytes, above the limit of {most}", root=self.url)
        hear_date(self._clock, got.date)
        return got.body, got.etag

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Buffer]:
        found: dict[int, Buffer] = {}
        for at, got in self.get_many([Wanted(key, offset, length) for offset, length in ranges], _IN_FLIGHT):
            if isinstance(got, SecuredataError):
                raise got
            found[at] = got
        return [found[at] for at in range(len(ranges))]

    def get_many(self, wanted: Sequence[Wanted], in_flight: int) -> Iterator[tuple[int, Buffer | SecuredataError]]:
        """Several at once, each as it arrives; see `Storage.get_many`."""
        for group in self.get_batches(wanted, in_flight):
            yield from group

    def get_batches(self, wanted: Sequence[Wanted], in_flight: int) -> Iterator[Group]:
        """In lists of what arrived together; see `Storage.get_batches`."""
        yield from self.start(wanted, in_flight).groups

    def start(self, wanted: Sequence[Wanted], in_flight: int) -> Download:
        """See `Storage.start`."""
        places = [at for at, one in enumerate(wanted) if one.length > 0]
        asked = [wanted[at] for at in places]
        gets = [Get(self._place(one.key), one.offset, one.length, least=one.least) for one in asked]
        flight = self._start(gets, in_flight)

        def groups() -> Iterator[Group]:
            if len(asked) < len(wanted):
                yield [(at, b"") for at, one in enumerate(wanted) if one.length <= 0]
            for group in self._answers(flight, [one.key for one in asked]):
                yield [(places[number], self._body(asked[number], got)) for number, got in group]

        return Download(groups(), flight.poll, flight.cancel)

    def _body(self, one: Wanted, got: Answer | SecuredataError) -> Buffer | SecuredataError:
        if isinstance(got, SecuredataError):
            return got
        if not got.as_asked:
            text = f"{one.key} of {self.url}: the server answered with another range than was asked for"
            return StorageUnreachable(f"{text}; check the address, and any proxy in between", root=self.url)
        if got.status == 413 or (got.status == 200 and one.offset):
            text = f"{one.key} of {self.url}: the server ignores ranges, which reading needs: use another server"
            return StorageUnreachable(text, root=self.url)
        return got.body if got.status != 416 else b""  # 416: the range begins after the end

    def seconds_backing_off(self) -> float:
        return seconds_backing_off()

    def _start(self, gets: Sequence[Get], in_flight: int) -> Flight[Answer]:
        if self._route is None:
            try:
                self._route = route_to(self.url)
            except Failed as error:
                raise ConfigError(f"{self.url}: {error}", root=self.url) from error
        return engine(*self._route).start(gets, None, in_flight=in_flight)

    def _answers(
        self, flight: Flight[Answer], keys: Sequence[str]
    ) -> Iterator[list[tuple[int, Answer | SecuredataError]]]:
        for group in flight.answers():
            yield [(at, self._outcome(f"{keys[at]} of {self.url}", outcome)) for at, outcome in group]

    def _outcome(self, where: str, outcome: Answer | StorageUnreachable) -> Answer | SecuredataError:
        if isinstance(outcome, StorageUnreachable):
            return StorageUnreachable(f"{where}: {outcome}; check the address and the network", root=self.url)
        if outcome.status in (200, 206, 413, 416):
            return outcome
        if outcome.status in (404, 410):
            return NotFound(f"{where} does not exist", root=self.url)
        if outcome.status in (401, 403):
            return AccessDenied(f"{where}: refused or missing (HTTP status {outcome.status})", root=self.url)
        advice = "use the address that it redirects to" if 300 <= outcome.status < 400 else "check the address"
        return StorageUnreachable(f"{where}: HTTP status {outcome.status}; {advice}", root=self.url)

    def _place(self, key: str) -> str:
        return f"{self._base}/{quote(key, safe='/~')}"

    # ------------------------------------------------------------ not supported

    def check_writable(self, single_writer: bool = False) -> None:
        """Refuse: web servers are read-only.

        Raises:
            InvalidArgument
        """
        raise InvalidArgument(
            f"{self.url} is a web server, which is read-only: write to the storage behind it, such as s3:// or a "
            "folder",
            root=self.url,
        )

    def put_new(self, key: str, pieces: Iterable[Buffer]) -> float:
        self._refuse("written to")

    def replace(self, key: str, data: Buffer, version: str | None) -> None:
        self._refuse("written to")

    def make_durable(self) -> None:
        """Do nothing: nothing is ever put here."""

    def delete(self, key: str) -> None:
        self._refuse("written to")

    def list(self, prefix: str = "") -> Iterator[Entry]:
        self._refuse("listed")

    def recent_time(self) -> float | None:
        return self._clock.now()

    def now(self) -> float:
        self._refuse("used as a clock")

    def _refuse(self, what: str) -> NoReturn:
        text = f"{self.url} is a web server, which cannot be {what}: do this on the storage behind it"
        raise AccessDenied(text, root=self.url)
