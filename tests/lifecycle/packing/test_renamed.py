"""A packed recording is renamed by adding its row again: that must not keep its old copy outside of the pack."""

from __future__ import annotations

import threading

from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.writer import Writer
from securedata.filesystem.writing.batch import Batch
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import keys_of
from tests.kit.corpora.rows import DAY, content, writer_of
from tests.lifecycle.packing.test_pack import contents, filled, packed


def test_a_renamed_row_does_not_keep_the_copy_that_is_due(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    filled(writer)
    packed(corpus, place)
    assert len([key for key in keys_of(place) if key.startswith("objects/")]) == 18
    place.clock += 1.1 * DAY
    batch = Batch(writer_of(corpus, place), threading.RLock(), lambda: None)
    batch.move("ann/0", "ann/renamed")
    batch.commit()  # it also deletes what is due
    assert not [key for key in keys_of(place) if key.startswith("objects/")]
    assert contents(corpus, place)["ann/renamed"] == content("ann/0")
    found = verify(corpus, storage=place)
    assert (found.ok, found.in_flight) == (True, 0)
