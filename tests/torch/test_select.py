"""Which rows a dataset takes: what is a slip, and what is only empty."""

from __future__ import annotations

import base64
import io
import pickle
import re
from multiprocessing import context as multiprocessing_context
from multiprocessing import reduction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import securedata as sd
from securedata.errors import InvalidArgument
from tests.kit.corpora.recorded import Root, add_clips, make_corpus, remove_paths
from tests.kit.sources.recordings import clip
from tests.torch.test_dataset import _memfds
from tests.torch.test_dataset_pickles import _Spawning

ODD_DURATIONS = ("12", b"ab", {1, 2}, {1: 0, 2: 0}, (float("nan"), 1), (None, 10**400), True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"speaker": "Ann"}, "speaker= is not in voice-a: no recording there has that speaker; one name differs"),
        (
            {"speaker": ["bob", "an n", "bob"]},
            r"speaker=, number 2 of 3, is not in voice-a: .* that speaker; ds.speakers lists the 2 that there are",
        ),
        ({"speaker": ""}, "the 2 that there are"),
        ({"split": "tarin"}, "split= is not in voice-a: it has no split 'tarin'; similar ones are 'train'"),
        ({"split": ["train", "dev"]}, r"split=, number 2 of 2, .* its splits are '', 'test', 'train'"),
        ({"speaker": "ann", "split": "valid"}, "it has no split 'valid'"),
    ],
)
def test_speaker_or_split_that_is_nowhere_is_a_slip(root: Root, options: dict[str, Any], said: str) -> None:
    before = _memfds()
    with pytest.raises(InvalidArgument, match=said) as caught:
        sd.EncryptedAudioDataset(root, **options)
    assert caught.value.root == root
    text = str(caught.value)
    del caught  # its traceback holds the corpora
    if "speaker" in options:
        assert not re.search(r"\b(ann|bob|an n)\b", text, re.IGNORECASE), "names of people"
    assert _memfds() == before


def test_one_name_is_not_the_names_of_its_letters(root: Root) -> None:
    for speakers in ("ann", ["ann"], np.array(["ann"])):
        with sd.open_corpus(root, speakers=speakers, columns="speaker") as corpus:
            assert corpus.table.column("speaker").to_pylist() == ["ann"] * 3
    for option in ("speakers", "columns"):
        for wrong in (84, [84], b"ann"):
            with pytest.raises(InvalidArgument, match=f"{option}= must be a"):
                sd.open_corpus(root, **{option: wrong})  # type: ignore[arg-type]  # that is the test


def test_one_of_several_corpora_has_it(root: Root, tmp_path: Path) -> None:
    other = make_corpus(tmp_path, [clip("eve/utt0.wav", speaker="eve", split="dev")], "voice-b")
    with sd.EncryptedAudioDataset([root, other], speaker=["ann", "eve"], split=["train", "dev"]) as ds:
        assert ds.speakers == ["ann", "eve"]
        assert len(ds) == 3
    with pytest.raises(InvalidArgument, match="not in voice-a, voice-b"):
        sd.EncryptedAudioDataset([root, other], speaker=["ann", "eva"])


@pytest.mark.parametrize(
    "options",
    [
        {"speaker": "ann", "duration": (0.9, None)},
        {"speaker": "ann", "filter": pc.field("speaker") == "bob"},
        {"filter": pc.field("frames") < 0},
        {"speaker": []},
    ],
)
def test_wishes_that_no_recording_fulfils_together_warn(root: Root, options: dict[str, Any]) -> None:
    with pytest.warns(UserWarning, match="none of the 6 recordings of voice-a matches all filters") as caught:
        ds = sd.EncryptedAudioDataset(root, **options)
    assert [warning.filename for warning in caught] == [__file__]
    with ds:
        assert len(ds) == 0


def test_a_corpus_without_recordings_is_empty_and_has_no_speaker(tmp_path: Path) -> None:
    root = make_corpus(tmp_path, [])
    for options in ({}, {"duration": (1, 2)}):
        with sd.EncryptedAudioDataset(root, **options) as ds:
            assert len(ds) == 0
    for options in ({"speaker": "ann"}, {"split": "train"}):
        with pytest.raises(InvalidArgument, match=r"the 0 that there are|no recording there has a split"):
            sd.EncryptedAudioDataset(root, **options)


def test_what_went_away_since_is_no_slip(root: Root) -> None:
    with sd.EncryptedAudioDataset(root, speaker="ann") as ds:
        remove_paths(root, [one.path for one in root.clips if one.speaker == "ann"])
        assert ds.refresh()
        assert len(ds) == 0


_NAMES = ("Zoë Quillfeather", "Bartholomew", "Zoe\u0308 Quillfeather")  # the third is the first as a Mac writes it


def _forms(name: str) -> list[bytes]:
    """A name as a pickle, a dump or a log could hold it."""
    raw = [name.encode(), name.encode("utf-16-le"), name.encode("utf-16-be"), name.encode("utf-32-le")]
    raw += [ascii(name)[1:-1].encode(), name.split()[-1].encode()]
    # base64 of the same bytes at any of its three offsets
    coded = [base64.b64encode(b"x" * at + one)[4:-4] for one in raw for at in range(3)]
    return [*raw, *coded, *(one.hex().encode() for one in raw)]


def _for_a_worker(ds: Any) -> bytes:
    data = io.BytesIO()
    multiprocessing_context.set_spawning_popen(_Spawning())
    try:
        reduction.dump(ds, data)
    finally:
        multiprocessing_context.set_spawning_popen(None)
    return data.getvalue()


@pytest.fixture
def people(tmp_path: Path) -> list[Root]:
    first = [clip(f"a/{i}.wav", 0.1, speaker=name, seed=i) for i, name in enumerate([_NAMES[0], "eve", _NAMES[1]])]
    return [make_corpus(tmp_path, first), make_corpus(tmp_path, [clip("b/0.wav", 0.2, speaker=_NAMES[1])], "voice-b")]


@pytest.mark.parametrize("wanted", [_NAMES[1], [_NAMES[2], _NAMES[1]]])
def test_no_pickle_and_no_repr_names_a_speaker(people: list[Root], wanted: Any, tmp_path: Path) -> None:
    names = [wanted] if isinstance(wanted, str) else wanted
    forms = {form for name in (*names, *_NAMES[:2]) for form in _forms(name)}
    with sd.EncryptedAudioDataset(people, speaker=wanted, duration=(0.0, 9.0)) as ds:
        pickles = [_for_a_worker(ds), *(pickle.dumps(ds, one) for one in range(2, pickle.HIGHEST_PROTOCOL + 1))]
        shown = repr([ds, ds.corpora, [corpus._options for corpus in ds.corpora]]).encode()
        for data in (*pickles, shown):
            assert not [form for form in forms if form in data]
        assert any(form in pickle.dumps(names) for form in forms), "the search can find one"
        with pickle.loads(pickles[-1]) as again:
            assert again.metadata.equals(ds.metadata)
            assert not [form for form in forms if form in pickle.dumps(again)]
            assert len(again[len(again) - 1].waveform[0]) == 3200


@pytest.mark.parametrize(
    "method", ["fork", *(pytest.param(one, marks=pytest.mark.full) for one in ("spawn", "forkserver"))]
)
def test_workers_have_the_rows_of_the_speakers(people: list[Root], method: str) -> None:
    with sd.EncryptedAudioDataset(people, speaker=[_NAMES[2], _NAMES[1]]) as ds:
        loader = DataLoader(ds, batch_size=None, num_workers=1, multiprocessing_context=method)
        assert [one.speaker for one in loader] == [_NAMES[0], _NAMES[1], _NAMES[1]]


def test_refresh_and_pickles_take_new_rows_of_the_speakers(people: list[Root]) -> None:
    with sd.EncryptedAudioDataset(people, speaker=[_NAMES[0], _NAMES[1]], refresh=True) as ds:
        data = pickle.dumps(ds)
        add_clips(people[1], [clip(f"b/{i}.wav", 0.1, speaker=name) for i, name in enumerate(("eve", _NAMES[0]), 1)])
        assert ds.refresh()
        assert [ds.get_metadata(i).path for i in range(len(ds))] == ["a/0.wav", "a/2.wav", "b/0.wav", "b/2.wav"]
        with pickle.loads(data) as again:
            assert again.metadata.equals(ds.metadata)


def test_a_filter_is_pickled_as_it_is(people: list[Root]) -> None:
    with sd.EncryptedAudioDataset(people[0], filter=pc.field("speaker") == _NAMES[1]) as ds:
        assert _NAMES[1].encode() in pickle.dumps(ds), "as docs/security.md says"


def test_a_surrogate_is_no_name(root: Root) -> None:
    with pytest.raises(InvalidArgument, match="surrogate") as caught:
        sd.EncryptedAudioDataset(root, speaker="Bartholomew\udc80")
    assert "Bartholomew" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"speaker": 84}, "speaker= must be a text or a list of texts, not int: write it as text, in quotes"),
        ({"speaker": ["ann", 84]}, "speaker= must be a list of texts, and one item is int: write it as text"),
        ({"speaker": np.array([84, 174])}, "speaker= must be a list of texts, and one item is int64: write it as text"),
        ({"speaker": b"ann"}, "speaker= must be a text or a list of texts, not bytes"),
        ({"speaker": {"ann": 1}}, "speaker= must be a text or a list of texts, not dict"),
        ({"split": 1}, "split= must be a text or a list of texts, not int: write it as text"),
        ({"split": False}, "split= must be a text or a list of texts, not bool$"),
        *(({"duration": odd}, r"duration= must be \(shortest, longest\) in seconds, either") for odd in ODD_DURATIONS),
        ({"duration": (5, 1)}, r"duration= must be \(shortest, longest\), but 5.0 s is longer than 1.0 s"),
        ({"speaker": np.array(84)}, "speaker= must be a list of texts, and one item is int: write it as text"),
        ({"speaker": torch.tensor(84)}, "speaker= must be a list of texts, and one item is int: write it as text"),
        ({"duration": 5}, r"duration= must be \(shortest, longest\) in seconds"),
        ({"duration": (1, 2, 3)}, r"duration= must be \(shortest, longest\) in seconds"),
        ({"filter": "speaker == 'ann'"}, "filter= is a pyarrow expression"),
        ({"transform": 5}, "transform= must be a function, not int"),
        ({"map": "lower"}, "map= must be a function, not str"),
        ({"crop": 5}, "crop= must be 'random' or 'start', not 5"),
        ({"num_frames": "many"}, "num_frames= must be a whole number, not 'many'"),
        ({"sample_rate": [16_000]}, "sample_rate= must be a whole number, not list"),
        ({"kms": 5}, "kms= must be a text or a list of texts, not int"),
        ({"pin": [None]}, "pin= must be a list of texts, and one item is NoneType$"),
        ({"role": 5}, "role= must be a text, not int"),
        ({"ttl": "soon"}, "ttl= must be a number of seconds, not 'soon'"),
        ({"kms_wait": [1]}, "kms_wait= must be a number of seconds, not list"),
        ({"accept_generation": "new"}, "accept_generation= must be a whole number, not 'new'"),
        ({"accept_generation": 1.5}, "accept_generation= must be a whole number, not 1.5"),
        ({"refresh": "sometimes"}, "refresh= must be true or false"),
    ],
)
def test_options_of_the_wrong_type_are_one_clear_error(root: Root, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        sd.EncryptedAudioDataset(root, **options)


@pytest.mark.parametrize("target", [5, None, [5], b"voice-a", ["voice-a", None], TensorDataset(torch.zeros(2))])
def test_a_target_of_the_wrong_type_is_one_clear_error(root: Root, target: Any) -> None:
    with pytest.raises(
        InvalidArgument, match=r"a corpus is given as a name, .* not as (int|NoneType|bytes|TensorDataset)"
    ):
        sd.EncryptedAudioDataset(target)


def test_names_may_come_as_any_list_of_texts(root: Root) -> None:
    for speaker in (("ann",), {"ann"}, np.array(["ann"]), np.array("ann"), iter(["ann"]), np.str_("ann")):
        with sd.EncryptedAudioDataset(root, speaker=speaker) as ds:
            assert (len(ds), ds.speakers) == (3, ["ann"])
