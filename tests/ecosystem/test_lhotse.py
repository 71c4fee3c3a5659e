"""Cuts of a sealed corpus: lhotse's own dataset and samplers read them, and a batch is one fetch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lhotse
import numpy as np
import pyarrow.compute as pc
import pytest
from lhotse import CutSet, Recording, RecordingSet
from lhotse.dataset import AudioSamples, DynamicBucketingSampler, K2SpeechRecognitionDataset
from torch.utils.data import DataLoader

import securedata as sd
from securedata.corpus.snapshot import Snapshot
from securedata.errors import FormatError, InvalidArgument
from tests.kit.corpora.recorded import Root, flip_object, make_corpus
from tests.kit.sources.recordings import clip


def speech(count: int = 12) -> list[Any]:
    return [
        clip(f"ann/{n:02}.wav", 0.2 + n / 20, seed=n, speaker="ann", transcript=f"number {n}", split="train")
        for n in range(count)
    ]


def test_cuts(root: Root) -> None:
    cuts = sd.lhotse.cuts(root.name)
    assert isinstance(cuts, CutSet)
    assert cuts.is_lazy
    assert len(cuts) == 6
    for cut, one in zip(cuts, root.clips, strict=True):
        assert cut.id == one.path
        np.testing.assert_array_equal(cut.load_audio(), one.audio)
        assert cut.supervisions[0].text == one.columns["transcript"]
        assert cut.supervisions[0].speaker == one.speaker
        assert cut.recording.sources[0].source == f"securedata://voice-a/{one.path}"
    lhotse.validate(cuts.to_eager())
    assert [cut.id for cut in sd.lhotse.cuts(root, filter=pc.field("split") == "test")] == [
        "ann/utt2.ogg",
        "bob/utt1.flac",
    ]
    assert next(cut.id for cut in sd.lhotse.cuts(sd.EncryptedAudioDataset(root, speaker="bob"))) == "bob/utt0.wav"


def test_the_manifest_has_the_same_ids(tmp_path: Path) -> None:
    clips = [
        clip(f"{who}/1.wav", 0.5, seed=n, segments=[(0, 4000), (4000, 4000)]) for n, who in enumerate(("ann", "bob"))
    ]
    clips += [clip(f"{who}/2.wav", 0.5, seed=n, speaker=who, utterance="2") for n, who in enumerate(("eve", "zoë"))]
    root = make_corpus(tmp_path, clips)
    with sd.manifest(root.name, "lhotse") as lines:
        (tmp_path / "cuts.jsonl").write_text("\n".join(lines))
    read, made = CutSet.from_file(tmp_path / "cuts.jsonl"), sd.lhotse.cuts(root)
    lhotse.validate(read)
    for one, other in zip(read, made, strict=True):
        assert (one.id, one.recording.id, one.supervisions[0].id) == (
            other.id,
            other.recording.id,
            other.supervisions[0].id,
        )
        assert one.supervisions[0].custom["utterance"] == other.supervisions[0].custom["utterance"]
    ids = [cut.supervisions[0].id for cut in read]
    assert len(set(ids)) == len(ids) == 6


def test_a_filter_narrows_a_dataset(root: Root) -> None:
    whole = sd.EncryptedAudioDataset(root)
    narrow = sd.EncryptedAudioDataset(root, filter=pc.field("path") != whole.metadata.column("path")[0].as_py())
    some = sd.lhotse.cuts(narrow, filter=pc.field("channels") > 0)
    assert [cut.id for cut in some] == narrow.metadata.column("path").to_pylist()
    assert len(some) == len(whole) - 1
    with pytest.raises(InvalidArgument, match="filter="):
        sd.lhotse.cuts(narrow, filter=pc.field("no_such_column") > 0)


def test_segments_of_a_long_recording(tmp_path: Path) -> None:
    [long] = clips = [clip("call.wav", 2.0, seed=1, segments=[(0, 8000), (8000, 24000)])]
    cuts = list(sd.lhotse.cuts(make_corpus(tmp_path, clips)))
    assert [(cut.start, cut.duration) for cut in cuts] == [(0.0, 0.5), (0.5, 1.5)]
    np.testing.assert_array_equal(cuts[1].load_audio(), long.audio[:, 8000:])
    [both] = sd.lhotse.BatchLoader()(CutSet.from_cuts(cuts[1:]))
    np.testing.assert_array_equal(both.load_audio(), long.audio[:, 8000:])


def batches(cuts: CutSet, dataset: K2SpeechRecognitionDataset, **options: Any) -> list[Any]:
    """The loader of a recipe for k2, unchanged."""
    sampler = DynamicBucketingSampler(cuts, max_duration=2.0, num_buckets=2, shuffle=True, seed=3, buffer_size=100)
    return list(DataLoader(dataset, sampler=sampler, batch_size=None, **options))


def test_a_recipe_with_another_source(tmp_path: Path) -> None:
    clips = speech()
    plain = []
    for one in clips:
        path = tmp_path / "plain" / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.data)
        plain.append(Recording.from_file(path, recording_id=one.path))
    root = make_corpus(tmp_path, clips)
    dataset = K2SpeechRecognitionDataset(input_strategy=AudioSamples())
    texts = {one.path: one.columns["transcript"] for one in clips}
    of_files = CutSet.from_manifests(
        recordings=RecordingSet.from_recordings(plain),
        supervisions=lhotse.SupervisionSet.from_segments(
            lhotse.SupervisionSegment(one.id, one.id, 0.0, one.duration, text=texts[one.id]) for one in plain
        ),
    )
    wanted = batches(of_files, dataset)
    loader = K2SpeechRecognitionDataset(input_strategy=AudioSamples(), cut_transforms=[sd.lhotse.BatchLoader()])
    cuts = sd.lhotse.cuts(root)
    for found in (batches(cuts, dataset), batches(cuts, loader), batches(cuts, loader, num_workers=2)):
        assert len(found) == len(wanted) > 2
        for one, other in zip(found, wanted, strict=True):
            assert one["supervisions"]["text"] == other["supervisions"]["text"]
            np.testing.assert_array_equal(one["inputs"], other["inputs"])


def test_a_spawned_worker_can_open_them(root: Root) -> None:
    cuts = sd.lhotse.cuts(root, filter=pc.field("channels") == 1).resample(16000)
    dataset = K2SpeechRecognitionDataset(input_strategy=AudioSamples())
    found = batches(cuts, dataset, num_workers=1, multiprocessing_context="spawn")
    assert sum(len(one["supervisions"]["text"]) for one in found) == 5


def test_a_batch_is_one_fetch(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    fetch = Snapshot.fetch
    monkeypatch.setattr(
        Snapshot, "fetch", lambda self, pieces, size: seen.append(len(pieces)) or fetch(self, pieces, size)
    )
    cuts = sd.lhotse.cuts(root).to_eager()
    mixed = cuts.subset(first=4).pad(duration=2.0)
    loaded = sd.lhotse.BatchLoader()(mixed)
    assert seen == [4]
    for one, before in zip(loaded, mixed, strict=True):
        np.testing.assert_array_equal(one.load_audio(), before.load_audio())
    sources = [cut.recording.sources[0].type for cut in cuts]
    assert set(sources) == {"url"}, "those given hold no plaintext afterwards"


def test_errors_are_ours(root: Root) -> None:
    flip_object(root, "ann/utt0.wav")
    cuts = sd.lhotse.cuts(root).to_eager()
    with pytest.raises(FormatError, match=r"object \w+ of .*"):
        sd.lhotse.BatchLoader()(cuts)
    with pytest.raises(FormatError, match=r"object \w+ of .*"):
        next(iter(cuts)).load_audio()


def test_lhotse_opens_its_own_files_as_before(root: Root, tmp_path: Path) -> None:
    cuts = sd.lhotse.cuts(root)
    cuts.to_file(tmp_path / "cuts.jsonl.gz")  # URLs and words, no audio: still, words of people
    again = CutSet.from_file(tmp_path / "cuts.jsonl.gz")
    np.testing.assert_array_equal(next(iter(again)).load_audio(), root.clips[0].audio)
