"""What a session of a role can do to a corpus on S3, asked of the server itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from securedata.access.session import Session
from securedata.corpus.connection import role_source
from tests.kit.corpora.cloud import Cloud
from tests.kit.corpora.recorded import Root
from tests.kit.servers import WRITER_ROLE


def session(root: Root, write: bool = False) -> Session:
    """A session for a corpus, of a role that may read and write all of the bucket: what it may not, its policy forbids.

    The environment has the credentials of the trainer, who may assume the role.
    """
    return role_source(replace(root.reference, options={"role": WRITER_ROLE}), write).assume()


def outcome(call: Callable[[], Any]) -> str:
    """'ok', or the code with which the server refused."""
    from botocore.exceptions import ClientError

    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "ok"


def attempts(client: Any, bucket: str, key: str, own: str) -> dict[str, Callable[[], Any]]:
    """All that a client could try with a key.

    Args:
        key: one that is there.
        own: one that the client may read, to copy from or to.
    """
    folder = key.rpartition("/")[0]
    new = f"{folder}/{os.urandom(4).hex()}"
    return {
        "list": lambda: client.list_objects_v2(Bucket=bucket, Prefix=f"{folder}/"),
        "list versions": lambda: client.list_object_versions(Bucket=bucket, Prefix=f"{folder}/"),
        "get": lambda: client.get_object(Bucket=bucket, Key=key)["Body"].read(),
        "get a range": lambda: client.get_object(Bucket=bucket, Key=key, Range="bytes=0-63")["Body"].read(),
        "head": lambda: client.head_object(Bucket=bucket, Key=key),
        "get by a detour": lambda: client.get_object(Bucket=bucket, Key=f"{own.rpartition('/')[0]}/../../{key}"),
        "copy out": lambda: client.copy_object(Bucket=bucket, Key=f"{own}-2", CopySource=f"{bucket}/{key}"),
        "copy in": lambda: client.copy_object(Bucket=bucket, Key=new, CopySource=f"{bucket}/{own}"),
        "put": lambda: client.put_object(Bucket=bucket, Key=new, Body=b"x"),
        "overwrite": lambda: client.put_object(Bucket=bucket, Key=key, Body=b"x"),
        "begin an upload": lambda: client.create_multipart_upload(Bucket=bucket, Key=new),
        "delete": lambda: client.delete_object(Bucket=bucket, Key=key),
        "delete many": lambda: _delete_many(client, bucket, key),
        "tag": lambda: client.put_object_tagging(
            Bucket=bucket, Key=key, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}
        ),
    }


def _delete_many(client: Any, bucket: str, key: str) -> None:
    """S3 answers 200 to a call of this kind, and tells of each key whether it was refused."""
    from botocore.exceptions import ClientError

    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
    for error in answer.get("Errors", ()):
        raise ClientError({"Error": error}, "DeleteObjects")


@contextmanager
def deny(cloud: Cloud, root: Root) -> Iterator[None]:
    """Everybody is denied a corpus, sessions under way too: what revoking looks like on this server."""
    resource = f"arn:aws:s3:::{root.removeprefix('s3://')}/*"
    statement = {"Effect": "Deny", "Principal": "*", "Action": ["s3:*"], "Resource": [resource]}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    cloud.weed.client().put_bucket_policy(Bucket="voice", Policy=policy)
    try:
        yield
    finally:
        cloud.weed.client().delete_bucket_policy(Bucket="voice")
