"""Put a loading benchmark's recordings into one bucket: as plaintext, encrypted by Fernet, and as a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.data import corpora


def fill(client: Any, bucket: str, name: str, files: Sequence[Path], kek: Path) -> dict[str, Any]:
    """Upload the files in all three forms. Returns the arguments of `loaders.Spec`."""
    from cryptography.fernet import Fernet

    key = Fernet.generate_key()
    fernet = Fernet(key)
    plain, tokens, paths = [], [], []
    for path in sorted(files, key=lambda file: (file.parent.name, file.name)):
        data = path.read_bytes()
        where = f"{path.parent.name}/{path.name}"
        plain.append(f"{name}/plain/{where}")
        tokens.append(f"{name}/fernet/{where}")
        paths.append(f"{corpora.REAL}{where}")
        client.put_object(Bucket=bucket, Key=plain[-1], Body=data)
        client.put_object(Bucket=bucket, Key=tokens[-1], Body=fernet.encrypt(data))
    made = corpora.corpus(f"s3://{bucket}/{name}/sealed", kek, files, len(files))
    where_sealed = {"root": made.root, "kms": made.kms, "pin": made.pin}
    return {
        "bucket": bucket,
        "plain": plain,
        "fernet": tokens,
        "fernet_key": key.decode(),
        "paths": paths,
        **where_sealed,
    }
