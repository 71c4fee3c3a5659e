"""Search the store for names, words and audio: none is found, by a search that finds them in the sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
import soundfile

import securedata as sd
from demo import DemoError, say
from demo.search import Needles, audio_runs, entropy, histogram

MOST_BYTES = 1_000_000_000  # of sources and of store: a minute on one core
Item = TypeVar("Item")
AUDIO = "audio, runs of 16 bytes"
TEXTS = (".txt", ".csv", ".tsv", ".json", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class Leaks:
    source: np.ndarray  # how often each byte value occurs
    store: np.ndarray
    looked_for: int
    found: int  # of these in the store: 0, or the demo would have ended


def show_leaks(corpus: sd.Corpus, source: Path, store: Path, manifest: Path | None) -> Leaks:
    """Search every byte of `store` and, as a control, of the recordings and the texts beside them.

    Raises:
        DemoError: something was found in the store, or the control failed to find the audio in the sources.
    """
    table = corpus.table.select(["path", "speaker", "subjects", "transcript"])
    rows = sample(table.to_pylist(), [source / path for path in table.column("path").to_pylist()])
    files = [source / row["path"] for row in rows]
    runs, stride = audio_runs(files)
    if not runs:
        raise DemoError(f"there is no recording with sound under {source}, so there is nothing to search the store for")
    needles = Needles(
        {
            "paths": [row["path"].encode() for row in rows],
            "file names": [PurePosixPath(row["path"]).stem.encode() for row in rows],
            "names of people": [name.encode() for row in rows for name in [row["speaker"], *row["subjects"]]],
            "transcripts": [row["transcript"].encode() for row in rows if row["transcript"]],
            AUDIO: runs,
        }
    )
    everything = sorted(path for path in store.rglob("*") if path.is_file())
    sealed = sample(everything, everything)
    found = needles.search(sealed, store)
    texts = {path for path in source.rglob("*") if path.suffix in TEXTS and path.is_file()}
    control = needles.search([*files, *sorted(texts | ({manifest} if manifest else set()))], source)
    whole = (
        "All files" if len(sealed) == len(everything) else f"A sample, {len(sealed):,} of {len(everything):,} files,"
    )
    say(
        f"{whole} of the store, {found.bytes / 1e6:.1f} MB, and their names are searched at every offset for the "
        f"contents of {len(rows):,} recordings (of audio, one run from every {stride:,} bytes). "
        "The same search of the recordings is the control."
    )
    print(f"     {'':24}{'looked for':>12}{'in the store':>14}{'in the sources':>16}")
    for kind, count in needles.counts.items():
        print(f"     {kind:24}{count:>12,}{found.seen[kind]:>14,}{control.seen[kind]:>16,}")
    short = sum(needles.too_short.values())
    say(f"Left out: {short:,} names and transcripts of less than eight bytes, which random bytes may hold by chance.")
    if any(found.seen.values()):
        raise DemoError("the store holds plaintext: please report this as SECURITY.md says")
    if control.seen[AUDIO] < needles.counts[AUDIO]:
        raise DemoError("the search does not find the audio in the sources, so its result for the store means nothing")
    objects = [path for path in sealed if "objects" in path.relative_to(store).parts]
    say(f"soundfile refuses {sum(map(refused, objects)):,} of {len(objects):,} sealed objects.")
    looked_for = sum(needles.counts.values())
    leaks = Leaks(histogram(files), histogram(sealed), looked_for, sum(found.seen.values()))
    say(f"Bits per byte: {entropy(leaks.source):.3f} in the recordings, {entropy(leaks.store):.5f} in the store.")
    return leaks


def sample(items: Sequence[Item], files: Sequence[Path]) -> list[Item]:
    """The items whose file exists, or every n-th of them, so that their files have at most MOST_BYTES."""
    there = [(item, path.stat().st_size) for item, path in zip(items, files, strict=True) if path.is_file()]
    step = -(-sum(size for _, size in there) // MOST_BYTES) or 1
    return [item for item, _ in there[::step]]


def refused(path: Path) -> bool:
    """Whether libsndfile finds no audio in this file."""
    try:
        soundfile.info(path)
    except soundfile.LibsndfileError:
        return True
    return False
