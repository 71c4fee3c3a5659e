"""`securedata retain`: what it prints, its exit codes, and its options."""

from __future__ import annotations

from pathlib import Path

import pytest

import securedata as sd
from securedata.corpus.config import config_path
from securedata.corpus.writer import Writer
from securedata.lifecycle.derived import register_derived
from tests.kit.cli.commandline import Run
from tests.kit.corpora.recorded import Root, add_clips, make_corpus
from tests.kit.sources.recordings import Clip, clip


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(tmp_path, [clip(f"ann/{n}.wav", 0.2, seed=n) for n in range(3)])


def test_features_for_people_and_for_programs(run: Run, root: Root, tmp_path: Path) -> None:
    to = tmp_path / "features"
    done = run("retain", root, "--to", to, "--features", "mfcc", "--set", "n_mfcc=20", "--workers", "0", "--name", "mf")
    assert done.code == 0, done.err
    first, second = done.out.splitlines()
    assert first.startswith("features of 3 recordings added, 0 replaced, 0 there already, of 3; 19.3 kB became ")
    assert second.startswith("verified: 3 objects opened; 3 computed again, 3 of them identical, in ")
    assert "known as 'mf', pin sd1" in done.err
    assert "back up" in done.err
    again = run("retain", root, "--to", "mf", "--features", "mfcc", "--workers", "0", "--verify-sample", "0", "--json")
    assert again.code == 0, again.err
    assert (again.json["unchanged"], again.json["compared"], again.json["complete"]) == (3, 0, True)
    with sd.EncryptedFeatureDataset("mf") as ds:
        assert ds[0].features.shape[:2] == (1, 20)


def test_what_has_no_features_is_listed_with_exit_code_1(run: Run, root: Root, tmp_path: Path) -> None:
    add_clips(root, [Clip("ann/bad.flac", b"no audio", columns={
        "format": "FLAC", "subtype": "PCM_16", "sample_rate": 16_000, "channels": 1, "frames": 100})])  # fmt: skip
    done = run("retain", root, "--to", tmp_path / "features", "--features", "fbank", "--workers", "0", "-q")
    assert (done.code, done.error) == (1, f"securedata: error: 1 finding in the features of {root}")
    assert "without features (1):\n  ann/bad.flac: object " in done.err
    again = run("retain", root, "--to", tmp_path / "features", "--features", "fbank", "--workers", "0", "--json")
    assert (again.code, [one["error"] for one in again.json["failed"]]) == (1, ["UndecodableMedia"])


def test_what_stays_in_packs_of_erased_recordings_is_said(run: Run, root: Root, tmp_path: Path) -> None:
    add_clips(root, [clip("bob/0.wav", 0.2, seed=9, speaker="bob")])
    for words in (("pack", root), ("operator", "init", "--name", "example.com/erasure")):
        assert run(*words).code == 0
    assert run("hold", "add", root, "--subject", "bob", "--case", "7").code == 0
    arguments = ("--features", "fbank", "--workers", "0", "--erase-raw")
    done = run("retain", root, "--to", tmp_path / "features", *arguments)
    assert (done.code, "erased: 3 recordings" in done.out) == (3, True), done.err
    assert f"crypto-erased in 1 pack of {root}: " in done.out


def test_packs_of_corpora_that_earlier_erasures_reach_now_are_told_apart(run: Run, root: Root, tmp_path: Path) -> None:
    """Of two corpora made from the source, one is there again and has a pack, and one is elsewhere."""
    clips = [clip("eve/0.wav", 0.2, seed=8, speaker="eve"), clip("bob/0.wav", 0.2, seed=9, speaker="bob")]
    add_clips(root, clips[:1])
    run("operator", "init", "--name", "example.com/erasure")
    made, away = (make_corpus(tmp_path, clips, name) for name in ("made", "away"))
    for one in (made, away):
        register_derived(Writer(root.reference), Writer(one.reference).head)
    assert run("pack", "made").code == 0
    entry = run("info", "made", "--config").out
    for name in ("made", "away"):
        run("forget", name)
    assert run("erase", root, "--subject", "eve").code == 0
    with config_path().open("a", encoding="utf-8") as file:
        file.write(f"\n{entry}")
    done = run("retain", root, "--to", tmp_path / "features", "--features", "fbank", "--workers", "0", "--erase-raw")
    assert (done.code, "erased: 3 recordings" in done.out) == (0, True), done.err
    assert "crypto-erased in 1 pack of made: " in done.out
    assert f"pack of {root}: " not in done.out
    assert f"corpus {away.pin}, made from {root}, has still to be reached by earlier erasures: it is not in" in done.err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--features", "log-mel", "--set", "n_mels"], "--set takes ARGUMENT=VALUE"),
        (["--features", "log-mel", "--set", "mels=3"], "no argument 'mels'"),
        (["--features", "chroma"], "MODULE:FUNCTION"),
        (["--features", "log-mel", "--dtype", "int8"], "invalid choice"),
        (["--features", "log-mel", "--workers", "-1"], "not a positive whole number"),
        ([], "required: --features"),
    ],
)
def test_wrong_usage_has_exit_code_2(run: Run, root: Root, tmp_path: Path, options: list[str], reason: str) -> None:
    done = run("retain", root, "--to", tmp_path / "features", *options)
    assert done.code == 2
    assert reason in done.err
    assert not (tmp_path / "features").exists()
