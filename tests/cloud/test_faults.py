"""Faults of network, storage, KMS and workers, made on the way to real servers: all is delivered once, or one error."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import securedata as sd
from securedata.corpus.opening import open_corpus
from securedata.errors import AccessDenied, KMSDenied, SecuredataError
from securedata.keys import hcvault, kms
from securedata.storage import clients, curl
from securedata.testing.proxy import FaultProxy
from tests.cloud.conftest import SESSION, Become
from tests.cloud.corpora import Cloud, deny, many_clips
from tests.cloud.faultcases import (
    COMMITTING,
    FETCHING,
    MIDDLE,
    OPENING,
    OTHERS,
    PAGE,
    RENEWING,
    TABLES,
    Between,
    Case,
    with_tables,
)
from tests.kit import Root, add_clips, clip, some_clips
from tests.servers import ROLE, TRAINER, Bao, Seaweed

pytestmark = pytest.mark.xdist_group("servers")


@pytest.fixture(scope="module")
def proxies(weed: Seaweed, bao: Bao) -> Iterator[Between]:
    with FaultProxy(weed.endpoint) as s3, FaultProxy(bao.address) as keys:
        yield Between(s3, keys)


@pytest.fixture
def between(proxies: Between) -> Iterator[Between]:
    """The proxies, without a fault yet."""
    for proxy in (proxies.s3, proxies.kms):
        proxy.clear()
    yield proxies
    for proxy in (proxies.s3, proxies.kms):
        proxy.clear()


def shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The times after which we give up, so that a test need not wait for minutes."""
    for module, name, value in (
        (curl, "PATIENCE", 3.0),
        (curl, "_CONNECT_SECONDS", 2),
        (curl, "_STALL_SECONDS", 1),
        (curl, "_LEAST_SECONDS", 2),
        (curl, "_local", threading.local()),  # engines that were made with other times
        (clients, "_READ_SECONDS", 2),
        (hcvault, "_TIMEOUT", 1),
        (kms, "PATIENCE", 6.0),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.fixture(scope="module")
def made(proxies: Between, weed: Seaweed, bao: Bao, tmp_path_factory: pytest.TempPathFactory) -> Root:
    """A corpus of twelve recordings, reached through the proxies. Who reads it leaves it as it is."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**weed.environment(), "VAULT_TOKEN": bao.token}.items():
            patch.setenv(name, value)
        for name in ("CONFIG", "DATA", "STATE", "CACHE"):
            patch.setenv(f"XDG_{name}_HOME", str(home))
        through = replace(bao, address=proxies.kms.endpoint)
        cloud = Cloud(weed, through, f"t-{os.urandom(6).hex()}")
        clips = [clip(f"ann/{n:04}.wav", 0.5, seed=n) for n in range(12)]
        assert min(len(one.data) for one in clips) > 2 * MIDDLE, "a fault after the end would be none"
        return cloud.make("faulty", clips, endpoint=proxies.s3.endpoint)


@pytest.fixture
def root(made: Root, between: Between, cloud: Cloud) -> Root:
    return made


def cases(table: list[Case]) -> list[object]:
    """As parameters of a test; all but the daily ones wait for `make test-full`."""
    return [pytest.param(case, id=case.id, marks=() if case.daily else pytest.mark.full) for case in table]


def epoch(ds: sd.EncryptedAudioDataset, root: Root, rounds: int = 1, batch: int = 4) -> None:
    """Take every sample `rounds` times, through two workers; each comes so often, and is what was sealed."""
    loader = DataLoader(
        ds,
        batch_size=batch,
        sampler=[k % len(ds) for k in range(rounds * len(ds))],
        num_workers=2,
        prefetch_factor=1,
        multiprocessing_context="fork",
        collate_fn=sd.pad_collate,
    )
    seen = Counter[int]()
    batches = iter(loader)
    try:
        for one in batches:
            for name, wave, length in zip(one.utterance, one.waveform, one.lengths, strict=True):
                assert np.array_equal(wave[:, :length].numpy(), root.clips[int(name)].audio)
                seen[int(name)] += 1
    finally:
        # an error's traceback would keep the workers, until they were collected in the middle of another test
        batches._shutdown_workers()  # type: ignore[attr-defined]  # torch's own; there is no public one
    assert seen == Counter(dict.fromkeys(range(len(root.clips)), rounds))


def said(error: BaseException) -> str:
    """An error's own text: torch puts a worker's whole traceback before it, whose lines of source say anything."""
    return str(error).rpartition(f"{type(error).__name__}: ")[2] if "Traceback" in str(error) else str(error)


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
        text = said(caught.value)
        for piece in case.says:
            assert piece in text
        if "objects/" in case.says:
            assert re.search(r"objects/[0-9a-f]{2}/[0-9a-f]{32} of s3://voice/", text)
    assert time.monotonic() - began < case.within


# ------------------------------------------------------------------------------------------------------------- tables


def test_the_docs_hold_the_matrix() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert len(TABLES.findall(page)) == 1
    assert page == with_tables(page), "run: python -m tests.cloud.faultcases"


@pytest.mark.parametrize("table", [FETCHING, OPENING, RENEWING, COMMITTING])
def test_every_line_is_one_case(table: list[Case]) -> None:
    ids = [case.id for case in table]
    assert len(set(ids)) == len(ids)
    assert any(case.daily and case.error is None for case in table)


# ------------------------------------------------------------------------------------------------------------ proxies


@pytest.mark.parametrize("case", cases(FETCHING))
def test_fetching(case: Case, root: Root, between: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    if not case.real:
        shortened(monkeypatch)
    with sd.EncryptedAudioDataset(root.reference, **case.options) as ds:
        epoch(ds, root)  # without a fault
        rule = case.plan(between)
        ends(case, lambda: epoch(ds, root))
        assert getattr(rule, "hits", 1) > 0, "no request met the fault"


@pytest.mark.parametrize("case", cases(OPENING))
def test_opening(case: Case, root: Root, between: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    shortened(monkeypatch)
    rule = case.plan(between)

    def run() -> None:
        with sd.EncryptedAudioDataset(root.reference, **case.options) as ds:
            epoch(ds, root)

    ends(case, run)
    assert getattr(rule, "hits", 1) > 0, "no request met the fault"


def _slowly(waveform: torch.Tensor) -> torch.Tensor:
    time.sleep(0.15)
    return waveform


@pytest.mark.parametrize("case", cases(RENEWING))
def test_renewing(case: Case, root: Root, between: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    shortened(monkeypatch)
    options = {"ttl": 0.8, "kms_wait": 30, **case.options}
    with sd.EncryptedAudioDataset(root.reference, transform=_slowly, **options) as ds:
        before = len(between.kms.requests)
        rule = case.plan(between)
        ends(case, lambda: epoch(ds, root, rounds=4, batch=1))
        assert getattr(rule, "hits", 1) > 0, "no request met the fault"
        assert case.error is not None or len(between.kms.requests) > before, "nobody had to renew"
        if case.error is None:
            assert ds.stats().samples == 48


@pytest.mark.parametrize("case", cases(COMMITTING))
def test_committing(
    case: Case, between: Between, cloud: Cloud, proxies: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    shortened(monkeypatch)
    through = replace(cloud, bao=replace(cloud.bao, address=proxies.kms.endpoint))
    root = through.make("written", [clip("old.wav", 0.1)], endpoint=between.s3.endpoint)
    with open_corpus(root.reference) as corpus:
        generation = corpus.generation
    rule = case.plan(between)
    ends(case, lambda: add_clips(root, [clip("new.wav", 0.1, seed=5)]))
    assert getattr(rule, "hits", 1) > 0, "no request met the fault"
    for proxy in (between.s3, between.kms):
        proxy.clear()
    with open_corpus(root.reference) as corpus:
        committed = case.error is None
        assert corpus.generation == generation + committed  # once, and not twice
        assert sorted(corpus.table.column("path").to_pylist()) == ["new.wav", "old.wav"][not committed :]
        if committed:
            assert bytes(corpus.read("new.wav")) == root.clips[-1].data


# ------------------------------------------------------------------------------------------------- the run as a whole


def _row(fault: str) -> tuple[type[Exception] | None, tuple[str, ...]]:
    [(error, says)] = [(error, says) for name, error, says in OTHERS if name == fault]
    return error, says


def _check(fault: str, error: BaseException) -> None:
    kind, says = _row(fault)
    assert type(error) is kind
    for piece in says:
        assert piece in said(error)


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
    assert _row("the session ends, and a new one is given") == (None, ())
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
    _check("the session is denied, and the renewed one too", caught.value)


@pytest.mark.full
def test_a_token_that_is_revoked(cloud: Cloud, become: Become) -> None:
    root = cloud.make("contractor-a", many_clips(64), role=ROLE)
    token = cloud.token(root)
    become(TRAINER, token)
    with sd.EncryptedAudioDataset(f"securedata://{root.name}") as ds, pytest.raises(KMSDenied) as caught:
        _run(ds, root, 2.5 * SESSION, lambda: cloud.bao.client().auth.token.revoke(token))
    _check("the KMS's token is revoked", caught.value)


class _Deadly:
    """A transform that kills its worker at the sixth sample."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, waveform: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        if self.seen == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return waveform


def test_a_worker_that_is_killed(root: Root) -> None:
    """torch itself tells; what the worker had counted stays counted, and the next epoch is whole."""
    with sd.EncryptedAudioDataset(root.reference, transform=_Deadly()) as ds:
        began = time.monotonic()
        with pytest.raises(RuntimeError) as caught:
            epoch(ds, root, rounds=2)
        assert time.monotonic() - began < 25
        _check("a worker is killed with -9", caught.value)
        ds.transform = None
        before = ds.stats().samples
        assert before > 0
        epoch(ds, root)
        assert ds.stats().samples == before + 12


def test_recordings_differ() -> None:
    assert len({one.data for one in some_clips()}) == 6
