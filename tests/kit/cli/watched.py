"""The command, watched: `python -m tests.kit.cli.watched LIMIT LOG ARGUMENT...` lets no file grow beyond LIMIT bytes.

The limit is the kernel's (RLIMIT_FSIZE): it holds for whoever writes, libraries in C included, and on /dev/shm as well.
LOG gets the path of everything that Python code opened for writing, or renamed to.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC


def watch(log: int) -> None:
    """From here on paths that are opened for writing go to a descriptor, one a line."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
            os.write(log, os.fsencode(str(arguments[0])) + b"\n")
        elif event in ("os.rename", "os.link", "os.symlink"):
            os.write(log, os.fsencode(str(arguments[1])) + b"\n")

    sys.addaudithook(hook)


if __name__ == "__main__":
    limit = int(sys.argv[1])
    # the log is opened before anything is watched, and stays below the limit
    written = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    watch(written)
    from securedata.cli.main import main

    sys.exit(main(sys.argv[3:]))
