"""ResumableSampler: the rows of a map-style dataset in an order that goes on where it was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from torch.utils.data import BatchSampler, ConcatDataset, DataLoader, Subset

import securedata as sd
from securedata.errors import GenerationChanged, InvalidArgument
from tests.kit.corpora.recorded import Root, add_clips, make_corpus
from tests.kit.sources.recordings import clip


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(tmp_path, [clip(f"u{n}.wav", 0.02, seed=n) for n in range(20)])


def test_epoch_goes_on_with_other_ranks(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        samplers = [sd.ResumableSampler(ds, seed=2, rank=rank, world=2) for rank in range(2)]
        heard = []
        for sampler in samplers:
            loader = DataLoader(ds, batch_size=3, sampler=sampler, num_workers=2, collate_fn=list)
            for step, batch in enumerate(loader, 1):
                heard += [sample.utterance for sample in batch]
                if step == 2:
                    break
            state = sampler.state_dict(loader, 2)
        assert len(set(heard)) == 12
        alone = sd.ResumableSampler(ds, seed=2)
        alone.load_state_dict(state)
        assert len(alone) == 8
        heard += [ds[i].utterance for i in alone]
    assert sorted(heard) == sorted(f"u{n}" for n in range(20))


def test_what_was_drawn_is_the_state_without_workers(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        sampler = sd.ResumableSampler(ds + ds)
        drawing = iter(sampler)
        drawn = [next(drawing) for _ in range(7)]
        again = sd.ResumableSampler(ds + ds)
        again.load_state_dict(sampler.state_dict())
        assert sorted([*drawn, *again]) == list(range(40))
        again.set_epoch(1)
        assert sorted(again) == list(range(40))
        assert list(again) != list(sampler)


def test_other_rows_are_refused(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        sampler = sd.ResumableSampler(ds)
        next(iter(sampler))
        state = sampler.state_dict()
        with pytest.raises(InvalidArgument, match="of other rows"):
            sd.ResumableSampler(ds + ds).load_state_dict(state)
        add_clips(root, [clip("more.wav", 0.02)])
        ds.refresh()
        with pytest.raises(InvalidArgument, match="make a new sampler"):
            iter(sampler)
        with pytest.raises(GenerationChanged):
            sd.ResumableSampler(ds).load_state_dict(state)


def test_as_many_other_rows_are_refused(root: Root) -> None:
    def state_of(dataset: Any) -> dict[str, Any]:
        sampler = sd.ResumableSampler(dataset)
        next(iter(sampler))
        return sampler.state_dict()

    with sd.EncryptedAudioDataset(root) as ds:
        head, tail = Subset(ds, range(10)), Subset(ds, range(10, 20))
        few = sd.EncryptedAudioDataset(root, filter=pc.field("utterance").isin([f"u{n}" for n in range(10)]))
        many = sd.EncryptedAudioDataset(root, filter=pc.field("utterance").isin([f"u{n}" for n in range(10, 20)]))
        whole = [head + tail, tail + head]
        for one, other in ((head, tail), (tail, head), (few, many), whole, whole[::-1]):
            state = state_of(one)
            sd.ResumableSampler(one).load_state_dict(state)
            with pytest.raises(InvalidArgument, match="of other rows"):
                sd.ResumableSampler(other).load_state_dict(state)
        sd.ResumableSampler(Subset(ds.map(len), list(range(10)))).load_state_dict(state_of(head))  # the same rows
        few.close()
        many.close()


def test_batch_sampler_says_how_large_its_batches_are(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        sampler = sd.ResumableSampler(ds, seed=2)
        loader = DataLoader(ds, batch_sampler=BatchSampler(sampler, 3, drop_last=False), num_workers=2, collate_fn=list)
        heard = []
        for step, batch in enumerate(loader, 1):
            heard += [sample.utterance for sample in batch]
            if step == 4:
                break
        sampler.load_state_dict(sampler.state_dict(loader, 4))
        assert len(sampler) == 8
        heard += [ds[i].utterance for i in sampler]
        assert sorted(heard) == sorted(f"u{n}" for n in range(20))
        of_others = DataLoader(ds, batch_sampler=[[0], [1, 2]], collate_fn=list)
        with pytest.raises(InvalidArgument, match="batches of which sizes"):
            sampler.state_dict(of_others, 1)


def test_workers_that_read_ahead_need_the_steps_of_the_loop(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        sampler = sd.ResumableSampler(ds)
        loader = DataLoader(ds, batch_size=2, sampler=sampler, num_workers=2, collate_fn=list)
        next(iter(loader))
        with pytest.raises(InvalidArgument, match=r"state_dict\(loader, steps\)"):
            sampler.state_dict()
        assert sampler.state_dict(loader, 1)["runs"] == [[1, 1, 2, 1]]
        alone = DataLoader(ds, batch_size=2, sampler=sampler, collate_fn=list)
        next(iter(alone))
        assert sampler.state_dict()["runs"] == [[1, 1, 1, 2]]


def test_rows_of_a_subset_are_those_of_its_corpus(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        half = ConcatDataset([Subset(Subset(ds, range(10)), range(8))])
        sampler = sd.ResumableSampler(half)
        next(iter(sampler))
        state = sampler.state_dict()
        add_clips(root, [clip("more.wav", 0.02)])
        ds.refresh()
        with pytest.raises(InvalidArgument, match="make a new sampler"):
            iter(sampler)
        with pytest.raises(GenerationChanged):
            sd.ResumableSampler(half).load_state_dict(state)
