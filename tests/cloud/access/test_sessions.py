"""Who may do what: the owner's keys without the KMS, a session for one corpus, heads that were moved or put back."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from securedata.access.session import Session
from securedata.corpus.connection import RoleCredentials, connect, role_source
from securedata.corpus.opening import open_corpus
from securedata.corpus.state.head import peek, seal_head
from securedata.corpus.state.layout import HEAD
from securedata.corpus.state.seen import remember
from securedata.corpus.writer import Writer
from securedata.errors import (
    AccessDenied,
    AuthenticationFailed,
    ConfigError,
    KMSDenied,
    NoTrustedKey,
    OlderGeneration,
    PinMismatch,
    PinRequired,
    StorageUnreachable,
    SupersededKey,
)
from securedata.foreign.aws import AWSKeys
from securedata.format.header import WRAP
from securedata.keys.kms import context_for, open_kms
from securedata.keys.wraps import Wrap
from securedata.storage.base import Wanted
from securedata.storage.s3.store import S3Storage
from securedata.testing.storage import raised
from tests.cloud.conftest import Become
from tests.kit.cloud.access import attempts, deny, outcome, session
from tests.kit.cloud.forward import forward
from tests.kit.corpora.cloud import Cloud, keys_in
from tests.kit.corpora.contents import read_head
from tests.kit.corpora.recorded import add_clips
from tests.kit.servers import ADMIN, ROLE, TRAINER, WRITER_ROLE, free_port
from tests.kit.sources.recordings import clip

pytestmark = pytest.mark.xdist_group("servers")


# ---------------------------------------------------------------------------------------------------- the owner's keys


def test_the_owner_of_the_bucket_can_download_everything_and_open_nothing(cloud: Cloud, become: Become) -> None:
    root, other = cloud.make("contractor-a"), cloud.make("contractor-b")
    storage = S3Storage(root)
    keys = [one.key for one in storage.list()]
    kinds = {key.partition("/")[0] for key in keys}
    assert kinds == {"head", "manifest", "objects"}
    assert len([key for key in keys if key.startswith("objects/")]) == len(root.clips)
    sealed = b"".join(bytes(storage.get(key)) for key in keys)
    assert len(sealed) > sum(len(one.data) for one in root.clips)
    for one in root.clips:
        for text in (one.path, str(one.columns.get("transcript") or one.path)):  # three letters stand there by chance
            assert text.encode() not in sealed
        for at in range(44, len(one.data) - 16, 4_000):
            assert one.data[at : at + 16] not in sealed
    before = cloud.unwraps(root)
    become(ADMIN, "")
    raised(KMSDenied, lambda: open_corpus(root.reference))
    raised(NoTrustedKey, lambda: open_corpus(replace(root.reference, kms=())))
    become(ADMIN, cloud.token(other))
    raised(KMSDenied, lambda: open_corpus(root.reference))
    # with a key of his own in the place of ours he opens nothing either
    raised(NoTrustedKey, lambda: open_corpus(replace(root.reference, kms=other.reference.kms)))
    assert cloud.unwraps(root) == before + 1, "he asked once, and was refused"
    become(ADMIN, cloud.token(root))
    with open_corpus(root.reference) as corpus:
        assert bytes(corpus.read("ann/utt0.wav")) == root.clips[0].data


# --------------------------------------------------------------------------------------------- a session for one corpus

MAY_READ = {"get", "get a range", "head"}
MAY_WRITE = MAY_READ | {"copy in", "copy out", "put", "overwrite", "begin an upload", "delete", "delete many"}


@pytest.mark.parametrize("write", [False, True], ids=["reader", "writer"])
def test_a_session_reaches_its_corpus_and_nothing_beside_it(cloud: Cloud, become: Become, write: bool) -> None:
    a, *others = [cloud.make(name) for name in ("contractor-a", "contractor-abc", "contractor-b", "contractor")]
    become(TRAINER, "")
    client = cloud.weed.client(session(a, write).keys)
    first, second, *_ = keys_in(cloud.weed, f"{a}/objects")
    for root in others:
        for key in (f"{root.removeprefix('s3://voice/')}/head", keys_in(cloud.weed, f"{root}/objects")[0]):
            tried = {name: outcome(call) for name, call in attempts(client, "voice", key, first).items()}
            assert "ok" not in tried.values(), tried
    tried = {name: outcome(call) for name, call in attempts(client, "voice", second, first).items()}
    assert {name for name, said in tried.items() if said == "ok"} == (MAY_WRITE if write else MAY_READ)
    for listing in ({"Prefix": ""}, {"Prefix": f"{cloud.prefix}/"}, {"Prefix": f"{cloud.prefix}/", "Delimiter": "/"}):
        assert outcome(lambda listing=listing: client.list_objects_v2(Bucket="voice", **listing)) == "AccessDenied"
    sts = cloud.weed.client(session(a, write).keys, "sts")
    again = {"RoleArn": ROLE, "RoleSessionName": "again"}
    assert outcome(lambda: sts.assume_role(**again)) != "ok", "a session opens no other"
    untouched = {root: len(keys_in(cloud.weed, f"{root}/objects")) for root in others}
    assert set(untouched.values()) == {len(a.clips)}


@pytest.mark.parametrize("name", ["a b", "a+b=c", "Zoë", "it's(1)!~", 'a"b', "a:b", "a#b&c", "{a}"])
def test_a_session_for_a_root_with_an_odd_name(cloud: Cloud, become: Become, name: str) -> None:
    storage = S3Storage(f"s3://voice/{cloud.prefix}/{name}")
    beside = S3Storage(f"s3://voice/{cloud.prefix}/{name}x")
    for one in (storage, beside):
        one.put_new("objects/00", [b"there"])
    pins = cloud.make("for-its-pin", ()).reference.pins
    become(TRAINER, "")
    for one, may in ((storage, True), (beside, False)):
        place = connect(replace(reference_of(storage), pins=pins))
        client = cloud.weed.client(tuple(place.credentials(False)) if place.credentials else ())
        said = outcome(lambda one=one, client=client: client.get_object(Bucket="voice", Key=one.prefix + "objects/00"))
        assert said == ("ok" if may else "AccessDenied")
        assert bytes(place.storage.get("objects/00")) == b"there"


def reference_of(storage: S3Storage) -> Any:
    from securedata.corpus.config import Reference

    return Reference(storage.url, options={"role": ROLE})


def test_a_token_for_one_corpus_opens_no_other(cloud: Cloud, become: Become) -> None:
    a, b = cloud.make("contractor-a", role=ROLE), cloud.make("contractor-b", role=ROLE)
    become(TRAINER, cloud.token(a))
    with open_corpus(a.reference) as corpus:
        assert bytes(corpus.read("ann/utt0.wav")) == a.clips[0].data
        assert corpus.counters.unwraps == 1
    assert "revoked, or its policy does not allow" in str(raised(KMSDenied, lambda: open_corpus(b.reference)))
    become(ADMIN, cloud.token(a))
    header, wraps = peek(S3Storage(b).get(HEAD), b)
    for uri in (a.kms, b.kms):
        for corpus_id in (header.corpus_id, corpus.corpus_id):
            call = lambda uri=uri, id=corpus_id: open_kms(uri).unwrap(wraps[0].blob, context_for(id))  # noqa: E731 - one of four
            raised(KMSDenied, call)
    raised(KMSDenied, lambda: open_kms(a.kms).wrap(bytes(32), context_for(corpus.corpus_id)))  # a reader may not wrap


def test_a_role_needs_the_pin_before_anybody_is_asked(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    root = cloud.make("contractor-a", ())
    with forward(cloud.weed.endpoint) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{between.port}")
        bare = replace(root.reference, pins=(), options={"role": ROLE})
        assert "--pin" in str(raised(PinRequired, lambda: open_corpus(bare)))
        assert between.connections == 0


def test_a_writer_s_session_commits_and_cannot_list(cloud: Cloud, become: Become) -> None:
    root = cloud.make("contractor-a", role=WRITER_ROLE)
    become(TRAINER, cloud.token(root))
    new = clip("cid/new.wav", seed=9, speaker="cid")
    add_clips(root, [new])
    assert cloud.bao.calls("encrypt", cloud.keys_of(root)) == 1, "by init alone"
    with open_corpus(root.reference) as corpus:
        assert bytes(corpus.read("cid/new.wav")) == new.data
    writer = Writer(root.reference)
    raised(AccessDenied, lambda: list(writer.storage.list()))
    # a reader's role in the entry makes no writer
    mine = replace(root.reference, options={"role": ROLE})
    put = lambda: Writer(mine).commit(remove=["cid/new.wav"])  # noqa: E731 - what is to be refused
    assert "check what your credentials, the role" in str(raised(AccessDenied, put))
    assert len(open_corpus(root.reference)) == 7


# ---------------------------------------------------------------------------------------- sessions that end or are over


def test_a_session_that_is_refused_is_renewed_once(cloud: Cloud, become: Become) -> None:
    root = cloud.make("contractor-a")
    become(TRAINER, cloud.token(root))
    with forward(cloud.weed.endpoint) as sts:
        options = {"role": ROLE, "sts_endpoint_url": f"http://127.0.0.1:{sts.port}"}
        reference = replace(root.reference, options=options)
        over = Session(AWSKeys("GONE", "gone", "gone"), time.time() + 3600)
        place = connect(reference, session=over)
        names = [one.partition("objects/")[2] for one in keys_in(cloud.weed, f"{root}/objects")]
        keys = [f"objects/{name}" for name in names]
        assert len(place.storage.get(keys[0])) > 64
        assert len(sts.requests) == 1
        for key in keys:
            place.storage.get(key)
        assert len(sts.requests) == 1, "the new one is kept"
        # what is refused to the new one as well is refused
        place = connect(reference, session=session(root))
        with deny(cloud, root):
            assert "refused or missing" in str(raised(AccessDenied, lambda: place.storage.get(keys[0])))
            assert len(sts.requests) == 2
            for key in keys[:3]:
                raised(AccessDenied, lambda key=key: place.storage.get(key))
            wanted = [Wanted(key, 0, 10) for key in keys]
            assert {type(got) for _, got in place.storage.get_many(wanted, 1 << 20)} == {AccessDenied}
            assert len(sts.requests) == 2, "and not for every object anew"
            batch = connect(reference, session=session(root)).storage
            assert {type(got) for _, got in batch.get_many(wanted, 1 << 20)} == {AccessDenied}
            assert len(sts.requests) == 3, "one for a batch"
        assert len(place.storage.get(keys[0])) > 64
        # a whole batch is mended by one as well
        batch = connect(reference, session=over).storage
        assert {len(got) for _, got in batch.get_many(wanted, 1 << 20) if not isinstance(got, Exception)} == {10}
        assert len(sts.requests) == 4


def test_a_role_that_may_not_be_assumed_or_asked_for(
    cloud: Cloud, become: Become, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cloud.make("contractor-a", ())
    become(TRAINER, cloud.token(root))

    def opening(**options: str) -> Any:
        return lambda: open_corpus(replace(root.reference, options={"role": ROLE, **options}))

    nobody = ROLE.replace("Trainer", "Nobody")
    assert nobody in str(raised(AccessDenied, opening(role=nobody)))
    raised(ConfigError, opening(profile="nobody-has-it"))
    raised(StorageUnreachable, opening(sts_endpoint_url=f"http://127.0.0.1:{free_port()}"))
    become(("NOBODY", "x" * 16), "")
    assert "(403)" in str(raised(AccessDenied, opening())), "this server's STS gives no code; AWS's does"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert "as boto3 takes them" in str(raised(AccessDenied, opening()))


def test_a_session_shows_no_secret(cloud: Cloud, become: Become) -> None:
    root = cloud.make("contractor-a", (), role=ROLE)
    become(TRAINER, "")
    place = connect(root.reference)
    assert isinstance(place.credentials, RoleCredentials)
    keys = place.credentials(False)
    for one in (place, place.session, keys, place.credentials, role_source(root.reference)):
        assert keys.secret_key not in repr(one)
        assert str(keys.token) not in repr(one)
    assert 0 < place.ttl(3600) <= 12
    assert place.ttl(3) == 3


# ------------------------------------------------------------------------------------------------ heads from elsewhere


def test_a_head_of_another_corpus_is_refused_by_the_pin(cloud: Cloud) -> None:
    a, b = cloud.make("contractor-a"), cloud.make("contractor-b")
    both = (*a.reference.kms, *b.reference.kms)
    for key in keys_in(cloud.weed, b):  # all of it, so that nothing but the pin can tell
        target = key.replace("contractor-b/", "contractor-a/")
        cloud.weed.client().copy_object(Bucket="voice", Key=target, CopySource=f"voice/{key}")
    before = [cloud.unwraps(root) for root in (a, b)]
    reference = replace(a.reference, kms=both)
    raised(PinMismatch, lambda: open_corpus(reference))
    raised(PinMismatch, lambda: Writer(reference))
    assert [cloud.unwraps(root) for root in (a, b)] == before, "no KMS was asked"
    with open_corpus(replace(reference, pins=b.reference.pins)) as corpus:
        assert len(corpus) == len(b.clips)


def test_a_writer_refuses_what_is_older_than_what_it_saw(cloud: Cloud) -> None:
    root = cloud.make("contractor-a", bucket="versioned")
    storage = S3Storage(root)
    old = bytes(storage.get(HEAD))
    writer = Writer(root.reference)
    add_clips(root, [clip("cid/new.wav", speaker="cid")])
    newest, version = storage.get_versioned(HEAD)
    writer.refresh()
    storage.replace(HEAD, old, version)
    raised(OlderGeneration, lambda: writer.commit(remove=["ann/utt0.wav"]))
    raised(OlderGeneration, lambda: Writer(root.reference))
    # a corpus key that a rotation has replaced opens no head again, of whatever generation
    storage.replace(HEAD, bytes(newest), storage.get_versioned(HEAD)[1])
    opened = read_head(storage, [open_kms(root.kms)], root.reference.pins)
    remember(replace(opened.head, generation=opened.head.generation + 1, superseded=(opened.head.key_id,)))
    forged = replace(opened.head, generation=99)
    storage.replace(HEAD, seal_head(forged, opened.key), opened.version)
    raised(SupersededKey, lambda: Writer(root.reference))


@pytest.mark.parametrize("first", [True, False])
def test_a_kms_uri_planted_in_a_head_is_never_called(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    root = cloud.make("contractor-a")
    storage = S3Storage(root)
    data, version = storage.get_versioned(HEAD)
    header, wraps = peek(data, root)
    body = bytes(data)[len(header.encode()) :]
    with forward(cloud.bao.address) as trap:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{trap.port}")
        name = cloud.keys_of(root)
        planted = [
            Wrap(f"hcvault+http://127.0.0.1:{trap.port}/transit/keys/{name}", wraps[0].blob),
            Wrap(f"hcvault://127.0.0.1:{trap.port}/transit/keys/{name}", wraps[0].blob),
            Wrap("aws-kms://arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", b"x"),
        ]
        for kept, error in (((), NoTrustedKey), (wraps, AuthenticationFailed)):
            listed = [*planted, *kept] if first else [*kept, *planted]
            forged = replace(header, tlvs=tuple((WRAP, one.encode()) for one in listed))
            storage.replace(HEAD, forged.encode() + body, storage.get_versioned(HEAD)[1])
            raised(error, lambda: open_corpus(root.reference))
            raised(error, lambda: Writer(root.reference))
        assert trap.connections == 0
    storage.replace(HEAD, data, storage.get_versioned(HEAD)[1])
    assert len(open_corpus(root.reference)) == 6
    assert version
