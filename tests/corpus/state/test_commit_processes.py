"""Real processes that commit to one folder at once, and that are killed at random moments."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from securedata.corpus.check.prune import prune
from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.state.retired import listed
from securedata.storage.local import LOCK, LocalStorage
from tests.kit.corpora.contents import current, files_of, keys_of, look, named_keys, open_quietly
from tests.kit.corpora.rows import content, fill, make, writer_of
from tests.kit.docs.tree import ROOT

WORK = """
import sys
from securedata.corpus.config import resolve
from tests.kit.corpora.rows import content, fill, row, table, writer_of

root, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
writer = writer_of(resolve(root))
print("open", flush=True)
sys.stdin.readline()
for number in range(count):
    path = f"{name}/{number}"
    if number > 2 and number % 3 == 0:
        writer.commit(table(row(writer, f"{name}/{number - 1}", content(path), ["bob"])), replace=True)
        print("replaced", f"{name}/{number - 1}", path, flush=True)
    elif number > 2 and number % 3 == 1:
        writer.commit(remove=[f"{name}/{number - 3}"])
        print("removed", f"{name}/{number - 3}", flush=True)
    else:
        fill(writer, path)
        print("added", path, flush=True)
"""


Start = Callable[[Reference, str, int], subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process that says what it has committed, line by line; it begins when it reads a line.

    None outlives a test that fails: the next one would hear of it.
    """
    started: list[subprocess.Popen[str]] = []

    def run(corpus: Reference, name: str, count: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", WORK, corpus.root, name, str(count)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def begin(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def ending(process: subprocess.Popen[str], expected: int | None = 0) -> list[list[str]]:
    """What it said it had committed."""
    said, _ = process.communicate(timeout=170)
    if expected is not None:
        assert process.returncode == expected
    return [line.split() for line in said.splitlines()]


class Books:
    """What the rows must be, by what processes said; a commit that was killed may or may not have happened."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}

    def enter(self, said: list[list[str]]) -> None:
        for what, *paths in said:
            if what == "added":
                self.rows[paths[0]] = paths[0]
            elif what == "replaced":
                self.rows[paths[0]] = paths[1]
            else:
                self.rows.pop(paths[0], None)


def whole(corpus: Reference) -> dict[str, bytes]:
    """Every row of the corpus can be read; nothing is there that is not named, leaving or young."""
    report = verify(corpus, threads=2)
    assert report.ok, report.findings
    opened = open_quietly(corpus)
    return {path: bytes(opened.read(path)) for path in opened.table.column("path").to_pylist()}


def age(corpus: Reference) -> None:
    """Everything on the disk was written two days ago."""
    for path in files_of(corpus.root):
        before = time.time() - 2 * 24 * 3600
        os.utime(path, (before, before))


@pytest.fixture
def corpus(tmp_path: Path) -> Reference:
    return make(root=str(tmp_path / "sealed"))


def test_processes_that_commit_at_once_lose_nothing(corpus: Reference, start: Start) -> None:
    processes = [start(corpus, name, 12) for name in ("a", "b", "c")]
    begin(processes)
    books = Books()
    for process in processes:
        books.enter(ending(process))
    assert len(books.rows) >= 12
    assert whole(corpus) == {path: content(what) for path, what in books.rows.items()}
    storage = LocalStorage(corpus.root)
    head = look(corpus).head
    waiting = {key for one in head.retired for key in listed(storage, head, one)}
    assert keys_of(storage) - waiting - {"head.prev"} == named_keys(head, storage)


def kill_and_look(start: Start, corpus: Reference, kills: int, seed: int) -> None:
    chosen = random.Random(seed)
    sure: dict[str, str] = {}
    for number in range(kills):
        name = f"run{number}"
        process, other = start(corpus, name, 10_000), start(corpus, f"{name}-other", 6)
        begin([process, other])
        time.sleep(chosen.uniform(0.0, 0.4))
        process.kill()
        books = Books()
        books.enter(ending(process, expected=-9))
        books.enter(ending(other))
        found = whole(corpus)
        for path, what in sure.items():
            assert found[path] == content(what), "what was committed before stays"
        for path, what in books.rows.items():
            # the commit that was killed may have replaced or removed one more row than was said
            if path.startswith(f"{name}-other/"):
                assert found[path] == content(what)
        mine = {path: data for path, data in found.items() if path.startswith(f"{name}/")}
        wanted = {path: content(what) for path, what in books.rows.items() if path.startswith(f"{name}/")}
        assert len(set(mine.items()) ^ set(wanted.items())) <= 2, "at most the one commit in flight differs"
        sure = {**sure, **{path: what for path, what in books.rows.items() if path.startswith(f"{name}-other/")}}
        fill(writer_of(corpus), f"after/{number}")
        sure[f"after/{number}"] = f"after/{number}"
    whole(corpus)
    age(corpus)
    prune(writer_of(corpus))
    head = look(corpus).head
    storage = LocalStorage(corpus.root)
    waiting = {key for one in head.retired for key in listed(storage, head, one)}
    left = {key for key in keys_of(storage) if not key.startswith("head")}
    assert left - waiting == named_keys(head, storage) - {"head"}, "a killed writer leaves nothing that prune keeps"
    assert set(sure) <= set(current(corpus))
    assert (Path(corpus.root) / LOCK).exists()


def test_a_writer_that_is_killed_leaves_a_whole_corpus(corpus: Reference, start: Start) -> None:
    kill_and_look(start, corpus, 3, seed=1)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(10))
def test_a_writer_that_is_killed_again_and_again(seed: int, corpus: Reference, start: Start) -> None:
    kill_and_look(start, corpus, 15, seed=100 + seed)
