"""What the walk takes, what it counts and what it complains of, in real folders."""

import os
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.rows.inherit import stem
from securedata.errors import InvalidArgument
from securedata.ingest.sources.walk.scan import scan
from securedata.ingest.sources.walk.tree import Tree
from securedata.media.audio.suffixes import without_suffix


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def reasons(tree: Tree) -> dict[str, str]:
    return {problem.path: problem.reason for problem in tree.problems}


def test_audio_by_suffix_sorted_with_size_and_time(tmp_path: Path) -> None:
    touch(tmp_path, "b/1.WAV", "b/2.flac", "a.mp3", "b.ogg", "c/d/e.opus", "ä/1.wav")
    for seconds, name in enumerate(("b/1.WAV", "b/2.flac", "a.mp3", "b.ogg", "c/d/e.opus", "ä/1.wav")):
        os.utime(tmp_path / name, ns=(1, seconds * 10**9 + 123_456_789))
    tree = scan(tmp_path)
    assert tree.paths == ["a.mp3", "b.ogg", "b/1.WAV", "b/2.flac", "c/d/e.opus", "ä/1.wav"]
    assert tree.names == tree.paths
    assert list(tree.sizes) == [len(name.encode()) for name in tree.paths]
    assert list(tree.mtimes) == [seconds * 10**9 + 123_456_789 for seconds in (2, 3, 0, 1, 4, 5)]
    assert (tree.root, len(tree), tree.companions, tree.hidden, tree.problems) == (str(tmp_path), 6, 0, 0, [])


def test_others_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "a.txt", "wav", "a.wav.bak", ".hidden.wav", ".git/x.wav", "s/._a.wav", "s/1-2.trans.txt")
    touch(tmp_path, "testing_list.txt")
    tree = scan(tmp_path)
    assert tree.paths == ["a.wav"]
    assert (tree.companions, tree.hidden, tree.files) == (5, 3, 9)
    assert tree.hidden_names == [".git", ".hidden.wav", "s/._a.wav"]
    assert tree.companion_names == ["a.txt", "s/1-2.trans.txt", "testing_list.txt"]


def test_links_to_files_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "out/a.wav")
    src = tmp_path / "src"
    src.mkdir()
    (src / "a.wav").symlink_to("../out/a.wav")
    (src / "gone.wav").symlink_to("../out/none.wav")
    (src / "self.wav").symlink_to("self.wav")
    tree = scan(src)
    assert tree.paths == ["a.wav"]
    assert list(tree.sizes) == [len("out/a.wav")]
    assert reasons(tree) == {"gone.wav": "link leads nowhere", "self.wav": "link leads nowhere"}


def test_linked_folders_are_entered_once_and_end(tmp_path: Path) -> None:
    touch(tmp_path, "far/x.wav", "src/z/a.wav")
    src = tmp_path / "src"
    (src / "a-link-to-z").symlink_to("z")
    (src / "b-far").symlink_to("../far")
    (src / "c-far").symlink_to("../far")
    (src / "z" / "up").symlink_to("..")
    (tmp_path / "far" / "loop").symlink_to(".")
    tree = scan(src)
    assert tree.paths == ["b-far/x.wav", "z/a.wav"]  # the real folder names the recording, whatever sorts first
    assert {problem.path for problem in tree.problems} == {"a-link-to-z", "c-far", "z/up", "b-far/loop"}
    assert all(problem.taken for problem in tree.problems)
    assert reasons(tree)["z/up"] == "a link to SRC itself, where its recordings are taken"


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    assert reasons(scan(tmp_path)) == {"pipe.wav": "not a regular file"}


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    raw = os.fsencode(tmp_path)
    for name in (b"b\xff.wav", b"c\xff.txt"):
        with open(os.path.join(raw, name), "wb"):
            pass
    os.mkdir(os.path.join(raw, b"d\xfe"))
    tree = scan(tmp_path)
    assert tree.paths == ["a.wav"]
    assert tree.companions == 1
    wrong = "its name is not valid UTF-8; rename it"
    assert reasons(tree) == {"b\\xff.wav": wrong, "d\\xfe": wrong}


def test_names_that_the_locale_takes_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Latin-1 'Zoë' would be 'ZoÃ«', under whom nobody would look for her; nothing said so."""
    monkeypatch.setattr(os, "fsencode", lambda name: os.fspath(name).encode("latin-1"))
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "iso8859-1")
    touch(tmp_path, "a.wav", "ZoÃ«/b.wav", "Ã¼.wav", "\xe9.wav")
    tree = scan(tmp_path)
    assert tree.paths == ["a.wav", "\xe9.wav"], "a name that is no UTF-8 is in the locale's own letters"
    assert set(reasons(tree)) == {"Zoë", "ü.wav"}
    for reason in reasons(tree).values():
        assert reason == (
            "its name is in UTF-8, but is read as iso8859-1: set PYTHONUTF8=1, or LC_ALL to a UTF-8 locale"
        )
    assert (tree.files, tree.not_taken) == (4, 2)


def test_names_that_no_logical_path_can_hold(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b\\c.wav", "d\ne.wav", "f\x7fg/h.wav", "i\\j.txt")
    tree = scan(tmp_path)
    assert tree.paths == ["a.wav"]
    assert set(reasons(tree)) == {"b\\c.wav", "d\\x0ae.wav", "f\\x7fg"}
    assert tree.companions == 1


def test_nfc(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "zoë/é.wav")
    touch(tmp_path, decomposed)
    tree = scan(tmp_path)
    assert tree.paths == ["zoë/é.wav"]
    assert tree.names == [decomposed]


def test_two_spellings_of_one_name(tmp_path: Path) -> None:
    touch(tmp_path, "é.wav", unicodedata.normalize("NFD", "é.wav"))
    with pytest.raises(InvalidArgument) as caught:
        scan(tmp_path)
    assert "'\\xe9.wav'" in str(caught.value)
    assert "'e\\u0301.wav'" in str(caught.value)


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.wav", "closed/b.wav")
    real = os.scandir

    def refuse(path: str) -> object:  # root may list anything, so the refusal is made here
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    tree = scan(tmp_path)
    assert tree.paths == ["a.wav"]
    assert reasons(tree) == {"closed": "folder cannot be listed: Permission denied"}


def test_src_has_to_be_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    with pytest.raises(InvalidArgument, match="is a file"):
        scan(tmp_path / "a.wav")
    with pytest.raises(InvalidArgument, match="does not exist"):
        scan(tmp_path / "none")
    with pytest.raises(InvalidArgument, match="not valid UTF-8"):
        scan(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))


def test_relative_src_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "x/a.wav")
    monkeypatch.chdir(tmp_path)
    assert scan("x/../x/").root == str(tmp_path / "x")


@pytest.mark.parametrize(
    ("path", "short", "last"),
    [("a/b.wav", "a/b", "b"), ("a.b/c", "a.b/c", "c"), ("a/.wav", "a/.wav", ".wav"), ("a.b.wav", "a.b", "a.b")],
)
def test_suffixes(path: str, short: str, last: str) -> None:
    assert without_suffix(path) == short
    assert stem(path) == last


def test_every_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However deep it is: what is in a folder is counted without entering it only where it is left out."""
    touch(tmp_path, "a/b/c/d/e/x.wav", "a/y.wav", ".h/i/z.wav")
    listed: list[str] = []
    real = os.scandir

    def scandir(path: str) -> Any:
        listed.append(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    tree = scan(tmp_path)
    assert (len(tree), tree.hidden, tree.files) == (2, 1, 3)
    assert len(listed) == len(set(listed)) == 8
