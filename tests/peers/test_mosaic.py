"""MosaicML Streaming over a sealed corpus: its writer and cache are copies in files; its loader takes our datasets."""

from __future__ import annotations

from typing import Any

import pytest
import streaming
from streaming.base.util import clean_stale_shared_memory

import securedata as sd
from tests.ecosystem.canary import WORD, Places, places
from tests.kit.docs.tree import ROOT
from tests.peers.pages import named

__all__ = ["places"]  # the fixture


def write(out: str) -> None:
    with streaming.MDSWriter(out=out, columns={"text": "str", "audio": "ndarray:float32"}) as writer:
        for one in sd.EncryptedAudioDataset("voice-a"):
            writer.write({"text": one.transcript, "audio": one.waveform.numpy()})


def test_its_writer_writes(places: Places) -> None:
    write("out")
    found = places.found()
    assert {"words", "float32"} <= found.keys(), "it leaves nothing any more: docs/plaintext.md says that it does"


def test_its_cache_is_a_copy(places: Places) -> None:
    write("remote")
    streamed = streaming.StreamingDataset(remote="remote", local="local", batch_size=1)
    try:
        assert [one["text"] for one in streamed] == [WORD] * 2
        assert list(places.here.glob("local/*.mds"))
    finally:
        del streamed
        clean_stale_shared_memory()


def test_a_sealed_url_is_not_fetched(places: Places) -> None:
    """It knows no fsspec, so that nothing of ours is asked, and nothing is copied."""
    with pytest.raises(ValueError, match="securedata"):
        streaming.StreamingDataset(remote="securedata://files", local="local", batch_size=1)
    clean_stale_shared_memory()
    assert places.found() == {}


def test_a_sealed_corpus_in_its_loader(places: Places) -> None:
    def collate(samples: list[Any]) -> Any:
        return sd.pad_collate(samples).waveform

    ds = sd.EncryptedAudioDataset("voice-a")
    loader = streaming.StreamingDataLoader(ds, batch_size=2, num_workers=1, collate_fn=collate)
    [batch] = loader
    assert batch.shape[0] == loader.num_samples_yielded == 2
    assert places.found() == {}


def test_the_page_says_so() -> None:
    assert named(ROOT / "docs/plaintext.md", "streaming.MDSWriter", "streaming.StreamingDataset") == []
