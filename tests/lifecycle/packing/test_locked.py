"""Recordings with legal holds of Object Lock move into packs: which cases are named, so that somebody locks these."""

from __future__ import annotations

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.packs.run import pack_alone
from securedata.corpus.writer import Writer
from securedata.lifecycle.holds.hold import add_hold
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.rows import fill
from tests.lifecycle.packing.test_pack import filled, packed


def test_the_cases_are_named_whose_recordings_were_moved(
    corpus: Reference, place: MemoryStorage, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    filled(writer)
    add_hold(writer, "ann", "7", object_lock=True)
    add_hold(writer, "ben", "8")
    assert packed(corpus, place).unlocked == ["7"], "case 8 has no legal hold"
    assert "people under a hold were moved (case 7)" in caplog.text
    caplog.clear()
    fill(writer, "cid/7", "cid/8", subjects=["cid"])
    report = packed(corpus, place)
    assert (report.objects, report.unlocked, caplog.text) == (2, [], "")
    assert packed(corpus, place, unpack=True).unlocked == ["7"]
    assert pack_alone(writer, None, None).unlocked == ["7"], "what `encrypt --pack` does"
