"""Who is in a corpus on S3 under OpenBao, and in one that was made from it."""

from __future__ import annotations

import pytest

from securedata.corpus.writer import Writer
from securedata.lifecycle.derived import register_derived
from tests.kit.cli.commandline import Run
from tests.kit.corpora.cloud import Cloud
from tests.kit.sources.recordings import clip

pytestmark = pytest.mark.xdist_group("servers")


def test_people_of_a_corpus_on_s3(cloud: Cloud, run: Run) -> None:
    root = cloud.make(clips=[clip(f"ann/{n}.wav", 0.5, seed=n) for n in range(2)])
    made = cloud.make("features", clips=[clip("ann/0.wav", 0.25)])
    register_derived(Writer(root.reference), Writer(made.reference).head)
    before = cloud.unwraps(root)
    done = run("people", root.name)
    assert (done.code, done.out.splitlines()[-1]) == (0, "1 person, 2 rows, 1.00 s of audio")
    assert cloud.unwraps(root) == before + 1, "one unwrap, as for any reader"
    found = run("people", root.name, "--subject", "ann", "--json").json
    assert (found["rows"], found["first_ingested"] > 1.7e9) == (2, True)
    assert [(one["name"], one["rows"]) for one in found["derived"]] == [(made.name, 1)]
    [key] = found["kms"]
    assert (key["trusted"], cloud.keys_of(root) in key["uri"]) == (True, True)
    assert run("people", root.name, "--requests").out == "0 open requests\n"
    assert run("people", root.name, "--report", "--json").json["people"] == 1
