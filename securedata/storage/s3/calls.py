"""Calls to S3 through boto3, with its errors mapped to ours, and what libcurl needs for its own requests."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from securedata.errors import SecuredataError, StorageUnreachable
from securedata.foreign.aws import Failed, Refused, ask
from securedata.foreign.deadline import SLOWEST, within
from securedata.storage.http.engine import Engine
from securedata.storage.http.put import NO_ETAG
from securedata.storage.http.settings import Signer
from securedata.storage.s3.clients import Clients, Endpoint
from securedata.storage.s3.errors import Refusal, from_botocore, from_client_error, to_error

_STORING = frozenset({"put_object", "upload_part"})
_SECONDS = 120.0  # of one call with all its tries
_DENIED_PAUSE = 60.0  # seconds between renewals after 'denied': a missing object can be answered with it too


class Calls:
    """Calls under one root. They share its credentials: if one call is refused, they are renewed for all."""

    def __init__(self, url: str, bucket: str, prefix: str, clients: Clients) -> None:
        self.url, self.bucket, self.prefix, self.clients = url, bucket, prefix, clients
        self._denied = -math.inf

    def call(self, operation: str, key: str | None, once: bool = False, **arguments: Any) -> Any:
        """One boto3 call, its errors mapped. `once`: no retries by the client, for conditional puts of the head."""
        if key is not None:
            arguments["Key"] = self.prefix + key
        began = time.monotonic()
        for renew in (False, True):
            try:
                answer = ask(partial(self._asked, operation, once, renew, arguments))
            except Refused as error:
                refusal = from_client_error(error)
                if not renew and self.may_renew(refusal, began):
                    continue
                raise self.to_error(refusal, key, writing=not operation.startswith(("list", "get"))) from error
            except Failed as error:
                raise from_botocore(error, f"{key} of {self.url}" if key else self.url, self.url) from error
            if operation in _STORING and not answer.get("ETag"):
                raise StorageUnreachable(f"{key} of {self.url}: {NO_ETAG}; check endpoint and network", root=self.url)
            return answer
        raise AssertionError("unreachable")

    def _asked(self, operation: str, once: bool, renew: bool, arguments: Mapping[str, Any]) -> Any:
        asked = partial(getattr(self.clients.get(once, renew), operation), Bucket=self.bucket, **arguments)
        return within(_SECONDS + len(arguments.get("Body", b"")) / SLOWEST, asked)

    def read(self, key: str, limit: int, **arguments: Any) -> bytes:
        """A whole object through boto3, for versions, which libcurl does not fetch here: up to `limit` + 1 bytes."""
        return self.read_version(key, limit, **arguments)[0]

    def read_version(self, key: str, limit: int, **arguments: Any) -> tuple[bytes, str]:
        """The same, with the version's id; '' without versions."""
        got = self.call("get_object", key, **arguments)
        try:
            body = ask(lambda: within(_SECONDS + limit / SLOWEST, partial(_body, got["Body"], limit)))
            return body, str(got.get("VersionId") or "")
        except Failed as error:
            raise from_botocore(error, f"{key} of {self.url}", self.url) from error

    def endpoint(self) -> Endpoint:
        """Where the bucket is, and how to reach it."""
        try:
            return ask(self.clients.endpoint)
        except Failed as error:
            raise from_botocore(error, self.url, self.url) from error

    def ready(self, renew: bool) -> tuple[str, Signer | None, Engine]:
        """The bucket's URL, and a signer and engine for it."""
        try:
            return ask(lambda: (self.clients.endpoint().url, self.clients.signer(renew), self.clients.engine()))
        except Failed as error:
            raise from_botocore(error, self.url, self.url) from error

    def to_error(self, refusal: Refusal, key: str | None, writing: bool = False) -> SecuredataError:
        """The error for an answer."""
        session = self.clients.credentials is not None
        return to_error(refusal, key or "", self.url, self.bucket, session=session, writing=writing)

    def may_renew(self, refusal: Refusal, began: float) -> bool:
        """Whether a new session might be allowed what was refused. A revoked session looks like a denied one."""
        if self.clients.credentials is None or not (refusal.expired or refusal.denied):
            return False
        if refusal.expired or self._denied >= began:  # the latter: another of this batch, or of another thread
            return True
        if time.monotonic() - self._denied < _DENIED_PAUSE:
            return False
        self._denied = time.monotonic()
        return True


def _body(stream: Any, limit: int) -> bytes:
    with stream:
        return bytes(stream.read(limit + 1))


def response(error: SecuredataError) -> Mapping[str, Any]:
    """The answer to the boto3 call that ended in this error."""
    return getattr(error.__cause__, "response", {})
