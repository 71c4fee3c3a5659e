"""`pytest -p tests.kit.beside`: tests/ecosystem runs beside the others, in a process of .venv-eco, and its tests count.

`python -m tests.kit.beside` runs tests/ecosystem alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.kit.docs.tree import ROOT

ECO = ROOT / ".venv-eco"
# Their packages warn of each other, so warnings are no errors there.
COMMAND = [str(ECO / "bin/python"), "-m", "pytest", "-W", "default", "tests/ecosystem"]


def environment() -> dict[str, str]:
    """With the libraries of tests.kit.ffmpeg, which the loader looks for when a process begins."""
    return {**os.environ, "LD_LIBRARY_PATH": str(ECO / "ffmpeg")}


class Beside:
    """The other process. Its output is kept, and shown in one piece if a test of it failed."""

    def __init__(self, room: str) -> None:
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with this process
        self.results = Path(room) / "ecosystem.xml"
        self.process = subprocess.Popen(
            [*COMMAND, f"--junitxml={self.results}", "--durations=10"],
            cwd=ROOT, env=environment() | {"SECUREDATA_TESTS_ROOM": room},
            stdin=subprocess.DEVNULL, stdout=self.said, stderr=subprocess.STDOUT,
        )  # fmt: skip

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        code = self.process.wait()
        if code and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        reports = self.reports()
        for one in reports:
            terminalreporter.stats.setdefault(one.outcome, []).append(one)
        self.said.seek(0)
        said = self.said.read()
        if self.process.returncode:
            terminalreporter.section("tests/ecosystem")
            terminalreporter.write_line(said)
            if all(one.passed for one in reports):  # it ended before or after its tests
                failed = _report("tests/ecosystem", "failed", f"exit code {self.process.returncode}")
                terminalreporter.stats.setdefault("error", []).append(failed)
        else:
            terminalreporter.write_line(f"tests/ecosystem: {said.rstrip().splitlines()[-1].strip('= ')}")

    def reports(self) -> list[pytest.TestReport]:
        """One for each test, as if it had run here."""
        if not self.results.exists():
            return []
        found = []
        for case in ET.parse(self.results).iter("testcase"):
            bad = case.find("failure") if case.find("failure") is not None else case.find("error")
            outcome = "failed" if bad is not None else "skipped" if case.find("skipped") is not None else "passed"
            name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
            found.append(_report(name, outcome, "" if bad is None else str(bad.get("message"))))
        return found

    def pytest_unconfigure(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def _report(name: str, outcome: Any, text: str) -> pytest.TestReport:
    where = (name.partition("::")[0], 0, name)
    longrepr: Any = (*where[:2], text) if outcome == "skipped" else text
    return pytest.TestReport(name, where, {}, outcome, longrepr, "call")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    from tests.conftest import ROOM_FOLDER  # not before pytest has it

    config.stash[ROOM_FOLDER] = tempfile.mkdtemp(prefix="securedata-tests-")
    config.pluginmanager.register(Beside(config.stash[ROOM_FOLDER]))


if __name__ == "__main__":
    os.chdir(ROOT)
    os.execve(COMMAND[0], [*COMMAND, *sys.argv[1:]], environment())
