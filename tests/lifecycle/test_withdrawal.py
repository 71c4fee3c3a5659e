"""A withdrawal goes to the corpora that were made from its corpus first, and says which it did not reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.config import Reference, drop_entry
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, KeysError
from securedata.lifecycle.derived import register_derived
from securedata.lifecycle.holds.hold import add_hold
from securedata.lifecycle.withdrawal import withdraw_everywhere
from securedata.testing.memory import MemoryStorage
from tests.kit.cli.commandline import Run
from tests.kit.corpora.contents import current
from tests.kit.corpora.rows import add, content, make, writer_of

CONSENT = {"consent_id": "A", "purposes": ["asr", "tts"]}


@pytest.fixture
def source(writer: Writer) -> Writer:
    """One recording of ann, and one of bob, under the consent A."""
    add(writer, {"ann/0": content("ann/0"), "bob/0": content("bob/0")}, **CONSENT)
    return writer


@pytest.fixture
def derived(source: Writer, tmp_path: Path) -> Reference:
    return made_from(source, tmp_path / "derived")


def made_from(source: Writer, root: Path) -> Reference:
    reference = make(root=str(root), name=root.name)
    register_derived(source, writer_of(reference).head)
    add(writer_of(reference), {"ann/0.npy": content("ann/0.npy"), "ann/1.npy": content("ann/1.npy")}, **CONSENT)
    return reference


def purposes(reference: Reference, place: MemoryStorage | None = None) -> dict[str, Any]:
    return {path: one["purposes"] for path, one in current(reference, place).items()}


def test_it_goes_there_too(source: Writer, place: MemoryStorage, derived: Reference) -> None:
    pin = str(writer_of(derived).head.pin)
    done = withdraw_everywhere(source, "A", "tts")
    assert (done.here.changed, done.derived[pin].changed, done.missed, done.held) == (2, 2, (), False)
    assert purposes(derived) == {"ann/0.npy": ["asr"], "ann/1.npy": ["asr"]}
    again = withdraw_everywhere(source, "A", "tts")
    assert (again.here.changed, again.derived[pin].changed) == (0, 0)


def test_it_goes_to_what_was_made_of_that(source: Writer, derived: Reference, tmp_path: Path) -> None:
    below = made_from(writer_of(derived), tmp_path / "below")
    assert len(withdraw_everywhere(source, "A").derived) == 2
    assert purposes(below) == {"ann/0.npy": [], "ann/1.npy": []}
    pin = str(writer_of(below).head.pin)
    drop_entry("below")
    assert withdraw_everywhere(source, "A").missed == (pin,)


def test_rows_that_only_the_derived_corpus_has(source: Writer, derived: Reference) -> None:
    """As after `retain --erase-raw`."""
    add(writer_of(derived), {"cid/0.npy": content("cid/0.npy")}, consent_id="C", purposes=["asr"])
    done = withdraw_everywhere(source, "C")
    assert (done.here.rows, [one.changed for one in done.derived.values()]) == (0, [1])
    assert purposes(derived)["cid/0.npy"] == []


def test_a_consent_that_is_nowhere(source: Writer, derived: Reference) -> None:
    before = writer_of(derived).head
    with pytest.raises(InvalidArgument, match="has this consent"):
        withdraw_everywhere(source, "Z")
    assert writer_of(derived).head == before


def test_a_hold_there(source: Writer, derived: Reference) -> None:
    add_hold(writer_of(derived), "ann", "7")
    done = withdraw_everywhere(source, "A")
    assert (done.here.held, done.held) == ([], True)
    assert purposes(derived)["ann/0.npy"] == ["asr", "tts"]


def test_nothing_changes_here_if_it_fails_there(source: Writer, place: MemoryStorage, derived: Reference) -> None:
    key = Path(derived.kms[0].removeprefix("local://"))
    kept = key.read_bytes()
    key.unlink()
    with pytest.raises(KeysError):
        withdraw_everywhere(source, "A")
    assert purposes(source.reference, place) == {"ann/0": ["asr", "tts"], "bob/0": ["asr", "tts"]}
    key.write_bytes(kept)
    key.chmod(0o600)
    assert withdraw_everywhere(source, "A").here.changed == 2


def test_the_command(run: Run, tmp_path: Path) -> None:
    source = writer_of(make(root=str(tmp_path / "source"), name="source"))
    add(source, {"ann/0": content("ann/0")}, **CONSENT)
    derived = made_from(source, tmp_path / "derived")
    pin = str(writer_of(derived).head.pin)
    done = run("consent", "withdraw", "source", "--consent", "A", "--purpose", "tts")
    assert done.code == 0
    assert f"withdrawn from 2 of 2 recordings of this consent in {pin}, made from this one" in done.out
    assert run("hold", "add", "derived", "--subject", "ann", "--case", "7").code == 0
    done = run("consent", "withdraw", "source", "--consent", "A", "--json")
    assert (done.code, done.json["changed"], done.json["derived"][pin]["changed"]) == (3, 1, 0)
    assert run("forget", "derived").code == 0
    done = run("consent", "withdraw", "source", "--consent", "A")
    assert (done.code, f"{pin} is not in your config" in done.err) == (1, True)
