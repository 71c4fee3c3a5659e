"""After a split, one person is erased without the others: that sound is nowhere, and theirs is as it was."""

from __future__ import annotations

import pytest

from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.state.layout import object_key
from securedata.corpus.writer import Writer
from securedata.errors import RowReplaced, SubjectErased
from securedata.lifecycle.erasure.erase import erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.receipt.operator import Operator, make_operator
from securedata.lifecycle.rotate import rotate
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, keys_of, look, named_keys, open_quietly
from tests.kit.corpora.rows import DAY, writer_of
from tests.kit.corpora.shared import TALK, share, talk
from tests.lifecycle.erasure.test_erase import statement_of
from tests.lifecycle.splitting.test_split import PATHS, contents, split


@pytest.fixture
def operator() -> Operator:
    return make_operator("example.com/erasure").operator


def heard_in(sound: bytes, among: dict[str, bytes]) -> bool:
    """Is a hundredth of a second from the middle of it in any of these files?"""
    middle = len(sound) // 4 * 2
    return any(sound[middle : middle + 320] in data for data in among.values())


@pytest.mark.parametrize("resealed", [False, True], ids=["at once", "after a re-encryption"])
def test_the_others_stay(
    corpus: Reference, place: MemoryStorage, writer: Writer, operator: Operator, resealed: bool
) -> None:
    [old, *_] = share(writer, talk())
    flight = open_quietly(corpus, place)
    split(corpus, place)
    pieces = contents(corpus, place)
    ids = {path: [row["object_id"]] for path, row in current(corpus, place).items()}
    reader = open_quietly(corpus, place)
    if resealed:
        rotate(corpus, data_keys=True, grace=14 * DAY, storage=place)
        for path, row in current(corpus, place).items():
            ids[path].append(row["object_id"])
    assert object_key(old["object_id"]) in keys_of(place), "it waits for readers in flight"
    anns, bens = (PATHS[0], PATHS[2]), PATHS[1]
    assert all(heard_in(pieces[path], {"": talk()}) for path in PATHS)
    erased = erase(writer_of(corpus, place), Request("subject", names=("ann",)))
    assert contents(corpus, place) == {bens: pieces[bens]}
    assert not any(heard_in(pieces[path], contents(corpus, place)) for path in anns)
    gone = {old["object_id"], *(id for path in anns for id in ids[path])}
    assert not {object_key(id) for id in gone} & keys_of(place)
    assert {id.hex() for id in gone} <= set(statement_of(erased).deleted.objects)
    assert keys_of(place) == named_keys(look(corpus, place).head, place), "nothing else is left"
    for one in (flight, reader):
        with pytest.raises(SubjectErased):
            one.read(PATHS[0])
    if not resealed:
        assert reader.read(bens) == pieces[bens]
    assert verify(corpus, storage=place).ok


def test_by_path_only_that_segment_is_closed_in_readers_from_before_the_split(
    corpus: Reference, place: MemoryStorage, writer: Writer, operator: Operator
) -> None:
    [old, *_] = share(writer, talk())
    flight = open_quietly(corpus, place)
    split(corpus, place)
    key = object_key(old["object_id"])
    kept = place.objects[key]
    erase(writer_of(corpus, place), Request("path", paths=(PATHS[0],)))
    assert [(one.start, one.frames) for one in look(corpus, place).head.barred_pieces] == [TALK[0][:2]]
    with pytest.raises(RowReplaced):
        flight.read(PATHS[1])
    with pytest.raises(SubjectErased):
        flight.read(PATHS[0])
    place.objects[key] = kept  # as under Object Lock
    lease = flight.snapshot.lease
    lease.take(lease._renew(lease.grant))
    with pytest.raises(SubjectErased):
        flight.read(PATHS[0])
    assert flight.read(PATHS[1]) == talk()
