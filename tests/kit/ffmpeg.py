"""`python -m tests.kit.ffmpeg FOLDER`: FFmpeg's shared libraries under the names that torchcodec looks for.

No wheel brings them alone. PyAV's wheel has them for itself, each with a digest in its name; links with the usual
names, in a folder that LD_LIBRARY_PATH names, let others load the same files.
"""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

# libavcodec-5e6b81c2.so.62.28.102 is what others know as libavcodec.so.62
MANGLED = re.compile(r"(?P<name>lib(?:av|sw)[a-z]+)-[0-9a-f]{8}(?P<suffix>\.so\.\d+)\..+")


def link(folder: Path) -> None:
    """Links to all of PyAV's libraries with their own names, and to FFmpeg's with the usual ones too."""
    found = find_spec("av")
    assert found is not None
    assert found.origin is not None
    folder.mkdir(parents=True, exist_ok=True)
    for file in Path(found.origin).parent.with_name("av.libs").iterdir():
        names = [file.name]
        if match := MANGLED.fullmatch(file.name):
            names.append(match["name"] + match["suffix"])
        for name in names:
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(file)


if __name__ == "__main__":
    link(Path(sys.argv[1]))
