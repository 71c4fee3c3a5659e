"""`to_hf`: recordings as datasets of Hugging Face, a batch by one read, and nothing of them on a disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader

import securedata as sd
from securedata.corpus.objects.fetch import ObjectBatch
from securedata.errors import InvalidArgument, ObjectMissing, PlaintextRefused
from securedata.integrations.sealed_datasets import WRITERS
from tests.kit.corpora.recorded import Root, make_corpus, object_files
from tests.kit.sources.recordings import clip


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many objects each fetch of many asked for."""
    seen: list[int] = []
    begin = ObjectBatch.__init__

    def counting(self: ObjectBatch, pieces: Any, *args: Any) -> None:
        seen.append(len(pieces))
        begin(self, pieces, *args)

    monkeypatch.setattr(ObjectBatch, "__init__", counting)
    return seen


def same(example: dict[str, Any], one: Any) -> bool:
    audio = one.audio if one.audio.shape[0] > 1 else one.audio[0]
    return example["audio"]["path"].endswith(one.path) and np.array_equal(example["audio"]["array"], audio)


def test_map_style(root: Root, fetches: list[int]) -> None:
    ds = sd.to_hf(root.name, columns=["transcript", "speaker", "sample_rate"])
    assert isinstance(ds, datasets.Dataset)
    assert ds.column_names == ["audio", "length", "transcript", "speaker", "sample_rate"]
    assert ds[0]["audio"]["path"] == "securedata://voice-a/ann/utt0.wav"
    fetches.clear()
    batch = ds[[4, 0, 3]]
    assert fetches == [3]
    assert [same({"audio": audio}, root.clips[i]) for audio, i in zip(batch["audio"], (4, 0, 3), strict=True)] == [
        True
    ] * 3
    assert batch["transcript"] == ["good bye", "good morning", "good night"]
    assert list(ds["length"]) == [one.audio.shape[1] for one in root.clips]
    assert fetches == [3], "a column of the manifest needs no audio"
    assert ds.cache_files == []
    assert [one["speaker"] for one in ds] == ["ann"] * 3 + ["bob"] * 3
    assert fetches == [3, 6], "those that are gone over are read many at once"


def test_at_another_rate(root: Root) -> None:
    ds = sd.to_hf(root, sampling_rate=8000)
    assert [one["audio"]["sampling_rate"] for one in ds] == [8000] * 6
    assert [one["audio"]["array"].shape[-1] for one in ds] == list(ds["length"])


def test_what_follows_keeps_the_recordings(root: Root) -> None:
    ds = sd.to_hf(root).filter(lambda text: text.startswith("good"), input_columns="transcript").shuffle(seed=1)
    by_path = {one.path: one for one in root.clips}
    ds = ds.rename_column("transcript", "text").select([2, 0]).remove_columns("language")
    assert all(same(one, by_path[one["audio"]["path"].partition("voice-a/")[2]]) for one in ds)
    mapped = ds.map(lambda one: {"mean": float(one["audio"]["array"].mean())})
    assert mapped[1]["mean"] == pytest.approx(float(mapped[1]["audio"]["array"].mean()))
    assert mapped.cache_files == []


def test_a_dataset_of_several_corpora(root: Root, tmp_path: Any) -> None:
    other = make_corpus(tmp_path / "other", [clip("eve/1.wav", seed=9, speaker="eve")], name="voice-b")
    rows = sd.EncryptedAudioDataset([root.name, other.name], filter=pc.field("sample_rate") == 16000)
    ds = sd.to_hf(rows)
    assert [one["speaker"] for one in ds] == ["ann", "ann", "ann", "bob", "eve"]
    assert same(ds[4], other.clips[0])
    assert list(ds["length"]) == rows.lengths.tolist()
    streamed = list(sd.to_hf(rows, streaming=True))
    assert [one["audio"]["path"] for one in streamed] == [one["audio"]["path"] for one in ds]


def test_roots_and_names_that_are_parts_of_others(tmp_path: Any) -> None:
    """One root lies in the other, and paths of each look like URLs of the next."""
    outer = make_corpus(tmp_path, [clip("voice-b/ann/1.wav", seed=1), clip("ann/1.wav", seed=2)])
    inner = make_corpus(Path(outer), [clip("ann/1.wav", seed=3), clip("voice-a/ann/1.wav", seed=4)], name="voice-b")
    unnamed = [replace(one.reference, name=None) for one in (outer, inner)]
    for targets in (
        unnamed,
        unnamed[::-1],
        [unnamed[0], inner.name],
        [inner.name, unnamed[0]],
        [outer.name, unnamed[1]],
    ):
        rows = sd.EncryptedAudioDataset(targets)
        ds = sd.to_hf(rows)
        for found, sample in zip(ds[:]["audio"], rows, strict=True):
            assert np.array_equal(found["array"], sample.waveform[0].numpy()), found["path"]
            assert torch.equal(sd.load(found["path"])[0], sample.waveform)


def pad(examples: list[dict[str, Any]]) -> Any:
    audio = [torch.from_numpy(one["audio"]["array"]).reshape(-1) for one in examples]
    return torch.nn.utils.rnn.pad_sequence(audio, batch_first=True), [one["transcript"] for one in examples]


SPAWNED = pytest.param(
    True, "spawn", marks=pytest.mark.full
)  # it imports torch and datasets; lhotse's is spawned always


@pytest.mark.parametrize(("streaming", "context"), [(False, "fork"), (True, "fork"), SPAWNED])
def test_workers(root: Root, context: str, streaming: bool) -> None:
    ds = sd.to_hf(root, streaming=streaming)
    workers = 2 if context == "fork" else 1  # a spawned one imports torch and datasets first, which takes seconds
    loader = DataLoader(ds, 2, num_workers=workers, collate_fn=pad, multiprocessing_context=context)
    assert sorted(text for _, texts in loader for text in texts) == sorted(one["transcript"] for one in ds)


def test_streaming(root: Root, fetches: list[int]) -> None:
    ds = sd.to_hf(root.name, streaming=True)
    assert isinstance(ds, datasets.IterableDataset)
    assert ds.num_shards == 6
    assert all(same(one, clip) for one, clip in zip(ds, root.clips, strict=True))
    ranks = [split_dataset_by_node(ds, rank, 2) for rank in range(2)]
    assert sorted(one["utterance"] + one["speaker"] for part in ranks for one in part) == sorted(
        one["utterance"] + one["speaker"] for one in ds
    )


def test_a_stream_reads_many_rows_at_once(tmp_path: Any, fetches: list[int]) -> None:
    many = make_corpus(tmp_path, [clip(f"ann/{n:03}.wav", 0.01, seed=n) for n in range(300)])
    ds = sd.to_hf(many, streaming=True)
    fetches.clear()
    assert len(list(ds)) == 300
    assert len(fetches) == ds.num_shards == 128
    assert sum(fetches) == 300


def test_a_stream_goes_on_where_it_was(root: Root) -> None:
    ds = sd.to_hf(root, streaming=True)
    seen = []
    for number, one in enumerate(ds):
        seen.append(one["audio"]["path"])
        if number == 2:
            state = ds.state_dict()
            break
    again = sd.to_hf(root, streaming=True)
    again.load_state_dict(state)
    assert [*seen, *(one["audio"]["path"] for one in again)] == [one["audio"]["path"] for one in ds]


def test_a_row_that_cannot_be_read_raises(root: Root) -> None:
    [found] = object_files(root, "bob/utt0.wav")
    found.unlink()
    ds = sd.to_hf(root)
    assert same(ds[0], root.clips[0])
    with pytest.raises(ObjectMissing):
        ds[[0, 3]]
    with pytest.raises(ObjectMissing):
        list(sd.to_hf(root, streaming=True))


def test_bad_arguments(root: Root) -> None:
    with pytest.raises(InvalidArgument, match="nosuch"):
        sd.to_hf(root, columns=["nosuch"])
    with pytest.raises(InvalidArgument, match="data_key"):
        sd.to_hf(root, columns=["data_key"])
    with pytest.raises(InvalidArgument, match="differs"):
        sd.to_hf(sd.EncryptedAudioDataset(root, sample_rate=16000), sampling_rate=8000)


@pytest.mark.parametrize("streaming", [False, True], ids=["map", "stream"])
def test_it_does_not_write_itself(root: Root, tmp_path: Any, streaming: bool) -> None:
    ds = sd.to_hf(root, streaming=streaming)
    made = [ds, ds.map(lambda one: {"sum": 1}), ds.take(2), ds.select_columns("speaker"), ds.shuffle(seed=3)]
    asked = 0
    for one in made:
        for name in WRITERS:
            if hasattr(one, name):  # some are of the other kind only
                asked += 1
                with pytest.raises(PlaintextRefused, match="allow_plaintext_export"):
                    getattr(one, name)(tmp_path / "out")
    assert asked == 5 * 7
    assert list(tmp_path.glob("out*")) == []


def test_splits_and_cache_files_are_refused_too(root: Root, tmp_path: Any) -> None:
    ds = sd.to_hf(root)
    with pytest.raises(PlaintextRefused):
        ds.train_test_split(0.5).save_to_disk(tmp_path / "out")
    for name in ("map", "cast", "flatten_indices"):
        arguments = {"map": [len], "cast": [ds.features]}.get(name, [])
        with pytest.raises(PlaintextRefused, match="cache_file_name"):
            getattr(ds, name)(*arguments, cache_file_name=str(tmp_path / "out.arrow"))
    assert list(tmp_path.glob("out/*/*")) == list(tmp_path.glob("*.arrow")) == []


@pytest.mark.parametrize("streaming", [False, True], ids=["map", "stream"])
def test_several_as_one_are_refused_too(root: Root, tmp_path: Any, streaming: bool) -> None:
    ds = sd.to_hf(root, streaming=streaming, columns="transcript")
    text = pa.string() if streaming else pa.large_string()  # as `datasets` writes it, and as the manifest has it
    plain = datasets.Dataset(pa.table({"length": [1] * 3, "transcript": pa.array(["mine"] * 3, text)}))
    other = plain.to_iterable_dataset() if streaming else plain
    beside = other.rename_columns({"length": "n", "transcript": "text"})
    mapped = ds.map(lambda one: {"sum": float(one["audio"]["array"].sum())}, remove_columns="audio")
    made = [
        datasets.concatenate_datasets([other, mapped]),
        datasets.concatenate_datasets([mapped.take(3), beside], axis=1),
        datasets.interleave_datasets([mapped, other]),
        datasets.interleave_datasets([mapped, mapped], probabilities=[0.5, 0.5], seed=1),
    ]
    assert [one["transcript"] for one in made[2].take(2)] == [root.clips[0].columns["transcript"], "mine"]
    made += [made[0].shuffle(seed=1), datasets.concatenate_datasets([made[0], other])]
    for one in made:
        with pytest.raises(PlaintextRefused, match="allow_plaintext_export"):
            one.to_parquet(tmp_path / "out")
    may = sd.to_hf(root, streaming=streaming, columns="transcript", allow_plaintext_export=True).remove_columns("audio")
    with pytest.raises(PlaintextRefused):
        datasets.concatenate_datasets([may, mapped]).to_parquet(tmp_path / "out")
    assert list(tmp_path.glob("out*")) == []
    datasets.concatenate_datasets([may, other]).to_parquet(tmp_path / "out")
    datasets.concatenate_datasets([other, other]).to_parquet(tmp_path / "plain")
    assert sorted(path.name for path in tmp_path.glob("[op]*")) == ["out", "plain"]


def test_where_it_may_it_writes(root: Root, tmp_path: Any) -> None:
    ds = sd.to_hf(root, allow_plaintext_export=True).select([1])
    ds.to_parquet(tmp_path / "out.parquet")
    assert datasets.Dataset.from_parquet(str(tmp_path / "out.parquet"), keep_in_memory=True)["transcript"] == [
        "good evening"
    ]
    ds.map(lambda one: {"array": one["audio"]["array"]}, cache_file_name=str(tmp_path / "out.arrow"))
    assert (tmp_path / "out.arrow").stat().st_size > 0
