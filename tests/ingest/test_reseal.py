"""Ingesting again: words that a run does not know are kept, and --reseal mends objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from securedata.cli.main import main
from securedata.corpus.opening import open_corpus
from securedata.corpus.state.layout import object_key
from securedata.errors import SecuredataError
from tests.kit.sources.recordings import clip, write_clips


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    files = [(speaker, n) for speaker in ("ann", "bob") for n in range(3)]
    folder = write_clips(tmp_path / "wavs", [clip(f"{speaker}/u{n}.wav", 0.25, seed=n) for speaker, n in files])
    rows = [f"{speaker}/u{n}.wav\tword {speaker} {n}" for speaker, n in files]
    (tmp_path / "words.tsv").write_text("path\ttext\n" + "\n".join(rows) + "\n")
    return folder


def encrypt(wavs: Path, *more: str) -> int:
    root = str(wavs.parent / "sealed")
    return main(["encrypt", str(wavs), root, "--speaker-pattern", "{speaker}/{utterance}", "-q", *more])


def test_a_run_without_the_manifest_keeps_its_words(wavs: Path) -> None:
    assert encrypt(wavs, "--manifest", str(wavs.parent / "words.tsv")) == 0
    assert encrypt(wavs) == 0
    (wavs / "ann" / "u0.wav").touch()  # its digest is compared, its time updated
    assert encrypt(wavs) == 0
    with open_corpus(wavs.parent / "sealed", columns=["transcript", "source_mtime_ns"]) as corpus:
        words = {corpus.value("path", i): corpus.value("transcript", i) for i in range(len(corpus))}
        assert words == {f"{one}/u{n}.wav": f"word {one} {n}" for one in ("ann", "bob") for n in range(3)}
        at = corpus.find("ann/u0.wav")
        assert corpus.value("source_mtime_ns", at) == (wavs / "ann" / "u0.wav").stat().st_mtime_ns


def test_other_words_are_taken(wavs: Path) -> None:
    assert encrypt(wavs, "--manifest", str(wavs.parent / "words.tsv")) == 0
    (wavs.parent / "words.tsv").write_text("path\ttext\nann/u1.wav\tbetter\n")
    assert encrypt(wavs, "--manifest", str(wavs.parent / "words.tsv"), "--only-listed") == 0
    with open_corpus(wavs.parent / "sealed") as corpus:
        assert corpus.value("transcript", corpus.find("ann/u1.wav")) == "better"
        assert corpus.value("transcript", corpus.find("ann/u2.wav")) == "word ann 2"


@pytest.mark.parametrize("damage", ["lost", "flipped"])
def test_reseal_mends_an_object(wavs: Path, damage: str) -> None:
    assert encrypt(wavs) == 0
    sealed = wavs.parent / "sealed"
    with open_corpus(sealed) as corpus:
        before = {corpus.value("path", i): corpus.index.location(i).object_id for i in range(len(corpus))}
    victim = sealed / object_key(before["bob/u1.wav"])
    if damage == "lost":
        victim.unlink()
    else:
        data = bytearray(victim.read_bytes())
        data[-1] ^= 1
        victim.write_bytes(data)
    assert main(["verify", str(sealed), "-q"]) == 1
    assert encrypt(wavs, "--replace", "--checksum") == 0, "nothing changed in the sources, so nothing is sealed"
    with open_corpus(sealed) as corpus, pytest.raises(SecuredataError):
        corpus.read("bob/u1.wav")
    assert encrypt(wavs, "--reseal") == 0
    with open_corpus(sealed) as corpus:
        after = {corpus.value("path", i): corpus.index.location(i).object_id for i in range(len(corpus))}
        assert len(after) == 6
        assert not set(after.values()) & set(before.values())
        for path in after:
            assert corpus.read(path) == (wavs / path).read_bytes()
    assert main(["verify", str(sealed), "-q"]) == 0
