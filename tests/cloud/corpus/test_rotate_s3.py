"""A corpus on S3 under OpenBao gets a fresh corpus key: what the KMS is asked, by its own log."""

from __future__ import annotations

from dataclasses import replace

import pytest

from securedata.corpus.config import write_entry
from securedata.errors import KMSDenied
from tests.cloud.conftest import VERSIONED
from tests.kit.cli.commandline import Run
from tests.kit.corpora.cloud import Cloud, keys_in
from tests.kit.corpora.contents import look, recordings_of

pytestmark = pytest.mark.xdist_group("servers")


def test_two_wraps_cost_one_unwrap_and_two_calls_each(cloud: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    root = cloud.make(bucket=VERSIONED)
    safe = cloud.bao.make_key(f"{cloud.prefix}-safe")
    assert run("wrap", "add", root.name, "--kms", safe).code == 0
    both = replace(root.reference, kms=(root.kms, safe))
    write_entry(root.name, both)
    names = (cloud.keys_of(root), f"{cloud.prefix}-safe")

    def calls() -> list[int]:
        return [cloud.bao.calls(what, name) for name in names for what in ("decrypt", "encrypt")]

    before, stored = calls(), set(keys_in(cloud.weed, root))
    assert run("rotate", root.name).code == 0
    assert [new - old for new, old in zip(calls(), before, strict=True)] == [2, 1, 1, 1]
    assert set(keys_in(cloud.weed, root)) == stored
    for kms in both.kms:
        assert recordings_of(replace(both, kms=(kms,))) == {one.path: one.data for one in root.clips}
    # who may only decrypt cannot rotate, and costs nothing
    generation = look(both).head.generation
    monkeypatch.setenv("VAULT_TOKEN", cloud.token(root))
    done = run("rotate", root.name, "--drop-wrap", safe)
    assert done.code == 1
    assert "nothing was committed" in done.error
    with pytest.raises(KMSDenied):
        look(replace(both, kms=(safe,)))
    assert look(both).head.generation == generation
