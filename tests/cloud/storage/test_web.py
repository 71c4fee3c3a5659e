"""A corpus on a web server: a bucket that anybody may read, asked without credentials, and servers that say no."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

import securedata as sd
from securedata.corpus.config import Reference
from securedata.corpus.objects.fetch import Piece
from securedata.errors import (
    AccessDenied,
    CorpusGone,
    InvalidArgument,
    LimitExceeded,
    NotACorpus,
    NotFound,
    ObjectMissing,
    StorageUnreachable,
)
from securedata.storage.base import Wanted
from securedata.storage.registry import open_storage
from securedata.testing.storage import OBJECT, OTHER, raised
from tests.kit.cli.commandline import runner
from tests.kit.cloud.forward import Handler, Proxy, answering, forward
from tests.kit.corpora.cloud import Cloud, keys_in
from tests.kit.corpora.recorded import Root
from tests.kit.servers import Seaweed
from tests.kit.sources.recordings import clip, read

pytestmark = pytest.mark.xdist_group("servers")

PUBLIC = "public"


@pytest.fixture(scope="module")
def public(weed: Seaweed) -> None:
    """A bucket from which anybody may read, and which nobody but its owner may list."""
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{PUBLIC}/*"],
    }
    weed.client().create_bucket(Bucket=PUBLIC)
    weed.client().put_bucket_policy(
        Bucket=PUBLIC, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )


@pytest.fixture
def root(public: None, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Root]:
    """A corpus there, with one long recording; whoever reads it has no credentials of S3."""
    made = cloud.make(
        "contractor-a", [clip("ann/long.wav", 60.0), *(clip(f"ann/{n}.flac", seed=n) for n in range(7))], bucket=PUBLIC
    )
    for name in cloud.weed.environment():
        monkeypatch.delenv(name)
    return made


def at(root: Root, endpoint: str) -> Reference:
    """The same corpus by its web address, as somebody knows it who was told the pin."""
    return Reference(root.reference.root.replace("s3:/", endpoint), None, root.reference.kms, root.reference.pins)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.full)])
def test_workers_read(root: Root, cloud: Cloud, method: str) -> None:
    with forward(cloud.weed.endpoint) as between:
        with sd.EncryptedAudioDataset(at(root, f"http://127.0.0.1:{between.port}"), num_frames=800, crop="start") as ds:
            before = between.received
            loader = DataLoader(ds, batch_size=4, num_workers=2, multiprocessing_context=method, collate_fn=list)
            samples = [sample for batch in loader for sample in batch]
        assert between.received - before < len(root.clips[0].data) / 2, "of the long one a part was fetched"
        assert {line.split()[0] for line in between.requests} == {"GET"}
    assert len(samples) == len(root.clips)
    for sample, one in zip(samples, root.clips, strict=True):
        assert np.array_equal(sample.waveform.numpy(), read(one.data, 0, 800))


def test_tls_and_proxy_are_those_of_s3(
    root: Root, cloud: Cloud, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forward(cloud.weed.endpoint, tls) as between:
        reference = at(root, f"https://127.0.0.1:{between.port}")
        raised(StorageUnreachable, lambda: sd.open_corpus(reference))
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        with sd.open_corpus(reference) as corpus:
            assert bytes(corpus.read("ann/0.flac")) == root.clips[1].data
    with answering(Proxy) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("no_proxy", "")
        with sd.open_corpus(at(root, cloud.weed.endpoint)) as corpus:
            assert bytes(corpus.read("ann/0.flac")) == root.clips[1].data
        assert Proxy.seen


def test_what_is_missing_is_explained(root: Root, cloud: Cloud) -> None:
    reference = at(root, cloud.weed.endpoint)
    with sd.open_corpus(reference) as corpus:
        name = corpus.value("object_id", 0).hex()
        [key] = [key for key in keys_in(cloud.weed, root) if key.endswith(name)]
        cloud.weed.client().delete_object(Bucket=PUBLIC, Key=key)
        error = raised(ObjectMissing, lambda: corpus.read(0))
        assert name in str(error)
        assert [type(got) for _, got in corpus.read_many([Piece(0), Piece(1)])].count(ObjectMissing) == 1
    elsewhere = replace(reference, root=f"{reference.root}/not here/ä%20")
    raised(CorpusGone, lambda: sd.open_corpus(elsewhere))
    raised(NotACorpus, lambda: sd.open_corpus(replace(elsewhere, pins=())))


def test_commands_that_need_more_say_so(root: Root, cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    run = runner(capsys)
    where = ("--kms", root.kms, "--pin", root.pin)
    url = at(root, cloud.weed.endpoint).root
    assert "ann" in run("ls", url, *where).out
    listed = run("verify", url, *where)
    assert listed.code == 1
    assert "cannot be listed" in listed.error
    written = run("init", url, "--kms", root.kms, "--single-writer")
    assert written.code == 2
    assert "read-only" in written.err


# ------------------------------------------------------------------------------------------------------ other servers


class Plain(Handler):
    """Knows no ranges."""

    def answer(self, body: bytes) -> None:
        what = self.path.rpartition("/")[2]
        if what.isdecimal() and len(what) == 3:
            self.say(int(what), b"an answer of a server", Location="/other")
        else:
            self.say(200, b"0123456789", ETag='"one"')


def test_answers_become_our_errors() -> None:
    with answering(Plain) as endpoint:
        storage = open_storage(f"{endpoint}/corpus/")
        assert storage.url == f"{endpoint}/corpus"
        for status, kind, said in (
            (404, NotFound, "does not exist"),
            (410, NotFound, "does not exist"),
            (401, AccessDenied, "refused or missing"),
            (403, AccessDenied, "refused or missing"),
            (302, StorageUnreachable, "the address that it redirects to"),
            (400, StorageUnreachable, "HTTP status 400"),
        ):
            for call in (
                lambda key: storage.get(key),
                lambda key: storage.get_versioned(key),
                lambda key: storage.get_ranges(key, [(0, 1)]),
            ):
                error = raised(kind, lambda call=call, status=status: call(f"objects/{status}"))
                assert said in str(error)
                assert storage.url in str(error)
        assert bytes(storage.get("head", 10)) == b"0123456789"
        assert storage.get_versioned("head")[1] == '"one"'
        text = str(raised(LimitExceeded, lambda: storage.get("head", 9)))
        assert "10 bytes" in text
        assert "limit of 9" in text


def test_a_server_that_knows_no_ranges_is_noticed() -> None:
    with answering(Plain) as endpoint:
        storage = open_storage(endpoint)
        for asked in ((2, 3), (2, 100), (0, 3)):
            assert "ignores ranges" in str(
                raised(StorageUnreachable, lambda asked=asked: storage.get_ranges(OBJECT, [asked]))
            )
        assert [bytes(one) for one in storage.get_ranges(OBJECT, [(0, 10), (3, 0)])] == [b"0123456789", b""]
        found = dict(storage.get_many([Wanted(OBJECT, 0, 20), Wanted(OBJECT, 1, 2), Wanted(OTHER, 0, 0)], 100))
        assert bytes(found[0]) == b"0123456789"
        assert type(found[1]) is StorageUnreachable
        assert bytes(found[2]) == b""


def test_a_range_behind_the_end_is_empty(root: Root, cloud: Cloud) -> None:
    storage = open_storage(at(root, cloud.weed.endpoint).root)
    size = len(storage.get("head"))
    assert [len(one) for one in storage.get_ranges("head", [(size - 2, 9), (size, 9), (size + 5, 9)])] == [2, 0, 0]


def test_a_head_comes_with_the_time_of_the_server(root: Root, cloud: Cloud) -> None:
    storage = open_storage(at(root, cloud.weed.endpoint).root)
    assert storage.recent_time() is None
    storage.get_versioned("head")
    assert abs((storage.recent_time() or 0.0) - time.time()) < 5


def test_nothing_is_written() -> None:
    storage = open_storage("https://127.0.0.1:1/corpus")  # nobody is asked
    for call in (
        lambda: storage.put_new(OBJECT, [b"x"]),
        lambda: storage.replace("head", b"x", None),
        lambda: storage.delete(OBJECT),
        lambda: list(storage.list()),
        lambda: storage.now(),
    ):
        assert storage.url in str(raised(AccessDenied, call))
    for single in (False, True):
        raised(InvalidArgument, lambda single=single: storage.check_writable(single))


@pytest.mark.parametrize(
    "rest", ["", "/corpus", "ann:pa55word@host/corpus", "host/corpus?token=pa55word", "host#pa55word"]
)
def test_what_is_no_root(rest: str) -> None:
    error = raised(InvalidArgument, lambda: open_storage(f"https://{rest}"))
    assert "pa55word" not in str(error) + repr(error.__dict__)
