"""The nine steps of the demo, and what each of them shows."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import fsspec

import securedata as sd
from demo import DemoError, say
from demo.leaks import Leaks, show_leaks
from demo.measure import rates, shares
from demo.plot import draw
from demo.prompts import TABLE, VOICES, get_voices
from demo.rights import keep_rights
from demo.split import halves
from demo.train import WORKERS, Result, TimedLogMel, kms_calls, train, voice_of
from demo.workplace import Workplace

NAME = "demo-voices"
MOST_RECORDINGS = 4000  # used for training and test, from a large folder
HIGHEST_RATE = 16_000  # Hz
CROP = 2.0  # seconds of each recording, at another place in every epoch
PIECE = 16_000  # bytes


class Story:
    def __init__(self, options: argparse.Namespace, place: Workplace) -> None:
        self.place = place
        self.corpus: Path | None = options.corpus
        self.speaker_pattern: str | None = options.speaker_pattern
        self.table: Path | None = options.manifest
        self.source = Path()
        self.steps = 0
        self.results: dict[str, object] = {}

    def tell(self) -> int:
        began = time.perf_counter()
        print(f"Everything that this demo makes is in {self.place.folder}, including keys and configuration.")
        print("Your own securedata configuration and keys are neither read nor changed.")
        with self.step("Get voices"):
            self.get_source()
        with self.step("Encrypt them"):
            self.encrypt()
        with self.step("Verify: open every object, and check every file in the store"):
            self.verify()
        with self.step("Look for the voices in the store"):
            leaks = self.look()
        with self.step(f"Train on the sealed corpus: {WORKERS} DataLoader workers decrypt in memory"):
            dataset, result = self.train()
        with self.step("Read a piece of one recording by its URL, as any fsspec tool would"):
            self.read_piece()
        with self.step("What was measured"):
            parts = self.report(dataset, result, leaks)
        with self.step("Draw it"):
            self.draw(result, leaks, parts)
        with self.step("Rotate the key, keep features, and erase a person, with a receipt"):
            self.become_owner()
            keep_rights(self.securedata, NAME, self.place.store.parent, self.results)
        self.results["seconds"] = time.perf_counter() - began
        self.place.results.write_text(json.dumps(self.results, indent=1) + "\n")
        print(f"\nDone in {self.results['seconds']:.0f} s. The picture is {self.place.picture}")
        self.say_what_next()
        return 0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        self.steps += 1
        print(f"\n{self.steps}/9  {title}")
        began = time.perf_counter()
        yield
        say(f"({time.perf_counter() - began:.1f} s)")

    def securedata(self, *arguments: str, allowed: Sequence[int] = (0,)) -> int:
        """Run the command `securedata`; show it and its output."""
        print("     $ securedata " + shlex.join(arguments))
        code = subprocess.run([sys.executable, "-m", "securedata.cli.main", *arguments]).returncode
        if code not in allowed:
            raise DemoError(f"'securedata {arguments[0]}' ended with {code}; the reason is above")
        return code

    # ------------------------------------------------------------ 1, 2

    def get_source(self) -> None:
        if self.corpus is not None:
            self.source = self.corpus.expanduser().resolve()
            if not self.source.is_dir():
                raise DemoError(f"{self.source} is not a folder: CORPUS=DIR must be the folder with your recordings")
            say(f"Your own: {self.source}")
            return
        self.source = get_voices(self.place.prompts, lambda line: print("     " + line))
        self.table = self.source / TABLE
        say(
            f"Asterisk's telephone prompts (CC-BY-SA): {len(VOICES)} voices of two professionals, Allison Smith in "
            "English and Spanish, June Wallack in French. Tones and silence are left out."
        )

    def encrypt(self) -> None:
        size = sum(path.stat().st_size for path in self.source.rglob("*") if path.is_file())
        free = shutil.disk_usage(self.place.folder).free
        if free < size:
            raise DemoError(
                f"the sealed copy needs {size / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free: make room, or use "
                "--workdir DIR on another disk"
            )
        arguments = ["encrypt", near(self.source), self.target()]
        if self.table is not None:
            arguments += ["--manifest", near(self.table)]
        if self.speaker_pattern:
            arguments += ["--speaker-pattern", self.speaker_pattern]
        code = self.securedata(*arguments, allowed=(0, 1, 2))
        if code == 2:
            raise DemoError(
                "securedata does not guess who speaks: choose one of the options above. If the folders in your DIR are "
                "the speakers: make demo CORPUS=DIR SPEAKERS='{speaker}/*'"
            )
        if code == 1:
            if self.corpus is None or not self.began():
                raise DemoError("'securedata encrypt' ended with 1; the reason is above")
            say("The demo continues with the recordings that were sealed.")
        say(self.who_has_the_key())

    def target(self) -> str:
        """Where `securedata encrypt` writes to."""
        return near(self.place.store)

    def began(self) -> bool:
        """Whether there is a corpus."""
        return (self.place.store / "head").exists()

    def who_has_the_key(self) -> str:
        return "Without that key file the store is only noise: step 4 checks."

    # ------------------------------------------------------------ 3, 4

    def verify(self) -> None:
        self.securedata("verify", NAME)

    def look(self) -> Leaks:
        return show_leaks(sd.open_corpus(NAME), self.source, self.place.store, self.table)

    # ------------------------------------------------------------ 5

    def train(self) -> tuple[sd.EncryptedAudioDataset, Result]:
        plain = sd.EncryptedAudioDataset(NAME)
        waveform, rate, transcript, speaker, *_ = plain[0]
        say(f"ds[0]: {waveform.dtype} {list(waveform.shape)}, {rate} Hz, {speaker!r} says {transcript!r}")
        commonest, _ = Counter(plain.metadata.column("sample_rate").to_pylist()).most_common(1)[0]
        rate = min(HIGHEST_RATE, commonest)
        features = TimedLogMel(rate)
        say(f"Log-mel features of {CROP:g} s, made with {features.source}.")
        dataset = sd.EncryptedAudioDataset(
            NAME, sample_rate=rate, num_frames=int(CROP * rate), crop="random", transform=features
        )
        columns = dataset.metadata.select(["path", "transcript", "speaker", "extra"]).to_pydict()
        voices = [voice_of(*names) for names in zip(columns["speaker"], columns["extra"], strict=True)]
        prompts = self.corpus is None
        found = halves(columns["path"], columns["transcript"], voices, prompts, MOST_RECORDINGS)
        say(
            f"Which of {len(set(voices))} voices is it? {len(found.train):,} recordings for training, "
            f"{len(found.test):,} for the test{', without a common text' if found.apart else ''}"
            f"{' in any language' if prompts else ''}."
        )
        for remark in found.remarks:
            say(remark)
        result = train(dataset, voices, found.train, found.test, say)
        say(
            f"In the end {result.accuracies[-1]:.1%} of the test are right; always naming the most common voice would "
            f"give {result.baseline:.1%}."
        )
        if prompts:
            say(
                "Voice and language coincide here: each voice speaks one language, and two of the three voices are the "
                "same woman's. So the model distinguishes languages and recordings as much as people."
            )
        return dataset, result

    # ------------------------------------------------------------ 6, 7, 8

    def read_piece(self) -> None:
        """Read from the middle of the longest recording, and compare with the source file."""
        table = sd.EncryptedAudioDataset(NAME).metadata
        there = [row for row in table.select(["size", "path"]).to_pylist() if (self.source / row["path"]).is_file()]
        longest = max(there, key=lambda row: row["size"])
        path, start = longest["path"], longest["size"] // 2
        url = f"securedata://{NAME}/{path}"
        began = time.perf_counter()
        with fsspec.open(url, "rb") as file:
            file.seek(start)
            piece = file.read(PIECE)
        took = time.perf_counter() - began
        if piece != (self.source / path).read_bytes()[start : start + PIECE]:
            raise DemoError(f"the bytes read from {url} differ from the source's: please report this as a bug")
        say(
            f"fsspec.open({url!r}), bytes {start:,} to {start + len(piece):,} of {longest['size']:,}: "
            f"equal to the source file's, in {1000 * took:.0f} ms, including the opening of the corpus."
        )

    def report(self, dataset: sd.EncryptedAudioDataset, result: Result, leaks: Leaks) -> dict[str, float]:
        corpus = dataset.corpora[0]
        opening, asked = kms_calls(dataset), sum(result.unwraps.values())
        speed = rates(corpus)
        assert isinstance(dataset.transform, TimedLogMel)
        parts = shares(dataset, dataset.transform, range(len(dataset)))
        kilobytes = speed.bytes / speed.files / 1000
        speed_of_training = result.samples / result.seconds
        for name, line in {
            "seal": f"{speed.seal / 1e9:.2f} GB/s on one core, in memory, files of {kilobytes:.0f} kB on average",
            "decrypt": f"{speed.decrypt / 1e9:.2f} GB/s, the same files",
            "decrypting": f"{parts['decrypt']:.1%} of the time of a sample, including features",
            "train": f"{speed_of_training:,.0f} samples/s with {WORKERS} workers, including features and model",
            "KMS calls": f"{opening} to open the dataset, {asked} by its {len(result.unwraps)} worker processes",
        }.items():
            print(f"     {name:12}{line}")
        self.results |= {
            "recordings": len(dataset),
            "found_in_store": leaks.found,
            "looked_for": leaks.looked_for,
            "accuracy": result.accuracies[-1],
            "baseline": result.baseline,
            "samples": result.samples,
            "samples_per_second": speed_of_training,
            "seal_bytes_per_second": speed.seal,
            "decrypt_bytes_per_second": speed.decrypt,
            "decrypt_share": parts["decrypt"],
            "kms_calls": {"open": opening, "workers": asked},
        }
        if kilobytes < 100:
            say("Small files like these are the hard case: 'securedata bench' shows this machine's speed by size.")
        return parts

    def draw(self, result: Result, leaks: Leaks, parts: dict[str, float]) -> None:
        dataset = sd.EncryptedAudioDataset(NAME)
        row = int((dataset.lengths - dataset.lengths.median()).abs().argmin())
        waveform, rate, *_ = dataset[row]
        draw(self.place.picture, result, waveform, rate, dataset.get_metadata(row)[0], leaks, parts)
        say(f"{self.place.picture}")

    # ------------------------------------------------------------ 9

    def become_owner(self) -> None:
        """Take the rights that rotating and erasing need: here one person has them all."""

    def say_what_next(self) -> None:
        print("What to try next:")
        print(f"  . {shlex.quote(near(self.place.run / 'env.sh'))}    # use the demo's keys in your shell; then")
        for command in (f"ls {NAME}", f"info {NAME}", "bench"):
            print(f"  .venv/bin/securedata {command}")
        if self.corpus is None:
            print("  make demo CORPUS=DIR SPEAKERS='{speaker}/*'    # with your own recordings, one folder per speaker")


def near(path: Path) -> str:
    """The path, relative to the current folder if it is below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
