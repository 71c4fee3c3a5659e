"""Erasures at bad moments: a full disk for the receipt, a clock that is wrong, and another erasure at the same time."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.writer import Writer
from securedata.errors import ConfigError
from securedata.lifecycle.erasure.erase import agreed_time, erase, finish_open
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.receipt import store
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, look
from tests.kit.corpora.rows import writer_of


def test_a_full_disk_for_the_receipt_leaves_the_draft_which_is_finished_later(
    corpus: Reference, place: MemoryStorage, people: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = store.write_durable

    def full(path: object, data: bytes, *rest: object) -> None:
        if ".openings" not in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        written(path, data, *rest)  # type: ignore[arg-type]  # passed on as they are

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_durable", full)
        with pytest.raises(ConfigError, match="make room"):
            erase(people, Request("subject", names=("ann",)))
    head = look(corpus, place).head
    assert (len(head.erasures), head.receipts) == (1, ())
    [done] = finish_open(writer_of(corpus, place))
    assert done.path is not None
    assert look(corpus, place).head.receipts[0]["digest"] == done.digest


def test_clocks_more_than_an_hour_apart_end_no_consent(place: MemoryStorage, people: Writer) -> None:
    place.clock += 3601
    head = place.objects["head"]
    with pytest.raises(ConfigError, match="one of them is wrong"):
        agreed_time(people.storage)
    assert place.objects["head"] == head


def test_two_at_once_each_have_a_final_receipt(corpus: Reference, place: MemoryStorage, people: Writer) -> None:
    requests = [Request("subject", names=(name,)) for name in ("ann", "cid")]
    writers = [writer_of(corpus, place) for _ in requests]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(erase, writers, requests))
    head = look(corpus, place).head
    assert sorted(current(corpus, place)) == ["bob/1"]
    assert head.erasures == ()
    digests = {one["digest"] for one in head.receipts}
    assert digests == {one.receipt.digest for one in done if one.receipt is not None}
    assert len(digests) == 2
