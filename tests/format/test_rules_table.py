"""docs/format.md and docs/format-rules.md: each rule has an id, and each id names tests that hold it.

To add a rule: write it into docs/format.md with MUST, and behind it the next free id of its group in brackets (an id is
never used for something else); write its line into docs/format-rules.md, at the place where the text has it.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.kit.docs.tree import ROOT

TEXT = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
TABLE = (ROOT / "docs" / "format-rules.md").read_text(encoding="utf-8")

ID = re.compile(r"F-[A-Z]+-\d+")
TAG = re.compile(r"\[(F-[A-Z]+-\d+)\]")
NORMATIVE = re.compile(r"\b(?:MUST|SHALL|must|shall|refuse[sd]?|never|nobody|counts? as|may not)\b")
"""What makes a sentence a rule. In lower case it may repeat a rule, in a sentence that has an id."""
EXPLAINED = ("Words in capitals", "as in [F-HDR-1]", "To *refuse* is to end with an error")
"""Sentences of the introduction, which tell how rules are written."""


def sentences(text: str) -> Iterator[str]:
    """The sentences of paragraphs, list items and cells; without headings and code."""
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        # what is indented by four is code, except in an item of two digits
        in_item = block and re.match(r"\d\d\. ", block[0])
        if line.startswith("#") or (line.startswith("    ") and not in_item):
            line = ""
        begins = re.match(r"(?:\* |\d+\. |\|)", line)
        if (not line.strip() or begins) and block:
            yield from re.split(r"(?<=\.)\s+(?=[A-Z`*])", " ".join(one.strip() for one in block))
            block = []
        if line.strip():
            block.append(line)


def problems(text: str) -> list[str]:
    """Sentences that are rules by their words and have too few ids: one for each MUST, or one where there is none."""
    found = []
    for sentence in sentences(text):
        if any(one in sentence for one in EXPLAINED) or not NORMATIVE.search(sentence):
            continue
        if len(TAG.findall(sentence)) < max(1, len(re.findall(r"\bMUST\b", sentence))):
            found.append(sentence)
    return found


def rules(text: str) -> list[str]:
    """All ids of the text, in its order; without the example in the introduction."""
    return [id for sentence in sentences(text) if EXPLAINED[1] not in sentence for id in TAG.findall(sentence)]


def held(table: str) -> dict[str, list[str]]:
    """The tests of each rule."""
    found: dict[str, list[str]] = {}
    for line in table.splitlines():
        if match := re.fullmatch(r"\| (\S+) \| (.+) \|", line):
            if match[1] in ("rule", "---"):
                continue
            assert ID.fullmatch(match[1]), line
            assert match[1] not in found, f"{match[1]} has two lines"
            found[match[1]] = re.findall(r"`([^`]+)`", match[2])
            assert "<br>".join(f"`{one}`" for one in found[match[1]]) == match[2], line
    return found


def test_each_rule_has_an_id() -> None:
    assert problems(TEXT) == []


def test_no_id_is_used_twice_or_left_out() -> None:
    found = rules(TEXT)
    assert len(found) > 80
    assert sorted(set(found)) == sorted(found)
    assert sorted(found) == sorted(TAG.findall(TEXT.replace(EXPLAINED[1], ""))), "one that no sentence shows"
    assert not re.search(r"^\[F-[^\]]*\]:", TEXT, re.MULTILINE), "at the start of a line Markdown takes it for a link"


def test_each_rule_has_a_line_in_the_order_of_the_text() -> None:
    assert [*held(TABLE)] == rules(TEXT)
    assert all(held(TABLE).values())


def test_each_test_that_is_named_is_there_and_not_left_to_the_full_run() -> None:
    named = [f"tests/{test}".partition("[")[0].split("::") for tests in held(TABLE).values() for test in tests]
    contract = _daily("securedata/testing/storage.py")  # whose tests a class of ours inherits
    daily = {file: _daily(file) for file, *_ in named}
    missing = [names for names in named if names[-1] not in daily[names[0]] | (contract if len(names) == 3 else set())]
    assert missing == []


def _daily(file: str) -> set[str]:
    nodes = ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    return {node.name for node in functions if "pytest.mark.full" not in map(ast.unparse, node.decorator_list)}


@pytest.mark.full
def test_each_test_that_is_named_runs_by_default() -> None:
    named = {f"tests/{test}" for tests in held(TABLE).values() for test in tests}
    files = sorted({test.partition("::")[0] for test in named})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env={**os.environ, "SECUREDATA_FULL": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    collected = {line for line in done.stdout.splitlines() if "::" in line}
    collected |= {line.partition("[")[0] for line in collected}
    assert sorted(named - collected) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A reader MUST refuse it [F-A-1].", 0),
        ("A reader MUST refuse it.", 1),
        ("It is\nrefused.", 1),
        ("One. Two must follow, `three`. Four [F-A-1].", 1),
        ("It MUST this [F-A-1] and MUST that.", 1),
        ("* one [F-A-1]\n* two MUST have one", 1),
        ("1. one\n   which MUST\n2. two [F-A-2]", 1),
        ("10. ten\n    MUST be seen\n", 1),
        ("| `x` | MUST be seen |", 1),
        ("Code:\n\n    MUST not be read\n", 0),
        ("# MUST\n\nNothing.", 0),
    ],
)
def test_a_rule_without_an_id_is_seen(text: str, found: int) -> None:
    assert len(problems(text)) == found


def test_lines_that_are_wrong_are_seen() -> None:
    assert held("| rule | held by |\n|---|---|\n| F-A-1 | `a.py::b`<br>`c.py::d` |") == {
        "F-A-1": ["a.py::b", "c.py::d"]
    }
    for wrong in ("| F-A | `a` |", "| F-A-1 | a |", "| F-A-1 | `a` |\n| F-A-1 | `b` |", "| F-A-1 | `a`, `b` |"):
        with pytest.raises(AssertionError):
            held(wrong)
