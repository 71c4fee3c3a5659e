"""A corpus on S3 under OpenBao gets a fresh corpus key: what the KMS is asked, by its own log."""

from __future__ import annotations

from dataclasses import replace

import pytest

from securedata.corpus.config import write_entry
from securedata.corpus.objects.fetch import PIECE
from securedata.corpus.opening import open_corpus
from securedata.errors import KMSDenied
from securedata.storage.s3.store import S3Storage
from tests.cloud.conftest import VERSIONED
from tests.kit.cli.commandline import Run
from tests.kit.corpora.cloud import Cloud, keys_in
from tests.kit.corpora.contents import current, look, recordings_of
from tests.kit.sources.recordings import clip, many_clips

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


def test_every_object_is_sealed_again(cloud: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    long = clip("bob/long.wav", seconds=PIECE / 2 / 16_000 + 1, speaker="bob")
    root = cloud.make(bucket=VERSIONED, clips=[*many_clips(40), long])
    assert len(long.data) > PIECE
    before, contents = current(root.reference), {one.path: one.data for one in root.clips}
    with open_corpus(root.reference) as opened:
        done = run("rotate", root.name, "--data-keys", "--grace", "3d", "--json")
        assert done.code == 0
        assert done.json["data_keys"]["objects"] == 41
        for path in (long.path, root.clips[0].path):
            assert bytes(opened.read(path)) == contents[path]
    after = current(root.reference)
    assert {path: one["origin"] for path, one in after.items()} == {p: one["object_id"] for p, one in before.items()}
    assert not {one["object_id"] for one in after.values()} & {one["object_id"] for one in before.values()}
    assert recordings_of(root) == contents
    now = S3Storage.now
    for days, left in {1.5: 41, 3.5: 0}.items():
        monkeypatch.setattr(S3Storage, "now", lambda self, days=days: now(self) + days * 24 * 3600)
        assert run("verify", root.name, "--prune", "--json").json["ok"]
        stored = keys_in(cloud.weed, root)
        assert sum(one["object_id"].hex() in key for key in stored for one in before.values()) == left
    assert recordings_of(root) == contents
