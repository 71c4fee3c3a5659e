"""`encrypt --pack` seals in memory and writes packs: each recording once, and none that is not taken."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.check.prune import prune
from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.state.layout import pack_key
from securedata.errors import AlreadyExists, SecuredataError, StorageUnreachable
from securedata.ingest import packing, sealing
from securedata.ingest.pipeline import seal_sources
from securedata.ingest.report import IngestReport
from securedata.ingest.sources.origin import PIECE
from securedata.ingest.sources.recordings import list_sources
from securedata.lifecycle.erasure.erase import Options
from securedata.lifecycle.erasure.erase import erase as run_erasure
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.holds.hold import add_hold
from securedata.lifecycle.receipt.operator import make_operator
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, keys_of, look, named_keys, open_quietly
from tests.kit.corpora.erasing import erase_by
from tests.kit.corpora.rows import fill, make, writer_of
from tests.kit.hooked import Hook, Hooked, Unlisted
from tests.kit.sources.recordings import clip

PEOPLE = ("ann", "ben", "cid")


@pytest.fixture
def place() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def corpus(place: MemoryStorage) -> Reference:
    return make(place)


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    """Twelve recordings of each of three people, no two alike."""
    for number, person in enumerate(PEOPLE):
        (tmp_path / person).mkdir()
        for n in range(12):
            data = clip("u.wav", 0.02 + n / 1000, seed=100 * number + n).data
            (tmp_path / person / f"{n:02}.wav").write_bytes(data)
    return tmp_path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs of 8 kB: a dozen of these recordings, sealed by threes."""
    monkeypatch.setattr(packing, "SIZE", 8_000)
    monkeypatch.setattr(sealing, "_FILES", 3)


class Before(Hooked):
    """Lets something happen right before the head is replaced, so many times."""

    def __init__(self, inner: MemoryStorage, *acts: Callable[[], object]) -> None:
        super().__init__(inner)
        acting, left = [False], list(acts)

        def act(call: str, key: str) -> None:
            if call == "replace" and left and not acting[0]:
                acting[0] = True
                left.pop(0)()
                acting[0] = False

        self.before = act


def run(
    wavs: Path, corpus: Reference, storage: Hooked | MemoryStorage, leave_out: Sequence[str] = (), **options: Any
) -> IngestReport:
    sources = list_sources(wavs, speaker_pattern="{speaker}/{utterance}", leave_out=leave_out)
    return seal_sources(sources, writer_of(corpus, storage), pack=True, **options)


def files_of(wavs: Path) -> dict[str, bytes]:
    return {f"{file.parent.name}/{file.name}": file.read_bytes() for file in wavs.glob("*/*.wav")}


def contents(corpus: Reference, place: MemoryStorage) -> dict[str, bytes]:
    opened = open_quietly(corpus, place)
    return {path: bytes(opened.read(path)) for path in opened.table.column("path").to_pylist()}


def packs_in(place: MemoryStorage) -> set[str]:
    return {key for key in keys_of(place) if key.startswith("packs/")}


def named(corpus: Reference, place: MemoryStorage) -> list[str]:
    """The storage keys of the packs that rows name, each once, in the order of the rows."""
    rows = current(corpus, place).values()
    return list(dict.fromkeys(pack_key(one["pack"]) for one in rows if one["pack"]))


def mixed(of_pack: Sequence[Sequence[str]]) -> bool:
    """Do all packs but one have several people? In the order of the files, few would; by chance one may have one."""
    return sum(len({path.partition("/")[0] for path in paths}) > 1 for paths in of_pack) >= len(of_pack) - 1


def sound(corpus: Reference, place: MemoryStorage) -> None:
    """Nothing is damaged, and nothing is left over."""
    found = verify(corpus, storage=place)
    assert (found.ok, found.in_flight) == (True, 0), keys_of(place) - named_keys(look(corpus, place).head, place)


def test_each_recording_is_written_once(corpus: Reference, place: MemoryStorage, wavs: Path) -> None:
    storage = Hooked(place)
    report = run(wavs, corpus, storage)
    assert (report.added, report.complete, report.sources.taken) == (36, True, 36)
    assert contents(corpus, place) == files_of(wavs)
    written = [key for call, key in storage.calls if call == "put_new" and not key.startswith("manifest/")]
    assert written == named(corpus, place)
    assert len(written) == 1
    assert len(place.get(written[0])) == report.sealed_bytes
    assert report.packed is not None
    assert (report.packed.packs, report.packed.objects, report.packed.rows) == (1, 36, 36)
    assert report.packed.bytes == report.sealed_bytes
    sound(corpus, place)


def test_a_pack_has_recordings_of_everyone_in_no_order_of_theirs(
    corpus: Reference, place: MemoryStorage, wavs: Path, small: None
) -> None:
    report = run(wavs, corpus, place, threads=1)
    rows = list(current(corpus, place).items())
    keys = named(corpus, place)
    assert report.packed is not None
    assert report.packed.packs == len(keys) == len(packs_in(place)) >= 3
    of_pack = [[path for path, row in rows if pack_key(row["pack"]) == key] for key in keys]
    assert all(paths != sorted(paths) for paths in of_pack if len(paths) > 7)
    assert mixed(of_pack)
    for key in keys:
        places = [(row["offset"], row["sealed_size"]) for _, row in rows if pack_key(row["pack"]) == key]
        assert [offset for offset, _ in places] == [sum(size for _, size in places[:n]) for n in range(len(places))]
    sound(corpus, place)


@pytest.mark.parametrize(("limit", "value"), [("SIZE", 8_000), ("_MOST_ROWS", 10), ("PACK_SECONDS", 0.0)])
def test_when_a_pack_is_put(
    corpus: Reference, place: MemoryStorage, wavs: Path, limit: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "_FILES", 3)
    monkeypatch.setattr(packing, limit, value)
    run(wavs, corpus, place, threads=1)
    assert len(packs_in(place)) >= 3
    sound(corpus, place)


def test_the_next_run_has_nothing_to_do(corpus: Reference, place: MemoryStorage, wavs: Path) -> None:
    run(wavs, corpus, place)
    before = current(corpus, place)
    again = run(wavs, corpus, place)
    assert (again.unchanged, again.added, again.files) == (36, 0, 0)
    assert again.packed is not None
    assert again.packed.packs == 0
    assert current(corpus, place) == before


def test_what_fits_into_no_pack_is_alone(
    corpus: Reference, place: MemoryStorage, wavs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (wavs / "ann/large.wav").write_bytes(clip("u.wav", (PIECE + 5000) / 32_000, seed=7).data)
    (wavs / "ann/larger.wav").write_bytes(clip("u.wav", 2 * PIECE / 32_000, seed=8).data)
    report = run(wavs, corpus, place)
    assert report.added == 38
    rows = current(corpus, place)
    assert [path for path, row in rows.items() if row["pack"] is None] == ["ann/larger.wav"]
    assert contents(corpus, place) == files_of(wavs)
    sound(corpus, place)


def test_what_cannot_be_read_is_told(corpus: Reference, place: MemoryStorage, wavs: Path) -> None:
    (wavs / "ann/bad.wav").write_bytes(b"RIFF and nothing else")
    report = run(wavs, corpus, place)
    assert (report.added, [one.path for one in report.problems]) == (36, ["ann/bad.wav"])
    assert len(packs_in(place)) == 1
    sound(corpus, place)


@pytest.mark.parametrize("policy", ["take", "skip", "fail"])
def test_copies(corpus: Reference, place: MemoryStorage, wavs: Path, policy: str) -> None:
    (wavs / "ann/99.wav").write_bytes((wavs / "ann/00.wav").read_bytes())
    report = run(wavs, corpus, place, if_duplicate=policy)
    assert report.added == (37 if policy == "take" else 36)
    assert report.duplicates == ([] if policy == "fail" else [("ann/99.wav", "ann/00.wav")])
    assert len(report.problems) == (policy == "fail")
    sizes = [row["sealed_size"] for row in current(corpus, place).values()]
    [key] = packs_in(place)
    assert len(place.get(key)) == sum(sizes), "what is left out is in no pack"
    sound(corpus, place)


def test_nobody_who_was_erased_is_in_a_pack(corpus: Reference, place: MemoryStorage, wavs: Path) -> None:
    erase_by(writer_of(corpus, place), "ben")
    report = run(wavs, corpus, place)
    assert (report.added, len(report.erased), report.sources.not_taken) == (24, 12, 12)
    assert report.sealed_bytes > len(place.get(named(corpus, place)[0]))
    sound(corpus, place)


@pytest.mark.parametrize("whose", ["other content", "the same", "erased"])
def test_a_row_that_cannot_be_added_by_then(
    corpus: Reference, place: MemoryStorage, wavs: Path, small: None, whose: str
) -> None:
    """The pack is not named; the others of it are sealed again."""
    files = files_of(wavs)

    def meddle() -> None:
        writer = writer_of(corpus, place)
        if whose == "erased":
            erase_by(writer, "ben")
        elif whose == "the same":
            run(wavs, corpus, place, leave_out=["ann", "cid"])
        else:
            fill(writer, "ben/03.wav", subjects=("ben",))

    report = run(wavs, corpus, Before(place, meddle), threads=1)
    after = current(corpus, place)
    if whose == "erased":
        assert sorted(report.erased) == sorted(path for path in files if path.startswith("ben/"))
        assert sorted(after) == sorted(set(files) - set(report.erased))
    else:
        assert sorted(after) == sorted(files)
        expected = (["ben/03.wav"], 0) if whose == "other content" else ([], 12)
        assert (report.conflicts, report.unchanged) == expected
    assert set(named(corpus, place)) == packs_in(place)
    assert report.sealed_bytes > sum(one["sealed_size"] for one in after.values())
    sound(corpus, place)


def test_segments_of_one_recording_are_sealed_again_as_one(corpus: Reference, place: MemoryStorage, wavs: Path) -> None:
    """Of a pack that is not named: their rows share one object before and after."""
    lines = [
        {"audio_filepath": f"{person}/00.wav", "offset": n / 500, "duration": 0.002, "speaker": person}
        for person in PEOPLE
        for n in range(5)
    ]
    manifest = wavs / "segments.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    sources = list_sources(wavs, manifest=manifest, only_listed=True)
    storage = Before(place, lambda: erase_by(writer_of(corpus, place), "ben"))
    report = seal_sources(sources, writer_of(corpus, storage), pack=True)
    assert (report.added, len(report.erased)) == (10, 5)
    rows = current(corpus, place)
    assert len({row["object_id"] for row in rows.values()}) == 2
    sizes = {row["object_id"]: row["sealed_size"] for row in rows.values()}
    assert report.sealed_bytes < 3 * sum(sizes.values()), "five objects in all"
    sound(corpus, place)


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("why", ["lost", "conflict"])
def test_a_copy_is_taken_if_what_it_was_left_out_for_is_not(
    corpus: Reference, place: MemoryStorage, wavs: Path, pack: bool, why: str
) -> None:
    data = (wavs / "ann/00.wav").read_bytes()
    (wavs / "ann/99.wav").write_bytes(data)

    def meddle() -> None:
        if why == "lost":
            erase_by(writer_of(corpus, place), "ben")  # tears the pack, so that the file is read again
            (wavs / "ann/00.wav").unlink()
        else:
            fill(writer_of(corpus, place), "ann/00.wav", subjects=("ann",))

    storage = Before(place, meddle)
    sources = list_sources(wavs, speaker_pattern="{speaker}/{utterance}")
    report = seal_sources(sources, writer_of(corpus, storage), pack=pack, if_duplicate="skip")
    assert data in contents(corpus, place).values()
    if why == "lost" and not pack:  # nothing is sealed again
        assert report.duplicates == [("ann/99.wav", "ann/00.wav")]
        return
    assert bytes(open_quietly(corpus, place).read("ann/99.wav")) == data
    assert (report.duplicates, report.complete) == ([], False)
    assert report.conflicts + [one.path for one in report.problems] == ["ann/00.wav"]
    assert report.sources.left_out == 0
    sound(corpus, place)


@pytest.mark.parametrize("how", ["replace", "reseal"])
def test_rows_that_a_hold_keeps_are_in_no_pack(
    corpus: Reference, place: MemoryStorage, wavs: Path, small: None, how: str
) -> None:
    run(wavs, corpus, place)
    before = current(corpus, place)
    add_hold(writer_of(corpus, place), "ben", "7")
    if how == "replace":
        for path, data in files_of(wavs).items():
            (wavs / path).write_bytes(data + b"\0\0")
    report = run(wavs, corpus, place, **{how: True})
    assert (report.replaced, len(report.held), report.files) == (24, 12, 36)
    assert report.packed is not None
    assert report.packed.again == 0, "no pack is written in vain"
    after = current(corpus, place)
    assert {path: after[path] for path in after if path.startswith("ben/")} == {
        path: before[path] for path in before if path.startswith("ben/")
    }
    sound(corpus, place)


def test_erased_recordings_are_in_no_pack(corpus: Reference, place: MemoryStorage, wavs: Path, small: None) -> None:
    """Erased by path: what is barred is known by the digests of the new rows."""
    run(wavs, corpus, place, leave_out=["ann"])
    make_operator("example.com/erasure")
    paths = tuple(path for path in files_of(wavs) if path.startswith("ben/"))
    run_erasure(writer_of(corpus, place), Request("path", paths=paths), Options())
    report = run(wavs, corpus, place)
    assert (report.added, report.unchanged, len(report.erased), report.files) == (12, 12, 12, 24)
    assert report.packed is not None
    assert report.packed.again == 0
    sound(corpus, place)


def test_what_is_sealed_again_is_in_random_order_too(
    corpus: Reference, place: MemoryStorage, wavs: Path, small: None
) -> None:
    storage = Before(place, lambda: erase_by(writer_of(corpus, place), "ben"))
    report = run(wavs, corpus, storage, threads=1)
    rows = current(corpus, place)
    keys = named(corpus, place)
    assert mixed([[path for path, row in rows.items() if pack_key(row["pack"]) == key] for key in keys])
    assert report.packed is not None
    assert report.packed.again > 0


def test_two_runs_side_by_side(corpus: Reference, place: MemoryStorage, wavs: Path, small: None) -> None:
    found: list[IngestReport] = []
    report = run(wavs, corpus, Before(place, lambda: found.append(run(wavs, corpus, place))))
    assert (report.added, report.unchanged, found[0].added) == (0, 36, 36)
    assert contents(corpus, place) == files_of(wavs)
    assert set(named(corpus, place)) == packs_in(place)
    sound(corpus, place)


def test_changed_recordings_replace_others(corpus: Reference, place: MemoryStorage, wavs: Path) -> None:
    run(wavs, corpus, place)
    for n in range(12):
        (wavs / f"cid/{n:02}.wav").write_bytes(clip("u.wav", 0.1 + n / 1000, seed=900 + n).data)
    report = run(wavs, corpus, place, replace=True)
    assert (report.replaced, report.unchanged) == (12, 24)
    assert contents(corpus, place) == files_of(wavs)
    assert len(named(corpus, place)) == 2
    sound(corpus, place)


def test_an_interrupted_run_keeps_what_it_sealed(corpus: Reference, place: MemoryStorage, wavs: Path) -> None:
    done = [0]

    def interrupt(files: int, count: int) -> None:
        done[0] += files
        if done[0] >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(wavs, corpus, place, threads=1, progress=interrupt)
    kept = contents(corpus, place)
    assert 0 < len(kept) < 36
    assert len(packs_in(place)) == 1
    report = run(wavs, corpus, place)
    assert (report.added, report.unchanged) == (36 - len(kept), len(kept))
    assert contents(corpus, place) == files_of(wavs)
    sound(corpus, place)


def test_a_pack_that_cannot_be_put(corpus: Reference, place: MemoryStorage, wavs: Path, small: None) -> None:
    """What was committed before stays; the error comes through."""
    storage = Hooked(place)
    puts: list[str] = []

    def fail(call: str, key: str) -> None:
        if call == "put_new" and key.startswith("packs/"):
            puts.append(key)
            if len(puts) >= 3:
                raise StorageUnreachable("the disk is full")

    storage.before = fail
    with pytest.raises(SecuredataError, match="the disk is full"):
        run(wavs, corpus, storage, threads=1)
    kept = len(current(corpus, place))
    assert 0 < kept < 36
    assert len(packs_in(place)) == 2
    assert run(wavs, corpus, place).added == 36 - kept
    assert contents(corpus, place) == files_of(wavs)
    sound(corpus, place)


@pytest.mark.parametrize("answer", ["yes", "no"])
@pytest.mark.parametrize("kind", [Hooked, Unlisted])
def test_its_host_sleeps_while_a_prune_takes_the_pack(
    corpus: Reference,
    place: MemoryStorage,
    wavs: Path,
    answer: str,
    kind: type[Hooked],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("securedata.corpus.objects.put._sleep", lambda seconds: None)
    storage = kind(place)
    taken: list[str] = []

    def asleep(call: str, key: str) -> None:
        if call == "put_new" and key.startswith("packs/") and not taken:
            place.clock += 40 * 3600
            prune(writer_of(corpus, place))
            assert key not in place.objects
            taken.append(key)
            if answer == "no":
                raise AlreadyExists("no")

    hook: Hook = asleep
    storage.after = hook
    report = run(wavs, corpus, storage, threads=1)
    assert taken
    assert (report.added, report.complete, report.sources.taken) == (36, True, 36)
    assert contents(corpus, place) == files_of(wavs)
    sound(corpus, place)


def test_memory_is_that_of_a_pack(
    corpus: Reference, place: MemoryStorage, wavs: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is put as soon as it makes a pack."""
    most: list[int] = []
    real = packing.DirectPacks.add

    def add(self: packing.DirectPacks, *given: Any) -> None:
        real(self, *given)
        most.append(self._bytes)

    monkeypatch.setattr(packing.DirectPacks, "add", add)
    run(wavs, corpus, place, threads=1)
    one_task = 3 * max(row["sealed_size"] for row in current(corpus, place).values())
    assert max(most) < 8_000 + one_task
