"""Which rows a dataset takes: what is a slip, and what is only empty."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

import securedata as sd
from securedata.errors import InvalidArgument
from tests.kit import Root, clip, make_corpus, remove_paths
from tests.test_dataset import _memfds


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"speaker": "Ann"}, "speaker= is not in voice-a: no recording there is of that speaker; one of them"),
        (
            {"speaker": ["bob", "an n", "bob"]},
            r"speaker=, number 2 of 3, is not in voice-a: .* that speaker; 2 are known, and ds.speakers",
        ),
        ({"speaker": ""}, "2 are known"),
        ({"split": "tarin"}, "split= is not in voice-a: 'tarin' is no split there; near to it are 'train'"),
        ({"split": ["train", "dev"]}, r"split=, number 2 of 2, .* there are '', 'test', 'train'"),
        ({"speaker": "ann", "split": "valid"}, "'valid' is no split"),
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
    with pytest.warns(UserWarning, match="no recording of voice-a passes what was asked for; there are 6") as caught:
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
        with pytest.raises(InvalidArgument, match=r"0 are known|no recording there has a split"):
            sd.EncryptedAudioDataset(root, **options)


def test_what_went_away_since_is_no_slip(root: Root) -> None:
    with sd.EncryptedAudioDataset(root, speaker="ann") as ds:
        remove_paths(root, [one.path for one in root.clips if one.speaker == "ann"])
        assert ds.refresh()
        assert len(ds) == 0
