"""Packing beside others who delete at once: what they moved or erased is no damage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from securedata.corpus.config import Reference
from securedata.corpus.writer import Writer
from securedata.lifecycle.erasure.erase import erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.receipt.operator import make_operator
from securedata.lifecycle.rotate import rotate
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current
from tests.kit.corpora.rows import writer_of
from tests.lifecycle.packing.test_pack import contents, filled, packed


class Reading(MemoryStorage):
    """Something happens once, before members are read."""

    def __init__(self, start: MemoryStorage, meddle: Callable[[], object]) -> None:
        super().__init__(start.url, start.clock)
        self.objects, self.meddle = start.objects, [meddle]

    def get_many(self, wanted: Any, in_flight: int) -> Any:
        wanted = list(wanted)
        if self.meddle and any(one.key.startswith(("objects/", "packs/")) for one in wanted):
            self.meddle.pop()()
        return super().get_many(wanted, in_flight)


def test_what_another_packer_moved_at_once_is_not_damaged(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    filled(writer)
    seen = contents(corpus, place)
    report = packed(corpus, Reading(place, lambda: packed(corpus, place, now=True)))
    assert (report.complete, report.objects) == (True, 0)
    assert contents(corpus, place) == seen
    writer_of(corpus, place).commit(remove=["ann/0"])
    report = packed(corpus, Reading(place, lambda: packed(corpus, place, compact=0, now=True)), unpack=True)
    assert (report.complete, report.objects) == (True, 17)
    assert {one["pack"] for one in current(corpus, place).values()} == {None}
    assert contents(corpus, place) == {path: data for path, data in seen.items() if path != "ann/0"}


def test_who_was_erased_while_members_were_read_is_not_damaged(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    filled(writer)
    make_operator("example.com/erasure")
    report = packed(corpus, Reading(place, lambda: erase(writer_of(corpus, place), Request("subject", names=("ann",)))))
    assert (report.complete, report.objects) == (True, 12)


def test_what_was_packed_while_it_was_sealed_again_is_sealed_again(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    filled(writer)
    before, seen = current(corpus, place), contents(corpus, place)
    storage = Reading(place, lambda: packed(corpus, place, now=True))
    done = rotate(corpus, data_keys=True, storage=storage).data_keys
    assert done is not None
    assert (done.failed, done.finished) == ([], True)
    after = current(corpus, place)
    assert not {one["data_key"] for one in after.values()} & {one["data_key"] for one in before.values()}
    assert contents(corpus, place) == seen
