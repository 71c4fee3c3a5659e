"""Map S3's and botocore's errors to ours."""

from __future__ import annotations

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


class Refusal(NamedTuple):
    """An answer with an error status. The server's text is not kept, because it can quote the request."""

    status: int
    code: str = ""
    region: str = ""
    date: str = ""

    @property
    def expired(self) -> bool:
        """Whether the credentials expired or are unknown; both codes occur after a session ends."""
        return self.code in EXPIRED

    @property
    def denied(self) -> bool:
        """Whether the credentials do not allow it."""
        return self.status in (401, 403)

    @property
    def elsewhere(self) -> bool:
        """Whether the bucket is in another region."""
        return self.status in (301, 307) or (self.status == 400 and self.code in _MOVED)


def parse_error(body: memoryview, status: int, region: str, date: str) -> Refusal:
    """Code and region from the body of S3's answer; empty if the body is anything else."""
    try:
        root = ElementTree.fromstring(bytes(body))  # noqa: S314 - expat expands no external entity; the body is capped
    except (ElementTree.ParseError, LookupError, ValueError):  # the last two: encodings that expat does not know
        return Refusal(status, region=region, date=date)
    code, moved = (root.findtext(name) or "" for name in ("Code", "Region"))
    return Refusal(status, code_text(code), printable(region or moved), date)


def from_client_error(error: Refused) -> Refusal:
    """The same from an answer to a call of botocore."""
    headers = error.response["ResponseMetadata"]["HTTPHeaders"]
    region = headers.get("x-amz-bucket-region", "") or error.response["Error"]["Region"]
    return Refusal(error.status, error.code, region, headers.get("date", ""))


def to_error(refusal: Refusal, what: str, root: str, bucket: str, *, session: bool, writing: bool) -> SecuredataError:
    """The error for an answer.

    Args:
        what: the key, or '' for the root as a whole.
        session: the credentials are those of a role's session, already renewed if that could help.
        writing: the call was not a read.
    """
    where = f"{what} of {root}" if what else root
    quoted = refusal.code or str(refusal.status)
    if refusal.code == "NoSuchBucket":
        return NotFound(f"{where}: there is no bucket {bucket}", root=root)
    if refusal.status == 404:
        return NotFound(f"{where} does not exist", root=root)
    if refusal.expired:
        if session:
            text = f"the session expired or was revoked ({quoted}), and a renewed one was refused too; check the role"
        else:
            text = f"your AWS credentials expired, or this server does not know them ({quoted}): sign in again"
        return SessionExpired(f"{where}: {text}", root=root)
    if refusal.status in (409, 412) or refusal.code in ("PreconditionFailed", "ConditionalRequestConflict"):
        return PreconditionFailed(f"{where} changed since it was read", root=root)
    if refusal.elsewhere:
        return InvalidArgument(
            f"{where}: the bucket is in another region{f' ({refusal.region})' if refusal.region else ''}: "
            "set region in the config entry, AWS_DEFAULT_REGION or the profile",
            root=root,
        )
    if advice := of_signature(refusal.code):
        return AccessDenied(f"{where}: refused ({quoted}): {advice}", root=root)
    if refusal.denied:
        if writing or refusal.code not in ("", "AccessDenied"):
            text = f"refused ({quoted}): check what your credentials, the role and the bucket's policy allow"
        else:
            text = f"refused or missing ({quoted}): S3 does not say which to a session that may not list; "
            text += "check what it allows"
        return AccessDenied(f"{where}: {text}", root=root)
    return StorageUnreachable(f"{where}: {quoted}; try again later, or check the server", root=root)


def from_botocore(error: Failed, where: str, root: str) -> SecuredataError:
    """The error for a call that got no answer."""
    kind, advice = _CAUSES[error.cause]
    return kind(f"{where}: {error}; {advice}", root=root)


_CAUSES: dict[Cause, tuple[type[SecuredataError], str]] = {
    Cause.CREDENTIALS: (AccessDenied, "set a profile, a role or the environment as boto3 takes them"),
    Cause.PROFILE: (ConfigError, "check the config entry and AWS's own configuration"),
    Cause.SIGN_IN: (SessionExpired, "sign in again"),
    Cause.SETUP: (ConfigError, "check the config entry, the environment and AWS's own configuration"),
    Cause.ARGUMENT: (InvalidArgument, "check the root and the config entry"),
    Cause.ANSWER: (StorageUnreachable, "this is not how S3 answers: check the endpoint"),
    Cause.CERTIFICATE: (StorageUnreachable, "check AWS_CA_BUNDLE and the endpoint"),
    Cause.NETWORK: (StorageUnreachable, "check endpoint and network"),
}
