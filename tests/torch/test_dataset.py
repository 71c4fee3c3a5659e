"""EncryptedAudioDataset in one process: samples, rows, crops, and what its pickle and repr hold."""

from __future__ import annotations

import copy
import gc
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from torch.utils.data import Subset, default_collate

import securedata as sd
from securedata.errors import ConfigError, InvalidArgument, KMSUnreachable, NotACorpus, PinMismatch, RowReplaced
from securedata.torch.sample import Metadata
from tests.kit.cli.process import output_of
from tests.kit.corpora.recorded import Root, add_clips, make_corpus, remove_paths
from tests.kit.docs.tree import ROOT
from tests.kit.sources.recordings import Clip, clip, encode, noise, some_clips


def by_path(ds: sd.EncryptedAudioDataset) -> dict[str, int]:
    return {ds.get_metadata(i).path: i for i in range(len(ds))}


# ---------------------------------------------------------------------------------------------------------- samples


def test_sample_is_what_the_manifest_says(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        assert len(ds) == 6
        places = by_path(ds)
        for one in root.clips:
            sample = ds[places[one.path]]
            assert type(sample) is sd.Sample
            waveform, sample_rate, transcript, speaker, utterance, extra = sample
            assert np.array_equal(waveform.numpy(), one.audio)
            assert waveform.dtype == torch.float32
            assert sample_rate == ds.corpora[0].value("sample_rate", places[one.path])
            assert transcript == one.columns["transcript"]
            assert (speaker, utterance) == (one.speaker, one.path[4:8])
            assert extra == one.columns.get("extra", "")


def test_metadata_is_the_sample_without_audio(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        for i in range(len(ds)):
            found = ds.get_metadata(i)
            assert type(found) is Metadata
            assert found[1:] == ds[i][1:]
    with sd.EncryptedAudioDataset(root, sample_rate=22_050) as ds:
        for i in range(len(ds)):
            assert ds.get_metadata(i).sample_rate == ds[i].sample_rate == 22_050
        before = ds.corpora[0].counters.objects
        ds.get_metadata(0)
        assert ds.corpora[0].counters.objects == before


def test_index_is_taken_as_a_list_takes_it(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        last = ds.get_metadata(5)
        for index in (-1, np.int64(5), np.uint8(5), torch.tensor(5), torch.tensor([-1])[0], True + 4):
            assert ds.get_metadata(index) == last
            assert torch.equal(ds[index].waveform, ds[5].waveform)
        for index in (6, -7, np.int64(6)):
            with pytest.raises(IndexError, match="of 6"):
                ds[index]
            with pytest.raises(IndexError, match="of 6"):
                ds.get_metadata(index)
        for wrong in (slice(0, 2), "0", 1.0, None, torch.tensor([0, 1])):
            with pytest.raises((TypeError, ValueError)):
                ds[wrong]  # type: ignore[index]  # that is the test
        mask = torch.tensor([True, False, True, True, False, False])
        for wrong in (True, False, np.True_, mask[0], mask[1]):  # rows 1 and 0
            for one in (ds, ds + ds, ds.map(str), Subset(ds, [wrong])):  # type: ignore[list-item]  # that is the test
                with pytest.raises(TypeError):
                    one[wrong if len(one) > 1 else 0]  # type: ignore[index]  # that is the test
        with pytest.raises(TypeError, match="nonzero"):
            Subset(ds, mask).__getitems__([0, 1])  # type: ignore[arg-type]  # that is the test
        picked = Subset(ds, mask.nonzero().flatten())  # type: ignore[arg-type]  # torch's own examples do so
        assert [picked[k].utterance for k in range(3)] == [ds.get_metadata(i).utterance for i in (0, 2, 3)]
        assert len(list(ds)) == 6  # the sequence protocol ends at IndexError


def test_a_shallow_copy_follows_a_refresh(tmp_path: Path) -> None:
    """`copy.copy(ds)` is how a second dataset with another transform is made; it has the same corpora."""
    first = make_corpus(tmp_path, [clip(f"ann/{n}.wav", 0.02 + n / 100) for n in range(3)])
    second = make_corpus(tmp_path, [clip("eve/0.wav", 0.03, speaker="eve")], "voice-b")
    with sd.EncryptedAudioDataset([first, second]) as ds:
        quiet = copy.copy(ds)
        quiet.transform = torch.zeros_like
        both = (ds, quiet)
        assert [len(one.lengths) for one in both] == [4, 4]
        for refresh in (ds.refresh, quiet.refresh):
            remove_paths(first, [ds.get_metadata(0).path])
            add_clips(first, [clip(f"bob/{len(ds)}{n}.wav", 0.05, speaker="bob", seed=n) for n in range(3)])
            assert refresh()
            for one in both:
                paths = one.metadata.column("path").to_pylist()
                assert [one.get_metadata(i).path for i in range(len(one))] == paths
                assert one.lengths.tolist() == [sample.waveform.shape[1] for sample in one]
        assert len(ds) == 8
        assert quiet[0].waveform.abs().max() == 0 < ds[0].waveform.abs().max()
        apart = copy.deepcopy(ds)
        remove_paths(first, [ds.get_metadata(0).path])
        ds.refresh()
        assert [len(ds), len(quiet), len(apart), len(apart.lengths)] == [7, 7, 8, 8]


def test_lengths_are_those_of_the_options_now(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        whole = ds.lengths
        for rate, frames in ((None, 100), (8_000, None), (8_000, 1_000), (None, None)):
            ds.sample_rate, ds.num_frames = rate, frames
            assert ds.lengths.tolist() == [sample.waveform.shape[1] for sample in ds]
        assert ds.lengths is whole


def test_several_corpora_follow_each_other(tmp_path: Path) -> None:
    first = make_corpus(tmp_path, some_clips()[:2], name="voice-a")
    empty = make_corpus(tmp_path, [], name="voice-b")
    second = make_corpus(tmp_path, some_clips()[3:], name="voice-c")
    with sd.EncryptedAudioDataset(["voice-a", "securedata://voice-b", second]) as ds:
        assert [corpus.root for corpus in ds.corpora] == [first, empty, second]
        assert len(ds) == 5
        paths = [ds.get_metadata(i).path for i in range(5)]
        assert paths == [one.path for one in first.clips + second.clips]
        assert ds.metadata.column("path").to_pylist() == paths
        assert ds.lengths.tolist() == [ds[i].waveform.shape[1] for i in range(5)]
        assert ds.speakers == ["ann", "bob"]
        assert ds.get_metadata(-1).path == paths[-1]
        for i, one in enumerate(first.clips + second.clips):
            assert np.array_equal(ds[i].waveform.numpy(), one.audio)


def test_kms_and_pin_are_given_or_from_the_config(root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make_corpus(tmp_path, [], name="voice-b")
    monkeypatch.setenv("SECUREDATA_CONFIG", str(tmp_path / "none"))
    with sd.EncryptedAudioDataset(root, kms=root.kms, pin=root.pin) as ds:
        assert len(ds) == 6
    with sd.EncryptedAudioDataset([root, other], kms=[root.kms, other.kms], pin=[root.pin, other.pin]) as ds:
        assert len(ds) == 6
    with pytest.warns(sd.UnpinnedWarning, match=root.pin), sd.EncryptedAudioDataset(root, kms=root.kms) as ds:
        assert len(ds) == 6
    with pytest.raises(PinMismatch):
        sd.EncryptedAudioDataset(root, kms=root.kms, pin=other.pin)


# ------------------------------------------------------------------------------------------------------------- rows


@pytest.mark.parametrize(
    ("wish", "paths"),
    [
        ({"speaker": "bob"}, ["bob/utt0.wav", "bob/utt1.flac", "bob/utt2.wav"]),
        ({"speaker": ["ann"]}, ["ann/utt0.wav", "ann/utt1.flac", "ann/utt2.ogg"]),
        ({"split": "test"}, ["ann/utt2.ogg", "bob/utt1.flac"]),
        ({"split": ("test", "")}, ["ann/utt2.ogg", "bob/utt1.flac", "bob/utt2.wav"]),
        ({"duration": (0.5, 0.7)}, ["ann/utt0.wav", "ann/utt1.flac", "ann/utt2.ogg"]),
        ({"duration": (None, 0.4)}, ["bob/utt1.flac", "bob/utt2.wav"]),
        ({"duration": (0.61, None)}, ["ann/utt1.flac", "bob/utt0.wav"]),
        ({"duration": (None, None), "speaker": "ann", "split": "test"}, ["ann/utt2.ogg"]),
        ({"filter": pc.field("channels") == 2}, ["bob/utt0.wav"]),
        ({"filter": pc.field("format") == "WAV", "speaker": "bob", "duration": (0, 0.5)}, ["bob/utt2.wav"]),
    ],
)
def test_wishes_choose_rows(root: Root, wish: dict[str, Any], paths: list[str]) -> None:
    with sd.EncryptedAudioDataset(root, **wish) as ds:
        assert ds.metadata.column("path").to_pylist() == paths
        assert len(ds) == len(ds.lengths) == len(paths)
        assert ds.lengths.dtype == torch.int64
        audio = {one.path: one.audio for one in root.clips}
        for i, path in enumerate(paths):
            assert np.array_equal(ds[i].waveform.numpy(), audio[path])


def test_metadata_table_has_no_keys_and_no_ids(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        names = ds.metadata.schema.names
        assert {"path", "speaker", "transcript", "split", "frames", "sample_rate", "extra", "subjects"} <= set(names)
        assert not {"data_key", "object_id", "pack", "offset", "sealed_size"} & set(names)
        assert ds.metadata.column("transcript").to_pylist() == [one.columns["transcript"] for one in root.clips]


def test_speakers_are_sorted_and_unique(tmp_path: Path) -> None:
    clips = [clip(f"{n}.wav", 0.1, speaker=name) for n, name in enumerate(["zoe", "ann", "Émile", "ann", "bob"])]
    with sd.EncryptedAudioDataset(make_corpus(tmp_path, clips)) as ds:
        assert ds.speakers == ["ann", "bob", "zoe", "Émile"]


@pytest.mark.parametrize("num_frames", [None, 5_000])
@pytest.mark.parametrize("sample_rate", [None, 8_000, 16_000, 44_100, 11_025])
def test_lengths_are_those_of_the_samples(root: Root, sample_rate: int | None, num_frames: int | None) -> None:
    with sd.EncryptedAudioDataset(root, sample_rate=sample_rate, num_frames=num_frames) as ds:
        assert ds.lengths.dtype == torch.int64
        assert ds.lengths.tolist() == [ds[i].waveform.shape[1] for i in range(len(ds))]


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"crop": "end"}, "crop= must be 'random' or 'start'"),
        ({"sample_rate": 0}, "sample_rate= must be between 1"),
        ({"sample_rate": 16_000.5}, "whole number, not 1"),
        ({"sample_rate": 10**9}, "sample_rate= must be between"),
        ({"sample_rate": 7}, "which cannot become 7 Hz"),
        ({"num_frames": 0}, "num_frames= must be between"),
        ({"num_frames": "many"}, "whole number, not .many"),
        ({"duration": 3}, "shortest, longest"),
        ({"duration": (1, "x")}, "shortest, longest"),
        ({"duration": (1, 2, 3)}, "shortest, longest"),
        ({"speaker": [1]}, "speaker= must be a list of texts"),
        ({"filter": lambda row: True}, "pyarrow expression"),
        ({"filter": pc.field("no_such_column") == 1}, "its columns are"),
    ],
)
def test_options_that_make_no_sense_fail_at_once(root: Root, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        sd.EncryptedAudioDataset(root, **options)


def test_rate_that_soxr_cannot_reach_fails_at_once(tmp_path: Path) -> None:
    root = make_corpus(tmp_path, [Clip("slow.wav", encode(noise(10, 100), 100)), clip("usual.wav")])
    with pytest.raises(InvalidArgument, match="100 Hz, which cannot become 192000 Hz"):
        sd.EncryptedAudioDataset(root, sample_rate=192_000)
    with sd.EncryptedAudioDataset(root, sample_rate=192_000, filter=pc.field("sample_rate") > 100) as ds:
        assert ds.lengths.tolist() == [96_000]


def test_what_is_no_corpus_fails_at_once_and_leaves_nothing_open(root: Root, tmp_path: Path) -> None:
    before = _memfds()
    with pytest.raises(InvalidArgument, match="at least one"):
        sd.EncryptedAudioDataset([])
    with pytest.raises(ConfigError, match="no corpus named 'voice-z'"):
        sd.EncryptedAudioDataset("voice-z")
    with pytest.raises(NotACorpus):
        sd.EncryptedAudioDataset([root, str(tmp_path / "nothing")])
    root.key_file.rename(tmp_path / "away.kek")
    with pytest.raises(KMSUnreachable):
        sd.EncryptedAudioDataset(root)
    assert _memfds() == before


# -------------------------------------------------------------------------------------------------------------- keep


def _memfds() -> int:
    """Descriptors of shared memory; a mapping has one of its own, which goes with the last view of it."""
    gc.collect()
    links = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:  # the listing's own descriptor
            continue
    return sum("memfd:securedata" in link for link in links)


def test_refresh_takes_the_current_rows(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        assert ds.lengths.shape == (6,)
        assert not ds.refresh()
        add_clips(root, [clip(f"eve/utt{n}.wav", 0.2, speaker="eve", seed=n) for n in range(3)])
        remove_paths(root, ["ann/utt0.wav"])
        assert (len(ds), ds.speakers) == (6, ["ann", "bob"])  # a dataset never changes under its reader
        assert np.array_equal(ds[0].waveform.numpy(), root.clips[0].audio)  # its object stays for a day
        assert ds.refresh()
        assert (len(ds), ds.speakers, len(ds.lengths)) == (8, ["ann", "bob", "eve"], 8)
        places = by_path(ds)
        assert "ann/utt0.wav" not in places
        assert np.array_equal(ds[places["eve/utt2.wav"]].waveform.numpy(), root.clips[-1].audio)


def test_row_that_was_replaced_and_swept_says_so(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        [i] = [i for i in range(6) if ds.get_metadata(i).path == "ann/utt0.wav"]
        object_id = ds.corpora[0].value("object_id", i)
        add_clips(root, [clip("ann/utt0.wav", 0.2, seed=9)], replace=True)
        Path(root, "objects", object_id.hex()[:2], object_id.hex()).unlink()
        with pytest.raises(RowReplaced, match="refresh") as caught:
            ds[i]
        assert caught.value.path == "ann/utt0.wav"
        ds.refresh()
        assert np.array_equal(ds[by_path(ds)["ann/utt0.wav"]].waveform.numpy(), root.clips[-1].audio)


def test_close_gives_the_shared_memory_back(root: Root) -> None:
    before = _memfds()
    ds = sd.EncryptedAudioDataset(root)
    opened = _memfds()
    assert opened > before
    ds.close()
    ds.close()
    assert _memfds() < opened
    assert np.array_equal(ds[0].waveform.numpy(), root.clips[0].audio)  # what is mapped stays readable
    del ds
    assert _memfds() == before


def test_reprs_show_no_words(root: Root) -> None:
    with sd.EncryptedAudioDataset(root, filter=pc.field("speaker") == "bob") as ds:
        sample, metadata, batch = ds[2], ds.get_metadata(2), sd.pad_collate([ds[1], ds[2]])
        collated = default_collate([ds[2], ds[2]])
        assert repr(ds) == "<EncryptedAudioDataset of voice-a: 3 recordings>"
    assert repr(sample) == (
        "Sample(waveform=float32 [1, 2400], sample_rate=8000, transcript=<5 characters>, "
        "speaker=<3 characters>, utterance=<4 characters>, extra=<11 characters>)"
    )
    for shown in (repr(sample), str(sample), f"{metadata}", repr(batch), repr(collated), repr([sample]), repr(ds)):
        for secret in ("hello", "bob", "utt2", "room", "tensor"):
            assert secret not in shown
    assert "float32 [2, 1, 17640]" in repr(batch)


# --------------------------------------------------------------------------------------------------- not needed here


def test_a_torchaudio_that_does_not_import_breaks_nothing(root: Root, tmp_path: Path) -> None:
    for name in ("torchaudio", "torchcodec"):
        (tmp_path / "broken" / name).mkdir(parents=True)
        (tmp_path / "broken" / name / "__init__.py").write_text("raise OSError('libtorch_cuda.so: no such file')\n")
    program = (
        f"import sys; sys.path[:0] = [{str(tmp_path / 'broken')!r}, {str(ROOT)!r}]\n"
        "import securedata as sd\n"
        f"ds = sd.EncryptedAudioDataset({str(root)!r}, sample_rate=8000, num_frames=1000)\n"
        "batch = sd.pad_collate([ds[0], ds[1]])\n"
        "assert batch.waveform.shape == (2, 1, 1000) and len(ds.lengths) == 6\n"
        "print(*sorted({'torchaudio', 'torchcodec', 'torch', 'boto3'} & set(sys.modules)))\n"
    )
    assert output_of([sys.executable, "-W", "error", "-c", program], tmp_path).split() == ["torch"]


def test_noise_is_not_silence() -> None:
    # comparisons above would hold for zeros, too
    assert np.abs(noise(0.1)).mean() > 0.05
