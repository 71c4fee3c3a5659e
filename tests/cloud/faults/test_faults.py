"""Faults of network, storage and KMS, made on the way to real servers: all is delivered once, or there is one error."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

import securedata as sd
from securedata.corpus.opening import open_corpus
from securedata.errors import StorageUnreachable
from securedata.storage.http import engine, request
from securedata.testing import faults
from tests.kit.cloud.fault_cases import (
    AWS,
    CROPPING,
    FETCHING,
    GROUPS,
    MIDDLE,
    OBJECT,
    OPENING,
    OTHERS,
    PAGE,
    RENEWING,
    TABLES,
    with_tables,
)
from tests.kit.cloud.fault_plans import Between, Case
from tests.kit.cloud.faulty import aimed, cases, check_met, ends, epoch, shortened, slowly, through
from tests.kit.corpora.cloud import Cloud
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.readers import SOUNDFILE
from tests.kit.sources.recordings import clip, some_clips

pytestmark = pytest.mark.xdist_group("servers")


# -------------------------------------------------------------------------------------------------------------- tables


def test_the_docs_hold_the_matrix() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert len(TABLES.findall(page)) == 1
    assert page == with_tables(page), "run: python -m tests.kit.cloud.fault_cases"


@pytest.mark.parametrize("table", [table for _, table in GROUPS.values()], ids=list(GROUPS))
def test_every_line_is_one_case(table: list[Case]) -> None:
    assert len({case.id for case in table}) == len(table)
    assert all(len(case.says) == (3 if case.error else 0) for case in table), "object, cause, next step"


def test_a_sample_of_each_table_runs_daily() -> None:
    for title, (_, table) in GROUPS.items():
        assert sum(case.daily for case in table) in range(1, len(table) // 2 + 1), title
    assert len({name for name, _, _ in OTHERS}) == len(OTHERS)


# ------------------------------------------------------------------------------------------------------------- fetching


@pytest.mark.parametrize("case", cases(FETCHING))
def test_fetching(case: Case, faulty: Root, between: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    if not case.real:
        shortened(monkeypatch, case)
    with sd.EncryptedAudioDataset(faulty.reference) as ds:
        assert min(ds.corpora[0].value("sealed_size", i) for i in range(len(ds))) > 2 * MIDDLE
        epoch(ds, faulty)  # without a fault
        planned = case.plan(aimed(between, ds))
        ends(case, lambda: epoch(ds, faulty))
        check_met(case, planned)


@pytest.mark.parametrize("case", cases(CROPPING))
def test_cropping(case: Case, between: Between, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    shortened(monkeypatch, case)
    clips = [clip(f"ann/{n:04}.wav", 2, seed=n) for n in range(12)]
    long = through(cloud, between).make("long", clips, endpoint=between.s3.endpoint)
    with sd.EncryptedAudioDataset(long.reference, num_frames=1_000, crop="start") as ds:
        epoch(ds, long, frames=1_000)
        ranges = [one.headers["range"] for one in between.s3.requests if one.method == "GET" and OBJECT in one.target]
        assert set(ranges) == {f"bytes=0-{120 + 16 * 1024 + 15}"}, "less than a whole object"
        planned = case.plan(between)
        ends(case, lambda: epoch(ds, long, frames=1_000))
        check_met(case, planned)


@pytest.mark.parametrize("way", ["read", "blocks", "loop"])
def test_a_connection_that_is_cut_within_a_file_is_an_error_for_soundfile(
    between: Between, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # soundfile prints what its callbacks raise
    monkeypatch.setattr(request, "PATIENCE", 1.0)
    monkeypatch.setattr(engine, "_local", threading.local())
    clips = [clip("ann/long.wav", 30), clip("ann/long.flac", 30)]
    long = through(cloud, between).make("long", clips, endpoint=between.s3.endpoint)
    with open_corpus(long.reference) as corpus:
        for i in range(len(corpus)):
            between.s3.clear()
            whole = soundfile.read(corpus.open(i))[0]
            assert np.array_equal(SOUNDFILE[way](corpus.open(i)), whole)
            between.s3.plan(faults.reset(1_000), method="GET", path=OBJECT, skip=3, times=None)
            file = corpus.open(i)
            with pytest.raises((soundfile.LibsndfileError, StorageUnreachable)):
                SOUNDFILE[way](file)
            with pytest.raises(StorageUnreachable):
                file.close()


# -------------------------------------------------------------------------------------------------------------- opening


@pytest.mark.parametrize("case", cases(OPENING))
def test_opening(case: Case, faulty: Root, between: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    shortened(monkeypatch, case)
    planned = case.plan(between)

    def run() -> None:
        with sd.EncryptedAudioDataset(faulty.reference) as ds:
            epoch(ds, faulty)

    ends(case, run)
    check_met(case, planned)


@pytest.mark.parametrize("case", cases(AWS))
def test_opening_by_aws(case: Case, between: Between, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    shortened(monkeypatch, case)
    keys = {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "y", "ENDPOINT_URL_KMS": between.aws.endpoint}
    for name, value in keys.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    key = boto3.client("kms", region_name="us-east-1").create_key()["KeyMetadata"]["Arn"]
    clips = [clip(f"ann/{n:04}.wav", 0.1, seed=n) for n in range(4)]
    root = make_corpus(tmp_path, clips, kms=f"aws-kms://{key}")
    planned = case.plan(between)

    def run() -> None:
        with sd.EncryptedAudioDataset(root) as ds:
            epoch(ds, root)

    ends(case, run)
    check_met(case, planned)


# ------------------------------------------------------------------------------------------------------------- renewing


@pytest.mark.parametrize("case", cases(RENEWING))
def test_renewing(case: Case, faulty: Root, between: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    shortened(monkeypatch, case)
    options = {"ttl": 0.8, "kms_wait": 30, **case.options}
    with sd.EncryptedAudioDataset(faulty.reference, transform=slowly, **options) as ds:
        before = len(between.kms.requests)
        planned = case.plan(between)
        ends(case, lambda: epoch(ds, faulty, rounds=4, batch=1))
        check_met(case, planned)
        assert case.error is not None or len(between.kms.requests) > before, "nobody had to renew"
        if case.error is None:
            assert ds.stats().samples == 48


def test_recordings_differ() -> None:
    assert len({one.data for one in some_clips()}) == 6
