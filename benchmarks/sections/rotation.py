"""A fresh corpus key for corpora of many rows: seconds of the whole command, and calls to the KMS by its own log.

The rows are made up and their objects do not exist, since a rotation touches none; that the listing of the bucket is
the same afterwards, but for the head, is checked.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.data.rows import synthetic
from benchmarks.tools.stats import Figure, estimate
from securedata.corpus.config import Reference
from securedata.corpus.create import create_corpus
from securedata.corpus.state.commit import Next
from securedata.corpus.state.tables import seal_table
from securedata.corpus.writer import Writer
from tests.kit.servers import Bao, Seaweed, openbao, seaweed

SECONDS = 2.0
CALLS = 3.0


def measure(work: Path, sizes: list[int], runs: int) -> tuple[list[Figure], dict[str, object]]:
    """Corpora of these numbers of rows on one server, rotated in turn."""
    found: dict[int, list[dict[str, float]]] = {rows: [] for rows in sizes}
    with (
        tempfile.TemporaryDirectory(dir=work) as folder,
        seaweed(Path(folder) / "weed") as server,
        openbao(Path(folder) / "bao") as bao,
    ):
        os.environ.update(server.environment() | {"AWS_EC2_METADATA_DISABLED": "true", "VAULT_TOKEN": bao.token})
        for rows in sizes:
            print(f"making a corpus of {rows:,} rows ...", file=sys.stderr)
            corpus(rows, bao.make_key(f"rows-{rows}"))
        for _ in range(runs):
            for rows in sizes:
                found[rows].append(_rotate(server, bao, rows))
    figures = []
    for rows, measured in found.items():
        name = f"securedata rotate, {rows:,} rows"
        seconds, calls = (estimate(one[what] for one in measured) for what in ("seconds", "calls"))
        figures.append(Figure(f"{name}: the whole command", SECONDS, seconds, at_most=True, unit="s"))
        figures.append(Figure(f"{name}: KMS calls", CALLS, calls, at_most=True, unit=""))
    return figures, {"runs": found}


def corpus(rows: int, kms: str) -> Reference:
    """A corpus whose parts are put as they are: planning a hundred commits of new rows would take an hour."""
    reference = create_corpus(f"s3://voice/rows-{rows}", f"rows-{rows}", kms=[kms]).reference
    writer = Writer(reference)
    parts = []
    for table in synthetic(rows):
        ref, sealed = seal_table(table, writer.corpus_id)
        writer.storage.put_new(ref.storage_key, [sealed])
        parts.append(ref)
    writer.transact(lambda attempt: Next(None, {"parts": tuple(parts)}))
    return reference


def _rotate(server: Seaweed, bao: Bao, rows: int) -> dict[str, float]:
    name = f"rows-{rows}"
    before, calls = _listed(server, name), _calls(bao, name)
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "securedata", "rotate", name], check=True, stdout=subprocess.DEVNULL, stderr=sys.stderr
    )
    seconds = time.perf_counter() - began
    after = _listed(server, name)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    if changed != {f"{name}/head"}:
        raise AssertionError(f"a rotation changed {sorted(changed)}")
    return {"seconds": seconds, "calls": _calls(bao, name) - calls}


def _calls(bao: Bao, name: str) -> int:
    return sum(bao.calls(what, name) for what in ("encrypt", "decrypt"))


def _listed(server: Seaweed, name: str) -> dict[str, Any]:
    pages = server.client().get_paginator("list_objects_v2").paginate(Bucket="voice", Prefix=f"{name}/")
    return {one["Key"]: (one["ETag"], one["LastModified"]) for page in pages for one in page.get("Contents", ())}
