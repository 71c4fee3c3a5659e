"""`aws-kms://arn:aws:kms:REGION:ACCOUNT:key/ID`: a key of AWS KMS.

Decrypt always sends the KeyId of the caller's URI, so AWS refuses a blob that names another key.
A multi-Region key (`mrk-`) can be named in any of its regions.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from datetime import UTC
from functools import partial
from typing import Any

from securedata.errors import InvalidKMSURI, KeysError, KMSDenied, KMSMisconfigured, KMSThrottled, KMSUnreachable
from securedata.foreign.aws import (
    EXPIRED,
    THROTTLED,
    AWSKeys,
    Cause,
    Credentials,
    Failed,
    Refused,
    ask,
    new_client,
    new_session,
    of_signature,
)
from securedata.foreign.deadline import within
from securedata.keys.kms import KMS, Context, Fate
from securedata.printable import without_secrets

SCHEME = "aws-kms://"
_ACTIONS = {"encrypt": "Encrypt", "decrypt": "Decrypt", "describe_key": "DescribeKey"}
_CONNECT_SECONDS, _READ_SECONDS = 5, 10
_SECONDS = 90.0  # for one call with all its tries, including the time to type a code
_ARN = re.compile(r"arn:(aws[a-z-]*):kms:([a-z0-9-]+):(\d{12}):key/([A-Za-z0-9-]+)")
_PASSING = frozenset({"DependencyTimeoutException", "KMSInternalException", "InternalFailure", "ServiceUnavailable"})


class AWSKMS(KMS):
    """A key ARN. Credentials are boto3's, or a session's; a forked process makes a new client."""

    def __init__(self, uri: str) -> None:
        match = _ARN.fullmatch(uri.removeprefix(SCHEME))
        if not uri.startswith(SCHEME) or match is None:
            raise InvalidKMSURI(
                f"{without_secrets(uri)!r}: an AWS KMS URI is aws-kms:// and a key ARN, as aws-kms://arn:aws:kms:eu-west-1:"
                "111122223333:key/1234abcd-...; aliases are refused, as those who can move one would choose the key"
            )
        self.uri = uri
        self._arn = match.group(0)
        self._parts = match.groups()
        self._credentials: Credentials | None = None
        self._local = threading.local()

    @property
    def wrap_uri(self) -> str:
        return self.uri

    def use(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def matches(self, wrap_uri: str) -> bool:
        match = _ARN.fullmatch(wrap_uri.removeprefix(SCHEME))
        if not wrap_uri.startswith(SCHEME) or match is None:
            return False
        if match.group(0) == self._arn:
            return True
        partition, _, account, key = self._parts
        return key.startswith("mrk-") and (match.group(1), match.group(3), match.group(4)) == (partition, account, key)

    def wrap(self, key: bytes, context: Context) -> bytes:
        return self._call("encrypt", "CiphertextBlob", Plaintext=key, EncryptionContext=dict(context))

    def unwrap(self, blob: bytes, context: Context) -> bytes:
        return self._call("decrypt", "Plaintext", CiphertextBlob=blob, EncryptionContext=dict(context))

    def fate(self, version: int | None) -> Fate:
        """A key that is past its deletion date is unknown to the service."""
        copies = self._parts[3].startswith("mrk-")
        try:
            found = self._answer("describe_key")
        except KMSDenied as error:
            if isinstance(error.__cause__, Refused) and error.__cause__.code == "NotFoundException":
                if copies:
                    raise KMSMisconfigured(
                        f"{self.uri}: this region has no such key, but others may have replicas of a multi-Region key, "
                        "which were not looked for"
                    ) from None
                return Fate("destroyed", "the service has no such key (NotFoundException)")
            raise
        about = found.get("KeyMetadata", {})
        state, day = about.get("KeyState"), about.get("DeletionDate")
        if state == "PendingDeletion" and day is not None and not copies:
            return Fate("scheduled", f"KeyState is {state}", day.astimezone(UTC).date().isoformat())
        return Fate("lives", f"KeyState is {state}")

    def _call(self, operation: str, wanted: str, **arguments: Any) -> bytes:
        answer = self._answer(operation, **arguments)
        if not isinstance(found := answer.get(wanted), bytes):
            kind, advice = _CAUSES[Cause.ANSWER]
            raise kind(f"{self.uri}: the answer to {operation} has no {wanted}; {advice}")
        return found

    def _answer(self, operation: str, **arguments: Any) -> Any:
        for renew in (False, True):
            try:
                return ask(partial(self._asked, operation, renew, {"KeyId": self._arn, **arguments}))
            except Refused as refused:
                if refused.expired and not renew and self._credentials is not None:
                    continue
                raise self._error(operation, refused) from refused
            except Failed as failed:
                kind, advice = _CAUSES[failed.cause]
                raise kind(f"{self.uri}: {failed}; {advice}") from failed
        raise AssertionError("unreachable")

    def _asked(self, operation: str, renew: bool, arguments: Mapping[str, Any]) -> Any:
        return within(_SECONDS, partial(getattr(self._client(renew), operation), **arguments))

    def _error(self, operation: str, refused: Refused) -> KeysError:
        code, status = refused.code, refused.status
        said = f"{self.uri}: {operation} was answered {refused.said}"
        if code in THROTTLED or status == 429:
            return KMSThrottled(f"{said}: too many calls; try again later, or raise its quota")
        if code in _PASSING or status >= 500:
            return KMSUnreachable(f"{said}; try again later")
        if code in EXPIRED:
            return KMSDenied(f"{said}: the session expired or was revoked; sign in again")
        if advice := of_signature(code):
            return KMSDenied(f"{said}: {advice}")
        return KMSDenied(
            f"{said}: check that you may use kms:{_ACTIONS[operation]} with this key under the corpus's "
            "encryption context, and that the key is enabled"
        )

    def _client(self, renew: bool) -> Any:
        from botocore.config import Config

        keys = AWSKeys(*self._credentials(renew)) if self._credentials is not None else None
        known = getattr(self._local, "client", None)
        if known is None or known[0] != os.getpid() or known[1] != keys:
            config = Config(
                connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS, retries={"total_max_attempts": 2}
            )
            client = new_client(new_session(), "kms", keys, region_name=self._parts[1], config=config)
            known = self._local.client = (os.getpid(), keys, client)
        return known[2]


_CAUSES: dict[Cause, tuple[type[KeysError], str]] = {
    Cause.CREDENTIALS: (KMSDenied, "set a profile, a role or the environment as boto3 takes them"),
    Cause.PROFILE: (KMSDenied, "set a profile, a role or the environment as boto3 takes them"),
    Cause.SIGN_IN: (KMSDenied, "sign in again"),
    Cause.SETUP: (KMSMisconfigured, "set a profile, endpoint and files in the environment as boto3 takes them"),
    Cause.ARGUMENT: (KMSMisconfigured, "check the environment and AWS's own configuration"),
    Cause.ANSWER: (KMSUnreachable, "a KMS would not answer like this: check the endpoint"),
    Cause.CERTIFICATE: (KMSUnreachable, "check AWS_CA_BUNDLE and the endpoint"),
    Cause.NETWORK: (KMSUnreachable, "check endpoint and network"),
}
