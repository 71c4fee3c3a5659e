"""Releases of the package, run in processes of their own: this checkout's, and that of commit 9dfd651, kept as data."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.compatibility import sources
from tests.kit.docs.tree import ROOT

DATA = ROOT / "tests" / "data"
HERE = Path(__file__).parent

SHA256 = {
    "package-9dfd651.tar.xz": "371501aa8956476f7d57fefcda2e9c1607f726332c3f5b2ea8f3c70a7a3bbd2f",
    "corpus-9dfd651.tar.xz": "823eb30c212a1bee22e84bb74089aa3c0801a225e9ba0bd03f12108a6b99354d",
}
"""tests/data/README.md says how they were made."""


class Where(NamedTuple):
    """A corpus, and what opens it."""

    root: Path
    kms: str
    pin: str

    @property
    def options(self) -> tuple[str, ...]:
        return ("--kms", self.kms, "--pin", self.pin)


@dataclass
class Release:
    """A folder that holds the package `securedata`. Closing it ends its training program."""

    path: Path
    _reading: subprocess.Popen[str] | None = None

    def run(self, *arguments: str | Path, program: Sequence[str | Path] = ("-m", "securedata"), code: int = 0) -> Any:
        """The JSON that its command prints, or another program under it; `code`: the exit status that it must have."""
        command = [sys.executable, "-P", *program, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(self.path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        said = f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert done.returncode == code, said
        return json.loads(done.stdout)

    def refuses(self, *arguments: str | Path) -> str:
        """Standard error of its command, which must end with exit status 1 and print nothing else."""
        command = [sys.executable, "-P", "-m", "securedata", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(self.path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout) == (1, ""), done.stdout + done.stderr
        return done.stderr

    def encrypt(self, step: str, folder: Path, target: str | Path, *options: str, earlier: bool = False) -> Any:
        """Take a step of `sources`, whose files go into a new folder in this one."""
        manifest = sources.put(step, folder / step)
        program = [HERE / "earlier.py"] if earlier else ["-m", "securedata"]
        arguments = [folder / step, target, "--manifest", manifest, "--replace", *options, "--json"]
        return self.run("encrypt", *arguments, program=program)

    def write(self, folder: Path) -> Where:
        """Make a corpus in a new folder, a thousand days ago."""
        for step in sources.WRITTEN:
            self.encrypt(step, folder, folder / "voices", earlier=True)
        said = self.run("info", folder / "voices", "--json")
        return Where(folder / "voices", said["kms"][0], said["pin"])

    def read(self, where: Where) -> list[dict[str, Any]]:
        """The rows of a corpus by path, as a training program gets them."""
        if self._reading is None:
            command = [sys.executable, "-P", HERE / "reading.py"]
            environment = {**os.environ, "PYTHONPATH": str(self.path)}
            pipe = subprocess.PIPE
            self._reading = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
        homes = {name: value for name, value in os.environ.items() if name == "HOME" or name.startswith("XDG_")}
        print(json.dumps([str(where.root), where.kms, where.pin, homes]), file=self._reading.stdin, flush=True)
        answer = self._reading.stdout.readline()
        assert answer, f"reading {where.root} failed: see its standard error"
        said = json.loads(answer)
        assert Path(said["package"]).is_relative_to(self.path)
        return sources.by_path(said["rows"])

    def close(self) -> None:
        if self._reading is not None:
            self._reading.communicate()

    def verify(self, where: Where, *options: str, code: int = 0) -> Any:
        return self.run("verify", where.root, *where.options, *options, "--json", code=code)

    def export(self, where: Where, destination: Path) -> dict[str, bytes]:
        """The files that an export restores, by path."""
        options = ("--allow-plaintext-export", *where.options, "--json")
        self.run("export", where.root, destination, *options)
        return {str(p.relative_to(destination)): p.read_bytes() for p in destination.rglob("*.wav")}


def unpack(name: str, folder: Path) -> Path:
    """Unpack kept data into a folder that may be there already."""
    archive = DATA / name
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == SHA256[name]
    with tarfile.open(archive) as kept:
        kept.extractall(folder, filter="data")
    return folder


def old_release(folder: Path) -> Release:
    """The release of commit 9dfd651, unpacked into a folder."""
    return Release(unpack("package-9dfd651.tar.xz", folder))


def kept_corpus(folder: Path) -> Where:
    """The corpus that the old release wrote, unpacked into a folder."""
    unpack("corpus-9dfd651.tar.xz", folder)
    key = folder / "voices.kek"
    key.chmod(0o600)
    return Where(folder / "voices", f"local://{key}", (folder / "pin").read_text(encoding="utf-8").strip())
