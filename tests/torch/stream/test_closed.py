"""Rows that are closed while a stream holds them: people who are erased, in what was decrypted ahead already."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import securedata as sd
from tests.kit.corpora.erasing import erase
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import clip

MANY = 60
TTL = 0.2


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Every third recording is of ann, and all lie in one pack."""
    made = make_corpus(
        tmp_path, [clip(f"u{n}.wav", 0.02, seed=n, speaker=("ann", "ben", "cid")[n % 3]) for n in range(MANY)]
    )
    assert sd.pack(made).objects == MANY
    return made


def test_who_is_erased_is_not_delivered_after_the_next_renewal(root: Root) -> None:
    with sd.EncryptedAudioStream(root, ttl=TTL, on_gone="skip") as stream:
        running = iter(stream)
        for _ in range(3):  # the whole pack is decrypted, and waits in the window
            next(running)
        erase(root, "ann")
        time.sleep(2 * TTL)
        assert not [sample.utterance for sample in running if sample.speaker == "ann"]


def test_nobody_who_is_erased_takes_the_place_of_others(root: Root, generous: None) -> None:
    with sd.EncryptedAudioStream(root, ttl=TTL) as stream:
        running = iter(stream)
        heard = []
        while (sample := next(running)).speaker != "ann":
            heard.append(sample)
        erase(root, "ann")
        time.sleep(2 * TTL)
        rest = list(running)
        assert len(heard) + 1 + len(rest) == MANY
        assert not [sample for sample in rest if sample.speaker == "ann"]
