"""Look-ahead meets what a fetch meets: errors come once, when a batch is asked for; keys and sessions are renewed."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest
from torch.utils.data import DataLoader

import securedata as sd
from securedata.errors import AccessDenied, StorageUnreachable
from securedata.storage.http import engine, get, request
from securedata.testing import faults
from tests.cloud.conftest import Become
from tests.kit.cloud.fault_plans import Between
from tests.kit.cloud.faulty import through
from tests.kit.corpora.cloud import Cloud
from tests.kit.corpora.erasing import erase
from tests.kit.corpora.recorded import Root
from tests.kit.servers import ROLE, TRAINER
from tests.kit.sources.recordings import clip, many_clips

pytestmark = pytest.mark.xdist_group("servers")

MANY = 48
LAST = 8
"""Recordings of a second person, at the end."""
BATCH = 4


def make(cloud: Cloud, between: Between, role: str | None = None) -> Root:
    clips = [*many_clips(MANY - LAST), *(clip(f"bob/last{n}.wav", 0.05, seed=n, speaker="bob") for n in range(LAST))]
    return through(cloud, between).make("ahead", clips, role=role, endpoint=between.s3.endpoint)


@pytest.fixture
def root(cloud: Cloud, between: Between) -> Root:
    return make(cloud, between)


class Slowly:
    """A transform, of which one takes so many seconds, and the others a moment."""

    def __init__(self, seconds: float = 0.0, at: int = 20) -> None:
        self.seconds, self.left = seconds, at

    def __call__(self, waveform: Any) -> Any:
        self.left -= 1
        time.sleep(self.seconds if not self.left else 0.01)
        return waveform


def loader_of(ds: sd.EncryptedAudioDataset, workers: int = 1) -> DataLoader[Any]:
    return DataLoader(
        ds,
        BATCH,
        num_workers=workers,
        prefetch_factor=3,
        collate_fn=sd.pad_collate,
        multiprocessing_context="fork",
    )


def names(ds: sd.EncryptedAudioDataset) -> list[str]:
    """Those of an epoch, in which nothing was fetched twice; most of its batches were ahead."""
    before = ds.stats().batches_ahead
    found = [name for batch in loader_of(ds) for name in batch.utterance]
    assert ds.stats().batches_ahead - before >= MANY / BATCH / 2
    return found


def of_rows(ds: sd.EncryptedAudioDataset) -> list[str]:
    return [ds.get_metadata(i).utterance for i in range(len(ds))]


def gets(between: Between) -> int:
    return sum(one.method == "GET" and "/objects/" in one.target for one in between.s3.requests)


def lose(cloud: Cloud, root: Root, ds: sd.EncryptedAudioDataset, i: int) -> None:
    """Delete the object of a row."""
    object_id = ds.corpora[0].value("object_id", i).hex()
    bucket, _, prefix = root.reference.root.removeprefix("s3://").partition("/")
    key = f"{prefix}/objects/{object_id[:2]}/{object_id}"
    cloud.weed.client().delete_object(Bucket=bucket, Key=key)


def test_a_missing_object_is_an_error_of_its_batch_alone(cloud: Cloud, root: Root) -> None:
    with sd.EncryptedAudioDataset(root.reference, transform=Slowly()) as ds:
        lose(cloud, root, ds, 25)
        batches = iter(loader_of(ds))
        found = [next(batches).utterance for _ in range(6)]
        with pytest.raises(sd.errors.ObjectMissing):
            next(batches)
        found += [one.utterance for one in batches]
        assert [name for batch in found for name in batch] == of_rows(ds)[:24] + of_rows(ds)[28:]


def test_what_is_replaced_is_counted_once(cloud: Cloud, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("securedata.torch.replace.SHARE", 1)  # all may be replaced
    with sd.EncryptedAudioDataset(root.reference, transform=Slowly(), on_error="replace") as ds:
        lose(cloud, root, ds, 25)
        rows = of_rows(ds)
        assert names(ds) == [*rows[:25], rows[26], *rows[26:]]
        assert ds.stats().replaced == 1
        assert ds.stats().samples == MANY


def test_people_who_are_erased_while_a_batch_is_ahead(cloud: Cloud, root: Root) -> None:
    with sd.EncryptedAudioDataset(root.reference, transform=Slowly(), on_gone="skip") as ds:
        rows = of_rows(ds)
        batches = iter(loader_of(ds))
        found = list(next(batches).utterance)
        erase(root, "bob")
        found += [name for batch in batches for name in batch.utterance]
        # in place of a batch that would be empty comes one of the first
        assert found[: MANY - LAST] == rows[:-LAST]
        assert not any(name.startswith("last") for name in found)
        assert len(found) == MANY - LAST + LAST // BATCH
        assert ds.stats().skipped == LAST - LAST // BATCH


def test_keys_are_renewed_while_batches_are_ahead(cloud: Cloud, root: Root) -> None:
    before = cloud.unwraps(root)
    with sd.EncryptedAudioDataset(root.reference, transform=Slowly(), ttl=0.3) as ds:
        assert names(ds) == of_rows(ds)
    assert cloud.unwraps(root) - before > 2


def test_a_session_that_ends_while_batches_are_ahead(cloud: Cloud, between: Between, become: Become) -> None:
    root = make(cloud, between, ROLE)
    become(TRAINER, cloud.token(root))
    with sd.EncryptedAudioDataset(root.reference, transform=Slowly()) as ds:
        between.s3.clear()
        rule = between.s3.plan(faults.status(403, "ExpiredToken"), method="GET", path="/objects/", skip=14, times=6)
        assert names(ds) == of_rows(ds)
        assert rule.hits == 6
        assert gets(between) == MANY + 6


def test_a_decoder_that_takes_longer_than_any_stall(
    root: Root, between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, value in (
        (request, "PATIENCE", 0.0),  # a failure that is counted is an error
        (get, "_STALL_SECONDS", 1),
        (get, "_LEAST_SECONDS", 2),
        (engine, "_CONNECT_SECONDS", 1),
        (engine, "_local", threading.local()),
    ):
        monkeypatch.setattr(module, name, value)
    with sd.EncryptedAudioDataset(root.reference, transform=Slowly(3.5)) as ds:
        between.s3.plan(faults.latency(0.1), method="GET", path="/objects/", times=None)
        assert names(ds) == of_rows(ds)


def test_a_server_that_is_away_is_one_error(
    root: Root, between: Between, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(request, "PATIENCE", 1.0)
    with sd.EncryptedAudioDataset(root.reference, transform=Slowly()) as ds, caplog.at_level(logging.WARNING):
        batches = iter(loader_of(ds))
        next(batches)
        between.s3.plan(faults.status(503, "SlowDown"), method="GET", path="/objects/", times=None)
        with pytest.raises(StorageUnreachable):
            for _ in batches:
                pass
        del batches
        between.s3.clear()
        assert names(ds) == of_rows(ds)
    assert not caplog.records


def test_a_refusal_is_met_when_the_batch_is_asked_for(root: Root, between: Between) -> None:
    with sd.EncryptedAudioDataset(root.reference, transform=Slowly()) as ds:
        object_id = ds.corpora[0].value("object_id", 30).hex()
        between.s3.plan(faults.status(403, "AccessDenied"), method="GET", path=object_id, times=None)
        batches = iter(loader_of(ds))
        found = [name for _ in range(7) for name in next(batches).utterance]
        assert found == of_rows(ds)[:28]
        with pytest.raises(AccessDenied):
            next(batches)
