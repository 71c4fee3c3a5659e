"""A credential source that assumes a role for one corpus. It is a reference: any process can build it again."""

from __future__ import annotations

import getpass
import re
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from securedata.errors import AccessDenied, ConfigError, SecuredataError, SessionExpired, StorageUnreachable
from securedata.foreign.aws import (
    THROTTLED,
    AWSKeys,
    Cause,
    Failed,
    Refused,
    ask,
    new_client,
    new_session,
    of_signature,
    session_keys,
)
from securedata.foreign.deadline import within

SHORTEST, LONGEST = 900, 3600
_SECONDS = 90.0  # of one call with all its tries, and with a code that somebody types


@dataclass(frozen=True, slots=True)
class Session:
    """An assumed role: credentials, and when they expire, in seconds since the epoch."""

    keys: AWSKeys = field(repr=False)
    expires: float

    def remaining(self) -> float:
        """Seconds until it expires."""
        return self.expires - time.time()


@dataclass(frozen=True, slots=True)
class RoleSource:
    """Assumes a role under a session policy.

    Attributes:
        role: ARN of the role.
        policy: session policy, JSON text.
        duration: requested lifetime of a session in seconds; the server might grant less.
        profile, region, endpoint_url: as boto3 takes them, for the caller's own credentials.
    """

    role: str
    policy: str
    duration: int = LONGEST
    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = field(default=None, repr=False)  # refused with a password, but not before it is used

    def assume(self) -> Session:
        """A new session.

        Raises:
            AccessDenied: the role may not be assumed.
            SessionExpired: the caller's own credentials expired.
            ConfigError: a profile that does not exist, no region.
            StorageUnreachable: STS did not answer.
        """
        try:
            return _session(ask(self._answer))
        except Refused as refused:
            said = refused.said
            if refused.expired:
                raise SessionExpired(f"your own AWS credentials were refused ({said}); sign in again") from refused
            if refused.status >= 500 or refused.code in THROTTLED:
                raise StorageUnreachable(f"STS answered {said}; try again later") from refused
            if advice := of_signature(refused.code):
                raise AccessDenied(f"the role {self.role} was not assumed ({said}): {advice}") from refused
            raise AccessDenied(
                f"the role {self.role} may not be assumed ({said}): check its trust policy and your credentials"
            ) from refused
        except Failed as failed:
            raise _error(failed, f"the role {self.role} was not assumed") from failed

    def _answer(self) -> dict[str, Any]:
        from botocore.config import Config

        config = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 4, "mode": "standard"})
        client = new_client(
            new_session(self.profile, self.region), "sts", endpoint_url=self.endpoint_url, config=config
        )
        duration = max(SHORTEST, min(LONGEST, self.duration))
        asked = partial(client.assume_role, RoleArn=self.role, RoleSessionName=_session_name(), Policy=self.policy)
        answer: dict[str, Any] = within(_SECONDS, partial(asked, DurationSeconds=duration))
        return answer


def profile_keys(profile: str) -> AWSKeys:
    """The keys of a profile, however its configuration gets them.

    Raises:
        AccessDenied, SessionExpired, ConfigError, StorageUnreachable
    """
    where = f"the AWS profile {profile!r} gives no credentials"
    try:
        keys = ask(lambda: session_keys(new_session(profile)))
    except Refused as refused:
        raise AccessDenied(f"{where} (refused: {refused.said}): check what it names") from refused
    except Failed as failed:
        raise _error(failed, where) from failed
    if keys is None:
        raise AccessDenied(f"{where}: set them up as boto3 takes them")
    return keys


def _session(answer: dict[str, Any]) -> Session:
    found = answer.get("Credentials") or {}
    for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"):
        if not found.get(name):
            raise Failed(Cause.ANSWER, f"the answer holds no {name}")
    keys = AWSKeys(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])
    return Session(keys, found["Expiration"].timestamp())


def _error(failed: Failed, what: str) -> SecuredataError:
    """The error for a call without an answer."""
    kind, advice = _CAUSES[failed.cause]
    return kind(f"{what}: {failed}; {advice}")


_CAUSES: dict[Cause, tuple[type[SecuredataError], str]] = {
    Cause.CREDENTIALS: (AccessDenied, "set a profile or the environment as boto3 takes them"),
    Cause.PROFILE: (ConfigError, "set profile and region in the config entry or in AWS's own configuration"),
    Cause.SIGN_IN: (SessionExpired, "sign in again"),
    Cause.SETUP: (ConfigError, "set profile and region in the config entry or in AWS's own configuration"),
    Cause.ARGUMENT: (ConfigError, "check the role in the config entry"),
    Cause.ANSWER: (StorageUnreachable, "no STS answers like this: check the endpoint"),
    Cause.CERTIFICATE: (StorageUnreachable, "check AWS_CA_BUNDLE and the endpoint"),
    Cause.NETWORK: (StorageUnreachable, "check endpoint and network"),
}


def _session_name() -> str:
    """The user's name, for the server's log; STS allows few characters."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return ("securedata-" + re.sub(r"[^\w+=,.@-]", "-", user, flags=re.ASCII))[:64]
