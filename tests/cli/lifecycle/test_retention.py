"""`securedata retention`: set, check, apply."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import pyarrow as pa
import pytest

from securedata.corpus.config import config_path
from securedata.corpus.rows.changes import Changes
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.writer import Writer
from securedata.lifecycle.derived import register_derived
from tests.kit.cli.commandline import Run
from tests.kit.corpora.contents import manifest_of
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import clip

DAY = 24 * 3600


@pytest.fixture(autouse=True)
def operator(run: Run) -> None:
    run("operator", "init", "--name", "example.com/erasure")


def paths(root: Root) -> list[str]:
    return [str(row["path"]) for row in manifest_of(root, "path")]


def later(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """The clocks of the host and of storage move on, as far as the command asks them."""
    moved = time.time() + days * DAY
    monkeypatch.setattr("securedata.lifecycle.erasure.erase.agreed_time", lambda storage: moved)


def test_a_rule_is_set_and_shown(run: Run, root: Root) -> None:
    assert run("retention", root.name).out.startswith(f"{root}: no rule")
    done = run("retention", root.name, "--raw", "30d", "--inactive", "3y")
    assert (done.code, done.out) == (0, f"{root}: raw 30d, inactive 3y\n")
    generation = Writer(root.reference).head.generation
    assert run("retention", root.name, "--raw", "30d").code == 0
    assert Writer(root.reference).head.generation == generation
    assert run("retention", root.name, "--inactive", "none", "--features", "52w", "--json").json["rule"] == {
        "raw": "30d",
        "features": "52w",
    }


def test_what_is_overdue_is_erased(run: Run, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    run("retention", root.name, "--raw", "30d")
    assert run("retention", root.name, "--check").code == 0
    assert run("retention", root.name, "--apply").out == f"nothing of {root} is overdue\n"
    later(monkeypatch, 31)
    checked = run("retention", "--all", "--check")
    assert checked.code == 1
    assert "overdue: 6 rows, " in checked.out
    done = run("retention", root.name, "--apply")
    assert done.code == 0
    assert "erased 6 rows (retention): deleted where visible" in done.out
    assert paths(root) == []
    assert run("retention", "--all", "--apply").code == 0
    assert run("verify", root.name).code == 0


def test_what_has_ended_and_the_rest_go_in_one_run(
    run: Run, here: Path, wavs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two erasures takes all that the first has left."""
    pattern = ("--speaker-pattern", "{speaker}/{utterance}")
    assert run("encrypt", wavs / "ann", "./other", "--one-subject", "ann", "--expires", "2030-01-01").code == 0
    assert run("encrypt", wavs, "other", *pattern).code in (0, 1)
    run("retention", "other", "--raw", "10y")
    later(monkeypatch, 3660)
    done = run("retention", "other", "--apply")
    assert (done.code, done.err) == (0, "")
    assert [line.partition(")")[0].partition("(")[2] for line in done.out.splitlines()[::2]] == ["expired", "retention"]
    assert run("info", "other", "--json").json["recordings"] == 0


def test_the_last_contact_counts(run: Run, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(root.reference)
    rows = [row for part in writer.head.parts for row in writer.read_table(part, None).to_pylist()]
    when = datetime.datetime.now(datetime.UTC)
    mine = [row for row in rows if row["path"].startswith("ann/")]
    new = pa.table(
        {
            "path": pa.array([row["path"] for row in mine], pa.large_string()),
            "old_id": pa.array([row["object_id"] for row in mine], pa.binary(16)),
            "last_contact": pa.array([when] * len(mine), pa.timestamp("us", tz="UTC")),
        }
    )
    changes = Changes(rewrite=new)

    def change(attempt: Try) -> Next[None]:
        return Next(None, attempt.write(attempt.plan(changes), changes))

    writer.transact(change)
    run("retention", root.name, "--inactive", "1y")
    later(monkeypatch, 370)
    assert run("retention", root.name, "--apply").code == 0
    assert {path.partition("/")[0] for path in paths(root)} == {"bob"}


@pytest.fixture
def ended(tmp_path: Path) -> Root:
    """A corpus with a recording whose consent has ended, and one that stays."""
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    clips = [clip("ann/0.wav", 0.2, consent_id="C-1", expires=past), clip("bob/0.wav", 0.2, seed=1, speaker="bob")]
    return make_corpus(tmp_path, clips, "ended")


@pytest.fixture
def made(ended: Root, tmp_path: Path) -> Root:
    """A corpus made from `ended`, with the same people, in a pack."""
    made = make_corpus(tmp_path, ended.clips, "made")
    register_derived(Writer(ended.reference), Writer(made.reference).head)
    return made


def test_a_corpus_made_from_it_that_is_elsewhere_is_named_until_it_is_reached(
    run: Run, ended: Root, made: Root
) -> None:
    entry = run("info", "made", "--config").out
    assert run("pack", "made").code == 0
    run("forget", "made")
    for _ in range(2):  # nothing is overdue at the second run
        done = run("retention", "--all", "--apply", "--quiet")
        named = f"corpus {made.pin}, made from this one, has still to be reached: it is not in your config"
        assert (done.code, done.err.count(named)) == (0, 1)
    assert paths(ended) == ["bob/0.wav"]
    with config_path().open("a", encoding="utf-8") as file:
        file.write(f"\n{entry}")
    done = run("retention", "ended", "--apply", "--json")
    [reached], [completed] = done.json["reached"], done.json["completed"]
    assert (done.code, reached["state"], paths(made)) == (0, "erased", ["bob/0.wav"])
    assert [(one["corpus"], one["packs"]) for one in done.json["receipts"]] == [("made", 1)]
    assert Path(completed["path"]).exists()
    assert run("retention", "ended", "--apply").out == f"nothing of {ended} is overdue\n"


def test_a_corpus_made_from_it_that_fails_or_is_held_has_an_exit_code(run: Run, ended: Root, made: Root) -> None:
    assert run("hold", "add", "made", "--subject", "ann", "--case", "7").code == 0
    done = run("retention", "ended", "--apply")
    assert (done.code, "a hold keeps rows there" in done.err) == (3, True)
    Path(made, "head").rename(Path(made, "away"))
    done = run("retention", "ended", "--apply", "--json")
    assert (done.code, [one["state"] for one in done.json["reached"]]) == (1, ["failed"])
    assert "made from this one, has still to be reached: " in done.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--raw", "0d"], "is not a span"),
        (["--raw", "30"], "is not a span"),
        (["--raw", "1d", "--check"], "one at a time"),
        (["--all"], "--all goes with"),
    ],
)
def test_bad_input(run: Run, root: Root, arguments: list[str], text: str) -> None:
    done = run("retention", root.name, *arguments)
    assert done.code == 2
    assert text in done.err


def test_a_clock_that_is_wrong_stops_it(run: Run, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("securedata.lifecycle.erasure.erase.time.time", lambda: time.time_ns() / 1e9 + 2 * 3600)
    done = run("retention", root.name, "--check")
    assert done.code == 1
    assert "one of them is wrong" in done.error
