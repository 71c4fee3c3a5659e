"""Keeps the --help texts in docs/cli.md: `python -m tests.kit.docs.clidocs` writes them anew, a test compares them."""

from __future__ import annotations

import os
import re
import shlex
from argparse import ArgumentParser
from collections.abc import Iterator
from unittest import mock

from securedata.cli.main import parser
from tests.kit.docs.tree import ROOT

PAGE = ROOT / "docs" / "cli.md"
COLUMNS = "100"
BLOCK = re.compile(r"(?P<open>```text\n\$ securedata (?P<command>[a-z]*) ?--help\n)(?P<text>.*?)(?P<close>```\n)", re.S)


def commands() -> dict[str, ArgumentParser]:
    """The parser of every command by its name, the whole command's under ''."""
    top = parser()
    found = {"": top}
    for action in top._actions:
        if action.dest == "command":
            found.update(action.choices or {})
    return found


def help_text(command: str) -> str:
    with mock.patch.dict(os.environ, {"COLUMNS": COLUMNS}):
        return commands()[command].format_help()


def with_help(page: str) -> str:
    """The page with today's help texts."""
    return BLOCK.sub(lambda found: found["open"] + help_text(found["command"]) + found["close"], page)


def examples() -> Iterator[tuple[str, list[str]]]:
    """Every example of a help text, as the arguments of a command line."""
    known = commands()
    for name, one in known.items():
        for line in (one.epilog or "").replace("\\\n", "").splitlines():
            arguments = (
                shlex.split(re.split(r" \| | >> |  +#", line.strip())[0]) if line.startswith("  securedata ") else []
            )
            if len(arguments) > 1 and arguments[1] in known:
                yield name, arguments[1:]


if __name__ == "__main__":
    PAGE.write_text(with_help(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
