"""From what S3 and botocore say to our errors."""

from __future__ import annotations

import datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from xml.etree import ElementTree

from securedata.errors import (
    AccessDenied,
    ConfigError,
    InvalidArgument,
    NotFound,
    PreconditionFailed,
    SecuredataError,
    SessionExpired,
    StorageUnreachable,
)
from securedata.foreign.aws import EXPIRED, Cause, Failed, Refused, of_signature
from securedata.foreign.describe import code_text
from securedata.printable import printable

_MOVED = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed"})


class Said(NamedTuple):
    """What a server answered with an error status. Its own text is not kept: it can quote what it was sent."""

    status: int
    code: str = ""
    region: str = ""
    date: str = ""

    @property
    def expired(self) -> bool:
        """Are the credentials over, or unknown? For a session's both codes occur."""
        return self.code in EXPIRED

    @property
    def denied(self) -> bool:
        """Was it refused for what the credentials allow?"""
        return self.status in (401, 403)

    @property
    def elsewhere(self) -> bool:
        """Is the bucket in another region?"""
        return self.status in (301, 307) or (self.status == 400 and self.code in _MOVED)


def time_of(date: str, where: str, root: str) -> float:
    """Seconds since the epoch of a Date header.

    Raises:
        StorageUnreachable: there is none, or nobody can read it.
    """
    try:
        found = parsedate_to_datetime(date)
        return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        raise StorageUnreachable(
            f"{where}: the answer has no Date header that can be read, and the time of storage is needed; "
            "check the endpoint, and proxies on the way",
            root=root,
        ) from None


def parse_error(body: memoryview, status: int, region: str, date: str) -> Said:
    """Code and region from the body of an answer of S3; empty where it is none."""
    try:
        root = ElementTree.fromstring(bytes(body))  # noqa: S314 - expat expands no external entity; the body is capped
    except (ElementTree.ParseError, LookupError, ValueError):  # the latter: encodings that expat does not know
        return Said(status, region=region, date=date)
    code, moved = (root.findtext(name) or "" for name in ("Code", "Region"))
    return Said(status, code_text(code), printable(region or moved), date)


def from_client_error(error: Refused) -> Said:
    """What an answer to a call of botocore holds."""
    headers = error.response["ResponseMetadata"]["HTTPHeaders"]
    region = headers.get("x-amz-bucket-region", "") or error.response["Error"]["Region"]
    return Said(error.status, error.code, region, headers.get("date", ""))


def to_error(said: Said, what: str, root: str, bucket: str, *, session: bool, writing: bool) -> SecuredataError:
    """The error for an answer.

    Args:
        what: the key, or '' for the root as a whole.
        session: credentials are those of a role's session, which was renewed already where that could help.
        writing: it was no read.
    """
    where = f"{what} of {root}" if what else root
    quoted = said.code or str(said.status)
    if said.code == "NoSuchBucket":
        return NotFound(f"{where}: there is no bucket {bucket}", root=root)
    if said.status == 404:
        return NotFound(f"{where} does not exist", root=root)
    if said.expired:
        if session:
            text = f"the session expired or was revoked ({quoted}), and a renewed one was refused too; check the role"
        else:
            text = f"your AWS credentials expired, or are not known to this server ({quoted}): sign in again"
        return SessionExpired(f"{where}: {text}", root=root)
    if said.status in (409, 412) or said.code in ("PreconditionFailed", "ConditionalRequestConflict"):
        return PreconditionFailed(f"{where} changed since it was read", root=root)
    if said.elsewhere:
        return InvalidArgument(
            f"{where}: the bucket is in another region{f' ({said.region})' if said.region else ''}: "
            "set region in the config entry, AWS_DEFAULT_REGION or the profile",
            root=root,
        )
    if advice := of_signature(said.code):
        return AccessDenied(f"{where}: refused ({quoted}): {advice}", root=root)
    if said.denied:
        if writing or said.code not in ("", "AccessDenied"):
            text = f"refused ({quoted}): check what your credentials, the role and the bucket's policy allow"
        else:
            text = f"refused or missing ({quoted}): a session that may not list is not told which; check what it allows"
        return AccessDenied(f"{where}: {text}", root=root)
    return StorageUnreachable(f"{where}: {quoted}; try again later, or look after the server", root=root)


def from_botocore(error: Failed, where: str, root: str) -> SecuredataError:
    """The error for a call that was not answered."""
    kind, advice = _CAUSES[error.cause]
    return kind(f"{where}: {error}; {advice}", root=root)


_CAUSES: dict[Cause, tuple[type[SecuredataError], str]] = {
    Cause.CREDENTIALS: (AccessDenied, "set a profile, a role or the environment as boto3 takes them"),
    Cause.PROFILE: (ConfigError, "check the config entry and AWS's own configuration"),
    Cause.SIGN_IN: (SessionExpired, "sign in again"),
    Cause.SETUP: (ConfigError, "check the config entry, the environment and AWS's own configuration"),
    Cause.ARGUMENT: (InvalidArgument, "check the root and the config entry"),
    Cause.ANSWER: (StorageUnreachable, "no S3 server answers like this: check the endpoint"),
    Cause.CERTIFICATE: (StorageUnreachable, "check AWS_CA_BUNDLE and the endpoint"),
    Cause.NETWORK: (StorageUnreachable, "check endpoint and network"),
}
