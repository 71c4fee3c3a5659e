"""Another writer is at work while an ingest corrects words, or a thread renews the keys: none gets another's words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.config import resolve
from securedata.corpus.opening import open_corpus
from securedata.corpus.writer import Writer
from securedata.ingest import corrections, pipeline
from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.sources.recordings import clip

PEOPLE = ("ann", "bob", "cid")


@pytest.fixture
def wavs(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three recordings, each in a part of its own, with the words of their people."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "wavs"
    words = tmp_path / "words.tsv"
    for n, name in enumerate(PEOPLE):
        (folder / name).mkdir(parents=True)
        (folder / name / "u.wav").write_bytes(clip("u.wav", 0.2, seed=n).data)
        words.write_text("path\ttext\n" + "".join(f"{one}/u.wav\twords of {one}\n" for one in PEOPLE[: n + 1]))
        assert run("encrypt", folder, "./sealed", *PATTERN, "--manifest", words).code == 0
    assert len(Writer(resolve("sealed")).head.parts) == 3
    return folder


def better(wavs: Path) -> Path:
    """A manifest that corrects the words of bob, and says nothing of the others."""
    words = wavs.parent / "better.tsv"
    words.write_text("path\ttext\nbob/u.wav\tbetter words of bob\n")
    return words


def spoken() -> dict[str, str]:
    with open_corpus("sealed") as corpus:
        return {corpus.value("path", i): corpus.value("transcript", i) for i in range(len(corpus))}


def between(monkeypatch: pytest.MonkeyPatch, time: int, act: Callable[[Writer], object]) -> list[int]:
    """Have another writer act right after that look at the corpus, and a thread of the ingest read the head again."""
    looks: list[int] = []
    real_classify, real_init = pipeline.classify, Writer.__init__
    ours: list[Writer] = []

    def init(self: Writer, *given: Any, **more: Any) -> None:
        real_init(self, *given, **more)
        ours.append(self)

    def classify(*given: Any, **more: Any) -> Any:
        known = real_classify(*given, **more)
        looks.append(len(looks))
        if looks[-1] == time:
            mine = ours[0]
            act(Writer(resolve("sealed")))
            mine._lease.opened = mine._lease.read()  # as a renewal in a thread does, which forgets no parts
        return known

    monkeypatch.setattr(Writer, "__init__", init)
    monkeypatch.setattr(pipeline, "classify", classify)
    monkeypatch.setattr(corrections, "classify", classify)
    return looks


@pytest.mark.parametrize("time", [0, 1])
def test_words_go_to_the_part_that_was_looked_at(
    time: int, run: Run, wavs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = between(monkeypatch, time, lambda other: other.commit(remove=["ann/u.wav"]))
    os.unlink(wavs / "ann" / "u.wav")
    done = run("encrypt", wavs, "sealed", *PATTERN, "--manifest", better(wavs), "--json")
    assert (done.code, done.json["updated"]) == (0, 1), done.err
    assert len(looks) > time
    assert spoken() == {"bob/u.wav": "better words of bob", "cid/u.wav": "words of cid"}


def test_a_digest_is_of_the_part_that_was_looked_at(run: Run, wavs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    between(monkeypatch, 0, lambda other: other.commit(remove=["ann/u.wav"]))
    os.unlink(wavs / "ann" / "u.wav")
    os.utime(wavs / "bob" / "u.wav", ns=(1, 1))  # its content tells
    done = run("encrypt", wavs, "sealed", *PATTERN, "--json")
    assert done.code == 0, done.err
    assert (done.json["updated"], done.json["conflicts"]) == (1, []), "it is the recording that is there"
    assert spoken() == {"bob/u.wav": "words of bob", "cid/u.wav": "words of cid"}


@pytest.mark.parametrize("by", ["size and time", "content"])
@pytest.mark.parametrize("replace", [False, True])
def test_a_row_that_holds_another_recording_by_now_gets_no_words(
    by: str, replace: bool, run: Run, wavs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = (wavs / "bob" / "u.wav").read_bytes()
    theirs = clip("u.wav", 0.2, seed=77).data
    assert len(theirs) == len(ours)
    folder = tmp_path / "theirs"
    (folder / "bob").mkdir(parents=True)
    (folder / "bob" / "u.wav").write_bytes(theirs)
    told = tmp_path / "theirs.tsv"
    told.write_text("path\ttext\nbob/u.wav\twords of the other\n")
    if by == "content":
        os.utime(wavs / "bob" / "u.wav", ns=(1, 1))

    def replaced(other: Writer) -> None:
        assert run("encrypt", folder, "sealed", *PATTERN, "--manifest", told, "--replace").code == 0

    between(monkeypatch, 0, replaced)
    arguments = ["encrypt", wavs, "sealed", *PATTERN, "--manifest", better(wavs), "--json"]
    done = run(*arguments, *(["--replace"] if replace else []))
    with open_corpus("sealed") as corpus:
        now = bytes(corpus.read("bob/u.wav"))
    if replace:
        assert (done.code, now, spoken()["bob/u.wav"]) == (0, ours, "better words of bob"), done.err
    else:
        assert (done.code, now, spoken()["bob/u.wav"]) == (1, theirs, "words of the other")
        assert done.json["conflicts"] == ["bob/u.wav"]
