"""A prune on a bucket with versions: an older version of the head that is newer than the head refuses it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from securedata.corpus.check.prune import open_for_pruning, prune
from securedata.corpus.state.head import MAX_SEALED
from securedata.corpus.state.layout import HEAD
from securedata.errors import LimitExceeded, OlderGeneration, UnconfirmedGeneration
from securedata.storage.s3.store import S3Storage
from tests.kit.corpora.cloud import Cloud, keys_in
from tests.kit.corpora.recorded import Root, add_clips
from tests.kit.sources.recordings import clip

pytestmark = pytest.mark.xdist_group("servers")


def put_back(root: Root, data: bytes) -> None:
    storage = S3Storage(root)
    storage.replace(HEAD, data, storage.get_versioned(HEAD)[1])


def test_a_later_head_among_the_versions_refuses_a_prune(cloud: Cloud, elsewhere: Callable[[], None]) -> None:
    root = cloud.make("contractor-a", bucket="versioned")
    storage = S3Storage(root)
    old = bytes(storage.get(HEAD))
    add_clips(root, [clip("cid/new.wav", speaker="cid")])
    put_back(root, old)
    before = keys_in(cloud.weed, root)
    elsewhere()
    with pytest.raises(UnconfirmedGeneration, match="--accept-generation 2 "):
        open_for_pruning(root.reference)
    writer = open_for_pruning(root.reference, accept_generation=2)
    with pytest.raises(OlderGeneration, match=r"generation 2 but .* version \S+ of head, of generation 3"):
        prune(writer)
    assert keys_in(cloud.weed, root) == before
    add_clips(root, [clip("dot/new.wav", speaker="dot")])  # on the old head: its number shows nothing any more
    with pytest.raises(OlderGeneration, match=r"generation 3 but .* version \S+ of head, of generation 3"):
        prune(open_for_pruning(root.reference))


def test_older_versions_are_what_was_there_before(cloud: Cloud) -> None:
    root = cloud.make("contractor-a", bucket="versioned")
    storage = S3Storage(root)
    heads = [bytes(storage.get(HEAD))]
    for number in range(2):
        add_clips(root, [clip(f"cid/{number}.wav", speaker="cid")])
        heads.append(bytes(storage.get(HEAD)))
    found = [bytes(data) for _, data in storage.older(HEAD, MAX_SEALED)]
    assert found[:2] == heads[-2::-1]  # newest first
    assert heads[-1] not in found
    with pytest.raises(LimitExceeded, match="above the limit of 10"):
        list(storage.older(HEAD, 10))
    assert list(storage.older("head.nothing", 10)) == []


def test_a_bucket_without_versions_has_none(cloud: Cloud) -> None:
    root = cloud.make("contractor-a")
    add_clips(root, [clip("cid/new.wav", speaker="cid")])
    assert list(S3Storage(root).older(HEAD, MAX_SEALED)) == []
    assert prune(open_for_pruning(root.reference)).deleted == set()
