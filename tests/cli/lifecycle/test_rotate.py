"""`securedata rotate` and `securedata wrap drop --rotate`, as people and scripts use them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.cli.commandline import Run
from tests.kit.corpora.contents import current, look, recordings_of
from tests.kit.corpora.recorded import Root, flip_object


def test_a_rotation_says_what_it_did_and_what_it_does_not_do(run: Run, root: Root) -> None:
    before = look(root.reference)
    done = run("rotate", root.name)
    assert done.code == 0
    assert done.out.splitlines() == ["rotated: generation 3 is under a fresh corpus key, 1 wrap"]
    assert "takes nothing back" in done.err
    assert "a copy of an older head still opens" in done.err
    assert look(root.reference).head.superseded == (before.head.key_id,)
    assert recordings_of(root) == {one.path: one.data for one in root.clips}
    again = run("rotate", root, "--json")
    assert (again.code, again.err) == (0, "")
    wraps = [one["uri"] for one in run("wrap", "list", root.name, "--json").json["wraps"]]
    assert again.json == {
        "root": root,
        "generation": 4,
        "wraps": wraps,
        "dropped": [],
        "resumed": False,
        "unfinished": False,
        "data_keys": None,
    }


def test_a_wrap_is_dropped_by_name(run: Run, root: Root, tmp_path: Path) -> None:
    second = f"local://{tmp_path}/safe/second.kek"
    run("wrap", "add", root.name, "--kms", second)
    stopped = run("rotate", root.name)
    assert stopped.code == 1
    assert "is also wrapped by local:" in stopped.error
    assert "--drop-wrap local:" in stopped.error
    assert run("rotate", root.name, "--drop-wrap", "local:" + "0" * 32).code == 2
    done = run("rotate", root.name, "--drop-wrap", second)
    assert done.code == 0
    assert done.out.splitlines()[1].startswith("dropped: local:")
    assert len(look(root.reference).head.wraps) == 1


def test_dropping_a_wrap_rotates_in_the_same_commit(run: Run, root: Root, tmp_path: Path) -> None:
    second = f"local://{tmp_path}/safe/second.kek"
    run("wrap", "add", root.name, "--kms", second)
    before = look(root.reference).head
    done = run("wrap", "drop", root.name, "--kms", second, "--rotate")
    assert done.code == 0
    assert f"rotated in generation {before.generation + 1}" in done.err
    assert "takes nothing back" in done.err
    after = look(root.reference).head
    assert (after.generation, len(after.wraps)) == (before.generation + 1, 1)
    assert after.superseded == (before.key_id,)
    for action in ("list", "add"):
        assert run("wrap", action, root.name, *(["--kms", second] if action == "add" else []), "--rotate").code == 2
    last = run("wrap", "drop", root.name, "--kms", root.kms, "--rotate")
    assert last.code == 2
    assert "no key would be left" in last.err
    assert look(root.reference).head == after


def test_the_pin_is_needed(run: Run, root: Root, own_home: Path) -> None:
    (own_home / ".config" / "securedata" / "config.toml").unlink()
    done = run("rotate", root, "--kms", root.kms)
    assert done.code == 1
    assert "pin" in done.error
    assert run("rotate", root, "--kms", root.kms, "--pin", root.pin).code == 0


def test_objects_are_sealed_again(run: Run, root: Root) -> None:
    before = {path: one["object_id"] for path, one in current(root.reference).items()}
    done = run("rotate", root.name, "--data-keys", "--grace", "14d")
    assert done.code == 0
    assert done.out.splitlines()[1].startswith("sealed again under fresh keys: 6 objects (")
    assert "copies of old objects" in done.err
    after = current(root.reference)
    assert {path: one["origin"] for path, one in after.items()} == before
    assert not {one["object_id"] for one in after.values()} & set(before.values())
    assert recordings_of(root) == {one.path: one.data for one in root.clips}
    assert run("verify", root.name).code == 0


def test_what_cannot_be_read_is_listed(run: Run, root: Root) -> None:
    flip_object(root, root.clips[1].path)
    for resumed in (False, True):
        done = run("rotate", root.name, "--data-keys", *(["--json"] if resumed else []))
        assert done.code == 1
        assert "1 object of" in done.error
        if resumed:
            found = done.json["data_keys"]
            assert [(one["paths"], one["error"]) for one in found["failed"]] == [
                ([root.clips[1].path], "AuthenticationFailed")
            ]
            assert (done.json["resumed"], done.json["unfinished"], found["objects"]) == (True, True, 0)
        else:
            assert f"  {root.clips[1].path}: " in done.err
            assert "'securedata rotate --data-keys' goes on" in done.err


@pytest.mark.parametrize("grace", ["23h", "0d", "14", "d", "-1d", "1.5d", "9999w"])
def test_a_grace_that_cannot_be(run: Run, root: Root, grace: str) -> None:
    done = run("rotate", root.name, "--data-keys", f"--grace={grace}")
    assert done.code == 2
    assert "grace" in done.err
    assert look(root.reference).head.generation == 2


def test_options_of_data_keys_need_it(run: Run, root: Root) -> None:
    for option in (("--grace", "14d"), ("--threads", "2")):
        assert run("rotate", root.name, *option).code == 2
