"""Storage on S3 and what speaks it: bulk reads over libcurl, everything else over boto3.

botocore resolves endpoint, region and addressing style once per bucket, as AWS users set them
(environment, profile, AWS_ENDPOINT_URL); libcurl gets finished URLs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from securedata.errors import (
    AccessDenied,
    AlreadyExists,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    PreconditionFailed,
    SecuredataError,
    SessionExpired,
    StorageUnreachable,
    UnsafeStorage,
)
from securedata.storage.base import Buffer, Entry, Storage, Wanted
from securedata.storage.curl import Answer, Get, Signer, engine

PART = 16 * 1024 * 1024
"""Bytes from which on an upload goes in parts of this size."""

_CLOCK_SLACK = 60.0  # a put's time is taken this much earlier, so that it is never later than what a listing says
_EXPIRED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken", "TokenRefreshRequired"}
)
_REGION = "x-amz-bucket-region"
_PROBED: set[str] = set()


AWSKeys = tuple[str, str, str | None]
"""Access key, secret key and session token."""

Credentials = Callable[[bool], AWSKeys]
"""Gives current credentials; called with True it makes new ones, since the old ones were refused."""


class S3Storage(Storage):
    """A prefix of a bucket. Clients are made anew after a fork; sessions of boto3 never cross a process."""

    def __init__(
        self, url: str, options: Mapping[str, str] | None = None, credentials: Credentials | None = None
    ) -> None:
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not url.startswith("s3://") or not bucket or "?" in bucket:
            raise InvalidArgument(f"{url!r} is no S3 root: write s3://bucket/prefix", root=url)
        self.url = url.rstrip("/")
        self.bucket = bucket
        self.prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._options = dict(options or {})
        self._credentials = credentials
        self._local = threading.local()

    def __repr__(self) -> str:
        return f"S3Storage({self.url!r})"

    # ------------------------------------------------------------ read

    def get(self, key: str, limit: int | None = None) -> Buffer:
        return self.get_versioned(key, limit)[0]

    def get_versioned(self, key: str, limit: int | None = None) -> tuple[Buffer, str]:
        most = limit if limit is not None else 2**40
        answer = self._fetch([Get(self._url(key), limit=most)], [key])[0]
        if answer.status == 413:
            raise LimitExceeded(f"{key} of {self.url} has more than the {most} bytes that are allowed", root=self.url)
        return answer.body, answer.etag

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Buffer]:
        url = self._url(key)
        gets = [Get(url, offset, length) for offset, length in ranges if length > 0]
        bodies = iter([answer.body for answer in self._fetch(gets, [key] * len(gets))])
        return [next(bodies) if length > 0 else b"" for _, length in ranges]

    def get_many(self, wanted: Sequence[Wanted], in_flight: int) -> Iterator[tuple[int, Buffer | SecuredataError]]:
        """Side by side, each as it lands; see `Storage.get_many`."""
        gets = [Get(self._url(one.key), one.offset, one.length, least=one.least) for one in wanted]
        keys = [one.key for one in wanted]
        for at, outcome in self._answers(gets, keys, in_flight):
            yield at, outcome.body if isinstance(outcome, Answer) else outcome

    def _fetch(self, gets: list[Get], keys: list[str]) -> list[Answer]:
        found: list[Answer | None] = [None] * len(gets)
        for at, outcome in self._answers(gets, keys, 256 * 1024 * 1024):
            if not isinstance(outcome, Answer):
                raise outcome
            found[at] = outcome
        return [answer for answer in found if answer is not None]

    def _answers(
        self, gets: list[Get], keys: list[str], in_flight: int
    ) -> Iterator[tuple[int, Answer | SecuredataError]]:
        """Answers with a usable status, or errors. Credentials that expired are renewed once."""
        again: list[int] = []
        for at, outcome in self._engine().fetch(gets, lambda: self._signer(False), in_flight=in_flight):
            mapped = self._mapped_answer(keys[at], gets[at], outcome)
            if isinstance(mapped, SessionExpired):
                again.append(at)
            else:
                yield at, mapped
        if again:
            retried = [Get(gets[at].url, gets[at].offset, gets[at].length, gets[at].limit) for at in again]
            for at, outcome in self._engine().fetch(retried, lambda: self._signer(True), in_flight=in_flight):
                yield again[at], self._mapped_answer(keys[again[at]], retried[at], outcome)

    def _mapped_answer(self, key: str, get: Get, outcome: Answer | StorageUnreachable) -> Answer | SecuredataError:
        where = f"{key} of {self.url}"
        if isinstance(outcome, StorageUnreachable):
            return StorageUnreachable(f"{where}: {outcome}; check endpoint and network", root=self.url)
        if outcome.status == 416:  # the range begins behind the end: nothing is there
            return outcome._replace(body=memoryview(b""))
        if outcome.status == 200 and get.length is not None and get.offset > 0:
            return StorageUnreachable(f"{where}: the server ignores ranges", root=self.url)
        if outcome.status in (200, 206, 413):
            return outcome
        return self._error(where, outcome.status, *_xml_error(outcome.body))

    def _error(self, where: str, status: int, code: str, text: str, region: str = "") -> SecuredataError:
        said = f"{code or status}{': ' + text if text else ''}"
        if code in ("NoSuchBucket",):
            return NotFound(f"{where}: there is no bucket {self.bucket}", root=self.url)
        if status == 404:
            return NotFound(f"{where} does not exist", root=self.url)
        if code in _EXPIRED:
            return SessionExpired(
                f"{where}: the session expired or was revoked ({said}), and a renewed one was refused too; "
                "check the role's session and your own credentials",
                root=self.url,
            )
        if status == 412 or code in ("PreconditionFailed", "ConditionalRequestConflict") or status == 409:
            return PreconditionFailed(f"{where} changed since it was read", root=self.url)
        if status in (301, 307, 400) and (code in ("PermanentRedirect", "AuthorizationHeaderMalformed") or region):
            return InvalidArgument(
                f"{where}: the bucket is in another region{' (' + region + ')' if region else ''}: "
                "set region in the config entry, AWS_REGION or the profile",
                root=self.url,
            )
        if status in (401, 403):
            return AccessDenied(
                f"{where}: refused or missing ({said}): a session that may not list is not told which", root=self.url
            )
        return StorageUnreachable(f"{where}: {said}", root=self.url)

    # ------------------------------------------------------------ write

    def put_new(self, key: str, pieces: Iterable[Buffer]) -> float:
        buffer = bytearray()
        source = iter(pieces)
        for piece in source:
            buffer += piece
            if len(buffer) >= PART:
                return self._put_parts(key, buffer, source)
        response = self._call("put_object", key, Body=bytes(buffer), IfNoneMatch="*")
        return _date(response) - _CLOCK_SLACK

    def _put_parts(self, key: str, buffer: bytearray, source: Iterator[Buffer]) -> float:
        begun = self._call("create_multipart_upload", key, ChecksumAlgorithm="CRC32")
        upload = begun["UploadId"]
        parts: list[dict[str, Any]] = []

        def send(data: bytes) -> None:
            number = len(parts) + 1
            sent = self._call(
                "upload_part", key, UploadId=upload, PartNumber=number, Body=data, ChecksumAlgorithm="CRC32"
            )
            part = {"PartNumber": number, "ETag": sent["ETag"]}
            if "ChecksumCRC32" in sent:
                part["ChecksumCRC32"] = sent["ChecksumCRC32"]
            parts.append(part)

        try:
            while len(buffer) >= PART:
                send(bytes(buffer[:PART]))
                del buffer[:PART]
            for piece in source:
                buffer += piece
                while len(buffer) >= PART:
                    send(bytes(buffer[:PART]))
                    del buffer[:PART]
            if buffer:
                send(bytes(buffer))
            self._call(
                "complete_multipart_upload", key, UploadId=upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
            )
        except BaseException:
            self._client().abort_multipart_upload(Bucket=self.bucket, Key=self.prefix + key, UploadId=upload)
            raise
        # an upload in parts has the time at which it was begun
        return _date(begun) - _CLOCK_SLACK

    def replace(self, key: str, data: Buffer, version: str | None) -> None:
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        try:
            self._call("put_object", key, once=True, Body=bytes(data), **condition)
        except (AlreadyExists, NotFound) as error:
            raise PreconditionFailed(str(error), root=self.url) from error

    def make_durable(self) -> None:
        """What S3 has answered to is durable."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        token: dict[str, Any] = {}
        while True:
            page = self._call("list_objects_v2", None, Prefix=self.prefix + prefix, **token)
            for one in page.get("Contents", ()):
                yield Entry(one["Key"][len(self.prefix) :], one["Size"], one["LastModified"].timestamp())
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, key: str) -> None:
        name = self.prefix + key
        try:
            page = self._call("list_object_versions", None, Prefix=name)
        except (AccessDenied, StorageUnreachable, NotFound):
            page = {}
        versions = [one for kind in ("Versions", "DeleteMarkers") for one in page.get(kind, ()) if one["Key"] == name]
        for one in versions:
            self._call("delete_object", key, VersionId=one["VersionId"])
        if not versions:
            self._call("delete_object", key)

    def now(self) -> float:
        get = Get(self._url("head"), 0, 1)
        for _, outcome in self._answers([get], ["head"], 1):
            if isinstance(outcome, SecuredataError) and not isinstance(outcome, NotFound):
                raise outcome
        # a head that is missing has a date as well
        return parsedate_to_datetime(get.date).timestamp()

    def check_writable(self, single_writer: bool = False) -> None:
        place = f"{self._base()}"
        if single_writer or place in _PROBED:
            return
        key = f".tmp-probe-{os.urandom(8).hex()}"
        failed = ""
        try:
            self._call("put_object", key, Body=b"1", IfNoneMatch="*")
            for condition, value in (("IfNoneMatch", "*"), ("IfMatch", '"0"')):
                arguments: dict[str, Any] = {"Body": b"2", condition: value}
                try:
                    self._call("put_object", key, once=True, **arguments)
                    failed = condition
                except (AlreadyExists, PreconditionFailed):
                    continue
        finally:
            self.delete(key)
        if failed:
            raise UnsafeStorage(
                f"{self.url}: the server accepts a false {failed}, so two writers could lose each other's rows: "
                "update it, or say --single-writer if nobody else ever writes there",
                root=self.url,
            )
        _PROBED.add(place)

    # ------------------------------------------------------------ clients

    def _call(self, operation: str, key: str | None, once: bool = False, **arguments: Any) -> Any:
        """One boto3 call, its errors mapped. `once`: no retries by the client, for conditional puts of the head."""
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"{key} of {self.url}" if key else self.url
        if key is not None:
            arguments["Key"] = self.prefix + key
        for renew in (False, True):
            client = self._client(once, renew)
            try:
                return getattr(client, operation)(Bucket=self.bucket, **arguments)
            except ClientError as error:
                details = error.response.get("Error", {})
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                region = (
                    error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region", "")
                )
                mapped = self._error(where, status, details.get("Code", ""), details.get("Message", ""), region)
                if isinstance(mapped, SessionExpired) and not renew and self._credentials is not None:
                    continue
                if isinstance(mapped, PreconditionFailed) and arguments.get("IfNoneMatch") and not once:
                    mapped = AlreadyExists(f"{where} exists already", root=self.url)
                raise mapped from error
            except BotoCoreError as error:
                raise StorageUnreachable(f"{where}: {error}", root=self.url) from error
        raise AssertionError("unreachable")

    def _client(self, once: bool = False, renew: bool = False) -> Any:
        import boto3
        from botocore.config import Config

        frozen = self._credentials(renew) if self._credentials is not None else None
        known = getattr(self._local, "clients", None)
        if known is None or known[0] != os.getpid() or known[1] != frozen:
            names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
            keys = dict(zip(names, frozen, strict=True)) if frozen is not None else {}
            session = boto3.Session(
                profile_name=None if frozen is not None else self._options.get("profile"),
                region_name=self._options.get("region"),
                **keys,
            )
            self._local.clients = known = (os.getpid(), frozen, session, {})
        session = known[2]
        clients: dict[bool, Any] = known[3]
        if once not in clients:
            retries = {"total_max_attempts": 1} if once else {"total_max_attempts": 6, "mode": "standard"}
            config = Config(retries=retries, connect_timeout=10, read_timeout=60, signature_version="s3v4")
            clients[once] = session.client("s3", endpoint_url=self._options.get("endpoint_url"), config=config)
        return clients[once]

    def _signer(self, renew: bool) -> Signer | None:
        client = self._client(renew=renew)
        found = self._local.clients[2].get_credentials()
        if found is None:
            return None
        frozen = found.get_frozen_credentials()
        return Signer(frozen.access_key, frozen.secret_key, frozen.token, client.meta.region_name or "us-east-1")

    def _engine(self) -> Any:
        return engine(_ca_bundle())

    def _base(self) -> str:
        """The URL of the bucket, as botocore resolves it."""
        known: tuple[int, str] | None = getattr(self._local, "base", None)
        if known is None or known[0] != os.getpid():
            url: str = self._client().generate_presigned_url("get_object", Params={"Bucket": self.bucket, "Key": "k"})
            known = self._local.base = (os.getpid(), url.partition("?")[0][: -len("k")])
        return known[1]

    def _url(self, key: str) -> str:
        return self._base() + quote(self.prefix + key, safe="/~")


def _ca_bundle() -> str:
    named = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")
    if named:
        return named
    import botocore

    return os.path.join(os.path.dirname(botocore.__file__), "cacert.pem")


def _date(response: Mapping[str, Any]) -> float:
    return parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()


def _xml_error(body: memoryview) -> tuple[str, str]:
    """Code and message of an S3 error body; empty where it is none."""
    try:
        root = ElementTree.fromstring(bytes(body))  # noqa: S314 - expat expands no external entity; the body is capped
    except ElementTree.ParseError:
        return "", ""
    return (root.findtext("Code") or ""), (root.findtext("Message") or "")
