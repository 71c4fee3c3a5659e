"""botocore's clients for one bucket, and the settings that libcurl needs, as AWS users configure them.

Endpoint, region, proxy and CA bundle are those that botocore finds. The threads of a process share clients; a forked
child creates its own.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from securedata.foreign.aws import (
    AWSKeys,
    Cause,
    Credentials,
    Failed,
    ca_bundle,
    new_client,
    new_session,
    proxy_for,
    session_keys,
)
from securedata.forks import Instances
from securedata.storage.http.engine import Engine, engine
from securedata.storage.http.settings import Signer

_CONNECT_SECONDS, _READ_SECONDS = 10, 60


class Endpoint(NamedTuple):
    """Where a bucket is, as botocore resolves it."""

    url: str
    region: str
    ca_bundle: str
    proxy: str
    checksums: bool
    """Whether requests may carry a checksum for the server to verify; users turn it off for stores that refuse one."""
    sign_payload: bool
    """Whether signatures cover a digest of the body."""

    def __repr__(self) -> str:  # a proxy's URL may hold a password
        return f"Endpoint({self.url!r}, {self.region!r})"


class Clients:
    """Creates clients when they are needed."""

    def __init__(self, bucket: str, options: Mapping[str, str], credentials: Credentials | None) -> None:
        self.credentials = credentials
        self._bucket = bucket
        self._options = dict(options)
        self._moved, self._moved_at = "", -math.inf
        # only text, so that a forked worker needs no client to know it
        self._endpoint: Endpoint | None = None
        self._fresh_process()
        _all.add(self)

    def _fresh_process(self) -> None:
        self._lock = threading.Lock()
        self._session: Any = None
        self._keys: AWSKeys | None = None
        self._made: dict[bool, Any] = {}

    def get(self, once: bool = False, renew: bool = False) -> Any:
        """A client for S3. `once`: it makes each call once. `renew`: the last credentials were refused.

        Raises:
            errors for `foreign.aws.ask` to map, such as for a profile that does not exist.
        """
        keys = self._signing_keys(renew)
        with self._lock:
            return self._client(keys, once)

    def _signing_keys(self, renew: bool = False) -> AWSKeys | None:
        return self.credentials(renew) if self.credentials is not None else None

    def _client(self, keys: AWSKeys | None, once: bool = False) -> Any:
        from botocore.config import Config

        session = self._open(keys)
        if once not in self._made:
            retries = {"total_max_attempts": 1} if once else {"total_max_attempts": 6, "mode": "standard"}
            self._made[once] = new_client(
                session,
                "s3",
                keys,
                endpoint_url=self._options.get("endpoint_url"),
                config=Config(
                    retries=retries,
                    connect_timeout=_CONNECT_SECONDS,
                    read_timeout=_READ_SECONDS,
                    signature_version="s3v4",
                ),
            )
        return self._made[once]

    def _open(self, keys: AWSKeys | None) -> Any:
        if self._session is None or self._keys != keys:
            # the profile is needed even if a role's session signs: it may set region and endpoint
            self._session = new_session(self._options.get("profile"), self._moved or self._options.get("region"))
            self._keys = keys
            self._made = {}
        return self._session

    def endpoint(self) -> Endpoint:
        """Where the bucket is; looked up once. Raises as `get` does."""
        endpoint = self._endpoint
        if endpoint is None:
            keys = self._signing_keys()
            with self._lock:  # so that no other thread's redirect comes between
                endpoint = self._endpoint = self._endpoint or self._look_up(keys)
        return endpoint

    def _look_up(self, keys: AWSKeys | None) -> Endpoint:
        client = self._client(keys)
        url = _bucket_url(client, self._bucket)
        if keys is None and session_keys(self._session) is None:
            raise Failed(Cause.CREDENTIALS, "Unable to locate credentials")
        config = client.meta.config
        return Endpoint(
            url,
            client.meta.region_name or "us-east-1",
            ca_bundle(self._session),
            proxy_for(url),
            # botocore before 1.36 does not know the setting
            getattr(config, "request_checksum_calculation", None) != "when_required",
            bool((config.s3 or {}).get("payload_signing_enabled")),
        )

    def move(self, region: str, began: float) -> bool:
        """Follow a redirect to another region, at most once: two servers could redirect to each other.

        Args:
            began: when the redirected request was made.

        Returns:
            Whether to retry the request.
        """
        with self._lock:
            if self._moved:
                return self._moved_at >= began and region == self._moved
            if not region or (self._endpoint is not None and region == self._endpoint.region):
                return False
            self._moved, self._moved_at = region, time.monotonic()
            self._session = self._endpoint = None
        return True

    def signer(self, renew: bool) -> Signer | None:
        """What libcurl signs with; None if there are no credentials. Raises as `get` does."""
        endpoint = self.endpoint()
        if self.credentials is not None:
            return Signer(*self.credentials(renew), endpoint.region, endpoint.sign_payload)
        with self._lock:
            keys = session_keys(self._open(None))
        return Signer(*keys, endpoint.region, endpoint.sign_payload) if keys is not None else None

    def engine(self) -> Engine:
        """This thread's libcurl engine. Raises as `get` does."""
        endpoint = self.endpoint()
        return engine(endpoint.ca_bundle, endpoint.proxy)


def _bucket_url(client: Any, bucket: str) -> str:
    """The URL to which a client would send requests for a bucket's objects.

    The client is asked for an object's tags, and stopped before it signs or sends: a presigned URL can have another
    endpoint. One thread at a time: of two on one client, the first one's handler would stop the second one's call.
    """
    found: list[str] = []

    def stop(params: Mapping[str, Any], **_: Any) -> tuple[Any, Any]:
        found.append(params["url"])
        return AWSResponse(params["url"], 200, {}, None), {}

    from botocore.awsrequest import AWSResponse

    # a call for an object that nothing else here makes
    client.meta.events.register("before-call.s3.GetObjectTagging", stop)
    try:
        client.get_object_tagging(Bucket=bucket, Key="k")
    finally:
        client.meta.events.unregister("before-call.s3.GetObjectTagging", stop)
    return found[-1].partition("?")[0][: -len("k")]


_all = Instances(in_child=Clients._fresh_process)
