"""A crop of a long recording on S3 costs little more than the crop: bytes counted between us and the server."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
import torch

import securedata as sd
from securedata.corpus.objects.file import READ_AHEAD
from securedata.media.audio.plan import WHOLE
from tests.conftest import FULL
from tests.kit.cloud.forward import Forward, forward
from tests.kit.corpora.cloud import Cloud
from tests.kit.corpora.recorded import Root
from tests.kit.sources.recordings import Clip, read

pytestmark = pytest.mark.xdist_group("servers")

RATE = 16_000
CROP = 5 * RATE
CROP_BYTES = 2 * CROP
MOST = int(1.15 * CROP_BYTES) + 40_000


def recording(cloud: Cloud, between: Forward, seconds: int, format: str) -> Root:
    """A corpus of one long recording, 16 bit mono, that is read through the forwarder.

    Loud and quiet in turns as speech is, so that a compressed second has any size; no crop is like another.
    """
    random = np.random.default_rng(1)
    loud = random.integers(0, 12, (seconds, 1), np.int16)  # bits less
    audio = (random.integers(-20_000, 20_000, (seconds, RATE), np.int16) >> loud).reshape(-1)
    file = io.BytesIO()
    soundfile.write(file, audio, RATE, format=format, subtype="PCM_16")
    endpoint = f"http://127.0.0.1:{between.port}"
    return cloud.make("contractor-a", [Clip(f"ann/long.{format.lower()}", file.getvalue())], endpoint=endpoint)


def one(ds: sd.EncryptedAudioDataset) -> sd.Sample:
    return ds[0]


def in_a_batch(ds: sd.EncryptedAudioDataset) -> sd.Sample:
    [sample] = ds.__getitems__([0])
    return sample


def crop(
    ds: sd.EncryptedAudioDataset, root: Root, seed: int, take: Callable[[sd.EncryptedAudioDataset], sd.Sample]
) -> None:
    """Take a random crop, and see that it is the right one."""
    torch.manual_seed(seed)
    start = int(torch.randint(int(ds.metadata.column("frames")[0].as_py()) - CROP + 1, ()))
    torch.manual_seed(seed)
    waveform = take(ds).waveform
    assert np.array_equal(waveform.numpy(), read(root.clips[0].data, start, CROP))


@pytest.mark.parametrize("take", [one, in_a_batch])
def test_a_crop_of_a_long_wav_fetches_the_crop(
    cloud: Cloud, take: Callable[[sd.EncryptedAudioDataset], sd.Sample]
) -> None:
    seconds = 3_600 if FULL else 600
    with forward(cloud.weed.endpoint) as between:
        root = recording(cloud, between, seconds, "WAV")
        assert len(root.clips[0].data) > 2 * seconds * RATE
        with sd.EncryptedAudioDataset(root.reference, num_frames=CROP) as ds:
            for seed in range(3):
                bytes_before, received, asked = ds.stats().bytes, between.received, len(between.requests)
                crop(ds, root, seed, take)
                assert CROP_BYTES < between.received - received <= MOST
                assert between.requests[asked:] == [between.requests[asked]] * 2  # the header, and the chunks
                assert ds.stats().bytes - bytes_before == CROP_BYTES


def test_a_crop_of_a_long_flac_fetches_a_part(cloud: Cloud) -> None:
    with forward(cloud.weed.endpoint) as between:
        root = recording(cloud, between, 3_600 if FULL else 600, "FLAC")
        size = len(root.clips[0].data)
        assert size > 2 * WHOLE
        with sd.EncryptedAudioDataset(root.reference, num_frames=CROP) as ds:
            for seed in range(3):
                bytes_before, received = ds.stats().bytes, between.received
                crop(ds, root, seed, one)
                # the frames have any length: the decoder looks here and there until it is at the crop's beginning
                decrypted, received = ds.stats().bytes - bytes_before, between.received - received
                assert CROP_BYTES / 4 < decrypted <= 12 * READ_AHEAD
                assert decrypted < received < 1.15 * decrypted
                assert received < size / 4
