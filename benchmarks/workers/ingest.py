"""A process for one contender of benchmarks.ingest: uploads the same files under a new prefix on each request.

python -m benchmarks.workers.ingest CONTENDER

Requests and answers are lines of JSON: {"do": "begin", "environment": {}, "files": [], "kek": "", "threads": 16} and
{"do": "run", "prefix": "..."}. Only securedata's contender imports securedata, so the others can run in other venvs.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol

BUCKET = "voice"


class Upload(Protocol):
    """Returns a call that puts the files under a new prefix of the bucket. Only that call is timed."""

    def __call__(self, prefix: str) -> Callable[[], object]: ...


def boto3_threads(files: Sequence[Path], threads: int, kek: str) -> Upload:
    """boto3 as in its documentation: one client, `put_object` in threads."""
    import boto3
    from botocore.config import Config

    client = boto3.client("s3", config=Config(max_pool_connections=threads))
    pool = ThreadPoolExecutor(threads)

    def one(prefix: str, path: Path) -> None:
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/{path.parent.name}/{path.name}", Body=path.read_bytes())

    return lambda prefix: lambda: list(pool.map(lambda path: one(prefix, path), files))


def obstore_async(files: Sequence[Path], threads: int, kek: str) -> Upload:
    """obstore's coroutines, with `threads` of them under way at once."""
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        region=os.environ["AWS_DEFAULT_REGION"],
        client_options={"allow_http": True},
        virtual_hosted_style_request=False,
    )

    async def upload_all(prefix: str) -> None:
        room = asyncio.Semaphore(threads)

        async def one(path: Path) -> None:
            async with room:
                key = f"{prefix}/{path.parent.name}/{path.name}"
                await obstore.put_async(store, key, path.read_bytes(), use_multipart=False)

        await asyncio.gather(*(one(path) for path in files))

    return lambda prefix: lambda: asyncio.run(upload_all(prefix))


def securedata(files: Sequence[Path], threads: int, kek: str, pack: bool = False) -> Upload:
    """A new corpus, as by `securedata encrypt`: list files, probe, seal, upload, commit."""
    from securedata.corpus.config import Reference
    from securedata.corpus.create import create_corpus
    from securedata.corpus.writer import Writer
    from securedata.ingest.pipeline import seal_sources
    from securedata.ingest.sources.recordings import list_sources

    folder = files[0].parent.parent

    def upload(reference: Reference) -> None:
        sources = list_sources(folder, speaker_pattern="{speaker}/{utterance}")
        report = seal_sources(sources, Writer(reference), pack=pack)
        if report.added != len(files) or not report.complete:
            raise AssertionError(f"{report.added} of {len(files)} were taken")

    return lambda prefix: partial(upload, create_corpus(f"s3://{BUCKET}/{prefix}", kms=[f"local://{kek}"]).reference)


def packs(files: Sequence[Path], threads: int, kek: str) -> Upload:
    """The same as by `securedata encrypt --pack`: one upload for about 256 MB."""
    return securedata(files, threads, kek, pack=True)


CONTENDERS = {"securedata": securedata, "packs": packs, "boto3": boto3_threads, "obstore": obstore_async}


def main(name: str) -> None:
    upload: Upload | None = None
    size = count = 0
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        answer: dict[str, Any] = {}
        if request["do"] == "begin":
            os.environ.update(request["environment"])
            files = [Path(one) for one in request["files"]]
            size, count = sum(path.stat().st_size for path in files), len(files)
            upload = CONTENDERS[name](files, request["threads"], request["kek"])
        elif upload is not None:
            work = upload(request["prefix"])
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            answer = {"wall": wall, "cpu": cpu, "bytes": size, "files": count}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
