"""The command, and its peak: `python -m tests.kit.cli.peak ARGUMENT...` ends stderr with the most that it held."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from securedata.cli.main import main


def peak() -> int:
    """Bytes that this process held at most."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


if __name__ == "__main__":
    code = main(sys.argv[1:])
    print(peak(), file=sys.stderr)
    sys.exit(code)
