"""`securedata export --to-corpus`: what it prints, its exit codes, and its options."""

from __future__ import annotations

from pathlib import Path

import pytest

import securedata as sd
from securedata.lifecycle.receipt.operator import make_operator
from tests.kit.cli.commandline import Run
from tests.kit.corpora.recorded import Root, add_clips, flip_object, make_corpus
from tests.kit.sources.recordings import clip


@pytest.fixture
def root(tmp_path: Path) -> Root:
    clips = [clip(f"ann/{n}.wav", 0.2, seed=n) for n in range(3)]
    talk = clip("bob/t.wav", 1.0, seed=5, speaker="bob", segments=[(0, 8_000), (8_000, 8_000)])
    return make_corpus(tmp_path, [*clips, talk])


def test_for_people_and_for_programs(run: Run, root: Root, tmp_path: Path) -> None:
    to = tmp_path / "vendor-b"
    done = run("export", root, "--to-corpus", to, "--path", "ann/*", "--name", "vb")
    assert done.code == 0, done.err
    [line] = done.out.splitlines()
    assert line.startswith("3 recordings added, 0 replaced, 0 updated, 0 there already, of 3; 3 objects sealed again (")
    assert line.endswith("; 3 compared in both corpora")
    assert "known as 'vb', pin sd1" in done.err
    assert "back up" in done.err
    again = run("export", root, "--to-corpus", "vb", "--subject", "ann", "--subject", "bob", "--json")
    assert again.code == 0, again.err
    assert (again.json["added"], again.json["unchanged"], again.json["complete"]) == (2, 3, True)
    with sd.EncryptedAudioDataset("vb") as ds:
        assert len(ds) == 5
    assert not list(tmp_path.rglob("*.wav"))


def test_an_erasure_and_its_receipt_reach_it(run: Run, root: Root, tmp_path: Path) -> None:
    make_operator("example.com/erasure")
    assert run("export", root, "--to-corpus", tmp_path / "vendor-b", "-q").code == 0
    done = run("erase", root, "--subject", "ann", "--json")
    assert done.code == 0, done.err
    assert [one["state"] for one in done.json["derived"]] == ["erased"]
    for corpus in (root, tmp_path / "vendor-b"):
        assert "ann" not in run("ls", corpus, "-R").out


@pytest.mark.parametrize("made", ["export", "retain"])
def test_what_only_a_hold_there_keeps_has_exit_code_3(made: str, run: Run, root: Root, tmp_path: Path) -> None:
    to = tmp_path / "other"
    features = ("retain", root, "--to", to, "--features", "log-mel", "--set", "n_fft=400", "--workers", "0", "-q")
    again = {"export": ("export", root, "--to-corpus", to, "-q"), "retain": features}[made]
    assert run(*again).code == 0
    assert run("hold", "add", to, "--subject", "ann", "--case", "K-2").code == 0
    clips = [clip(f"ann/{n}.wav", 0.6, seed=20 + n) for n in range(3)]
    add_clips(root, clips, replace=True)
    done = run(*again)
    assert done.code == 3, done.err
    assert "under a hold, left as they were (3):" in done.err


def test_what_was_not_handed_on_is_listed_with_exit_code_1(run: Run, root: Root, tmp_path: Path) -> None:
    flip_object(root, "ann/0.wav")
    options = ("--to-corpus", tmp_path / "vendor-b", "--path", "ann", "--path", "bob/t@0-8000.wav")
    done = run("export", root, *options, "-q")
    assert (done.code, done.error) == (1, f"securedata: error: 2 recordings of {root} not handed on as chosen")
    assert "not handed on (1):\n  ann/0.wav: chunk 0 of object " in done.err
    assert "'securedata split'" in done.err
    again = run("export", root, *options, "--json")
    assert (again.code, again.json["shared"]) == (1, ["bob/t@0-8000.wav"])
    assert [one["error"] for one in again.json["failed"]] == ["AuthenticationFailed"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["./plain", "--to-corpus", "./b"], "leave one of them out"),
        ([], "name a folder, DEST, to write plaintext to, or a corpus"),
        (["--to-corpus", "./b", "--held", "2026-17"], "has no --held"),
        (["--to-corpus", "./b", "--overwrite"], "has no --overwrite"),
        (["--to-corpus", "./b", "--allow-plaintext-export"], "has no --allow-plaintext-export"),
        (["./plain", "--subject", "ann", "--allow-plaintext-export"], "which has no --subject"),
        (["./plain", "--verify-sample", "0", "--allow-plaintext-export"], "which has no --verify-sample"),
        (["./plain", "--path", "a", "--path", "b", "--allow-plaintext-export"], "several --path need --to-corpus"),
        (["--to-corpus", "./b", "--seed", "-1"], "not a positive whole number"),
    ],
)
def test_wrong_usage_has_exit_code_2(run: Run, root: Root, here: Path, options: list[str], reason: str) -> None:
    done = run("export", root, *options)
    assert (done.code, reason in done.err) == (2, True), done.err
    assert not Path(here, "b").exists()
    assert not Path(here, "plain").exists()
