"""`securedata list`, `forget` and `move`: the config file's entries, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from securedata.corpus.config import Reference, config_path, load, write_entry
from tests.kit.cli.commandline import Run
from tests.kit.corpora.recorded import Root, add_clips, make_corpus
from tests.kit.sources.recordings import clip

# ---------------------------------------------------------------------------------------------------------------- list


def test_list(run: Run, root: Root, tmp_path: Path) -> None:
    away = Reference("s3://voice/b", "voice-b", ("aws-kms://arn:aws:kms:eu-west-1:111122223333:key/1", root.kms))
    write_entry("voice-b", away)
    done = run("list")
    assert done.code == 0
    assert [line.split(maxsplit=2) for line in done.out.splitlines()] == [
        ["voice-a", root, "local"],
        ["voice-b", "s3://voice/b", "aws-kms, local"],
    ]
    assert run("list", "--json").json == [
        {"name": "voice-a", "root": root, "kms": [root.kms], "pin": root.pin},
        {"name": "voice-b", "root": "s3://voice/b", "kms": list(away.kms), "pin": None},
    ]


def test_list_of_nothing(run: Run) -> None:
    done = run("list")
    assert (done.code, done.out) == (0, "")
    assert f"no corpora in {config_path()}" in done.err
    assert run("list", "--json").json == []


def test_list_asks_nobody_unless_it_is_told_to(run: Run, root: Root, tmp_path: Path) -> None:
    gone = make_corpus(tmp_path / "b", name="gone")
    shutil.rmtree(gone)
    assert run("list").code == 0
    done = run("list", "--check")
    assert done.code == 1
    assert [line.split()[0] for line in done.out.splitlines()] == ["gone", "voice-a"]
    assert done.out.splitlines()[0].endswith("CorpusGone")
    assert done.out.splitlines()[1].endswith("generation 2")
    assert "securedata: gone: the corpus is gone" in done.err
    assert done.error.endswith("1 of 2 corpora cannot be opened")
    found = run("list", "--check", "--json").json
    assert [(one["name"], one["opens"], one["generation"]) for one in found] == [
        ("gone", False, None),
        ("voice-a", True, 2),
    ]
    assert found[0]["error"]["error"] == "CorpusGone"
    assert found[1]["error"] is None
    root.key_file.unlink()
    write_entry("gone", Reference("/nowhere", "gone"))
    assert {one["name"]: one["opens"] for one in run("list", "--check", "--json").json} == {
        "gone": False,
        "voice-a": False,
    }


def test_list_and_forget_work_where_a_root_has_two_entries(run: Run, root: Root) -> None:
    with config_path().open("a") as file:
        file.write(f'\n[corpora.second]\nroot = "{root}/"\n')
    assert run("ls", root.name).code == 1
    done = run("list")
    assert [line.split()[0] for line in done.out.splitlines()] == ["second", "voice-a"]
    assert done.code == 1
    assert "are both for" in done.error
    assert run("forget", "second").code == 0
    assert run("ls", root.name).code == 0


# -------------------------------------------------------------------------------------------------------------- forget


def test_forget_takes_the_entry_and_nothing_else(run: Run, root: Root) -> None:
    config_path().write_text("# mine\n" + config_path().read_text())
    before = {path: path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}
    done = run("forget", root.name)
    assert done.code == 0
    assert load() == {}
    assert config_path().read_text().startswith("# mine")
    assert {path: path.read_bytes() for path in Path(root).rglob("*") if path.is_file()} == before
    assert f"not touched: the corpus at {root}" in done.err
    assert f"its key file {root.key_file}, without which the corpus is lost" in done.err
    assert root.key_file.exists()
    # what was printed, put back, makes it known again
    with config_path().open("a") as file:
        file.write(done.out)
    assert run("ls", root.name).code == 0


def test_forget_as_json(run: Run, root: Root) -> None:
    done = run("forget", f"securedata://{root.name}", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json == {
        "name": root.name,
        "root": root,
        "kms": [root.kms],
        "pin": root.pin,
        "config": str(config_path()),
        "stays": {"root": root, "key_files": [str(root.key_file)]},
    }
    assert load() == {}


def test_forget_of_what_is_not_ours_to_forget(run: Run, root: Root, own_home: Path) -> None:
    done = run("forget", "voice-x")
    assert done.code == 1
    assert f"no corpus named 'voice-x' in the config file {config_path()} (known names: voice-a)" in done.error
    system = own_home / "etc" / "securedata" / "config.toml"
    system.parent.mkdir(parents=True)
    system.write_text('[corpora.shared]\nroot = "/data/shared"\n')
    done = run("forget", "shared")
    assert done.code == 1
    assert "is in a system config file" in done.error
    assert "shared" in system.read_text()


# ---------------------------------------------------------------------------------------------------------------- move


def test_a_copy_is_opened_before_the_entry_names_it(run: Run, root: Root, tmp_path: Path) -> None:
    new = tmp_path / "new place" / "voice"
    shutil.copytree(root, new)
    done = run("move", root.name, new)
    assert done.code == 0, done.err
    assert done.out == "the corpus is there, with generation 2\n"
    assert "before you delete the old root: securedata verify voice-a" in done.err
    assert load()[root.name].root == str(new)
    assert str(load()[root.name].pins[0]) == root.pin
    shutil.rmtree(root)
    assert run("verify", root.name).code == 0
    assert "has its root at" in run("move", root.name, f"{new}/").err


def test_a_corpus_that_was_moved_by_hand(run: Run, root: Root, tmp_path: Path) -> None:
    new = tmp_path / "new"
    Path(root).rename(new)
    done = run("move", root.name, new)
    assert (done.code, done.out) == (0, "the corpus is there, with generation 2\n")
    changed, gone = done.err.splitlines()
    assert changed == f"the root of {root.name!r} is now {new}, changed in {config_path()}; it was {root}"
    assert gone == f"no corpus is left at the old root {root}"
    assert run("verify", root.name).code == 0


def test_what_is_printed_copies_the_corpus(run: Run, root: Root, tmp_path: Path) -> None:
    new = tmp_path / "new place" / "it's"
    done = run("move", root.name, new)
    assert done.code == 0, done.err
    assert f"nothing is at {new} yet: copy it" in done.err
    assert load()[root.name].root == str(new)
    assert run("ls", root.name).code == 1
    subprocess.run(["bash", "-ec", done.out], check=True)
    assert run("verify", root.name).code == 0
    add_clips(load()[root.name], [clip("eve/x.wav", speaker="eve")])


@pytest.mark.parametrize(
    ("old", "new", "options", "line"),
    [
        ("/data/a", "s3://voice/a", {}, "aws s3 sync /data/a s3://voice/a"),
        (
            "s3://voice/a",
            "s3://other/a b",
            {"profile": "own", "endpoint_url": "http://127.0.0.1:9000"},
            "aws s3 sync s3://voice/a 's3://other/a b' --endpoint-url http://127.0.0.1:9000 --profile own",
        ),
        ("s3://voice/a", "/data/a", {"region": "eu-west-1"}, "aws s3 sync s3://voice/a /data/a --region eu-west-1"),
        ("/data/a", "/data/b", {}, "mkdir -p /data/b && cp -a /data/a/. /data/b"),
        ("gs://voice/a", "/data/a", {}, None),
    ],
)
def test_how_to_copy(old: str, new: str, options: dict[str, str], line: str | None) -> None:
    from securedata.cli.commands.config.move import copy_command

    assert copy_command(Reference(old, options=options), Reference(new)) == line


def test_another_corpus_at_the_new_root_is_refused(run: Run, root: Root, tmp_path: Path) -> None:
    other = make_corpus(tmp_path / "b", name="other")
    shutil.copytree(other, tmp_path / "copy")
    before = config_path().read_text()
    done = run("move", root.name, tmp_path / "copy")
    assert done.code == 1
    assert "pin" in done.error
    done = run("move", root.name, other)
    assert done.code == 1
    assert "has an entry" in done.error
    assert config_path().read_text() == before


def test_an_older_copy_is_refused_unless_it_is_accepted(
    run: Run, root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(root, tmp_path / "copy")
    add_clips(root, [clip("eve/x.wav", speaker="eve")])
    done = run("move", root.name, tmp_path / "copy")
    assert done.code == 1
    assert "generation" in done.error
    # also on a machine that has seen nothing: the old root says so
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "no state"))
    done = run("move", root.name, tmp_path / "copy")
    assert done.code == 1
    assert "has generation 2 of the corpus" in done.error
    assert load()[root.name].root == root
    done = run("move", root.name, tmp_path / "copy", "--accept-generation", "2")
    assert done.code == 0, done.err
    assert load()[root.name].root == str(tmp_path / "copy")


def test_what_is_no_place_for_a_corpus_is_refused(run: Run, root: Root, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    before = config_path().read_text()
    cases = {
        tmp_path / "full": "has no head",
        Path(root) / "below": "lies inside",
        tmp_path: "lies inside",
        Path(f"{root}/"): "already",
        root.key_file.parent: "key",
    }
    for place, text in cases.items():
        done = run("move", root.name, place)
        assert done.code != 0, place
        assert text in done.err, (place, done.err)
    assert config_path().read_text() == before


def test_options_of_another_storage_are_left_out_and_named(run: Run, tmp_path: Path) -> None:
    options = {"profile": "own", "region": "eu-west-1"}
    write_entry("cloud", Reference("s3://voice/a", "cloud", (), (), options))
    done = run("move", "cloud", tmp_path / "here", "--json")
    assert done.code == 0, done.err
    assert "profile, region" in done.err
    assert dict(load()["cloud"].options) == {}
    copying = f"aws s3 sync s3://voice/a {tmp_path}/here --profile own --region eu-west-1"
    assert done.json == {
        "name": "cloud",
        "root": str(tmp_path / "here"),
        "from": "s3://voice/a",
        "config": str(config_path()),
        "there": False,
        "generation": None,
        "copy": copying,
    }
