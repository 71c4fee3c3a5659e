"""A process for one contender. Requests and answers are lines of JSON."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Contender:
    """A process that runs a module of this package on request; the end of `with` ends it."""

    def __init__(self, name: str, python: Path | str, start: Sequence[str], cwd: Path = ROOT) -> None:
        self.name = name
        command = [str(python), "-X", "utf8", "-W", "ignore", *start]
        self._process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, **request: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} ended with {self._process.wait()}; its traceback is above")
        return json.loads(answer)  # type: ignore[no-any-return]  # the worker answers with objects

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
