"""Who is erased from a packed corpus: what goes at once, what stays as noise, and what the receipt says of it."""

from __future__ import annotations

import pytest

from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.state.layout import object_key, pack_key
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, RowReplaced, SubjectErased
from securedata.lifecycle.erasure.complete import complete
from securedata.lifecycle.erasure.erase import Erased, erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.receipt.operator import load_operator, make_operator
from securedata.lifecycle.receipt.verify import read_receipt
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, keys_of, open_quietly
from tests.kit.corpora.rows import content, row, table, writer_of
from tests.lifecycle.erasure.test_erase import statement_of
from tests.lifecycle.packing.test_pack import PATHS, contents, filled, packed

OTHERS = [path for path in PATHS if not path.startswith("ann")]


@pytest.fixture(autouse=True)
def operator() -> None:
    make_operator("example.com/erasure")


def without_ann(corpus: Reference, place: MemoryStorage) -> Erased:
    return erase(writer_of(corpus, place), Request("subject", names=("ann",)))


def whole(corpus: Reference, place: MemoryStorage) -> None:
    """The others are there, ann is not, and nothing is left over."""
    assert contents(corpus, place) == {path: content(path) for path in OTHERS}
    found = verify(corpus, storage=place)
    assert (found.ok, found.in_flight) == (True, 0)


def test_the_receipt_says_what_stays_in_packs_and_what_went(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    filled(writer)
    packed(corpus, place, now=True)
    rows = current(corpus, place)
    [pack_id] = {one["pack"] for one in rows.values()}
    sealed = place.get(pack_key(pack_id))
    erased = without_ann(corpus, place)
    said = statement_of(erased)
    assert said.packed is not None
    assert (said.packed.objects, said.packed.packs, said.packed.deleted) == (6, (pack_id.hex(),), ())
    assert (said.scope.objects, said.deleted.objects) == (0, ())
    assert any(
        "Crypto-erased, but not deleted: the sealed bytes of 6 objects lie in 1 packs" in it for it in said.remains
    )
    assert {one.count for one in said.sanitization.destroyed if one.keys.startswith("data keys")} == {6}
    assert place.get(pack_key(pack_id)) == sealed, "they are there, and nothing has their keys"
    assert erased.receipt is not None
    assert erased.receipt.packs == 1
    report = verify(corpus, storage=place)
    assert report.dead_bytes == sum(one["sealed_size"] for path, one in rows.items() if path.startswith("ann"))
    whole(corpus, place)
    # the next step
    assert packed(corpus, place, compact=0, now=True).packs == 1
    assert pack_key(pack_id) not in keys_of(place)
    assert erased.receipt.path is not None
    done = complete(writer_of(corpus, place), read_receipt(erased.receipt.path), load_operator(), [])
    assert done.changed
    after = statement_of(Erased(erased.commit, done.receipt))
    assert after.packed is not None
    assert (after.packed.packs, after.packed.deleted) == ((), (pack_id.hex(),))
    assert not any("Crypto-erased" in it for it in after.remains)
    whole(corpus, place)


def test_a_pack_of_which_nothing_else_is_alive_is_deleted(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    filled(writer)
    packed(corpus, place, group_by="subject", size=2200, now=True)
    mine = {one["pack"] for path, one in current(corpus, place).items() if path.startswith("ann")}
    said = statement_of(without_ann(corpus, place))
    assert said.packed is not None
    assert (said.packed.objects, said.packed.packs) == (6, ())
    assert said.packed.deleted == tuple(sorted(id.hex() for id in mine))
    assert not {pack_key(id) for id in mine} & keys_of(place)
    whole(corpus, place)


def test_single_copies_of_a_day_go_at_once(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer)
    ids = {path: one["object_id"] for path, one in current(corpus, place).items()}
    before = open_quietly(corpus, place)
    packed(corpus, place)
    said = statement_of(without_ann(corpus, place))
    mine = {id for path, id in ids.items() if path.startswith("ann")}
    assert not {object_key(id) for id in mine} & keys_of(place)
    assert set(said.deleted.objects) == {id.hex() for id in mine}
    for path in OTHERS:  # a reader from before the packing
        assert before.read(path) == content(path)
    with pytest.raises(SubjectErased):
        before.read("ann/0")
    whole(corpus, place)


def test_a_pack_that_was_rewritten_today_is_named(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer)
    packed(corpus, place, now=True)
    [old] = {one["pack"] for one in current(corpus, place).values()}
    writer_of(corpus, place).commit(remove=["ben/0"])
    packed(corpus, place, compact=0)
    said = statement_of(without_ann(corpus, place))
    assert said.packed is not None
    assert said.packed.waiting == (old.hex(),)
    assert any("replaced or sealed again: 1. They wait" in it for it in said.remains)


def test_a_reader_from_before_is_told_where_it_went(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer)
    before = open_quietly(corpus, place)
    packed(corpus, place, now=True)
    with pytest.raises(RowReplaced, match=r"is elsewhere, sealed again or in a pack: refresh\(\)"):
        before.read("ann/0")
    between = open_quietly(corpus, place)
    writer_of(corpus, place).commit(remove=["ann/1"])
    packed(corpus, place, compact=0, now=True)
    with pytest.raises(RowReplaced, match="in a pack"):
        between.read("ann/0")
    between.refresh()
    assert between.read("ann/0") == content("ann/0")


def test_a_segment_whose_object_others_keep_is_refused_in_a_pack_too(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    put = writer.put_object([content("both")]).columns()
    one = {"subjects": ["ann"], "format": "WAV", "source_mtime_ns": 1, "frames": 9, **put}
    writer.commit(table(*({"path": f"both/{at}", **one, "start": at, "frames_in_segment": 1} for at in range(2))))
    filled(writer)
    packed(corpus, place)
    with pytest.raises(InvalidArgument, match="their sound would stay readable"):
        erase(writer_of(corpus, place), Request("path", paths=("both/0",)))
    said = statement_of(erase(writer_of(corpus, place), Request("path", paths=("both",))))
    assert said.packed is not None
    assert said.packed.objects == 1


def test_packs_that_can_have_earlier_bytes_are_named(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    filled(writer)
    packed(corpus, place, now=True)
    [pack_id] = {one["pack"] for one in current(corpus, place).values()}
    mine = [path for path in PATHS if path.startswith("ann")]
    other = writer_of(corpus, place)
    other.commit(table(*(row(other, path, path.encode(), ["ann"]) for path in mine)), replace=True)
    erased = without_ann(corpus, place)
    said = statement_of(erased)
    assert said.packed is not None
    assert (said.packed.objects, said.packed.packs, said.packed.waiting) == (0, (), (pack_id.hex(),))
    assert packed(corpus, place, compact=0, now=True).packs == 1
    assert erased.receipt is not None
    assert erased.receipt.path is not None
    done = complete(writer_of(corpus, place), read_receipt(erased.receipt.path), load_operator(), [])
    after = statement_of(Erased(erased.commit, done.receipt))
    assert after.packed is not None
    assert (after.packed.waiting, after.packed.deleted) == ((), (pack_id.hex(),))
