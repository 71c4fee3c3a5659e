"""EncryptedFeatureDataset: samples, batches, workers, errors, and which rows it takes."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import securedata as sd
from securedata.errors import AuthenticationFailed, InvalidArgument, SubjectErased, UndecodableMedia
from securedata.torch.sample import FeatureBatch, FeatureSample
from tests.kit.corpora.erasing import erase, lose
from tests.kit.corpora.featured import array, features, make_features, some_features
from tests.kit.corpora.recorded import Root, add_clips, flip_object, make_corpus, remove_paths
from tests.kit.counting_kms import Counted
from tests.kit.sources.recordings import clip


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_features(tmp_path)


def expected() -> list[np.ndarray]:
    return [array(12), array(7, seed=1), array(20, channels=2, dtype="float32", seed=2), array(3, seed=3)]


def test_sample_is_the_array_and_the_words(root: Root) -> None:
    with sd.EncryptedFeatureDataset(root) as ds:
        assert len(ds) == 4
        for sample, content, row in zip(ds, expected(), some_features(), strict=True):
            assert type(sample) is FeatureSample
            found, transcript, speaker, utterance, extra = sample
            assert np.array_equal(found.numpy(), content)
            assert found.numpy().dtype == content.dtype
            assert transcript == row.columns.get("transcript", "")
            assert (speaker, utterance) == (row.speaker, row.path[4:9])
            assert extra == row.columns.get("extra", "")
            found += 1  # its own memory
        assert ds.lengths.tolist() == [12, 7, 20, 3]
        assert ds.speakers == ["ann", "bob", "eve"]
        assert ds.get_metadata(0).path == "ann/0.wav.npy"
        assert repr(ds[0]).startswith("FeatureSample(features=float16 [1, 5, 12], transcript=<4 characters>")
        assert repr(ds).startswith("<EncryptedFeatureDataset of features-a: 4")


def test_rows_are_chosen_and_changed_as_in_the_audio_dataset(root: Root) -> None:
    with sd.EncryptedFeatureDataset(root, speaker="ann", transform=torch.Tensor.float, map=tuple) as ds:
        assert [len(one) for one in ds] == [5, 5]
        assert ds[0][0].dtype == torch.float32
    with sd.EncryptedFeatureDataset(root, duration=(0.05, None), split="train") as ds:
        assert [ds.get_metadata(i).path for i in range(len(ds))] == ["bob/0.wav.npy"]


def test_a_batch_is_padded(root: Root) -> None:
    with sd.EncryptedFeatureDataset(root, speaker="ann") as ds:
        [batch] = DataLoader(ds, batch_size=2, collate_fn=sd.pad_collate)
    assert type(batch) is FeatureBatch
    assert (batch.features.shape, batch.features.dtype) == ((2, 1, 5, 12), torch.float16)
    assert batch.lengths.tolist() == [12, 7]
    assert np.array_equal(batch.features[1, :, :, :7].numpy(), array(7, seed=1))
    assert batch.features[1, :, :, 7:].abs().sum() == 0
    assert batch.transcript == ["eins", ""]
    with sd.EncryptedFeatureDataset(root) as ds, pytest.raises(InvalidArgument, match="the features of one batch"):
        sd.pad_collate(list(ds))


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.full)])
def test_workers_get_it_without_another_unwrap(tmp_path: Path, counted: Counted, method: str) -> None:
    root = make_features(tmp_path, kms=counted.uri)
    counted.forget()
    with sd.EncryptedFeatureDataset(root) as ds:
        loader = DataLoader(
            ds, batch_size=3, num_workers=1 + (method == "fork"), multiprocessing_context=method, collate_fn=list
        )
        found = [sample for batch in loader for sample in batch]
        assert [one.features.shape for one in found] == [content.shape for content in expected()]
        assert all(
            np.array_equal(one.features.numpy(), content) for one, content in zip(found, expected(), strict=True)
        )
        assert (ds.stats().samples, ds.stats().kms_calls) == (4, 1)
    assert len(counted.unwraps) == 1


def test_another_pickle_has_no_key_and_opens_the_corpus(root: Root) -> None:
    with sd.EncryptedFeatureDataset(root) as ds:
        data = pickle.dumps(ds)
        assert bytes(ds.corpora[0].index.key(0)) not in data
        with pickle.loads(data) as again:
            assert np.array_equal(again[2].features.numpy(), expected()[2])


def test_a_refresh_takes_new_rows(root: Root) -> None:
    with sd.EncryptedFeatureDataset(root) as ds:
        assert not ds.refresh()
        add_clips(root, [features("zoe/0.wav.npy", array(9), speaker="zoe")])
        assert ds.refresh()
        assert ds.lengths.tolist() == [12, 7, 20, 3, 9]


# ------------------------------------------------------------------------------------------------------------- errors


def test_an_object_that_is_not_what_its_row_says(tmp_path: Path) -> None:
    rows = [
        features("a.npy", array(4), feature_frames=5),
        features("b.npy", array(4), subtype="FLOAT32"),
        features("c.npy", array(4), channels=2),
    ]
    rows.append(type(rows[0])("d.npy", b"RIFF", columns=rows[0].columns))
    root = make_features(tmp_path, rows)
    with sd.EncryptedFeatureDataset(root) as ds:
        for i, reason in enumerate(("its row says", "its row says", "its row says", "begin like a .npy")):
            with pytest.raises(UndecodableMedia, match=reason) as caught:
                ds[i]
            assert caught.value.path == rows[i].path
        found = ds.outcomes(range(4))
        assert [type(one) for one in found] == [UndecodableMedia] * 4


def test_flipped_and_lost_objects(root: Root, generous: None) -> None:
    lose(root, "ann/1.wav.npy")
    flip_object(root, "eve/0.wav.npy")
    with sd.EncryptedFeatureDataset(root, on_error="replace") as ds:
        batch = ds.__getitems__([0, 1])  # the lost one is replaced by the next
        assert [one.features.shape[2] for one in batch] == [12, 20]
        with pytest.raises(AuthenticationFailed):
            ds.__getitems__([3])
        assert ds.stats().replaced == 1


def test_an_erased_person_is_replaced(root: Root, generous: None) -> None:
    with sd.EncryptedFeatureDataset(root) as ds, sd.EncryptedFeatureDataset(root, on_erased="raise") as strict:
        erase(root, "ann")
        assert [one.speaker for one in ds.__getitems__([0, 2])] == ["bob", "bob"]
        with pytest.raises(SubjectErased):
            strict[0]
        assert isinstance(strict.outcomes([1])[0], SubjectErased)


def test_recordings_are_not_features_and_the_reverse(tmp_path: Path, root: Root) -> None:
    recordings = make_corpus(tmp_path, [clip("ann/0.wav")], "voice-a")
    with pytest.raises(InvalidArgument, match=r"not features \(WAV\).*EncryptedAudioDataset"):
        sd.EncryptedFeatureDataset(recordings)
    with pytest.raises(InvalidArgument, match=r"features, not recordings: .*EncryptedFeatureDataset"):
        sd.EncryptedAudioDataset(root)
    add_clips(root, [clip("ann/1.wav")])
    with pytest.raises(InvalidArgument, match="filter="):
        sd.EncryptedFeatureDataset(root)
    import pyarrow.compute as pc

    with sd.EncryptedFeatureDataset(root, filter=pc.field("format") == "NPY") as ds:
        assert len(ds) == 4
    with sd.EncryptedAudioDataset(root, filter=pc.field("format") != "NPY") as ds:
        assert len(ds) == 1


def test_rows_that_are_gone_close_like_others(root: Root) -> None:
    with sd.EncryptedFeatureDataset(root) as ds:
        remove_paths(root, ["ann/0.wav.npy"])
        assert ds.refresh()
        assert len(ds) == 3
