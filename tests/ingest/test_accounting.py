"""Every file under SRC is accounted for: the counts add up, and exit 0 leaves no recording behind in silence."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.kit.cli.commandline import Ran, Run
from tests.kit.sources.ffmpeg import KINDS, make
from tests.kit.sources.recordings import encode, noise

WAV = encode(noise(0.2), 16_000)


@pytest.fixture
def src(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    return tmp_path / "src"


def put(src: Path, name: str, data: bytes = WAV) -> None:
    path = src / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def encrypt(run: Run, src: Path | str, root: Path, *more: str) -> Ran:
    return run("encrypt", src, root, "--subject-per-file", "--json", *more)


def counted(src: Path) -> int:
    """All files under a folder, by another way than the product's; what links lead to is counted where it is."""
    return sum(len(files) for _, _, files in os.walk(os.fsencode(src)))


def check_sum(sources: dict[str, int]) -> None:
    assert sources["files"] == sum(count for name, count in sources.items() if name != "files")


TAKEN: dict[str, bytes] = {
    "a.wav": WAV,
    "b.WAV": WAV,
    "c.Flac": encode(noise(0.2), 16_000, "FLAC"),
    "d.wave": WAV,
    "e.aiff": encode(noise(0.2), 16_000, "AIFF"),
    "f.w64": encode(noise(0.2), 16_000, "W64"),
    "g.oga": encode(noise(0.2), 16_000, "OGG"),
    "h.au": encode(noise(0.2), 16_000, "AU"),
    "i.caf": encode(noise(0.2), 16_000, "CAF"),
    "j.sph": encode(noise(0.2), 16_000, "NIST"),
    "k.rf64": encode(noise(0.2), 16_000, "RF64"),
    "no-suffix": WAV,
    "rec.001": WAV,
    "rec.002": WAV,
    "wrong.m4a": WAV,
    "wrong.bin": encode(noise(0.2), 16_000, "MP3"),
    "m.m4a": make(KINDS[0]),
    "n.MP4": make(KINDS[1]),
    "o.webm": make(KINDS[4]),
    "p.aac": make(KINDS[6]),
    "q.wma": make(KINDS[7]),
    "r.unknown": make(KINDS[0]),
    "folder.wav/s.wav": WAV,
    "späť/ü.wav": WAV,
}
COMPANIONS = {
    "a.txt": b"words",
    "a.lab": b"",
    "a.TextGrid": b"File type",
    "x.json": b"{}",
    "x.CSV": b"a,b\n",
    "x.jpg": b"\xff\xd8\xff",
    "README": b"read me",
    "LICENSE.md": b"",
    "1-2.trans.txt": b"",
    "notes": b"of the recordist, in plain text\n",
    "cover": b"\x89PNG\r\n\x1a\n" + bytes(30),
}
HIDDEN = {".take2.wav": WAV, ".git/config": b"", ".git/objects/x.wav": WAV, "deep/.DS_Store": b"x"}
NOT_TAKEN = {
    "empty.wav": b"",
    "silent.wav": encode(noise(0.0), 16_000),
    "broken.m4a": b"\0\0\0\x1cftypM4A \0\0\0\0M4A isommp42" + bytes(4000),
    "cut.wav": WAV[:-100],
    "samples.raw": (noise(0.2) * 30_000).astype("<i2").tobytes(),
    "samples.pcm": bytes(1000),
    "more.zip": b"PK\x03\x04" + bytes(100),
    "a.wav.bak": b"",
    "back\\slash.wav": WAV,
    "line\nend.unknown": WAV,
    "no.wav": b"no audio",
}


def a_tree(src: Path) -> None:
    """One of each."""
    for files in (TAKEN, COMPANIONS, HIDDEN, NOT_TAKEN):
        for name, data in files.items():
            put(src, name, data)
    os.mkfifo(src / "pipe.wav")
    os.mkfifo(src / "pipe")
    listening = socket.socket(socket.AF_UNIX)
    where = os.getcwd()
    os.chdir(src)  # the name of a socket is short
    listening.bind("socket.wav")
    os.chdir(where)
    listening.close()
    os.symlink("a.wav", src / "link.wav")
    os.symlink("gone.wav", src / "broken.wav")
    os.symlink("folder.wav", src / "linked")
    os.symlink("..", src / "folder.wav" / "up")
    os.symlink("circle", src / "circle")
    with open(os.path.join(os.fsencode(src), b"not\xff.wav"), "wb") as file:
        file.write(WAV)
    put(src, "bad\\folder/1.wav")
    put(src, "bad\\folder/below/2.wav")
    put(src, "old/left.wav")
    put(src, "old/out.unknown", bytes(50))


def test_one_of_each(run: Run, src: Path, tmp_path: Path) -> None:
    a_tree(src)
    done = encrypt(run, src, tmp_path / "sealed", "--leave-out", "old/*")
    sources = done.json["sources"]
    check_sum(sources)
    assert sources == {
        "files": counted(src),
        "taken": len(TAKEN) + 1,  # and the link
        "unchanged": 0,
        "companions": len(COMPANIONS),
        "hidden": len(HIDDEN),
        "left_out": 2,
        "not_taken": len(NOT_TAKEN) + 8,  # two pipes, socket, link to nothing, in a circle, no UTF-8, two in a folder
    }
    assert done.json["added"] == sources["taken"]
    assert done.code == 1
    problems = {one["path"]: one["reason"] for one in done.json["problems"] if not one["taken"]}
    expected = {name.replace("\n", "\\x0a") for name in NOT_TAKEN}
    assert set(problems) == expected | {
        *("pipe.wav", "pipe", "socket.wav", "broken.wav", "circle", "not\\xff.wav", "bad\\folder")
    }
    assert all(problems.values())
    assert set(done.json["hidden_names"]) == {".take2.wav", ".git", "deep/.DS_Store"}
    again = encrypt(run, src, tmp_path / "sealed", "--leave-out", "old/*")
    sources = again.json["sources"]
    check_sum(sources)
    assert (sources["taken"], sources["unchanged"]) == (0, len(TAKEN) + 1)
    assert sources["files"] == counted(src)


def test_with_nothing_left_behind_it_is_exit_0(run: Run, src: Path, tmp_path: Path) -> None:
    for files in (TAKEN, COMPANIONS, HIDDEN):
        for name, data in files.items():
            put(src, name, data)
    done = encrypt(run, src, tmp_path / "sealed")
    assert (done.code, done.json["complete"]) == (0, True)
    check_sum(done.json["sources"])


@pytest.mark.parametrize("name", NOT_TAKEN)
def test_a_single_file_that_cannot_be_taken_is_named_and_counts(run: Run, src: Path, tmp_path: Path, name: str) -> None:
    put(src, "good.wav")
    put(src, name, NOT_TAKEN[name])
    done = encrypt(run, src, tmp_path / "sealed")
    assert (done.code, done.json["complete"], done.json["sources"]["not_taken"]) == (1, False, 1)
    check_sum(done.json["sources"])
    quiet = run("encrypt", src, tmp_path / "sealed", "--subject-per-file", "-q")
    assert quiet.code == 1
    assert name.partition("\n")[0].partition("\\")[0] in quiet.err, "said with -q, too"


def test_other_ends_of_names_are_other_people(run: Run, src: Path, tmp_path: Path) -> None:
    for name in ("rec.001", "rec.002", "talk.wav", "talk.flac"):
        put(src, name, TAKEN["c.Flac"] if name.endswith("flac") else WAV)
    assert encrypt(run, src, tmp_path / "sealed").code == 0
    listed = run("ls", tmp_path / "sealed", "-R", "--json").json
    rows = listed["recordings"] if isinstance(listed, dict) else listed
    assert {one["path"]: one["speaker"] for one in rows} == {
        "rec.001": "rec.001",
        "rec.002": "rec.002",
        "talk.wav": "talk",
        "talk.flac": "talk",
    }


def test_conflicts_and_what_the_manifest_does_not_name(run: Run, src: Path, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "c.wav", "d.wav"):
        put(src, name)
    rows = ["a.wav\tann\t0\t0.1", "a.wav\tann\t0.1\t0.1", "b.wav\tbob\t\t", "gone.wav\tann\t\t", "c.wav\tbob\t7\t1"]
    put(src, "m.tsv", ("path\tspeaker\toffset\tduration\n" + "\n".join(rows) + "\n").encode())

    def ingest(*more: str) -> dict[str, Any]:
        done = run("encrypt", src, tmp_path / "sealed", "--manifest", "m.tsv", "--json", *more)
        assert done.code == 1
        sources: dict[str, Any] = done.json["sources"]
        check_sum(sources)
        return sources

    counts = {"files": 5, "companions": 1, "hidden": 0}
    first = ingest()
    assert first == {**counts, "taken": 2, "unchanged": 0, "left_out": 0, "not_taken": 2}
    put(src, "b.wav", encode(noise(0.3), 16_000))
    listed = ingest("--only-listed")
    assert listed == {**counts, "taken": 0, "unchanged": 1, "left_out": 1, "not_taken": 2}, "b.wav is a conflict"
    replaced = ingest("--only-listed", "--replace")
    assert replaced == {**counts, "taken": 1, "unchanged": 1, "left_out": 1, "not_taken": 1}


def test_an_unreadable_folder_counts(run: Run, src: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(src, "a.wav")
    put(src, "closed/b.wav")
    real = os.scandir

    def refuse(path: Any) -> Any:  # root may list anything, so the refusal is made here
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    done = encrypt(run, src, tmp_path / "sealed")
    assert (done.code, done.json["complete"]) == (1, False)
    check_sum(done.json["sources"])
    assert [one["path"] for one in done.json["problems"]] == ["closed"]


def test_the_summary_for_people(run: Run, src: Path, tmp_path: Path) -> None:
    for name, data in {"a.wav": WAV, "a.txt": b"x", ".b.wav": WAV, "old/c.wav": WAV, "d.raw": bytes(99)}.items():
        put(src, name, data)
    done = run("encrypt", src, tmp_path / "sealed", "--one-subject", "x", "--leave-out", "old/*")
    said = "5 files: 1 taken, 1 companion (texts, tables, images), 1 hidden, 1 left out on request, 1 not taken"
    assert said in done.err
    assert "left out, because hidden: .b.wav" in done.err
    assert "d.raw: no audio that is known by its first bytes" in done.err


@pytest.fixture
def url() -> Iterator[str]:
    name = f"/raw-{os.urandom(6).hex()}"
    yield f"memory:/{name}"
    fsspec.filesystem("memory").rm(name, recursive=True)


def test_behind_a_url_it_is_the_same(run: Run, tmp_path: Path, url: str) -> None:
    files = {**TAKEN, **COMPANIONS, **HIDDEN, **NOT_TAKEN, "old/left.wav": WAV, "old/out.unknown": bytes(50)}
    memory = fsspec.filesystem("memory")
    for name, data in files.items():
        memory.pipe_file(f"{url.removeprefix('memory:/')}/{name}", data)
    done = encrypt(run, url, tmp_path / "sealed", "--leave-out", "old/*")
    assert done.json["sources"] == {
        "files": len(files),
        "taken": len(TAKEN),
        "unchanged": 0,
        "companions": len(COMPANIONS),
        "hidden": len(HIDDEN),
        "left_out": 2,
        "not_taken": len(NOT_TAKEN),
    }
    assert set(done.json["hidden_names"]) == {".take2.wav", ".git", "deep/.DS_Store"}
