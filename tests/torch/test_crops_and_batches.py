"""Crops of recordings, and batches of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Subset, default_collate
from torch.utils.data._utils.pin_memory import pin_memory

import securedata as sd
from securedata.errors import InvalidArgument
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import Clip, clip, encode

# ------------------------------------------------------------------------------------------------------------ crops


def test_short_clips_come_as_they_are_and_long_ones_are_cut(root: Root) -> None:
    with sd.EncryptedAudioDataset(root, num_frames=8_000, crop="start") as ds:
        for i, one in enumerate(root.clips):
            assert np.array_equal(ds[i].waveform.numpy(), one.audio[:, :8_000])


def test_random_crops_follow_torchs_seed(tmp_path: Path) -> None:
    ramp = (np.arange(30_000) / 32_768).astype(np.float32)[:, None]
    root = make_corpus(tmp_path, [Clip("ramp.wav", encode(ramp, 16_000)), clip("short.wav", 0.01)])

    def starts(seed: int, many: int) -> list[int]:
        torch.manual_seed(seed)
        return [round(ds[0].waveform[0, 0].item() * 32_768) for _ in range(many)]

    with sd.EncryptedAudioDataset(root, num_frames=10_000) as ds:
        assert starts(1, 20) == starts(1, 20)
        assert starts(1, 20) != starts(2, 20)
        drawn = starts(3, 300)
        assert len(set(drawn)) > 250
        assert min(drawn) < 500
        assert 19_500 < max(drawn) <= 20_000
        torch.manual_seed(4)
        before = torch.get_rng_state()
        _ = ds[1]  # nothing to choose: nothing is drawn
        assert torch.equal(torch.get_rng_state(), before)
    with sd.EncryptedAudioDataset(root, num_frames=29_999) as ds:  # both ends can be reached
        assert set(starts(5, 40)) == {0, 1}


def test_transform_runs_last(root: Root) -> None:
    seen: list[tuple[int, ...]] = []

    def transform(waveform: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(waveform.shape))
        return waveform.mean(0, keepdim=True) * 2

    with sd.EncryptedAudioDataset(root, sample_rate=8_000, num_frames=1_000, crop="start", transform=transform) as ds:
        sample = ds[3]
        assert seen == [(2, 1_000)]
        assert sample.waveform.shape == (1, 1_000)
        with sd.EncryptedAudioDataset(root, sample_rate=8_000, num_frames=1_000, crop="start") as plain:
            assert torch.equal(sample.waveform, transform(plain[3].waveform))


# ------------------------------------------------------------------------------------------------------------ batches


def test_pad_collate_pads_the_end(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        samples = [ds[i] for i in (0, 1, 2, 4, 5)]
    batch = sd.pad_collate(samples)
    assert type(batch) is sd.Batch
    assert batch.waveform.shape == (5, 1, 17_640)
    assert batch.waveform.dtype == torch.float32
    assert batch.lengths.dtype == torch.int64
    assert batch.lengths.tolist() == [8_000, 11_200, 9_600, 17_640, 2_400]
    for row, sample, length in zip(batch.waveform, samples, batch.lengths, strict=True):
        assert torch.equal(row[:, :length], sample.waveform)
        assert not row[:, length:].any()
    assert batch.sample_rate == [16_000, 16_000, 16_000, 44_100, 8_000]
    assert batch.transcript == [sample.transcript for sample in samples]
    assert batch.speaker == ["ann", "ann", "ann", "bob", "bob"]
    assert batch.utterance == ["utt0", "utt1", "utt2", "utt1", "utt2"]
    assert batch.extra[-1] == '{"room": 3}'


def test_pad_collate_pads_features_too() -> None:
    samples = [sd.Sample(torch.full((1, 40, n), float(n)), 16_000, "", "", "", "") for n in (3, 5)]
    batch = sd.pad_collate(samples)
    assert batch.waveform.shape == (2, 1, 40, 5)
    assert batch.waveform[0, 0, :, 3:].abs().sum() == 0


def test_pad_collate_says_what_does_not_fit(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        mixed = [ds[0], ds[3]]
    with pytest.raises(InvalidArgument, match=r"\[1, 8000\], \[2, 16000\].*mean"):
        sd.pad_collate(mixed)
    with pytest.raises(InvalidArgument, match="at least one"):
        sd.pad_collate([])
    scalar = sd.Sample(torch.tensor(1.0), 16_000, "", "", "", "")
    with pytest.raises(InvalidArgument, match="length only"):
        sd.pad_collate([scalar, scalar])


def test_batches_are_pinned_as_what_they_are(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    # pinning itself needs an accelerator; that a named tuple survives torch's walk does not
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self.clone())
    with sd.EncryptedAudioDataset(root) as ds:
        batch = sd.pad_collate([ds[0], ds[1]])
        pinned, sample = pin_memory(batch), pin_memory(ds[0])
    assert (type(pinned), type(sample)) == (sd.Batch, sd.Sample)
    assert pinned.waveform is not batch.waveform
    assert torch.equal(pinned.waveform, batch.waveform)
    assert pinned[2:] == batch[2:]


def test_torchs_own_tools_take_it(root: Root) -> None:
    with sd.EncryptedAudioDataset(root, speaker="ann", num_frames=1_000) as ds:
        batch = default_collate([ds[0], ds[1]])
        assert type(batch) is sd.Sample
        assert batch.waveform.shape == (2, 1, 1_000)
        assert batch.sample_rate.tolist() == [16_000, 16_000]
        assert Subset(ds, [2, 0])[1].utterance == ds.get_metadata(0).utterance
