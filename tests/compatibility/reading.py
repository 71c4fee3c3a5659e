"""What a training program gets: for each line [ROOT, KMS, PIN, ENVIRONMENT] it prints all rows of a corpus as JSON.

It runs under whichever release is on PYTHONPATH, and uses public names alone. Each corpus is read in a process of its
own, forked from one that has imported torch, which takes seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import Any

import torch
from torch.utils.data import DataLoader

import securedata as sd


def rows(root: str, kms: str, pin: str) -> list[dict[str, Any]]:
    """Each row of the corpus: float32 samples [channels, frames] as hex digits, and what goes with them."""
    corpus = sd.open_corpus(root, kms=kms, pin=pin)
    dataset = sd.EncryptedAudioDataset(root, kms=kms, pin=pin)
    together = [sample for batch in DataLoader(dataset, 3, collate_fn=list) for sample in batch]
    found = []
    for at, path in enumerate(corpus.table.column("path").to_pylist()):
        sample = dataset[at]
        if not torch.equal(sample.waveform, together[at].waveform) or sample[1:] != together[at][1:]:
            raise SystemExit(f"{path}: one by one and in a batch it is not the same")
        found.append(
            {
                "path": path,
                "split": corpus.value("split", at),
                "file": hashlib.sha256(corpus.read(at)).hexdigest(),
                "shape": list(sample.waveform.shape),
                "samples": sample.waveform.numpy().tobytes().hex(),
                **{name: value for name, value in sample._asdict().items() if name != "waveform"},
            }
        )
    return found


if __name__ == "__main__":
    for line in sys.stdin:
        *arguments, environment = json.loads(line)
        child = os.fork()
        if not child:
            os.environ.update(environment)
            print(json.dumps({"package": sd.__file__, "rows": rows(*arguments)}), flush=True)
            sys.exit()
        if os.waitpid(child, 0)[1]:
            sys.exit(1)
