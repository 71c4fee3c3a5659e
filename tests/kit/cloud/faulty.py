"""What the tests of the fault matrix share: times cut short, an epoch that is checked, and how a case ends."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import securedata as sd
from securedata.errors import SecuredataError
from securedata.keys import aws, hcvault, kms
from securedata.storage.http import engine, get, put, request
from securedata.storage.s3 import clients
from securedata.testing.proxy import Rule
from tests.kit.cloud.fault_cases import OTHERS
from tests.kit.cloud.fault_plans import Between, Case
from tests.kit.corpora.cloud import Cloud
from tests.kit.corpora.recorded import Root


def cases(table: list[Case]) -> list[object]:
    """As parameters of a test; all but the daily ones wait for `make test-full`."""
    return [pytest.param(case, id=case.id, marks=() if case.daily else pytest.mark.full) for case in table]


def shortened(monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    """The times after which we give up, so that a test need not wait for minutes.

    A case in which nothing is given up has more of them: on a busy machine a server may be slow besides.
    """
    gives_up = case.error is not None or case.lost
    for module, name, value in (
        (request, "PATIENCE", 3.0 if gives_up else 20.0),
        (get, "_STALL_SECONDS", 1),
        (get, "_LEAST_SECONDS", 2),
        (put, "_STALL_SECONDS", 1),
        (engine, "_CONNECT_SECONDS", 2),
        (engine, "_local", threading.local()),  # engines that were made with other times
        (clients, "_READ_SECONDS", 3),
        (hcvault, "_TIMEOUT", 2),
        (aws, "_READ_SECONDS", 2),
        (kms, "PATIENCE", 3.0 if gives_up else 20.0),
    ):
        monkeypatch.setattr(module, name, value)


def through(cloud: Cloud, between: Between) -> Cloud:
    """The servers of a test, its KMS reached through the proxy."""
    return replace(cloud, bao=replace(cloud.bao, address=between.kms.endpoint))


def aimed(between: Between, ds: sd.EncryptedAudioDataset) -> Between:
    """The proxies, with the objects of a dataset for faults of some of them."""
    return replace(between, objects=tuple(ds.corpora[0].value("object_id", i).hex() for i in range(len(ds))))


def epoch(
    ds: sd.EncryptedAudioDataset,
    root: Root,
    *,
    rounds: int = 1,
    batch: int = 4,
    frames: int | None = None,
    lost: Sequence[int] = (),
    then: Callable[[], object] = lambda: None,
) -> None:
    """Take every sample `rounds` times, through two workers; each comes so often, and is what was sealed.

    Args:
        frames: of each only so many.
        lost: for these rows the next one comes.
        then: is called once two batches are there.
    """
    loader = DataLoader(
        ds,
        batch_size=batch,
        sampler=[k % len(ds) for k in range(rounds * len(ds))],
        num_workers=2,
        prefetch_factor=1,
        multiprocessing_context="fork",
        collate_fn=sd.pad_collate,
    )
    names = [int(ds.get_metadata(i).utterance) for i in range(len(ds))]
    wanted = Counter(dict.fromkeys(names, rounds))
    for row in lost:
        wanted[names[row]] -= rounds
        wanted[names[row + 1]] += rounds
    seen = Counter[int]()
    batches = iter(loader)
    try:
        for step, one in enumerate(batches, start=1):
            assert len(one.utterance) == batch
            for name, wave, length in zip(one.utterance, one.waveform, one.lengths, strict=True):
                assert np.array_equal(wave[:, :length].numpy(), root.clips[int(name)].audio[:, :frames])
                seen[int(name)] += 1
                assert seen[int(name)] <= wanted[int(name)]
            if step == 2:
                then()
    finally:
        # an error's traceback would keep the workers, until they were collected in the middle of another test
        batches._shutdown_workers()  # type: ignore[attr-defined]  # torch's own; there is no public one
    assert seen == +wanted


def said(error: BaseException) -> str:
    """An error's own text: torch puts a worker's whole traceback before it, whose lines of source say anything."""
    before, _, own = str(error).partition(f"\n{type(error).__module__}.{type(error).__name__}: ")
    return own or before


def slowly(waveform: torch.Tensor) -> torch.Tensor:
    """A transform that takes its time."""
    time.sleep(0.15)
    return waveform


def ends(case: Case, run: Callable[[], object]) -> None:
    """Run it: it ends as the table says, in time, and an error says what it has to."""
    began = time.monotonic()
    if case.error is None:
        run()
    else:
        with pytest.raises(case.error) as caught:
            run()
        assert type(caught.value) is case.error
        assert isinstance(caught.value, SecuredataError)
        print(said(caught.value))
        check_text(said(caught.value), case.says)
    assert case.least <= time.monotonic() - began < case.within


def check_text(text: str, says: Sequence[str]) -> None:
    """An error's text names object, cause and next step, in this order."""
    at = 0
    for piece in says:
        at = text.find(piece, at)
        assert at >= 0, f"{piece!r} is not in its place in {text!r}"
        at += len(piece)
    if any("object" in piece for piece in says):  # all that is left of an error that a DataLoader made anew
        assert re.search(r"(objects/[0-9a-f]{2}/|object )[0-9a-f]{32} of s3://voice/", text)


def check_met(case: Case, planned: object) -> None:
    """Requests met the fault: as many as were to, where a run goes on after them."""
    if isinstance(planned, Rule):
        assert planned.hits > 0, "no request met the fault"
        if case.error is None and planned.times is not None:
            assert planned.hits == planned.times


def other(fault: str) -> tuple[type[Exception] | None, tuple[str, ...]]:
    """How a line of OTHERS ends."""
    [found] = [(error, says) for name, error, says in OTHERS if name == fault]
    return found


def check_other(fault: str, error: BaseException) -> None:
    """It ended as that line says."""
    kind, says = other(fault)
    assert type(error) is kind
    check_text(said(error), says)
