"""One root, one pin: with several, a root could be swapped for another corpus of the same person."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import securedata as sd
from securedata.corpus.config import resolve, write_entry
from securedata.corpus.create import create_corpus
from securedata.corpus.home import state_dir
from securedata.errors import CorpusGone, PinMismatch, PinRequired
from tests.kit.cli.commandline import Run
from tests.kit.corpora.contents import files_of
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.corpora.rows import writer_of
from tests.kit.sources.recordings import clip, write_clips

ROLE = "arn:aws:iam::000000000000:role/Trainer"


@pytest.fixture
def two(tmp_path: Path) -> tuple[Root, Root]:
    return make_corpus(tmp_path, [clip("ann/0.wav", 0.1)], "a"), make_corpus(tmp_path, [clip("bob/0.wav", 0.1)], "b")


def by_environment(two: tuple[Root, Root], monkeypatch: pytest.MonkeyPatch, home: Path) -> tuple[str, ...]:
    monkeypatch.setenv("SECUREDATA_CONFIG", str(home / "none.toml"))
    monkeypatch.setenv("SECUREDATA_KMS", " ".join(one.kms for one in two))
    monkeypatch.setenv("SECUREDATA_PIN", " ".join(one.pin for one in two))
    return ()


def by_entry(two: tuple[Root, Root], monkeypatch: pytest.MonkeyPatch, home: Path) -> tuple[str, ...]:
    both = replace(two[0].reference, kms=(two[0].kms, two[1].kms), pins=two[0].reference.pins + two[1].reference.pins)
    write_entry("a", both)
    return ()


def by_argument(two: tuple[Root, Root], monkeypatch: pytest.MonkeyPatch, home: Path) -> tuple[str, ...]:
    return ("--pin", f"{two[0].pin} {two[1].pin}")


def by_arguments(two: tuple[Root, Root], monkeypatch: pytest.MonkeyPatch, home: Path) -> tuple[str, ...]:
    return ("--pin", two[1].pin, "--pin", two[0].pin)


@pytest.fixture(params=[by_environment, by_entry, by_argument, by_arguments])
def pins(
    two: tuple[Root, Root], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[str, ...]:
    """What the command line needs besides, where two pins are given in one of these ways."""
    given: tuple[str, ...] = request.param(two, monkeypatch, tmp_path)
    return given


@pytest.mark.parametrize("swapped", [True, False])
@pytest.mark.parametrize(
    "command", ["encrypt", "encrypt --dry-run", "verify --prune", "wrap add", "wrap drop", "session", "session --write"]
)
def test_whoever_writes_or_takes_a_role_needs_the_one(
    two: tuple[Root, Root], pins: tuple[str, ...], command: str, swapped: bool, run: Run, tmp_path: Path
) -> None:
    root = two[0]
    if swapped:
        shutil.rmtree(root)
        shutil.copytree(two[1], root)
    before = {path: path.read_bytes() for path in files_of(root)}
    words: list[str | Path] = [*command.split(), root, *pins]
    if command.startswith("encrypt"):
        words[1:1] = [write_clips(tmp_path / "wavs")]
        words += ["--one-subject", "ann"]
    elif command.startswith("wrap"):
        words += ["--kms", f"local://{tmp_path}/another.kek"]
    elif command.startswith("session"):
        words += ["--role", ROLE]
    done = run(*words)
    assert done.code == 1
    assert "2 pins are given" in done.error
    assert "an entry with its pin for each root into the config file" in done.error
    assert "'securedata init' makes a new corpus" in done.error
    assert {path: path.read_bytes() for path in files_of(root)} == before
    assert not (tmp_path / "another.kek").exists()


def test_a_writer_and_a_reader_with_a_role_in_python(two: tuple[Root, Root]) -> None:
    both = replace(two[0].reference, pins=two[0].reference.pins + two[1].reference.pins)
    acts: list[Callable[[], object]] = [
        lambda: writer_of(both),
        lambda: sd.open_corpus(both, role=ROLE),
        lambda: sd.EncryptedAudioDataset(str(two[0]), pin=[two[0].pin, two[1].pin], role=ROLE),
    ]
    for act in acts:
        with pytest.raises(PinRequired, match="2 pins are given"):
            act()
    twice = replace(two[0].reference, pins=two[0].reference.pins * 2)
    assert writer_of(twice).head.generation == 2, "the same one twice is one"


def test_a_reader_without_a_role_may_have_a_list(
    two: tuple[Root, Root], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    by_environment(two, monkeypatch, tmp_path)
    with sd.EncryptedAudioDataset([str(one) for one in two]) as ds:
        assert len(ds) == 2


def test_what_a_reader_with_a_list_has_opened_is_what_it_goes_on_with(two: tuple[Root, Root]) -> None:
    both = replace(
        two[0].reference,
        kms=(two[0].kms, two[1].kms),
        pins=two[0].reference.pins + two[1].reference.pins,
    )
    with sd.open_corpus(both) as corpus:
        shutil.copyfile(Path(two[1]) / "head", Path(two[0]) / "head")
        with pytest.raises(PinMismatch):
            corpus.refresh()


def test_an_entry_with_several_pins_is_no_empty_place(two: tuple[Root, Root], tmp_path: Path) -> None:
    """Whichever of them this machine has written: the corpus is gone, and no new one is made in its place."""
    unknown = make_corpus(tmp_path / "far", [], "far").reference.pins
    write_entry("a", replace(two[0].reference, pins=unknown + two[0].reference.pins))
    (state_dir() / "seen" / f"{unknown[0].corpus_id.hex()}.json").unlink()
    shutil.rmtree(two[0])
    with pytest.raises(CorpusGone):
        create_corpus(resolve("a").root, name="a")


def test_a_pin_that_does_not_fit_says_what_to_compare_it_with(two: tuple[Root, Root], run: Run) -> None:
    a, b = two
    done = run("ls", a, "--kms", a.kms, "--pin", b.pin)
    assert done.code == 1
    assert "compare it with the pin that you got with the corpus" in " ".join(done.error.split())
