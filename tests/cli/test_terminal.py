"""What others named reaches no terminal as they named it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from securedata.cli.common import err, out, print_json
from tests.kit.cli.commandline import Run
from tests.kit.corpora.recorded import make_corpus
from tests.kit.sources.recordings import clip

STEERING = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e\u2066-\u2069]")
BAD = "ann\x1b[2J\u202e\x9bx\x7f"


def test_names_and_words_of_a_manifest(tmp_path: Path, run: Run) -> None:
    root = make_corpus(tmp_path, [clip("a.wav", speaker=BAD, transcript=BAD, split=BAD)], name="odd")
    for command in (("ls", root.name), ("ls", "-R", root.name), ("info", root.name), ("verify", root.name)):
        done = run(*command)
        assert done.code == 0, done.err
        assert not STEERING.search(done.out + done.err), command
        said = run(command[0], "--json", *command[1:])
        assert not STEERING.search(said.out + said.err), command
        json.loads(said.out)
    found = json.loads(run("ls", "--json", str(root.name)).out)
    assert found[0]["speaker"] == BAD, "and is still the name"
    missing = run("ls", str(root.name), BAD)
    assert missing.code == 1
    assert not STEERING.search(missing.err)


@pytest.mark.parametrize("arguments", [("ls", BAD), (BAD,), ("ls", "x", f"--{BAD}"), ("info", f"securedata://{BAD}")])
def test_what_was_typed(arguments: tuple[str, ...], own_home: Path, run: Run) -> None:
    done = run(*arguments)
    assert done.code in (1, 2)
    assert not STEERING.search(done.out + done.err)


def test_what_is_logged_where_nobody_handles_it(tmp_path: Path) -> None:
    """Python writes such records to standard error by itself, those of other libraries too."""
    folder = tmp_path / "odd\x1b[2J\x9bx"
    folder.mkdir()
    root = make_corpus(folder)
    clean = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "empty")}
    command = [sys.executable, "-m", "securedata", "ls", str(root)]
    done = subprocess.run(command, env=clean, capture_output=True, check=False)
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert "has seen no head of" in said
    assert "\\u001b" in said
    assert not STEERING.search(said)


def test_each_way_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    out(BAD)
    err(BAD)
    print_json({"name": BAD})
    written = capsys.readouterr()
    assert not STEERING.search(written.out + written.err)
    assert json.loads(written.out.partition("\n")[2]) == {"name": BAD}
