"""The tables that are printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from securedata.bench import host as hosts
from securedata.bench.loading import STAGES, Loading
from securedata.bench.throughput import Throughput
from securedata.bench.units import number, table
from securedata.bench.work import AES_GCM, MEMCPY, SECUREDATA

_DISTURBED = 0.9
_BUSY = """\
The workers did not have their cores to themselves: other work ran on this
host, or it has fewer cores. It can do more than this; fractions are affected
less. Measure again when the host is idle."""


def throughput_report(measured: Throughput, host: dict[str, Any]) -> str:
    """The host, a table for one worker and one for the most, and the gain from more workers."""
    workers = measured.workers
    parts = ["\n".join(hosts.lines(host))]
    for count in dict.fromkeys((workers[0], workers[-1])):
        parts.append(_one(measured, count))
    if len(workers) > 1:
        parts.append(_scaling(measured))
    parts.append(
        f"Medians of {measured.rounds} rounds, [intervals with 95 % confidence]. GB: 10^9 bytes of\n"
        "plaintext, of all workers together. of AES-GCM: securedata as a fraction of\n"
        "one-shot AES-GCM, the limit of this host."
    )
    if min(measured.undisturbed.values()) < _DISTURBED:
        parts.append(_BUSY)
    return "\n\n".join(parts)


def _one(measured: Throughput, workers: int) -> str:
    head = ["object", "securedata GB/s", "of AES-GCM", "objects/s"]
    rows = [
        [
            result.case.name,
            str(result.gb_per_s(SECUREDATA)),
            str(result.share_of(AES_GCM)),
            number(result.objects_per_s().median),
        ]
        for result in measured.of(workers)
    ]
    limits = [
        [
            result.case.name,
            number(result.gb_per_s(AES_GCM).median),
            number(result.gb_per_s(MEMCPY).median),
        ]
        for result in measured.of(workers)
    ]
    title = "1 worker: one core" if workers == 1 else f"{workers} workers"
    if measured.undisturbed[workers] < _DISTURBED:
        title += f"; other work took {1 - measured.undisturbed[workers]:.0%} of the time"
    return f"{title}\n{table(head, rows)}\n\n{table(['limits', 'AES-GCM GB/s', 'memcpy GB/s'], limits)}"


def _scaling(measured: Throughput) -> str:
    counts = measured.workers
    head = ["securedata GB/s", *(f"{count} worker{'s' if count > 1 else ''}" for count in counts), "gain"]
    columns = [measured.of(count) for count in counts]
    rows = []
    for row in zip(*columns, strict=True):
        rates = [result.gb_per_s(SECUREDATA).median for result in row]
        rows.append([row[0].case.name, *map(number, rates), f"{number(rates[-1] / rates[0])}x"])
    return f"By number of workers\n{table(head, rows)}"


def loading_report(measured: Sequence[Loading], host: dict[str, Any], corpus: dict[str, Any]) -> str:
    """The host, how fast samples arrive, and where the time of a sample goes."""
    rates = [
        [
            _workers(loading.workers),
            str(loading.per_second("samples")),
            number(loading.per_second("audio").median),
            number(loading.per_second("bytes").median / 1e6),
        ]
        for loading in measured
    ]
    times = [
        [
            _workers(loading.workers),
            *(number(loading.ms_per_sample(stage).median) for stage in STAGES),
            str(loading.decrypt_share().scaled(100)),
        ]
        for loading in measured
    ]
    packages, name = host["packages"], corpus["name"] or corpus["root"]
    parts = [
        "\n".join([*hosts.lines(host), f"torch {packages['torch']}, soundfile {packages['soundfile']}"]),
        f"{name}: {corpus['rows']:,} recordings, in shuffled batches of {corpus['batch_size']}",
        table(["DataLoader", "samples/s", "seconds of audio/s", "MB/s of files"], rates),
        table(["ms per sample", *STAGES, "decrypt, % of it"], times),
        f"Medians of {len(measured[0].slices)} rounds, [intervals with 95 % confidence]. Milliseconds of\n"
        "the process that makes the sample. fetch: from storage; decode: the row,\n"
        "decoding, resampling, the tensor; collate: its share of padding the batch.",
    ]
    if min(loading.undisturbed() for loading in measured) < _DISTURBED:
        parts.append(_BUSY)
    return "\n\n".join(parts)


def _workers(count: int) -> str:
    return "no workers" if count == 0 else f"{count} worker{'s' if count > 1 else ''}"
