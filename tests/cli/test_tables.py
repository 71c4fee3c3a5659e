"""Every table fits the terminal, whatever the letters in it; a pipe gets all of it, and --json too."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys
import termios
import unicodedata
from pathlib import Path

import pytest

from securedata.cli import tables
from securedata.cli.tables import shortened, table, width
from securedata.keys.local import create_key_file
from tests.kit.cli.commandline import Run
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import Clip, clip

ID = "0123456789abcdef" * 4
NAMES = {
    "ids": (ID, f"{ID}-{ID}"),
    "CJK": ("话者" * 32, "録音" * 40),
    "emoji": ("👩‍🚀☎️" * 20, "🎙" * 50),
    "marks": ("é" * 64, "ä̈" * 70),
}
COMMANDS: dict[str, tuple[str, ...]] = {
    "ls": ("ls", "{name}"),
    "ls -R": ("ls", "{name}", "-R"),
    "ls -R -t": ("ls", "{name}", "-R", "--transcripts"),
    "info": ("info", "{name}"),
    "list": ("list",),
    "list --check": ("list", "--check"),
    "wrap list": ("wrap", "list", "{name}"),
}


def corpus(folder: Path, case: str) -> Root:
    """Long names everywhere: people, paths, words, splits, the corpus, its root and its key."""
    person, path = NAMES[case]
    clips: list[Clip] = [
        clip(f"{person}/{path}/{n}.wav", 0.1, seed=n, speaker=person + str(n), split=person, transcript=path * 2)
        for n in range(12)
    ]
    place = folder / ID
    place.mkdir()
    root = make_corpus(place, clips, name=ID)
    create_key_file(place / f"second-{ID}.kek")
    return root


def cells(line: str) -> int:
    """As a terminal counts, by another rule than the one that is tested: pairs of a letter and its marks."""
    return sum(
        0
        if unicodedata.combining(one) or one in "\u200d\ufe0f"
        else 2
        if unicodedata.east_asian_width(one) in "WF"
        else 1
        for one in line
    )


@pytest.mark.parametrize("case", NAMES)
def test_every_table_fits(case: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    root = corpus(tmp_path, case)
    for command, words in COMMANDS.items():
        arguments = [word.format(name=root.name) for word in words]
        whole = run(*arguments)
        assert whole.code == 0, whole.err
        assert "…" not in whole.out, "a pipe gets all of it"
        if command != "wrap list":  # a key file goes by its id
            assert max(map(cells, whole.out.splitlines())) > 80, f"{command} has nothing to cut here"
        for columns in (80, 60, 100):
            monkeypatch.setattr(tables, "columns", lambda columns=columns: columns)
            lines = run(*arguments).out.splitlines()
            assert len(lines) >= len(whole.out.splitlines()), command
            assert max(map(cells, lines)) <= columns, (command, columns)
            monkeypatch.undo()


def test_what_people_copy_is_wrapped_and_not_cut(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    root = corpus(tmp_path, "ids")
    monkeypatch.setattr(tables, "columns", lambda: 80)
    for command in ("info", "wrap"):
        arguments = ("info", root.name) if command == "info" else ("wrap", "list", root.name)
        text = "".join(line.strip() for line in run(*arguments).out.splitlines())
        assert "…" not in text
    text = "".join(line.split("  ")[-1].strip() for line in run("ls", root.name, "-R", "-t").out.splitlines())
    assert text == f"{ID}-{ID}" * 2 * 12
    shown = run("info", root.name).out
    assert root.pin in shown
    joined = "".join(line.split("  ")[-1].strip() for line in shown.splitlines())
    assert root.kms in joined
    uri = f"hcvault://vault.example:8200/transit/keys/{ID}"
    lines = table([(uri, "yours")], whole=frozenset({0})).splitlines()
    assert max(map(cells, lines)) <= 80
    assert "".join(line.split("  ")[0].strip() for line in lines) == uri


def on_a_terminal(command: list[str], wide: int, **environment: str) -> str:
    """What a command says on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, wide))
    base = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    with subprocess.Popen(command, stdout=theirs, env={**base, **environment}) as child:
        os.close(theirs)
        said = bytearray()
        try:
            while piece := os.read(ours, 65536):
                said += piece
        except OSError as error:
            if error.errno != errno.EIO:  # so a pseudoterminal ends
                raise
    os.close(ours)
    assert child.returncode == 0
    return said.decode().replace("\r\n", "\n")


def test_a_terminal_says_how_wide_it_is(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "securedata", "ls", corpus(tmp_path, "CJK").name, "-R"]
    assert max(map(cells, on_a_terminal(command, 72).splitlines())) in (71, 72)
    assert max(map(cells, on_a_terminal(command, 72, COLUMNS="50").splitlines())) in (49, 50)
    plain = on_a_terminal(command, 72, PYTHONIOENCODING="ascii")
    assert max(map(cells, plain.splitlines())) <= 72
    piped = subprocess.run(command, env={**os.environ, "COLUMNS": "50"}, capture_output=True, check=True, text=True)
    assert max(map(cells, piped.stdout.splitlines())) > 200


@pytest.mark.parametrize(
    ("text", "room", "expected"),
    [
        ("abcdefgh", 8, "abcdefgh"),
        ("abcdefgh", 7, "abc…fgh"),
        ("abcdefgh", 4, "ab…h"),
        ("话者话者", 8, "话者话者"),
        ("话者话者", 7, "话…话者"),
        ("话者话者", 5, "话…者"),
        ("e\u0301e\u0301e\u0301e\u0301", 3, "e\u0301…e\u0301"),
        ("☎️☎️☎️", 5, "☎️…☎️"),
    ],
)
def test_the_middle_is_left_out(text: str, room: int, expected: str) -> None:
    assert shortened(text, room) == expected
    assert width(shortened(text, room)) <= room


def test_columns_stay_aligned() -> None:
    shown = table([("话者", "1", "x"), ("ann", "20", "y"), ("e\u0301", "3", "z")], right=frozenset({1}))
    assert shown.splitlines() == ["话者   1  x", "ann   20  y", "e\u0301      3  z"]


def test_numbers_are_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "columns", lambda: 24)
    assert table([("1,234,567,890", "a" * 64)], right=frozenset({0})) == "1,234,567,890  aaaa…aaaa"
    monkeypatch.setattr(tables, "columns", lambda: 1)
    assert "1,234,567,890" in table([("1,234,567,890", "a" * 64)], right=frozenset({0}))
