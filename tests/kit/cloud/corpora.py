"""Small corpora on S3 under a transit key, and what a session of a role may do there, asked of the server itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from securedata.access.session import Session
from securedata.corpus.config import write_entry
from securedata.corpus.connection import role_source
from securedata.corpus.create import create_corpus
from tests.kit.corpora import Clip, Root, add_clips, clip, some_clips
from tests.kit.servers import WRITER_ROLE, Bao, Seaweed


def policy(*names: str, what: Sequence[str] = ("encrypt", "decrypt")) -> str:
    """A policy of OpenBao that allows these transit keys, and nothing else."""
    paths = [f"transit/{one}/{name}" for name in names for one in what]
    return "\n".join(f'path "{path}" {{ capabilities = ["update"] }}' for path in paths)


@dataclass(frozen=True)
class Cloud:
    """The servers of one test."""

    weed: Seaweed
    bao: Bao
    prefix: str

    def make(
        self,
        name: str = "contractor-a",
        clips: Iterable[Clip] | None = None,
        *,
        bucket: str = "voice",
        role: str | None = None,
        endpoint: str | None = None,
    ) -> Root:
        """Make s3://BUCKET/PREFIX/NAME under a transit key of its own, by the owner's credentials, with a config entry.

        Args:
            role: what the entry names for whoever opens it later.
            endpoint: of S3, likewise, in place of the environment's.
        """
        key = f"{self.prefix}-{name}"
        created = create_corpus(f"s3://{bucket}/{self.prefix}/{name}", key, kms=[self.bao.make_key(key)])
        root = Root(created.reference.root)
        root.reference, root.clips = created.reference, []
        add_clips(root, some_clips() if clips is None else clips)
        options = {"role": role, "endpoint_url": endpoint}
        root.reference = replace(root.reference, options={key: value for key, value in options.items() if value})
        write_entry(key, root.reference)
        return root

    def keys_of(self, root: Root) -> str:
        """The name of its transit key."""
        return root.kms.rpartition("/")[2]

    def unwraps(self, root: Root) -> int:
        """How often the KMS was asked to decrypt with its key, by the KMS's own log."""
        return self.bao.calls("decrypt", self.keys_of(root))

    def token(self, *roots: Root, what: Sequence[str] = ("decrypt",)) -> str:
        """A token that may use the keys of these corpora only."""
        return self.bao.make_token(policy(*(self.keys_of(root) for root in roots), what=what))


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


def many_clips(count: int) -> list[Clip]:
    """Short recordings, each another one."""
    return [clip(f"ann/{n:04}.wav", 0.05, seed=n, transcript=f"number {n}") for n in range(count)]


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


def keys_in(server: Seaweed, root: str) -> list[str]:
    """All keys under a root, by the owner."""
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    pages = server.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    return [one["Key"] for page in pages for one in page.get("Contents", ())]


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
