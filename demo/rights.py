"""The last step of the demo: what the corpus owes its people. Rotate, keep features, hold, erase, check the receipt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import securedata as sd
from demo import DemoError, say
from securedata.corpus.home import state_dir

FEATURES = "demo-features"
CASE, REQUEST = "DEMO-CASE-1", "DEMO-REQUEST-1"
HELD = 3  # exit code: done, except for what a hold keeps

Run = Callable[..., int]


def keep_rights(run: Run, name: str, folder: Path, results: dict[str, Any]) -> None:
    """Go through the life of one person's recordings; `run` runs a command and shows it."""
    people = Counter(sd.EncryptedAudioDataset(name).metadata.column("speaker").to_pylist())
    person, rows = min(people.items(), key=lambda one: (one[1], one[0]))
    alone = ["--yes", str(rows)] if len(people) == 1 else []
    run("rotate", name)
    run("operator", "init", "--name", "demo.example/erasure")
    run("retain", name, "--to", str(folder / FEATURES), "--features", "log-mel", "--verify-sample", "20")
    run("hold", "add", name, "--subject", person, "--case", CASE, "--reason", "a letter from counsel")
    run("erase", name, "--subject", person, "--request", REQUEST, *alone, allowed=(HELD,))
    say(f"The hold keeps {rows:,} recordings of {person!r}, and the request makes them open for nobody.")
    count = len(sd.EncryptedAudioDataset(name))
    if count != sum(people.values()) - rows:
        raise DemoError("recordings that a request restricts still open: please report this as SECURITY.md says")
    run("hold", "release", name, "--subject", person, "--case", CASE)
    run("erase", name, "--subject", person, "--request", REQUEST, *alone)
    left = Counter(sd.EncryptedAudioDataset(name).metadata.column("speaker").to_pylist())
    features = Counter(sd.EncryptedFeatureDataset(FEATURES).metadata.column("speaker").to_pylist())
    if left[person] or features[person]:
        raise DemoError("an erased person is still there: please report this as SECURITY.md says")
    receipts = [*(state_dir() / "receipts").rglob("*.receipt")]
    run("receipt", "verify", str(max(receipts, key=lambda path: path.stat().st_mtime_ns)))
    run("verify", name)
    say(f"{person!r} is gone from the recordings and from the features that were made of them: a receipt for each.")
    results |= {"erased": rows, "kept": sum(left.values()), "receipts": len(receipts)}
