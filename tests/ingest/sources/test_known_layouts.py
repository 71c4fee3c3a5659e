"""Corpora that are known by themselves: each becomes the right rows by one command, and nothing of it is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from securedata.corpus.opening import open_corpus
from securedata.errors import SubjectUnknown
from securedata.ingest.sources.recordings import list_sources
from tests.kit.cli.commandline import Run
from tests.kit.sources.folders import record, text
from tests.kit.sources.layouts import LAYOUTS, Made, Row, common_voice, timit, vctk_092


def rows_of(corpus: str) -> Made:
    with open_corpus(corpus) as opened:
        found = opened.table.to_pylist()
    assert all(row["subjects"] == [row["speaker"]] for row in found)
    return {
        row["path"]: Row(*(row[name] for name in Row._fields[:-1]), json.loads(row["extra"]) if row["extra"] else None)
        for row in found
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_one_command_takes_it(name: str, tmp_path: Path, run: Run) -> None:
    layout, make = LAYOUTS[name]
    wanted = make(tmp_path / "src")
    ran = run("encrypt", tmp_path / "src", tmp_path / "sealed", "--name", "known")
    assert ran.code == 0, ran.err
    found = rows_of("known")
    assert found == wanted
    assert list_sources(tmp_path / "src").settings == {"subject": {"layout": layout}}
    again = run("encrypt", tmp_path / "src", "known", "--json")
    assert (again.json["unchanged"], again.json["added"]) == (len(wanted), 0)


@pytest.mark.parametrize("name", LAYOUTS)
def test_without_the_layout_nobody_is_guessed(name: str, tmp_path: Path) -> None:
    LAYOUTS[name][1](tmp_path)
    with pytest.raises(SubjectUnknown):
        list_sources(tmp_path, layout="none")


def test_a_folder_above_and_a_part(tmp_path: Path) -> None:
    vctk_092(tmp_path / "data" / "VCTK")
    above = list_sources(tmp_path)
    assert above.table.column("speaker").to_pylist() == ["p225", "p225", "p315", "s5"]
    part = list_sources(tmp_path / "data" / "VCTK" / "wav48_silence_trimmed" / "p225")
    assert part.table.column("speaker").to_pylist() == ["p225", "p225"]
    assert part.table.column("transcript").to_pylist() == ["", ""], "txt/ is not under SRC"


def test_texts_of_nothing_are_said(tmp_path: Path, run: Run) -> None:
    vctk_092(tmp_path)
    text(tmp_path / "txt/p225/p225_002.txt", "Lost words.\n")
    ran = run("encrypt", tmp_path, tmp_path.parent / "sealed", "--name", "known")
    assert ran.code == 1
    assert "p225_002.txt" in ran.err


def test_common_voice_names_what_is_missing_or_contradicts(tmp_path: Path) -> None:
    common_voice(tmp_path)
    record(tmp_path / "clips/common_voice_br_7.mp3", seed=7)
    (tmp_path / "clips/common_voice_br_6.mp3").unlink()
    other = (tmp_path / "validated.tsv").read_text().replace("cc\t", "zz\t")
    (tmp_path / "validated.tsv").write_text(other)
    sources = list_sources(tmp_path)
    said = {problem.path: problem.reason for problem in sources.problems if not problem.taken}
    assert "names another client_id" in said["clips/common_voice_br_3.mp3"]
    assert "clips/common_voice_br_7.mp3" in said
    assert "line 2" in said["other.tsv"]
    assert len(said) == 3
    taken = sources.table.column("path").to_pylist()
    assert taken == [f"clips/common_voice_br_{n}.mp3" for n in (1, 2, 4, 5)]


def test_a_stranger_in_a_layout_is_a_problem(tmp_path: Path) -> None:
    timit(tmp_path)
    record(tmp_path / "TRAIN/DR1/notes.wav", seed=9)
    sources = list_sources(tmp_path)
    assert [one.path for one in sources.problems if not one.taken] == ["TRAIN/DR1/notes.wav"]


def test_words_beside_recordings_want_a_rule(tmp_path: Path, run: Run) -> None:
    for seed, stem in enumerate(("ann/a", "bob/b", "bob/c")):
        record(tmp_path / "src" / f"{stem}.wav", seed=seed)
    text(tmp_path / "src/ann/a.txt", "hello\nthere\n")
    text(tmp_path / "src/bob/b.lab", "good day")
    text(tmp_path / "src/bob/c.lab", "0.0 0.1 sil\n")
    with pytest.raises(SubjectUnknown):
        list_sources(tmp_path / "src")
    ran = run("encrypt", tmp_path / "src", tmp_path / "sealed", "--name", "known", "--speaker-pattern", "{speaker}/*")
    assert ran.code == 0, ran.err
    assert {path: (row.speaker, row.transcript) for path, row in rows_of("known").items()} == {
        "ann/a.wav": ("ann", "hello there"),
        "bob/b.wav": ("bob", "good day"),
        "bob/c.wav": ("bob", ""),
    }
    assert "it holds times" in ran.err


def test_patterns_that_are_shown_name_no_folder_that_all_recordings_are_in(tmp_path: Path) -> None:
    for seed, speaker in enumerate(("id10001", "id10270")):
        record(tmp_path / f"wav/{speaker}/1zcIwhmdeo{seed}/00001.wav", seed=seed)
    with pytest.raises(SubjectUnknown) as caught:
        list_sources(tmp_path, layout="none")
    shown = str(caught.value)
    assert "--speaker-pattern '*/{speaker}/*/{utterance}': wav/id10001/1zcIwhmdeo0/00001 is 'id10001'" in shown
    assert "is of 'wav'" not in shown
