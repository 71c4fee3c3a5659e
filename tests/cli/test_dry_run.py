"""`securedata encrypt --dry-run`: it writes nothing, and the run after it does what it said."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.home import data_dir
from securedata.ingest import preview
from securedata.ingest.sources import origin
from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.corpora.erasing import erase
from tests.kit.corpora.recorded import make_corpus
from tests.kit.sources.folders import jsonl, record
from tests.kit.sources.recordings import encode, noise, some_clips


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All files of the test, its home included, with their times and contents."""
    homes = {folder, *(Path(os.environ[f"XDG_{name}_HOME"]) for name in ("CONFIG", "DATA", "STATE"))}
    files = {path for home in homes for path in home.rglob("*") if path.is_file()}
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


SHARED = ("added", "replaced", "updated", "unchanged", "transcripts", "conflicts", "problems", "sources")
SHARED += ("hidden_names", "complete")


def check(run: Run, folder: Path, *arguments: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rehearse, see that nothing changed, run, and see that both say the same."""
    before = everything(folder)
    said = run("encrypt", *arguments, "--dry-run", "--json")
    assert everything(folder) == before
    done = run("encrypt", *arguments, "--json")
    assert said.code == done.code
    assert {name: said.json[name] for name in SHARED} == {name: done.json[name] for name in SHARED}
    if not done.json["erased"]:  # whose recordings a run may seal before it sees that nobody may have them
        assert said.json["bytes"] == done.json["bytes"]
    return said.json, done.json


def test_nothing_is_written_and_the_run_does_what_was_said(run: Run, tmp_path: Path, wavs: Path) -> None:
    (wavs / "ann" / "broken.wav").write_bytes(b"no audio")
    (wavs / "ann" / "notes.txt").write_text("x")
    (wavs / ".hidden.wav").write_bytes(b"x")
    (wavs / "ann" / "again.wav").write_bytes((wavs / "ann" / "utt0.wav").read_bytes())
    first, _ = check(run, tmp_path, wavs, tmp_path / "sealed", *PATTERN)
    assert (first["root"], first["added"], first["sources"]["not_taken"]) == (None, 7, 1)
    assert first["people"]["ann"] == {"recordings": 4, "seconds": pytest.approx(2.3)}
    assert first["seconds"] == pytest.approx(4.0)
    assert first["duplicates"] == [["ann/again.wav", "ann/utt0.wav"]]
    assert {one["path"]: (one["subjects"], one["action"]) for one in first["recordings"]}["bob/utt1.flac"] == (
        ["bob"],
        "add",
    )
    (wavs / "ann" / "utt0.wav").write_bytes(encode(noise(0.9), 16_000))  # other content
    (wavs / "ann" / "utt1.flac").touch()  # another time
    (wavs / "bob" / "new.wav").write_bytes((wavs / "bob" / "utt0.wav").read_bytes())
    second, _ = check(run, tmp_path, wavs, tmp_path / "sealed", *PATTERN)
    assert second["name"] == "sealed"
    assert (second["added"], second["updated"], second["conflicts"]) == (1, 1, ["ann/utt0.wav"])
    assert second["duplicates"] == [["bob/new.wav", "bob/utt0.wav"]]
    third, _ = check(run, tmp_path, wavs, "sealed", *PATTERN, "--replace")
    assert (third["added"], third["replaced"]) == (0, 1)
    fourth, _ = check(run, tmp_path, wavs, "sealed", *PATTERN, "--reseal")
    assert fourth["replaced"] == 8


def test_duplicates_of_what_is_in_the_corpus_under_other_paths(run: Run, tmp_path: Path, wavs: Path) -> None:
    assert run("encrypt", wavs, tmp_path / "sealed", *PATTERN).code == 0
    said, _ = check(run, tmp_path, wavs / "ann", "sealed", "--one-subject", "ann")
    assert said["duplicates"] == [[f"ann/{name}", name] for name in ("utt0.wav", "utt1.flac", "utt2.ogg")]


def test_words_and_segments(run: Run, tmp_path: Path, wavs: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"path": "ann/utt0.wav", "start": 0.0, "end": 0.2, "speaker": "ann", "text": "one"},
        {"path": "ann/utt0.wav", "start": 0.2, "end": 0.4, "speaker": "ann", "text": "two"},
        {"path": "bob/utt0.wav", "start": None, "end": None, "speaker": "bob", "text": "three"},
    ]
    manifest = tmp_path / "m.jsonl"
    options = (wavs, tmp_path / "sealed", "--manifest", manifest, "--only-listed")
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, _ = check(run, tmp_path, *options)
    assert (first["added"], first["sources"]["left_out"]) == (3, 4)
    assert first["people"]["ann"] == {"recordings": 2, "seconds": pytest.approx(0.4)}
    rows[0]["text"] = "better"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    second, _ = check(run, tmp_path, *options)
    assert (second["updated"], second["unchanged"]) == (1, 2)
    rows[1]["text"] = ""
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    third, _ = check(run, tmp_path, *options, "--clear", "transcript")
    assert (third["updated"], third["unchanged"]) == (1, 2)


def test_large_files_are_read_in_pieces(run: Run, tmp_path: Path, wavs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "PIECE", 100)
    monkeypatch.setattr(origin, "PIECE", 100)
    said, _ = check(run, tmp_path, wavs, tmp_path / "sealed", *PATTERN)
    assert said["added"] == 6


def test_for_people(run: Run, tmp_path: Path, wavs: Path) -> None:
    (wavs / "ann" / "broken.wav").write_bytes(b"no audio")
    (wavs / "ann" / "again.wav").write_bytes((wavs / "ann" / "utt0.wav").read_bytes())
    done = run("encrypt", wavs, tmp_path / "sealed", *PATTERN, "--dry-run")
    assert done.code == 1
    assert "would add 7: " in done.out
    assert "  ann: 4 recordings, 2.30 s" in done.out
    assert "ann/again.wav, ann/utt0.wav" in done.err
    assert "ann/broken.wav: no audio" in done.err
    assert "1 recording of" in done.error
    assert not data_dir().exists()


def test_a_name_that_is_not_known_and_a_rule_that_is_missing(run: Run, tmp_path: Path, wavs: Path) -> None:
    assert run("encrypt", wavs, tmp_path / "sealed", "--dry-run").code == 2
    assert run("encrypt", wavs, "nobody", *PATTERN, "--dry-run").code == 1


def test_people_who_were_erased(run: Run, tmp_path: Path, wavs: Path) -> None:
    root = make_corpus(tmp_path)
    erase(root, "bob")
    said, done = check(run, tmp_path, wavs, root, *PATTERN, "--replace")
    assert sorted(said["erased"]) == sorted(done["erased"]) == ["bob/utt0.wav", "bob/utt1.flac", "bob/utt2.wav"]
    assert set(said["people"]) == {"ann"}


def test_people_in_another_order_are_the_same_people(run: Run, tmp_path: Path) -> None:
    record(tmp_path / "src" / "a.wav", 0.3)
    for people, more in ((["x", "y"], ()), (["y", "x"], ()), (["y", "x"], ("--replace",))):
        manifest = jsonl(tmp_path / "m.jsonl", {"audio_filepath": "a.wav", "subjects": people})
        _, done = check(run, tmp_path, tmp_path / "src", tmp_path / "sealed", "--manifest", manifest, *more)
    assert (done["unchanged"], done["files"]) == (1, 0), "and nothing is sealed for it"


def test_what_is_compared_by_digest_and_is_the_same(run: Run, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:  # whose files have no time that fsspec tells
        for one in some_clips():
            archive.writestr(one.path, one.data)
    inside = f"zip://::{tmp_path}/all.zip"
    for times in (0, 6):
        _, done = check(run, tmp_path, inside, tmp_path / "sealed", *PATTERN)
        assert done["unchanged"] == times
    (tmp_path / "m.csv").write_text("path,text\nann/utt0.wav,hello\n")
    _, done = check(run, tmp_path, inside, tmp_path / "sealed", *PATTERN, "--manifest", tmp_path / "m.csv")
    assert (done["updated"], done["unchanged"]) == (1, 5)


def test_the_same_with_checksum(run: Run, tmp_path: Path, wavs: Path) -> None:
    check(run, tmp_path, wavs, tmp_path / "sealed", *PATTERN)
    os.utime(wavs / "ann" / "utt0.wav", (1, 1))
    _, done = check(run, tmp_path, wavs, tmp_path / "sealed", *PATTERN, "--checksum")
    assert (done["updated"], done["unchanged"]) == (1, 5)


def test_a_corpus_below_its_recordings(run: Run, tmp_path: Path, wavs: Path) -> None:
    for times in (0, 6, 6):
        _, done = check(run, tmp_path, wavs, wavs / "sea[l]ed", *PATTERN)
        assert (done["complete"], done["unchanged"]) == (True, times)
