"""What a run does not mention stays: updates, replacements and resealing, by every column."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from securedata.corpus.config import Reference
from securedata.corpus.rows.inherit import CLEARABLE
from securedata.corpus.schema import DESCRIPTIVE
from securedata.corpus.writer import Writer
from securedata.testing.memory import MemoryStorage
from tests.kit.cli.commandline import PATTERN, Ran, Run
from tests.kit.corpora.contents import current
from tests.kit.corpora.rows import content, fill, row, table, writer_of
from tests.kit.sources.recordings import clip, write_clips

SAID: dict[str, Any] = {
    "speaker": "ann",
    "utterance": "seven",
    "transcript": "hello",
    "split": "train",
    "language": "en",
    "source_mtime_ns": 5,
    "consent_id": "c-1",
    "purposes": ["asr", "tts"],
    "expires": datetime.datetime(2030, 1, 2, tzinfo=datetime.UTC),
    "last_contact": datetime.datetime(2025, 3, 4, tzinfo=datetime.UTC),
    "extra": '{"mood":"calm","room":3}',
}
NO_CONSENT = {"consent_id": None, "purposes": None, "expires": None, "last_contact": None}
EMPTY: dict[str, Any] = {**dict.fromkeys(SAID, ""), **NO_CONSENT}
EMPTY["source_mtime_ns"] = 0
DEFAULTS = {"speaker": "ann", "utterance": "u"}


def again(writer: Writer, way: str, **columns: Any) -> pa.Table:
    """A later run meets ann/u.wav."""
    changed = b"other" if way == "replace" else content("ann/u.wav")
    return table(row(writer, "ann/u.wav", changed, **columns))


def said(one: dict[str, Any]) -> dict[str, Any]:
    return {name: one.get(name) for name in DESCRIPTIVE}


def test_every_column_is_held_here() -> None:
    assert set(SAID) == set(DESCRIPTIVE)


@pytest.mark.parametrize("way", ["rerun", "replace", "reseal"])
def test_what_a_run_does_not_mention_stays(corpus: Reference, place: MemoryStorage, writer: Writer, way: str) -> None:
    first = table(row(writer, "ann/u.wav", content("ann/u.wav"), ["ann"], **SAID))
    writer.commit(first.append_column("from_the_future", pa.array([7])))
    outcome = writer.commit(again(writer, way, **EMPTY), replace=way == "replace", reseal=way == "reseal")
    found = current(corpus, place)["ann/u.wav"]
    assert said(found) == SAID
    assert found["from_the_future"] == 7
    assert not outcome.columns
    assert (outcome.unchanged, outcome.replaced) == ((1, 0) if way == "rerun" else (0, 1))


@pytest.mark.parametrize("way", ["rerun", "replace", "reseal"])
@pytest.mark.parametrize("name", CLEARABLE)
def test_what_is_to_be_cleared_is(corpus: Reference, place: MemoryStorage, writer: Writer, way: str, name: str) -> None:
    writer.commit(table(row(writer, "ann/u.wav", content("ann/u.wav"), ["ann"], **SAID)))
    clear = {"ann/u.wav": [name], "another.wav": CLEARABLE}
    outcome = writer.commit(again(writer, way, **EMPTY), replace=way == "replace", reseal=way == "reseal", clear=clear)
    expected = {**SAID, name: DEFAULTS.get(name, EMPTY[name])}
    assert said(current(corpus, place)["ann/u.wav"]) == expected
    assert dict(outcome.columns) == ({name: 1} if expected != SAID else {})


def test_keys_of_extra_are_looked_at_one_by_one(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    def run(extra: str, **options: Any) -> str:
        writer.commit(again(writer, "rerun", extra=extra), **options)
        return str(current(corpus, place)["ann/u.wav"]["extra"])

    assert run('{"mood":"calm","room":3}') == '{"mood":"calm","room":3}'
    assert run('{"mood":"loud"}') == '{"mood":"loud","room":3}'
    assert run('{"room": 3}') == '{"mood":"loud","room":3}', "nothing new, so the text stays"
    assert run('{"mood":"calm"}', clear={"ann/u.wav": ["extra"]}) == '{"mood":"calm"}'
    assert run("no JSON") == "no JSON"
    assert run('{"room":3}') == '{"room":3}'


def test_what_is_said_of_other_people_is_not_inherited(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    writer.commit(table(row(writer, "ann/u.wav", content("ann/u.wav"), ["ann"], **SAID)))
    outcome = writer.commit(table(row(writer, "ann/u.wav", b"new", ["bob"], **EMPTY)), replace=True)
    found = said(current(corpus, place)["ann/u.wav"])
    assert found == {**SAID, "speaker": "bob", **NO_CONSENT}
    assert {"subjects", "speaker", *NO_CONSENT} == set(outcome.columns)


@pytest.mark.parametrize("kept", ["", '{"mood":"calm","room":3}'])
@pytest.mark.parametrize("new", ["", '{"mood":"loud"}', '{"consent_id":"of bob"}'])
def test_nor_is_consent_that_lies_in_extra(
    corpus: Reference, place: MemoryStorage, writer: Writer, kept: str, new: str
) -> None:
    rest = json.loads(kept or "{}")
    consent = {"consent_id": "c-1", "Consent date": "2020", "purposes": ["asr"], "expires": "2030"}
    extra = json.dumps({**rest, **consent})
    writer.commit(table(row(writer, "ann/u.wav", content("ann/u.wav"), ["ann"], **{**SAID, "extra": extra})))
    outcome = writer.commit(table(row(writer, "ann/u.wav", b"new", ["bob"], extra=new)), replace=True)
    found = current(corpus, place)["ann/u.wav"]["extra"]
    assert json.loads(found or "{}") == {**rest, **json.loads(new or "{}")}
    assert outcome.columns["extra"] == 1


def test_a_speaker_who_is_among_the_new_people_stays(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    writer.commit(table(row(writer, "ann/u.wav", content("ann/u.wav"), ["ann"], **SAID)))
    writer.commit(table(row(writer, "ann/u.wav", b"new", ["bob", "ann"], **EMPTY)), replace=True)
    assert current(corpus, place)["ann/u.wav"]["speaker"] == "ann"


def test_a_row_that_another_writer_updates_meanwhile_is_inherited_as_it_is(
    corpus: Reference, place: MemoryStorage, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.commit(table(row(writer, "ann/u.wav", content("ann/u.wav"), ["ann"], **SAID)))
    other, replace = writer_of(corpus, place), place.replace

    def after_another(key: str, data: Any, version: Any) -> None:
        monkeypatch.setattr(place, "replace", replace)
        other.commit(again(other, "rerun", **{**EMPTY, "transcript": "better"}))
        replace(key, data, version)

    monkeypatch.setattr(place, "replace", after_another)
    writer.commit(again(writer, "reseal", **EMPTY), reseal=True)
    assert said(current(corpus, place)["ann/u.wav"]) == {**SAID, "transcript": "better"}


def test_a_path_that_is_removed_leaves_nothing_behind(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    writer.commit(table(row(writer, "ann/u.wav", content("ann/u.wav"), ["ann"], **SAID)))
    writer.commit(table(row(writer, "ann/u.wav", b"new", ["ann"])), remove=["ann/u.wav"])
    assert current(corpus, place)["ann/u.wav"]["transcript"] == ""
    fill(writer, "more")


# --------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def src(tmp_path: Path) -> Path:
    return write_clips(tmp_path / "src", [clip("ann/a.wav", 0.1, seed=1), clip("ann/b.wav", 0.1, seed=2)])


def encrypt(run: Run, src: Path, rows: list[dict[str, Any]] | None, *more: str) -> Ran:
    manifest = src.parent / "m.jsonl"
    manifest.write_text("".join(json.dumps(one) + "\n" for one in rows or []))
    given = ("--manifest", manifest) if rows else ()
    return run("encrypt", src, src.parent / "sealed", *PATTERN, *given, "--json", *more)


def exported(run: Run, src: Path) -> dict[str, dict[str, Any]]:
    back = src.parent / f"back{len(list(src.parent.iterdir()))}"
    assert run("export", src.parent / "sealed", back, "--allow-plaintext-export").code == 0
    rows = [json.loads(line) for line in (back / "manifest.jsonl").read_text().splitlines()]
    return {one["audio_filepath"]: one for one in rows}


FULL_ROW = {"utterance": "seven", "text": "hello", "split": "train", "lang": "en", "mood": "calm", "room": 3}


@pytest.mark.parametrize("option", ["", "--checksum", "--replace", "--reseal"])
@pytest.mark.parametrize("change", ["nothing", "time", "content"])
def test_a_run_without_the_manifest_keeps_all_of_it(run: Run, src: Path, option: str, change: str) -> None:
    assert encrypt(run, src, [{"path": name, **FULL_ROW} for name in ("ann/a.wav", "ann/b.wav")]).code == 0
    before = exported(run, src)
    if change == "time":
        (src / "ann/a.wav").touch()
    elif change == "content":
        (src / "ann/a.wav").write_bytes(clip("a.wav", 0.1, seed=3).data)
    done = encrypt(run, src, None, *([option] if option else []))
    assert done.code == (1 if change == "content" and option not in ("--replace", "--reseal") else 0)
    assert exported(run, src) == before
    assert set(done.json["columns"]) <= {"source_mtime_ns"}


def test_what_a_manifest_leaves_empty_is_cleared_on_request_only(run: Run, src: Path) -> None:
    names = ("ann/a.wav", "ann/b.wav")
    encrypt(run, src, [{"path": name, **FULL_ROW} for name in names])
    before = exported(run, src)
    rows: list[dict[str, Any]] = [{"path": names[0], "text": "", "mood": None}]
    assert encrypt(run, src, rows).json["unchanged"] == 2
    assert exported(run, src) == before
    done = encrypt(run, src, rows, "--clear", "transcript", "--clear", "extra")
    assert done.code == 0
    assert (done.json["updated"], done.json["columns"]) == (1, {"extra": 1, "transcript": 1})
    after = exported(run, src)
    assert after[names[1]] == before[names[1]], "the manifest does not name it"
    assert set(before[names[0]]) - set(after[names[0]]) >= {"mood", "room"}
    assert "hello" not in after[names[0]].values()
    assert after[names[0]]["split"] == "train"


def test_without_a_manifest_a_column_is_cleared_everywhere(run: Run, src: Path) -> None:
    encrypt(run, src, [{"path": name, **FULL_ROW} for name in ("ann/a.wav", "ann/b.wav")])
    done = encrypt(run, src, None, "--clear", "split")
    assert done.json["columns"] == {"split": 2}
    assert encrypt(run, src, None, "--clear", "split").json["unchanged"] == 2
    assert all("split" not in one for one in exported(run, src).values())


def test_the_summary_counts_by_column(run: Run, src: Path) -> None:
    encrypt(run, src, [{"path": "ann/a.wav", **FULL_ROW}, {"path": "ann/b.wav"}])
    manifest = src.parent / "m.jsonl"
    manifest.write_text('{"path":"ann/a.wav","text":"bye"}\n{"path":"ann/b.wav","text":"bye","split":"dev"}\n')
    done = run("encrypt", src, src.parent / "sealed", *PATTERN, "--manifest", manifest)
    assert "changed, by column: split 1, transcript 2" in done.out


def test_a_column_that_cannot_be_cleared(run: Run, src: Path) -> None:
    done = encrypt(run, src, None, "--clear", "path")
    assert done.code == 2
    assert "'path' cannot be cleared: choose among speaker," in done.err
    assert not (src.parent / "sealed").exists(), "and nothing was made"
