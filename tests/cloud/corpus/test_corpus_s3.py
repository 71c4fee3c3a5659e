"""Whole corpora on S3 under OpenBao: made, filled, read by workers, written by two hosts, checked, pruned, exported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

import securedata as sd
from securedata.corpus.config import Reference, load, write_entry
from securedata.corpus.opening import open_corpus
from securedata.corpus.writer import Writer
from securedata.storage.s3.store import PART, S3Storage
from tests.cloud.conftest import VERSIONED, Become
from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.cloud.forward import Forward, forward
from tests.kit.corpora.cloud import Cloud, keys_in
from tests.kit.corpora.recorded import Root, add_clips
from tests.kit.servers import ROLE, TRAINER, Bao, seaweed
from tests.kit.sources.recordings import Clip, clip, encode, many_clips, noise, some_clips, write_clips

pytestmark = pytest.mark.xdist_group("servers")


# ------------------------------------------------------------------------------------------------------- the command


@pytest.mark.parametrize("bucket", ["voice", VERSIONED])
def test_from_a_folder_to_s3_and_back(
    cloud: Cloud, run: Run, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wavs = write_clips(tmp_path / "wavs")
    large = encode(noise(PART / 2 / 16_000 + 60), 16_000)  # above what goes in one put
    (wavs / "ann" / "long.wav").write_bytes(large)
    root, name = f"s3://{bucket}/{cloud.prefix}/Zoë a+b", f"n{cloud.prefix}"
    uri = cloud.bao.make_key(cloud.prefix)
    assert run("init", root, "--kms", uri, "--name", name).code == 0
    assert run("encrypt", wavs, name, *PATTERN).code == 0
    assert run("encrypt", wavs, name, *PATTERN).code == 0, "again, and nothing is to be done"
    assert run("info", name, "--json").json["recordings"] == 7
    assert "utt0.wav" in run("ls", name, "-R").out
    checked = run("verify", name, "--json").json
    assert checked["ok"]
    assert checked["objects_opened"] == 7
    # what a writer left: first it counts as in flight, and a day later it is deleted
    writer = Writer(load()[name])
    put = writer.put_object([b"left over"])
    assert run("verify", name, "--json").json["in_flight"] == 1
    now = S3Storage.now
    monkeypatch.setattr(S3Storage, "now", lambda self: now(self) + 25 * 3600)
    pruned = run("verify", name, "--prune", "--json").json
    assert pruned["ok"]
    assert [put.object_id.hex() in key for key in pruned["pruned"]["deleted"]] == [True]
    monkeypatch.setattr(S3Storage, "now", now)
    assert run("verify", name).code == 0
    assert run("export", name, tmp_path / "back", "--allow-plaintext-export").code == 0
    for path in wavs.rglob("*.wav"):
        assert (tmp_path / "back" / path.relative_to(wavs)).read_bytes() == path.read_bytes()
    assert (tmp_path / "back" / "ann" / "long.wav").read_bytes() == large
    with open_corpus(name) as corpus:
        assert bytes(corpus.read_range("ann/long.wav", PART - 100, 200)) == large[PART - 100 : PART + 100]


def test_an_entry_may_say_how_its_storage_is_reached_before_there_is_a_corpus(
    cloud: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    root, name, uri = f"s3://voice/{cloud.prefix}/a", f"n{cloud.prefix}", cloud.bao.make_key(cloud.prefix)
    options = {"endpoint_url": cloud.weed.endpoint, "region": "eu-west-3", "role": ROLE}
    write_entry(name, Reference(root, name, (uri,), (), options))
    assert run("init", root, "--name", name).code == 0
    entry = load()[name]
    assert dict(entry.options) == options
    assert entry.kms == (uri,)
    assert len(entry.pins) == 1
    assert keys_in(cloud.weed, root) == [f"{cloud.prefix}/a/head"]
    with open_corpus(entry.without_role()) as corpus:
        assert len(corpus) == 0


def test_a_corpus_that_a_delete_hides_is_not_made_anew(cloud: Cloud, run: Run) -> None:
    root = cloud.make("contractor-a", bucket=VERSIONED)
    client = cloud.weed.client()
    for key in keys_in(cloud.weed, root):
        client.delete_object(Bucket=VERSIONED, Key=key)  # as an owner's tool does: a marker
    assert keys_in(cloud.weed, root) == []
    done = run("init", root, "--kms", root.kms, "--name", "another")
    assert done.code == 1
    assert "deleted" in done.error
    add = run("verify", root.name, "--prune")
    assert add.code == 1
    assert "the corpus is gone" in add.error


def test_starting_over_on_s3(cloud: Cloud, run: Run) -> None:
    root = cloud.make("contractor-a", bucket=VERSIONED)
    client = cloud.weed.client()
    prefix = root.removeprefix(f"s3://{VERSIONED}/")
    refused = run("init", root, "--start-over")
    assert (refused.code, "there is a" in refused.error) == (1, True)
    for key in keys_in(cloud.weed, root):
        client.delete_object(Bucket=VERSIONED, Key=key)
    refused = run("init", root, "--start-over")
    assert refused.code == 1
    assert "can still be restored" in refused.error
    assert str(load()[root.name].pins[0]) == root.pin
    found = client.list_object_versions(Bucket=VERSIONED, Prefix=prefix)
    for one in (*found.get("Versions", ()), *found.get("DeleteMarkers", ())):
        client.delete_object(Bucket=VERSIONED, Key=one["Key"], VersionId=one["VersionId"])
    gone = run("init", root)
    assert gone.code == 1
    assert "--start-over" in gone.error
    done = run("init", root, "--start-over", "--json")
    assert done.code == 0, done.err
    assert done.json["dropped_pins"] == [root.pin]
    assert keys_in(cloud.weed, root) == [f"{prefix}/head"]


# ------------------------------------------------------------------------------------------------------------ workers


@pytest.fixture(autouse=True)
def own_fork_server() -> Iterator[None]:
    """A fork server keeps the environment of the test that started it, of whatever file: each test here has its own."""
    from multiprocessing import forkserver

    server = forkserver._forkserver
    if server._forkserver_pid is not None:  # a process that another test left can hold it open
        os.kill(server._forkserver_pid, signal.SIGKILL)
    server._stop()
    yield
    server = forkserver._forkserver
    if server._forkserver_pid is not None:  # a process that another test left can hold it open
        os.kill(server._forkserver_pid, signal.SIGKILL)
    server._stop()


def names(ds: sd.EncryptedAudioDataset, method: str, workers: int) -> Iterator[str]:
    """One epoch, by what the samples are called."""
    loader = DataLoader(
        ds, batch_size=4, num_workers=workers, multiprocessing_context=method, collate_fn=sd.pad_collate, shuffle=True
    )
    for batch in loader:
        yield from batch.utterance


@pytest.mark.parametrize(
    ("method", "workers"),
    [
        ("fork", 8),
        pytest.param("spawn", 2, marks=pytest.mark.full),
        pytest.param("forkserver", 2, marks=pytest.mark.full),
        pytest.param("spawn", 8, marks=pytest.mark.full),
        pytest.param("forkserver", 8, marks=pytest.mark.full),
    ],
)
def test_one_unwrap_for_all_workers(cloud: Cloud, method: str, workers: int) -> None:
    root = cloud.make("contractor-a", many_clips(64))
    before = cloud.unwraps(root)
    with sd.EncryptedAudioDataset(root.reference) as ds:
        for _ in range(2 if method == "fork" else 1):
            assert Counter(names(ds, method, workers)) == {f"{n:04}": 1 for n in range(64)}
    assert cloud.unwraps(root) == before + 1


@pytest.mark.full
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_take_over_the_session(
    bao: Bao, prefix: str, tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    with seaweed(tmp_path / "weed", 3600) as weed, forward(weed.endpoint) as sts:
        for name, value in {**weed.environment(), "VAULT_TOKEN": bao.token}.items():
            monkeypatch.setenv(name, value)
        cloud = Cloud(weed, bao, prefix)
        root = cloud.make("contractor-a", many_clips(64))
        for name, value in {**weed.environment(TRAINER), "VAULT_TOKEN": cloud.token(root)}.items():
            monkeypatch.setenv(name, value)
        before = cloud.unwraps(root)
        options = {"role": ROLE, "sts_endpoint_url": f"http://127.0.0.1:{sts.port}"}
        with sd.EncryptedAudioDataset(replace(root.reference, options=options)) as ds:
            assert Counter(names(ds, method, 8)) == {f"{n:04}": 1 for n in range(64)}
        assert cloud.unwraps(root) == before + 1
        assert len(sts.requests) == 1


def test_a_worker_knows_where_the_bucket_is_without_asking_botocore_again(cloud: Cloud, become: Become) -> None:
    """A forked worker under a role makes no client of botocore before it has to renew."""
    root = cloud.make("contractor-a", role=ROLE)
    become(TRAINER, cloud.token(root))
    with open_corpus(root.reference) as corpus:
        child = os.fork()
        if child == 0:
            try:
                right = bytes(corpus.read("ann/utt0.wav")) == root.clips[0].data
                clients = corpus.snapshot.storage._clients  # type: ignore[attr-defined]  # it is on S3
                os._exit(0 if right and not clients._made else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0


# --------------------------------------------------------------------------------------------------------- writers


def test_two_hosts_ingest_side_by_side(cloud: Cloud, tmp_path: Path) -> None:
    root = cloud.make("contractor-a", ())
    hosts = []
    for host in ("one", "two"):
        for number in range(12):
            path = tmp_path / host / f"{host}-{number % 3}" / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(noise(0.1, seed=number), 16_000))
        command = [sys.executable, "-m", "securedata", "encrypt", str(tmp_path / host), str(root.name), *PATTERN]
        # each is a machine of its own, which has not seen what the other did
        state = {"XDG_STATE_HOME": str(tmp_path / f"state-{host}")}
        hosts.append(
            subprocess.Popen(
                command, env={**os.environ, **state}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    for host in hosts:
        said, _ = host.communicate(timeout=150)
        assert host.returncode == 0, said
    with open_corpus(root.reference) as corpus:
        assert len(corpus) == 24
        for host in ("one", "two"):
            assert bytes(corpus.read(f"{host}-1/4.wav")) == (tmp_path / host / f"{host}-1" / "4.wav").read_bytes()


def test_writers_that_race_lose_no_row(cloud: Cloud) -> None:
    root = cloud.make("contractor-a", ())
    start = threading.Barrier(3)

    def work(who: int) -> None:
        writer = Writer(root.reference)
        start.wait(60)
        for turn in range(3):
            add(writer, [clip(f"w{who}/{turn}.wav", 0.05, seed=turn, speaker=f"w{who}")])

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(work, who) for who in range(3)]:
            done.result()
    with open_corpus(root.reference) as corpus:
        assert len(corpus) == 9
        assert corpus.generation == 10


def add(writer: Writer, clips: list[Clip]) -> None:
    from tests.kit.corpora.recorded import put_clips

    assert len(writer.commit(add=put_clips(writer, clips)).committed) == len(clips)


def test_a_lost_answer_to_the_commit_is_found_in_the_head(cloud: Cloud) -> None:
    root = cloud.make("contractor-a")
    with forward(cloud.weed.endpoint) as between:
        through = _through(root, between)
        between.lose = f"PUT /voice/{cloud.prefix}/contractor-a/head"
        add_clips(through, [clip("cid/new.wav", seed=8, speaker="cid")])
        assert between.lost == 1
    with open_corpus(root.reference) as corpus:
        assert len(corpus) == 7
        assert corpus.generation == 3, "committed once"


def _through(root: Root, between: Forward) -> Root:
    through = Root(root)
    through.reference = replace(root.reference, options={"endpoint_url": f"http://127.0.0.1:{between.port}"})
    through.clips = []
    return through


def test_a_reader_sees_a_commit_when_it_refreshes(cloud: Cloud) -> None:
    root = cloud.make("contractor-a")
    with open_corpus(root.reference) as corpus:
        began = time.monotonic()
        add_clips(root, [clip("cid/new.wav", seed=8, speaker="cid")])
        assert len(corpus) == len(some_clips())
        assert corpus.refresh()
        assert len(corpus) == len(some_clips()) + 1
        assert not corpus.refresh()
        assert time.monotonic() - began < 60
