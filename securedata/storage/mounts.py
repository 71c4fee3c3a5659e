"""Which file system a path lies on."""

from __future__ import annotations

import os
import re
from pathlib import Path

REMOTE = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "lustre", "gluster", "beegfs", "gpfs", "fuse", "virtiofs")
"""File systems on which flock, rename or link do not work as on a local disk, or not between clients."""

_ESCAPED = re.compile(rb"\\([0-7]{3})")


def file_system(path: str) -> str:
    """The type of the file system of `path`, from /proc/self/mountinfo; '' where there is no such file."""
    try:
        table = Path("/proc/self/mountinfo").read_bytes()
    except FileNotFoundError:
        return ""
    real = os.fsencode(os.path.realpath(path))
    best, kind = b"", b""
    for line in table.split(b"\n")[:-1]:  # names of mounts are bytes, so splitlines() would break some
        left, _, right = line.partition(b" - ")
        mount = _ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), left.split(b" ")[4])
        inside = real == mount or real.startswith(mount.rstrip(b"/") + b"/")
        if inside and len(mount) >= len(best):
            best, kind = mount, right.split(b" ")[0]
    return os.fsdecode(kind)
