"""The parts of `securedata bench`: intervals, numbers, sizes, and what it says of the host."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from securedata.bench import host, throughput, units
from securedata.bench.estimate import Estimate, estimate
from securedata.bench.work import Case
from securedata.errors import InvalidArgument


@pytest.mark.parametrize("count", range(1, 40))
def test_interval_holds_the_median_with_the_confidence_that_it_says(count: int) -> None:
    found = estimate(range(count))
    assert found.rounds == count
    assert found.median == statistics.median(range(count))
    # the true median lies outside of the rank-th smallest and largest if fewer than rank values fall on one side of it
    rank = int(found.low) + 1
    assert found.high == count - rank

    def within(rank: int) -> float:
        return 1 - 2 * sum(math.comb(count, k) for k in range(rank)) / 2**count

    assert found.confidence == pytest.approx(max(0.0, within(rank)))
    assert (found.confidence >= 0.95) == (count >= 6)
    if count >= 6:
        assert within(rank + 1) < 0.95  # no narrower pair would do


def test_estimate_in_another_unit() -> None:
    assert Estimate(2.0, 1.0, 4.0, 0.97, 6).scaled(100) == Estimate(200.0, 100.0, 400.0, 0.97, 6)


@pytest.mark.parametrize(
    ("text", "size", "name"),
    [
        ("4kB", 4000, "4 kB"),
        ("128 kB", 128_000, "128 kB"),
        ("100", 100, "100 B"),
        ("4097", 4097, "4,097 B"),
        ("16KiB", 16_384, "16 KiB"),
        ("1MiB", 1 << 20, "1 MiB"),
        ("5MB", 5_000_000, "5 MB"),
        ("1024MiB", 1 << 30, "1024 MiB"),
    ],
)
def test_sizes(text: str, size: int, name: str) -> None:
    assert units.sizes(text) == (size,)
    assert units.size_name(size) == name
    assert units.sizes(f"{text},1,{text}") == (size, 1)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.001234, "0.0012"),
        (0.0000312, "0.00003"),
        (0.01234, "0.0123"),
        (0.5, "0.500"),
        (9.999, "10.0"),
        (1234.5, "1,234"),
        (76_533.4, "76,533"),
        (0, "0"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert units.number(value) == text


X86 = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu aes avx2 vaes\n\nprocessor\t: 1\nmodel name\t: Other\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd aes pmull\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n\nprocessor\t: 1\n"


def described(tmp_path: Path, cpuinfo: str) -> dict[str, Any]:
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo)
    return host.describe(path, tmp_path / "none")


def test_x86_flags(tmp_path: Path) -> None:
    found = described(tmp_path, X86)
    assert found["cpu"] == "Some CPU"
    assert [name for name, there in found["flags"].items() if there] == ["aes", "avx2", "vaes"]
    assert "avx512f" in found["flags"]
    assert "vaes, no vpclmulqdq" in "\n".join(host.lines(found))


def test_arm_flags(tmp_path: Path) -> None:
    found = described(tmp_path, ARM)
    assert found["cpu"] == "Neoverse V2"
    assert found["flags"] == {"asimd": True, "aes": True, "pmull": True, "sha3": False, "sha512": False}
    assert described(tmp_path, ARM.replace("0xd4f", "0xabc"))["cpu"] == "arm64, implementer 0x41, part 0xabc"


def test_no_cpuinfo(tmp_path: Path) -> None:
    found = host.describe(tmp_path / "none", tmp_path / "none")
    assert found["cpu"]
    assert found["flags"] == {}
    assert "flags unknown" in "\n".join(host.lines(found))


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000\n", lambda all: all), ("100000 100000\n", lambda all: 1), ("1000 100000\n", lambda all: 1)],
    ids=["none", "one", "part"],
)
def test_quota_of_a_container(quota: str, cores: Callable[[int], int], tmp_path: Path) -> None:
    path = tmp_path / "cpu.max"
    everything = host.usable_cores(path)
    path.write_text(quota)
    assert host.usable_cores(path) == cores(everything)


def test_progress_goes_forward_and_says_what_is_measured() -> None:
    told: list[tuple[float, str]] = []
    throughput.measure([Case(10)], [1, 2], 0.1, lambda passed, what: told.append((passed, what)))
    assert [passed for passed, _ in told] == sorted(passed for passed, _ in told)
    assert {what for _, what in told} >= {"10 B, 1 worker", "10 B, 2 workers"}


def test_measure_refuses_no_memory() -> None:
    with pytest.raises(InvalidArgument, match="more than half"):
        throughput.measure([Case(1 << 30)], [4096], 1.0, lambda passed, what: None)
