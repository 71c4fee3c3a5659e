"""From one bucket into another: in memory only, with credentials of its own, again after a kill, and its errors."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.check.verify import verify
from securedata.corpus.config import config_path, load, resolve, write_entry
from securedata.corpus.opening import open_corpus
from securedata.corpus.writer import Writer
from securedata.errors import AccessDenied, InvalidArgument, NotFound
from securedata.ingest.ingest import ingest
from securedata.ingest.pipeline import seal_sources
from securedata.ingest.sources.recordings import list_sources
from securedata.lifecycle.rotate import rotate
from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.cloud.forward import forward
from tests.kit.corpora.cloud import Cloud, keys_in
from tests.kit.corpora.contents import current, recordings_of
from tests.kit.docs.tree import ROOT
from tests.kit.servers import ADMIN, TRAINER
from tests.kit.sources.recordings import Clip, clip, many_clips, some_clips, write_clips

pytestmark = pytest.mark.xdist_group("servers")

RAW = "raw"
LIMIT = 8 * 1024
"""Bytes that a file of this machine may have while the command runs; every recording has more."""


def put(cloud: Cloud, clips: list[Clip], bucket: str = RAW, **others: bytes) -> str:
    """Recordings as plaintext in a bucket, and other objects beside them."""
    client = cloud.weed.client()
    if bucket not in [one["Name"] for one in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=bucket)
    for one in clips:
        client.put_object(Bucket=bucket, Key=f"{cloud.prefix}/{one.path}", Body=one.data)
    for name, content in others.items():
        client.put_object(Bucket=bucket, Key=f"{cloud.prefix}/{name}", Body=content)
    return f"s3://{bucket}/{cloud.prefix}"


def contents(clips: list[Clip]) -> dict[str, bytes]:
    return {one.path: one.data for one in clips}


# ---------------------------------------------------------------------------------------------- nothing on the disk


def watched(box: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the command with everything that a program may write to inside `box`; also the paths that it wrote to."""
    log = box / "log"
    box.mkdir(exist_ok=True)
    homes = {f"XDG_{name}_HOME": str(box / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
    environment = {**os.environ, **homes, "HOME": str(box), "TMPDIR": str(box), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "tests.kit.cli.watched", str(LIMIT), str(log), *arguments]
    done = subprocess.run(command, cwd=box, env=environment, capture_output=True, text=True)
    return done, log.read_text().splitlines()


def test_none_of_it_reaches_the_local_disk(cloud: Cloud, tmp_path: Path) -> None:
    words = [f"the quick brown fox number {n} jumps over the lazy dog" for n in range(5)]
    clips = [clip(f"ann/utt{n}.{kind}", 3, seed=n) for n, kind in enumerate(("wav", "flac", "ogg", "mp3"))]
    clips.append(clip("ben/long.wav", 200, seed=9, speaker="ben"))  # read and put in pieces
    assert len(clips[-1].data) > 6_000_000
    assert min(len(one.data) for one in clips) > LIMIT
    rows = [{"audio_filepath": one.path, "speaker": one.speaker, "text": words[n]} for n, one in enumerate(clips)]
    manifest = "".join(json.dumps(row) + "\n" for row in rows).encode()
    source = put(cloud, clips, **{"train.jsonl": manifest})
    root = cloud.make("sealed", [])
    box = tmp_path / "box"
    (box / "config" / "securedata").mkdir(parents=True)
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "securedata" / "config.toml"
    (box / "config" / "securedata" / "config.toml").write_text(config.read_text())

    done, written = watched(box, "encrypt", source, root.name, "--manifest", "train.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["added"] == 5
    assert recordings_of(root.reference) == contents(clips)
    with open_corpus(root.reference) as corpus:
        assert sorted(corpus.table["transcript"].to_pylist()) == words

    # what it opened for writing: what it remembers of generations, and nothing else
    own = (str(box / "state"), "/dev/null")
    assert [path for path in written if not path.startswith(own)] == []
    assert any(path.startswith(own[0]) for path in written), "the watch sees what is written"
    plain = [piece for one in clips for piece in (one.data[at : at + 64] for at in range(0, len(one.data), 50_000))]
    for file in box.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(piece in content for piece in plain), file
            assert not any(word.encode() in content for word in words), file


def test_the_watch_notices_plaintext(cloud: Cloud, tmp_path: Path) -> None:
    """A target on this machine: there the limit holds for what is sealed, as it would for plaintext."""
    source = put(cloud, [clip("ann/a.wav", 3)])
    done, written = watched(tmp_path / "box", "encrypt", source, "./sealed", *PATTERN)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    # below a root names are opened relative to a folder's descriptor
    assert any(re.match(r"[0-9a-f]{32}\.tmp-", path) for path in written), written


# ------------------------------------------------------------------------------------------------- whose credentials


def test_a_source_has_credentials_and_endpoint_of_its_own(
    cloud: Cloud, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = put(cloud, some_clips())
    root = cloud.make("sealed", [])
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    profiles = [("owner", ADMIN), ("reader", ADMIN), ("stranger", ("NOBODY", "nothing"))]
    lines = [f"[{name}]\naws_access_key_id={key}\naws_secret_access_key={secret}\n" for name, (key, secret) in profiles]
    (tmp_path / "credentials").write_text("".join(lines))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    entry = load()[root.name]
    place = {"profile": "owner", "endpoint_url": cloud.weed.endpoint, "region": "us-east-1"}
    write_entry(root.name, type(entry)(entry.root, entry.name, entry.kms, entry.pins, place))
    with forward(cloud.weed.endpoint) as own:
        there = ("--source-endpoint-url", f"http://127.0.0.1:{own.port}", "--source-region", "us-east-1")
        done = run("encrypt", source, root.name, *PATTERN, *there, "--source-profile", "reader", "--json")
        assert done.code == 0, done.err
        assert done.json["added"] == 6
        methods = {line.split(" ")[0] for line in own.requests}
        assert methods == {"GET"}
        assert not any("/voice/" in line for line in own.requests), "the corpus is not reached through it"
        denied = run("encrypt", source, root.name, *PATTERN, *there, "--source-profile", "stranger")
        assert denied.code == 1
        assert "credentials" in denied.error
        missing = run("encrypt", source, root.name, *PATTERN, *there, "--source-profile", "nobody")
        assert missing.code == 1
        assert "nobody" in missing.error
    unreachable = run("encrypt", source, root.name, *PATTERN, *there, "--source-profile", "reader")
    assert unreachable.code == 1
    assert "check endpoint and network" in unreachable.error


def test_errors_say_what_to_do(cloud: Cloud, become: Any) -> None:
    with pytest.raises(NotFound, match=r"there is no bucket no-such-bucket; .*--source-endpoint-url"):
        list_sources("s3://no-such-bucket/x", one_subject="x")
    with pytest.raises(InvalidArgument, match=r"s3://voice/t-.* holds no recordings"):
        list_sources(f"s3://voice/{cloud.prefix}", one_subject="x")
    source = put(cloud, some_clips())
    with pytest.raises(InvalidArgument, match="holds no recordings"):
        list_sources(f"{source}/ann/utt0.wav", one_subject="x")
    with pytest.raises(InvalidArgument, match=r"train\.tsv.*missing"):
        list_sources(source, manifest="train.tsv")
    become(TRAINER, "")
    with pytest.raises(AccessDenied, match=r"cannot be listed: .*--source-profile"):
        list_sources(source, one_subject="x")


# ------------------------------------------------------------------------------------------------------------- again


def test_a_rerun_only_lists(cloud: Cloud, run: Run) -> None:
    clips = some_clips()
    source = put(cloud, clips)
    root = cloud.make("sealed", [])
    with forward(cloud.weed.endpoint) as own:
        there = (*PATTERN, "--source-endpoint-url", f"http://127.0.0.1:{own.port}", "--json")
        assert run("encrypt", source, root.name, *there).json["added"] == 6
        own.requests.clear()
        assert run("encrypt", source, root.name, *there).json["unchanged"] == 6
        assert len(own.requests) == 1
        assert "list-type=2" in own.requests[0]
        assert run("encrypt", source, root.name, *there, "--checksum").json["unchanged"] == 6
        assert sum(".wav " in line or ".flac " in line or ".ogg " in line for line in own.requests) == 6
    one = clips[0]
    time.sleep(1.1)  # listings tell whole seconds
    put(cloud, [Clip(one.path, one.data[:-2] + b"\x12\x34")])
    changed = run("encrypt", source, root.name, *PATTERN, "--json")
    assert (changed.code, changed.json["conflicts"]) == (1, [one.path])
    assert run("encrypt", source, root.name, *PATTERN, "--replace", "--json").json["replaced"] == 1


@pytest.mark.parametrize("pack", [False, True])
def test_what_changes_or_goes_meanwhile_is_a_problem(cloud: Cloud, pack: bool) -> None:
    long = clip("ann/long.wav", 200)
    clips = [*some_clips(), long]
    source = put(cloud, clips)
    root = cloud.make("sealed", [])
    sources = list_sources(source, speaker_pattern="{speaker}/{utterance}")
    one, two = clips[0], clips[1]
    put(cloud, [Clip(one.path, one.data[:-2] + b"\x12\x34"), Clip(long.path, long.data[:-2] + b"\x12\x34")])
    cloud.weed.client().delete_object(Bucket=RAW, Key=f"{cloud.prefix}/{two.path}")
    report = seal_sources(sources, Writer(root.reference), pack=pack)
    assert {problem.path: problem.reason for problem in report.problems} == {
        one.path: "the file changed during the run; run it again",
        long.path: "the file changed during the run; run it again",
        two.path: "the object was deleted during the run",
    }
    assert report.added == 4


def test_into_packs_from_a_bucket(cloud: Cloud, run: Run) -> None:
    """A file of 6.4 MB, too: it is read in pieces, and sealed in memory."""
    clips = [*some_clips(), clip("ann/long.wav", 200)]
    root = cloud.make("sealed", [])
    done = run("encrypt", put(cloud, clips), root.name, *PATTERN, "--pack")
    assert done.code == 0
    assert f"packed: {len(clips)} objects" in done.out
    assert len({row["pack"] for row in current(root.reference).values()} - {None}) == 1
    assert recordings_of(root.reference) == contents(clips)
    assert run("verify", root.name).code == 0


@pytest.mark.parametrize("pack", [False, True])
def test_a_file_that_cannot_be_taken_does_not_keep_its_neighbours(cloud: Cloud, tmp_path: Path, pack: bool) -> None:
    """Small files of a folder are put together: each has an outcome of its own."""
    clips = many_clips(40)
    for one in clips:
        path = tmp_path / one.path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(one.data)
    broken, changed, gone = (clips[n].path for n in (3, 4, 20))
    (tmp_path / broken).write_bytes(b"no audio")
    root = cloud.make("sealed", [])
    sources = list_sources(tmp_path, speaker_pattern="{speaker}/{utterance}")
    (tmp_path / changed).write_bytes(b"other")
    (tmp_path / gone).unlink()
    report = seal_sources(sources, Writer(root.reference), pack=pack)
    assert (report.added, report.files) == (37, 40)
    packs = {row["pack"] for row in current(root.reference).values()}
    assert len(packs) == 1
    assert (packs == {None}) is not pack
    assert sorted(problem.path for problem in report.problems) == [broken, changed, gone]
    taken = [one for one in clips if one.path not in (broken, changed, gone)]
    assert recordings_of(root.reference) == contents(taken)
    again = seal_sources(
        list_sources(tmp_path, speaker_pattern="{speaker}/{utterance}"), Writer(root.reference), checksum=True
    )
    assert (again.unchanged, again.added) == (37, 0)


@pytest.mark.parametrize("place", ["bucket", "folder"])
def test_killed_and_run_again(cloud: Cloud, run: Run, tmp_path: Path, place: str) -> None:
    """Into a bucket, kill -9 once some of it is sealed: the rerun leaves each recording there once."""
    clips = many_clips(80)
    if place == "bucket":
        source = put(cloud, clips)
    else:
        source = str(tmp_path / "raw")
        for one in clips:
            path = tmp_path / "raw" / one.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(one.data)
    root = cloud.make("sealed", [])
    impatient = [sys.executable, "-m", "tests.kit.cli.impatient", "10", str(len(clips))]
    command = [*impatient, "encrypt", source, root.name, *PATTERN, "--threads", "2"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while sum("/objects/" in key for key in keys_in(cloud.weed, root)) < 25:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it had ended before it was killed"
    before = len(open_corpus(root.reference))
    assert before < 80
    done = run("encrypt", source, root.name, *PATTERN, "--json")
    assert done.code == 0, done.err
    assert (done.json["added"], done.json["unchanged"]) == (80 - before, before)
    assert recordings_of(root.reference) == contents(clips)
    checked = run("verify", root.name, "--json").json
    assert (checked["ok"], checked["objects_opened"]) == (True, 80)
    assert resolve(root.name).root == root


# ------------------------------------------------------------------------------------------------ a corpus that is made


def test_an_empty_place_in_a_bucket_becomes_a_corpus(cloud: Cloud, tmp_path: Path, run: Run) -> None:
    wavs, url = write_clips(tmp_path / "wavs"), f"s3://voice/{cloud.prefix}/made"
    kms = cloud.bao.make_key(f"{cloud.prefix}-made")
    done = run("encrypt", wavs, url, *PATTERN, "--name", cloud.prefix, "--kms", kms)
    assert done.code == 0
    assert f"new corpus {cloud.prefix!r} at {url}" in done.err
    assert "6 unchanged" in run("encrypt", wavs, url, *PATTERN).out
    assert run("verify", cloud.prefix).code == 0
    config_path().unlink()
    keys = keys_in(cloud.weed, url)
    stranger = run("encrypt", wavs, url, *PATTERN, "--name", "other", "--kms", kms)
    assert stranger.code == 2
    assert "exists already" in stranger.err
    assert keys_in(cloud.weed, url) == keys


def test_nothing_is_made_in_a_bucket_for_nothing(cloud: Cloud, tmp_path: Path, run: Run) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.wav").write_bytes(b"no audio")
    url = f"s3://voice/{cloud.prefix}/made"
    done = run("encrypt", tmp_path / "src", url, "--one-subject", "x", "--name", cloud.prefix)
    assert done.code == 1
    assert "no corpus was made" in done.error
    assert not keys_in(cloud.weed, url)
    assert not config_path().exists()


# ------------------------------------------------------------------------------------------------ by other processes


def test_other_processes_read_one_bucket_and_put_into_another(cloud: Cloud) -> None:
    clips = [*some_clips(), clip("ben/long.wav", 150, seed=9, speaker="ben")]  # the last is read in pieces
    assert len(clips[-1].data) > 4 * 1024 * 1024
    source, root = put(cloud, clips), cloud.make("sealed", [])
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        report = ingest(source, root.name, speaker_pattern="{speaker}/{utterance}", engine=processes)
        assert (report.added, report.complete) == (len(clips), True)
        assert recordings_of(root.reference) == contents(clips)
        found = verify(root.name, engine=processes)
        assert (found.ok, found.objects_opened) == (True, len(clips))
        done = rotate(root.name, data_keys=True, engine=processes).data_keys
        assert done is not None
        assert (done.objects, done.finished) == (len(clips), True)
    assert recordings_of(root.reference) == contents(clips)
