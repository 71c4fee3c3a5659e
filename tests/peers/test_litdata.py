"""LitData over a sealed corpus: what `optimize` makes is a copy of it, and what keeps that copy sealed."""

from __future__ import annotations

from typing import Any

import litdata
import pytest
from litdata.utilities.encryption import FernetEncryption

import securedata as sd
from tests.ecosystem.canary import Places, places
from tests.kit.docs.tree import ROOT
from tests.peers.pages import named

__all__ = ["places"]  # the fixture


def sample(path: str) -> dict[str, Any]:
    return {"path": path, "audio": sd.load(f"securedata://voice-a/{path}")[0].numpy()}


def optimized(**options: Any) -> Any:
    paths = sd.EncryptedAudioDataset("voice-a").metadata.column("path").to_pylist()
    litdata.optimize(
        fn=sample, inputs=paths, output_dir="out", chunk_bytes="1MB", num_workers=1, start_method="fork", **options
    )
    return litdata.StreamingDataset("out", cache_dir="cache", encryption=options.get("encryption"))


def test_optimize_writes(places: Places) -> None:
    made = optimized()
    assert {one["path"] for one in made} == {"ann/0.wav", "ann/1.wav"}
    assert "float32" in places.found(), "it leaves nothing any more: docs/plaintext.md says that it does"


@pytest.mark.parametrize("level", ["sample", "chunk"])
def test_its_own_encryption_leaves_nothing(places: Places, level: str) -> None:
    made = optimized(encryption=FernetEncryption("a password of the test", level=level))
    found = {one["path"]: one["audio"] for one in made}
    assert all((found[path] == sample(path)["audio"]).all() for path in ("ann/0.wav", "ann/1.wav"))
    assert places.found() == {}


def test_a_sealed_corpus_in_its_loader(places: Places) -> None:
    """Its loader asks for a dataset of its own kind: for a sealed corpus use torch's."""
    with pytest.raises(RuntimeError, match="StreamingDataset"):
        litdata.StreamingDataLoader(sd.EncryptedAudioDataset("voice-a"))


def test_the_page_says_so() -> None:
    assert named(ROOT / "docs/plaintext.md", "litdata optimize", "litdata optimize(encryption=)") == []
