"""How many samples of an epoch may be replaced, and replacement in a loader."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, DistributedSampler

import securedata as sd
from securedata.errors import ObjectMissing, TooManyReplaced
from tests.kit.corpora.erasing import lose
from tests.kit.corpora.recorded import Root
from tests.torch.test_replace import many_clips


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Twelve recordings."""
    return many_clips(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """Where the package's warnings go, those of forked workers too."""
    handler = logging.FileHandler(tmp_path / "log")
    logger = logging.getLogger("securedata")
    logger.addHandler(handler)
    yield tmp_path / "log"
    logger.removeHandler(handler)
    handler.close()


# --------------------------------------------------------------------------------------------------------- the limit


def test_more_than_one_percent_of_an_epoch_is_too_many(tmp_path: Path) -> None:
    root = many_clips(tmp_path, 400)
    with sd.EncryptedAudioDataset(root, on_error="replace") as ds:
        lose(root, *(f"a{n:03}.wav" for n in range(5)))
        for epoch in range(3):  # each may replace four, and rows that are gone are asked for again in each
            assert len(ds.__getitems__([0, 1, 2, 3])) == 4
            for begin in range(4, 400, 12):
                ds.__getitems__(list(range(5, 17)))
                assert begin
            assert ds.stats().replaced == 4 * (epoch + 1)
        ds.__getitems__([0, 1])
        with pytest.raises(TooManyReplaced) as caught:
            ds.__getitems__([2, 3, 4])
    error = caught.value
    assert "5 samples of an epoch of 400" in str(error)
    assert "more than 1 %: refresh()" in str(error)
    assert isinstance(error.__cause__, ObjectMissing)
    assert error.object_id is not None
    assert error.object_id.hex() in str(error)
    assert not any(f"a{n:03}.wav" in str(error) for n in range(5))


def test_one_may_always_be_replaced(root: Root) -> None:
    with sd.EncryptedAudioDataset(root, on_error="replace") as ds:
        lose(root, "a004.wav", "a008.wav")
        ds.__getitems__([4])
        with pytest.raises(TooManyReplaced, match="2 samples of an epoch of 12"):
            ds.__getitems__([8])


def test_the_limit_is_that_of_all_workers(tmp_path: Path) -> None:
    root = many_clips(tmp_path, 400)
    for many, fails in ((4, False), (5, True)):
        lose(root, *(f"a{n * 70:03}.wav" for n in range(many)))
        with sd.EncryptedAudioDataset(root, on_error="replace") as ds:
            loader = DataLoader(
                ds, batch_size=10, num_workers=3, multiprocessing_context="fork", collate_fn=sd.pad_collate
            )
            if fails:  # no worker has met more than two
                with pytest.raises(TooManyReplaced, match="samples of an epoch of 400"):
                    list(loader)
            else:
                assert sum(len(batch.lengths) for batch in loader) == 400


# ------------------------------------------------------------------------------------------------------ in a loader


def test_batches_keep_their_size_and_ranks_their_steps(tmp_path: Path, log: Path, generous: None) -> None:
    root = many_clips(tmp_path, 400)
    steps = []
    with sd.EncryptedAudioDataset(root, on_error="replace") as ds:
        lose(root, "a010.wav", "a050.wav", "a090.wav", "a023.wav")
        ds.__getitems__([10])
        for rank in range(2):
            sampler: DistributedSampler[sd.Sample] = DistributedSampler(ds, 2, rank, shuffle=False)
            loader = DataLoader(
                ds,
                batch_size=20,
                sampler=sampler,
                num_workers=2,
                multiprocessing_context="fork",
                collate_fn=sd.pad_collate,
            )
            batches = list(loader)
            assert {len(batch.lengths) for batch in batches} == {20}
            steps.append(len(batches))
            seen = [int(words.removeprefix("row ")) for batch in batches for words in batch.transcript]
            lost = {0: {10: 11, 50: 51, 90: 91}, 1: {23: 24}}[rank]
            assert sorted(seen) == sorted(lost.get(n, n) for n in range(rank, 400, 2))
        assert steps == [10, 10]
        stats = ds.stats()
    assert (stats.replaced, stats.samples) == (5, 401)
    lines = [line for line in log.read_text().splitlines() if not line.startswith("the key of the new corpus")]
    # of this process, of the workers with batches 0 and 2 and with batch 1, and of rank 1's worker with batch 0
    assert len(lines) == 1 + 2 + 1
    assert all("a sample was replaced" in line and "not on storage" in line for line in lines)
    assert not any("a010" in line for line in lines)


def test_no_error_passes_by_a_row_number(tmp_path: Path) -> None:
    """Without batches a loader asks for rows one by one, and hears what each of them is."""
    root = many_clips(tmp_path, 12)
    with sd.EncryptedAudioDataset(root, on_error="replace") as ds:
        lose(root, "a004.wav")
        with pytest.raises(ObjectMissing):
            list(DataLoader(ds, batch_size=None, num_workers=1, multiprocessing_context="fork"))
