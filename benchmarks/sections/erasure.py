"""Erasing one and many of 10,000 people in 1,000,000 rows, on a bucket with versions.

The rows are made up. Objects are stored for the people who are erased (of many at once: for a tenth of them) and for a
sample of others, which must be the same afterwards. The deletion is measured beside bare DeleteObjects and
ListObjectVersions of as many keys on the same server, in turn.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.data.rows import synthetic
from benchmarks.tools.stats import Figure, estimate
from securedata.corpus.config import Reference
from securedata.corpus.create import create_corpus
from securedata.corpus.state.commit import Next
from securedata.corpus.state.layout import object_key
from securedata.corpus.state.tables import seal_table
from securedata.corpus.writer import Writer
from securedata.errors import SecuredataError
from securedata.lifecycle.erasure.erase import erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.receipt.operator import make_operator
from tests.kit.servers import Seaweed, openbao, seaweed

ROWS, PEOPLE = 1_000_000, 10_000
SAMPLE = 1_000
BATCH = 1_000
ROOT = "rows"


def measure(work: Path, many: int, runs: int) -> tuple[list[Figure], dict[str, object]]:
    """One person at a time, as often as there are runs; then many at once; then deletions beside bare calls."""
    with (
        tempfile.TemporaryDirectory(dir=work) as folder,
        seaweed(Path(folder) / "weed") as server,
        openbao(Path(folder) / "bao") as bao,
    ):
        os.environ.update(server.environment() | {"AWS_EC2_METADATA_DISABLED": "true", "VAULT_TOKEN": bao.token})
        server.client().put_bucket_versioning(Bucket="voice", VersioningConfiguration={"Status": "Enabled"})
        make_operator("bench.example/erasure")
        print(f"making a corpus of {ROWS:,} rows ...", file=sys.stderr)
        reference, ids = _corpus(bao.make_key("rows"))
        people = sorted(ids)
        singles, group = people[:runs], people[runs : runs + many]
        kept = [one for name in people[-SAMPLE // 50 :] for one in ids[name]][:SAMPLE]
        stored = [*(one for name in (*singles, *group[: many // 10]) for one in ids[name]), *kept]
        print(f"storing {len(stored):,} objects ...", file=sys.stderr)
        writer = Writer(reference)
        _store(writer, stored)
        before = {one: bytes(writer.storage.get(object_key(one))) for one in kept}
        one = [_erase(writer, [name]) for name in singles]
        all_of = _erase(writer, group)
        for key, data in before.items():
            if bytes(writer.storage.get(object_key(key))) != data:
                raise AssertionError("an object of somebody else changed")
        rates = [_deletions(server, writer, number) for number in range(runs)]
    figures = [
        Figure(f"{ROWS:,} rows: erase 1 of {PEOPLE:,} people", 30, estimate(each["all"] for each in one), True, "s"),
        Figure(f"{ROWS:,} rows: commit for {many:,} people", 60, estimate([all_of["commit"]]), True, "s"),
        Figure("deletion and its check, of bare calls", 0.8, estimate(each["ratio"] for each in rates)),
    ]
    return figures, {"one": one, "many": all_of, "deletions": rates}


def _corpus(kms: str) -> tuple[Reference, dict[str, list[bytes]]]:
    reference = create_corpus(f"s3://voice/{ROOT}", ROOT, kms=[kms]).reference
    writer = Writer(reference)
    parts, ids = [], {}
    for table in synthetic(ROWS, speakers=PEOPLE):
        ref, sealed = seal_table(table, writer.corpus_id)
        writer.storage.put_new(ref.storage_key, [sealed])
        parts.append(ref)
        for name, one in zip(table.column("speaker").to_pylist(), table.column("object_id").to_pylist(), strict=True):
            ids.setdefault(name, []).append(one)
    writer.transact(lambda attempt: Next(None, {"parts": tuple(parts)}))
    return reference, ids


def _store(writer: Writer, ids: Iterable[bytes]) -> None:
    for _, outcome in writer.storage.put_many((object_key(one), os.urandom(2_000)) for one in ids):
        if isinstance(outcome, SecuredataError):
            raise outcome


def _erase(writer: Writer, names: Sequence[str]) -> dict[str, float]:
    """Seconds of an erasure, and of its commit alone: up to the first deletion."""
    committed: list[float] = []
    purge = writer.storage.purge

    def watched(keys: Iterable[str]) -> Any:
        listed = list(keys)
        if not all(key.startswith(".tmp") for key in listed):
            committed.append(time.perf_counter())
        return purge(listed)

    writer.storage.purge = watched  # type: ignore[method-assign]  # to learn when the commit is over
    began = time.perf_counter()
    try:
        erased = erase(writer, Request("subject", names=tuple(names)))
    finally:
        del writer.storage.purge
    ended = time.perf_counter()
    if erased.receipt is None or erased.receipt.levels != ("deleted where visible",):
        raise AssertionError("it was not erased")
    return {"all": ended - began, "commit": committed[0] - began, "rows": float(erased.commit.rows)}


def _deletions(server: Seaweed, writer: Writer, number: int) -> dict[str, float]:
    """Versions a second of a purge, and of bare calls for as many keys; in turn first and second."""
    count = 2_000
    keys = {side: [f"objects/{side}{number}/{k:06d}" for k in range(count)] for side in ("ours", "bare")}
    for side in keys:
        for _, outcome in writer.storage.put_many((key, b"x" * 2_000) for key in keys[side]):
            if isinstance(outcome, SecuredataError):
                raise outcome
    took = {}
    for side in ("ours", "bare") if number % 2 else ("bare", "ours"):
        began = time.perf_counter()
        if side == "ours":
            failed = [one for _, one in writer.storage.purge(keys[side]) if isinstance(one, SecuredataError)]
            if failed:
                raise failed[0]
        else:
            _bare(server, f"{ROOT}/objects/bare{number}/")
        took[side] = time.perf_counter() - began
    return {"ratio": took["bare"] / took["ours"], **{side: count / seconds for side, seconds in took.items()}}


def _bare(server: Seaweed, prefix: str) -> None:
    """List all versions, delete them, and list again."""
    client = server.client()
    pages = client.get_paginator("list_object_versions")
    found = [
        {"Key": one["Key"], "VersionId": one["VersionId"]}
        for page in pages.paginate(Bucket="voice", Prefix=prefix)
        for one in page.get("Versions", ())
    ]
    for at in range(0, len(found), BATCH):
        client.delete_objects(Bucket="voice", Delete={"Objects": found[at : at + BATCH], "Quiet": False})
    if any(page.get("Versions") for page in pages.paginate(Bucket="voice", Prefix=prefix)):
        raise AssertionError("something is left")
