"""EncryptedAudioDataset in the workers of a DataLoader, under every start method: real processes, real keys."""

from __future__ import annotations

import faulthandler
import fcntl
import gc
import inspect
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing
from torch.utils.data import DataLoader, Dataset, DistributedSampler

import securedata as sd
from securedata import errors
from securedata.errors import KeysExpired, KMSDenied, KMSUnreachable
from tests.conftest import FULL
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.counting_kms import Counted
from tests.kit.sources.recordings import Clip, clip, encode, noise

METHODS = ["fork", "spawn", pytest.param("forkserver", marks=pytest.mark.full)]

ERRORS = sorted(
    (c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.SecuredataError)),
    key=lambda c: c.__name__,
)


@pytest.fixture
def root(tmp_path: Path, counted: Counted) -> Root:
    made = make_corpus(tmp_path, kms=counted.uri)
    counted.forget()
    return made


def only(samples: list[sd.Sample]) -> sd.Sample:
    """A collate_fn: batches of one, as they are."""
    [sample] = samples
    return sample


# ------------------------------------------------------------------------------------ every sample, and every error


PATH = "/".join(["ann", "of", "cork.wav"])  # not as it stands in the source line, which a traceback shows


class Faulty(Dataset[sd.Sample]):
    """The recordings, and after them one place for every class of error, which is raised there."""

    def __init__(self, dataset: sd.EncryptedAudioDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset) + len(ERRORS)

    def __getitems__(self, batch: list[int]) -> list[sd.Sample]:
        recordings = [i for i in batch if i < len(self.dataset)]
        return self.dataset.__getitems__(recordings) if recordings == batch else [self[i] for i in batch]

    def __getitem__(self, i: int) -> sd.Sample:
        if i < len(self.dataset):
            return self.dataset[i]
        kind = ERRORS[i - len(self.dataset)]
        raise kind(f"{kind.__name__} of object 00ff", root="/corpus", object_id=bytes(16), path=PATH)


@pytest.mark.parametrize("method", METHODS)
def test_every_sample_and_every_error_passes(root: Root, counted: Counted, method: str) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        recordings = len(ds)
        # errors between recordings: what follows an error must still come
        order = list(range(recordings, recordings + len(ERRORS)))
        for i in range(recordings):
            order[i * 6 : i * 6] = [i]
        loader = DataLoader(
            Faulty(ds), batch_size=1, sampler=order, num_workers=2, multiprocessing_context=method, collate_fn=only
        )
        batches = iter(loader)
        for i in order:
            if i < recordings:
                sample = next(batches)
                assert type(sample) is sd.Sample
                assert np.array_equal(sample.waveform.numpy(), root.clips[i].audio)
                assert sample.transcript == root.clips[i].columns["transcript"]
                continue
            kind = ERRORS[i - recordings]
            with pytest.raises(kind) as caught:
                next(batches)
            assert type(caught.value) is kind
            assert f"{kind.__name__} of object 00ff" in str(caught.value)
            assert PATH not in str(caught.value)
        with pytest.raises(StopIteration):
            next(batches)
    assert counted.unwraps == [os.getpid()]  # one for the whole job, by the process that opened the corpus


# -------------------------------------------------------------------------------------------- how many ask the KMS


def utterance(samples: list[sd.Sample]) -> str:
    """A collate_fn: what a batch of one is called."""
    [sample] = samples
    return sample.utterance


@pytest.fixture
def many(tmp_path: Path, counted: Counted) -> Root:
    """Twenty-four recordings."""
    made = make_corpus(tmp_path, [clip(f"ann/{n:02}.wav", 0.02, seed=n) for n in range(24)], kms=counted.uri)
    counted.forget()
    return made


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.full), METHODS[2]])
def test_one_unwrap_for_all_epochs_of_all_workers(many: Root, counted: Counted, method: str) -> None:
    workers, epochs = (8, 3) if FULL or method == "fork" else (2, 2)  # each of the others imports torch
    with sd.EncryptedAudioDataset(many) as ds:
        loader = DataLoader(ds, shuffle=True, num_workers=workers, multiprocessing_context=method, collate_fn=utterance)
        for _ in range(epochs):
            assert sorted(loader) == [f"{n:02}" for n in range(24)]
        assert ds.stats().samples == epochs * 24
        assert ds.stats().kms_calls == 1
    assert counted.unwraps == [os.getpid()]


def _rank(rank: int, ranks: int, root: str, meeting: str) -> None:
    """One rank of a training: two epochs, and what all ranks saw in each."""
    faulthandler.dump_traceback_later(100, exit=True)  # a rank that hangs says where, before the test's time is over
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=ranks)
    try:
        with sd.EncryptedAudioDataset(root) as ds:
            sampler = DistributedSampler(ds, seed=5)
            loader = DataLoader(
                ds, sampler=sampler, num_workers=2, multiprocessing_context="fork", collate_fn=utterance
            )
            orders = []
            for epoch in range(2):
                sampler.set_epoch(epoch)
                mine, seen = list(loader), [[""]] * ranks
                distributed.all_gather_object(seen, mine)
                assert [len(one) for one in seen] == [len(ds) // ranks] * ranks
                assert sorted(name for one in seen for name in one) == [f"{n:02}" for n in range(len(ds))]
                orders.append(mine)
            assert orders[0] != orders[1]
    finally:
        distributed.destroy_process_group()
        faulthandler.cancel_dump_traceback_later()


def test_each_rank_unwraps_once_and_every_sample_comes_once(many: Root, counted: Counted, tmp_path: Path) -> None:
    ranks = multiprocessing.spawn(_rank, (2, str(many), str(tmp_path / "meeting")), nprocs=2, join=False)
    while not ranks.join():  # raises what a rank raised
        pass
    assert sorted(counted.unwraps) == sorted(ranks.pids())


# ------------------------------------------------------------------------------------------------------ descriptors


def _memfds() -> list[bool]:
    """For every descriptor of shared memory in this process: is it closed in a child's exec?"""
    found = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if "memfd:securedata" in os.readlink(f"/proc/self/fd/{fd}"):
                found.append(bool(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC))
        except FileNotFoundError:  # the listing's own descriptor
            continue
    return found


def described(sample: sd.Sample) -> tuple[sd.Sample, list[bool]]:
    """A collate_fn: a sample, and the worker's descriptors of shared memory."""
    return sample, _memfds()


def test_epochs_leak_no_descriptor_and_the_parent_may_close(root: Root, counted: Counted) -> None:
    gc.collect()
    others = len(_memfds())
    ds = sd.EncryptedAudioDataset(root)
    opened = len(_memfds()) - others
    loader = DataLoader(ds, batch_size=None, num_workers=1, multiprocessing_context="spawn", collate_fn=described)
    counts = []
    for epoch in range(2):
        seen = 0
        for sample, closed_in_exec in loader:
            assert np.array_equal(sample.waveform.numpy(), root.clips[seen].audio)
            assert closed_in_exec == [True] * opened  # as many as here, and no child of the worker inherits them
            seen += 1
            if epoch == 1:
                ds.close()  # what the worker holds is its own
        assert seen == len(root.clips)
        del sample
        gc.collect()
        counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[1] <= counts[0]
    assert counted.unwraps == [os.getpid()]
    del loader, ds
    gc.collect()
    assert len(_memfds()) == others


# ------------------------------------------------------------------------------------------------------------- keys


def _slowly(ds: sd.EncryptedAudioDataset, many: int, pause: float = 0.15) -> Iterator[sd.Sample]:
    """`many` samples through two workers that read at most one sample ahead, for as long as the pauses are."""
    places = [k % len(ds) for k in range(many)]
    loader = DataLoader(
        ds,
        batch_size=1,
        sampler=places,
        num_workers=2,
        prefetch_factor=1,
        multiprocessing_context="fork",
        collate_fn=only,
    )
    for sample in loader:
        yield sample
        time.sleep(pause)


def _check(samples: list[sd.Sample], root: Root) -> None:
    for k, sample in enumerate(samples):
        assert np.array_equal(sample.waveform.numpy(), root.clips[k % len(root.clips)].audio)


def test_run_longer_than_the_keys_last_renews(root: Root, counted: Counted) -> None:
    ttl = 0.6
    started = time.monotonic()
    with sd.EncryptedAudioDataset(root, ttl=ttl) as ds:
        samples = list(_slowly(ds, 16))
    elapsed = time.monotonic() - started
    assert len(samples) == 16
    _check(samples, root)
    assert elapsed > 3 * ttl
    assert counted.unwraps[0] == os.getpid()
    workers = set(counted.unwraps) - {os.getpid()}
    assert len(workers) == 2  # each for itself
    (_, opened), *renewals = counted.calls
    for process in {os.getpid(), *workers}:
        times = [opened, *(when for who, when in renewals if who == process)]
        assert all(np.diff(times) >= 0.75 * ttl)  # and not more often than it must


def test_what_was_closed_is_renewed_before_no_fork(root: Root, counted: Counted) -> None:
    with sd.EncryptedAudioDataset(root, ttl=0.1) as ds:
        time.sleep(0.1)
        started = multiprocessing.get_context("fork").Process(target=len, args=(ds,))
        started.start()
        started.join()
        assert len(counted.calls) == 2
    time.sleep(0.1)
    again = multiprocessing.get_context("fork").Process(target=len, args=(ds,))
    again.start()
    again.join()
    assert len(counted.calls) == 2
    assert np.array_equal(ds[0].waveform.numpy(), root.clips[0].audio), "what is read all the same is renewed"


class Timed(Dataset[tuple[sd.Sample, float, float]]):
    """Samples, and when reading each began and ended, by the clock that all processes share."""

    def __init__(self, dataset: sd.EncryptedAudioDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, i: int) -> tuple[sd.Sample, float, float]:
        began = time.monotonic()
        sample = self.dataset[i]
        return sample, began, time.monotonic()


def test_kms_that_is_away_for_a_while_is_waited_for(root: Root, counted: Counted) -> None:
    ttl, pause = 0.5, 1.5
    with sd.EncryptedAudioDataset(root, ttl=ttl, kms_wait=60) as ds:
        loader = DataLoader(
            Timed(ds),
            batch_size=None,
            sampler=[k % len(ds) for k in range(16)],
            num_workers=2,
            prefetch_factor=1,
            multiprocessing_context="fork",
        )
        taken, returned = 0.0, []

        def bring_back() -> None:
            returned.append(time.monotonic())
            counted.bring_back()

        reads = []
        for read in loader:
            reads.append(read)
            if len(reads) == 1:
                counted.take_away()
                counted.forget()
                taken = time.monotonic()
                timer = threading.Timer(ttl + pause, bring_back)
                timer.start()
            time.sleep(0.1)
        timer.join()
    _check([sample for sample, _, _ in reads], root)
    assert len(reads) == 16
    late = [(began, ended) for _, began, ended in reads if taken + ttl < began < returned[0]]
    assert all(ended >= returned[0] for _, ended in late)  # nothing was served by keys that had ended
    assert any(began < returned[0] <= ended for _, began, ended in reads)  # somebody waited
    assert counted.unwraps  # and was given keys again
    assert os.getpid() not in counted.unwraps


def test_kms_that_stays_away_ends_the_run_with_its_cause(root: Root, counted: Counted) -> None:
    with sd.EncryptedAudioDataset(root, ttl=0.4, kms_wait=0.4) as ds:
        counted.take_away()
        samples = []
        with pytest.raises(KeysExpired, match=r"within kms_wait=0.4 s: .*No such file") as caught:
            samples.extend(_slowly(ds, 40))
        assert type(caught.value) is KeysExpired
        assert "worker process" in str(caught.value)
        assert len(samples) < 40
        _check(samples, root)
        with pytest.raises(KeysExpired, match="No such file") as here:
            ds[0]
        assert isinstance(here.value.__cause__, KMSUnreachable)
        counted.bring_back()
        assert np.array_equal(ds[0].waveform.numpy(), root.clips[0].audio)  # no harm is done for ever


def test_kms_that_says_no_is_not_waited_for(root: Root, counted: Counted) -> None:
    with sd.EncryptedAudioDataset(root, ttl=0.2, kms_wait=600) as ds:
        counted.key_file.chmod(0o644)
        time.sleep(0.2)
        started = time.monotonic()
        with pytest.raises(KMSDenied, match="others can read"):
            ds[0]
        assert time.monotonic() - started < 30


# ------------------------------------------------------------------------------------------------------------ seeds


def test_random_crops_in_workers_follow_the_loaders_seed(tmp_path: Path) -> None:
    ramp = (np.arange(30_000) / 32_768).astype(np.float32)[:, None]
    data = encode(ramp, 16_000)
    root = make_corpus(tmp_path, [Clip(f"ramp{n}.wav", data) for n in range(8)] + [clip("short.wav", 0.01)])
    with sd.EncryptedAudioDataset(root, num_frames=1_000) as ds:
        loader = DataLoader(
            ds, batch_size=4, num_workers=2, multiprocessing_context="fork", collate_fn=sd.pad_collate, shuffle=True
        )

        def epochs(seed: int) -> list[list[tuple[str, float]]]:
            torch.manual_seed(seed)
            return [
                [
                    (name, round(float(crop[0, 0]), 5))
                    for batch in loader
                    for name, crop in zip(batch.utterance, batch.waveform, strict=True)
                ]
                for _ in range(2)
            ]

        first, again, other = epochs(1), epochs(1), epochs(2)
    assert first == again
    assert first != other
    assert dict(first[0]) != dict(first[1])  # another crop of each in every epoch
    crops = [start for name, start in first[0] if name.startswith("ramp")]
    assert len(crops) == 8
    assert len(set(crops)) > 4  # and of each recording, also beside each other in two workers


def test_noise_differs_between_clips() -> None:
    # a loader that gave one recording for another would be noticed above
    assert not np.array_equal(noise(0.1, seed=1), noise(0.1, seed=2))
