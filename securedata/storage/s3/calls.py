"""Calls of S3: those that boto3 makes, with their errors as ours, and what libcurl needs to make its own."""

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
from securedata.storage.s3.errors import Said, from_botocore, from_client_error, to_error

_STORING = frozenset({"put_object", "upload_part"})
_SECONDS = 120.0  # of one call with all its tries
_DENIED_PAUSE = 60.0  # a session that is denied something is renewed this often at most: what is missing is denied too


class Calls:
    """Calls under one root, which share what is known of its credentials: one that is refused renews them for all."""

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
                said = from_client_error(error)
                if not renew and self.may_renew(said, began):
                    continue
                raise self.to_error(said, key, writing=not operation.startswith(("list", "get"))) from error
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
        """A whole object by boto3, for one that libcurl does not fetch: a version. At most `limit` bytes, and one."""
        got = self.call("get_object", key, **arguments)
        try:
            return ask(lambda: within(_SECONDS + limit / SLOWEST, partial(_body, got["Body"], limit)))
        except Failed as error:  # in the middle of the body
            raise from_botocore(error, f"{key} of {self.url}", self.url) from error

    def endpoint(self) -> Endpoint:
        """Where the bucket is, and how it is to be spoken to."""
        try:
            return ask(self.clients.endpoint)
        except Failed as error:
            raise from_botocore(error, self.url, self.url) from error

    def ready(self, renew: bool) -> tuple[str, Signer | None, Engine]:
        """The bucket's URL, and what libcurl needs to speak to it."""
        try:
            return ask(lambda: (self.clients.endpoint().url, self.clients.signer(renew), self.clients.engine()))
        except Failed as error:
            raise from_botocore(error, self.url, self.url) from error

    def to_error(self, said: Said, key: str | None, writing: bool = False) -> SecuredataError:
        """The error for an answer."""
        session = self.clients.credentials is not None
        return to_error(said, key or "", self.url, self.bucket, session=session, writing=writing)

    def may_renew(self, said: Said, began: float) -> bool:
        """May a new session be given what this one was refused since `began`? A revoked one looks like a denied one."""
        if self.clients.credentials is None or not (said.expired or said.denied):
            return False
        if said.expired or self._denied >= began:  # the latter: by another one of a batch, or in another thread
            return True
        if time.monotonic() - self._denied < _DENIED_PAUSE:
            return False
        self._denied = time.monotonic()
        return True


def _body(stream: Any, limit: int) -> bytes:
    with stream:
        return bytes(stream.read(limit + 1))


def response(error: SecuredataError) -> Mapping[str, Any]:
    """What was answered to a call of boto3 that ended in this error."""
    return getattr(error.__cause__, "response", {})
