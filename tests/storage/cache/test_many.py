"""Many processes in one cache: the limit holds, also while they are killed, and what is served is right."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from securedata.files import TEMPORARY
from securedata.storage.cache.entry import Entry
from securedata.storage.cache.folder import CacheFolder
from securedata.storage.cache.ledger import locked
from securedata.storage.cache.shards import delete
from tests.storage.cache.conftest import LIMIT, content, entry, fill, holds, in_child, on_disk

WRITERS = 16
SIZE = 20_000


def _write_and_read(cache: CacheFolder, until: float) -> None:
    """Put new entries and read entries of others, which must be right."""
    while time.monotonic() < until:
        [one] = fill(cache, 1, SIZE)
        holds(cache, one)
        root = cache.root()
        assert root is not None
        for name in os.listdir(f"{cache.path}/{one.shard:02x}")[:3]:
            if TEMPORARY not in name:
                corpus, stored, offset, length = name.split("-")
                holds(cache, Entry(corpus, stored, int(offset, 16), int(length, 16)))


def _ended(children: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def test_sixteen_writers_stay_within_the_limit(cache: CacheFolder) -> None:
    until = time.monotonic() + 2.0
    children = [in_child(lambda: _write_and_read(cache, until)) for _ in range(WRITERS)]
    most = 0
    while time.monotonic() < until:
        most = max(most, on_disk(cache))
        time.sleep(0.02)
    assert _ended(children) == [0] * WRITERS
    assert LIMIT * 0.7 < max(most, on_disk(cache)) <= LIMIT * 1.05
    assert cache.failed == 0


def test_killed_writers_and_evictors_leave_a_cache_that_works(cache: CacheFolder) -> None:
    for number in range(8):
        until = time.monotonic() + 30.0
        children = [in_child(lambda until=until: _write_and_read(cache, until)) for _ in range(4)]
        time.sleep(0.05 + 0.02 * number)
        for child in children:
            os.kill(child, signal.SIGKILL)
        assert _ended(children) == [-signal.SIGKILL] * 4
        assert on_disk(cache) <= LIMIT * 1.05
    fill(cache, 400, SIZE)
    assert LIMIT * 0.6 < on_disk(cache) <= LIMIT * 1.05
    assert all(holds(cache, one) for one in fill(cache, 5, SIZE))
    root = cache.root()
    assert root is not None
    for shard in range(256):
        delete(root, shard, lambda _: False)
    left = [name for _, _, names in os.walk(cache.path) for name in names if TEMPORARY in name]
    assert left == []
    with locked(root) as ledger:
        assert sum(ledger.used()) <= LIMIT


def test_a_kill_at_each_step_of_a_put_and_an_eviction(cache: CacheFolder) -> None:
    """The nth change to a file is the last one that the process makes."""
    changes = ("open", "write", "pwrite", "rename", "unlink", "mkdir", "ftruncate")

    def die_at(step: int) -> None:
        left = step

        def counted(inner: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return inner(*arguments, **options)

            return call

        for name in changes:
            setattr(os, name, counted(getattr(os, name)))
        own = CacheFolder(cache.place, LIMIT)
        fill(own, 3, LIMIT // 9)  # the third makes room

    fill(cache, 8, LIMIT // 9)
    codes = set()
    for step in range(0, 90, 2):
        codes.update(_ended([in_child(lambda step=step: die_at(step))]))
        assert on_disk(cache) <= LIMIT * 1.05
        [one] = fill(cache, 1, 1_000)
        assert holds(cache, one)
    assert codes == {-signal.SIGKILL, 0}, "some died, and the last steps were beyond the end"


# ---------------------------------------------------------------------------------------------- a bad disk


def test_a_file_size_limit_stops_no_read(cache: CacheFolder, caplog: pytest.LogCaptureFixture) -> None:
    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        small, large = entry(1_000), entry(100_000)
        assert cache.put(small, content(small))
        assert not cache.put(large, content(large))
        assert cache.failed == 1
        assert holds(cache, small)
        assert not cache.put(small, content(small)), "for a minute"

    fill(cache, 1, 10)
    assert _ended([in_child(limited)]) == [0]
    assert [name for _, _, names in os.walk(cache.path) for name in names if TEMPORARY in name] == []


@pytest.fixture
def small_disk() -> Iterator[Path | None]:
    """A file system of 1 MiB; None where this user may not mount one."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", folder]
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        try:
            yield Path(folder) if mounted else None
        finally:
            if mounted:
                subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_stops_no_read(
    small_disk: Path | None, caplog: pytest.LogCaptureFixture, note: Callable[[str], None]
) -> None:
    if small_disk is None:
        note("this user may not mount a small disk, so a full one was tried by a limit of file sizes alone")
        return
    cache = CacheFolder(str(small_disk / "cache"), LIMIT)
    put = fill(cache, 30, 100_000)
    kept = [one for one in put if holds(cache, one)]
    assert 5 <= len(kept) <= 10
    assert cache.failed == 1, "after the first error it is left alone for a minute"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "No space left on device" in caplog.text
    assert [name for _, _, names in os.walk(cache.path) for name in names if TEMPORARY in name] == []


def test_a_read_only_folder_serves_what_it_has(caplog: pytest.LogCaptureFixture) -> None:
    """As a user who is not root, whom modes do not stop."""

    def read_only(place: str) -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        cache = CacheFolder(place, LIMIT)
        kept = fill(cache, 3, 1_000)
        for folder, _, names in os.walk(cache.path, topdown=False):
            for name in names:
                os.chmod(os.path.join(folder, name), 0o400)
            os.chmod(folder, 0o500)
        cache = CacheFolder(place, LIMIT)
        assert all(holds(cache, one) for one in kept), "hits need no right to write"
        one = entry(1_000)
        assert not cache.put(one, content(one))
        assert cache.failed == 1
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert all(holds(cache, one) for one in kept)

    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        codes = _ended([in_child(lambda: read_only(f"{folder}/cache"))])
        subprocess.run(["chmod", "-R", "u+rwX", folder], check=True)
    assert codes == [0]
