"""A batch of an EncryptedAudioDataset: what its recordings are one by one, fetched together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import securedata as sd
from securedata.corpus.objects.fetch import ObjectBatch, Piece
from securedata.corpus.opening import open_corpus
from securedata.errors import AuthenticationFailed, ObjectMissing, UndecodableMedia
from securedata.storage.base import BATCH_BYTES
from securedata.storage.local import LocalStorage
from securedata.torch import workers
from tests.kit.corpora.recorded import flip, make_corpus
from tests.kit.corpora.rows import add, in_folder
from tests.kit.sources.recordings import Clip, clip, encode, noise, some_clips

ORDER = [5, 0, -1, 3, 3, 8, 6, 1, 2, 4, 7]


@pytest.fixture
def roots(tmp_path: Path) -> list[str]:
    second = [
        clip("c/utt0.wav", 0.5, channels=3, seed=7),
        clip("c/utt1.flac", 0.5, seed=8, segments=[(10, 700), (4_000, 4_000)]),
    ]
    return [make_corpus(tmp_path, some_clips(), "voice-a"), make_corpus(tmp_path, second, "voice-b")]


def _same(batch: list[sd.Sample], singles: list[sd.Sample]) -> None:
    assert len(batch) == len(singles)
    for one, other in zip(batch, singles, strict=True):
        assert torch.equal(one.waveform, other.waveform)
        assert one[1:] == other[1:]


@pytest.mark.parametrize("options", [{}, {"sample_rate": 11_025}, {"num_frames": 3_000}])
def test_batch_is_its_recordings(roots: list[str], options: dict[str, Any]) -> None:
    with sd.EncryptedAudioDataset(roots, crop="start", **options) as ds:
        assert len(ds) == 9
        _same(ds.__getitems__(ORDER), [ds[i] for i in ORDER])
        assert ds.__getitems__([]) == []
        with pytest.raises(IndexError, match="9 of 9"):
            ds.__getitems__([0, 9])


@pytest.mark.parametrize("sample_rate", [None, 8_000])
def test_crops_of_a_batch_are_those_of_its_recordings(roots: list[str], sample_rate: int | None) -> None:
    with sd.EncryptedAudioDataset(roots, num_frames=1_000, sample_rate=sample_rate) as ds:
        torch.manual_seed(1)
        singles = [ds[i] for i in ORDER]
        torch.manual_seed(1)
        _same(ds.__getitems__(ORDER), singles)


def _dithered(waveform: torch.Tensor) -> torch.Tensor:
    return waveform + torch.rand(())


def test_transforms_run_in_the_batchs_order(roots: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # what lands first is a matter of chance, what a seed gives must not be
    with sd.EncryptedAudioDataset(roots, transform=_dithered) as ds, sd.EncryptedAudioDataset(roots) as plain:
        torch.manual_seed(2)
        batch = ds.__getitems__(ORDER)
        torch.manual_seed(2)
        for sample, before in zip(batch, plain.__getitems__(ORDER), strict=True):
            assert torch.equal(sample.waveform, _dithered(before.waveform))
        real = LocalStorage.get_many

        def backwards(self: LocalStorage, wanted: Any, in_flight: int) -> Iterator[Any]:
            return iter(list(real(self, wanted, in_flight))[::-1])

        monkeypatch.setattr(LocalStorage, "get_many", backwards)
        torch.manual_seed(2)
        _same(ds.__getitems__(ORDER), batch)


def test_batch_is_fetched_in_one_go_for_each_corpus(roots: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []
    real = LocalStorage.get_many

    def tracked(self: LocalStorage, wanted: Any, in_flight: int) -> Any:
        calls.append((len(wanted), in_flight))
        return real(self, wanted, in_flight)

    monkeypatch.setattr(LocalStorage, "get_many", tracked)
    with sd.EncryptedAudioDataset(roots) as ds:
        ds.__getitems__(ORDER)
        assert [count for count, _ in calls] == [7, 4]
        assert {in_flight for _, in_flight in calls} == {256 * 1024 * 1024}
        # each of four workers takes its share of what a job may have under way
        monkeypatch.setattr(workers, "get_worker_info", lambda: type("Info", (), {"num_workers": 4}))
        calls.clear()
        ds.__getitems__(ORDER)
        assert {in_flight for _, in_flight in calls} == {64 * 1024 * 1024}


def test_part_of_a_large_recording_is_in_a_batch_too(tmp_path: Path) -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, (24_000 * 45, 2)).astype(np.float32)
    large = Clip("a/large.flac", encode(audio, 24_000, "FLAC", "PCM_24"))
    root = make_corpus(tmp_path, [clip("a/small.wav", 0.5), large])
    with sd.EncryptedAudioDataset(root, num_frames=1_000) as ds:
        torch.manual_seed(3)
        singles = [ds[i] for i in (0, 1, 1, 0)]
        torch.manual_seed(3)
        _same(ds.__getitems__([0, 1, 1, 0]), singles)


def _object(root: str, ds: sd.EncryptedAudioDataset, i: int) -> Path:
    name = ds.corpora[0].value("object_id", i).hex()
    return Path(root, "objects", name[:2], name)


def test_first_error_of_a_batch_is_raised(roots: list[str], tmp_path: Path) -> None:
    text = Clip("x/text.flac", b"no audio", columns={"format": "FLAC", "subtype": "PCM_16", "sample_rate": 16_000,
                                                      "channels": 1, "frames": 100})  # fmt: skip
    root = make_corpus(tmp_path, [clip(f"x/{n}.wav", 0.2, seed=n) for n in range(4)] + [text], "voice-c")
    with sd.EncryptedAudioDataset(root) as ds:
        flip(_object(root, ds, 1))
        _object(root, ds, 2).unlink()
        for order, error, i in (
            ([0, 1, 2, 4, 3], AuthenticationFailed, 1),
            ([0, 2, 1, 4, 3], ObjectMissing, 2),
            ([4, 2, 1], UndecodableMedia, 4),
        ):
            with pytest.raises(error) as caught:
                ds.__getitems__(order)
            assert caught.value.object_id == ds.corpora[0].value("object_id", i)
        _same(ds.__getitems__([3, 0]), [ds[3], ds[0]])  # and the next batch comes


def test_noise_is_not_the_same_twice() -> None:
    assert not np.array_equal(noise(0.1, seed=7), noise(0.1, seed=8))


def test_what_landed_together_is_opened_together(tmp_path: Path) -> None:
    reference, writer = in_folder(tmp_path / "corpus")
    # one that is larger than what is handed over together, among some that share it
    sizes = [10_000, 200_000, 3 * BATCH_BYTES, 0, 300_000, BATCH_BYTES, 150_000, 90_000]
    contents = {f"a/{number}.bin": os.urandom(size) for number, size in enumerate(sizes)}
    add(writer, contents)
    with open_corpus(reference) as corpus:
        pieces = [Piece(corpus.find(path)) for path in contents]
        batch = ObjectBatch(pieces, corpus.index, corpus.corpus_id, corpus.root)
        groups = list(corpus.snapshot.storage.get_batches(batch.wanted, 1 << 28))
        assert [[at for at, _ in group] for group in groups] == [[0, 1, 2], [3, 4, 5], [6, 7]]
        read = dict(corpus.read_many(pieces))
        assert [read[at] for at in range(len(sizes))] == list(contents.values())
