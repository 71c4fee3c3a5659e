"""Runs the prose: takes the code blocks out of Markdown files and runs them as a reader would."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.kit.cli.process import output_of
from tests.kit.sources import drop_ins
from tests.kit.sources.recordings import clip, write_clips

FENCE = re.compile(r"^\s*(?P<fence>`{3,}|~{3,})\s*(?P<info>[^`]*)$")


@dataclass(frozen=True)
class Block:
    """One fenced block; ``line`` is the number of its first line of text, from 1."""

    language: str
    line: int
    text: str


def all_blocks(markdown: str) -> list[Block]:
    """Every fenced block of a Markdown text, in order, also those that are indented under a list."""
    found: list[Block] = []
    closing, language, start, lines = "", "", 0, list[str]()
    for number, line in enumerate(markdown.splitlines(), 1):
        match = FENCE.match(line)
        if not closing:
            if match:
                closing, language, start, lines = match["fence"], match["info"].strip(), number + 1, []
        elif match and not match["info"].strip() and match["fence"].startswith(closing):
            found.append(Block(language, start, textwrap.dedent("\n".join(lines))))
            closing = ""
        else:
            lines.append(line)
    if closing:
        raise ValueError(f"the block that begins in line {start - 1} is never closed")
    return found


def blocks(path: Path, language: str = "python") -> list[Block]:
    """The blocks whose info string is exactly ``language``."""
    return [block for block in all_blocks(path.read_text(encoding="utf-8")) if block.language == language]


def script(path: Path) -> str:
    """The Python blocks of a file as one program, each at its line of the file, so that tracebacks fit."""
    lines: list[str] = []
    for block in blocks(path):
        lines += [""] * (block.line - 1 - len(lines))
        lines += block.text.splitlines()
    return "\n".join(lines) + "\n"


# Like a reader at a prompt: one namespace, and no file that a spawned worker would run again.
RUNNER = "import sys; name = sys.argv[1]; exec(compile(sys.stdin.read(), name, 'exec'))"

# Warnings are errors here too, for a reader would see them; the exceptions are those of pyproject.toml.
WARNINGS = ("error", "ignore:This process:DeprecationWarning", "ignore:This DataLoader will create:UserWarning")


def run_python(path: Path, directory: Path, python: str = sys.executable) -> str:
    """Runs the Python blocks of ``path`` in ``directory``, returns what they print; a failure shows its traceback."""
    flags = [flag for warning in WARNINGS for flag in ("-W", warning)]
    return output_of([python, *flags, "-c", RUNNER, path.name], directory, script(path))


def prepare(directory: Path, securedata: Callable[..., object]) -> None:
    """Makes in ``directory`` what the examples of README and docs assume: ./wavs, the corpus `voice-a` in ./sealed, and
    a small LibriSpeech, not sealed.

    Args:
        securedata: runs the command with some arguments in that directory, under the test's own home.
    """
    make_wavs(directory)
    drop_ins.librispeech(directory / "LibriSpeech-download")
    securedata("init", "./sealed", "--name", "voice-a")
    securedata("encrypt", "./wavs", "voice-a", "--speaker-pattern", "{speaker}/{utterance}")


def make_wavs(directory: Path) -> None:
    """Eight recordings of two people in ./wavs."""
    names = [(speaker, n) for speaker in ("ann", "bob") for n in range(4)]
    clips = [clip(f"{speaker}/utt{n}.wav", 1 + n / 20, seed=seed) for seed, (speaker, n) in enumerate(names)]
    write_clips(directory / "wavs", clips)
