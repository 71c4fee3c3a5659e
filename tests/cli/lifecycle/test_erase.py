"""`securedata erase`, as people and scripts use it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from securedata.corpus.config import drop_entry
from securedata.errors import StorageUnreachable
from securedata.lifecycle.receipt.operator import key_path
from securedata.storage.local import LocalStorage
from tests.kit.cli.commandline import Run
from tests.kit.corpora.contents import manifest_of
from tests.kit.corpora.recorded import Root


@pytest.fixture(autouse=True)
def operator(run: Run) -> str:
    return str(run("operator", "init", "--name", "example.com/erasure", "--json").json["public"])


def paths(root: Root) -> list[str]:
    return [str(row["path"]) for row in manifest_of(root, "path")]


def test_a_person(run: Run, root: Root, operator: str, tmp_path: Path) -> None:
    said = run("erase", root.name, "--subject", "ann", "--dry-run")
    assert said.code == 0
    assert said.out.startswith("would erase 3 rows, 3 objects, ")
    assert len(paths(root)) == 6
    done = run("erase", root.name, "--subject", "ann", "--request", "REQ-7", "--received", "2026-11-30")
    assert done.code == 0
    first, second = done.out.splitlines()
    assert first.startswith("erased 3 rows, ")
    assert first.endswith(": deleted where visible")
    receipt = Path(second.removeprefix("receipt: "))
    assert run("receipt", "verify", receipt, "--key", operator).code == 0
    broken = tmp_path / "broken"
    broken.write_bytes(receipt.read_bytes().replace(b"REQ-7", b"REQ-8"))
    assert run("receipt", "verify", broken, "--key", operator).code == 1
    [opening] = Path(receipt.parent).glob("*.openings/*.json")
    assert run("receipt", "verify", receipt, "--key", operator, "--opening", opening).code == 0
    assert json.loads(opening.read_text())["name"] == "ann"
    assert len(paths(root)) == 3
    assert all(path.startswith("bob/") for path in paths(root))
    assert run("verify", root.name).code == 0
    assert run("erase", root.name, "--readmit", "nobody", "--consent", "C1").code == 1
    again = run("erase", root.name, "--subject", "ann")
    assert (again.code, again.out) == (0, "erased before: 1 of what you name; nothing was left to erase\n")


def test_a_name_that_is_not_there(run: Run, root: Root) -> None:
    done = run("erase", root.name, "--subject", "Ann")
    assert (done.code, done.out) == (1, "")
    assert "1 of the people are not in" in done.error
    assert "other spellings are there: see --dry-run" in done.error
    assert "Ann" not in done.error
    said = run("erase", root.name, "--subject", "Ann", "--dry-run")
    assert "other spellings like Ann: ann; add those of the same person with --also" in said.err
    assert len(paths(root)) == 6


def test_people_from_a_list(run: Run, root: Root, tmp_path: Path) -> None:
    names = tmp_path / "people.txt"
    names.write_text("ann\nbob\n\nann\n")
    done = run("erase", root.name, "--list", names)
    assert done.code == 2
    assert "this would erase all 6 rows" in done.err
    done = run("erase", root.name, "--list", names, "--yes", "6", "--json")
    assert (done.code, done.json["rows"], done.json["receipt"]["levels"]) == (0, 6, ["deleted where visible"])
    assert paths(root) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "say what to erase"),
        (["--subject", "ann", "--all"], "say what to erase"),
        (["--all", "--also", "ann"], "--also is another spelling"),
        (["--subject", "ann", "--received", "2026-11-30"], "--received belongs to a request"),
        (["--subject", "ann", "--request", "R", "--received", "30.11.2026"], "is not a day"),
        (["--list", "/nowhere/people.txt"], "cannot be read"),
        (["--list", os.devnull], "the list is empty"),
        (["--readmit", "ann"], "--readmit goes with one --consent"),
        (["--all"], "this would erase all 6 rows"),
        (["--subject", "ann", "--also", "bob", "--yes", "5"], "confirm it with --yes 6"),
    ],
)
def test_bad_input(run: Run, root: Root, arguments: list[str], text: str) -> None:
    done = run("erase", root.name, *arguments)
    assert done.code == 2
    assert text in done.err
    assert len(paths(root)) == 6


@pytest.mark.parametrize("what", [("--subject", "ann"), ("--finish",), ("--readmit", "ann", "--consent", "C9")])
def test_the_pin_is_needed(run: Run, root: Root, what: tuple[str, ...]) -> None:
    head = Path(root, "head").read_bytes()
    drop_entry(root.name)
    done = run("erase", root, *what, "--kms", root.kms)
    assert done.code == 1
    assert "--pin" in done.error
    assert Path(root, "head").read_bytes() == head


def test_the_operator_key_is_needed(run: Run, root: Root) -> None:
    key_path().unlink()
    head = Path(root, "head").read_bytes()
    for what in (("--subject", "ann"), ("--finish",)):
        done = run("erase", root.name, *what)
        assert done.code == 1
        assert "there is no operator key" in done.error
    assert Path(root, "head").read_bytes() == head


def test_a_clock_that_is_wrong_ends_no_consent(run: Run, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    head = Path(root, "head").read_bytes()
    monkeypatch.setattr("securedata.lifecycle.erasure.erase.time.time", lambda: time.time_ns() / 1e9 + 2 * 3600)
    done = run("erase", root.name, "--expired")
    assert done.code == 1
    assert "one of them is wrong, so no consent was taken for ended, and nothing was erased" in done.error
    assert Path(root, "head").read_bytes() == head


def test_a_dry_run_writes_nothing(run: Run, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    def written(*_: object) -> None:
        raise AssertionError("a dry run wrote")

    for name in ("put_new", "replace", "delete", "purge", "check_writable"):
        monkeypatch.setattr(LocalStorage, name, written)
    for what in (("--subject", "ann"), ("--path", "ann"), ("--expired",), ("--all",)):
        assert run("erase", root.name, *what, "--dry-run").code == 0
    assert run("retention", root.name, "--check").code == 0


def test_an_erasure_that_was_cut_off_is_shown(run: Run, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: object) -> None:
        raise StorageUnreachable("the line is cut")

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "purge_older", cut)
        assert run("erase", root.name, "--subject", "ann").code == 1
    assert run("info", root.name, "--json").json["unfinished_erasures"] == 1
    said = f"1 erasure not finished, so their receipts are not final: 'securedata erase {root.name} --finish'"
    assert said in run("verify", root.name).out
    assert run("erase", root.name, "--finish").out.startswith("finished the erasure ")
    assert run("info", root.name, "--json").json["unfinished_erasures"] == 0
    assert said not in run("verify", root.name).out


def test_nothing_is_unfinished_or_ended(run: Run, root: Root) -> None:
    assert run("erase", root.name, "--finish").out == "no erasure is unfinished\n"
    assert run("erase", root.name, "--expired").out == "nothing to erase\n"
