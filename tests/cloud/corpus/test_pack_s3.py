"""Packs on S3: put in parts, read back by ranges, compacted, unpacked, and a purge of all their versions."""

from __future__ import annotations

import pytest

from securedata.corpus.check.verify import verify
from securedata.corpus.opening import open_corpus
from securedata.storage.s3.store import PART
from tests.cloud.conftest import VERSIONED
from tests.kit.cli.commandline import Run
from tests.kit.corpora.cloud import Cloud, keys_in
from tests.kit.corpora.contents import current, recordings_of
from tests.kit.sources.recordings import clip, many_clips

pytestmark = pytest.mark.xdist_group("servers")


def packs_in(cloud: Cloud, root: str) -> list[str]:
    return [key for key in keys_in(cloud.weed, root) if "/packs/" in key]


def test_a_pack_of_several_parts(cloud: Cloud, run: Run) -> None:
    long = [clip(f"bob/{number}.wav", 190.0, seed=number, speaker="bob") for number in range(3)]  # 6 MB each
    root = cloud.make(bucket=VERSIONED, clips=[*many_clips(12), *long])
    contents = {one.path: one.data for one in root.clips}
    before = open_corpus(root.reference)
    done = run("pack", root.name, "--json")
    assert (done.code, done.json["objects"], done.json["packs"]) == (0, 15, 1)
    assert done.json["bytes"] > PART, "it is uploaded in parts"
    assert recordings_of(root.reference) == contents
    with before:  # a reader in flight
        assert before.read("bob/1.wav") == long[1].data
    report = verify(root.reference)
    assert (report.ok, report.packs, report.dead_bytes, report.in_flight) == (True, 1, 0, 0)

    [first] = packs_in(cloud, root)
    assert run("remove", root.name, "bob/2.wav").code == 0
    del contents["bob/2.wav"]
    assert verify(root.reference).dead_bytes > 6_000_000
    done = run("pack", root.name, "--compact", "--now", "--json")
    assert (done.code, done.json["old_packs"]) == (0, 1)
    assert first not in packs_in(cloud, root)
    versions = cloud.weed.client().list_object_versions(Bucket=VERSIONED, Prefix=first)
    assert not versions.get("Versions")
    assert not versions.get("DeleteMarkers")
    assert recordings_of(root.reference) == contents

    assert run("pack", root.name, "--unpack", "--now").code == 0
    assert not packs_in(cloud, root)
    assert {one["pack"] for one in current(root.reference).values()} == {None}
    assert recordings_of(root.reference) == contents
    assert verify(root.reference).ok
