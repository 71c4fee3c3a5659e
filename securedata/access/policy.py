"""Session policies cut to one corpus: the most that a session may do, whatever the role itself allows.

A session policy can only narrow a role. For readers: get objects under the prefix, and use the KMS key
to decrypt under this corpus's encryption context. No list, no head of other prefixes, no put. Writers
may also put and delete; kms:Encrypt is never granted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from securedata.errors import InvalidArgument
from securedata.roots import split_s3

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

LIMIT = 2048
"""Characters that STS accepts."""


def session_policy(
    root: str, corpus_id: bytes, key_arns: Sequence[str] = (), *, write: bool = False, partition: str = "aws"
) -> dict[str, Any]:
    """The session policy for one corpus.

    Args:
        root: s3://bucket/prefix.
        corpus_id: from the pin, never from storage.
        key_arns: AWS KMS keys that the session may decrypt with.

    Raises:
        InvalidArgument: not an S3 root, one that would match others, or one so long that STS would refuse the policy.
    """
    if not root.startswith("s3://"):
        raise InvalidArgument(f"{root}: a role can be cut to an S3 root only", root=root)
    bucket, prefix = split_s3(root)
    # In a policy '*' and '?' match others, and '$' begins a variable. A bucket cannot have one, nor a colon, which
    # would begin another part of the ARN; other servers do not know AWS's escapes ('${*}').
    if not _BUCKET.fullmatch(bucket):
        raise InvalidArgument(f"{root!r}: no bucket of this name can be meant in a policy", root=root)
    if any(char in prefix for char in "*?$"):
        raise InvalidArgument(f"{root!r}: a prefix with '*', '?' or '$' would match others in a policy", root=root)
    if any(char in text for text in (*key_arns, partition) for char in "*?$"):
        raise InvalidArgument(f"{root!r}: the ARNs of its KMS keys and role must name one each", root=root)
    # with the slash: contractor-a/* does not cover contractor-abc/
    resource = f"arn:{partition}:s3:::{bucket}/{prefix + '/' if prefix else ''}*"
    actions = ["s3:GetObject"]
    if write:
        actions += ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    statements: list[dict[str, Any]] = [{"Effect": "Allow", "Action": actions, "Resource": [resource]}]
    if key_arns:
        context = {"kms:EncryptionContext:securedata:corpus": corpus_id.hex()}
        statements.append(
            {
                "Effect": "Allow",
                "Action": ["kms:Decrypt"],
                "Resource": list(key_arns),
                "Condition": {"StringEquals": context},
            }
        )
    policy = {"Version": "2012-10-17", "Statement": statements}
    if len(text := policy_text(policy)) > LIMIT:
        raise InvalidArgument(
            f"{root}: the session policy has {len(text)} characters, STS takes {LIMIT}; trust fewer KMS keys or "
            "choose a shorter prefix",
            root=root,
        )
    return policy


def policy_text(policy: dict[str, Any]) -> str:
    """A policy as STS takes it."""
    return json.dumps(policy, separators=(",", ":"))
