"""Faults that a run meets: sessions that end or are refused, samples that are lost, people erased, workers killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import securedata as sd
from securedata.errors import AccessDenied, KMSDenied, SecuredataError, SubjectErased
from tests.cloud.conftest import SESSION, Become
from tests.kit.cloud.access import deny
from tests.kit.cloud.fault_cases import REPLACING, SESSIONS
from tests.kit.cloud.fault_plans import Between, Case
from tests.kit.cloud.faulty import (
    aimed,
    cases,
    check_met,
    check_other,
    ends,
    epoch,
    other,
    shortened,
    slowly,
    through,
)
from tests.kit.corpora.cloud import Cloud
from tests.kit.corpora.erasing import erase
from tests.kit.corpora.recorded import Root
from tests.kit.servers import ROLE, TRAINER
from tests.kit.sources.recordings import clip, many_clips

pytestmark = pytest.mark.xdist_group("servers")

# ------------------------------------------------------------------------------------------------------------ sessions


@pytest.mark.parametrize("case", cases(SESSIONS))
def test_sessions(case: Case, between: Between, cloud: Cloud, become: Become, monkeypatch: pytest.MonkeyPatch) -> None:
    shortened(monkeypatch, case)
    root = through(cloud, between).make("contractor-a", many_clips(24), role=ROLE, endpoint=between.s3.endpoint)
    become(TRAINER, cloud.token(root))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", between.sts.endpoint)
    with sd.EncryptedAudioDataset(root.reference, transform=slowly if case.rounds > 1 else None) as ds:
        planned: list[object] = []
        ends(case, lambda: epoch(ds, root, rounds=case.rounds, then=lambda: planned.append(case.plan(between))))
        check_met(case, planned[0])
        assert case.rounds == 1 or between.sts.requests


def _run(ds: sd.EncryptedAudioDataset, root: Root, seconds: float, then: Callable[[], object] = lambda: None) -> None:
    """One epoch of about so many seconds; `then` is called in its middle."""
    loader = DataLoader(
        ds, batch_size=4, num_workers=2, prefetch_factor=1, multiprocessing_context="fork", collate_fn=sd.pad_collate
    )
    seen = []
    for step, one in enumerate(loader):
        if step == len(loader) // 2:
            then()
        for name, wave, length in zip(one.utterance, one.waveform, one.lengths, strict=True):
            assert np.array_equal(wave[:, :length].numpy(), root.clips[int(name)].audio)
            seen.append(int(name))
        time.sleep(seconds / len(loader))
    assert sorted(seen) == list(range(len(root.clips)))


@pytest.mark.full
def test_sessions_that_end(cloud: Cloud, become: Become) -> None:
    assert other("the session ends, and a new one is granted") == (None, ())
    root = cloud.make("contractor-a", many_clips(64), role=ROLE)
    become(TRAINER, cloud.token(root))
    with sd.EncryptedAudioDataset(f"securedata://{root.name}") as ds:
        _run(ds, root, 2.5 * SESSION)
        assert ds.stats().kms_calls > 1


@pytest.mark.full
def test_a_session_that_is_denied(cloud: Cloud, become: Become) -> None:
    root = cloud.make("contractor-a", many_clips(160), role=ROLE)
    become(TRAINER, cloud.token(root))
    with ExitStack() as stack:
        ds = stack.enter_context(sd.EncryptedAudioDataset(f"securedata://{root.name}"))
        with pytest.raises(AccessDenied) as caught:
            _run(ds, root, 8, lambda: stack.enter_context(deny(cloud, root)))
    check_other("the session is denied, and the renewed one too", caught.value)


@pytest.mark.full
def test_a_token_that_is_revoked(cloud: Cloud, become: Become) -> None:
    root = cloud.make("contractor-a", many_clips(64), role=ROLE)
    token = cloud.token(root)
    become(TRAINER, token)
    with sd.EncryptedAudioDataset(f"securedata://{root.name}") as ds, pytest.raises(KMSDenied) as caught:
        _run(ds, root, 2.5 * SESSION, lambda: cloud.bao.client().auth.token.revoke(token))
    check_other("the KMS's token is revoked", caught.value)


class _Deadly:
    """A transform that kills its worker at the sixth sample."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, waveform: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        if self.seen == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return waveform


def test_a_worker_that_is_killed(faulty: Root) -> None:
    """torch itself tells; what the worker had counted stays counted, and the next epoch is whole."""
    with sd.EncryptedAudioDataset(faulty.reference, transform=_Deadly()) as ds:
        began = time.monotonic()
        with pytest.raises(RuntimeError) as caught:
            epoch(ds, faulty, rounds=2)
        assert time.monotonic() - began < 60
        check_other("a worker is killed with SIGKILL", caught.value)
        ds.transform = None
        before = ds.stats().samples
        assert before > 0
        epoch(ds, faulty)
        assert ds.stats().samples == before + 12


# ------------------------------------------------------------------------------------------------------------ replacing


@pytest.mark.parametrize("case", cases(REPLACING))
def test_replacing(case: Case, faulty: Root, between: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    shortened(monkeypatch, case)
    with sd.EncryptedAudioDataset(faulty.reference, **case.options) as ds:
        planned = case.plan(aimed(between, ds))
        ends(case, lambda: epoch(ds, faulty, lost=case.lost))
        check_met(case, planned)
        if case.error is None:
            assert ds.stats().replaced == len(case.lost)
            for row in case.lost:
                with pytest.raises(SecuredataError):  # asked for by number, it says what it is
                    _ = ds[row]


@pytest.fixture
def two(cloud: Cloud) -> Root:
    """Recordings of two people; row 20 is bob's, and not under way yet when two batches have come."""
    clips = [clip(f"ann/{n:04}.wav", 0.1, seed=n, speaker="bob" if n == 20 else "ann") for n in range(24)]
    return cloud.make("people", clips)


def test_a_person_is_erased(two: Root) -> None:
    assert other("a person is erased") == (None, ())
    with sd.EncryptedAudioDataset(two.reference) as ds:
        epoch(ds, two, lost=(20,), then=lambda: erase(two, "bob"))
        assert ds.stats().replaced == 1


def test_a_person_is_erased_and_the_run_wants_to_hear_of_it(two: Root) -> None:
    with sd.EncryptedAudioDataset(two.reference, on_erased="raise") as ds, pytest.raises(SubjectErased) as caught:
        epoch(ds, two, then=lambda: erase(two, "bob"))
    check_other('a person is erased, `on_erased="raise"`', caught.value)
