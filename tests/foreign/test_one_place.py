"""What another library raised becomes text in one place of the package; the command writes through one function."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import securedata
from securedata import errors

OURS = {name for name, one in vars(errors).items() if inspect.isclass(one)}
OURS |= {"_NoNumber"}
OURS |= {
    "Failed",
    "Refused",
    "SourceProblem",
    "Undecodable",
    "ChunkInvalid",
    "BadValue",
    "NoJson",
    "NotAnObject",
    "NoText",
    "DestinationFailed",
    "NotRegular",
}


def _caught(kind: ast.expr | None) -> list[str]:
    if kind is None:
        return ["everything"]
    if isinstance(kind, ast.Tuple):
        return [name for one in kind.elts for name in _caught(one)]
    return [ast.unparse(kind).rpartition(".")[2]]


def _quoted(handler: ast.ExceptHandler) -> Iterator[ast.expr | ast.stmt]:
    """Where a handler makes text of what it caught, or chains it."""
    for node in ast.walk(handler):
        if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name) and node.value.id == handler.name:
            yield node
        if isinstance(node, ast.Call) and ast.unparse(node) in [f"{name}({handler.name})" for name in ("str", "repr")]:
            yield node
        if isinstance(node, ast.Raise) and isinstance(node.cause, ast.Name) and node.cause.id == handler.name:
            yield node


def test_an_error_of_another_library_becomes_text_in_one_place_only() -> None:
    """And is never the cause of one of ours, which a traceback would print."""
    package = Path(securedata.__file__).parent
    wrong = []
    for file in sorted(package.rglob("*.py")):
        name = str(file.relative_to(package))
        if name.startswith(("testing/", "foreign/")) or name in OWN:
            continue
        for handler in ast.walk(ast.parse(file.read_text())):
            if isinstance(handler, ast.ExceptHandler) and handler.name and set(_caught(handler.type)) - OURS - KNOWN:
                wrong += [f"{file.relative_to(package)}:{node.lineno}" for node in _quoted(handler)]
    assert not wrong, f"use foreign.describe, and 'from None': {wrong}"


OWN = {"ingest/sources/source_table.py", "corpus/snapshot.py", "torch/decode.py"}
"""Where a ValueError or a FileNotFoundError is one that a function of ours made, of numbers or of nothing."""

KNOWN = {"_BROKEN", "_PASSING", "GONE", "GeneratorExit", "IndexError", "KeyboardInterrupt", "StopIteration"}
"""Tuples of our own classes, what holds no text, and what a user's own function raised."""


def test_the_command_writes_through_one_function() -> None:
    package = Path(securedata.__file__).parent
    wrong = []
    for file in sorted((package / "cli").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                wrong.append(f"{file.relative_to(package)}:{node.lineno}")
    assert {one.partition(":")[0] for one in wrong} <= {"cli/common.py", "cli/main.py"}, wrong
    assert len([one for one in wrong if one.startswith("cli/main.py")]) <= 1, "a warning of Python's own"
