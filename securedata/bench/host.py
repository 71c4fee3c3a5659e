"""The host of a measurement: CPU, AES instructions, versions, load."""

from __future__ import annotations

import math
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# OpenSSL chooses its AES-GCM by these: on x86 AES-NI and PCLMULQDQ, or their wide forms with AVX2 or AVX-512; on arm64
# the Armv8 cryptography extension, and EOR3 (sha3, sha512) for the unrolled form.
_FLAGS = (
    ("aes", "pclmulqdq", "avx2", "vaes", "vpclmulqdq", "avx512f", "avx512bw", "avx512vl"),
    ("asimd", "aes", "pmull", "sha3", "sha512"),
)
# Server CPUs by Arm Ltd., by the part numbers in their Technical Reference Manuals (MIDR_EL1).
_ARM = {
    "0xd0c": "Neoverse N1",
    "0xd40": "Neoverse V1",
    "0xd49": "Neoverse N2",
    "0xd4f": "Neoverse V2",
    "0xd83": "Neoverse V3AE",
    "0xd84": "Neoverse V3",
    "0xd8e": "Neoverse N3",
}
_PACKAGES = ("cryptography", "torch", "pyarrow", "soundfile", "soxr", "numpy")


def describe(cpuinfo: Path = Path("/proc/cpuinfo"), quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> dict[str, Any]:
    """The host, for the JSON document; `usable_cores` respects CPU affinity and the container's quota."""
    info = read_cpuinfo(cpuinfo)
    have = set((info.get("flags") or info.get("Features") or "").split())
    names = _FLAGS[0] if "flags" in info else _FLAGS[1]
    return {
        "cpu": _model(info),
        "flags": {name: name in have for name in names} if have else {},
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "usable_cores": usable_cores(quota),
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "openssl": _openssl(),
        "packages": {"securedata-torch": _version("securedata-torch"), **{name: _version(name) for name in _PACKAGES}},
    }


def usable_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """How many processes can run at once, by CPU affinity and the quota of a container (cgroup v2)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit, period = quota.read_text(encoding="ascii").split()
    except OSError:  # not Linux, or no container: no quota
        return cores
    return cores if limit == "max" else max(1, min(cores, math.ceil(int(limit) / int(period))))


def read_cpuinfo(path: Path) -> dict[str, str]:
    """The first processor's block; empty if there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:  # not Linux: use the platform module's name for the CPU
        return {}
    block = text.split("\n\n", 1)[0]
    return {key.strip(): value.strip() for key, _, value in (row.partition(":") for row in block.splitlines())}


def lines(host: dict[str, Any]) -> list[str]:
    """The host as lines of text."""
    flags: dict[str, bool] = host["flags"]
    shown = ", ".join(name if there else f"no {name}" for name, there in flags.items())
    cores = f"{host['cores']} core{'s' if host['cores'] != 1 else ''}"
    if host["usable_cores"] != host["cores"]:
        cores += f" ({host['usable_cores']} under the container's quota)"
    packages = host["packages"]
    return [
        f"{host['cpu']}, {cores}, load {host['load']:.1f}",
        shown or "CPU flags unknown",
        f"cryptography {packages['cryptography']}, {host['openssl']}, Python {host['python']}",
    ]


def _model(info: dict[str, str]) -> str:
    if "model name" in info:
        return info["model name"]
    if "CPU part" in info:
        implementer, part = info.get("CPU implementer", "?"), info["CPU part"]
        known = _ARM.get(part) if implementer == "0x41" else None
        return known or f"arm64, implementer {implementer}, part {part}"
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return None


def _openssl() -> str:
    from cryptography.hazmat.backends.openssl import backend

    return backend.openssl_version_text()
