"""What features give away of the speaker, beside what is left for a task, and the room they take.

    python -m benchmarks.features                   about four minutes, with a download of 160 MB by apt
    python -m benchmarks.features --speech DIR      voices of your own: DIR/VOICE/*.wav

benchmarks/README.md says what is measured, and on which voices.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

import securedata as sd
from benchmarks.data.voices import RATE, TABLE, voices_folder
from benchmarks.tools import machine, report
from benchmarks.tools.attacker import Array, Attacker, Interval, bootstrapped, equal_error_rate
from benchmarks.tools.process import isolated
from benchmarks.tools.stats import number, table
from securedata.lifecycle.features.recipe import Recipe
from securedata.lifecycle.features.transforms import compute

SETS = {
    "log-mel, 40 bands": {"features": "log-mel"},
    "MFCC, 13": {"features": "mfcc"},
    "fbank, 40 bands": {"features": "fbank"},
    "energy only": {"features": "benchmarks.data.energy:energy"},
}
"""What is retained, all as float16."""
HELD_OUT = 0.3
SYLLABLE = re.compile(r"[bcdfghjklmnprstvwz]{1,2}([aeiou])")
SPELT_AS_SPOKEN = ("es", "it", "ml", "pt_BR", "ru", "tn", "uk")
"""Languages of KLettres whose files of syllables are named by how they sound."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, help="folders of WAVs, one for each voice, instead of Debian's")
    parser.add_argument("--work", type=Path, help="where voices are kept; default: temporary")
    parser.add_argument("--out", type=Path, default=report.OUT, help="folder for features.json")
    args = parser.parse_args(argv)
    about = machine.describe()
    torch.set_num_threads(1)  # the same result whatever else runs
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="securedata-bench-")))
        work = args.work or scratch
        work.mkdir(parents=True, exist_ok=True)
        voices = voices_folder(work, args.speech)
        stack.enter_context(isolated(scratch))
        results = measure(voices, scratch)
    written = report.write(args.out, "features", about, [], results)
    print(f"\n{machine.line(about)}\n\n{shown(results)}\n\nwritten: {written}")
    return 0


def measure(voices: Path, scratch: Path) -> dict[str, Any]:
    """Seal the voices, retain each set of features, and attack recordings and features."""
    sd.ingest(voices, scratch / "raw", manifest=voices / TABLE, layout="none", name="raw-voices")
    with sd.EncryptedAudioDataset("raw-voices") as ds:
        people = np.array([ds.get_metadata(i).speaker for i in range(len(ds))])
        vowels = np.array([_vowel(*one) for one in zip(*_words(ds), strict=True)])
        hours = float(ds.lengths.sum()) / RATE / 3600
        recipe = Recipe.make("log-mel", RATE, "float32", {})
        found = {"recordings (log-mel made by the attacker)": [compute(recipe, one.waveform)[0] for one in ds]}
        sizes = {"recordings (log-mel made by the attacker)": _stored(ds)}
    for name, how in SETS.items():
        short = name.partition(",")[0].replace(" ", "-").lower()
        done = sd.retain("raw-voices", scratch / short, **how, name=short, workers=2, verify_sample=20)
        if not done.complete:
            raise AssertionError(f"{name}: {done}")
        with sd.EncryptedFeatureDataset(short) as features:
            found[name] = [one.features[0].float().numpy() for one in features]
            sizes[name] = _stored(features)
    rows = []
    for name, utterances in found.items():
        print(f"attack: {name}", file=sys.stderr)
        rows.append({"features": name, "bytes per hour": sizes[name] / hours, **attack(utterances, people, vowels)})
    told = vowels != ""
    about = {"syllables": int(told.sum()), "voices of syllables": len(np.unique(people[told]))}
    return {**about, "voices": len(np.unique(people)), "utterances": len(people), "hours": hours, "rows": rows}


def _stored(ds: Any) -> float:
    return float(sum(corpus.index.location(i).sealed_size for corpus in ds.corpora for i in range(len(corpus))))


def attack(utterances: list[Array], people: Array, vowels: Array) -> dict[str, Any]:
    """Identification and verification of every voice on its held-out utterances, and the task."""
    names, labels = np.unique(people, return_inverse=True)
    random = np.random.default_rng(1)
    held = np.zeros(len(people), bool)
    for one in range(len(names)):
        mine = random.permutation(np.flatnonzero(labels == one))
        held[mine[: max(1, round(HELD_OUT * len(mine)))]] = True
    train, test = np.flatnonzero(~held), np.flatnonzero(held)
    attacker = Attacker([utterances[i] for i in train], labels[train].tolist(), len(names))
    right = attacker.classes([utterances[i] for i in test]) == labels[test]
    enrolled = attacker.embeddings([utterances[i] for i in train])
    means = np.stack([enrolled[labels[train] == one].mean(0) for one in range(len(names))])
    scores = (
        attacker.embeddings([utterances[i] for i in test]) @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    )
    owner = labels[test][:, None] == np.arange(len(names))
    return {
        "identification": bootstrapped(lambda rows: float(right[rows].mean()), labels[test]),
        "EER": bootstrapped(lambda rows: equal_error_rate(scores[rows].ravel(), owner[rows].ravel()), labels[test]),
        "vowels": _vowels_told(utterances, people, vowels),
    }


def _words(ds: sd.EncryptedAudioDataset) -> tuple[list[str], list[str]]:
    return ds.metadata.column("language").to_pylist(), ds.metadata.column("transcript").to_pylist()


def _vowel(language: str, text: str) -> str:
    """The vowel that a syllable ends with; '' if that is not known."""
    found = SYLLABLE.fullmatch(text) if language in SPELT_AS_SPOKEN else None
    return found[1] if found else ""


def _vowels_told(utterances: list[Array], people: Array, vowels: Array) -> Interval | None:
    """Accuracy of telling which of five vowels ends a syllable, each voice by a network that was trained on the others;
    None if there are fewer than three such voices."""
    known = np.flatnonzero(vowels != "")
    voices = np.unique(people[known])
    if len(voices) < 3:
        return None
    names, labels = np.unique(vowels[known], return_inverse=True)
    right = np.zeros(len(known), bool)
    for voice in voices:
        mine = people[known] == voice
        learned = Attacker([utterances[i] for i in known[~mine]], labels[~mine].tolist(), len(names))
        right[mine] = learned.classes([utterances[i] for i in known[mine]]) == labels[mine]
    return bootstrapped(lambda rows: float(right[rows].mean()), people[known])


def shown(results: dict[str, Any]) -> str:
    """The table, as docs/features.md has it."""
    chance = Interval(1 / results["voices"], 1 / results["voices"], 1 / results["voices"])
    lines = [
        [
            row["features"],
            f"{number(row['bytes per hour'] / 1e6)} MB",
            str(row["identification"]),
            str(row["EER"]),
            str(row["vowels"] or "-"),
        ]
        for row in results["rows"]
    ]
    lines.append(["chance", "", f"{100 * chance.value:.0f} %", "50 %", "20 %"])
    head = ["what the attacker has", "stored per hour", "identified, top 1", "verified, EER", "task: vowels told"]
    about = f"{results['voices']} voices, {results['utterances']:,} utterances, {results['hours']:.1f} hours; "
    about += f"the task has {results['syllables']} syllables of {results['voices of syllables']} voices"
    return f"{about}\n\n{table(head, lines)}"


if __name__ == "__main__":
    sys.exit(main())
