"""Storage on S3 and what speaks it: bulk reads over libcurl, everything else over boto3."""

from __future__ import annotations

import contextlib
import math
import mmap
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from securedata.errors import (
    AccessDenied,
    AlreadyExists,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    PreconditionFailed,
    SecuredataError,
    StorageError,
    StorageUnreachable,
)
from securedata.storage.base import Buffer, Entry, Storage, Wanted
from securedata.storage.clients import Clients, Credentials
from securedata.storage.curl import Answer, Engine, Get, Signer, waited
from securedata.storage.honest import probe
from securedata.storage.parts import cut, side_by_side
from securedata.storage.s3errors import Said, failed, refused, said_by, said_to
from securedata.storage.upload import Sent, uploader

PART = 16 * 1024 * 1024
"""Bytes from which on an upload goes in parts of this size."""
PARTS_UNDER_WAY = 2
"""Parts of one upload that are sent side by side, while the next one is filled."""

_CLOCK_SLACK = 60.0  # a put's time is taken this much earlier, so that it is never later than what a listing says
_IN_FLIGHT = 256 * 1024 * 1024
_USABLE = frozenset({200, 206, 413, 416})
_DENIED_PAUSE = 60.0  # a session that is denied something is renewed this often at most: what is missing is denied too
_PROBED: set[str] = set()


class _Asked(NamedTuple):
    """One GET, as `curl.Get` takes it; `length` None: the whole object of at most `limit` bytes."""

    key: str
    offset: int = 0
    length: int | None = None
    limit: int = 0
    least: int = 0


class S3Storage(Storage):
    """A prefix of a bucket."""

    checksums = True
    held = (PARTS_UNDER_WAY + 2) * PART
    together = 8

    def __init__(
        self, url: str, options: Mapping[str, str] | None = None, credentials: Credentials | None = None
    ) -> None:
        """`options`: profile, region and endpoint_url, as boto3 takes them. `credentials`: of a role's session."""
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not url.startswith("s3://") or not bucket or "?" in bucket:
            raise InvalidArgument(f"{url!r} is no S3 root: write s3://bucket/prefix", root=url)
        self.url = url.rstrip("/")
        self.bucket = bucket
        self.prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._clients = Clients(bucket, options or {}, credentials)
        self._denied = -math.inf

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
        return answer.body, answer.etag

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Buffer]:
        asked = [_Asked(key, offset, length) for offset, length in ranges if length > 0]
        bodies = iter([answer.body for answer in self._fetch(asked)])
        return [next(bodies) if length > 0 else b"" for _, length in ranges]

    def get_part(self, key: str, offset: int, length: int) -> tuple[Buffer, str]:
        """One range, shorter where the object ends, and the version that it is of, as `list` names it."""
        answer = self._fetch([_Asked(key, offset, length, least=length)])[0]
        return answer.body, _bare(answer.etag)

    def get_many(self, wanted: Sequence[Wanted], in_flight: int) -> Iterator[tuple[int, Buffer | SecuredataError]]:
        """Side by side, each as it lands; see `Storage.get_many`."""
        for group in self.get_landed(wanted, in_flight):
            yield from group

    def get_landed(
        self, wanted: Sequence[Wanted], in_flight: int
    ) -> Iterator[list[tuple[int, Buffer | SecuredataError]]]:
        """What one look at the sockets has completed; see `Storage.get_landed`."""
        asked = [_Asked(one.key, one.offset, one.length, least=one.least) for one in wanted]
        for group in self._answers(asked, in_flight):
            yield [(at, outcome.body if isinstance(outcome, Answer) else outcome) for at, outcome in group]

    def waited(self) -> float:
        return waited()

    def _fetch(self, asked: Sequence[_Asked]) -> list[Answer]:
        found: dict[int, Answer] = {}
        for group in self._answers(asked, _IN_FLIGHT):
            for at, outcome in group:
                if not isinstance(outcome, Answer):
                    raise outcome
                found[at] = outcome
        return [found[at] for at in range(len(asked))]

    def _answers(self, asked: Sequence[_Asked], in_flight: int) -> Iterator[list[tuple[int, Answer | SecuredataError]]]:
        """Usable answers, or errors. What new credentials or the bucket's own region may mend is asked once more."""
        again: list[int] = []
        renew, began = False, time.monotonic()
        for group in self._run(asked, range(len(asked)), in_flight, renew=False):
            kept = []
            for at, outcome in group:
                if isinstance(outcome, Said):
                    stale = self._may_renew(outcome, began)
                    if stale or (outcome.elsewhere and self._clients.move(outcome.region, began)):
                        renew |= stale
                        again.append(at)
                        continue
                kept.append((at, self._outcome(asked[at].key, outcome)))
            yield kept
        for group in self._run(asked, again, in_flight, renew):
            yield [(at, self._outcome(asked[at].key, outcome)) for at, outcome in group]

    def _run(
        self, asked: Sequence[_Asked], places: Sequence[int], in_flight: int, renew: bool
    ) -> Iterator[list[tuple[int, Answer | Said | SecuredataError]]]:
        if not places:
            return
        url, signer, engine = self._ready(renew)
        gets = [self._get(url, asked[at]) for at in places]
        for group in engine.fetch(gets, lambda: signer, in_flight=in_flight):
            yield [(places[number], self._usable(asked[places[number]], outcome)) for number, outcome in group]

    def _get(self, url: str, asked: _Asked) -> Get:
        path = quote(self.prefix + asked.key, safe="/~")
        return Get(url + path, asked.offset, asked.length, asked.limit, asked.least)

    def _usable(self, asked: _Asked, outcome: Answer | StorageUnreachable) -> Answer | Said | SecuredataError:
        if isinstance(outcome, StorageUnreachable):
            text = f"{asked.key} of {self.url}: {outcome}; check endpoint and network"
            return StorageUnreachable(text, root=self.url)
        if outcome.status not in _USABLE:
            return said_by(outcome.body, outcome.status, outcome.region, outcome.date)
        if outcome.status == 416:  # the range begins behind the end: nothing is there
            return outcome._replace(body=memoryview(b""))
        if asked.length is not None and (outcome.status == 413 or (outcome.status == 200 and asked.offset)):
            return StorageUnreachable(f"{asked.key} of {self.url}: the server ignores ranges", root=self.url)
        return outcome

    def _outcome(self, key: str, outcome: Answer | Said | SecuredataError) -> Answer | SecuredataError:
        return self._refused(outcome, key) if isinstance(outcome, Said) else outcome

    def _refused(self, said: Said, key: str | None, writing: bool = False) -> SecuredataError:
        session = self._clients.credentials is not None
        return refused(said, key or "", self.url, self.bucket, session=session, writing=writing)

    def _may_renew(self, said: Said, began: float) -> bool:
        """May a new session be given what this one was refused since `began`? A revoked one looks like a denied one."""
        if self._clients.credentials is None or not (said.expired or said.denied):
            return False
        if said.expired or self._denied >= began:  # the latter: by another one of a batch, or in another thread
            return True
        if time.monotonic() - self._denied < _DENIED_PAUSE:
            return False
        self._denied = time.monotonic()
        return True

    # ------------------------------------------------------------ write

    def put_new(self, key: str, pieces: Iterable[Buffer]) -> float:
        buffer = bytearray()
        source = iter(pieces)
        for piece in source:
            buffer += piece
            if len(buffer) >= PART:
                return self._put_parts(key, cut(buffer, source, PART))
        for _, outcome in self.put_many([(key, buffer)]):
            if isinstance(outcome, float):
                return outcome
            raise outcome
        raise AssertionError("unreachable")

    def put_many(self, wanted: Iterable[tuple[str, Buffer]]) -> Iterator[tuple[int, float | SecuredataError]]:
        """As `Storage.put_many`, side by side over libcurl."""
        begun = time.monotonic()
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
                said = said_by(memoryview(outcome.body), outcome.status, outcome.region, outcome.date)
                stale = self._may_renew(said, begun)
                if stale or (said.elsewhere and self._clients.move(said.region, begun)):
                    renew |= stale
                    again[at] = one
                    continue
            yield at, self._put_outcome(one[0], outcome, begun)
        places = list(again)
        for number, outcome in self._puts(again.values(), renew) if again else ():
            at = places[number]
            yield at, self._put_outcome(again[at][0], outcome, begun)

    def _puts(
        self, wanted: Iterable[tuple[str, Buffer]], renew: bool
    ) -> Iterator[tuple[int, Sent | StorageUnreachable]]:
        url, signer, _ = self._ready(renew)
        place = self._clients.place()
        puts = ((url + quote(self.prefix + key, safe="/~"), body) for key, body in wanted)
        return uploader(place.ca_bundle, place.proxy).put(puts, signer, self.together)

    def _put_outcome(self, key: str, outcome: Sent | StorageUnreachable, begun: float) -> float | SecuredataError:
        if isinstance(outcome, StorageUnreachable):
            return StorageUnreachable(f"{key} of {self.url}: {outcome}; check endpoint and network", root=self.url)
        if outcome.status == 412 and outcome.tries == 1:
            return AlreadyExists(f"{key} of {self.url} exists already", root=self.url)
        if outcome.status not in (200, 412):
            said = said_by(memoryview(outcome.body), outcome.status, outcome.region, outcome.date)
            return self._refused(said, key, writing=True)
        # 412: taken by an earlier try, whose answer was lost; the time is then that of a later answer
        return parsedate_to_datetime(outcome.date).timestamp() - (time.monotonic() - begun) - _CLOCK_SLACK

    def _put_parts(self, key: str, parts: Iterator[mmap.mmap]) -> float:
        begun = self._call("create_multipart_upload", key, ChecksumAlgorithm="CRC32")
        upload = begun["UploadId"]
        try:
            sent = side_by_side(lambda number, part: self._put_part(key, upload, number, part), parts, PARTS_UNDER_WAY)
            self._complete(key, upload, sent)
        except BaseException:  # raised again, Ctrl-C too: parts that nobody completes cost money
            with contextlib.suppress(StorageError):  # what went wrong before says more; the bucket's rules may clean up
                self._call("abort_multipart_upload", key, UploadId=upload)
            raise
        # an upload in parts has the time at which it was begun
        return _date(begun) - _CLOCK_SLACK

    def _put_part(self, key: str, upload: str, number: int, data: mmap.mmap) -> dict[str, Any]:
        sent = self._call("upload_part", key, UploadId=upload, PartNumber=number, Body=data, ChecksumAlgorithm="CRC32")
        return {"PartNumber": number} | {name: sent[name] for name in ("ETag", "ChecksumCRC32") if name in sent}

    def _complete(self, key: str, upload: str, parts: list[dict[str, Any]]) -> None:
        try:
            self._call(
                "complete_multipart_upload", key, UploadId=upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
            )
        except PreconditionFailed as error:
            self._first_try(error, key)
        except NotFound as error:  # no such upload: any more, if a first try was the last
            if not _retried(error):
                raise
            self.get_ranges(key, [(0, 1)])

    def _first_try(self, error: PreconditionFailed, key: str) -> Any:
        """A key that is taken when a put is tried again was taken by the first try, whose answer was lost."""
        if not _retried(error):
            raise AlreadyExists(f"{key} of {self.url} exists already", root=self.url) from error
        return _response(error)

    def replace(self, key: str, data: Buffer, version: str | None) -> None:
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        try:
            self._call("put_object", key, once=True, Body=bytes(data), **condition)
        except NotFound as error:
            raise PreconditionFailed(str(error), root=self.url) from error

    def make_durable(self) -> None:
        """What S3 has answered to is durable."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for page in self._pages("list_objects_v2", prefix, "NextContinuationToken", "ContinuationToken"):
            for one in page.get("Contents", ()):
                time, version = one["LastModified"].timestamp(), _bare(one.get("ETag", ""))
                yield Entry(one["Key"][len(self.prefix) :], one["Size"], time, version)

    def hidden(self) -> Iterator[str]:
        """As `Storage.hidden`; none are found by whoever may not list versions."""
        for one in self._versions(""):
            if one["IsLatest"] and "Size" not in one:
                yield one["Key"][len(self.prefix) :]

    def delete(self, key: str) -> None:
        """As `Storage.delete`; what a role's session deletes is hidden by a marker, since it may not list versions."""
        deleted = False
        for one in self._versions(key):
            if one["Key"] == self.prefix + key:
                self._call("delete_object", key, VersionId=one["VersionId"])
                deleted = True
        if not deleted:
            self._call("delete_object", key)

    def _versions(self, prefix: str) -> Iterator[Any]:
        """Versions and delete markers; none where storage has none, or does not show them."""
        try:
            for page in self._pages("list_object_versions", prefix, "NextKeyMarker", "KeyMarker"):
                yield from [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        except AccessDenied:
            return
        except StorageUnreachable as error:
            if _code(error) not in ("NotImplemented", "MethodNotAllowed"):
                raise

    def _pages(self, operation: str, prefix: str, told: str, asked: str) -> Iterator[Any]:
        token: dict[str, Any] = {}
        while True:
            page = self._call(operation, None, Prefix=self.prefix + prefix, **token)
            yield page
            if not page.get("IsTruncated"):
                return
            token = {asked: page[told]}
            if page.get("NextVersionIdMarker"):
                token["VersionIdMarker"] = page["NextVersionIdMarker"]

    def now(self) -> float:
        [[(_, outcome)]] = self._run([_Asked("head", 0, 1)], [0], 1, renew=False)
        if isinstance(outcome, SecuredataError):
            raise outcome
        return parsedate_to_datetime(outcome.date).timestamp()  # a refusal has a date as well

    def check_writable(self, single_writer: bool = False) -> None:
        place = self._ready(False)[0]
        if single_writer or place in _PROBED:
            return
        probe(self._call, self.delete, self.url)
        _PROBED.add(place)

    # ------------------------------------------------------------ clients

    def _call(self, operation: str, key: str | None, once: bool = False, **arguments: Any) -> Any:
        """One boto3 call, its errors mapped. `once`: no retries by the client, for conditional puts of the head."""
        from botocore.exceptions import BotoCoreError, ClientError

        if key is not None:
            arguments["Key"] = self.prefix + key
        began = time.monotonic()
        for renew in (False, True):
            try:
                return getattr(self._clients.get(once, renew), operation)(Bucket=self.bucket, **arguments)
            except ClientError as error:
                said = said_to(error)
                if not renew and self._may_renew(said, began):
                    continue
                raise self._refused(said, key, writing="list" not in operation) from error
            except BotoCoreError as error:
                raise failed(error, f"{key} of {self.url}" if key else self.url, self.url) from error
        raise AssertionError("unreachable")

    def _ready(self, renew: bool) -> tuple[str, Signer | None, Engine]:
        """The bucket's URL, and what libcurl needs to fetch from it."""
        from botocore.exceptions import BotoCoreError

        try:
            return self._clients.place().url, self._clients.signer(renew), self._clients.engine()
        except BotoCoreError as error:
            raise failed(error, self.url, self.url) from error


def _bare(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


def _date(said: Mapping[str, Any]) -> float:
    return parsedate_to_datetime(said["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()


def _response(error: SecuredataError) -> Mapping[str, Any]:
    return getattr(error.__cause__, "response", {})


def _retried(error: SecuredataError) -> bool:
    """Did boto3 try a call again before it was refused?"""
    return bool(_response(error).get("ResponseMetadata", {}).get("RetryAttempts"))


def _code(error: SecuredataError) -> str:
    return str(_response(error).get("Error", {}).get("Code", ""))
