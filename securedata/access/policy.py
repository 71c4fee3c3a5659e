"""Session policies cut to one corpus: what a role may do there at most, whatever the role itself allows.

A session policy can only narrow a role. For readers: get objects under the prefix, and use the KMS key
to decrypt under this corpus's encryption context. No list, no head of other prefixes, no put. Writers
may put and delete besides; nobody gets kms:Encrypt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from securedata.errors import InvalidArgument

LIMIT = 2048
"""Characters that STS accepts."""


def session_policy(
    root: str, corpus_id: bytes, key_arns: Sequence[str] = (), *, write: bool = False, partition: str = "aws"
) -> dict[str, Any]:
    """The session policy for one corpus.

    Args:
        root: s3://bucket/prefix.
        corpus_id: from the pin, never from storage.
        key_arns: AWS KMS keys that may be used to decrypt.

    Raises:
        InvalidArgument: no S3 root, or one so long that STS would refuse the policy.
    """
    bucket, _, prefix = root.removeprefix("s3://").strip("/").partition("/")
    if not root.startswith("s3://") or not bucket:
        raise InvalidArgument(f"{root}: a role can be cut to an S3 root only", root=root)
    if any(char in prefix for char in "*?$"):
        raise InvalidArgument(f"{root}: a prefix with '*', '?' or '$' cannot be told apart in a policy", root=root)
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
