"""Training runs that are longer than their sessions, and runs whose session or token is taken away."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

import securedata as sd
from securedata.errors import AccessDenied, KMSDenied, SecuredataError
from tests.cloud.conftest import SESSION, Become
from tests.kit.cloud.access import deny
from tests.kit.corpora.cloud import Cloud
from tests.kit.corpora.recorded import Root
from tests.kit.servers import ROLE, TRAINER, Bao, seaweed
from tests.kit.sources.recordings import many_clips

pytestmark = pytest.mark.xdist_group("servers")

WORKERS = 2


def train(ds: sd.EncryptedAudioDataset, seconds: float, batch: int = 4) -> Iterator[sd.Batch]:
    """One epoch that takes so long: every step as long as the others."""
    loader = DataLoader(
        ds,
        batch_size=batch,
        num_workers=WORKERS,
        prefetch_factor=1,
        multiprocessing_context="fork",
        collate_fn=sd.pad_collate,
    )
    began = time.monotonic()
    for step, one in enumerate(loader, start=1):
        yield one
        time.sleep(max(0.0, began + step * seconds / len(loader) - time.monotonic()))


def run_and_count(cloud: Cloud, become: Become, root: Root, session: float, seconds: float) -> None:
    """A run under sessions of `session` seconds: every sample once, and as many calls to the KMS as the design says."""
    become(TRAINER, cloud.token(root))
    before = cloud.unwraps(root)
    with sd.EncryptedAudioDataset(f"securedata://{root.name}") as ds:
        assert cloud.unwraps(root) == before + 1
        began = time.monotonic()
        seen = []
        for batch in train(ds, seconds):
            for name, said, wave, length in zip(
                batch.utterance, batch.transcript, batch.waveform, batch.lengths, strict=True
            ):
                number = int(name)
                assert said == f"number {number}"
                assert np.array_equal(wave[:, :length].numpy(), root.clips[number].audio)
                seen.append(number)
        took = time.monotonic() - began
    assert sorted(seen) == list(range(len(root.clips))), "every sample once"
    renewals = cloud.unwraps(root) - before - 1
    # A worker renews when it reads past 75 to 85 % of what is left of its session, a second of which the server may
    # have rounded off, and its reads are a step of both workers apart.
    step = 2 * WORKERS * seconds / math.ceil(len(root.clips) / 4)
    fewest, most = math.floor((took - step) / (0.85 * session + step)), math.ceil(took / (0.75 * (session - 1)))
    print(
        f"{took:.0f} s of sessions of {session:g} s: 1 + {renewals} unwraps, predicted 1 + {fewest}..{most} x {WORKERS}"
    )
    assert WORKERS * max(fewest, 1) <= renewals <= WORKERS * most


def test_a_run_outlives_its_sessions(cloud: Cloud, become: Become) -> None:
    root = cloud.make("contractor-a", many_clips(160), role=ROLE)
    run_and_count(cloud, become, root, SESSION, 40)


@pytest.mark.full
def test_a_long_run_outlives_its_sessions(
    bao: Bao, prefix: str, tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with seaweed(tmp_path / "weed", 25) as weed:

        def put(keys: tuple[str, str], token: str) -> None:
            for name, value in {**weed.environment(keys), "VAULT_TOKEN": token}.items():
                monkeypatch.setenv(name, value)

        put(("ADMINKEY", "adminsecret0123"), bao.token)
        cloud = Cloud(weed, bao, prefix)
        root = cloud.make("contractor-a", many_clips(360), role=ROLE)
        run_and_count(cloud, put, root, 25, 90)


def revoke(cloud: Cloud, token: str) -> AbstractContextManager[None]:
    cloud.bao.client().auth.token.revoke(token)
    return nullcontext()


@pytest.mark.parametrize(
    ("take_away", "error", "text"),
    [
        (lambda cloud, root, token: deny(cloud, root), AccessDenied, "refused or missing (AccessDenied"),
        (lambda cloud, root, token: revoke(cloud, token), KMSDenied, "the token expired, was revoked, or its policy"),
    ],
    ids=["session denied", "token revoked"],
)
def test_a_run_stops_within_a_session_of_its_revocation(
    cloud: Cloud,
    become: Become,
    take_away: Callable[[Cloud, Root, str], AbstractContextManager[None]],
    error: type[SecuredataError],
    text: str,
) -> None:
    root = cloud.make("contractor-a", many_clips(60), role=ROLE)
    token = cloud.token(root)
    become(TRAINER, token)
    with sd.EncryptedAudioDataset(f"securedata://{root.name}", kms_wait=600) as ds:
        steps = train(ds, 60, batch=1)
        for _ in range(2):
            next(steps)
        began = time.monotonic()
        with take_away(cloud, root, token):
            with pytest.raises(error) as caught:
                for _ in steps:
                    pass
            assert time.monotonic() - began < SESSION + 8  # the session was begun before, and a step takes two
            assert type(caught.value) is error
            assert text in str(caught.value)
            assert str(root) in str(caught.value) or root.kms in str(caught.value)
            with pytest.raises(error):  # in this process likewise
                ds[0]
