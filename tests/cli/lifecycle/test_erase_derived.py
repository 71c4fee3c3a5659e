"""`securedata erase` and corpora made from the corpus that this machine does not have, or cannot open."""

from __future__ import annotations

from pathlib import Path

import pytest

from securedata.corpus.config import config_path
from securedata.corpus.writer import Writer
from securedata.lifecycle.derived import register_derived
from tests.kit.cli.commandline import Run
from tests.kit.corpora.contents import manifest_of
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import clip


@pytest.fixture
def made(run: Run, root: Root, tmp_path: Path) -> Root:
    """A corpus made from `root`, with a recording of ann and one of bob."""
    run("operator", "init", "--name", "example.com/erasure")
    clips = [clip("ann/0.wav", 0.2, speaker="ann"), clip("bob/0.wav", 0.2, seed=1, speaker="bob")]
    made = make_corpus(tmp_path, clips, "features")
    register_derived(Writer(root.reference), Writer(made.reference).head)
    return made


def left(root: Root) -> list[str]:
    return [str(one["path"]) for one in manifest_of(root, "path")]


def test_it_is_shown_until_it_is_reached(run: Run, root: Root, made: Root) -> None:
    entry = run("info", "features", "--config").out
    assert run("forget", "features").code == 0
    done = run("erase", root.name, "--subject", "ann")
    assert (done.code, f"corpus {made.pin}, made from this one: not reached" in done.out) == (0, True)
    assert f"{made.pin}, made from this one, was not reached: it is not in your config" in done.err
    assert run("info", root.name, "--json").json["unreached_corpora"] == 1
    assert "have still to reach: 1; 'securedata erase voice-a --finish'" in run("verify", root.name).out
    done = run("erase", root.name, "--finish")
    assert (done.code, done.out, "has still to be reached: it is not in" in done.err) == (0, "", True)
    with config_path().open("a", encoding="utf-8") as file:
        file.write(f"\n{entry}")
    done = run("erase", root.name, "--finish")
    first, second = done.out.splitlines()
    assert (done.code, first) == (
        0,
        f"corpus {made.pin}, made from this one: erased what earlier erasures had not reached there",
    )
    receipt = second.partition(" says so now: ")[2]
    assert f"Derived corpus {made.pin}: erased, by the receipt" in run("receipt", "verify", receipt).out
    assert left(made) == ["bob/0.wav"]
    assert run("info", root.name, "--json").json["unreached_corpora"] == 0
    assert "have still to reach" not in run("verify", root.name).out
    assert run("erase", root.name, "--finish").out == "no erasure is unfinished\n"


def test_it_cannot_be_opened(run: Run, root: Root, made: Root) -> None:
    [uri] = made.reference.kms
    key = Path(uri.removeprefix("local://"))
    kept = key.read_bytes()
    key.unlink()
    assert run("erase", root.name, "--subject", "ann").code == 1
    assert len(left(root)) == 6, "nothing was erased here either"
    done = run("erase", root.name, "--subject", "ann", "--derived-later", "--json")
    assert (done.code, done.json["derived"][0]["state"], done.json["missed"][0]["state"]) == (
        0,
        "not reached",
        "failed",
    )
    done = run("erase", root.name, "--finish", "--json")
    assert (done.code, [one["state"] for one in done.json["reached"]]) == (1, ["failed"])
    key.write_bytes(kept)
    key.chmod(0o600)
    run("hold", "add", "features", "--subject", "ann", "--case", "7")
    done = run("erase", root.name, "--finish", "--json")
    assert (done.code, [one["state"] for one in done.json["reached"]]) == (3, ["held"])
    run("hold", "release", "features", "--subject", "ann", "--case", "7")
    done = run("erase", root.name, "--subject", "bob", "--yes", "3")
    assert done.code == 0
    assert "erased what earlier erasures had not reached there" in done.out
    assert left(made) == []


def test_what_stays_in_its_packs_is_said(run: Run, root: Root, made: Root) -> None:
    for one in (root, made):
        assert run("pack", one.name).code == 0
    said = run("erase", root.name, "--subject", "ann").out
    for name in (root.name, "features"):
        assert f"crypto-erased in 1 pack of {name}: the sealed bytes stay there" in said
        assert f"'securedata pack {name} --compact 0 --now'" in said
    receipts = run("erase", root.name, "--subject", "bob", "--yes", "3", "--json").json["receipts"]
    assert {one["corpus"] for one in receipts} == {"features", root.name}


def test_what_stays_in_its_packs_is_said_when_it_is_reached_later(run: Run, root: Root, made: Root) -> None:
    assert run("pack", made.name).code == 0
    entry = run("info", "features", "--config").out
    run("forget", "features")
    assert "in 1 pack" not in run("erase", root.name, "--subject", "ann").out
    with config_path().open("a", encoding="utf-8") as file:
        file.write(f"\n{entry}")
    done = run("erase", root.name, "--finish")
    assert (done.code, "crypto-erased in 1 pack of features: " in done.out) == (0, True)


def test_it_is_gone(run: Run, root: Root, made: Root) -> None:
    refused = run("erase", root.name, "--derived-gone", made.pin)
    assert (refused.code, "in your config as features" in refused.err) == (2, True)
    run("forget", "features")
    run("erase", root.name, "--subject", "ann")
    done = run("erase", root.name, "--derived-gone", made.pin, "--json")
    assert (done.code, done.json["erasures"]) == (0, 1)
    [completed] = done.json["completed"]
    said = run("receipt", "verify", completed["path"]).out
    assert f"Stated by the operator, not checked: the corpus {made.pin}, made from this one: it is gone" in said
    assert run("erase", root.name, "--subject", "bob", "--yes", "3", "--json").json["derived"] == []


@pytest.mark.parametrize("what", [["--finish"], ["--derived-gone", "sd1x"]])
def test_a_dry_run_writes_nothing(run: Run, root: Root, what: list[str]) -> None:
    assert run("erase", root.name, *what, "--dry-run").code == 2
