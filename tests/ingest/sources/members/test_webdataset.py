"""WebDataset tars by the real command: members become rows, bit for bit, and every one of them is accounted for."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import fsspec
import pytest

from securedata.errors import InvalidArgument
from securedata.ingest.sources.members import shard
from securedata.ingest.sources.members.shard import Shard
from securedata.ingest.sources.recordings import list_sources
from tests.kit.cli.commandline import Run
from tests.kit.corpora.contents import manifest_of, recordings_of
from tests.kit.sources.recordings import encode, noise
from tests.kit.sources.shards import as_json, flac, table_of, write_parquet, write_tar


def two_shards(src: Path, seconds: float = 0.2) -> Path:
    write_tar(
        src / "train" / "shard-000000.tar",
        [
            ("a1.flac", flac(1, seconds)),
            ("a1.json", as_json(speaker="anna", text="one", age=30, start=12.5)),
            ("a1.txt", b"never used\n"),
            ("sub/b1.wav", flac(2, seconds)),
            ("sub/b1.json", as_json(speaker="bert")),
            ("sub/b1.txt", b"two words\n"),
            ("sub/b1.cls", b"7"),
        ],
    )
    write_tar(
        src / "dev" / "shard-000000.tar",
        [("a1.flac", flac(3, seconds)), ("a1.json", as_json(speaker="anna")), ("a1.lab", b"three")],
    )
    return src


ALL = ("path", "subjects", "transcript", "split", "extra")


def test_members_are_rows(tmp_path: Path, run: Run) -> None:
    src, root = two_shards(tmp_path / "src"), tmp_path / "sealed"
    ran = run("encrypt", src, root, "--json")
    assert ran.code == 0
    assert manifest_of(root, *ALL) == [
        # of the same name in an earlier shard is another recording
        {"path": "a1.flac", "subjects": ["anna"], "transcript": "three", "split": "validation", "extra": ""},
        {
            "path": "sub/b1.wav",
            "subjects": ["bert"],
            "transcript": "two words",
            "split": "train",
            "extra": '{"cls":"7"}',
        },
        {
            "path": "train/shard-000000/a1.flac",
            "subjects": ["anna"],
            "transcript": "one",
            "split": "train",
            "extra": '{"age":30,"start":12.5,"txt":"never used"}',
        },
    ]
    assert recordings_of(root) == {"a1.flac": flac(3), "sub/b1.wav": flac(2), "train/shard-000000/a1.flac": flac(1)}
    sources = ran.json["sources"]
    assert (sources["files"], sources["taken"], sources["companions"], sources["not_taken"]) == (10, 3, 7, 0)


def test_nothing_is_written_and_a_second_run_reads_no_recording(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    src, root = two_shards(tmp_path / "src", 2), tmp_path / "sealed"
    assert run("encrypt", src, root).code == 0
    before = sorted(path for path in src.rglob("*"))
    read: list[tuple[int, int]] = []
    real = Shard.read_at

    def read_at(self: Shard, offset: int, length: int) -> bytes:
        read.append((offset, length))
        return real(self, offset, length)

    monkeypatch.setattr(shard, "_BLOCK", 512)
    monkeypatch.setattr(Shard, "read_at", read_at)
    ran = run("encrypt", src, root, "--json")
    assert (ran.code, ran.json["unchanged"], ran.json["files"]) == (0, 3, 0)
    assert sum(length for _, length in read) < len(flac(1, 2))
    assert sorted(path for path in src.rglob("*")) == before
    os.utime(src / "dev" / "shard-000000.tar", ns=(1, 1))
    ran = run("encrypt", src, root, "--json")
    assert (ran.code, ran.json["files"], ran.json["added"], ran.json["replaced"]) == (0, 1, 0, 0)


def test_a_shard_that_was_replaced(tmp_path: Path, run: Run) -> None:
    src, root = two_shards(tmp_path / "src"), tmp_path / "sealed"
    assert run("encrypt", src, root).code == 0
    shard = src / "dev" / "shard-000000.tar"
    write_tar(shard, [("a1.flac", flac(4)), ("a1.json", as_json(speaker="anna", text="four"))])
    os.utime(shard, ns=(5, 5))
    ran = run("encrypt", src, root, "--json")
    assert (ran.code, ran.json["conflicts"]) == (1, ["a1.flac"])
    assert run("encrypt", src, root, "--replace").code == 0
    assert recordings_of(root)["a1.flac"] == flac(4)
    assert manifest_of(root, *ALL)[0]["transcript"] == "four"


def test_a_rule_names_people_where_no_column_does(tmp_path: Path, run: Run) -> None:
    write_tar(tmp_path / "src" / "x.tar", [("anna/1.flac", flac(1)), ("bert/1.flac", flac(2)), ("bert/1.jpg", b"...")])
    root = tmp_path / "sealed"
    assert run("encrypt", tmp_path / "src", root).code == 2
    assert run("encrypt", tmp_path / "src", root, "--speaker-pattern", "{speaker}/{utterance}").code == 0
    assert [row["subjects"] for row in manifest_of(root, "path", "subjects")] == [["anna"], ["bert"]]


def test_messages_name_the_member_and_its_tar(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", [("a.flac", flac(1)), ("a.json", as_json(speaker="ann")), ("b.flac", flac(2))])
    [problem] = list_sources(tmp_path).problems
    assert (problem.path, problem.reason) == ("b.flac", "b.flac of x.tar names no speaker")
    write_tar(tmp_path / "y.tar", [("c.flac", flac(1)), ("c.json", as_json(speaker="ann", client_id="ann"))])
    with pytest.raises(InvalidArgument, match=r"^y\.tar, recording 1: columns 'speaker' and 'client_id' could both be"):
        list_sources(tmp_path)


def test_columns_reach_into_the_json(tmp_path: Path, run: Run) -> None:
    meta = as_json(meta={"who": "anna", "said": "hello"}, path="x.wav")
    write_tar(tmp_path / "src" / "x.tar", [("a.flac", flac(1)), ("a.json", meta), ("a.txt", b"other")])
    chosen = ("--columns", "speaker=meta.who", "--columns", "text=meta.said")
    assert run("encrypt", tmp_path / "src", tmp_path / "sealed", *chosen).code == 0
    [row] = manifest_of(tmp_path / "sealed", *ALL)
    assert (row["subjects"], row["transcript"]) == (["anna"], "hello")
    assert row["extra"] == '{"path":"x.wav","txt":"other"}'


def test_every_odd_member_is_named(tmp_path: Path, run: Run) -> None:
    src = tmp_path / "src"
    write_tar(
        src / "a.tar",
        [
            ("1.flac", flac(1)),
            ("1.flac", flac(2)),
            ("2.flac", b"no audio at all"),
            ("2.json", b"[1, 2]"),
            (".hidden/3.flac", flac(3)),
            ("4.bin", flac(4)),
            ("in.tar", write_tar(tmp_path / "in.tar", [("a.txt", b"x")]).read_bytes()),
        ],
    )
    whole = write_tar(src / "b.tar", [("5.flac", flac(5)), ("6.flac", flac(6))]).read_bytes()
    (src / "b.tar").write_bytes(whole[: 512 + 2048])
    (src / "c.tar.gz").write_bytes(gzip.compress(write_tar(tmp_path / "c.tar", [("7.flac", flac(7))]).read_bytes()))
    (src / "d.tar").write_bytes(b"no tar" * 200)
    damaged = bytearray(write_tar(src / "e.tar", [("8.flac", flac(8)), ("9.flac", flac(9))]).read_bytes())
    behind = 512 + -(-len(flac(8)) // 512) * 512
    damaged[behind : behind + 512] = b"\xff" * 512
    (src / "e.tar").write_bytes(damaged)
    ran = run("encrypt", src, tmp_path / "sealed", "--one-subject", "anna", "--json")
    assert ran.code == 1
    assert sorted(recordings_of(tmp_path / "sealed")) == ["1.flac", "4.bin", "8.flac"]
    assert recordings_of(tmp_path / "sealed")["1.flac"] == flac(1)
    problems = {one["path"]: one["reason"] for one in ran.json["problems"] if not one["taken"]}
    assert problems.pop("2.flac")
    assert "tar archive" in problems.pop("in.tar")
    assert problems == {
        "a.tar/1.flac (again)": "the tar holds two members with this name; the first is taken",
        "b.tar/5.flac": "cut off: the tar ends in the middle of it",
        "b.tar": "cut off or damaged after member 1: the rest is not taken",
        "c.tar.gz": "a tar compressed with gzip cannot be read by range: decompress it first",
        "d.tar": "not a tar, or its first header is damaged",
        "e.tar": "cut off or damaged after member 1: the rest is not taken",
    }
    sources = ran.json["sources"]
    assert sources["files"] == sum(
        sources[name] for name in ("taken", "companions", "hidden", "left_out", "not_taken", "unchanged")
    )
    assert (sources["taken"], sources["companions"], sources["hidden"], sources["not_taken"]) == (3, 1, 1, 6)


def test_texts_that_go_with_no_recording(tmp_path: Path) -> None:
    """With a dot in a key they are of no sample, and what they say would be lost."""
    members = [("1.a.flac", flac(1)), ("1.a.json", as_json(speaker="bert")), ("2.txt", b"two"), ("3.flac", flac(3))]
    write_tar(tmp_path / "a.tar", members)
    sources = list_sources(tmp_path, one_subject="anna")
    assert sources.table.column("path").to_pylist() == ["1.a.flac", "3.flac"]
    assert [(problem.path, problem.taken) for problem in sources.problems] == [("a.tar", True)]
    assert "2 texts have no recording, the first is '1.a.json'" in sources.problems[0].reason


def test_two_texts_of_one_kind_name_nobody(tmp_path: Path) -> None:
    both = [("1.json", as_json(speaker="anna")), ("1.JSON", as_json(speaker="bert"))]
    write_tar(
        tmp_path / "a.tar", [("1.flac", flac(1)), *both, ("2.flac", flac(2)), ("2.json", as_json(speaker="cleo"))]
    )
    sources = list_sources(tmp_path)
    assert sources.table.column("path").to_pylist() == ["2.flac"]
    assert {problem.path for problem in sources.problems if not problem.taken} == {"1.flac"}


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_another_shard_takes_over_a_path(tmp_path: Path, run: Run, kind: str) -> None:
    """All files have one time, as after unpacking: the place alone does not tell that it is another recording."""
    src, size, shard = tmp_path / "src", {}, None
    for name, number in (("b", 1), ("a", 2)):
        if shard is not None:
            shard.unlink()
        data = encode(noise(0.2, 8000, seed=number), 8000)
        size[name] = len(data)
        members = [("1.wav", data), ("1.json", as_json(speaker="anna"))]
        if kind == "tar":
            shard = write_tar(src / f"{name}.tar", members)
        else:
            shard = write_parquet(src / f"{name}.parquet", table_of([(data, "1.wav")], speaker=["anna"]))
        os.utime(shard, ns=(10**18, 10**18))
        ran = run("encrypt", src, tmp_path / "sealed", "--json")
    assert size["a"] == size["b"]
    assert (ran.code, ran.json["conflicts"]) == (1, ["1.wav"])


def test_what_follows_the_end_of_a_tar(tmp_path: Path) -> None:
    """Two tars in one file, as `cat` makes it: readers stop behind the first."""
    src, one = tmp_path / "src", write_tar(tmp_path / "one.tar", [("1.flac", flac(1))]).read_bytes()
    src.mkdir()
    (src / "both.tar").write_bytes(one + write_tar(tmp_path / "two.tar", [("2.flac", flac(2))]).read_bytes())
    (src / "padded.tar").write_bytes(write_tar(tmp_path / "3.tar", [("3.flac", flac(3))]).read_bytes() + bytes(2**20))
    members = write_tar(tmp_path / "4.tar", [("4.flac", flac(4))]).read_bytes()
    (src / "open.tar").write_bytes(members[: 512 + -(-len(flac(4)) // 512) * 512])
    sources = list_sources(src, one_subject="anna")
    assert set(sources.table.column("path").to_pylist()) == {"1.flac", "3.flac", "4.flac"}
    assert [(problem.path, problem.taken) for problem in sources.problems] == [("both.tar", False), ("open.tar", True)]
    assert "another archive follows the end after member 1" in sources.problems[0].reason
    assert "no mark of its end" in sources.problems[1].reason


def test_tars_beside_recordings_stay_what_they_were(tmp_path: Path, run: Run) -> None:
    src = tmp_path / "src"
    write_tar(src / "a.tar", [("1.flac", flac(1))])
    (src / "2.flac").write_bytes(flac(2))
    sources = list_sources(src, one_subject="anna")
    assert sources.table.column("path").to_pylist() == ["2.flac"]
    assert [problem.path for problem in sources.problems] == ["a.tar"]
    sources = list_sources(src, one_subject="anna", source_format="webdataset")
    assert sources.table.column("path").to_pylist() == ["1.flac"]


def test_behind_a_url(tmp_path: Path, run: Run) -> None:
    src, name = two_shards(tmp_path / "src"), f"/raw-{os.urandom(6).hex()}"
    memory = fsspec.filesystem("memory")
    for path in sorted(src.rglob("*.tar")):
        memory.pipe(f"{name}/{path.relative_to(src)}", path.read_bytes())
    try:
        assert run("encrypt", f"memory:/{name}", tmp_path / "sealed").code == 0
        assert recordings_of(tmp_path / "sealed")["sub/b1.wav"] == flac(2)
        ran = run("encrypt", f"memory:/{name}", tmp_path / "sealed", "--json")
        assert (ran.code, ran.json["unchanged"], ran.json["files"]) == (0, 3, 0)
    finally:
        memory.rm(name, recursive=True)
