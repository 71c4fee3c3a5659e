"""A later run has other people in a recording that the corpus has: no object may lack one who is heard in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.ingest.test_apart import encrypt, rows_of, talk
from tests.kit.cli.commandline import Run
from tests.kit.sources.folders import jsonl

ANN = [{"speaker": "ann", "offset": start, "duration": 0.4} for start in (0.1, 1)]
BEN = [{"speaker": "ben", "offset": 2, "duration": 0.4}]
PATHS = ["talk@1600-8000.wav", "talk@16000-22400.wav", "talk@32000-38400.wav"]


@pytest.fixture
def src(tmp_path: Path) -> Path:
    return talk(tmp_path / "src")


def table(src: Path, *rows: dict[str, Any]) -> Path:
    return jsonl(src.parent / "m.jsonl", *({"audio_filepath": "talk.wav", **row} for row in rows))


def people(root: Path) -> dict[str, tuple[list[str], bool]]:
    """Who is in each row, and whether its object has all of the recording."""
    return {
        path: (row["subjects"], row["start"] is not None or row["recording"] is None)
        for path, row in rows_of(root).items()
    }


def test_one_more_segment_is_of_another_person(run: Run, src: Path, tmp_path: Path) -> None:
    """Before, her segments share an object with all of the recording, which has his voice too."""
    root = tmp_path / "sealed"
    assert encrypt(run, src, root, table(src, *ANN)).code == 0
    done = encrypt(run, src, root, table(src, *ANN, *BEN))
    assert (done.code, done.json["conflicts"], done.json["shared"]) == (1, PATHS[:2], [])
    assert encrypt(run, src, root, table(src, *ANN, *BEN), "--replace").code == 0
    assert people(root) == dict(zip(PATHS, [(["ann"], False), (["ann"], False), (["ben"], False)], strict=True))


def test_a_segment_turns_out_to_be_of_another_person(run: Run, src: Path, tmp_path: Path) -> None:
    root = tmp_path / "sealed"
    assert encrypt(run, src, root, table(src, *ANN)).code == 0
    done = encrypt(run, src, root, table(src, ANN[0], {**ANN[1], "speaker": "ben"}))
    assert (done.code, done.json["conflicts"]) == (1, PATHS[:2])


@pytest.mark.parametrize("more", [(), ("--replace",)])
def test_a_table_for_each_person(run: Run, src: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    root = tmp_path / "sealed"
    assert encrypt(run, src, root, table(src, *ANN)).code == 0
    done = encrypt(run, src, root, table(src, *BEN), *more)
    assert (done.code, done.json["added"], [one["path"] for one in done.json["problems"]]) == (1, 0, PATHS[2:])
    assert "the corpus has all of its recording as talk@1600-8000.wav" in done.json["problems"][0]["reason"]
    assert encrypt(run, src, root, table(src, *ANN, *BEN), "--replace").code == 0
    assert all(not whole for _, whole in people(root).values())


def test_a_table_for_each_person_where_the_first_rows_name_all(run: Run, src: Path, tmp_path: Path) -> None:
    """All of the recording would be sealed as hers alone."""
    root = tmp_path / "sealed"
    assert encrypt(run, src, root, table(src, {**ANN[0], "speaker": None, "subjects": ["ann", "ben"]})).code == 0
    assert encrypt(run, src, root, table(src, ANN[1])).code == 0
    assert people(root) == {PATHS[0]: (["ann", "ben"], True), PATHS[1]: (["ann"], False)}


def test_all_of_it_was_one_persons(run: Run, src: Path, tmp_path: Path) -> None:
    root = tmp_path / "sealed"
    assert encrypt(run, src, root, table(src, {"speaker": "ann"})).code == 0
    done = encrypt(run, src, root, table(src, *ANN, *BEN))
    assert (done.code, done.json["added"], [one["path"] for one in done.json["problems"]]) == (1, 2, PATHS[2:])
    assert encrypt(run, src, root, table(src, {"subjects": ["ann", "ben"]}), "--replace").json["replaced"] == 1
    assert encrypt(run, src, root, table(src, *ANN, *BEN)).code == 0
    assert people(root) == {"talk.wav": (["ann", "ben"], True), **dict.fromkeys(PATHS[:2], (["ann"], False))} | {
        PATHS[2]: (["ben"], False)
    }


def test_all_of_it_is_to_be_one_persons(run: Run, src: Path, tmp_path: Path) -> None:
    root = tmp_path / "sealed"
    assert encrypt(run, src, root, table(src, *ANN, *BEN)).code == 0
    done = encrypt(run, src, root, table(src, {"speaker": "ann"}))
    assert (done.code, done.json["added"]) == (1, 0)
    assert f"a segment of it, {PATHS[2]}, of people whom this row does not name" in done.json["problems"][0]["reason"]
    assert encrypt(run, src, root, table(src, {"subjects": ["ann", "ben"]})).json["added"] == 1


def test_another_file_of_the_same_name(run: Run, src: Path, tmp_path: Path) -> None:
    """Of another size, it is another recording."""
    root = tmp_path / "sealed"
    assert encrypt(run, src, root, table(src, *ANN)).code == 0
    with open(src / "talk.wav", "ab") as file:
        file.write(bytes(2))
    assert encrypt(run, src, root, table(src, *BEN)).code == 0


def test_other_content_of_the_same_size_is_no_longer_what_shares_an_object(run: Run, src: Path, tmp_path: Path) -> None:
    root = tmp_path / "sealed"
    assert encrypt(run, src, root, table(src, *({**row, "subjects": ["ann", "ben"]} for row in (*ANN, *BEN)))).code == 0
    talk(src, seed=2)
    done = encrypt(run, src, root, table(src, *ANN, *BEN))
    assert (done.code, done.json["conflicts"]) == (1, PATHS)
