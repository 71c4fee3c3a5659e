"""A process for one contender of benchmarks.s3ec: fetches and decrypts objects on request.

python -m benchmarks.workers.s3ec CONTENDER

Requests and answers are lines of JSON: {"do": "begin", "spec": {}}, {"do": "seal", "files": [[PATH, KEY]]},
{"do": "run"}, {"do": "end"}. An answer to `run` has seconds by the clock and of this process's CPU, and a checksum.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

THREADS = 16


class S3EC:
    """Amazon's S3 Encryption Client; `threads` objects at once."""

    def __init__(self, spec: dict[str, Any], threads: int) -> None:
        import boto3
        from botocore.config import Config
        from s3_encryption import S3EncryptionClient, S3EncryptionClientConfig
        from s3_encryption.materials.kms_keyring import KmsKeyring

        config = Config(max_pool_connections=THREADS)
        keyring = KmsKeyring(boto3.client("kms", config=config), spec["kms_key"])
        self._client = S3EncryptionClient(boto3.client("s3", config=config), S3EncryptionClientConfig(keyring=keyring))
        self._bucket, self._keys = spec["bucket"], spec["keys"]
        self._pool = ThreadPoolExecutor(threads)

    def seal(self, files: Iterable[Sequence[str]]) -> None:
        for path, key in files:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=Path(path).read_bytes())

    def read(self) -> Iterable[bytes]:
        return self._pool.map(self._get, self._keys)

    def _get(self, key: str) -> bytes:
        return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()  # type: ignore[no-any-return]  # no stubs


class Securedata:
    """A corpus of the same files, opened once."""

    def __init__(self, spec: dict[str, Any]) -> None:
        from securedata.corpus.opening import open_corpus

        self._corpus = open_corpus(spec["root"], kms=spec["kms"], pin=spec["pin"])
        self._paths = spec["paths"]

    def read(self) -> Iterable[bytearray]:
        from securedata.corpus.objects.fetch import Piece

        for _, data in self._corpus.read_many([Piece(self._corpus.find(path)) for path in self._paths]):
            if isinstance(data, Exception):
                raise data
            yield data


def made(name: str, spec: dict[str, Any]) -> S3EC | Securedata:
    if name == "securedata":
        return Securedata(spec)
    return S3EC(spec, THREADS if name.endswith("threads") else 1)


def run(contender: S3EC | Securedata) -> dict[str, Any]:
    began, cpu, count, checksum = time.perf_counter(), time.process_time(), 0, 0
    for data in contender.read():
        count += 1
        checksum ^= zlib.crc32(data)  # in any order
    return {
        "objects": count,
        "wall": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "checksum": checksum,
    }


def main() -> None:
    (name,) = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints goes to stderr
    contender: S3EC | Securedata | None = None
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        match request["do"]:
            case "begin":
                contender = made(name, request["spec"])
            case "seal":
                assert isinstance(contender, S3EC)
                contender.seal(request["files"])
            case "run":
                assert contender is not None
                answer = run(contender)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
