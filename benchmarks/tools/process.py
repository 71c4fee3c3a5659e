"""Memory and CPU time of a process, from Linux; and an environment of their own for benchmarks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def private_dirty(pid: int | str = "self") -> int:
    """Bytes that only this process holds and has written: the cost of one more worker."""
    return _kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Private_Dirty") * 1024


def resident(pid: int | str = "self") -> int:
    return _kilobytes(Path(f"/proc/{pid}/status"), "VmRSS") * 1024


def peak_resident(pid: int | str = "self") -> int:
    """The highest resident size, shared memory included, since the process began or `forget_peak` was called."""
    return _kilobytes(Path(f"/proc/{pid}/status"), "VmHWM") * 1024


def cpu_seconds(pid: int) -> float:
    """Seconds that a process has computed, in user and kernel mode, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def unmapped_memfds() -> int:
    """Bytes in this process's memfds that its resident size lacks, because their pages have not been touched."""
    links = [Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    sizes = {link.stat().st_ino: link.stat().st_size for link in links if link.is_symlink() and _is_memfd(link)}
    return max(0, sum(sizes.values()) - _kilobytes(Path("/proc/self/status"), "RssShmem") * 1024)


def _is_memfd(link: Path) -> bool:
    try:
        return os.readlink(link).startswith("/memfd:")
    except FileNotFoundError:  # the descriptor with which the folder itself was listed
        return False


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def environment(work: Path) -> dict[str, str]:
    """An environment in which config, key files and state are in `work`, whatever the user has set."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SECUREDATA_", "XDG_"))}
    homes = {f"XDG_{what}_HOME": str(work.resolve() / what.lower()) for what in ("CONFIG", "DATA", "STATE")}
    return own | homes | {"XDG_CONFIG_DIRS": str(work.resolve() / "system")}


@contextmanager
def isolated(work: Path) -> Iterator[None]:
    """Use that environment for this process, during the block."""
    before, own = dict(os.environ), environment(work)
    try:
        os.environ.clear()
        os.environ.update(own)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _kilobytes(path: Path, name: str) -> int:
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise SystemExit(f"{path} has no {name}: this benchmark needs Linux")
