"""The cache's folder: entries come back as they were put, within the limit, and what is not one is never served."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from securedata.storage.cache import folder, ledger
from securedata.storage.cache.entry import Entry, parse
from securedata.storage.cache.folder import NAME, CacheFolder, open_folder
from securedata.storage.cache.ledger import Uncounted, locked
from securedata.storage.cache.shards import census, delete
from tests.storage.cache.conftest import CORPUS, LIMIT, content, entry, file_of, fill, holds, on_disk


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 100_000])
def test_what_was_put_is_read(cache: CacheFolder, size: int) -> None:
    one = entry(size)
    assert cache.read(one, [(0, size)]) is None
    assert not cache.expects(one)
    assert cache.put(one, content(one))
    assert cache.expects(one)
    assert cache.read(one, [(0, size + 1), (size // 2, 7), (size, 5)]) == [
        content(one),
        content(one)[size // 2 :][:7],
        b"",
    ]


def test_only_its_owner_may_look(cache: CacheFolder) -> None:
    one = entry(10)
    before = os.umask(0)
    try:
        assert cache.put(one, content(one))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [Path(cache.path), *Path(cache.path).rglob("*")]}
    assert {mode for name, mode in modes.items() if mode & 0o077} == set(), modes
    assert Path(cache.path, "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55")


def test_a_folder_that_others_may_read_is_closed(cache: CacheFolder) -> None:
    Path(cache.path).mkdir(parents=True)
    Path(cache.path).chmod(0o777)
    one = entry(10)
    assert cache.put(one, content(one))
    assert stat.S_IMODE(Path(cache.path).stat().st_mode) == 0o700


def test_another_users_folder_is_refused(
    cache: CacheFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Path(cache.path).mkdir(parents=True)
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    one = entry(10)
    assert not cache.put(one, content(one))
    assert cache.read(one, [(0, 1)]) is None
    assert list(Path(cache.path).iterdir()) == []
    assert len(caplog.records) == 1, "one warning, not one for each read"
    assert "Operation not permitted" in caplog.text


def test_a_link_in_the_place_of_the_folder_is_refused(cache: CacheFolder, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    Path(cache.place).mkdir()
    Path(cache.path).symlink_to(tmp_path / "elsewhere")
    one = entry(10)
    assert not cache.put(one, content(one))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_network_file_system_is_refused(
    cache: CacheFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(folder, "file_system", lambda _: "nfs4")
    one = entry(10)
    assert not cache.put(one, content(one))
    assert "reading goes on without it" in caplog.text


# ---------------------------------------------------------------------------------------------- the limit


def test_it_never_takes_more_than_its_limit(cache: CacheFolder) -> None:
    for size in (50_000, 3_000, 200_000):
        fill(cache, 150, size)
        assert on_disk(cache) <= LIMIT * 1.05
        assert on_disk(cache) > LIMIT * 0.7, "room was made for what came, not for much more"


def test_what_was_used_last_stays(cache: CacheFolder) -> None:
    first = [one for one in fill(cache, 60, 50_000) if holds(cache, one)]
    old = time.time() - 10_000
    for one in first:
        os.utime(file_of(cache, one), (old, old))
    used = first[::3]
    assert all(holds(cache, one) for one in used), "a read notes the use"
    fill(cache, 50, 50_000)
    assert all(holds(cache, one) for one in used)
    assert len([one for one in first if holds(cache, one)]) < 40, "others made room"


def test_a_use_is_noted_once_in_a_minute(cache: CacheFolder) -> None:
    [one] = fill(cache, 1, 10)
    recent = time.time() - 30
    os.utime(file_of(cache, one), (recent, recent))
    assert holds(cache, one)
    assert file_of(cache, one).stat().st_mtime == pytest.approx(recent, abs=1)


def test_what_is_too_large_for_it_is_not_kept(cache: CacheFolder) -> None:
    one = entry(LIMIT // 8 + 1)
    assert not cache.put(one, content(one))
    one = entry(LIMIT // 8)
    assert cache.put(one, content(one))


def test_a_part_of_an_entry_is_not_kept(cache: CacheFolder) -> None:
    one = entry(1_000)
    assert not cache.put(one, content(one)[:-1])
    assert not cache.put(one, content(one) + b"x")
    assert not holds(cache, one)


@pytest.mark.parametrize("harm", ["gone", "cut", "longer", "not one", "of another boot", "absurd"])
def test_a_ledger_that_cannot_be_right_is_counted_again(cache: CacheFolder, harm: str) -> None:
    fill(cache, 70, 50_000)
    path = Path(cache.path, "ledger")
    data = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {
                "cut": data[:-1],
                "longer": data + b"\0",
                "not one": b"x" * len(data),
                "of another boot": data[:8] + bytes(16) + data[24:],
                "absurd": data[:40] + b"\xff" * (len(data) - 40),
            }[harm]
        )
    fill(CacheFolder(cache.place, LIMIT), 70, 50_000)
    assert LIMIT * 0.7 < on_disk(cache) <= LIMIT * 1.05


def test_counting_goes_on_where_another_process_stopped(cache: CacheFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [one for one in fill(cache, 70, 50_000) if holds(cache, one)]
    Path(cache.path, "ledger").unlink()
    monkeypatch.setattr("securedata.storage.cache.shards._SLICE", 0.0)
    root = cache.root()
    assert root is not None
    firsts = []
    one = entry(10)
    while not cache.put(one, content(one)):
        with locked(root) as held:
            try:
                held.used()
            except Uncounted as found:
                firsts.append(found.first)
    assert firsts == sorted(set(firsts))
    assert len(firsts) > 3
    with locked(root) as held:
        used = held.used()
    assert sum(used) >= sum(one.length for one in kept)


def test_what_a_killed_process_left_is_found(cache: CacheFolder) -> None:
    [one] = fill(cache, 1, 1_000)
    left = file_of(cache, one).with_name(f"{entry(5).name}.tmp-0123456789abcdef")
    left.write_bytes(bytes(100_000))
    theirs = left.with_name("a file of the user.tmp-1")
    theirs.write_bytes(b"mine")
    root = cache.root()
    assert root is not None
    assert census(root, CORPUS) == (1, 4096, 4096 + 102_400 + 4096, 0 + 0)
    delete(root, one.shard, lambda _: False)
    assert not left.exists()
    assert theirs.read_bytes() == b"mine"
    assert holds(cache, one)


# ---------------------------------------------------------------------------------------------- planted


def _fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path, _: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(path.parent)
        try:
            one.bind("s")
        finally:
            os.chdir(here)
    path.with_name("s").rename(path)


PLANTED: dict[str, Callable[[Path, Path], object]] = {
    "cut": lambda path, _: path.write_bytes(b"short"),
    "longer": lambda path, _: path.write_bytes(bytes(2_000)),
    "huge": lambda path, _: (path.write_bytes(b""), os.truncate(path, 2**40)),
    "empty": lambda path, _: path.write_bytes(b""),
    "a link": lambda path, outside: path.symlink_to(outside),
    "a link to nothing": lambda path, _: path.symlink_to("/nowhere"),
    "a FIFO": _fifo,
    "a socket": _socket,
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_not_the_entry_is_dropped(cache: CacheFolder, tmp_path: Path, what: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(bytes(1_000))
    [one] = fill(cache, 1, 1_000)
    for look in (lambda: cache.read(one, [(0, 1)]) is None, lambda: not cache.expects(one)):
        file_of(cache, one).unlink()
        PLANTED[what](file_of(cache, one), outside)
        assert look()
        assert not os.path.lexists(file_of(cache, one)), "it was dropped"
        assert cache.put(one, content(one))
        assert holds(cache, one)
    assert outside.read_bytes() == bytes(1_000)


def test_a_folder_in_the_place_of_an_entry_harms_that_entry_only(cache: CacheFolder) -> None:
    one, other = entry(10), entry(10)
    cache.put(other, content(other))
    file_of(cache, one).mkdir(parents=True)
    (file_of(cache, one) / "x").touch()
    assert cache.read(one, [(0, 1)]) is None
    assert not cache.put(one, content(one))
    assert holds(cache, other)
    assert cache.failed == 0


def test_a_file_of_others_that_fills_it_is_not_searched_around_again_and_again(
    cache: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = fill(cache, 1, 10)[0]
    with open(file_of(cache, one).with_name("others"), "wb") as file:
        file.truncate(1 << 30)
    with locked(open_folder(cache.place)) as counted:
        counted._reset()
    searched = []
    evict = folder.evict
    monkeypatch.setattr(folder, "evict", lambda *given: searched.append(given) or evict(*given))
    assert [cache.put(other, content(other)) for other in (entry(10) for _ in range(20))] == [False] * 20
    assert len(searched) == 1
    assert cache.failed == 0


@pytest.mark.parametrize("what", ["a link", "a file"])
def test_a_shard_that_is_no_folder_harms_that_shard_only(cache: CacheFolder, tmp_path: Path, what: str) -> None:
    (tmp_path / "outside").mkdir()
    one = entry(10)
    other = next(found for found in iter(lambda: entry(10), None) if found.shard != one.shard)
    Path(cache.path).mkdir(parents=True)
    shard = file_of(cache, one).parent
    shard.symlink_to(tmp_path / "outside") if what == "a link" else shard.write_bytes(b"")
    assert not cache.put(one, content(one))
    assert cache.read(one, [(0, 1)]) is None
    assert cache.put(other, content(other))
    assert list((tmp_path / "outside").iterdir()) == []
    assert cache.failed == 0


@pytest.mark.parametrize("name", ["ledger", "counts-" + CORPUS])
def test_a_fifo_in_the_place_of_a_file_of_ours_does_not_hang(cache: CacheFolder, name: str) -> None:
    Path(cache.path).mkdir(parents=True)
    os.mkfifo(Path(cache.path, name))
    one = entry(10)
    cache.put(one, content(one))
    assert cache.read(one, [(0, 1)]) in (None, [content(one)[:1]])


def test_names_are_read_as_they_are_written() -> None:
    one = Entry("ab" * 16, "cd" * 16, 2**40, 8_388_608)
    assert parse(one.name) == one
    for name in ("", "x", one.name + "0" * 20, one.name.upper(), one.name + ".tmp-00", "ledger", NAME):
        assert parse(name) is None


# ---------------------------------------------------------------------------------------------- deleted, renamed


def test_a_cache_that_was_deleted_is_made_again(cache: CacheFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(cache, 3, 100)
    os.rename(cache.place, cache.place + ".gone")
    shutil.rmtree(cache.place + ".gone")
    monkeypatch.setattr(folder, "_PAUSE", 0.0)
    one = entry(100)
    assert [cache.put(one, content(one)) for _ in range(3)][-1]
    assert holds(cache, one)
    assert Path(cache.path).exists()


def test_it_can_be_looked_at_without_being_made(cache: CacheFolder) -> None:
    with pytest.raises(FileNotFoundError):
        open_folder(cache.place, make=False)
    assert not os.path.exists(cache.place)


def test_nobody_waits_for_a_lock(
    cache: CacheFolder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cache, 1, 100)
    root = cache.root()
    assert root is not None
    one = entry(100)
    monkeypatch.setattr(ledger, "_TRIES", 50)
    with caplog.at_level(logging.WARNING), locked(root):
        begun = time.monotonic()
        assert not cache.put(one, content(one))
        assert time.monotonic() - begun < 1.0
    assert not caplog.records
    assert ledger.LEDGER in os.listdir(cache.path)
