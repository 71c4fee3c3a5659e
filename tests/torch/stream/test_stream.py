"""EncryptedAudioStream over corpora in a folder: each recording once, states, workers, and what can go wrong."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from torch.utils.data import DataLoader

import securedata as sd
from securedata.corpus.parts.reader import PartwiseCorpus
from securedata.errors import GenerationChanged, InvalidArgument, UndecodableMedia, UnknownVersion
from tests.kit.corpora.featured import make_features
from tests.kit.corpora.recorded import Root, add_clips, flip_object, make_corpus, remove_paths
from tests.kit.sources.recordings import Clip, clip

MANY = 23


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(tmp_path, clips(MANY))


def clips(many: int, prefix: str = "u", seconds: float = 0.02) -> list[Clip]:
    return [clip(f"{prefix}{n}.wav", seconds, seed=n, speaker=f"person-{n % 3}") for n in range(many)]


def names(samples: Any) -> list[str]:
    return [sample.utterance for sample in samples]


def loader(stream: Any, workers: int = 2, batch: int = 4, method: str = "fork", **options: Any) -> DataLoader[Any]:
    context = method if workers else None
    return DataLoader(
        stream, batch_size=batch, num_workers=workers, multiprocessing_context=context, collate_fn=list, **options
    )


def flat(batches: Any) -> list[str]:
    return names(sample for batch in batches for sample in batch)


def test_every_recording_comes_once_and_is_right(root: Root) -> None:
    with sd.EncryptedAudioStream(root, seed=3) as stream:
        assert len(stream) == MANY
        samples = list(stream)
        assert names(stream) == names(samples)  # the same epoch again
        stream.set_epoch(1)
        assert names(stream) != names(samples)
        assert stream.stats().samples == 3 * MANY
        assert stream.stats().kms_calls == 1
    by_name = {one.path.removesuffix(".wav"): one.audio for one in root.clips}
    assert sorted(names(samples)) == sorted(by_name)
    assert all(np.array_equal(one.waveform.numpy(), by_name[one.utterance]) for one in samples)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_share_the_epoch(root: Root, method: str) -> None:
    with sd.EncryptedAudioStream(root) as stream:
        assert sorted(flat(loader(stream, method=method))) == sorted(names(stream))
        assert stream.stats().kms_calls == 1  # workers got the head and the grant in memory


def test_persistent_workers_begin_the_epoch_that_is_set(root: Root) -> None:
    with sd.EncryptedAudioStream(root) as stream:
        persistent = loader(stream, persistent_workers=True)
        epochs = []
        for epoch in (0, 1, 0):
            stream.set_epoch(epoch)
            epochs.append(flat(persistent))
    assert epochs[0] == epochs[2] != epochs[1]
    assert sorted(epochs[0]) == sorted(epochs[1])


def test_ranks_share_the_epoch(root: Root) -> None:
    heard: list[str] = []
    lengths = set()
    for rank in range(3):
        with sd.EncryptedAudioStream(root, rank=rank, world=3) as stream:
            heard += flat(loader(stream))
            lengths.add(len(stream))
    assert lengths == {8}  # 23 rows, and one that comes twice
    assert len(set(heard)) == MANY
    assert len(heard) == MANY + 1


def test_torchrun_says_which_rank_it_is(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with sd.EncryptedAudioStream(root, uneven=None) as stream:
        assert len(stream) == MANY - MANY // 2
    monkeypatch.setenv("RANK", "2")
    with sd.EncryptedAudioStream(root) as stream, pytest.raises(InvalidArgument, match="pass rank= and world="):
        iter(stream)


# ------------------------------------------------------------------------------------------------------------ states


def test_epoch_goes_on_with_any_number_of_ranks_and_workers(root: Root) -> None:
    with sd.EncryptedAudioStream(root) as stream:
        running = iter(stream)
        heard = [next(running).utterance for _ in range(4)]
        state = json.loads(json.dumps(stream.state_dict()))
    with sd.EncryptedAudioStream(root) as stream:
        stream.load_state_dict(state)
        assert len(stream) == MANY - 4
        batches = loader(stream, batch=3)
        for step, batch in enumerate(batches, 1):
            heard += names(batch)
            if step == 3:
                break
        state = stream.state_dict(batches, 3)
        assert len(json.dumps(state, separators=(",", ":"))) < 200
    for rank in range(2):
        with sd.EncryptedAudioStream(root, rank=rank, world=2, uneven="pad") as stream:
            stream.load_state_dict(state)
            heard += flat(loader(stream, workers=3, batch=2))
    assert sorted(heard) == sorted(one.path.removesuffix(".wav") for one in root.clips)


def test_state_of_an_epoch_that_is_over_leaves_nothing(root: Root) -> None:
    with sd.EncryptedAudioStream(root) as stream:
        assert len(list(stream)) == MANY
        state = stream.state_dict()
        stream.load_state_dict(state)
        assert list(stream) == []
        stream.set_epoch(1)
        assert len(list(stream)) == MANY


def test_state_of_readers_ahead_needs_the_steps_of_the_loop(root: Root) -> None:
    with sd.EncryptedAudioStream(root) as stream:
        batches = loader(stream)
        next(iter(batches))
        with pytest.raises(InvalidArgument, match=r"state_dict\(loader, steps\)"):
            stream.state_dict()
        with pytest.raises(InvalidArgument, match="or neither"):
            stream.state_dict(batches)


class _States:
    """A loader's worker that keeps its stream's state beside each batch, as StatefulDataLoader has it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __call__(self, samples: list[Any]) -> tuple[list[str], dict[str, Any]]:
        from torch.utils.data import get_worker_info

        info = get_worker_info()
        assert info is not None
        return names(samples), info.dataset.state_dict()  # type: ignore[attr-defined]  # a stream


def test_merged_states_of_workers_go_on_elsewhere(root: Root) -> None:
    with sd.EncryptedAudioStream(root) as stream:
        states: dict[int, Any] = {}
        heard: list[str] = []
        batches = DataLoader(stream, batch_size=2, num_workers=2, collate_fn=_States(None))
        for step, (found, state) in enumerate(batches):
            heard += found
            states[step % 2] = state
            if step == 4:
                break
        merged = sd.merge_state({"workers": states})
        assert merged["runs"] == [[1, 2, 2, 5]]
        with pytest.raises(InvalidArgument, match="needs the states of 2 workers"):
            sd.merge_state(states[0])
        with pytest.raises(InvalidArgument, match="merge_state"):
            stream.load_state_dict(states[0])
        stream.load_state_dict(merged)
        heard += names(stream)
    assert sorted(heard) == sorted(one.path.removesuffix(".wav") for one in root.clips)


def _another(state: dict[str, Any]) -> None:
    state["corpora"][0][0] = "A" * 16


def _newer(state: dict[str, Any]) -> None:
    state["v"] = 2


def _other_rows(state: dict[str, Any]) -> None:
    state["corpora"][0][4] += 1


def _damaged(state: dict[str, Any]) -> None:
    state["runs"] = [[1, 0, 1, 1]]


def _uneven(state: dict[str, Any]) -> None:
    state["uneven"] = 2


BAD: dict[Callable[[dict[str, Any]], None], tuple[type[Exception], str]] = {
    _another: (InvalidArgument, "of other corpora"),
    _newer: (UnknownVersion, "version 2"),
    _other_rows: (InvalidArgument, "of other rows"),
    _damaged: (InvalidArgument, "not the state of a stream"),
    _uneven: (InvalidArgument, "uneven='drop'"),
}


@pytest.mark.parametrize("change", BAD, ids=lambda one: one.__name__)
def test_state_of_something_else_is_refused(root: Root, change: Callable[[dict[str, Any]], None]) -> None:
    kind, text = BAD[change]
    with sd.EncryptedAudioStream(root) as stream:
        next(iter(stream))
        state = stream.state_dict()
        change(state)
        with pytest.raises(kind, match=text):
            stream.load_state_dict(state)
        assert len(list(stream)) == MANY


def test_a_state_of_as_many_other_rows_is_refused(root: Root) -> None:
    def chosen(*utterances: str) -> sd.EncryptedAudioStream:
        return sd.EncryptedAudioStream(root, filter=pc.field("utterance").isin(utterances))

    with chosen("u1", "u2", "u3") as stream:
        next(iter(stream))
        state = stream.state_dict()
    with chosen("u3", "u2", "u1") as same:
        same.load_state_dict(state)
        assert len(list(same)) == 2
    with chosen("u1", "u2", "u4") as other, pytest.raises(InvalidArgument, match="the state is of other rows"):
        other.load_state_dict(state)


def test_state_holds_no_key_and_no_name(root: Root) -> None:
    with sd.EncryptedAudioStream(root, speaker="person-1") as stream:
        next(iter(stream))
        text = json.dumps(stream.state_dict())
        pickled = pickle.dumps(stream)
        part = stream.corpora[0]._head.parts[0]
    assert "person" not in text
    assert "u1" not in text
    for secret in (b"person-1", part.key, stream.corpora[0]._head.secret):
        assert secret not in pickled


def test_pickle_opens_the_corpus_again(root: Root) -> None:
    with sd.EncryptedAudioStream(root, seed=5) as stream, pickle.loads(pickle.dumps(stream)) as again:
        assert names(again) == names(stream)


def test_corpus_that_changed_is_told(root: Root) -> None:
    with sd.EncryptedAudioStream(root) as stream:
        next(iter(stream))
        state = stream.state_dict()
        remove_paths(root, ["u3.wav"])
        with sd.EncryptedAudioStream(root) as later, pytest.raises(GenerationChanged, match="has generation"):
            later.load_state_dict(state)


def test_epoch_goes_on_over_a_corpus_that_changed(root: Root) -> None:
    with sd.EncryptedAudioStream(root) as stream:
        running = iter(stream)
        heard = [next(running).utterance for _ in range(8)]
        small = stream.state_dict()
        state = json.loads(json.dumps(stream.with_objects(small)))
        assert len(state["seen"]) < 8 * 12
    removed = [name for name in (f"u{n}" for n in range(MANY)) if name not in heard][:3] + heard[:2]
    remove_paths(root, [f"{name}.wav" for name in removed])
    add_clips(root, clips(4, "later"))
    with sd.EncryptedAudioStream(root, refresh=True) as stream:
        with pytest.raises(GenerationChanged, match="with_objects"):
            stream.load_state_dict(small)
        stream.load_state_dict(state)
        loader_ = loader(stream, batch=2)
        for step, batch in enumerate(loader_, 1):
            heard += names(batch)
            if step == 3:
                break
        state = stream.with_objects(stream.state_dict(loader_, 3))
    with sd.EncryptedAudioStream(root, refresh=True) as stream:
        stream.load_state_dict(state)
        heard += names(stream)
    left = {f"u{n}" for n in range(MANY)} - set(removed[:3]) | {f"later{n}" for n in range(4)}
    assert sorted(heard) == sorted(left)


# ----------------------------------------------------------------------------------------------- which rows, and how


def test_filters_leave_their_rows_only(root: Root) -> None:
    add_clips(root, clips(5, "later"))  # a second part
    with sd.EncryptedAudioStream(root, speaker="person-1", filter=pc.field("utterance") != "u1") as stream:
        assert len(stream) == 7 + 2
        found = list(stream)
        assert {one.speaker for one in found} == {"person-1"}
        assert len(set(names(found))) == 9
    with pytest.raises(InvalidArgument, match="is not in"):
        sd.EncryptedAudioStream(root, speaker="nobody")


def test_several_corpora_come_mixed(root: Root, tmp_path: Path) -> None:
    other = make_corpus(tmp_path, clips(6, "other"), name="voice-b")
    with sd.EncryptedAudioStream([root, other]) as stream:
        assert len(set(names(stream))) == len(stream) == MANY + 6
    with sd.EncryptedAudioStream([root, other], weights=[1, 1]) as stream:
        heard = names(stream)
        assert sum(name.startswith("other") for name in heard) in (14, 15)
        assert len(heard) == MANY + 6
    for weights, text in (([0, 0], "sum to nothing"), ([1], "for 2 corpora"), ([-1, 2], "not negative")):
        with pytest.raises(InvalidArgument, match=text):
            sd.EncryptedAudioStream([root, other], weights=weights)


def test_segments_are_read_by_range(tmp_path: Path) -> None:
    long = clip("long.wav", 60, segments=[(n * 16_000, 8_000) for n in range(60)])
    root = make_corpus(tmp_path, [long])
    with sd.EncryptedAudioStream(root) as stream:
        found = list(stream)
        assert stream.stats().bytes < 60 * 8_000 * 2 * 3  # not sixty times the file, which has 1.9 MB
    starts = {round(float(one.waveform[0, 0]), 6) for one in found}
    assert len(found) == 60
    assert starts == {round(float(long.audio[0, n * 16_000]), 6) for n in range(60)}


def test_bad_recording_raises_or_is_replaced(root: Root, generous: None) -> None:
    add_clips(root, [Clip("bad.wav", b"RIFF nothing that plays", "ann", columns=clip_columns())])
    with sd.EncryptedAudioStream(root) as stream, pytest.raises(UndecodableMedia):
        list(stream)
    with sd.EncryptedAudioStream(root, on_error="replace") as stream:
        found = names(stream)
        assert len(found) == MANY + 1
        assert len(set(found)) == MANY
        assert stream.stats().replaced == 1


def clip_columns() -> dict[str, Any]:
    return {"format": "WAV", "subtype": "PCM_16", "sample_rate": 16_000, "channels": 1, "frames": 100}


def test_changed_object_always_raises(root: Root) -> None:
    flip_object(root, "u3.wav")
    with (
        sd.EncryptedAudioStream(root, on_error="replace", on_gone="skip") as stream,
        pytest.raises(sd.errors.AuthenticationFailed),
    ):
        list(stream)


def test_only_parts_of_its_own_blocks_are_opened(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(3):
        add_clips(root, clips(10, f"part{n}-"))
    monkeypatch.setattr("securedata.torch.stream.planning.blocks.GROUP_ROWS", 10)
    opened: list[int] = []
    real = PartwiseCorpus.open_part

    def note(self: PartwiseCorpus, number: int, *args: Any) -> Any:
        opened.append(number)
        return real(self, number, *args)

    monkeypatch.setattr(PartwiseCorpus, "open_part", note)
    with sd.EncryptedAudioStream(root, rank=0, world=8) as stream:
        assert len(list(stream)) == 7
    assert 1 <= len(opened) <= 2


def test_lineage_names_what_it_was_trained_with(root: Root) -> None:
    with sd.EncryptedAudioStream(root) as stream, sd.EncryptedAudioDataset(root) as dataset:
        ours, theirs = stream.lineage().entries[0], dataset.lineage().entries[0]
        assert ours.rows == theirs.rows == MANY
        assert ours.seconds == theirs.seconds
        assert len(ours.people) == len(theirs.people) == 3


# ------------------------------------------------------------------------------------------------------- other media


def test_objects_of_any_media_are_bytes(root: Root) -> None:
    with sd.EncryptedStream(root, transform=lambda data: bytes(data.numpy())) as stream:
        found = {sample.utterance: sample.data for sample in stream}
    with sd.EncryptedStream(root) as stream:
        assert "person" not in repr(next(iter(stream)))
    assert found == {one.path.removesuffix(".wav"): one.data for one in root.clips}


def test_features_come_as_from_the_dataset(tmp_path: Path) -> None:
    root = make_features(tmp_path)
    with sd.EncryptedStream(root) as stream, sd.EncryptedFeatureDataset(root) as dataset:
        assert len(stream) == len(dataset)
        theirs = {(sample.speaker, sample.utterance): sample.features for sample in dataset}
        ours = {(sample.speaker, sample.utterance): sample.features for sample in stream}
    assert theirs.keys() == ours.keys()
    assert all(bool((ours[name] == theirs[name]).all()) for name in ours)
    with pytest.raises(InvalidArgument, match="has features, not recordings"):
        sd.EncryptedAudioStream(root)


def test_features_are_not_mixed_with_other_objects(root: Root, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="of the other kind"):
        sd.EncryptedStream([root, make_features(tmp_path)])
