"""The machine of a measurement: CPU, its instructions, versions, load. A ratio means little without it."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FLAGS = ("aes", "vaes", "pclmulqdq", "vpclmulqdq", "avx2", "avx512f", "avx512vl", "sha_ni", "asimd", "pmull", "sha2")
PACKAGES = ("securedata-torch", "cryptography", "torch", "pyarrow", "soundfile", "soxr", "numpy")


def describe() -> dict[str, object]:
    info = _cpuinfo()
    flags = (info.get("flags") or info.get("Features") or "").split()
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "openssl": _openssl(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "command": " ".join(sys.argv),
    }


def line(described: dict[str, object]) -> str:
    """One line about the machine, with its AES instructions."""
    flags = described["flags"]
    wide = [flag for flag in ("aes", "vaes", "avx512f") if isinstance(flags, list) and flag in flags]
    shown = ", ".join(wide) or "no AES flags known"
    return f"{described['cpu']}, {described['cores']} cores ({shown}), load {described['load']:.1f}"


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux: use the platform module's name for the CPU
        return {}
    block = text.split("\n\n", 1)[0]
    return {key.strip(): value.strip() for key, _, value in (row.partition(":") for row in block.splitlines())}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _openssl() -> str:
    from cryptography.hazmat.backends.openssl import backend

    return backend.openssl_version_text()
