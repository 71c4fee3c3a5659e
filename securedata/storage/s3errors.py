"""From what S3 and botocore say to our errors."""

from __future__ import annotations

from typing import Any, NamedTuple
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

_EXPIRED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken", "TokenRefreshRequired"}
)
_MOVED = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed"})


class Said(NamedTuple):
    """What a server answered with an error status."""

    status: int
    code: str = ""
    text: str = ""
    region: str = ""
    date: str = ""

    @property
    def expired(self) -> bool:
        """Are the credentials over, or unknown? For a session's both codes occur."""
        return self.code in _EXPIRED

    @property
    def denied(self) -> bool:
        """Was it refused for what the credentials allow?"""
        return self.status in (401, 403)

    @property
    def elsewhere(self) -> bool:
        """Is the bucket in another region?"""
        return self.status in (301, 307) or (self.status == 400 and self.code in _MOVED)


def said_by(body: memoryview, status: int, region: str, date: str) -> Said:
    """Code, message and region from the body of an answer of S3; empty where it is none."""
    try:
        root = ElementTree.fromstring(bytes(body))  # noqa: S314 - expat expands no external entity; the body is capped
    except ElementTree.ParseError:
        return Said(status, region=region, date=date)
    found = [root.findtext(name) or "" for name in ("Code", "Message", "Region")]
    return Said(status, found[0], found[1], region or found[2], date)


def said_to(error: Any) -> Said:
    """What a ClientError of botocore holds."""
    details = error.response.get("Error", {})
    meta = error.response.get("ResponseMetadata", {})
    headers = meta.get("HTTPHeaders", {})
    region = headers.get("x-amz-bucket-region", "") or details.get("Region", "")
    status = meta.get("HTTPStatusCode", 0)
    return Said(status, details.get("Code", ""), details.get("Message", ""), region, headers.get("date", ""))


def refused(said: Said, what: str, root: str, bucket: str, *, session: bool, writing: bool) -> SecuredataError:
    """The error for an answer.

    Args:
        what: the key, or '' for the root as a whole.
        session: credentials are those of a role's session, which was renewed already where that could help.
        writing: it was no read.
    """
    where = f"{what} of {root}" if what else root
    quoted = f"{said.code or said.status}{': ' + said.text if said.text else ''}"
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
    if said.denied:
        if writing or said.code not in ("", "AccessDenied"):
            text = f"refused ({quoted}): check what your credentials, the role and the bucket's policy allow"
        else:
            text = f"refused or missing ({quoted}): a session that may not list is not told which; check what it allows"
        return AccessDenied(f"{where}: {text}", root=root)
    return StorageUnreachable(f"{where}: {quoted}; try again later, or look after the server", root=root)


def failed(error: Exception, where: str, root: str) -> SecuredataError:
    """The error for one of botocore's own: no request was answered."""
    from botocore import exceptions as known

    if isinstance(error, (known.NoCredentialsError, known.PartialCredentialsError)):
        text = f"{where}: {error}: set a profile, a role or the environment as boto3 takes them"
        return AccessDenied(text, root=root)
    if isinstance(error, (known.SSOError, known.TokenRetrievalError)):
        return SessionExpired(f"{where}: {error}; sign in again", root=root)
    if isinstance(error, (known.ProfileNotFound, known.NoRegionError, known.ConfigParseError)):
        return ConfigError(f"{where}: {error}; check the config entry and AWS's own configuration", root=root)
    if isinstance(error, known.ParamValidationError):
        return InvalidArgument(f"{where}: {' '.join(str(error).split())}", root=root)
    return StorageUnreachable(f"{where}: {error}; check endpoint and network", root=root)
