"""Who is erased after all objects were sealed again is erased from the old objects too, whatever their grace."""

from __future__ import annotations

import pytest

from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.state.layout import object_key
from securedata.corpus.writer import Writer
from securedata.errors import SubjectErased
from securedata.lifecycle.erasure.erase import erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.rotate import rotate
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, open_quietly
from tests.kit.corpora.rows import DAY, content
from tests.lifecycle.erasure.test_erase import statement_of


def test_old_objects_of_the_person_go_and_those_of_others_stay(
    corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    readers, objects = [], []
    for _ in range(3):
        readers.append(open_quietly(corpus, place))
        objects.append({path: one["object_id"] for path, one in current(corpus, place).items()})
        if len(readers) < 3:
            rotate(corpus, data_keys=True, grace=14 * DAY, storage=place)
    assert all(object_key(id) in place.objects for one in objects for id in one.values())
    erased = erase(people, Request("subject", names=("ann",)))
    gone = {one[path] for one in objects for path in ("ann/1", "ann/2", "both/1")}
    assert len(gone) == 9
    assert not [id for id in gone if object_key(id) in place.objects]
    said = statement_of(erased)
    assert set(said.deleted.objects) == {id.hex() for id in gone}
    assert said.scope.objects == 9
    for reader in readers:  # in flight since before the first one
        for path in ("bob/1", "cid/1"):
            assert reader.read(path) == content(path)
        with pytest.raises(SubjectErased):
            reader.read("ann/1")
    report = verify(corpus, storage=place)
    assert report.ok, report.findings
