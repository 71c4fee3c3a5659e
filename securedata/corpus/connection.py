"""Connect to a corpus: its storage and KMS keys, under the role's session if there is one."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from securedata.access.policy import policy_text, session_policy
from securedata.access.session import RoleSource, Session, profile_keys
from securedata.corpus.config import Reference
from securedata.foreign.aws import AWSKeys
from securedata.forks import Instances
from securedata.keys.kms import KMS, open_all
from securedata.storage.base import Storage
from securedata.storage.registry import open_storage

_AWS = "aws-kms://"
_JUST_NOW = 2.0


class RoleCredentials:
    """The credentials of a role's current session, for storage and KMS. One thread at a time renews them."""

    def __init__(self, source: RoleSource, session: Session | None = None) -> None:
        self._source = source
        self.session = session
        self._assumed = 0.0
        self._fresh_process()
        _held.add(self)

    def _fresh_process(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, renew: bool) -> AWSKeys:
        """The keys to sign with; new ones if the session has expired or was refused (`renew`).

        Raises:
            AccessDenied, SessionExpired, StorageUnreachable
        """
        with self._lock:
            over = self.session is None or self.session.remaining() <= 0
            if over or (renew and time.monotonic() - self._assumed > _JUST_NOW):
                self.session = self._source.assume()
                self._assumed = time.monotonic()
            assert self.session is not None
            return self.session.keys

    def remaining(self) -> float:
        """Seconds that the session has left."""
        return self.session.remaining() if self.session is not None else 0.0


@dataclass(frozen=True, slots=True)
class Connection:
    """A corpus's storage and trusted KMS keys."""

    storage: Storage
    trusted: Sequence[KMS]
    credentials: RoleCredentials | None = field(default=None, repr=False)

    def renew(self) -> None:
        """Renew credentials that come from a role: keys are not used longer than the session that fetched them."""
        if self.credentials is not None:
            self.credentials(True)

    def ttl(self, wanted: float) -> float:
        """How long a grant that begins now may last, in seconds."""
        return wanted if self.credentials is None else max(0.0, min(wanted, self.credentials.remaining()))

    @property
    def session(self) -> Session | None:
        """The current session, which workers inherit."""
        return self.credentials.session if self.credentials is not None else None


def connect(
    reference: Reference, *, write: bool = False, session: Session | None = None, storage: Storage | None = None
) -> Connection:
    """Connect to a corpus. Makes no network request yet.

    Args:
        write: the session may put objects.
        session: one that another process assumed and passed on.
        storage: used instead of the one that the root names.

    Raises:
        PinRequired: a role without exactly one pin; the policy is limited to the corpus id in it.
        InvalidArgument, InvalidKMSURI
    """
    trusted = open_all(reference.kms)
    credentials = None
    if reference.options.get("role"):
        credentials = RoleCredentials(role_source(reference, write), session)
        for kms in trusted:
            kms.use(credentials)
    elif profile := reference.options.get("profile"):
        for kms in trusted:
            kms.use(lambda _: profile_keys(profile))  # botocore renews expiring ones
    if storage is None:
        storage = open_storage(reference.root, reference.options, credentials)
    return Connection(storage, trusted, credentials)


def role_source(reference: Reference, write: bool = False) -> RoleSource:
    """The source of sessions for a corpus with a role.

    Raises:
        PinRequired, InvalidArgument
    """
    pin = reference.require_pin()  # the policy is limited to its corpus
    options = reference.options
    arns = [uri.removeprefix(_AWS) for uri in reference.kms if uri.startswith(_AWS)]
    partition = options["role"].split(":")[1:2]
    policy = session_policy(
        reference.root, pin.corpus_id, arns, write=write, partition=partition[0] if partition else "aws"
    )
    return RoleSource(
        options["role"],
        policy_text(policy),
        profile=options.get("profile"),
        region=options.get("region"),
        endpoint_url=options.get("sts_endpoint_url"),
    )


_held = Instances(in_child=RoleCredentials._fresh_process)
