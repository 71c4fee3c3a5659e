"""The file in which this machine notes what it has seen: damaged, unreadable, absurd, in no folder of its own."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.state.seen import recall
from securedata.errors import OlderGeneration
from tests.kit.cli.commandline import PATTERN, runner
from tests.kit.corpora.contents import open_quietly
from tests.kit.corpora.harmed import put_back
from tests.kit.corpora.recorded import Root, add_clips
from tests.kit.sources.recordings import clip, write_clips


@pytest.fixture(params=["pinned", "no pin"])
def reference(root: Root, request: pytest.FixtureRequest) -> Reference:
    """The ways in which a reader knows which corpus it is; the last one only once the head was read."""
    return root.reference if request.param == "pinned" else replace(root.reference, pins=())


NUMBERS = ["x", "3", True, -3, 2.5, 1e300, 10**300, 2**45, None, float("inf"), float("nan"), [3]]
"""What is no generation; a huge one would be newer than any head, and the advice to accept each of them by hand."""
DAMAGED = [
    *("", "{", "[]", "null", "[" * 100_000, "\ufeff" + json.dumps({"generation": 3, "superseded": []})),
    *(json.dumps({"generation": number, "superseded": []}) for number in NUMBERS),
    *(json.dumps({"generation": 3, "superseded": keys}) for keys in (None, {}, "", "ab", ["ab"], [1], [["ab" * 16]])),
    *(json.dumps({"generation": 3, "superseded": [], "write_id": id}) for id in ("", "ab", 1, [])),
]


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_state_is_one_warning_for_a_reader(
    text: str, root: Root, reference: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    put_back(root)
    file = root.state_file
    file.write_text(text)
    with caplog.at_level(logging.WARNING, "securedata"):
        for _ in range(2):
            with open_quietly(reference) as corpus:
                corpus.refresh()
    [record] = caplog.records
    assert f"{file} is damaged" in record.getMessage()
    assert file.read_text() == text


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_state_stops_a_writer_until_a_generation_is_accepted(
    text: str, root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    root.state_file.write_text(text)
    run = runner(capsys)
    refused = run("verify", root, "--prune")
    assert refused.code == 1
    assert "is damaged" in refused.error
    assert run("verify", root, "--prune", "--accept-generation", 3).code == 0
    seen = recall(root.reference.pins[0].corpus_id)
    assert seen
    assert seen.generation == 4  # of the horizon


def test_an_accepted_generation_is_accepted_by_encrypt_too(
    root: Root, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The look for what an interrupted run left read the state first, and ended there."""
    wavs = write_clips(tmp_path / "wavs")
    run = runner(capsys)
    root.state_file.write_text("{}")
    refused = run("encrypt", wavs, root, *PATTERN)
    assert refused.code == 1
    assert "is damaged" in refused.error
    done = run("encrypt", wavs, root, *PATTERN, "--replace", "--accept-generation", 3)
    assert done.code == 0, done.err
    seen = recall(root.reference.pins[0].corpus_id)
    assert seen
    assert seen.generation == 4


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "a folder": lambda file: file.mkdir(),
    "a FIFO": os.mkfifo,
    "a device": lambda file: file.symlink_to("/dev/zero"),
    "a link to itself": lambda file: file.symlink_to(file),
    "as large as a disk": lambda file: (file.touch(), os.truncate(file, 2**40)),
    "in no folder": lambda file: (file.parent.rmdir(), file.parent.write_bytes(b"")),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_state_that_cannot_be_read_is_one_warning_for_a_reader(
    root: Root, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = root.state_file
    file.unlink()
    UNREADABLE[kind](file)
    with caplog.at_level(logging.WARNING, "securedata"):
        for _ in range(2):
            assert len(open_quietly(root.reference)) == 2
    [record] = caplog.records
    assert "cannot be read" in record.getMessage()


def test_without_a_home_there_is_one_warning_for_a_reader(
    root: Root, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", none)
    with caplog.at_level(logging.WARNING, "securedata"):
        for _ in range(2):
            assert len(open_quietly(root.reference)) == 2
    [record] = caplog.records
    assert (
        "without a home folder, what was seen of a corpus cannot be looked up; set XDG_STATE_HOME"
        in record.getMessage()
    )


def test_a_relative_state_folder_is_none(root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be another one in each working directory: the XDG specification says that such a path is ignored."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    add_clips(root, [clip("ann/2.wav", 0.1, seed=2)])
    assert not (tmp_path / "state").exists()
    put_back(root)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(OlderGeneration, match="generation 3, but 4 was seen"):
        open_quietly(root.reference)
