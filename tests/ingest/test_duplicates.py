"""The same recordings under another path: taken and said, skipped, or not taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.config import resolve
from securedata.corpus.opening import open_corpus
from securedata.ingest import pipeline
from tests.kit.cli.commandline import Ran, Run
from tests.kit.corpora.erasing import erase
from tests.kit.corpora.recorded import make_corpus
from tests.kit.sources.folders import jsonl, record
from tests.kit.sources.recordings import write_clips

SAME = {f"ann/{name}": name for name in ("utt0.wav", "utt1.flac", "utt2.ogg")}


@pytest.fixture
def wavs(tmp_path: Path, run: Run) -> Path:
    """Six recordings, which are sealed."""
    wavs = write_clips(tmp_path / "wavs")
    assert encrypt(run, wavs, "--speaker-pattern", "{speaker}/{utterance}").json["duplicates"] == []
    return wavs


def encrypt(run: Run, src: Path, *more: str) -> Ran:
    root = src.parent / "sealed" if src.parent.name != "wavs" else src.parent.parent / "sealed"
    return run("encrypt", src, root, "--json", *more)


def again(run: Run, wavs: Path, *more: str) -> dict[str, Any]:
    """The same recordings from one folder below, and what a dry run said of it before."""
    said = encrypt(run, wavs / "ann", "--one-subject", "ann", "--dry-run", *more)
    done = encrypt(run, wavs / "ann", "--one-subject", "ann", *more)
    assert (said.code, said.json["sources"]) == (done.code, done.json["sources"])
    assert [one["path"] for one in said.json["problems"]] == [one["path"] for one in done.json["problems"]]
    return {**done.json, "code": done.code}


def stored(wavs: Path) -> tuple[set[str], int]:
    """Paths of the corpus, and how many objects are on storage."""
    with open_corpus(wavs.parent / "sealed") as corpus:
        paths = set(corpus.table["path"].to_pylist())
    objects = (wavs.parent / "sealed" / "objects").rglob("*")
    return paths, sum(path.is_file() for path in objects)


def test_taken_and_said(run: Run, wavs: Path) -> None:
    done = again(run, wavs)
    assert (done["code"], done["added"], done["sources"]["taken"]) == (0, 3, 3)
    assert {one["same_as"]: one["path"] for one in done["duplicates"]} == SAME
    assert again(run, wavs)["duplicates"] == [], "what is there is not new"


def test_skipped(run: Run, wavs: Path) -> None:
    before = stored(wavs)
    for _ in range(2):
        done = again(run, wavs, "--if-duplicate", "skip")
        assert (done["code"], done["complete"], done["added"]) == (0, True, 0)
        assert (done["sources"]["left_out"], done["sources"]["files"]) == (3, 3)
        assert {one["same_as"]: one["path"] for one in done["duplicates"]} == SAME
        assert stored(wavs) == before, "and no object stays behind"
    assert run("verify", wavs.parent / "sealed", "-q").code == 0


def test_a_copy_with_other_people_is_not_skipped(run: Run, wavs: Path) -> None:
    """Else nothing in the corpus would say that it is this person's voice, too."""
    arguments = ("--one-subject", "eve", "--if-duplicate", "skip")
    said, done = (encrypt(run, wavs / "ann", *arguments, *more) for more in (("--dry-run",), ()))
    for ran in (said, done):
        assert (ran.code, ran.json["added"], ran.json["sources"]["not_taken"]) == (1, 0, 3)
        reasons = {one["path"]: one["reason"] for one in ran.json["problems"]}
        assert reasons == {
            name: f"has the content of {path}, which does not name these people: name them there, too"
            for path, name in SAME.items()
        }
    assert stored(wavs)[1] == 6


def test_copies_of_two_people_in_one_run(run: Run, tmp_path: Path) -> None:
    for name in ("ann/1.wav", "ann/2.wav", "bob/1.wav"):
        record(tmp_path / "src" / name)
    done = encrypt(run, tmp_path / "src", "--speaker-pattern", "{speaker}/{utterance}", "--if-duplicate", "skip")
    assert (done.code, done.json["added"], done.json["sources"]["left_out"]) == (1, 1, 1)
    assert [one["path"] for one in done.json["problems"]] == ["bob/1.wav"]


def test_not_taken(run: Run, wavs: Path) -> None:
    before = stored(wavs)
    record(wavs / "ann" / "new.wav", 0.3)
    done = again(run, wavs, "--if-duplicate", "fail")
    assert (done["code"], done["added"], done["sources"]["not_taken"]) == (1, 1, 3)
    assert {one["path"]: one["reason"] for one in done["problems"]} == {
        path: f"has the content of {other}, which is taken" for other, path in SAME.items()
    }
    assert stored(wavs) == (before[0] | {"new.wav"}, before[1] + 1)


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_within_one_run(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(pipeline, "COMMIT_ROWS", rows)
    for name in ("a.wav", "b.wav", "c.wav"):
        record(tmp_path / "src" / name, 0.3)
    record(tmp_path / "src" / "d.wav", 0.4)
    done = encrypt(run, tmp_path / "src", "--one-subject", "x", "--if-duplicate", "skip", "--threads", "1")
    assert (done.code, done.json["added"], done.json["sources"]["left_out"]) == (0, 2, 2)
    with open_corpus(tmp_path / "sealed") as corpus:
        assert set(corpus.table["path"].to_pylist()) == {"a.wav", "d.wav"}


def test_what_is_there_is_resealed_and_replaced_whatever_else_has_its_content(run: Run, wavs: Path) -> None:
    again(run, wavs)
    done = again(run, wavs, "--if-duplicate", "skip", "--reseal")
    assert (done["replaced"], done["duplicates"]) == (3, [])
    (wavs / "ann" / "utt0.wav").write_bytes((wavs / "bob" / "utt0.wav").read_bytes())
    done = again(run, wavs, "--if-duplicate", "fail", "--replace")
    assert (done["code"], done["replaced"]) == (0, 1)


def test_segments_of_one_recording_are_no_duplicates(run: Run, tmp_path: Path) -> None:
    record(tmp_path / "src" / "talk.wav", 2)
    row = {"audio_filepath": "talk.wav", "speaker": "ann"}
    for offsets in ((0.0, 0.5), (1.0, 1.5)):
        rows = [{**row, "offset": offset, "duration": 0.5} for offset in offsets]
        manifest = str(jsonl(tmp_path / "m.jsonl", *rows))
        done = encrypt(run, tmp_path / "src", "--manifest", manifest, "--if-duplicate", "fail")
        assert (done.code, done.json["added"], done.json["duplicates"]) == (0, 2, [])


@pytest.mark.parametrize("more", [(), ("--reseal",), ("--replace",), ("--checksum",)], ids="".join)
@pytest.mark.parametrize("policy", ["take", "skip", "fail"])
@pytest.mark.parametrize("other", ["as long", "longer"])
def test_a_new_segment_of_what_is_there_under_a_path_of_its_own(
    run: Run, tmp_path: Path, policy: str, more: tuple[str, ...], other: str
) -> None:
    src, row = tmp_path / "src", {"speaker": "ann", "duration": 0.5}
    for name in ("a.wav", "b.wav"):
        record(src / name, 2)
    if "--replace" in more:  # b.wav becomes a copy of a.wav, of which it has been another recording
        record(src / "b.wav", 2 if other == "as long" else 3)
        (src / "b.wav").write_bytes((src / "b.wav").read_bytes()[:-2] + b"\1\1")
    first = [{"path": "a.wav", "speaker": "ann"}, {"path": "b.wav", "offset": 0, **row}]
    second = [*first, {"path": "b.wav", "offset": 1, **row}, {"path": "b.wav", "offset": 1.5, **row}]
    manifest = tmp_path / "m.jsonl"
    assert encrypt(run, src, "--manifest", str(jsonl(manifest, *first))).code == 0
    (src / "b.wav").write_bytes((src / "a.wav").read_bytes())
    options = ("--manifest", str(jsonl(manifest, *second)), "--if-duplicate", policy, *more)
    said, done = encrypt(run, src, "--dry-run", *options), encrypt(run, src, *options)
    for name in ("added", "replaced", "unchanged", "sources", "problems", "conflicts"):
        assert said.json[name] == done.json[name], name
    assert (said.code, done.code, done.json["added"]) == (0, 0, 2)
    assert run("verify", tmp_path / "sealed").code == 0, "no object is missing"


@pytest.mark.parametrize("policy", ["take", "skip", "fail"])
def test_a_new_segment_of_what_is_there_with_other_content(run: Run, tmp_path: Path, policy: str) -> None:
    src, whole = tmp_path / "src", {"path": "b.wav", "speaker": "ann"}
    record(src / "a.wav", 2)
    record(src / "b.wav", 3)
    assert encrypt(run, src, "--one-subject", "ann").code == 0
    (src / "b.wav").write_bytes((src / "a.wav").read_bytes())
    manifest = jsonl(tmp_path / "m.jsonl", whole, {**whole, "offset": 1, "duration": 0.5})
    options = ("--manifest", str(manifest), "--only-listed", "--if-duplicate", policy)
    said, done = encrypt(run, src, "--dry-run", *options), encrypt(run, src, *options)
    for name in ("added", "sources", "problems", "conflicts"):
        assert said.json[name] == done.json[name], name
    assert (done.code, done.json["conflicts"], done.json["added"]) == (1, ["b.wav"], 1)
    assert run("verify", tmp_path / "sealed").code == 0


def test_the_summary_for_people(run: Run, wavs: Path) -> None:
    root = resolve(str(wavs.parent / "sealed")).root
    done = run("encrypt", wavs / "ann", root, "--one-subject", "ann")
    assert "taken, although the content has another path already (--if-duplicate) (3):" in done.err
    assert "  utt0.wav: same as ann/utt0.wav" in done.err


def test_content_that_a_run_replaces_is_no_copy_of_a_file_that_was_renamed(run: Run, tmp_path: Path) -> None:
    """As logs are rotated: what was a.wav is b.wav now, and a.wav is something new."""
    src = tmp_path / "src"
    record(src / "a.wav", 0.3)
    assert encrypt(run, src, "--one-subject", "x").code == 0
    for seconds in (0.3, 0.4):  # of the same size, too, where only the digest tells
        (src / "a.wav").rename(src / "b.wav")
        record(src / "a.wav", seconds)
        data = (src / "a.wav").read_bytes()
        (src / "a.wav").write_bytes(data[:-2] + b"\x01\x02")
        more = ("--one-subject", "x", "--replace", "--if-duplicate", "skip")
        said, done = encrypt(run, src, *more, "--dry-run").json, encrypt(run, src, *more).json
        assert said["sources"] == done["sources"]
        assert (done["sources"]["taken"], done["duplicates"]) == (2, [])
        assert encrypt(run, src, *more).json["unchanged"] == 2, "and both are in the corpus"


def test_what_is_not_taken_is_no_reason_to_leave_out_another(run: Run, tmp_path: Path) -> None:
    root = make_corpus(tmp_path)
    wavs = write_clips(tmp_path / "wavs")
    erase(root, "bob")
    (wavs / "cid").mkdir()
    (wavs / "cid" / "u.wav").write_bytes((wavs / "bob" / "utt0.wav").read_bytes())  # bob's are no longer taken
    record(wavs / "ann/utt0.wav", 0.6)  # a conflict
    record(wavs / "cid/v.wav", 0.6)
    more = ("--speaker-pattern", "{speaker}/{utterance}", "--if-duplicate", "skip", "--json")
    said = run("encrypt", wavs, root, *more, "--dry-run").json
    done = run("encrypt", wavs, root, *more).json
    assert len(done["erased"]) == 3
    assert "ann/utt0.wav" in done["conflicts"]
    assert (done["added"], done["duplicates"]) == (2, []), "cid's are nowhere else"
    assert said["sources"] == done["sources"]
