"""Columns by either of their names, columns inside of columns, people in lists, and what an error says of columns."""

import json
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.opening import open_corpus
from securedata.errors import InvalidArgument, SubjectUnknown
from securedata.ingest.sources.manifest_reader import Rows, read_rows
from securedata.ingest.sources.recordings import list_sources
from tests.kit.cli.commandline import Run, runner
from tests.kit.sources.folders import jsonl, touch
from tests.kit.sources.recordings import write_clips


def read(tmp_path: Path, *rows: dict[str, object], **columns: str | None) -> Rows:
    return read_rows(jsonl(tmp_path / "m.jsonl", *rows), columns)


def table(tmp_path: Path, content: str, **columns: str | None) -> Rows:
    path = tmp_path / "m.csv"
    path.write_text(content)
    return read_rows(path, columns)


@pytest.mark.parametrize("name", ["text", "transcript", "sentence", "Transcription"])
def test_each_name_of_a_column_names_its_purpose(tmp_path: Path, name: str) -> None:
    rows = read(tmp_path, {"path": "a.wav", "said": "hello", "text": "other"}, **{name: "said"})
    assert rows.transcript == ["hello"]
    assert rows.extra == ['{"text":"other"}']


def test_two_columns_for_one_purpose_under_two_names(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="two columns for transcript, 'a' and 'b'"):
        read(tmp_path, {"path": "a.wav", "a": "x", "b": "y"}, text="a", transcript="b")
    assert read(tmp_path, {"path": "a.wav", "a": "x"}, text="a", transcript="a").transcript == ["x"]


def test_dots_reach_into_objects(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        {"file": "a.wav", "meta": {"who": {"id": 7, "age": 30}, "said": "hello"}},
        {"file": "b.wav", "meta": {"who": None, "said": "there"}},
        {"file": "c.wav", "meta": {"who": {"id": 8}}},
        speaker="meta.who.id",
        text="meta.said",
    )
    assert rows.speaker == ["7", "", "8"]
    assert rows.transcript == ["hello", "there", ""]
    assert rows.extra == ['{"meta":{"who":{"age":30}}}', '{"meta":{"who":null}}', ""]


def test_a_column_with_a_dot_in_its_name_is_that_column(tmp_path: Path) -> None:
    rows = read(tmp_path, {"path": "a.wav", "a.b": "own", "a": {"b": "inner"}}, text="a.b")
    assert rows.transcript == ["own"]
    assert json.loads(rows.extra[0]) == {"a": {"b": "inner"}}
    rows = read(tmp_path, {"path": "a.wav", "a": {"b.c": "own", "b": {"c": "inner"}}}, text="a.b.c")
    assert rows.transcript == ["own"]
    assert table(tmp_path, "path,x.y\na.wav,hello\n", text="x.y").transcript == ["hello"]


def test_dots_reach_into_lists(tmp_path: Path) -> None:
    row = {"path": "a.wav", "sentences": [{"who": "anna", "text": "one"}, {"who": "bert", "text": "two"}]}
    rows = read(tmp_path, row, text="sentences.text", subjects="sentences.who")
    assert rows.transcript == ["one two"]
    assert rows.subjects == [("anna", "bert")]
    assert json.loads(rows.extra[0]) == {"sentences": row["sentences"]}
    assert read(tmp_path, row, text="sentences.1.text").transcript == ["two"]


def test_a_dotted_name_that_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"no column 'a\.c', which was chosen as the transcript"):
        read(tmp_path, {"path": "a.wav", "a": {"b": 1}}, text="a.c")


def test_whisper_style_works_by_itself(tmp_path: Path) -> None:
    said = [{"start": 0.0, "end": 1.4, "text": "one"}]
    rows = read(
        tmp_path,
        {"audio": {"path": "a.wav", "sampling_rate": 16000}, "sentence": "one", "language": "en", "sentences": said},
        {"audio": {"path": "b.wav", "start_time": 0.5, "end_time": 1.25}, "sentence": "two"},
    )
    assert rows.names == ["a.wav", "b.wav"]
    assert rows.transcript == ["one", "two"]
    assert (rows.offset, rows.duration) == ([None, 0.5], [None, 0.75])
    assert json.loads(rows.extra[0]) == {"audio": {"sampling_rate": 16000}, "sentences": said}
    assert rows.extra[1] == ""
    assert read(tmp_path, {"sound": {"where": "a.wav"}}, path="sound.where").names == ["a.wav"]


@pytest.mark.parametrize(
    ("cell", "people"),
    [
        ("anna;bert", ("anna", "bert")),
        ("anna; bert ;", ("anna", "bert")),
        ('["anna", "bert; the other"]', ("anna", "bert; the other")),
        ("[1, 2]", ("1", "2")),
        ("[unknown]", ("[unknown]",)),
    ],
)
def test_people_in_one_cell(tmp_path: Path, cell: str, people: tuple[str, ...]) -> None:
    quoted = '"' + cell.replace('"', '""') + '"'
    assert table(tmp_path, f"path,subjects\na.wav,{quoted}\n").subjects == [people]
    assert read(tmp_path, {"path": "a.wav", "subjects": cell}).subjects == [people]


@pytest.mark.parametrize("cell", ["['anna', 'bert']", '["anna", "bert'])
def test_people_in_what_is_nearly_a_list(tmp_path: Path, cell: str) -> None:
    rows = read(tmp_path, {"path": "a.wav", "subjects": cell})
    assert rows.fault == ["its subjects begin like a JSON list but are not valid JSON"]


def test_an_error_lists_the_columns_of_a_manifest_without_speakers(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    rows: list[dict[str, Any]] = [{"path": "a.wav", "text": "x", "meta": {"reader_id": "7", "age": 3}}]
    jsonl(tmp_path / "m.jsonl", *rows)
    with pytest.raises(SubjectUnknown) as caught:
        list_sources(tmp_path, manifest="m.jsonl")
    assert (
        "  --columns speaker=meta.reader_id: perhaps this one; the manifest has no column 'speaker'; it has "
        "path, text, meta, meta.reader_id, meta.age\n"
    ) in str(caught.value)
    jsonl(tmp_path / "m.jsonl", {"file_name": "a.wav", "words": "x"})
    with pytest.raises(SubjectUnknown, match=r"  --columns speaker=COLUMN: .*; it has file_name, words\n"):
        list_sources(tmp_path, manifest="m.jsonl")


def test_the_command_takes_dotted_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run: Run = runner(capsys)
    wavs = write_clips(tmp_path / "wavs")
    paths = sorted(str(path.relative_to(wavs)) for path in wavs.rglob("*.*"))
    rows = [{"audio": {"path": path}, "label": {"text": f"words {i}", "by": f"p{i}"}} for i, path in enumerate(paths)]
    jsonl(wavs / "train.jsonl", *rows)
    failed = run("encrypt", wavs, tmp_path / "sealed", "--manifest", "train.jsonl")
    assert failed.code == 2
    assert "it has audio, audio.path, label, label.text, label.by" in failed.err
    arguments = ("--manifest", "train.jsonl", "--columns", "speaker=label.by", "--columns", "text=label.text")
    assert run("encrypt", wavs, tmp_path / "sealed", *arguments).code == 0
    with open_corpus(tmp_path / "sealed") as corpus:
        found = [
            tuple(row.values()) for row in corpus.table.select(("path", "speaker", "transcript", "extra")).to_pylist()
        ]
    assert sorted(found) == [(path, f"p{i}", f"words {i}", "") for i, path in enumerate(paths)]
