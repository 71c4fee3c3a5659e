"""Objects that were changed, cut or swapped, read through a corpus: the cause is said, and nothing is got."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from securedata.corpus.reader import Corpus
from securedata.corpus.state.layout import object_key
from securedata.errors import (
    AuthenticationFailed,
    LimitExceeded,
    MalformedHeader,
    MalformedManifest,
    NotSealed,
    SecuredataError,
    Truncated,
    UnknownSuite,
    UnknownVersion,
    WrongCorpus,
    WrongKind,
    WrongObject,
)
from securedata.format.cobblestone import SEALED_CHUNK
from securedata.testing.memory import MemoryStorage
from tests.format.test_bad_input import PLAIN, ROOT, SEALED, SIZE, START, flipped
from tests.kit.corpora.contents import open_quietly
from tests.kit.corpora.rows import make, row, table, writer_of

PATH = "ann-of-cork/the-first-one.flac"
WORDS = "these words were spoken"


@pytest.fixture
def place() -> MemoryStorage:
    return MemoryStorage(ROOT)


@pytest.fixture
def corpus(place: MemoryStorage) -> Iterator[Corpus]:
    reference = make(place, ROOT)
    writer = writer_of(reference, place)
    rows = [row(writer, path, PLAIN, transcript=WORDS) for path in (PATH, "another.flac")]
    writer.commit(table(*rows))
    with open_quietly(reference, place) as opened:
        yield opened


def ways_to_read(corpus: Corpus, i: int) -> Iterator[Callable[[], object]]:
    out = bytearray(SIZE)

    def into() -> None:
        try:
            corpus.read_into(i, out)
        finally:
            assert not any(out)

    yield lambda: corpus.read(PATH)
    yield into
    yield lambda: corpus.read_range(PATH, 0, SIZE)
    yield lambda: corpus.open(PATH).read()


Harm = Callable[[bytes, bytes], bytes]
"""Takes the object's bytes and those of another object of the corpus."""

HARM: list[tuple[str, Harm, type[SecuredataError]]] = [
    ("not sealed", lambda mine, other: b"RIFF" + mine[4:], NotSealed),
    ("empty", lambda mine, other: b"", NotSealed),
    ("a newer version", lambda mine, other: mine[:8] + b"\2" + mine[9:], UnknownVersion),
    ("another suite", lambda mine, other: mine[:9] + b"\2" + mine[10:], UnknownSuite),
    ("an absurd header", lambda mine, other: mine[:10] + b"\xff\xf8" + mine[12:], LimitExceeded),
    ("a malformed header", lambda mine, other: mine[:13] + b"\1" + mine[14:], MalformedHeader),
    ("a table in its place", lambda mine, other: mine[:12] + b"\3" + mine[13:], WrongKind),
    ("of another corpus", lambda mine, other: mine[:16] + bytes(16) + mine[32:], WrongCorpus),
    ("swapped", lambda mine, other: other, WrongObject),
    ("swapped under its own name", lambda mine, other: other[:48] + mine[48:64] + other[64:], AuthenticationFailed),
    ("cut", lambda mine, other: mine[:-1], Truncated),
    ("cut at a chunk", lambda mine, other: mine[: START + SEALED_CHUNK], Truncated),
    ("extended", lambda mine, other: mine + b"\0", Truncated),
    ("flipped at the end", lambda mine, other: flipped(mine, 8 * len(mine) - 1), AuthenticationFailed),
    ("flipped in the first chunk", lambda mine, other: flipped(mine, 8 * START + 9), AuthenticationFailed),
]


@pytest.mark.parametrize(("harm", "error"), [one[1:] for one in HARM], ids=[one[0] for one in HARM])
def test_a_reader_hears_the_cause_and_gets_nothing(
    harm: Harm, error: type[SecuredataError], corpus: Corpus, place: MemoryStorage
) -> None:
    i = corpus.find(PATH)
    object_id = corpus.index.location(i).object_id
    other = corpus.index.location(corpus.find("another.flac")).object_id
    key = object_key(object_id)
    changed = harm(place.objects[key][0], place.objects[object_key(other)][0])
    place.objects[key] = (changed, place.clock)
    for read in ways_to_read(corpus, i):
        if error is Truncated and len(changed) > len(SEALED):
            continue  # below
        with pytest.raises(SecuredataError) as caught:
            read()
        assert type(caught.value) is error
        text = str(caught.value)
        assert object_id.hex() in text
        assert ROOT in text
        assert ";" in text
        assert (caught.value.root, caught.value.object_id) == (ROOT, object_id)
        for secret in (PATH, "cork", WORDS, "ann", bytes(corpus.index.key(i)).hex()):
            assert secret not in text
    assert corpus.read("another.flac") == PLAIN, "the others can still be read"


def test_an_object_that_grew_is_refused_whole_and_its_ranges_are_what_they_were(
    corpus: Corpus, place: MemoryStorage
) -> None:
    # the row says where the object ends, so that no range can reach what was appended
    key = object_key(corpus.index.location(corpus.find(PATH)).object_id)
    place.objects[key] = (place.objects[key][0] + bytes(10_000), place.clock)
    with pytest.raises(Truncated):
        corpus.read(PATH)
    assert corpus.read_range(PATH, 0, 2 * SIZE) == PLAIN


@pytest.mark.parametrize("size", [-1, 2**62])
def test_a_row_that_claims_an_absurd_size_takes_no_memory(size: int, place: MemoryStorage) -> None:
    reference = make(place, ROOT)
    writer = writer_of(reference, place)
    honest, lie = (row(writer, path, PLAIN) for path in ("honest", "lie"))
    claim = size + 200 if size > 0 else -1
    writer.commit(table(honest, {**lie, "size": size, "sealed_size": claim}))
    opened = open_quietly(reference, place)
    for act in (lambda: opened.read("lie"), lambda: opened.read_range("lie", 0, 10)):
        with pytest.raises((Truncated, MalformedHeader, MalformedManifest, NotSealed)) as caught:
            act()
        assert lie["object_id"].hex() in str(caught.value)
    assert opened.read("honest") == PLAIN
