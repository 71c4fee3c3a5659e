"""A venv for the peers, and a worker in it that measures on request.

python -m benchmarks.peers.venv [DIR]     create the venv (default: .venv-peers in the checkout) and print its Python
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.tools.timing import Slice

ROOT = Path(__file__).resolve().parents[2]
DECRYPT = ROOT / "benchmarks" / "peers" / "decrypt-requirements.txt"
LOADING = ROOT / "benchmarks" / "peers" / "loading-requirements.txt"
DEFAULT = ROOT / ".venv-peers"


def python_of(
    place: Path = DEFAULT,
    requirements: Path = DECRYPT,
    what: str = "tink, aws-encryption-sdk; about 120 MB",
) -> Path:
    """The interpreter of a venv for peers, created if it is missing or has other pins.

    The pins name every package, so nothing else is installed. The venv also sees this one's packages, such as torch,
    NumPy and soundfile; its own take precedence.
    """
    stamp = place / "pins.sha256"
    pins = hashlib.sha256(requirements.read_bytes()).hexdigest()
    python = place / "bin" / "python"
    if not (stamp.exists() and stamp.read_text(encoding="ascii") == pins):
        print(f"installing the peers ({what}) into {place}", file=sys.stderr)
        venv.create(place, with_pip=True, clear=True)
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "-r", str(requirements)]
        subprocess.run([str(python), "-m", "pip", "install", *options], check=True)
        stamp.write_text(pins, encoding="ascii")
    torch = find_spec("torch")  # this venv may itself be based on another
    assert torch is not None
    assert torch.origin is not None
    packages = next(place.glob("lib/python*/site-packages"))
    (packages / "behind.pth").write_text(f"{Path(torch.origin).parents[1]}\n", encoding="utf-8")
    return python


class Worker:
    """A process that prepares and times contenders on request; the end of `with` ends it."""

    def __init__(self, python: Path | str, packages: list[str]) -> None:
        command = [str(python), "-X", "utf8", "-m", "benchmarks.peers.worker", *packages]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        listed = self.ask(do="list")
        self.families: dict[str, list[str]] = listed["contenders"]
        self.versions: dict[str, str] = listed["versions"]

    def ask(self, **request: object) -> dict[str, Any]:
        self._requests.write(json.dumps(request) + "\n")
        self._requests.flush()
        answer = self._answers.readline()
        if not answer:
            raise RuntimeError(
                f"the peers' worker ended with {self._process.wait()} at {request}; its traceback is above"
            )
        return json.loads(answer)  # type: ignore[no-any-return]  # the worker answers with objects

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._requests.close()
        self._process.wait()
        self._answers.close()


class Remote:
    """One variant in the worker, with the methods of a local one."""

    def __init__(self, worker: Worker, variant: str) -> None:
        self.name = variant
        self._worker = worker

    def prepare(self, size: int, count: int) -> None:
        self._worker.ask(do="prepare", variant=self.name, size=size, count=count)

    def does(self, direction: str) -> bool:
        return True

    def forget(self) -> None:
        self._worker.ask(do="forget", variant=self.name)

    def fit(self, direction: str, seconds: float) -> int:
        return int(self._worker.ask(do="fit", variant=self.name, direction=direction, seconds=seconds)["number"])

    def run(self, direction: str, number: int) -> Slice:
        return Slice(**self._worker.ask(do="run", variant=self.name, direction=direction, number=number))


if __name__ == "__main__":
    print(python_of(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT))
