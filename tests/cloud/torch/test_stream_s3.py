"""Streams from S3: objects and packs, fetched ahead, in workers, and through a lost answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from torch.utils.data import DataLoader

import securedata as sd
from securedata.storage.base import Download, Wanted
from securedata.storage.s3.store import S3Storage
from tests.kit.corpora.cloud import Cloud
from tests.kit.corpora.recorded import Root
from tests.kit.sources.recordings import clip

pytestmark = pytest.mark.xdist_group("servers")

MANY = 40


@pytest.fixture
def root(cloud: Cloud) -> Root:
    return cloud.make(clips=[clip(f"u{n}.wav", 0.05, seed=n) for n in range(MANY)])


def check(root: Root, samples: list[sd.Sample]) -> None:
    found = {sample.utterance: sample.waveform.numpy() for sample in samples}
    assert len(samples) == MANY
    assert all(np.array_equal(found[one.path.removesuffix(".wav")], one.audio) for one in root.clips)


def test_stream_of_objects_and_of_packs(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Wanted] = []
    real = S3Storage.start

    def note(self: S3Storage, wanted: Sequence[Wanted], in_flight: int) -> Download:
        asked.extend(wanted)
        return real(self, wanted, in_flight)

    with sd.EncryptedAudioStream(root) as stream:
        check(root, list(stream))
        loader = DataLoader(stream, batch_size=4, num_workers=2, multiprocessing_context="fork", collate_fn=list)
        check(root, [sample for batch in loader for sample in batch])
    assert sd.pack(root).objects == MANY
    monkeypatch.setattr(S3Storage, "start", note)
    with sd.EncryptedAudioStream(root) as stream:
        check(root, list(stream))
    assert [one.key.partition("/")[0] for one in asked] == ["manifest", "packs"]  # a part to plan by, and one block


def test_loop_that_ends_early_leaves_nothing_under_way(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("securedata.torch.stream.reading.BLOCK_BYTES", 5_000)
    with sd.EncryptedAudioStream(root) as stream:
        for _ in range(3):
            running = iter(stream)
            next(running)
            running.close()  # type: ignore[attr-defined]  # a generator
        check(root, list(stream))
