"""`securedata split`, as people and scripts use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from securedata.corpus.writer import Writer
from tests.cli.lifecycle.test_remove import hold
from tests.kit.cli.commandline import Run
from tests.kit.corpora.contents import current
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.corpora.shared import share, talk


@pytest.fixture
def old(tmp_path: Path) -> Root:
    """Two shared recordings: of ann and ben, who overlap, and of cid and dan."""
    root = make_corpus(tmp_path, [], name="old")
    share(Writer(root.reference), talk(), [(0, 16000, "ann"), (12000, 8000, "ben"), (24000, 8000, "ann")])
    share(Writer(root.reference), talk(), [(0, 16000, "cid"), (16000, 32000, "dan")], "b/two.wav")
    return root


def people(root: Root) -> dict[str, list[str]]:
    return {path: row["subjects"] for path, row in current(root.reference).items()}


def test_a_dry_run_and_a_split(run: Run, old: Root) -> None:
    before = people(old)
    said = run("split", old.name, "--dry-run")
    assert said.code == 0
    assert said.out == "would split 2 recordings into 5 segments\n1.25 s of audio would be lost: it is in no segment\n"
    overlaps = "erasing any of these people erases them (2):\n  talk@0-16000.wav\n  talk@12000-20000.wav\n"
    assert overlaps in said.err
    assert people(old) == before
    done = run("split", old.name)
    assert done.code == 0
    assert done.out.splitlines() == [
        "split 2 recordings into 5 segments (160.2 kB)",
        "1.25 s of audio is lost: it was in no segment",
    ]
    assert overlaps in done.err
    assert "the old objects are deleted after 24 hours, by the first commit or prune" in done.err
    assert people(old) == {
        "talk@0-16000.wav": ["ann", "ben"],
        "talk@12000-20000.wav": ["ben", "ann"],
        "talk@24000-32000.wav": ["ann"],
        "b/two@0-16000.wav": ["cid"],
        "b/two@16000-48000.wav": ["dan"],
    }
    again = run("split", old.name)
    assert (again.code, again.out, again.err) == (0, "split 0 recordings into 0 segments\n", "")


def test_json_and_now(run: Run, old: Root) -> None:
    said = run("split", old.name, "b", "--now", "--json")
    assert said.code == 0
    assert (said.json["objects"], said.json["rows"], said.json["deleted"]) == (1, 2, 2)
    assert (said.json["failed"], said.json["complete"], said.json["dry_run"]) == ([], True, False)
    done = run("split", old.name, "--now", "-q", "--threads", "1")
    assert done.out.splitlines()[-1] == "deleted the old objects; readers in flight hear RowReplaced"
    assert done.err == ""
    assert len([one for one in Path(old, "objects").rglob("*") if one.is_file()]) == 5
    assert run("verify", old.name).code == 0


def test_what_stays(run: Run, old: Root) -> None:
    share(Writer(old.reference), talk(), [(0, 16000, ""), (16000, 8000, "eve")], "c.wav", people=["eve", "fay"])
    share(Writer(old.reference), talk(), [(0, 16000, "eve"), (16000, 8000, "eve")], "d.wav", people=["eve", "fay"])
    share(Writer(old.reference), talk(), [(0, 16000, "eve"), (15000, 8000, "fay")], "e.wav")
    [gone] = {row["object_id"].hex() for path, row in current(old.reference).items() if path.startswith("b/")}
    next(Path(old, "objects").rglob(gone)).unlink()
    said = run("split", old.name, "--dry-run", "-q")
    assert (said.code, said.out.splitlines()[0]) == (1, "would split 2 recordings into 5 segments")
    done = run("split", old.name)
    assert (done.code, done.out.splitlines()[0]) == (1, "split 1 recording into 3 segments (64.1 kB)")
    assert "no speaker among their people: name them with 'securedata relabel' (1):\n  c@0-16000.wav\n" in done.err
    assert "(2):\n  d@0-16000.wav\n  d@16000-24000.wav\n" in done.err
    assert "everyone is heard in each segment of their recording (2):\n  e@0-16000.wav\n" in done.err
    assert "not split (1):\n  b/two@0-16000.wav, b/two@16000-48000.wav: " in done.err
    assert done.error == f"securedata: error: 5 segments of {old} not split"
    told = run("split", old.name, "--json")
    assert (told.code, told.json["failed"][0]["error"]) == (1, "NotFound")
    assert told.json["failed"][0]["paths"] == ["b/two@0-16000.wav", "b/two@16000-48000.wav"]


def test_a_hold(run: Run, old: Root) -> None:
    hold(old, "dan")
    for more, verb in (["--dry-run"], "would split"), ([], "split"):
        done = run("split", old.name, *more)
        assert done.code == 3
        assert done.out.startswith(f"{verb} 1 recording into 3 segments")
        assert "under a hold, left as they are (2):\n  b/two@0-16000.wav\n" in done.err
    assert people(old)["b/two@0-16000.wav"] == ["cid", "dan"]


def test_a_path_that_matches_nothing(run: Run, old: Root) -> None:
    done = run("split", old.name, "b", "nobody/*")
    assert (done.code, done.out) == (1, "")
    assert done.error.endswith("nothing was split: 'securedata ls -R' lists all paths [nobody/*]")
    assert len(people(old)["b/two@0-16000.wav"]) == 2
