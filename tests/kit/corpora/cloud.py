"""Corpora of recordings on S3, each under a transit key of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from securedata.corpus.config import write_entry
from securedata.corpus.create import create_corpus
from tests.kit.corpora.recorded import Root, filled
from tests.kit.servers import Bao, Seaweed
from tests.kit.sources.recordings import Clip


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
            role: the role that the entry names for its readers.
            endpoint: the S3 endpoint that it names, in place of the environment's.
        """
        key = f"{self.prefix}-{name}"
        created = create_corpus(f"s3://{bucket}/{self.prefix}/{name}", key, kms=[self.bao.make_key(key)])
        root = filled(created.reference, clips)
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


def keys_in(server: Seaweed, root: str) -> list[str]:
    """All keys under a root, by the owner."""
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    pages = server.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    return [one["Key"] for page in pages for one in page.get("Contents", ())]
