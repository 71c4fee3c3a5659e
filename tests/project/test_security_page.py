"""docs/security.md: the commands that it gives do what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.kit.docs.readme import blocks
from tests.kit.docs.tree import ROOT

PAGE = ROOT / "docs" / "security.md"

CRASH = """
import os, resource, sys
print(resource.getrlimit(resource.RLIMIT_CORE)[0], int(open("/proc/self/coredump_filter").read(), 16), flush=True)
secret = bytes(byte ^ 0x55 for byte in bytes.fromhex("%s")) * 10_000
os.abort()
"""
MARK = b"a key in memory"


def test_a_crash_after_its_commands_leaves_no_core(tmp_path: Path) -> None:
    (block,) = blocks(PAGE, "bash")
    program = CRASH % bytes(byte ^ 0x55 for byte in MARK).hex()  # the mark itself is in no file
    script = f"{block.text}\n\"{sys.executable}\" -c '{program}'"
    before = "ulimit -S -c unlimited 2>/dev/null || true\n"
    done = subprocess.run(["bash", "-c", before + script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "0 0", "no core file, and no memory for a crash handler; inherited"
    assert done.returncode != 0
    assert [*tmp_path.iterdir()] == []
