"""An ingest whose host sleeps for a day and a half while a prune runs: what the prune took is sealed again."""

from __future__ import annotations

from pathlib import Path

import pytest

from securedata.corpus.check.prune import prune
from securedata.corpus.config import Reference
from securedata.errors import AlreadyExists
from securedata.ingest.pipeline import seal_sources
from securedata.ingest.sources.origin import PIECE
from securedata.ingest.sources.recordings import list_sources
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, named_keys, open_quietly
from tests.kit.corpora.rows import make, writer_of
from tests.kit.hooked import Hooked, Unlisted
from tests.kit.sources.recordings import clip


@pytest.fixture
def place() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def corpus(place: MemoryStorage) -> Reference:
    return make(place)


@pytest.mark.parametrize("which", ["small", "large"])
@pytest.mark.parametrize("answer", ["yes", "no"])
@pytest.mark.parametrize("kind", [Hooked, Unlisted])
def test_it_ends_with_every_recording(
    which: str,
    answer: str,
    kind: type[Hooked],
    corpus: Reference,
    place: MemoryStorage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = {"ann/small.wav": 0.2, "bob/small.wav": 0.3, "bob/large.wav": (PIECE + 5000) / 32_000}
    for n, (name, seconds) in enumerate(sizes.items()):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(clip("u.wav", seconds, seed=n).data)
    assert (tmp_path / "bob/large.wav").stat().st_size > PIECE
    monkeypatch.setattr("securedata.corpus.objects.put._sleep", lambda seconds: None)
    storage = kind(place)
    taken: list[str] = []

    def asleep(call: str, key: str) -> None:
        is_large = key in place.objects and len(place.objects[key][0]) > PIECE
        if call == "put_new" and key.startswith("objects/") and is_large == (which == "large") and not taken:
            place.clock += 40 * 3600
            prune(writer_of(corpus, place))
            assert key not in place.objects
            taken.append(key)
            if answer == "no":
                raise AlreadyExists("no")

    storage.after = asleep
    sources = list_sources(tmp_path, speaker_pattern="{speaker}/{utterance}")
    report = seal_sources(sources, writer_of(corpus, storage), threads=1)
    assert taken
    assert (report.added, report.complete, report.problems) == (3, True, [])
    assert report.sources.taken == 3
    assert named_keys(writer_of(corpus, place).head, place) <= set(place.objects)
    assert sorted(current(corpus, place)) == sorted(sizes)
    opened = open_quietly(corpus, place)
    for name in sizes:
        assert bytes(opened.read(name)) == (tmp_path / name).read_bytes()
