"""Writes tests/data/corpus-9dfd651.tar.xz by the kept release: `python -m tests.compatibility.keep`, with another HOME.

The corpus that is there was made like this once. It is kept, and not made by each test, because a corpus of an old
release must open although nobody can run that release any more.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
from pathlib import Path

from tests.compatibility.earlier import AGO
from tests.compatibility.release import DATA, old_release


def _plain_and_old(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime -= AGO
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def main() -> None:
    """Write it, and print the digest for `release.SHA256`."""
    target = DATA / "corpus-9dfd651.tar.xz"
    with tempfile.TemporaryDirectory() as folder:
        written = old_release(Path(folder) / "package").write(Path(folder))
        kept = Path(folder) / "kept"
        shutil.copytree(written.root, kept / "voices")
        shutil.copy(written.kms.removeprefix("local://"), kept / "voices.kek")
        (kept / "pin").write_text(written.pin + "\n", encoding="utf-8")
        with tarfile.open(target, "w:xz") as archive:
            for path in sorted(kept.rglob("*")):
                archive.add(path, str(path.relative_to(kept)), recursive=False, filter=_plain_and_old)
    print(target, hashlib.sha256(target.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
