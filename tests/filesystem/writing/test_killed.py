"""A process that writes through fsspec is killed with -9 at its changes to files: every call is done or not begun."""

from __future__ import annotations

import shutil
from pathlib import Path

import fsspec
import pytest

import securedata
from securedata.corpus.config import Reference
from securedata.filesystem import SecuredataFileSystem
from securedata.filesystem.writing.batch import SMALL
from tests.conftest import FULL, Note
from tests.filesystem.corpus import audio
from tests.kit import killed

BIG = bytes(SMALL + 1)
STEP = 1 if FULL else 23
"""How many changes lie between two at which it is killed."""

BEFORE = {"ann/a.wav": audio(1, "WAV"), "ann/b.wav": audio(2, "WAV")}
WRITTEN = BEFORE | {"big": BIG}
TOGETHER = {"big": BIG, "x": b"x", "y": b"y", "moved.wav": BEFORE["ann/a.wav"], "copy.wav": BEFORE["ann/b.wav"]}
AFTER = {name: content for name, content in TOGETHER.items() if name != "y"} | {"ann/b.wav": b"other"}


def opened() -> SecuredataFileSystem:
    SecuredataFileSystem.clear_instance_cache()
    return fsspec.filesystem("securedata", root="voice-a", writable=True, subject="ann")


def work(_: list[str]) -> int:
    """What a writer does, told so that it can be run again."""
    fs = opened()
    if not fs.exists("moved.wav"):
        with fs.open("big", "wb") as file:
            file.write(BIG)
        with fs.transaction:
            fs.pipe({"x": b"x", "y": b"y"})
            fs.cp("ann/b.wav", "copy.wav")
            fs.mv("ann/a.wav", "moved.wav")
            fs.rm("ann/b.wav")
    fs.pipe_file("ann/b.wav", b"other")
    if fs.exists("y"):
        fs.rm("y")
    return 0


def content() -> dict[str, bytes]:
    fs = opened()
    return {path: fs.cat_file(path) for path in fs.find("")}


def test_a_writer_that_is_killed(
    reference: Reference, own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: Note
) -> None:
    monkeypatch.setattr(killed, "main", work)
    places = [own_home, tmp_path / "sealed"]
    opened().pipe(BEFORE)
    for place in places:
        shutil.copytree(place, tmp_path / "saved" / place.name)

    def again() -> None:
        for place in places:
            shutil.rmtree(place)
            shutil.copytree(tmp_path / "saved" / place.name, place)

    changes = killed.ran([]).changes
    assert content() == AFTER
    states = [BEFORE, WRITTEN, TOGETHER, {**TOGETHER, "ann/b.wav": b"other"}, AFTER]
    seen = set()
    for at in range(1, changes + 1, STEP):
        again()
        done = killed.ran([], at)
        assert done.code is None or done.changes < at
        assert content() in states, at
        seen.add(states.index(content()))
        assert securedata.verify(reference).ok, at
        assert killed.ran([]).code == 0
        assert content() == AFTER, at
        assert securedata.verify(reference).ok, at
    assert len(seen) > 2
    note(f"{len(range(1, changes + 1, STEP))} of {changes} changes")
