"""The cache of sealed objects below an opened corpus: what it holds, what it never serves, and when it forgets."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import securedata as sd
from securedata.corpus.config import config_path, resolve
from securedata.corpus.objects.cache import cached_reads, try_evict_unnamed, with_cache
from securedata.corpus.objects.fetch import Piece
from securedata.corpus.reader import Corpus
from securedata.errors import (
    AuthenticationFailed,
    ConfigError,
    FormatError,
    InvalidArgument,
    KeysExpired,
    ObjectMissing,
    SecuredataError,
    SubjectErased,
)
from securedata.storage.base import Buffer, Wanted
from securedata.storage.cache.folder import NAME
from securedata.storage.local import LocalStorage
from tests.kit.corpora.contents import current, look, open_quietly
from tests.kit.corpora.erasing import erase, lose
from tests.kit.corpora.recorded import Root, add_clips, flip_object, make_corpus, remove_paths
from tests.kit.sources.recordings import Clip

MARK = b"these words were never to be on a disk"
SIZES = {"ann/0.raw": 0, "ann/1.raw": 5_000, "bob/1.raw": 16_384, "bob/2.raw": 16_385, "cat/1.raw": 1_500_000}


TOLD = {"format": "WAV", "subtype": "PCM_16", "frames": 1}  # read by ranges


def a_clip(path: str, data: bytes) -> Clip:
    return Clip(path, data, path.partition("/")[0], columns=TOLD)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a process may find a lock taken for longer than it waits, and go on without the cache."""
    monkeypatch.setattr("securedata.storage.cache.ledger._TRIES", 50_000)
    monkeypatch.setattr("securedata.storage.cache.shards._TRIES", 50_000)
    monkeypatch.setattr("securedata.storage.cache.shards._SLICE", 30.0)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(
        tmp_path,
        [a_clip(path, (path.encode() + MARK * (size // len(MARK) + 1))[:size]) for path, size in SIZES.items()],
    )


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


class Counted(LocalStorage):
    """Keeps the keys that were read."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.asked: list[str] = []

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        self.asked += [key] * len(ranges)
        return super().get_ranges(key, ranges)

    def get_many(self, wanted: Sequence[Wanted], in_flight: int) -> Iterator[tuple[int, Buffer | SecuredataError]]:
        self.asked += [one.key for one in wanted]
        return super().get_many(wanted, in_flight)

    def taken(self) -> int:
        """How many ranges of objects were read since the last call."""
        many = sum(key.startswith("objects/") for key in self.asked)
        self.asked.clear()
        return many


def opened(root: Root, cache: Path, **options: object) -> tuple[Corpus, Counted]:
    storage = Counted(root)
    corpus = open_quietly(root.reference, storage, cache=str(cache), **options)
    storage.taken()
    return corpus, storage


def read_all(corpus: Corpus, root: Root) -> None:
    """Read everything, in each way, and compare it."""
    data = {clip.path: clip.data for clip in root.clips}
    paths = corpus.table.column("path").to_pylist()
    for at, got in corpus.read_many([Piece(i) for i in range(len(paths))]):
        assert got == data[paths[at]]
    for path in paths:
        assert corpus.read(path) == data[path]
        assert corpus.read_range(path, 100, 20_000) == data[path][100:20_100]
        out = bytearray(len(data[path]))
        corpus.read_into(corpus.find(path), out)
        assert out == data[path]
        with corpus.open(path) as file:
            file.seek(len(data[path]) // 2)
            assert file.read(300) == data[path][len(data[path]) // 2 :][:300]


def files(cache: Path) -> list[Path]:
    return [path for path in (cache / NAME).glob("??/*") if path.is_file()]


# ---------------------------------------------------------------------------------------------- hits


def test_the_second_epoch_asks_storage_for_nothing(root: Root, cache: Path) -> None:
    corpus, storage = opened(root, cache)
    assert dict(corpus.read_many([Piece(i) for i in range(5)])) == {i: clip.data for i, clip in enumerate(root.clips)}
    assert storage.taken() == 5
    assert (corpus.counters.cache_hits, corpus.counters.cache_misses) == (0, 5)
    read_all(corpus, root)
    assert storage.taken() == 0
    assert corpus.counters.cache_misses == 5
    assert corpus.counters.cache_hits == 25
    again, storage = opened(root, cache)
    read_all(again, root)
    assert storage.taken() == 0, "it outlives the process that filled it"


def test_single_reads_fill_it_too(root: Root, cache: Path) -> None:
    corpus, storage = opened(root, cache)
    for i in range(5):
        corpus.read(i)
    assert storage.taken() == 5
    read_all(corpus, root)
    assert storage.taken() == 0


def test_a_crop_brings_a_small_object_whole_and_a_large_one_in_parts(root: Root, cache: Path) -> None:
    corpus, storage = opened(root, cache)
    assert corpus.read_range("bob/2.raw", 5, 10) == root.clips[3].data[5:15]
    assert storage.taken() == 1
    assert corpus.read_range("bob/2.raw", 16_000, 385) == root.clips[3].data[16_000:]
    assert storage.taken() == 0
    pieces = [Piece(1, 7, 8), Piece(1, 4_000, 2_000), Piece(1)]
    assert dict(corpus.read_many(pieces)) == {
        0: root.clips[1].data[7:15],
        1: root.clips[1].data[4_000:],
        2: root.clips[1].data,
    }
    assert storage.taken() == 1, "one fetch serves all pieces of an object"
    large = root.clips[4].data
    for many in (2, 0):  # header and chunks
        assert corpus.read_range("cat/1.raw", 700_000, 10) == large[700_000:700_010]
        assert storage.taken() == many
    assert dict(corpus.read_many([Piece(4, 700_000, 10)])) == {0: large[700_000:700_010]}
    assert storage.taken() == 0
    assert corpus.read_range("cat/1.raw", 1_000_000, 10) == large[1_000_000:1_000_010]
    assert storage.taken() == 1, "the header is there"


def test_only_sealed_objects_are_on_the_disk(root: Root, cache: Path) -> None:
    corpus, _ = opened(root, cache)
    read_all(corpus, root)
    corpus.close()
    rows = current(root.reference).values()
    held = b"".join(path.read_bytes() for path in (cache / NAME).rglob("*") if path.is_file())
    names = " ".join(str(path) for path in (cache / NAME).rglob("*"))
    assert {path.name.split("-")[1] for path in files(cache)} == {row["object_id"].hex() for row in rows}
    for row in rows:
        key = row["data_key"]
        for secret in (key, key.hex().encode(), base64.b64encode(key), row["path"].encode(), MARK[:16]):
            assert secret not in held
        assert row["path"].partition("/")[0] not in names.rpartition(NAME)[2]
    head = Path(root, "head").read_bytes()
    parts = [path.read_bytes() for path in Path(root, "manifest").iterdir()]
    assert all(one[:200] not in held for one in [head, *parts])


def test_two_corpora_share_a_cache(root: Root, cache: Path, tmp_path: Path) -> None:
    other = make_corpus(tmp_path, [a_clip("ann/1.raw", b"another one" * 500)], name="voice-b")
    for one in (root, other):
        corpus, storage = opened(one, cache)
        for i in range(len(corpus)):
            assert corpus.read(i) == one.clips[i].data
        assert storage.taken() == len(corpus)
    for one in (root, other):
        corpus, storage = opened(one, cache)
        read_all(corpus, one)
        assert storage.taken() == 0


def test_verify_reads_storage(root: Root, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECUREDATA_CACHE", str(cache))
    with sd.open_corpus(root) as corpus:
        read_all(corpus, root)
    assert files(cache)
    lose(root, "ann/1.raw")
    flip_object(root, "bob/1.raw")
    assert not sd.verify(root).ok


# ---------------------------------------------------------------------------------------------- what is not served


HARM: dict[str, Callable[[bytearray], object]] = {
    "magic": lambda data: data.__setitem__(0, data[0] ^ 1),
    "version": lambda data: data.__setitem__(8, 2),
    "suite": lambda data: data.__setitem__(9, 2),
    "header length": lambda data: data.__setitem__(11, data[11] ^ 8),
    "kind": lambda data: data.__setitem__(12, 2),
    "corpus id": lambda data: data.__setitem__(16, data[16] ^ 1),
    "object id": lambda data: data.__setitem__(48, data[48] ^ 1),
    "salt": lambda data: data.__setitem__(70, data[70] ^ 1),
    "commitment": lambda data: data.__setitem__(100, data[100] ^ 1),
    "a chunk": lambda data: data.__setitem__(200, data[200] ^ 1),
    "the last tag": lambda data: data.__setitem__(-1, data[-1] ^ 1),
    "zeros": lambda data: data.__setitem__(slice(None), bytes(len(data))),
    "cut": lambda data: data.__delitem__(slice(-1, None)),
    "longer": lambda data: data.extend(b"x"),
    "empty": lambda data: data.clear(),
}
READS: dict[str, Callable[[Corpus, int], object]] = {
    "read": lambda corpus, i: bytes(corpus.read(i)),
    "read_many": lambda corpus, i: bytes(dict(corpus.read_many([Piece(i)]))[0]),
    "read_range": lambda corpus, i: bytes(corpus.read_range(i, 0, 20_000)),
    "a range of many": lambda corpus, i: bytes(dict(corpus.read_many([Piece(i, 0, 20_000)]))[0]),
    "open": lambda corpus, i: corpus.open(i).read(),
}


@pytest.mark.parametrize("way", READS)
@pytest.mark.parametrize("harm", HARM)
def test_what_does_not_open_is_dropped_and_fetched_again(root: Root, cache: Path, harm: str, way: str) -> None:
    corpus, storage = opened(root, cache, columns=["size"])
    i = corpus.find("bob/2.raw")
    corpus.read(i)
    storage.taken()
    [path] = files(cache)
    data = bytearray(path.read_bytes())
    HARM[harm](data)
    path.write_bytes(data)
    assert READS[way](corpus, i) == root.clips[3].data
    assert storage.taken() >= 1
    assert READS[way](corpus, i) == root.clips[3].data
    storage.taken()
    assert READS[way](corpus, i) == root.clips[3].data
    assert storage.taken() == 0, "it was put back"


def test_another_object_in_its_place_is_not_served(root: Root, cache: Path) -> None:
    corpus, _ = opened(root, cache)
    read_all(corpus, root)
    one, other = (path for path in files(cache) if 16_384 < path.stat().st_size < 17_000)
    one.write_bytes(other.read_bytes()[: one.stat().st_size].ljust(one.stat().st_size, b"\0"))
    read_all(corpus, root)


def test_an_object_that_is_bad_on_storage_is_asked_for_twice(root: Root, cache: Path) -> None:
    flip_object(root, "bob/1.raw")
    corpus, storage = opened(root, cache)
    i = corpus.find("bob/1.raw")
    for _ in range(2):
        with pytest.raises(AuthenticationFailed):
            corpus.read(i)
        assert storage.taken() == 2
        assert isinstance(dict(corpus.read_many([Piece(i)]))[0], AuthenticationFailed)
        assert storage.taken() == 2
    assert files(cache) == []


def test_a_bad_entry_of_a_lost_object_is_an_error(root: Root, cache: Path) -> None:
    corpus, _ = opened(root, cache)
    read_all(corpus, root)
    lose(root, "bob/1.raw")
    i = corpus.find("bob/1.raw")
    assert corpus.read(i) == root.clips[2].data, "what was cached is still read"
    for path in files(cache):
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(ObjectMissing):
        corpus.read(i)
    for path in files(cache):
        path.write_bytes(bytes(path.stat().st_size))
    assert isinstance(dict(corpus.read_many([Piece(i)]))[0], ObjectMissing)


def test_nothing_is_read_from_it_after_the_keys_have_ended(root: Root, cache: Path) -> None:
    corpus, _ = opened(root, cache, ttl=0.3, kms_wait=0.0)
    read_all(corpus, root)
    root.key_file.rename(root.key_file.with_suffix(".away"))
    time.sleep(0.3)
    with pytest.raises(KeysExpired):
        corpus.read(0)
    with pytest.raises(KeysExpired):
        list(corpus.read_many([Piece(0)]))


@pytest.mark.parametrize("place", ["a file", "below a file", "a missing disk"])
def test_without_a_usable_folder_reading_goes_on(
    root: Root, tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    where = {"a file": tmp_path / "file", "below a file": tmp_path / "file/x", "a missing disk": Path("/proc/no/disk")}
    corpus, storage = opened(root, where[place])
    read_all(corpus, root)
    read_all(corpus, root)
    assert storage.taken() > 20
    assert len([record for record in caplog.records if "cache" in record.message]) == 1
    assert corpus.counters.cache_hits == 0


# ---------------------------------------------------------------------------------------------- erasure


def names(cache: Path) -> set[str]:
    return {path.name.split("-")[1] for path in files(cache)}


def ids(root: Root) -> dict[str, str]:
    return {row["path"]: row["object_id"].hex() for row in current(root.reference).values()}


def test_a_renewal_evicts_what_was_erased(root: Root, cache: Path) -> None:
    before = ids(root)
    corpus, _ = opened(root, cache, ttl=0.2)
    read_all(corpus, root)
    assert names(cache) == set(before.values())
    erase(root, "bob")
    time.sleep(0.2)
    assert corpus.read("ann/1.raw") == root.clips[1].data
    assert names(cache) == {id for path, id in before.items() if not path.startswith("bob")}
    with pytest.raises(SubjectErased):
        corpus.read("bob/1.raw")


def test_a_renewal_also_evicts_what_a_filter_left_out(root: Root, cache: Path) -> None:
    before = ids(root)
    everything, _ = opened(root, cache)
    read_all(everything, root)
    some, _ = opened(root, cache, ttl=0.2, speakers=["ann"])
    erase(root, "bob")
    time.sleep(0.2)
    some.read(0)
    assert names(cache) == {id for path, id in before.items() if not path.startswith("bob")}


def test_a_process_that_renews_later_evicts_what_it_put_meanwhile(root: Root, cache: Path) -> None:
    before = ids(root)
    corpus, _ = opened(root, cache, ttl=0.2)
    read_all(corpus, root)
    saved = {path: path.read_bytes() for path in files(cache)}
    erase(root, "bob")
    opened(root, cache)
    assert len(names(cache)) == 3, "the host has looked for what was erased"
    for path, data in saved.items():
        path.write_bytes(data)
    time.sleep(0.2)
    corpus.read("ann/1.raw")
    assert names(cache) == {id for path, id in before.items() if not path.startswith("bob")}


def test_the_next_opening_evicts_what_was_erased_meanwhile(root: Root, cache: Path) -> None:
    before = ids(root)
    corpus, _ = opened(root, cache)
    read_all(corpus, root)
    corpus.close()
    erase(root, "bob")
    assert names(cache) == set(before.values())
    again, storage = opened(root, cache)
    assert names(cache) == {id for path, id in before.items() if not path.startswith("bob")}
    again.close()
    storage.asked.clear()
    remove_paths(root, ["ann/1.raw"])
    third, _ = opened(root, cache)
    assert before["ann/1.raw"] in names(cache), "once for an erasure; what was removed goes when there is no room"
    third.close()


def test_a_part_that_cannot_be_read_keeps_nobody_from_reading(
    root: Root, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus, _ = opened(root, cache, ttl=0.2)
    read_all(corpus, root)
    add_clips(root, [a_clip("dan/1.raw", b"x" * 100)])
    erase(root, "bob")

    class Away(Counted):
        def get(self, key: str, limit: int | None = None) -> bytes:
            if key.startswith("manifest/"):
                raise FormatError("no part")
            return super().get(key, limit)

    reads = cached_reads(with_cache(root.reference, cache), Away(root), corpus.corpus_id, lambda: corpus.counters)
    assert reads is not None
    try_evict_unnamed(reads, look(root.reference).head)
    assert "may still hold sealed objects of people who were erased: no part" in caplog.text
    opened(root, cache)
    assert set(ids(root).values()) >= names(cache), "the next opening tries again"


# ---------------------------------------------------------------------------------------------- settings


def test_the_most_specific_setting_counts(root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def used(**options: object) -> tuple[str | None, str | None]:
        with open_quietly(root.reference, **options) as corpus:
            found = corpus.reference.options
            assert (corpus.snapshot.cache is None) == ("cache" not in found)
            return found.get("cache"), found.get("cache_size")

    assert used() == (None, None)
    monkeypatch.setenv("SECUREDATA_CACHE", str(tmp_path / "environment"))
    assert used() == (str(tmp_path / "environment"), str(10**10))
    monkeypatch.setenv("SECUREDATA_CACHE_SIZE", "1.5 TB")
    assert used() == (str(tmp_path / "environment"), str(1_500_000_000_000))
    assert used(cache=tmp_path / "argument", cache_size=2**30) == (str(tmp_path / "argument"), str(2**30))
    assert used(cache="off") == (None, None)


def test_it_stands_in_the_config_file(root: Root, tmp_path: Path) -> None:
    text = config_path().read_text()
    config_path().write_text(f'{text}cache = "~/kept"\ncache_size = "64GiB"\n')
    with sd.open_corpus("voice-a") as corpus:
        assert corpus.reference.options["cache"] == str(Path.home() / "kept")
        assert corpus.reference.options["cache_size"] == str(64 * 2**30)
    config_path().write_text(f'{text}cache_dir = "/x"\n')
    with pytest.raises(ConfigError, match="cache, cache_size"):
        resolve("voice-a")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cache": "s3://bucket/x"}, "local disk"),
        ({"cache": "a\0b"}, "local disk"),
        ({"cache": 7}, "text"),
        ({"cache": "/x", "cache_size": "many"}, "200GB"),
        ({"cache": "/x", "cache_size": "-1"}, "200GB"),
        ({"cache": "/x", "cache_size": True}, "200GB"),
        ({"cache": "/x", "cache_size": "15MB"}, "at least 16 MiB"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(root: Root, options: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        open_quietly(root.reference, **options)


def test_corpus_and_cache_are_not_inside_each_other(root: Root) -> None:
    for place in (str(root), f"{root}/objects/cache", str(Path(root).parent)):
        with pytest.raises(InvalidArgument, match="inside each other"):
            open_quietly(root.reference, cache=place)
