"""Parquet and Arrow with recordings in a column, by the real command: rows become rows, bit for bit."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest

from securedata.errors import InvalidArgument
from securedata.ingest.sources.members import table
from securedata.ingest.sources.members.shard import missing_of, split_of
from securedata.ingest.sources.members.table import ArrowShard, ParquetShard
from securedata.ingest.sources.recordings import list_sources
from tests.kit.cli.commandline import Run
from tests.kit.corpora.contents import manifest_of, recordings_of
from tests.kit.sources.shards import flac, table_of, write_arrow, write_parquet

ALL = ("path", "subjects", "transcript", "split", "extra")


def hub(src: Path) -> Path:
    """As push_to_hub lays it out."""
    write_parquet(
        src / "data" / "train-00000-of-00002.parquet",
        table_of(
            [(flac(1), "1.flac"), (flac(2), None), (flac(3), "/home/u/.cache/3.flac")],
            {"accent": {"names": ["north", "south"], "_type": "ClassLabel"}},
            speaker_id=[7, 7, 8],
            text=["one", "two", None],
            accent=[0, 1, None],
            score=[1.5, float("nan"), None],
            when=[datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)] * 3,
            start=[3.5, 4.5, 5.5],
        ),
    )
    write_parquet(
        src / "data" / "train-00001-of-00002.parquet",
        table_of([(flac(4), "1.flac")], speaker_id=[8], text=["four"]),
    )
    write_parquet(
        src / "data" / "validation-00000-of-00001.parquet",
        table_of([(flac(5), "5.flac")], speaker_id=[9], text=["five"]),
    )
    return src


def test_hub_style_parquet(tmp_path: Path, run: Run) -> None:
    src, root = hub(tmp_path / "src"), tmp_path / "sealed"
    ran = run("encrypt", src, root, "--json")
    assert ran.code == 0, ran.err
    when = "2020-01-02T00:00:00+00:00"
    assert [tuple(row.values()) for row in manifest_of(root, *ALL)] == [
        ("1.flac", ["7"], "one", "train", f'{{"accent":"north","score":1.5,"when":"{when}","start":3.5}}'),
        ("3.flac", ["8"], "", "train", f'{{"when":"{when}","start":5.5}}'),
        ("5.flac", ["9"], "five", "validation", ""),
        ("data/train-00000-of-00002#1", ["7"], "two", "train", f'{{"accent":"south","when":"{when}","start":4.5}}'),
        ("data/train-00001-of-00002#0", ["8"], "four", "train", ""),
    ]
    assert recordings_of(root) == {
        "1.flac": flac(1),
        "3.flac": flac(3),
        "5.flac": flac(5),
        "data/train-00000-of-00002#1": flac(2),
        "data/train-00001-of-00002#0": flac(4),
    }
    assert (ran.json["sources"]["files"], ran.json["sources"]["taken"]) == (5, 5)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_second_run_reads_no_recording(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    src, root = tmp_path / "src", tmp_path / "sealed"
    shard, write = src / f"x.{kind}", write_parquet if kind == "parquet" else write_arrow
    audio = [(flac(i), f"{i}.flac") for i in range(7)]
    write(shard, table_of(audio, speaker=["anna"] * 7))
    read: list[int] = []
    kept = ParquetShard if kind == "parquet" else ArrowShard
    real = kept.recordings

    def recordings(self: Any, audio: str, group: int) -> pa.ChunkedArray:
        read.append(group)
        return real(self, audio, group)

    monkeypatch.setattr(kept, "recordings", recordings)
    assert run("encrypt", src, root).code == 0
    # each row group once, and the first before, to see that there is something to take
    assert sorted(read) in ([0, 1, 2, 3], [0, 0, 1, 2, 3])
    assert recordings_of(root) == {f"{i}.flac": flac(i) for i in range(7)}
    read.clear()
    ran = run("encrypt", src, root, "--json")
    assert (ran.code, ran.json["unchanged"], ran.json["files"], read) == (0, 7, 0, [])
    # the same recordings under another time are read, and nothing else is done; another recording is a conflict
    os.utime(shard, ns=(10**18, 10**18))
    ran = run("encrypt", src, root, "--json")
    assert (ran.code, ran.json["files"], ran.json["added"], ran.json["replaced"]) == (0, 7, 0, 0)
    audio[3] = (flac(33), "3.flac")
    write(shard, table_of(audio, speaker=["anna"] * 7))
    os.utime(shard, ns=(10**18 + 500, 10**18 + 500))
    ran = run("encrypt", src, root, "--json")
    assert (ran.code, ran.json["conflicts"]) == (1, ["3.flac"])
    assert run("encrypt", src, root, "--replace").code == 0
    assert recordings_of(root)["3.flac"] == flac(33)


def test_saved_to_disk(tmp_path: Path, run: Run) -> None:
    src, root = tmp_path / "src", tmp_path / "sealed"
    for split, numbers in {"train": (1, 2, 3), "holdout": (4,)}.items():
        table = table_of([(flac(i), f"{i}.flac") for i in numbers], speaker=["anna"] * len(numbers))
        write_arrow(src / split / "data-00000-of-00001.arrow", table)
        write_arrow(src / split / "cache-1234.arrow", table)
        write_arrow(src / split / "other.arrow", table)
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": split, "_format_type": None}
        (src / split / "state.json").write_text(json.dumps(state))
        (src / split / "dataset_info.json").write_text("{}")
    (src / "dataset_dict.json").write_text('{"splits": ["train", "holdout"]}')
    ran = run("encrypt", src, root, "--json")
    assert ran.code == 0, ran.err
    assert [tuple(row.values()) for row in manifest_of(root, "path", "split")] == [
        ("1.flac", "train"),
        ("2.flac", "train"),
        ("3.flac", "train"),
        ("4.flac", "holdout"),
    ]
    assert recordings_of(root) == {f"{i}.flac": flac(i) for i in range(1, 5)}
    assert (ran.json["sources"]["files"], ran.json["sources"]["companions"]) == (4 + 4 + 5, 9)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_odd_rows_are_named(tmp_path: Path, run: Run, kind: str) -> None:
    src = tmp_path / "src"
    write = write_parquet if kind == "parquet" else write_arrow
    audio = [(flac(0), "0.flac"), None, (None, "2.flac"), (b"", "3.flac"), (b"no audio", "4.flac"), (flac(5), "0.flac")]
    shard = write(src / f"x-00000-of-00002.{kind}", table_of(audio))
    (src / f"z.{kind}").write_bytes(shard.read_bytes()[:-200] if kind == "parquet" else b"\xff\xff\xff\xff nothing")
    ran = run("encrypt", src, tmp_path / "sealed", "--one-subject", "anna", "--json")
    assert ran.code == 1
    assert recordings_of(tmp_path / "sealed") == {"0.flac": flac(0), "x-00000-of-00002#5": flac(5)}
    problems = {one["path"]: one["reason"] for one in ran.json["problems"]}
    assert set(problems) == {
        *("x-00000-of-00002#1", "2.flac", "3.flac", "4.flac", f"z.{kind}", f"x-00001-of-00002.{kind}"),
    }
    assert problems["2.flac"].startswith("its row holds no bytes, only a path at most")
    assert problems["x-00000-of-00002#1"] == problems["2.flac"]
    assert (
        problems[f"x-00001-of-00002.{kind}"]
        == "this shard is missing, according to the numbers in the names of the others"
    )
    sources = ran.json["sources"]
    assert (sources["files"], sources["taken"], sources["not_taken"]) == (7, 2, 5)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_messages_name_the_row_and_its_shard(tmp_path: Path, kind: str) -> None:
    write = write_parquet if kind == "parquet" else write_arrow
    two = [(flac(0), "0.flac"), (flac(1), "1.flac")]
    write(tmp_path / f"a.{kind}", table_of(two, speaker=["ann", "ann"]))
    write(tmp_path / f"b.{kind}", table_of([*two, (flac(2), "2.flac")], speaker=["ann", "ann", None]))
    [problem] = list_sources(tmp_path).problems
    assert (problem.path, problem.reason) == ("2.flac", f"row 3 of b.{kind} names no speaker")
    write(tmp_path / f"b.{kind}", table_of(two, speaker=["ann"] * 2, client_id=["ann"] * 2))
    with pytest.raises(InvalidArgument, match=rf"^b\.{kind}, row 1: columns 'speaker' and 'client_id' could both be"):
        list_sources(tmp_path)


def test_one_name_in_two_splits_is_two_recordings(tmp_path: Path, run: Run) -> None:
    src, root = tmp_path / "src", tmp_path / "sealed"
    for n, split in enumerate(("train", "test")):
        table = table_of([(flac(n), "audio.flac")], speaker=["ann"])
        write_parquet(src / f"data/{split}-00000-of-00001.parquet", table)
    for done in ("added", "unchanged"):
        assert run("encrypt", src, root, "--json").json[done] == 2
    assert recordings_of(root) == {"data/train-00000-of-00001#0": flac(0), "audio.flac": flac(1)}
    assert [row["split"] for row in manifest_of(root, "path", "split")] == ["test", "train"]


def test_plain_bytes_and_several_columns(tmp_path: Path) -> None:
    src = tmp_path / "src"
    plain = pa.table({"wav": [flac(1)], "who": ["anna"]})
    write_parquet(src / "x.parquet", plain)
    with pytest.raises(InvalidArgument, match="holds no recordings"):
        list_sources(src)
    with pytest.raises(InvalidArgument, match="they have wav, who: use --columns path=NAME"):
        list_sources(src, source_format="parquet")
    sources = list_sources(src, columns={"path": "wav", "speaker": "who"})
    assert sources.table.column("path").to_pylist() == ["x#0"]
    two = table_of([(flac(1), "1.flac")], speaker=["anna"])
    two = two.append_column("other", two.column("audio"))
    write_parquet(src / "x.parquet", two)
    with pytest.raises(InvalidArgument, match=r"columns 'audio', 'other' all hold recordings: .*path=audio"):
        list_sources(src)
    sources = list_sources(src, columns={"audio": "other"})
    assert sources.table.column("path").to_pylist() == ["1.flac"]
    with pytest.raises(InvalidArgument, match=r"not a column of recordings; the columns are audio, speaker, other"):
        list_sources(src, columns={"path": "speaker"})


@pytest.mark.parametrize(
    "odd",
    [
        pa.table({"audio": [flac(3)], "speaker": ["cleo"]}),
        pa.table({"audio": ["3.flac"], "speaker": ["cleo"]}),
        pa.table({"speech": [{"bytes": flac(3), "path": "3.flac", "rate": 8000}], "speaker": ["cleo"]}),
        pa.table({"speech": [[{"bytes": flac(3), "path": "3.flac"}]], "speaker": ["cleo"]}),
        pa.table({"speech": pa.array([flac(3)]).dictionary_encode(), "speaker": ["cleo"]}),
    ],
    ids=["bytes", "paths", "struct", "list", "dictionary"],
)
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_table_of_recordings_in_another_form_is_no_companion(tmp_path: Path, kind: str, odd: pa.Table) -> None:
    write = write_parquet if kind == "parquet" else write_arrow
    write(tmp_path / f"a.{kind}", table_of([(flac(1), "1.flac")], speaker=["anna"]))
    write(tmp_path / f"b.{kind}", odd)
    write(tmp_path / f"c.{kind}", pa.table({"speaker": ["anna"], "age": [30]}))
    sources = list_sources(tmp_path)
    assert (len(sources), sources.files, sources.companions, sources.not_taken) == (1, 3, 1, 1)
    assert [(problem.path, problem.taken) for problem in sources.problems] == [(f"b.{kind}", False)]
    assert f"its column {odd.schema.names[0]!r} is not a struct<bytes, path>" in sources.problems[0].reason


def test_tables_of_recordings_beside_other_recordings(tmp_path: Path) -> None:
    (tmp_path / "1.flac").write_bytes(flac(1))
    write_parquet(tmp_path / "a.parquet", table_of([(flac(2), "2.flac")], speaker=["anna"]))
    write_arrow(tmp_path / "b.arrow", table_of([(flac(3), "3.flac")], speaker=["anna"]))
    write_parquet(tmp_path / "c.parquet", pa.table({"speaker": ["anna"], "age": [30]}))
    (tmp_path / "d.parquet").write_bytes(b"no table")
    said = list_sources(tmp_path, one_subject="anna")
    assert (said.files, said.companions, said.not_taken) == (5, 2, 2)
    assert [(problem.path, problem.taken) for problem in said.problems] == [("a.parquet", False), ("b.arrow", False)]
    assert "--source-format arrow takes" in said.problems[1].reason
    only = list_sources(tmp_path, source_format="parquet")
    assert [problem.path for problem in only.problems if not problem.taken] == ["b.arrow", "d.parquet"]
    for more in ({"source_format": "files"}, {"leave_out": ["*.parquet", "*.arrow"]}):
        left: dict[str, Any] = more
        assert not list_sources(tmp_path, one_subject="anna", **left).problems


def test_a_table_with_two_columns_of_recordings_beside_other_recordings(tmp_path: Path) -> None:
    (tmp_path / "1.flac").write_bytes(flac(1))
    noisy = table_of([(flac(2), "2.flac")], speaker=["anna"])
    both = noisy.append_column("clean", noisy.column("audio"))
    write_parquet(tmp_path / "a.parquet", both)
    sources = list_sources(tmp_path, one_subject="anna")
    assert (sources.files, sources.companions, sources.not_taken) == (2, 0, 1)
    assert [problem.path for problem in sources.problems] == ["a.parquet"]


def test_images_are_no_recordings(tmp_path: Path) -> None:
    table = table_of([(b"x", "1.jpg")]).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": {"audio": {"_type": "Image"}}}})}
    )
    write_parquet(tmp_path / "x.parquet", table)
    with pytest.raises(InvalidArgument, match="holds no recordings"):
        list_sources(tmp_path, one_subject="anna")


def test_a_row_group_that_is_too_large(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(tmp_path / "src" / "x.parquet", table_of([(flac(i), None) for i in range(4)]), rows=4)
    monkeypatch.setattr(table, "MAX_GROUP", 2 * len(flac(0)))
    ran = run("encrypt", tmp_path / "src", tmp_path / "sealed", "--one-subject", "anna")
    assert ran.code == 1
    assert "a row group takes 0.0 GiB of memory, which is too much" in ran.out + ran.err


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_behind_a_url(tmp_path: Path, run: Run, kind: str) -> None:
    write = write_parquet if kind == "parquet" else write_arrow
    shard = write(tmp_path / f"x.{kind}", table_of([(flac(i), f"{i}.flac") for i in range(5)], speaker=["a"] * 5))
    name, memory = f"/raw-{os.urandom(6).hex()}", fsspec.filesystem("memory")
    memory.pipe(f"{name}/test/x.{kind}", shard.read_bytes())
    try:
        assert run("encrypt", f"memory:/{name}", tmp_path / "sealed").code == 0
        assert recordings_of(tmp_path / "sealed") == {f"{i}.flac": flac(i) for i in range(5)}
        assert {row["split"] for row in manifest_of(tmp_path / "sealed", "path", "split")} == {"test"}
        ran = run("encrypt", f"memory:/{name}", tmp_path / "sealed", "--json")
        assert (ran.code, ran.json["unchanged"], ran.json["files"]) == (0, 5, 0)
    finally:
        memory.rm(name, recursive=True)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/train-00000-of-00001.parquet", "train"),
        ("data/train.clean.100-00000-of-00014-abc123.parquet", "train.clean.100"),
        ("data-00000-of-00001.arrow", ""),
        ("dev/data-00000-of-00001.arrow", "validation"),
        ("my-test-set/0.parquet", "test"),
        ("shard-eval-000.tar", "test"),
        ("trainer/contest.tar", ""),
        ("x.tar", ""),
    ],
)
def test_splits_from_names(name: str, split: str) -> None:
    assert split_of(name) == split


def test_missing_shards() -> None:
    names = ["train-00000-of-00003-aa.parquet", "train-00002-of-00003-bb.parquet", "test-00000-of-00001.parquet"]
    assert missing_of(names) == ["train-00001-of-00003*.parquet"]
