"""Every command of docs/lifecycle.md, in its order, on one corpus."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import securedata as sd
from securedata.corpus.config import resolve
from securedata.corpus.writer import Writer
from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.corpora.shared import share, talk
from tests.kit.docs.readme import all_blocks
from tests.kit.docs.tree import ROOT
from tests.kit.sources.recordings import clip

PLACEHOLDER = "1200"
"""The number of rows, which depends on what the commands before have left."""


@pytest.fixture
def sealed(run: Run, here: Path, tmp_path: Path) -> None:
    """The corpus of the page: ann and bob, under one consent, and a shared recording of two others."""
    for name in ("ann", "bob"):
        for number in range(2):
            one = clip(f"{name}/{number}.wav", 0.2, seed=number)
            (tmp_path / "wavs" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "wavs" / one.path).write_bytes(one.data)
    consent = ("--consent", "C-17", "--purpose", "asr", "--purpose", "tts")
    assert run("encrypt", tmp_path / "wavs", "./voice-a", *PATTERN, *consent).code == 0
    Path("models").mkdir()
    with sd.EncryptedAudioDataset("voice-a") as ds:
        sd.save_lineage(ds, "models/asr.pt")
    share(Writer(resolve("voice-a")), talk(), [(0, 8000, "dan"), (8000, 8000, "eve")])


def test_the_commands_of_the_page(run: Run, sealed: None) -> None:
    text = (ROOT / "docs/lifecycle.md").read_text(encoding="utf-8")
    lines = [line for block in all_blocks(text) if block.language == "bash" for line in block.text.splitlines()]
    assert {line.split()[1] for line in lines} == {
        "rotate", "people", "hold", "export", "split", "operator", "erase", "consent", "retention", "forget",
        "lineage",
    }  # fmt: skip
    for line in lines:
        words = shlex.split(line)
        if PLACEHOLDER in words:
            rows = run("erase", "voice-a", "--all", "--dry-run", "--json").json["rows"]
            words = [str(max(rows, 1)) if word == PLACEHOLDER else word for word in words]
        done = run(*words[1:])
        assert done.code == 0, f"{line}: {done.err}"
        if words[1] == "split":
            assert "split 1 recording into 2 segments" in done.out
        if words[1] == "lineage":
            assert "models trained with this person's recordings: 1 of 1 record" in done.out
