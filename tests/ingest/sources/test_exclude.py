"""What is left out: on request, and the corpus itself where it lies below SRC. Also names in archives."""

from __future__ import annotations

import os
import tarfile
import unicodedata
import uuid
from pathlib import Path

import fsspec
import pytest

from tests.kit.cli.commandline import Ran, Run
from tests.kit.sources.recordings import encode, noise

WAV = encode(noise(0.2), 16_000)


@pytest.fixture
def src(tmp_path: Path) -> Path:
    for name in ("a.wav", "sub/b.wav", "sub/deep/c.wav", ".git/d", unicodedata.normalize("NFD", "café.wav")):
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(WAV)
    return tmp_path / "src"


def encrypt(run: Run, src: Path | str, root: Path | str, *more: str) -> Ran:
    return run("encrypt", src, root, "--subject-per-file", "--json", *more)


@pytest.mark.parametrize(
    ("pattern", "left_out"),
    [
        ("a.wav", 1),
        ("./a.wav", 1),
        ("sub", 2),
        ("sub/", 2),
        ("sub/*", 2),
        ("*/deep", 1),
        ("caf\u00e9*", 1),
        ("cafe\u0301.wav", 1),
        ("*.flac", 0),
        ("b.wav", 0),
    ],
)
def test_patterns(run: Run, src: Path, pattern: str, left_out: int) -> None:
    done = encrypt(run, src, src.parent / "sealed", "--leave-out", pattern, "--dry-run")
    problems = {one["path"]: one["reason"] for one in done.json["problems"] if one["taken"]}
    assert done.json["sources"]["left_out"] == left_out
    assert problems == ({} if left_out else {pattern: "no file matches this pattern of --leave-out"})


@pytest.mark.parametrize("pattern", ["no", "no/*", "*/0a7c2a8d_nohash_1.wav"])
def test_lines_of_a_list_for_what_is_left_out_lose_nothing(run: Run, tmp_path: Path, pattern: str) -> None:
    src = tmp_path / "src"
    for name in ("yes/0a7c2a8d_nohash_0.wav", "no/0a7c2a8d_nohash_1.wav"):
        (src / name).parent.mkdir(parents=True)
        (src / name).write_bytes(WAV)
    (src / "validation_list.txt").write_text("./no/0a7c2a8d_nohash_1.wav\n")
    (src / "testing_list.txt").write_text("")
    done = run("encrypt", src, tmp_path / "sealed", "--json", "--leave-out", pattern)
    assert (done.code, done.json["problems"], done.json["sources"]["left_out"]) == (0, [], 1)


def test_nor_do_words_of_what_is_left_out(run: Run, tmp_path: Path) -> None:
    src = tmp_path / "src/84/12"
    src.mkdir(parents=True)
    for name in ("84-12-0000.wav", "84-12-0001.wav"):
        (src / name).write_bytes(WAV)
    (src / "84-12.trans.txt").write_text("84-12-0000 ONE\n84-12-0001 TWO\n")
    done = run("encrypt", tmp_path / "src", tmp_path / "sealed", "--json", "--leave-out", "*-0001.wav")
    assert (done.code, done.json["problems"], done.json["added"]) == (0, [], 1)


def test_nor_does_a_row_of_a_manifest(run: Run, src: Path) -> None:
    rows = "path,speaker\na.wav,ann\n./sub/b.wav,bob\n"
    (src / "m.csv").write_text(rows)
    options = ("--manifest", "m.csv", "--only-listed", "--leave-out", "sub", "--json")
    done = run("encrypt", src, src.parent / "sealed", *options)
    assert done.code == 0
    assert done.json["problems"] == [
        {"path": "./sub/b.wav", "reason": "line 3 of the manifest: left out on request", "taken": True}
    ]
    (src / "m.csv").write_text(f"{rows}sub/gone.wav,bob\n")
    assert run("encrypt", src, src.parent / "sealed", *options).code == 1


def test_a_pattern_of_what_is_hidden_is_of_use(run: Run, src: Path) -> None:
    done = encrypt(run, src, src.parent / "sealed", "--leave-out", ".git")
    assert (done.code, done.json["problems"], done.json["sources"]["hidden"]) == (0, [], 1)


@pytest.mark.parametrize("spelling", ["{src}", "file://{src}", "local://{src}", "{src}/sub/../", "{link}"])
@pytest.mark.parametrize("root", ["{src}/sealed", "file://{src}/sealed", "{src}/sub/deep/x", "{src}/way/sealed"])
def test_a_corpus_below_its_recordings(run: Run, src: Path, spelling: str, root: str) -> None:
    link = src.parent / "link"
    link.symlink_to(src)
    (src / "way").symlink_to(src.parent)  # a corpus in there lies beside SRC, and below it all the same
    where = {"src": src, "link": link}
    for unchanged in (0, 4, 4):
        done = encrypt(run, spelling.format(**where), root.format(**where))
        assert (done.code, done.json["unchanged"], done.json["sources"]["not_taken"]) == (0, unchanged, 0)
    sources = done.json["sources"]
    assert sources["files"] == sum(count for name, count in sources.items() if name != "files")
    assert sources["left_out"] > 4, "head, parts, objects"


def test_a_corpus_below_a_url(run: Run) -> None:
    memory, name = fsspec.filesystem("memory"), uuid.uuid4().hex
    try:
        memory.pipe_file(f"/{name}/a.wav", WAV)
        for unchanged in (0, 1):
            done = encrypt(run, f"memory://{name}", f"memory://{name}/sea[l]ed", "--single-writer")
            assert (done.code, done.json["unchanged"], done.json["sources"]["not_taken"]) == (0, unchanged, 0), done.err
        assert done.json["sources"]["left_out"] > 2
    finally:
        memory.rm(name, recursive=True)


@pytest.mark.parametrize("arcname", [".", "", "voices"])
def test_a_tar_of_a_folder(run: Run, src: Path, arcname: str) -> None:
    (src / "m.csv").write_text("path,speaker,text\na.wav,ann,hello\n./sub/b.wav,bob,there\n")
    packed = src.parent / "all.tar"
    with tarfile.open(packed, "w") as archive:
        if arcname:
            archive.add(src, arcname=arcname)  # as `tar cf all.tar .` does: ./a.wav
        else:
            for name in sorted(os.listdir(src)):
                archive.add(src / name, arcname=name)
    inner = "voices" if arcname == "voices" else ""
    done = run(
        *(
            "encrypt",
            f"tar://{inner}::{packed}",
            src.parent / "sealed",
            "--manifest",
            "m.csv",
            "--only-listed",
            "--json",
        )
    )
    assert (done.code, done.json["added"], done.json["sources"]["hidden"]) == (0, 2, 1), done.err
    assert done.json["sources"]["left_out"] == 2
