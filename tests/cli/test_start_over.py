"""A root whose corpus was deleted by hand: `init` and `encrypt` say how to start over, and do it on request."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import securedata as sd
from securedata.corpus.config import config_path, load
from securedata.corpus.home import state_dir
from securedata.corpus.state.seen import recall
from securedata.errors import CorpusExists, CorpusGone
from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.corpora.recorded import Root


def files(root: Root) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}


def all_of_it(root: Root) -> None:
    shutil.rmtree(root)


def what_is_in_it(root: Root) -> None:
    for path in Path(root).iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def all_but_leftovers(root: Root) -> None:
    """The lock, empty folders and what a killed writer had half written: none of it is a corpus."""
    for name in files(root):
        if not name.endswith(".lock"):
            os.unlink(name)
    (Path(root) / "head.tmp").write_bytes(b"half")
    some = next(path for path in (Path(root) / "objects").iterdir())
    (some / f"{some.name}{'0' * 30}.tmp-0123456789abcdef").write_bytes(b"half")


DELETED = [all_of_it, what_is_in_it, all_but_leftovers]


@pytest.mark.parametrize("seen", [True, False], ids=["seen", "a colleague's"])
@pytest.mark.parametrize("delete", DELETED)
def test_both_commands_say_how_to_start_over(
    delete: Callable[[Root], None], seen: bool, run: Run, root: Root, wavs: Path
) -> None:
    delete(root)
    if not seen:
        shutil.rmtree(state_dir())
    config = config_path().read_text()
    for command in (("init", root), ("init", root, "--name", root.name), ("encrypt", wavs, root, *PATTERN)):
        done = run(*command)
        assert done.code == 1, command
        assert "--start-over" in done.error
    assert config_path().read_text() == config
    assert str(load()[root.name].pins[0]) == root.pin
    assert not (Path(root) / "head").exists()


@pytest.mark.parametrize("delete", DELETED)
@pytest.mark.parametrize("by_name", [True, False])
def test_encrypt_starts_over(delete: Callable[[Root], None], by_name: bool, run: Run, root: Root, wavs: Path) -> None:
    delete(root)
    done = run("encrypt", wavs, root.name if by_name else root, *PATTERN, "--start-over")
    assert done.code == 0, done.err
    assert "6 added" in done.out
    assert f"dropped: the pin {root.pin} of the deleted corpus" in done.err
    entry = load()[root.name]
    assert str(entry.pins[0]) != root.pin
    assert entry.kms == (root.kms,), "its key opens the new one, too"
    assert [*load()] == [root.name]
    assert run("verify", root.name).code == 0
    assert run("encrypt", wavs, root.name, *PATTERN).code == 0
    # a backup of the old one is still told from an older one
    assert recall(root.reference.pins[0].corpus_id) is not None


@pytest.mark.parametrize("delete", DELETED)
def test_init_starts_over(delete: Callable[[Root], None], run: Run, root: Root) -> None:
    delete(root)
    done = run("init", root, "--name", root.name, "--start-over", "--json")
    assert done.code == 0, done.err
    assert done.json["dropped_pins"] == [root.pin]
    assert done.json["pin"] == str(load()[root.name].pins[0]) != root.pin
    assert done.json["key_files"] == [], "the key file was there"
    assert run("ls", root.name).code == 0


def test_a_key_file_that_was_deleted_too_is_made(run: Run, root: Root) -> None:
    shutil.rmtree(root)
    root.key_file.unlink()
    done = run("init", root, "--start-over", "--json")
    assert done.json["key_files"] == [str(root.key_file)]
    assert "back up this file" in done.err


@pytest.mark.parametrize("command", ["init", "encrypt"])
@pytest.mark.parametrize("left", ["everything", "head.prev", "objects", "manifest", "foreign"])
def test_a_corpus_that_is_there_is_never_touched(command: str, left: str, run: Run, root: Root, wavs: Path) -> None:
    if left == "foreign":
        shutil.rmtree(root)
        Path(root).mkdir()
        (Path(root) / "thesis.txt").write_text("mine")
    elif left == "head.prev":
        for name in files(root):
            if not name.endswith("head.prev"):
                os.unlink(name)
    elif left != "everything":
        for name in files(root):
            if f"/{left}/" not in name:
                os.unlink(name)
    before, config = files(root), config_path().read_text()
    assert before
    words = ("init", root) if command == "init" else ("encrypt", wavs, root, *PATTERN)
    done = run(*words, "--start-over")
    assert done.code == 1
    assert f"at {root}" in done.error
    assert command == "init" or run(*words, "--start-over", "--dry-run").code == 1, "nor would it be"
    assert files(root) == before
    assert config_path().read_text() == config


def test_starting_over_where_nothing_was_is_a_beginning(run: Run, tmp_path: Path, wavs: Path) -> None:
    done = run("init", tmp_path / "new", "--start-over", "--json")
    assert (done.code, done.json["dropped_pins"]) == (0, [])
    assert run("encrypt", wavs, tmp_path / "newer", *PATTERN, "--start-over").code == 0


def test_a_rehearsal_drops_nothing(run: Run, root: Root, wavs: Path) -> None:
    shutil.rmtree(root)
    config = config_path().read_text()
    done = run("encrypt", wavs, root, *PATTERN, "--start-over", "--dry-run")
    assert done.code == 0, done.err
    assert "would add 6" in done.out
    assert config_path().read_text() == config
    assert not Path(root).exists()


def test_from_python(root: Root, wavs: Path) -> None:
    shutil.rmtree(root)
    with pytest.raises(CorpusGone, match="start-over"):
        sd.create_corpus(root, root.name)
    assert sd.create_corpus(root, root.name, start_over=True).dropped_pins == (root.pin,)
    with pytest.raises(CorpusExists):
        sd.create_corpus(root, root.name, start_over=True)
    shutil.rmtree(root)
    report = sd.ingest(wavs, root, speaker_pattern="{speaker}/{utterance}", start_over=True)
    assert report.added == 6
    assert report.created is not None
    assert len(report.created.dropped_pins) == 1
