"""Settings of libcurl besides the request: the signer, the proxy, and the CA bundle."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import pycurl

from securedata.foreign.aws import ask, ca_bundle, new_session, proxy_for
from securedata.storage.base import Buffer


class Signer(NamedTuple):
    """Credentials and their region, for libcurl's AWS_SIGV4. `payload`: whether the body is signed too."""

    access_key: str
    secret_key: str
    token: str | None
    region: str
    payload: bool = False

    def __repr__(self) -> str:
        return f"Signer({self.access_key!r}, region={self.region!r})"


def sign(curl: pycurl.Curl, signer: Signer) -> None:
    """Make a handle sign its requests from now on. They must carry `signed_headers`."""
    curl.setopt(pycurl.AWS_SIGV4, f"aws:amz:{signer.region}:s3")
    curl.setopt(pycurl.USERPWD, f"{signer.access_key}:{signer.secret_key}")


def signed_headers(signer: Signer | None, body: Buffer) -> list[str]:
    """The headers that a signature needs."""
    if signer is None:
        return []
    digest = hashlib.sha256(body).hexdigest() if signer.payload else "UNSIGNED-PAYLOAD"
    token = [f"x-amz-security-token: {signer.token}"] if signer.token else []
    return [f"x-amz-content-sha256: {digest}", *token]


def route_to(url: str) -> tuple[str, str]:
    """CA bundle and proxy ("" for none) for a server other than S3, found in the same way as for S3.

    Raises:
        Failed: impossible settings.
    """
    return ask(lambda: (ca_bundle(new_session()), proxy_for(url)))


def set_route(curl: pycurl.Curl, ca_bundle: str | None, proxy: str) -> None:
    """Set the proxy that botocore would use, so that all requests take one route, and the CA bundle.

    "" means no proxy, whatever the environment says: `proxy_for` has applied no_proxy, in which libcurl accepts more
    than botocore does, such as 10.0.0.0/8.
    """
    curl.setopt(pycurl.PROXY, proxy)
    curl.setopt(pycurl.NOPROXY, "")
    if ca_bundle:
        curl.setopt(pycurl.CAINFO, ca_bundle)
        curl.setopt(pycurl.PROXY_CAINFO, ca_bundle)
