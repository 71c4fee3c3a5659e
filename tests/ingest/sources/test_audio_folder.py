"""Hugging Face AudioFolder by the real command: metadata beside the recordings, or in the folder of each split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from securedata.corpus.opening import open_corpus
from securedata.errors import InvalidArgument
from securedata.ingest.sources.recordings import list_sources
from tests.kit.cli.commandline import Run
from tests.kit.sources.folders import jsonl, touch
from tests.kit.sources.shards import flac


def recordings(src: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (src / name).parent.mkdir(parents=True, exist_ok=True)
        (src / name).write_bytes(flac(number))
    return src


def metadata(folder: Path, kind: str, *rows: dict[str, Any]) -> None:
    if kind == "jsonl":
        jsonl(folder / "metadata.jsonl", *rows)
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), folder / "metadata.parquet")
    else:
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        (folder / "metadata.csv").write_text("\n".join(lines) + "\n")


def sealed(root: Path, *columns: str) -> list[tuple[Any, ...]]:
    with open_corpus(root) as corpus:
        found = sorted(tuple(row.values()) for row in corpus.table.select(columns).to_pylist())
        assert {path: bytes(corpus.read(path)) for path, *_ in found}
        return found


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_metadata_in_each_split(tmp_path: Path, run: Run, kind: str) -> None:
    src = recordings(tmp_path / "src", "train/a.flac", "train/sub/b.flac", "test/a.flac", "validation/c.flac")
    rows = [{"file_name": "a.flac", "text": "one", "speaker": "anna"}]
    metadata(src / "train", kind, *rows, {"file_name": "sub/b.flac", "text": "two", "speaker": "bert"})
    metadata(src / "test", kind, {**rows[0], "text": "three"})
    metadata(src / "validation", kind, {"file_name": "c.flac", "text": "four", "speaker": "cleo"})
    ran = run("encrypt", src, tmp_path / "sealed", "--json")
    assert ran.code == 0, ran.err
    assert sealed(tmp_path / "sealed", "path", "subjects", "transcript", "split") == [
        ("test/a.flac", ["anna"], "three", "test"),
        ("train/a.flac", ["anna"], "one", "train"),
        ("train/sub/b.flac", ["bert"], "two", "train"),
        ("validation/c.flac", ["cleo"], "four", "validation"),
    ]
    sources = ran.json["sources"]
    assert (sources["files"], sources["taken"], sources["companions"]) == (7, 4, 3)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_metadata_at_the_root(tmp_path: Path, run: Run, kind: str) -> None:
    src = recordings(tmp_path / "src", "data/dev/a.flac", "data/b.flac")
    metadata(src, kind, {"file_name": "data/dev/a.flac", "n": 1}, {"file_name": "data/b.flac", "n": 2})
    failed = run("encrypt", src, tmp_path / "sealed")
    assert failed.code == 2
    assert "it has file_name, n" in failed.err
    assert run("encrypt", src, tmp_path / "sealed", "--one-subject", "anna").code == 0
    extra = ['{"n":1}', '{"n":2}'] if kind != "csv" else ['{"n":"1"}', '{"n":"2"}']
    assert sealed(tmp_path / "sealed", "path", "split", "extra") == [
        ("data/b.flac", "", extra[1]),
        ("data/dev/a.flac", "validation", extra[0]),
    ]


def test_what_metadata_names_and_what_it_does_not(tmp_path: Path) -> None:
    src = touch(tmp_path, "a.wav", "b.wav", "old/c.wav")
    names = ("a.wav", "none.wav", "old/c.wav")
    metadata(src, "jsonl", *({"file_name": name, "speaker": "anna"} for name in names))
    sources = list_sources(src, leave_out=["old"])
    assert sources.table.column("path").to_pylist() == ["a.wav"]
    assert {(one.path, one.reason, one.taken) for one in sources.problems} == {
        ("b.wav", "no row of the manifest names it, so its speaker is unknown", False),
        ("none.wav", "line 2 of metadata.jsonl: no such recording under SRC", False),
        ("old/c.wav", "line 3 of metadata.jsonl: left out on request", True),
    }


def test_columns_of_metadata_are_named(tmp_path: Path) -> None:
    src = touch(tmp_path, "a.wav")
    metadata(src, "jsonl", {"file_name": "a.wav", "who": {"id": "anna"}, "said": "hello"})
    sources = list_sources(src, columns={"speaker": "who.id", "text": "said"})
    assert sources.table.select(["subjects", "transcript"]).to_pylist() == [
        {"subjects": ["anna"], "transcript": "hello"}
    ]


def test_metadata_of_something_else(tmp_path: Path) -> None:
    src = touch(tmp_path, "wavs/LJ001.wav")
    (src / "metadata.csv").write_text('LJ001|He said, "one|He said, "one\nLJ002|two, three, four|two\n')
    assert list_sources(src, one_subject="linda").table.num_rows == 1


def test_metadata_whose_first_row_names_no_file(tmp_path: Path) -> None:
    src = touch(tmp_path, "a.wav")
    metadata(src, "jsonl", {"title": "a list"}, {"file_name": "a.wav", "speaker": "anna"})
    with pytest.raises(InvalidArgument, match=r"line 1: no column names the audio file"):
        list_sources(src, one_subject="bert")


def test_metadata_that_is_none(tmp_path: Path) -> None:
    src = touch(tmp_path, "a.wav")
    metadata(src, "jsonl", {"title": "no names of files"})
    assert list_sources(src, one_subject="anna").table.num_rows == 1
    with pytest.raises(InvalidArgument, match=r"holds no metadata\.csv, .*with a column 'file_name'"):
        list_sources(src, one_subject="anna", layout="audiofolder")
    metadata(src, "jsonl", {"file_name": "b.wav"})
    with pytest.raises(InvalidArgument, match=r"no row names a recording under .*; the first names 'b\.wav'"):
        list_sources(src, one_subject="anna")
    assert list_sources(src, one_subject="anna", layout="none").table.num_rows == 1
    metadata(src, "csv", {"file_name": "a.wav"})
    with pytest.raises(InvalidArgument, match=r"metadata\.csv and metadata\.jsonl both describe SRC"):
        list_sources(src, one_subject="anna")
    (src / "metadata.jsonl").write_text(json.dumps({"file_name": "a.wav"})[:-3])
    with pytest.raises(InvalidArgument, match=r"metadata\.jsonl cannot be read: .*--layout none"):
        list_sources(src, one_subject="anna")


def test_messages_name_the_metadata(tmp_path: Path) -> None:
    for split, kind in (("train", "csv"), ("test", "parquet")):
        recordings(tmp_path, f"{split}/a.flac")
        metadata(
            tmp_path / split, kind, {"file_name": "a.flac", "speaker": ""}, {"file_name": "b.flac", "speaker": "ann"}
        )
    assert [problem.reason for problem in list_sources(tmp_path).problems] == [
        "row 1 of test/metadata.parquet names no speaker",
        "row 2 of test/metadata.parquet: no such recording under SRC",
        "line 2 of train/metadata.csv names no speaker",
        "line 3 of train/metadata.csv: no such recording under SRC",
    ]
