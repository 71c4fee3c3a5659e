"""`retain`, its verification apart, beside a plain DataLoader loop that computes the same transform and keeps nothing.

Both read the same corpus, on a local disk and from an S3 server, with as many forked workers. `retain` also seals the
features, stores them there and commits them. The server runs on the same cores, so what it spends on storing counts
against `retain`; the processor time of the processes themselves is measured beside the clock.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torchaudio.transforms import MelSpectrogram

import securedata as sd
from benchmarks.data import clips
from benchmarks.tools.stats import Figure, estimate
from securedata.corpus.config import Reference
from tests.kit.servers import seaweed

TARGET = 0.8
SECONDS = 10
"""The length of a clip: 100 to 200 kB of FLAC."""
WORKERS = 2
BATCH = 32


class LogMel:
    """What `retain --features log-mel` computes at 16 kHz, as a tutorial would write it."""

    def __init__(self) -> None:
        self._mel = MelSpectrogram(clips.RATE, n_fft=512, win_length=400, hop_length=160, n_mels=80)

    def __call__(self, waveform: torch.Tensor) -> torch.Tensor:
        return self._mel(waveform).clamp(min=1e-10).log().half()


def measure(work: Path, speech: Path | None, count: int, runs: int) -> tuple[list[Figure], dict[str, object]]:
    """In each round the loop goes through the corpus once, and then its features are retained in a new one."""
    files = clips.make(clips.speech_folder(speech, work / "prompts"), work / "clips-10s", count, seconds=SECONDS)
    size = sum(path.stat().st_size for path in files)
    figures: list[Figure] = []
    results: dict[str, object] = {"files": count, "bytes": size}
    with tempfile.TemporaryDirectory(dir=work) as folder, seaweed(Path(folder) / "weed") as server:
        os.environ.update(server.environment() | {"AWS_EC2_METADATA_DISABLED": "true"})
        for storage, place in (("local disk", folder), ("S3 server on the same cores", "s3://voice")):
            rounds = _rounds(work / "clips-10s", place, f"local://{folder}/retain.kek", runs)
            results[storage] = rounds
            for what, suffix in (("", ""), (", processor time", " cpu")):
                ratio = estimate(one[f"loop{suffix}"] / one[f"retain{suffix}"] for one in rounds)
                name = f"retain log-mel / that transform in a DataLoader loop, {WORKERS} workers, {storage}{what}"
                figures.append(Figure(name, TARGET, ratio, unit="x"))
    return figures, results


def _rounds(source: Path, place: str, kms: str, runs: int) -> list[dict[str, float]]:
    raw = sd.create_corpus(f"{place}/raw", kms=kms).reference
    taken = sd.ingest(source, raw, speaker_pattern="{speaker}/{utterance}").added
    found = []
    for number in range(-1, runs):  # the first warms up
        one = _round(raw, f"{place}/features-{number + 1}", kms, taken)
        if number >= 0:
            found.append(one)
        print(f"{place}: round {number + 1} of {runs}", file=sys.stderr)
    return found


def _round(raw: Reference, to: str, kms: str, count: int) -> dict[str, float]:
    begun, cpu = time.perf_counter(), _processor()
    with sd.EncryptedAudioDataset(raw, sample_rate=clips.RATE, transform=LogMel()) as ds:
        loader = DataLoader(ds, batch_size=BATCH, num_workers=WORKERS, collate_fn=list, multiprocessing_context="fork")
        if sum(len(batch) for batch in loader) != count:
            raise AssertionError("the loop did not read every recording")
    loop, loop_cpu, cpu = time.perf_counter() - begun, _processor() - cpu, _processor()
    report = sd.retain(raw, to, features="log-mel", workers=WORKERS, verify_sample=0, to_kms=kms)
    if report.added != count or not report.complete:
        raise AssertionError(f"{report.added} of {count} were retained")
    return {
        "loop": loop,
        "loop cpu": loop_cpu,
        "retain": report.seconds,
        "retain cpu": _processor() - cpu,  # with the read-back, which this process does by itself
        "read-back": report.seconds_verify,
    }


def _processor() -> float:
    """Seconds of processor time of this process and its workers that have ended."""
    times = os.times()
    return sum(times[:4])
