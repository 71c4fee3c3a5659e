"""A credential source that assumes a role for one corpus. It is a reference: any process can build it anew."""

from __future__ import annotations

import getpass
import re
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from securedata.errors import AccessDenied, ConfigError, SecuredataError, SessionExpired, StorageUnreachable

SHORTEST, LONGEST = 900, 3600
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "InvalidAccessKeyId"})


class Keys(NamedTuple):
    """AWS credentials at one moment."""

    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        return f"Keys({self.access_key!r})"


@dataclass(frozen=True, slots=True)
class Session:
    """An assumed role: credentials, and their end in seconds since the epoch."""

    keys: Keys = field(repr=False)
    expires: float

    def remaining(self) -> float:
        """Seconds that are left."""
        return self.expires - time.time()


@dataclass(frozen=True, slots=True)
class RoleSource:
    """Assumes a role under a session policy.

    Attributes:
        role: ARN of the role.
        policy: session policy, JSON text.
        duration: seconds that a session is asked to live; the server may give less.
        profile, region, endpoint_url: as boto3 takes them, for the caller's own credentials.
    """

    role: str
    policy: str
    duration: int = LONGEST
    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None

    def assume(self) -> Session:
        """A new session.

        Raises:
            AccessDenied: the role may not be assumed.
            SessionExpired: the caller's own credentials expired.
            ConfigError: a profile that does not exist, no region.
            StorageUnreachable: STS did not answer.
        """
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        duration = max(SHORTEST, min(LONGEST, self.duration))
        try:
            config = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 4, "mode": "standard"})
            client = boto3.Session(profile_name=self.profile, region_name=self.region).client(
                "sts", endpoint_url=self.endpoint_url, config=config
            )
            answer: dict[str, Any] = client.assume_role(
                RoleArn=self.role, RoleSessionName=_session_name(), Policy=self.policy, DurationSeconds=duration
            )
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = error.response.get("Error", {}).get("Code") or str(status)
            if code in _EXPIRED:
                raise SessionExpired(f"your own AWS credentials were refused ({code}); sign in again") from error
            if status >= 500 or code == "Throttling":
                raise StorageUnreachable(f"STS answered {code}; try again later") from error
            raise AccessDenied(
                f"the role {self.role} may not be assumed ({code}): check its trust policy and your credentials"
            ) from error
        except BotoCoreError as error:
            raise _failed(error, f"the role {self.role} was not assumed") from error
        found = answer["Credentials"]
        keys = Keys(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])
        return Session(keys, found["Expiration"].timestamp())


def profile_keys(profile: str) -> Keys:
    """The keys of a profile, whatever way its configuration names to get them.

    Raises:
        AccessDenied, SessionExpired, ConfigError, StorageUnreachable
    """
    import boto3
    from botocore.exceptions import BotoCoreError

    where = f"the AWS profile {profile!r} gives no credentials"
    try:
        found = boto3.Session(profile_name=profile).get_credentials()
        frozen = found.get_frozen_credentials() if found is not None else None
    except BotoCoreError as error:
        raise _failed(error, where) from error
    if frozen is None:
        raise AccessDenied(f"{where}: set them up as boto3 takes them")
    return Keys(frozen.access_key, frozen.secret_key, frozen.token)


def _failed(error: Exception, what: str) -> SecuredataError:
    """The error for one of botocore's own: no request was answered."""
    from botocore import exceptions as known

    if isinstance(error, (known.NoCredentialsError, known.PartialCredentialsError)):
        return AccessDenied(f"{what}: {error}: set a profile or the environment as boto3 takes them")
    if isinstance(error, (known.SSOError, known.TokenRetrievalError)):
        return SessionExpired(f"{what}: {error}; sign in again")
    if isinstance(error, (known.ProfileNotFound, known.NoRegionError, known.ConfigParseError)):
        return ConfigError(f"{what}: {error}; set profile and region in the config entry or in AWS's own configuration")
    return StorageUnreachable(f"{what}: {error}; check endpoint and network")


def _session_name() -> str:
    """Who it is, for the server's log; STS allows few characters."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return ("securedata-" + re.sub(r"[^\w+=,.@-]", "-", user, flags=re.ASCII))[:64]
