"""Benchmarks of loading, ingest and the KMS run on real servers, at sizes that prove nothing else; so does the demo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.test_benchmarks import run
from tests.kit.docs.tree import ROOT
from tests.kit.sources.recordings import clip, write_clips

pytestmark = pytest.mark.xdist_group("servers")


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Two 'speakers' of noise."""
    names = [f"{speaker}/{number}.wav" for speaker in ("one", "two") for number in range(4)]
    return write_clips(tmp_path / "speech", [clip(name, 3, 8_000, seed=seed) for seed, name in enumerate(names)])


@pytest.mark.parametrize(
    "sections", [("share-wav",), pytest.param(("latency-0ms", "share-wav"), marks=pytest.mark.full)], ids=len
)
def test_loading(tmp_path: Path, speech: Path, sections: tuple[str, ...]) -> None:
    small = ("--clips", 4, "--batch", 2, "--rounds", 2, "--slice", 0.01, "--least", 2, "--speech", speech)
    found = run("loading", *sections, "--no-peers", *small, out=tmp_path)
    measured = found["results"]["sections"]
    assert set(measured) == set(sections)
    for section in measured.values():
        for rounds in section["contenders"].values():
            assert len(rounds) == 2
            assert all(one["samples"] > 0 and one["cpu"] > 0 for one in rounds)
    if "latency-0ms" in sections:
        ours = {"securedata", "securedata, decryption taken out", "securedata, plaintext in RAM"}
        assert set(measured["latency-0ms"]["contenders"]) == ours | {"boto3", "boto3 + Fernet"}
        assert (tmp_path / "loading.png").read_bytes().startswith(b"\x89PNG")
    assert all(one["sealing"] > 0 for one in measured["share-wav"]["contenders"]["securedata, clocked"])


@pytest.mark.full
def test_ingest(tmp_path: Path, speech: Path) -> None:
    small = ("--clips", 4, "--rounds", 2, "--no-peers", "--speech", speech)
    found = run("ingest", *small, out=tmp_path)
    measured = found["results"]["contenders"]
    assert set(measured) == {"securedata", "boto3"}
    assert all(one["files"] == 4 and one["wall"] > 0 for rounds in measured.values() for one in rounds)
    assert [len(rounds) for rounds in measured.values()] == [2, 2]


@pytest.mark.parametrize(
    "sections", [("data-keys",), pytest.param(("rotate", "data-keys", "retain"), marks=pytest.mark.full)], ids=len
)
def test_lifecycle(tmp_path: Path, speech: Path, sections: tuple[str, ...]) -> None:
    small = ("--rows", 2_000, "--clips", 4, "--runs", 1, "--speech", speech)
    found = run("lifecycle", *sections, *small, out=tmp_path)
    measured = found["results"]["sections"]
    assert set(measured) == set(sections)
    if "rotate" in sections:
        assert [one["calls"] for one in measured["rotate"]["runs"]["2000"]] == [3]
    if "retain" in sections:
        assert all(one["retain"] > 0 for one in measured["retain"]["local disk"])
    [one] = measured["data-keys"]["rounds"]
    assert min(one["ingest"], one["data keys"]) > 0


@pytest.mark.full
def test_kms(tmp_path: Path, speech: Path) -> None:
    small = ("--clips", 6, "--batch", 2, "--workers", 2, "--epochs", 2, "--rounds", 1, "--methods", "fork")
    found = run("kms", *small, "--no-peers", "--speech", speech, out=tmp_path)
    (one,) = found["results"]
    assert (one["calls"], one["samples"]) == (1, 12)
    assert 0 < one["first"] < one["wall"]


@pytest.mark.full
def test_s3ec(tmp_path: Path, speech: Path) -> None:
    found = run("s3ec", "--clips", 6, "--rounds", 2, "--no-peers", "--speech", speech, out=tmp_path)
    assert [(one["objects"], one["calls"]) for one in found["results"]] == [(6, 1), (6, 1)]
    assert all(one["rate"] > 0 for one in found["results"])


@pytest.mark.full
def test_shards(tmp_path: Path, speech: Path) -> None:
    small = ("--clips", 8, "--short", 8, "--batch", 2, "--rounds", 1, "--no-peers", "--speech", speech)
    found = run("shards", "flac-0ms", *small, out=tmp_path)
    measured = found["results"]["sections"]["flac-0ms"]
    assert set(measured) == {"securedata", "plaintext in RAM"}
    for [one] in measured.values():
        assert one["samples"] == 8
        assert min(one["rate"], one["cpu"], one["children"], one["checksum"]) > 0


@pytest.mark.full
def test_demo_cloud(tmp_path: Path, speech: Path) -> None:
    environment = {**os.environ, "SPEAKERS": "{speaker}/*"}
    command = [sys.executable, "-m", "demo.run", "--cloud", "--corpus", str(speech), "--workdir", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n9/9  " in done.stdout
    assert "Refused with the trainer's own keys, without the role: AccessDenied." in done.stdout
    assert "Refused under the role, with another corpus's KMS token: KMSDenied." in done.stdout
    results = json.loads((tmp_path / "out" / "results-cloud.json").read_text())
    assert results["found_in_store"] == 0
    assert results["kms_calls"]["open"] == 1


def printed(name: str, *arguments: object) -> list[str]:
    """The lines of a benchmark that writes no file."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_writes() -> None:
    lines = printed("writes", "--files", 3, "--singles", 2, "--rounds", 1, "--bytes", 100)
    assert [line.partition(":")[0] for line in lines] == ["folder", "s3"]


@pytest.mark.full
def test_scale() -> None:
    lines = printed("scale", "--files", 20, "--rows", 1_000)
    assert lines[2].startswith("encrypt: 20 objects in ")
    assert lines[3].startswith("verify: 20 objects in ")


@pytest.mark.full
def test_packs() -> None:
    lines = printed("packs", "--objects", 6, "--bytes", 1_000, "--reads", 4, "--rounds", 1)
    assert [line.count("random reads") for line in lines[-3:]] == [1, 1, 1]


@pytest.mark.full
def test_streaming(tmp_path: Path) -> None:
    found = run("streaming", "first", "opening", "--rows", 1_000_000, "--rounds", 1, "--local", out=tmp_path)
    assert all(figure["measured"]["median"] > 0 for figure in found["figures"])
    assert len(found["figures"]) == 4
