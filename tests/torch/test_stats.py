"""ds.stats(): what all processes of a job have done, while they run and afterwards."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

import securedata as sd
from securedata.corpus.objects.counters import Counters
from securedata.errors import AuthenticationFailed
from securedata.torch.stats import _OWNER, Stats, Tally
from tests.kit.corpora.recorded import Root, flip, make_corpus
from tests.kit.counting_kms import Counted
from tests.kit.sources.recordings import Clip, clip, encode

METHODS = ["fork", *(pytest.param(one, marks=pytest.mark.full) for one in ("spawn", "forkserver"))]


def _wavs(folder: Path, many: int, seconds: float = 0.2) -> Root:
    return make_corpus(folder, [clip(f"a/{n}.wav", seconds, seed=n) for n in range(many)])


def _seconds(stats: Stats) -> float:
    return stats.seconds_fetch + stats.seconds_decrypt + stats.seconds_decode + stats.seconds_wait


# ------------------------------------------------------------------------------------------------------- one process


def test_counts_of_one_process(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        assert ds.stats() == Stats(0, 0, 0.0, 0.0, 0.0, 0.0, 1, 0)
        begun = time.perf_counter()
        for i in range(6):
            _ = ds[i]
        ds.__getitems__([0, 3, 3])
        took = time.perf_counter() - begun
        stats = ds.stats()
        sizes = [len(one.data) for one in root.clips]
        assert (stats.samples, stats.kms_calls, stats.replaced) == (9, 1, 0)
        assert stats.bytes == sum(sizes) + sizes[0] + 2 * sizes[3]
        assert min(stats.seconds_fetch, stats.seconds_decrypt, stats.seconds_decode) > 0
        assert stats.seconds_wait == 0, "nothing had to be waited for"
        assert _seconds(stats) < took


def test_several_corpora_are_one_sum(tmp_path: Path) -> None:
    roots = [make_corpus(tmp_path, [clip("a.wav", 0.2)], name) for name in ("voice-a", "voice-b")]
    with sd.EncryptedAudioDataset(roots) as ds:
        ds.__getitems__([0, 1, 1])
        stats = ds.stats()
        assert (stats.samples, stats.kms_calls) == (3, 2)
        assert stats.bytes == 3 * len(roots[0].clips[0].data)


def test_a_part_of_a_large_recording_is_told_apart_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, (24_000 * 45, 2)).astype(np.float32)
    root = make_corpus(tmp_path, [Clip("a/large.flac", encode(audio, 24_000, "FLAC", "PCM_24"))])
    with sd.EncryptedAudioDataset(root, num_frames=1_000) as ds:
        storage = ds.corpora[0].snapshot.storage
        real = storage.get_ranges

        def slowly(*arguments: object) -> object:
            time.sleep(0.1)
            return real(*arguments)  # type: ignore[arg-type]  # whatever it takes

        monkeypatch.setattr(storage, "get_ranges", slowly)
        begun = time.perf_counter()
        _ = ds[0]
        took = time.perf_counter() - begun
        stats = ds.stats()
        assert stats.seconds_fetch >= 0.1
        assert 0 < stats.seconds_decode < took - 0.1  # reading is not decoding, though it happens meanwhile


def test_what_fails_is_no_sample(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        name = ds.corpora[0].value("object_id", 0).hex()
        flip(Path(root, "objects", name[:2], name))
        for read in (lambda: ds[0], lambda: ds.__getitems__([1, 0])):
            with pytest.raises(AuthenticationFailed):
                read()
        assert ds.stats().samples == 0


def test_threads_lose_nothing(tmp_path: Path) -> None:
    root = _wavs(tmp_path, 8)
    with sd.EncryptedAudioDataset(root) as ds, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda k: ds[k % 8], range(400)))
        stats = ds.stats()
    assert stats.samples == 400
    assert stats.bytes == 50 * sum(len(one.data) for one in root.clips)


def test_calls_of_refresh_count(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        ds.refresh()
        assert ds.stats().kms_calls == 2


# ----------------------------------------------------------------------------------------------------------- workers


@pytest.mark.parametrize("method", METHODS)
def test_workers_count_while_they_run_and_stay_counted(tmp_path: Path, method: str) -> None:
    root = _wavs(tmp_path, 24)
    with sd.EncryptedAudioDataset(root) as ds:
        loader = DataLoader(
            ds,
            batch_size=2,
            num_workers=2,
            prefetch_factor=1,
            multiprocessing_context=method,
            collate_fn=sd.pad_collate,
        )
        for epoch in range(2 if method == "fork" else 1):  # others take ten seconds to start
            batches = iter(loader)
            next(batches)
            live = ds.stats().samples - epoch * 24
            assert 2 <= live <= 8  # the first batch, and what two workers have read ahead
            rest = list(batches)
            assert len(rest) == 11
            stats = ds.stats()
            assert stats.samples == (epoch + 1) * 24
            assert stats.bytes == (epoch + 1) * sum(len(one.data) for one in root.clips)
            assert stats.kms_calls == 1
        del batches
        assert ds.stats() == stats


def test_a_thousand_workers_need_few_lines(tmp_path: Path) -> None:
    with sd.EncryptedAudioDataset(_wavs(tmp_path, 4)) as ds:
        for _ in range(5):
            list(DataLoader(ds, batch_size=2, num_workers=2, multiprocessing_context="fork", collate_fn=sd.pad_collate))
        assert ds.stats().samples == 20
        assert len(ds._tally._used()) <= 5  # this process, two workers, and two that had just ended


def test_a_killed_worker_stays_counted(tmp_path: Path) -> None:
    with sd.EncryptedAudioDataset(_wavs(tmp_path, 4)) as ds:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            ds.__getitems__([0, 1, 2])
            os.write(writer, b".")
            signal.pause()
        os.read(reader, 1)
        assert ds.stats().samples == 3
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert ds.stats().samples == 3
        [own] = [int(line[_OWNER]) for line in ds._tally._used() if int(line[_OWNER]) != child]
        assert own == os.getpid()
        # the next one takes over its line, and counts on from there
        if (child := os.fork()) == 0:
            _ = ds[0]
            os._exit(0)
        os.waitpid(child, 0)
        assert ds.stats().samples == 4
        assert len(ds._tally._used()) == 2
        os.close(reader)
        os.close(writer)


def test_many_processes_at_once_have_a_line_each(tmp_path: Path) -> None:
    """All claim in the same moment; two on one line would lose counts."""
    many, each = 24, 5
    with sd.EncryptedAudioDataset(_wavs(tmp_path, 2)) as ds:
        waiting, go = os.pipe()
        done, stop = os.pipe()
        children = []
        for _ in range(many):
            if (child := os.fork()) == 0:
                os.close(go)
                os.close(stop)
                os.read(waiting, 1)  # until the other end is closed
                for _ in range(each):
                    _ = ds[0]
                os.read(done, 1)
                os._exit(0)
            children.append(child)
        os.close(go)
        end = time.monotonic() + 60
        while ds.stats().samples < many * each and time.monotonic() < end:
            time.sleep(0.02)
        os.close(stop)
        for child in children:
            os.waitpid(child, 0)
        os.close(waiting)
        os.close(done)
        assert ds.stats().samples == many * each
        assert len(ds._tally._used()) == many + 1


def test_waiting_for_keys_is_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(tmp_path)
    monkeypatch.syspath_prepend(str(counted.installed))
    root = make_corpus(tmp_path, kms=counted.uri)
    with sd.EncryptedAudioDataset(root, ttl=0.3, kms_wait=60) as ds:
        counted.take_away()
        timer = threading.Timer(1.5, counted.bring_back)
        timer.start()
        time.sleep(0.3)
        _ = ds[0]
        timer.join()
        stats = ds.stats()
        assert 1.0 < stats.seconds_wait < 10
        assert stats.seconds_fetch < 1.0
        assert stats.kms_calls > 1


def test_any_other_pickle_begins_anew(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        _ = ds[0]
        with pickle.loads(pickle.dumps(ds)) as again:
            assert again.stats() == Stats(0, 0, 0.0, 0.0, 0.0, 0.0, 1, 0)
            _ = again[1]
        assert ds.stats().samples == 1


@pytest.mark.quiet
def test_counting_costs_less_than_two_microseconds() -> None:
    tally, counters = Tally(), [Counters(1, 2, 3, 0.5, 0.5, 0.5)]
    rounds = []
    for _ in range(20):
        begun = time.process_time()
        for _ in range(1_000):
            tally.samples += 1
            tally.publish(counters)
        rounds.append((time.process_time() - begun) / 1_000)
    assert min(rounds) < 2e-6, f"{min(rounds) * 1e6:.2f} us"
