"""A rotation that is killed with -9 before or after any write to a disk, and run again: nothing is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.check.prune import prune
from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.state.seen import recall
from securedata.lifecycle.rotate import rotate
from securedata.storage.local import LocalStorage
from tests.kit.corpora.contents import current, files_of, look, open_quietly
from tests.kit.corpora.rows import content, fill, make, writer_of

WRITES = ("put_new", "replace", "delete")


def killed_at(step: int, after: bool, deed: Callable[[], object]) -> bool:
    """Run the deed in a fork that is killed before or after its nth write; False: it had fewer."""
    child = os.fork()
    if not child:
        lock, left = threading.Lock(), step

        def killing(call: Callable[..., Any]) -> Callable[..., Any]:
            def one(*arguments: Any) -> Any:
                nonlocal left
                with lock:  # no other thread goes on meanwhile
                    left -= 1
                    last = left < 0
                    result = None if last and not after else call(*arguments)
                    if last:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return result

            return one

        try:
            for name in WRITES:
                setattr(LocalStorage, name, killing(getattr(LocalStorage, name)))
            deed()
        except BaseException:  # noqa: BLE001 - the exit code says so, in a process that must not run pytest's end
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def age(corpus: Reference) -> None:
    """Everything on the disk was written two days ago."""
    before = time.time() - 2 * 24 * 3600
    for path in files_of(corpus.root):
        os.utime(path, (before, before))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_write(after: bool, tmp_path: Path) -> None:
    paths = ("ann/1", "ann/2", "ann/3")
    step, alive = 0, True
    while alive:
        corpus = make(root=str(tmp_path / f"{step}"), name=f"corpus-{step}")
        fill(writer_of(corpus), *paths, commits=2)
        before = current(corpus)
        alive = killed_at(step, after, lambda: rotate(corpus, data_keys=True, threads=1))  # noqa: B023 - runs now
        half = current(corpus)
        opened = open_quietly(corpus)
        assert {path: bytes(opened.read(path)) for path in half} == {path: content(path) for path in paths}
        assert verify(corpus).ok, "what is left over is young"
        rotations = len(look(corpus).head.superseded)
        report = rotate(corpus, data_keys=True, threads=1)
        assert report.data_keys is not None
        assert report.data_keys.finished
        assert len(look(corpus).head.superseded) == rotations + (not report.resumed)
        moved = [path for path in paths if half[path]["object_id"] != before[path]["object_id"]]
        assert report.data_keys.objects == len(paths) - (len(moved) if report.resumed else 0)
        whole(corpus, before)
        step += 1
    assert step > 8


def whole(corpus: Reference, before: dict[str, dict[str, Any]]) -> None:
    """Every row has moved; a day later nothing but what is named is left."""
    found = current(corpus)
    assert {path: one["source_sha256"] for path, one in found.items()} == {
        path: one["source_sha256"] for path, one in before.items()
    }
    assert not {one["object_id"] for one in found.values()} & {one["object_id"] for one in before.values()}
    age(corpus)
    assert recall(look(corpus).head.corpus_id) is not None
    prune(writer_of(corpus))
    report = verify(corpus)
    assert report.ok, report.findings
    assert report.objects_opened == len(found)
