"""`securedata wrap`, as people and scripts use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from securedata.corpus.config import load, write_entry
from securedata.keys.local import create_key_file
from tests.kit.cli.commandline import Run
from tests.kit.corpora.recorded import Root, make_corpus


def test_a_key_is_added_shown_and_dropped(run: Run, root: Root, tmp_path: Path) -> None:
    second = tmp_path / "safe" / "second.kek"
    added = run("wrap", "add", root.name, "--kms", f"local://{second}")
    assert added.code == 0
    assert f"the key file {second} was created: back it up" in added.err
    assert "added in generation 3" in added.err
    again = run("wrap", "add", root.name, "--kms", f"local://{second}")
    assert again.code == 0
    assert "opens the corpus already" in again.err
    assert "back up" not in again.err
    listed = run("wrap", "list", root.name, "--json").json
    assert listed["root"] == root
    assert [one["trusted"] for one in listed["wraps"]] == [True, False]
    shown = run("wrap", "list", root.name)
    assert [line.split()[1:] for line in shown.out.splitlines()] == [["yours"], []]
    assert "no KMS was called" in shown.err
    assert run("ls", root, "--kms", f"local://{second}", "--pin", root.pin).code == 0
    # by the name that the list shows, for the file may be lost
    lost = listed["wraps"][1]["uri"]
    second.unlink()
    dropped = run("wrap", "drop", root.name, "--kms", lost, "--json")
    assert dropped.code == 0
    assert [one["uri"] for one in dropped.json["wraps"]] == [listed["wraps"][0]["uri"]]
    assert dropped.err == ""
    last = run("wrap", "drop", root.name, "--kms", root.kms)
    assert last.code == 2
    assert "the last key" in last.err
    assert run("ls", root.name).code == 0


def test_whoever_locks_himself_out_is_told(run: Run, root: Root, tmp_path: Path) -> None:
    second = f"local://{tmp_path}/second.kek"
    assert run("wrap", "add", root.name, "--kms", second, "-q").err.count("\n") == 1  # the file that was made
    done = run("wrap", "drop", root.name, "--kms", root.kms)
    assert done.code == 0
    assert "no key that you trust opens the corpus any more" in done.err
    assert run("ls", root.name).code == 1
    entry = load()[str(root.name)]
    write_entry(str(root.name), type(entry)(entry.root, entry.name, (second,), entry.pins))
    assert run("ls", root.name).code == 0


@pytest.mark.parametrize(
    "arguments", [["list", "{}", "--kms", "local:///x"], ["add", "{}"], ["drop", "{}"], ["rename", "{}"], ["add"]]
)
def test_usage(run: Run, root: Root, arguments: list[str]) -> None:
    done = run("wrap", *(one.format(root.name) for one in arguments))
    assert done.code == 2
    assert done.out == ""


@pytest.mark.parametrize("uri", ["nonsense", "gcp://key", "hcvault://h/t"])
def test_what_is_no_kms_uri_is_not_added(run: Run, root: Root, uri: str) -> None:
    assert run("wrap", "add", root.name, "--kms", uri).code == 1
    assert len(run("wrap", "list", root.name, "--json").json["wraps"]) == 1


def test_a_key_inside_the_corpus_is_refused_and_not_made(run: Run, root: Root) -> None:
    done = run("wrap", "add", root.name, "--kms", f"local://{root}/inside.kek")
    assert done.code == 1
    assert "inside the corpus" in done.error
    assert not (Path(root) / "inside.kek").exists()


def test_the_pin_is_needed_and_checked(run: Run, root: Root, tmp_path: Path) -> None:
    other = make_corpus(tmp_path, [], name="voice-b")
    create_key_file(tmp_path / "second.kek")
    add = ("wrap", "add", root.name, "--kms", f"local://{tmp_path}/second.kek")
    for code, words, arguments in (
        (1, "the pin names", (*add, "--pin", other.pin)),
        (1, "the pin names", ("wrap", "list", root.name, "--pin", other.pin)),
        (0, "", (*add, "--pin", root.pin)),
    ):
        done = run(*arguments)
        assert done.code == code
        assert words in done.err
