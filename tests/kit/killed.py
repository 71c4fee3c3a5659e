"""The command in a process of its own that is killed with -9 at its nth change to any file, or after some time.

A change is a file that is opened for writing, written to, renamed, linked or deleted, or a folder that is made: on
storage, and of the operator (config, keys, receipts, notes, what was seen). A write is cut in half.
"""

from __future__ import annotations

import io
import os
import resource
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from securedata.cli.main import main

_CHANGES = ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir")
_NEW = os.O_CREAT | os.O_TRUNC
_OTHERS = (".lock", os.devnull, ".pyc")


class Ended(NamedTuple):
    """How a process ended: its exit code, None if it was killed; how many changes it made; what it said."""

    code: int | None
    changes: int
    said: str


class Started:
    """The command in a process that runs."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        at: int | None = None,
        go: int | None = None,
        largest: int | None = None,
    ) -> None:
        """Start it.

        Args:
            at: kill it in place of this change, from 1 on; a write is cut in half before.
            go: a pipe on which it waits for a byte before it begins.
            largest: no file of it grows beyond so many bytes, by the kernel, as if the disk was full.
        """
        self._said, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._said)
            if go is not None:
                os.read(go, 1)
            if largest is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
            os._exit(_run([str(one) for one in arguments], at or 0, writing))
        os.close(writing)

    def end(self) -> Ended:
        """Wait until it has ended, killed or not."""
        with open(self._said, "rb") as pipe:
            said = pipe.read().decode(errors="replace")
        status = os.waitpid(self.pid, 0)[1]
        counted, _, said = said.partition("\0")
        code = None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return Ended(code, int(counted or 0), said)


def ran(
    arguments: Sequence[str | Path], at: int | None = None, after: float | None = None, largest: int | None = None
) -> Ended:
    """Run the command; `after`: kill it after so many seconds. Other arguments as those of `Started`."""
    started = Started(arguments, at, largest=largest)
    if after is not None:
        time.sleep(after)
        os.kill(started.pid, signal.SIGKILL)
    return started.end()


def ran_together(*commands: Sequence[str | Path]) -> list[Ended]:
    """Run commands side by side, which begin at the same moment."""
    waiting, go = os.pipe()
    started = [Started(one, go=waiting) for one in commands]
    os.write(go, b"\0" * len(started))
    ended = [one.end() for one in started]
    os.close(waiting)
    os.close(go)
    return ended


def _run(arguments: list[str], at: int, pipe: int) -> int:
    """In the child."""
    count = _Count(at)
    sys.addaudithook(count.hook)
    os.write = count.cut(os.write)  # type: ignore[assignment]  # a hook for this process alone
    said, code = io.StringIO(), 70
    try:
        with redirect_stdout(said), redirect_stderr(said):
            code = main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException as error:  # noqa: BLE001 - told to the test, in a process that must not run pytest's end
        said.write(repr(error))
    count.at, changes = 0, count.changes
    with open(pipe, "wb") as told:
        told.write(f"{changes}\0{said.getvalue()}".encode())
    return code


class _Count:
    """Counts changes, and kills this process at one of them."""

    def __init__(self, at: int) -> None:
        self.at, self.changes = at, 0
        self._lock = threading.Lock()

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not (isinstance(flags, int) and flags & _NEW) or str(path).endswith(_OTHERS):
                return
        elif event not in _CHANGES or (event == "os.mkdir" and os.path.isdir(arguments[0])):
            return
        if self._now():
            os.kill(os.getpid(), signal.SIGKILL)

    def cut(self, write: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
        def one(fd: int, data: Any) -> int:
            status = os.fstat(fd)
            if stat.S_ISREG(status.st_mode) and status.st_nlink and self._now():  # no pipe, and nothing in memory only
                write(fd, memoryview(data)[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return write(fd, data)

        return one

    def _now(self) -> bool:
        with self._lock:
            self.changes += 1
            return self.changes == self.at
