"""Recordings with legal holds of Object Lock move into packs: which cases are named, so that somebody locks these."""

from __future__ import annotations

from typing import Any

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.packs.run import pack_alone
from securedata.corpus.writer import Writer
from securedata.errors import StorageUnreachable
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


@pytest.mark.parametrize("options", [{"size": 2000}, {"unpack": True}])
def test_the_cases_are_named_after_an_interruption(
    corpus: Reference, place: MemoryStorage, writer: Writer, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    """The next run does not look at what was committed before. A hold that came meanwhile counts too."""
    filled(writer)
    if "unpack" in options:
        packed(corpus, place)

    def stop(done: int, *_: int) -> None:
        if not writer.refresh().holds:
            add_hold(writer, "ann", "7", object_lock=True)
            add_hold(writer, "dan", "9", object_lock=True, absent_ok=True)
        if done >= 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packed(corpus, place, progress=stop, **options)
    assert "people under a hold were moved (case 7)" in caplog.text


def test_all_cases_are_named_if_the_manifest_cannot_be_read(
    corpus: Reference,
    place: MemoryStorage,
    writer: Writer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    filled(writer)
    add_hold(writer, "ann", "7", object_lock=True)
    add_hold(writer, "dan", "9", object_lock=True, absent_ok=True)

    def unreachable(*_: object) -> None:
        raise StorageUnreachable("no route")

    monkeypatch.setattr("securedata.corpus.packs.locked.read_table", unreachable)
    with pytest.raises(StorageUnreachable):
        packed(corpus, place)
    assert "people under a hold were moved (case 7, 9)" in caplog.text
