"""`securedata hold --object-lock` as people use it: the commands of docs/lifecycle.md, on a bucket with Object Lock."""

from __future__ import annotations

import shlex

import pytest

from tests.kit.cli.commandline import Run
from tests.kit.corpora.cloud import Cloud
from tests.kit.corpora.recorded import Root
from tests.kit.docs.readme import all_blocks
from tests.kit.docs.tree import ROOT
from tests.kit.servers import Seaweed

pytestmark = pytest.mark.xdist_group("servers")

BUCKET = "held-by-command"


@pytest.fixture(scope="module")
def lockable(weed: Seaweed) -> str:
    weed.client().create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    return BUCKET


@pytest.fixture
def root(cloud: Cloud, lockable: str) -> Root:
    return cloud.make("voice-a", bucket=lockable)


def commands() -> list[list[str]]:
    page = (ROOT / "docs/lifecycle.md").read_text(encoding="utf-8")
    [block] = [one.text for one in all_blocks(page) if "--object-lock" in one.text]
    return [shlex.split(line.removeprefix("$ securedata ")) for line in block.splitlines()]


def test_the_commands_of_the_page(run: Run, root: Root) -> None:
    add, show, release = ([root.name if word == "voice-a" else word for word in one] for one in commands())
    assert run("operator", "init", "--name", "example.com/erasure").code == 0
    done = run(*(word for word in add if word != "--yes"))
    assert (done.code, done.out) == (2, "")
    assert "nothing was written" in done.err, done.err
    assert "confirm it with --yes" in done.err
    done = run(*add)
    assert done.code == 0
    assert "legal holds are on for 3 objects, " in done.out
    assert "until 'hold release', no erasure from this corpus is complete" in done.err
    [person] = run(*show, "--json").json["people"]
    assert [one["object_lock"] for one in person["holds"]] == [True]
    assert "legal hold" in run(*show).out
    done = run("erase", root.name, "--subject", "bob")
    assert done.code != 0
    assert "for case 2026-17, legal holds of Object Lock keep older versions" in done.error
    done = run(*add, "--json")
    locked = done.json["locked"]
    assert (done.code, locked["objects"], locked["missing"], done.json["unlocked"]) == (0, 3, 0, [])
    done = run(*release)
    assert done.code == 0
    assert "legal holds turned off in the bucket" in done.err
    done = run("erase", root.name, "--subject", "ann")
    assert (done.code, "deleted where visible" in done.out + done.err) == (0, True)
