"""Every benchmark runs, at sizes that prove nothing but that, and writes JSON that others can read."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kit.docs.tree import ROOT
from tests.kit.sources.recordings import clip, write_clips


def run(name: str, *arguments: object, out: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
    assert found["benchmark"] == name
    assert {"cpu", "flags", "packages", "python", "load"} <= found["machine"].keys()
    for figure in found["figures"]:
        assert figure["verdict"] in ("met", "met (edge)", "not met")
        assert math.isfinite(figure["measured"]["median"])
        assert figure["workload"] in done.stdout
    return found


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two 'speakers' of noise, 20 seconds each."""
    names = [f"{speaker}/{number}.wav" for speaker in ("one", "two") for number in range(2)]
    clips = [clip(name, 10, 8_000, seed=seed) for seed, name in enumerate(names)]
    return write_clips(tmp_path_factory.mktemp("speech"), clips)


def test_decrypt(tmp_path: Path) -> None:
    small = ("--sizes", "100kB,4000", "--rounds", 2, "--turns", 1, "--slice", 0.001)
    found = run("decrypt", "--no-peers", *small, out=tmp_path)
    names = {(result["direction"], result["family"]) for result in found["results"]}
    ours = {"securedata format", "securedata format, new buffers", "pyca Cobblestone", "one-shot AES-GCM", "Fernet"}
    assert names == {(d, name) for d in ("open", "seal") for name in ours | {"memcpy"}} | {
        ("open", "securedata reader")
    }
    assert (tmp_path / "decrypt.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "sections", [("again",), pytest.param(("clips", "million", "again"), marks=pytest.mark.full)], ids=len
)
def test_corpus(tmp_path: Path, speech: Path, sections: tuple[str, ...]) -> None:
    sizes = ("--clips", 3, "--rows", 400, "--few", 40, "--files", 30, "--runs", 1, "--speech", speech)
    workers = ("--methods", "fork", "--ttl", 0.5)
    found = run("corpus", *sections, *sizes, *workers, "--work", tmp_path / "work", out=tmp_path)
    assert set(found["results"]) == set(sections)
    if "million" not in sections:
        return
    for pairs in found["results"]["million"]["workers"]["runs"].values():
        for worker in pairs[0]["ours"]["workers"]:
            assert worker["unwraps"] >= 1, "a worker that did not renew its keys was not measured as the figure says"


@pytest.mark.full
def test_releases(tmp_path: Path) -> None:
    only = ("--only", "batch", "range", "cat", "open", "again")
    small = ("--files", 5, "--rows", 100, "--rounds", 1, "--passes", 1, "--slice", 0.001)
    found = run("releases", ROOT, *only, *small, out=tmp_path)
    assert list(found["results"]) == list(only[1:])
    assert all(one["old"] > 0 and one["new"] > 0 for rounds in found["results"].values() for one in rounds)


def test_releases_refuses_a_folder_without_a_release(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.releases", str(tmp_path), "--no-s3", "--only", "wav"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "has no securedata" in done.stderr


def test_a_section_that_cannot_run_leaves_a_remark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import corpus
    from benchmarks.sections import lhotse_cuts

    monkeypatch.setattr(lhotse_cuts, "ECO", tmp_path / "none")
    speech = write_clips(tmp_path / "speech", [clip(f"{n}.wav", 1, 8_000, seed=n) for n in range(2)])
    arguments = ["lhotse", "--clips", "2", "--speech", str(speech), "--work", str(tmp_path), "--out", str(tmp_path)]
    assert corpus.main(arguments) == 0
    assert "lhotse: not run: there is no .venv-eco" in capsys.readouterr().out
    assert json.loads((tmp_path / "corpus.json").read_text())["figures"] == []


def test_worker_answers_over_the_pipe() -> None:
    # The peers are not installed here; the worker, its protocol and the clock are the same with what is.
    from benchmarks.peers import venv as peers

    with peers.Worker(sys.executable, ["cryptography"]) as worker:
        ((_, (variant,)),) = worker.families.items()
        remote = peers.Remote(worker, variant)
        remote.prepare(4_000, 2)
        number = remote.fit("open", 0.001)
        took = remote.run("open", number)
        remote.forget()
    assert took.calls == number
    assert took.cpu > 0


def test_worker_that_dies_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    from benchmarks.peers import venv as peers

    with peers.Worker(sys.executable, ["cryptography"]) as worker, pytest.raises(RuntimeError, match="ended with 1"):
        worker.ask(do="no such thing")
    assert "unknown request" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("file", "peers"),
    [
        ("decrypt", {"tink", "aws-encryption-sdk", "cryptography"}),
        ("loading", {"s3fs", "s3torchconnector", "litdata"}),
        ("shards", {"webdataset", "mosaicml-streaming", "litdata"}),
        ("hf", {"datasets", "s3fs", "speechbrain"}),
        ("s3ec", {"amazon-s3-encryption-client-python", "cryptography"}),
    ],
)
def test_pins_name_every_peer(file: str, peers: set[str]) -> None:
    text = (ROOT / "benchmarks" / "peers" / f"{file}-requirements.txt").read_text()
    pins = [line for line in text.splitlines() if line[0] != "#"]
    assert all("==" in line for line in pins)
    assert peers <= {line.partition("==")[0] for line in pins}


def test_interval_is_the_order_statistic_one() -> None:
    from benchmarks.tools.stats import estimate

    seven = estimate([7.0, 1.0, 2.0, 3.0, 6.0, 5.0, 4.0])
    assert (seven.median, seven.low, seven.high) == (4.0, 1.0, 7.0)
    assert seven.confidence == pytest.approx(1 - 2 / 2**7)
    # the 3rd and the 13th of 15: outside lie 0, 1 or 2 of 15 fair coins at either end
    fifteen = estimate(float(i) for i in range(1, 16))
    assert (fifteen.low, fifteen.high) == (4.0, 12.0)
    assert fifteen.confidence == pytest.approx(1 - 2 * (1 + 15 + 105 + 455) / 2**15)
    assert estimate([1.0, 2.0]).confidence == pytest.approx(0.5)
    with pytest.raises(ValueError, match="no runs"):
        estimate([])


@pytest.mark.parametrize(
    ("low", "high", "at_most", "verdict"),
    [
        (0.95, 1.2, False, "met"),
        (0.85, 0.95, False, "met (edge)"),
        (0.5, 0.89, False, "not met"),
        (0.8, 1.1, True, "met"),
        (1.1, 1.2, True, "met (edge)"),
        (1.12, 1.2, True, "not met"),
    ],
)
def test_verdict(low: float, high: float, at_most: bool, verdict: str) -> None:
    from benchmarks.tools.stats import Estimate, Figure

    assert Figure("x", 1.0, Estimate((low + high) / 2, low, high, 0.98, 7), at_most).verdict == verdict


def test_table_lines_up() -> None:
    from benchmarks.tools.stats import number, table

    assert table(["a", "bb"], [["ccc", "d"]]).splitlines() == ["| a   | bb |", "| --- | -- |", "| ccc | d  |"]
    assert [number(x) for x in (0.0123456, 1.23456, 123.456, 12345.6, 0.0)] == ["0.0123", "1.23", "123", "12,346", "0"]


@pytest.mark.full
def test_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In this process: another one would import torch once more."""
    from benchmarks import features

    voices = [(voice, n) for voice in ("one", "two") for n in range(5)]
    speech = write_clips(
        tmp_path / "speech", [clip(f"{voice}/{n}.wav", 0.5, 8_000, seed=n + 7 * len(voice)) for voice, n in voices]
    )
    assert features.main(["--speech", str(speech), "--work", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "features.json").read_text())["results"]
    assert (found["voices"], found["utterances"], found["syllables"]) == (2, 10, 0)
    assert len(found["rows"]) == 1 + len(features.SETS)
    shown = capsys.readouterr().out
    for row in found["rows"]:
        assert row["bytes per hour"] > 0
        assert 0 <= row["identification"][1] <= row["identification"][0] <= row["identification"][2] <= 1
        assert row["features"] in shown
        assert row["vowels"] is None


def test_equal_error_rate_and_bootstrap() -> None:
    from benchmarks.tools.attacker import bootstrapped, equal_error_rate

    target = np.array([True] * 50 + [False] * 50)
    scores = np.concatenate([np.linspace(1, 2, 50), np.linspace(0, 0.9, 50)])
    assert equal_error_rate(scores, target) == pytest.approx(0, abs=0.02)
    assert equal_error_rate(-scores, target) == pytest.approx(1, abs=0.02)
    mixed = np.random.default_rng(0).standard_normal(4_000)
    assert equal_error_rate(mixed, np.arange(4_000) % 2 == 0) == pytest.approx(0.5, abs=0.03)
    right = np.array([1.0] * 30 + [0.0] * 30)
    voices = np.repeat(np.arange(6), 10)
    found = bootstrapped(lambda rows: float(right[rows].mean()), voices)
    assert found.value == 0.5
    assert found.low <= 1 / 6  # by voices: three of six are always right, and none of the others
    assert found.high >= 5 / 6
