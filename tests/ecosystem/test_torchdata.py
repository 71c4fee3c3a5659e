"""torchdata's StatefulDataLoader keeps where streams and samplers are, and other numbers of workers continue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import securedata as sd
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import clip

NAMES = sorted(f"u{n}" for n in range(26))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(tmp_path, [clip(f"{name}.wav", 0.02) for name in NAMES])


@pytest.fixture
def stream(root: Root) -> Iterator[sd.EncryptedAudioStream]:
    with sd.EncryptedAudioStream(root, seed=4) as opened:
        yield opened


def taken(loader: Any, batches: int | None = None) -> list[str]:
    heard: list[str] = []
    for number, batch in enumerate(loader, 1):
        heard += [sample.utterance for sample in batch]
        if number == batches:
            break
    return heard


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_workers_go_on(stream: sd.EncryptedAudioStream, root: Root, workers: int) -> None:
    first = StatefulDataLoader(stream, batch_size=3, num_workers=workers, collate_fn=list)
    heard = taken(first, 3)
    state = first.state_dict()
    with sd.EncryptedAudioStream(root, seed=4) as again:
        second = StatefulDataLoader(again, batch_size=3, num_workers=workers, collate_fn=list)
        second.load_state_dict(state)
        assert sorted(heard + taken(second)) == NAMES


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_other_workers_go_on_from_the_merged_state(stream: sd.EncryptedAudioStream, root: Root, workers: int) -> None:
    first = StatefulDataLoader(stream, batch_size=3, num_workers=2, collate_fn=list)
    heard = taken(first, 5)
    state = sd.merge_state(first.state_dict())
    assert state["runs"] == [[1, 2, 3, 5]]
    with sd.EncryptedAudioStream(root, seed=4) as again:
        again.load_state_dict(state)
        loader = DataLoader(again, batch_size=2, num_workers=workers, collate_fn=list)
        assert sorted(heard + taken(loader)) == NAMES


def test_sampler_goes_on(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        first = StatefulDataLoader(ds, batch_size=3, sampler=sd.ResumableSampler(ds, 1), num_workers=2, collate_fn=list)
        heard = taken(first, 4)
        second = StatefulDataLoader(
            ds, batch_size=3, sampler=sd.ResumableSampler(ds, 1), num_workers=2, collate_fn=list
        )
        second.load_state_dict(first.state_dict())
        assert sorted(heard + taken(second)) == NAMES
