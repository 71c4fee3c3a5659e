"""Datasets joined with `+` and `concat`, or with a function by `map`: they fetch a batch at once, as one does."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import securedata as sd
from securedata.corpus.reader import Corpus
from securedata.errors import GenerationChanged, InvalidArgument
from tests.kit.corpora.recorded import Root, add_clips, make_corpus, remove_paths
from tests.kit.sources.recordings import clip

pytestmark = pytest.mark.usefixtures("brief_loaders")


@pytest.fixture
def other(tmp_path: Path) -> Root:
    return make_corpus(tmp_path, [clip(f"eve/{n}.wav", 0.05, speaker="eve", seed=n) for n in range(4)], "voice-b")


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many recordings each fetch asked for."""
    counts: list[int] = []
    start = Corpus.start

    def counted(self: Corpus, pieces: Sequence[Any], *args: Any) -> Any:
        counts.append(len(pieces))
        return start(self, pieces, *args)

    monkeypatch.setattr(Corpus, "start", counted)
    return counts


def words(sample: sd.Sample) -> tuple[str, int]:
    """A function for `map`, which workers can import."""
    return sample.utterance, sample.waveform.shape[-1]


def listed(samples: list[Any]) -> list[Any]:
    """A collate_fn."""
    return samples


def same(a: sd.Sample, b: sd.Sample) -> bool:
    return torch.equal(a.waveform, b.waveform) and a[1:] == b[1:]


# --------------------------------------------------------------------------------------------------------------- joined


def test_joined_datasets_are_one(root: Root, other: Root) -> None:
    with sd.EncryptedAudioDataset(root) as a, sd.EncryptedAudioDataset(other, speaker="eve") as b:
        for both in (a + b, sd.concat([a, b]), sd.concat(iter((a, b)))):
            assert len(both) == 10
            assert all(same(both[i], a[i] if i < 6 else b[i - 6]) for i in range(10))
            assert same(both[-1], b[3])
            assert same(both[torch.tensor(6)], b[0])
            assert same(both.__getitems__([np.int64(9), 0, -1])[2], b[3])
            assert both.get_metadata(7) == b.get_metadata(1)
            assert torch.equal(both.lengths, torch.cat([a.lengths, b.lengths]))
            assert both.lengths.dtype == torch.int64
            assert both.speakers == ["ann", "bob", "eve"]
            assert both.metadata.column("path").to_pylist() == [both.get_metadata(i).path for i in range(10)]
            for bad in (10, -11):
                with pytest.raises(IndexError, match=f"recording {bad} of 10"):
                    both[bad]
                with pytest.raises(IndexError):
                    both.__getitems__([0, bad])
            assert isinstance(both, ConcatDataset)  # for what looks
            assert both.cumulative_sizes == [6, 10]
            assert repr(both) == "<2 datasets joined: 10 recordings>"
        assert len(a + b + a) == 16
        assert (a + (b + a)).datasets == [a, b, a]  # flat
        with sd.concat([a, b]):
            pass  # closes both


def test_a_batch_is_one_fetch_of_each_dataset(root: Root, other: Root, fetches: list[int]) -> None:
    with sd.EncryptedAudioDataset(root) as a, sd.EncryptedAudioDataset(other) as b:
        got = (a + a).__getitems__([0, 6, 7, 1])
        assert fetches == [4]  # of one dataset twice also one
        assert same(got[0], got[1])
        assert same(got[2], got[3])
        fetches.clear()
        got = (a + b).__getitems__([6, 0, 7, 3, 8])
        assert sorted(fetches) == [2, 3]
        assert [sample.speaker for sample in got] == ["eve", "ann", "eve", "bob", "eve"]  # in the batch's order
        fetches.clear()
        [batch] = DataLoader(a + b.map(words), batch_size=10, collate_fn=listed)
        assert sorted(fetches) == [4, 6]
        assert batch[6:] == [words(b[i]) for i in range(4)]
        fetches.clear()
        got = Subset((a + b).map(words), [9, 1])
        assert got.__getitems__([0, 1]) == [words(b[3]), words(a[1])]
        assert fetches == [1, 1]


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.full)])
def test_joined_and_mapped_datasets_go_to_workers(root: Root, other: Root, method: str) -> None:
    with sd.EncryptedAudioDataset(root) as a, sd.EncryptedAudioDataset(other) as b:
        both = (a + b + a).map(words)
        loader = DataLoader(both, batch_size=4, num_workers=1, multiprocessing_context=method, collate_fn=listed)
        assert [one for batch in loader for one in batch] == [both[i] for i in range(16)]
        stats = both.stats()
        assert (stats.samples, stats.kms_calls) == (32, 2)  # each dataset counts once, however often it is joined
        assert stats.samples == a.stats().samples + b.stats().samples
    again = pickle.loads(pickle.dumps(both))
    assert again[6] == both[6]
    again.close()


class Tones(Dataset[Tensor]):
    """A dataset of others, with numbers and a length and nothing else."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, i: int) -> Tensor:
        return torch.full((1, 3), float(i))


def test_datasets_of_others_may_be_among_them(root: Root, fetches: list[int]) -> None:
    with sd.EncryptedAudioDataset(root) as a:
        both = a + Tones()
        got = both.__getitems__([7, 0, 6, 1])
        assert fetches == [2]
        assert torch.equal(got[0], torch.ones(1, 3))
        assert same(got[1], a[0])
        assert both.get_metadata(1) == a.get_metadata(1)
        assert both.stats().samples == a.stats().samples
        for ask in (lambda: both.get_metadata(6), lambda: both.lengths, lambda: both.metadata, lambda: both.speakers):
            with pytest.raises(InvalidArgument, match="a Tones among the joined datasets has no"):
                ask()
        only = sd.concat([TensorDataset(torch.arange(3))])
        assert only.stats().samples == 0
        assert not only.refresh()


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "at least one"),
        ("voice-a", r"not str; .* EncryptedAudioDataset\(\['voice-a', 'voice-b'\]\)"),
        (["voice-a", "voice-b"], "not str"),
        ([None], "not NoneType"),
        (5, "not int"),
        ([Stream()], "not Stream|IterableDataset"),
    ],
)
def test_what_cannot_be_joined_is_a_clear_error(given: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        sd.concat(given)


def test_one_dataset_is_a_list_of_one(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as a:
        assert len(sd.concat(a)) == 6
        with pytest.raises(InvalidArgument, match="not int"):
            a + 5  # type: ignore[operator]  # as by mistake


# --------------------------------------------------------------------------------------------------------------- mapped


def test_map_applies_last_and_keeps_the_rest(root: Root, fetches: list[int]) -> None:
    with sd.EncryptedAudioDataset(root, sample_rate=8_000, num_frames=2_000, transform=lambda x: 2 * x) as ds:
        mapped = ds.map(lambda sample: sample.waveform.abs().max()).map(float)
        torch.manual_seed(3)
        want = [float(sample.waveform.abs().max()) for sample in ds.__getitems__([5, 0, 3])]
        torch.manual_seed(3)
        fetches.clear()
        assert mapped.__getitems__([5, 0, 3]) == want
        assert fetches == [3]
        assert isinstance(mapped[0], float)
        assert len(mapped) == 6
        assert torch.equal(mapped.lengths, ds.lengths)
        assert mapped.get_metadata(2) == ds.get_metadata(2)
        assert mapped.metadata.equals(ds.metadata)
        assert mapped.speakers == ds.speakers
        assert mapped.stats().samples == ds.stats().samples
        assert "Encrypted" in repr(mapped)
        with pytest.raises(InvalidArgument, match="takes a function"):
            ds.map(5)  # type: ignore[arg-type]  # as by mistake


class Raises:
    """A function for `map` or `transform`, which fails for one sample of several."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.calls = error, 0

    def __call__(self, value: Any) -> Any:
        self.calls += 1
        if self.calls % 3 == 0:
            raise self.error
        return value


@pytest.mark.parametrize("kind", ["map", "transform", "ds.map", "joined", "twice"])
def test_no_error_of_a_function_ends_a_loop_as_if_that_was_all(root: Root, kind: str) -> None:
    """Python ends a loop over what has numbers, as a `Subset` has, at an IndexError, and one over a loader at a
    StopIteration."""

    def made(error: BaseException) -> Any:
        function = Raises(error)
        option = {kind: function} if kind in ("map", "transform") else {}
        ds = sd.EncryptedAudioDataset(root, **option)  # type: ignore[arg-type]  # one of two
        if kind == "ds.map":
            return ds.map(function)
        if kind == "joined":
            return ds + ds.map(function)
        return ds.map(words).map(function) if kind == "twice" else ds

    with made(IndexError("of mine")) as ds:
        for loop in (ds, Subset(ds, range(len(ds))), ConcatDataset([ds]), reversed(ds)):
            with pytest.raises(RuntimeError, match="raised IndexError") as caught:
                list(loop)
            assert str(caught.value.__cause__) == "of mine"
    for workers in (0, 1):
        with made(StopIteration()) as ds, pytest.raises(RuntimeError, match="StopIteration"):
            list(DataLoader(ds, batch_size=2, num_workers=workers, collate_fn=listed))


def test_a_loop_over_rows_that_a_refresh_takes_away_does_not_end_in_silence(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        rows = iter(ds)
        next(rows)
        remove_paths(root, [ds.get_metadata(n).path for n in range(5)])
        assert ds.refresh()
        with pytest.raises(IndexError):
            list(rows)
        assert len(list(ds)) == len(ds) == 1


def test_map_as_an_option_is_the_same(root: Root, fetches: list[int]) -> None:
    with sd.EncryptedAudioDataset(root) as ds, sd.EncryptedAudioDataset(root, map=words) as mapped:
        assert mapped[1] == words(ds[1])
        fetches.clear()
        assert mapped.__getitems__([4, 2]) == [words(ds[4]), words(ds[2])]
        assert fetches == [2]
        again = pickle.loads(pickle.dumps(mapped))
        assert again[0] == words(ds[0])
        again.close()


# -------------------------------------------------------------------------------------------------------------- refresh


def test_refresh_of_one_moves_the_numbers_of_all(root: Root, other: Root) -> None:
    with sd.EncryptedAudioDataset(root) as a, sd.EncryptedAudioDataset(other) as b:
        both = (a + b).map(words)
        loader = DataLoader(both, batch_size=2, num_workers=1, collate_fn=listed, persistent_workers=True)
        assert [one for batch in loader for one in batch] == [both[i] for i in range(10)]
        assert not both.refresh()
        add_clips(root, [clip("zoe/new.wav", 0.05, speaker="zoe")])
        remove_paths(root, ["ann/utt0.wav", "ann/utt1.flac"])
        assert a.refresh()
        assert len(both) == len(both.lengths) == 9
        assert both.get_metadata(5) == b.get_metadata(0)
        with pytest.raises(GenerationChanged):
            list(loader)


def test_a_worker_that_is_asked_only_for_rows_of_the_other_dataset_raises_too(root: Root, other: Root) -> None:
    with sd.EncryptedAudioDataset(root) as a, sd.EncryptedAudioDataset(other) as b:
        for size in (None, 2):
            both = a + b
            loader = DataLoader(
                both, batch_size=size, sampler=[6, 7], num_workers=1, collate_fn=listed, persistent_workers=True
            )
            list(loader)
            add_clips(root, [clip(f"zoe/{size}.wav", 0.05, speaker="zoe")])
            assert both.refresh()
            with pytest.raises(GenerationChanged):
                list(loader)
