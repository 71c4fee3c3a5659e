"""`securedata remove`, as people and scripts use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from securedata.corpus.state.commit import Next
from securedata.corpus.state.lifecycle import Hold
from securedata.corpus.writer import Writer
from securedata.keys.tags import Tagger
from tests.kit.cli.commandline import Run
from tests.kit.corpora.contents import manifest_of
from tests.kit.corpora.recorded import Root


def hold(root: Root, name: str) -> None:
    writer = Writer(root.reference)
    one = Hold(Tagger(writer.head.secret).tag(name), "case 1", 1.0)
    writer.transact(lambda attempt: Next(None, {"holds": (one,)}))


def paths(root: Root) -> list[str]:
    return [str(row["path"]) for row in manifest_of(root, "path")]


def test_a_glob_and_a_folder(run: Run, root: Root) -> None:
    said = run("remove", root.name, "*/utt0.wav", "--dry-run")
    assert (said.code, said.out, said.err) == (0, "would remove 2 recordings: 1.50 s of audio\n", "")
    assert len(paths(root)) == 6
    done = run("remove", root.name, "*/utt0.wav")
    assert (done.code, done.out) == (0, "removed 2 recordings: 1.50 s of audio\n")
    assert "deleted after 24 hours, by the first commit or prune: 2 objects, " in done.err
    assert "this is not an erasure" in done.err
    assert paths(root) == ["ann/utt1.flac", "ann/utt2.ogg", "bob/utt1.flac", "bob/utt2.wav"]
    done = run("remove", root.name, "bob", "--now", "-q")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[1].startswith("deleted 2 objects, ")
    assert len([one for one in Path(root, "objects").rglob("*") if one.is_file()]) == 4
    assert run("verify", root.name).code == 0


def test_a_path_that_matches_nothing(run: Run, root: Root) -> None:
    done = run("remove", root.name, "ann/utt0.wav", "ann/utt7.wav")
    assert (done.code, done.out) == (1, "")
    assert done.error.endswith("'securedata ls -R' lists all paths [ann/utt7.wav]")
    assert len(paths(root)) == 6


def test_everything(run: Run, root: Root) -> None:
    done = run("remove", root.name, "ann", "bob")
    assert done.code == 2
    assert "pass --yes 6" in done.err
    assert run("remove", root.name, "ann", "bob", "--yes", "6", "--json").json["rows"] == 6
    assert paths(root) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "ann/utt0.wav\r\n\nbob/utt2.wav\n"),
        ("list", "\ufeffbob/utt2.wav\nann/utt0.wav"),
        ("list.csv", "speaker,path\nann,ann/utt0.wav\nbob,bob/utt2.wav\n"),
        ("list.jsonl", '{"path": "ann/utt0.wav"}\n{"path": "bob/utt2.wav", "size": 3}\n'),
    ],
)
def test_a_file_of_paths(run: Run, root: Root, tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_bytes(text.encode())
    assert run("remove", root.name, "--manifest", file, "--json").json["rows"] == 2
    assert paths(root) == ["ann/utt1.flac", "ann/utt2.ogg", "bob/utt0.wav", "bob/utt1.flac"]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("list.txt", b"\n", "list.txt names no path"),
        ("list.txt", "ann".encode("utf-16"), "list.txt is UTF-16"),
        ("list.csv", b"speaker,name\nann,ann/utt0.wav\n", "list.csv, line 2 has no column of logical paths"),
        ("list.csv", b"path,file\na,b\n", "columns 'path' and 'file', not one,"),
        ("list.jsonl", b'{"path": 3}\n', "list.jsonl, line 1: the path is empty or not text"),
        ("gone.csv", None, "gone.csv cannot be read: No such file"),
    ],
)
def test_a_file_that_names_none(
    run: Run, root: Root, tmp_path: Path, name: str, data: bytes | None, words: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    done = run("remove", root.name, "--manifest", tmp_path / name)
    assert done.code == 2
    assert words in done.err
    assert len(paths(root)) == 6


def test_rows_under_a_hold_have_an_exit_code_of_their_own(run: Run, root: Root) -> None:
    hold(root, "bob")
    done = run("remove", root.name, "ann/utt0.wav", "bob")
    assert (done.code, done.out) == (3, "removed 1 recording: 0.50 s of audio\n")
    assert "under a hold, left as they are (3):\n  bob/utt0.wav\n" in done.err
    assert "securedata: 3 rows under a hold, left as they are\n" in done.err
    again = run("remove", root.name, "bob/utt0.wav", "--json")
    assert (again.code, again.json["rows"], again.json["held"]) == (3, 0, ["bob/utt0.wav"])
    assert again.err == "securedata: 1 row under a hold, left as it is\n"
