"""Rows that may not be read, because their consent has ended or was withdrawn, or is to something else."""

from __future__ import annotations

import datetime
from pathlib import Path

import pyarrow.compute as pc
import pytest
from torch.utils.data import DataLoader

import securedata as sd
from securedata.errors import InvalidArgument
from tests.kit.corpora.recorded import add_clips, make_corpus
from tests.kit.sources.recordings import Clip, clip

PAST = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


def names(stream: sd.EncryptedAudioStream) -> list[str]:
    return sorted(sample.utterance for sample in stream)


def utterances(samples: list[sd.Sample]) -> list[str]:
    """A collate_fn."""
    return [sample.utterance for sample in samples]


def some() -> list[Clip]:
    return [
        clip("any.wav", 0.02),
        clip("asr.wav", 0.02, purposes=["asr"]),
        clip("none.wav", 0.02, purposes=[]),
        clip("past.wav", 0.02, expires=PAST),
    ]


def test_consent_decides_what_comes(tmp_path: Path) -> None:
    root = make_corpus(tmp_path, some())
    with sd.EncryptedAudioStream(root) as stream:
        assert names(stream) == ["any", "asr"]
        assert stream.stats().withdrawn == 1
    with sd.EncryptedAudioStream(root, purpose="asr") as stream:
        assert names(stream) == ["asr"]
        assert stream.stats().other_purpose == 2  # one recorded none, and one has ended as well


def test_part_that_was_not_counted_leaves_out_its_rows(tmp_path: Path) -> None:
    root = make_corpus(tmp_path, [clip(f"u{n}.wav", 0.02) for n in range(6)])
    add_clips(root, some())  # a smaller part, which is not looked at before it is opened
    with sd.EncryptedAudioStream(root) as stream:
        assert not stream._counts[0].exact
        running = iter(stream)
        heard = [next(running).utterance for _ in range(3)]
        stream.load_state_dict(stream.state_dict())
        assert sorted(heard + names(stream)) == ["any", "asr", *(f"u{n}" for n in range(6))]


def test_ranks_have_equally_many_where_rows_turn_out_closed(tmp_path: Path) -> None:
    root = make_corpus(tmp_path, [clip(f"u{n}.wav", 0.02, seed=n, speaker=f"p{n}") for n in range(14)])
    closed = [clip(f"none{n}.wav", 0.02, purposes=[]) for n in range(3)] + [clip("past.wav", 0.02, expires=PAST)]
    add_clips(root, [*closed, *(clip(f"w{n}.wav", 0.02) for n in range(3))])
    readable = sorted([*(f"u{n}" for n in range(14)), *(f"w{n}" for n in range(3))])
    for uneven, each in (("pad", 11), ("drop", 10), (None, None)):
        heard = []
        for rank in range(2):
            with sd.EncryptedAudioStream(root, rank=rank, world=2, uneven=uneven) as stream:
                assert not stream._counts[0].exact
                given = names(stream)
                assert each is None or len(given) == len(stream) == each
                heard += given
        assert sorted(heard) == readable if uneven is None else set(heard) <= set(readable)
        assert len(readable) - len(set(heard)) <= (uneven == "drop")


def test_worker_of_a_rank_gives_others_for_closed_rows_and_goes_on_exactly(tmp_path: Path) -> None:
    root = make_corpus(tmp_path, [clip(f"u{n}.wav", 0.02, seed=n, speaker=f"p{n}") for n in range(14)])
    add_clips(root, [clip(f"none{n}.wav", 0.02, purposes=[]) for n in range(6)])
    with sd.EncryptedAudioStream(root, rank=0, world=2) as stream:
        loader = DataLoader(stream, batch_size=2, num_workers=1, multiprocessing_context="fork", collate_fn=utterances)
        given = list(loader)
        assert [len(batch) for batch in given] == [2] * 5  # of 10 rows
        state = stream.state_dict(loader, 3)
    rest = []
    for rank in range(2):
        with sd.EncryptedAudioStream(root, rank=rank, world=2) as stream:
            stream.load_state_dict(state)
            rest.append(names(stream))
    assert len(rest[0]) == len(rest[1]) == 4  # of 8 rows, of which the first 3 steps of both ranks had 12


def test_no_filter_sees_the_keys(tmp_path: Path) -> None:
    root = make_corpus(tmp_path, some())
    for opened in (sd.EncryptedAudioStream, sd.EncryptedAudioDataset):
        with pytest.raises(InvalidArgument, match="filter= does not fit the manifest"):
            opened(root, filter=pc.field("data_key") == bytes(32))
