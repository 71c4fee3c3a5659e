"""`securedata people`."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

import securedata as sd
from securedata.corpus.writer import Writer
from securedata.lifecycle.derived import register_derived
from tests.kit.cli.commandline import Run
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import clip

END = datetime.datetime(2999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
PAST = datetime.datetime(2001, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(
        tmp_path,
        [
            clip("ann/0.wav", 0.5, consent_id="A", purposes=["asr", "tts"], expires=END),
            clip("ann/1.wav", 0.5, seed=1, consent_id="B", purposes=["asr"], expires=PAST),
            clip("bob/0.wav", 0.5, seed=2, speaker="bob", subjects=["bob", "ann"]),
        ],
    )


def people(run: Run, root: Root, *arguments: str) -> list[list[str]]:
    done = run("people", root, *arguments)
    assert done.code == 0, done.err
    return [line.split() for line in done.out.splitlines()]


def test_everybody(run: Run, root: Root) -> None:
    run("hold", "add", root, "--subject", "bob", "--case", "7")
    header, ann, bob, total = people(run, root)
    assert header == ["person", "rows", "audio", "consents", "first", "end", "purposes"]
    assert ann == ["ann", "3", "1.50", "s", "2", "2001-12-31T23:59:59Z", "(ended", "1)", "asr,", "tts"]
    assert bob == ["bob", "1", "0.50", "s", "0", "never", "held"]
    assert " ".join(total) == "2 people, 3 rows, 1.50 s of audio; 1 held"
    document = run("people", root, "--json").json
    assert (document["rows"], document["held"], document["name"]) == (3, 1, "voice-a")
    assert [one["name"] for one in document["people"]] == ["ann", "bob"]
    assert document["people"][0]["purposes"] == ["asr", "tts"]


def test_everybody_of_an_empty_corpus(run: Run, tmp_path: Path) -> None:
    assert people(run, make_corpus(tmp_path, [])) == [["0", "people,", "0", "rows,", "0.00", "s", "of", "audio"]]


def test_a_restricted_person_is_listed_and_looked_up(run: Run, root: Root) -> None:
    run("operator", "init", "--name", "example.com/erasure")
    run("hold", "add", root, "--subject", "ann", "--case", "7")
    assert run("erase", root, "--subject", "ann", "--request", "R 1", "--received", "2026-11-30").code == 3
    assert run("ls", root).out == ""
    assert people(run, root)[1][-2:] == ["held,", "restricted"]
    shown = run("people", root, "--subject", "ann").out
    assert "request R 1, received 2026-11-30: opens for nobody until a hold ends" in shown
    assert "case 7, since " in shown


def test_one_person(run: Run, root: Root, tmp_path: Path) -> None:
    other = make_corpus(tmp_path, [clip("ann/0.wav", 0.25)], "features")
    register_derived(Writer(root.reference), Writer(other.reference).head)
    done = run("people", root, "--subject", "ann", "--also", "Bob")
    assert done.code == 0
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert lines[:2] == [
        "person ann, Bob",
        "recordings 3 rows, 3 objects, 1.50 s of audio; 1 of them name others, too",
    ]
    assert lines[2].startswith("ingested 20")
    key = Writer(other.reference).head.wraps[0].uri
    assert lines[3:] == [
        "consent A: 1 row; asr, tts; ends 2999-12-31T23:59:59Z",
        "B: 1 row; asr; ends 2001-12-31T23:59:59Z (ended 1)",
        "(no id): 1 row; no purpose recorded; no end",
        f"made from it features: 1 row, 0.25 s; opened by {key}",
        f"opened by {Writer(root.reference).head.wraps[0].uri} (yours)",
        "models not looked for: give --models DIR|URL",
    ]
    assert "other spellings that are like it: bob; add those" in done.err
    document = run("people", root, "--subject", "ann", "--json").json
    assert document["paths"] == ["ann/0.wav", "ann/1.wav", "bob/0.wav"]
    assert document["derived"][0]["rows"] == 1
    run("forget", "features")
    shown = run("people", root, "--subject", "ann").out
    assert f"{other.pin}: not looked into: it is not in your config" in shown


def test_nobody_of_that_name(run: Run, root: Root) -> None:
    done = run("people", root, "--subject", "Ann")
    assert (done.code, done.out) == (2, "")
    assert "names that are like it (1):\n  ann\n" in done.err
    assert "securedata people: error: " in done.err
    assert "'securedata people' lists those who are there" in done.err


def test_who_was_erased_is_an_answer(run: Run, root: Root) -> None:
    run("operator", "init", "--name", "example.com/erasure")
    assert run("erase", root, "--subject", "bob").code == 0
    done = run("people", root, "--subject", "bob")
    assert done.code == 0
    assert "erased in generation 3; recordings of this person are not taken" in " ".join(done.out.split())
    assert run("people", root).out.splitlines()[-1] == "1 person, 2 rows, 1.00 s of audio; 1 erased before"


def test_it_needs_no_purpose_and_writes_nothing(run: Run, root: Root) -> None:
    run("consent", "require", root)
    before = sorted((path, path.stat().st_mtime_ns) for path in Path(root).rglob("*"))
    assert run("people", root).code == 0
    assert run("people", root, "--subject", "ann").code == 0
    assert run("people", root, "--requests").code == 0
    assert run("people", root, "--report").code == 0
    assert sorted((path, path.stat().st_mtime_ns) for path in Path(root).rglob("*")) == before


WORDS = ("--license", "https://example.com/l", "--url", "https://example.com/v", "--creator", "Example Labs")


@pytest.mark.parametrize(
    "wrong",
    [
        ("--also", "Ann"),
        ("--subject", ""),
        ("--accept-generation", "99"),
        ("--subject", "ann", "--report"),
        ("--requests", "--report"),
        ("--requests", "--croissant", "c.json", *WORDS),
        ("--title", "voices"),
        ("--models", "."),
        ("--report", "--url", "https://example.com"),
        ("--croissant", "c.json"),
        ("--croissant", "c.json", *WORDS, "--title", "bob"),
        ("--croissant", "voice-a/head", *WORDS),
    ],
)
def test_bad_input(run: Run, root: Root, wrong: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(root).parent)
    head = Path(root, "head").read_bytes()
    done = run("people", root, *wrong)
    assert (done.code, done.out) == (2, "")
    assert not Path("c.json").exists()
    assert Path(root, "head").read_bytes() == head


def test_requests_that_are_open(run: Run, root: Root) -> None:
    assert run("people", root, "--requests").out == "0 open requests\n"
    run("operator", "init", "--name", "example.com/erasure")
    run("hold", "add", root, "--subject", "ann", "--case", "7")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    assert run("erase", root, "--subject", "ann", "--request", "R1", "--received", today).code == 3
    done = run("people", root, "--requests")
    assert (done.code, done.out.splitlines()[-1]) == (0, "1 open request")
    assert "the end of the hold: case 7" in done.out
    assert run("hold", "release", root, "--subject", "ann", "--case", "7").code == 0
    assert "securedata erase: no hold of their own keeps them" in run("people", root, "--requests").out
    run("hold", "add", root, "--subject", "ann", "--case", "8")
    assert run("erase", root, "--subject", "ann", "--request", "R0", "--received", "2020-01-31").code == 3
    done = run("people", root, "--requests")
    assert (done.code, done.error.endswith(f"1 request of {root} overdue")) == (1, True)
    first = done.out.splitlines()[1]
    assert first.split()[:5] == ["R0", "2020-01-31", "2020-02-29", "overdue", "by"]
    done = run("people", root, "--requests", "--json")
    assert (done.code, done.json["overdue"]) == (1, 1)
    assert [(one["reference"], one["days_left"] < 0) for one in done.json["requests"]] == [("R0", True), ("R1", False)]


def test_an_interrupted_erasure_is_open(run: Run, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    run("operator", "init", "--name", "example.com/erasure")

    def broken(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("securedata.lifecycle.erasure.erase.finish", broken)
        assert run("erase", root, "--subject", "bob", "--request", "R").code == 130
    assert "securedata erase --finish: it was interrupted" in run("people", root, "--requests").out
    shown = " ".join(run("people", root, "--subject", "bob").out.split())
    assert "unfinished 1 erasure of this person" in shown
    assert run("erase", root, "--finish").code == 0
    assert run("people", root, "--requests").out == "0 open requests\n"


def test_the_report(run: Run, root: Root, tmp_path: Path) -> None:
    run("retention", root, "--raw", "30d")
    done = run("people", root, "--report")
    assert done.code == 0
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert lines[0].startswith("2 people, 3 rows, 1.50 s of audio on 20")
    assert lines[1:4] == ["kept for: raw 30d", "rows audio people", "language (none) 3 1.50 s 2"]
    assert "consent ended 1 0.50 s 1" in lines
    assert lines[-3:] == [
        "people held: 0; restricted: 0; erased by name: 0",
        "erasures done: 0; not finished: 0",
        "corpora made from it: 0",
    ]
    assert "look before you publish" in done.err
    assert run("people", root, "--report", "--json").json["formats"] == [
        {"value": "WAV", "rows": 3, "seconds": 1.5, "people": 2}
    ]
    file = tmp_path / "public.json"
    done = run("people", root, "--croissant", file, *WORDS, "--title", "voices")
    assert (done.code, f"written: {file}" in done.err) == (0, True)
    assert json.loads(file.read_text())["name"] == "voices"
    assert not [name for name in ("ann", "bob", str(root)) if name in done.out + file.read_text().replace("annot", "")]


def test_errors_name_nobody(run: Run, root: Root) -> None:
    for part in Path(root, "manifest").iterdir():
        part.unlink()
    done = run("people", root, "--subject", "ann")
    assert done.code == 1
    assert (done.out, " ann" in done.error, "ann/" in done.error) == ("", False, False)


def test_models_that_were_trained_with_a_person(run: Run, root: Root, tmp_path: Path) -> None:
    other = make_corpus(tmp_path, [clip("ann/0.wav", 0.25)], "features")
    register_derived(Writer(root.reference), Writer(other.reference).head)
    models = tmp_path / "models"
    (models / "x").mkdir(parents=True)
    for name, reference in (("raw.pt", root.reference), ("x/made.pt", other.reference)):
        with sd.EncryptedAudioDataset(reference) as ds:
            sd.save_lineage(ds, str(models / name))
    assert "not looked for: give --models" in run("people", root, "--subject", "ann").out
    done = run("people", root, "--subject", "ann", "--models", models)
    assert done.code == 0
    found = [" ".join(line.split()) for line in done.out.splitlines()[-2:]]
    assert found[0].startswith(f"models {models}/raw.pt: record of 20")
    assert found[1].startswith(f"{models}/x/made.pt: record of 20")
    assert found[1].endswith(", with features")
    document = run("people", root, "--subject", "ann", "--models", models, "--json").json
    assert [one["path"] for one in document["models"]] == [f"{models}/raw.pt"]
    assert [one["path"] for one in document["derived"][0]["models"]] == [f"{models}/x/made.pt"]
    assert "entries" not in document["models"][0]
    (models / "raw.pt.lineage.json").unlink()
    (models / "x" / "made.pt.lineage.json").write_text("{")
    done = run("people", root, "--subject", "ann", "--models", models)
    assert (done.code, "none of 0 records names this person" in done.out) == (1, True)
    assert "1 record or folder could not be read" in done.error
    assert run("people", root, "--subject", "ann", "--models", tmp_path / "nowhere").code == 2
