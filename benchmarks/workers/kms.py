"""A process for one run of kms.py, in the main venv or in the peers' one.

python -m benchmarks.workers.kms REQUEST      REQUEST: JSON

It prints one line of JSON: seconds to the first batch and to the end, and the number of samples.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CONTEXT = {"corpus": "benchmark"}
CAPACITY, MAX_AGE = 10_000, 3600.0


class Messages:
    """A map-style dataset of AWS Encryption SDK messages on disk. Each worker has its own client and cache."""

    def __init__(self, files: Sequence[str], key: str) -> None:
        self.files, self.key = list(files), key
        self.held: Any = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        import soundfile
        import torch

        if self.held is None or self.held[0] != os.getpid():
            self.held = (os.getpid(), *sdk(self.key))
        _, client, materials = self.held
        data, _ = client.decrypt(source=Path(self.files[index]).read_bytes(), materials_manager=materials)
        audio, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
        return torch.from_numpy(audio.T)


def sdk(key: str, messages: int | None = None) -> tuple[Any, Any]:
    """The SDK's client and caching manager. `messages`: how many of them share a data key."""
    from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient, StrictAwsKmsMasterKeyProvider
    from aws_encryption_sdk.caches.local import LocalCryptoMaterialsCache
    from aws_encryption_sdk.materials_managers.caching import CachingCryptoMaterialsManager

    limit = {} if messages is None else {"max_messages_encrypted": messages}
    materials = CachingCryptoMaterialsManager(
        master_key_provider=StrictAwsKmsMasterKeyProvider(key_ids=[key]),
        cache=LocalCryptoMaterialsCache(CAPACITY),
        max_age=MAX_AGE,
        **limit,
    )
    return EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT), materials


def seal(request: dict[str, Any]) -> dict[str, Any]:
    from aws_encryption_sdk.identifiers import AlgorithmSuite

    client, materials = sdk(request["key"], request["messages"])
    suite = AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
    for source, target in request["files"]:
        sealed, _ = client.encrypt(
            source=Path(source).read_bytes(), materials_manager=materials, encryption_context=CONTEXT, algorithm=suite
        )
        Path(target).write_bytes(sealed)
    return {"samples": len(request["files"])}


def collate(samples: list[Any]) -> Any:
    """Stack waveforms, which all have the same length."""
    import torch

    return torch.stack([sample if isinstance(sample, torch.Tensor) else sample[0] for sample in samples])


def load(request: dict[str, Any]) -> dict[str, Any]:
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(1)
    torch.manual_seed(1)
    if request["who"] == "securedata":
        from securedata.torch.dataset import EncryptedAudioDataset

        began = time.perf_counter()
        dataset: Any = EncryptedAudioDataset(request["root"], kms=request["kms"], pin=request["pin"])
    else:
        import aws_encryption_sdk  # noqa: F401 - as above: imports are not timed
        import soundfile  # noqa: F401 - as above

        began = time.perf_counter()
        dataset = Messages(request["files"], request["key"])
    loader: Any = DataLoader(
        dataset,
        request["batch"],
        shuffle=True,
        num_workers=request["workers"],
        persistent_workers=True,
        collate_fn=collate,
        multiprocessing_context=request["method"],
    )
    first, samples = 0.0, 0
    for _ in range(request["epochs"]):
        for batch in loader:
            first = first or time.perf_counter() - began
            samples += len(batch)
    return {"first": first, "wall": time.perf_counter() - began, "samples": samples}


def main() -> None:
    request = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints goes to stderr
    answers.write(json.dumps(seal(request) if request["do"] == "seal" else load(request)) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
