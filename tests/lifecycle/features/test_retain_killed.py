"""`retain` killed with -9 at every write, and run again: every recording has features once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import securedata as sd
from securedata.corpus.config import resolve
from securedata.corpus.writer import Writer
from securedata.lifecycle.features import computing
from securedata.storage.local import LocalStorage
from tests.kit.corpora.contents import current
from tests.kit.corpora.recorded import make_corpus
from tests.kit.sources.recordings import clip

WRITES = ("put_new", "replace", "make_durable", "delete")


def killed_at(write: int, after: bool, work: Callable[[], object]) -> bool:
    """Do the work in a process that is killed with -9 before or after this write; returns whether it was."""
    child = os.fork()
    if not child:
        left = [write]

        def counting(name: str) -> Callable[..., Any]:
            original = getattr(LocalStorage, name)

            def call(*arguments: Any, **options: Any) -> Any:
                left[0] -= 1
                if left[0] < 0 and not after:
                    os.kill(os.getpid(), signal.SIGKILL)
                found = original(*arguments, **options)
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return found

            return call

        code = 1
        try:
            for name in WRITES:
                setattr(LocalStorage, name, counting(name))
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    monkeypatch.setattr("securedata.lifecycle.deriving.storing.COMMIT_ROWS", 2)
    monkeypatch.setattr(computing, "_ROWS", 1)
    clips = [clip(f"ann/{n}.wav", 0.1 + n / 100, seed=n) for n in range(5)]
    root = make_corpus(tmp_path, clips)
    to = tmp_path / "features-a"

    def retain() -> sd.RetainReport:
        return sd.retain(root, to, features="mfcc", workers=0)

    kills = 0
    while killed_at(kills, after, retain):  # each run continues where the one before was killed
        kills += 1
        assert kills < 60
    assert kills >= 6
    report = retain()
    assert (report.unchanged, report.opened, report.identical, report.complete) == (5, 5, 5, True)
    rows = current(resolve(to))
    assert sorted(rows) == [f"{one.path}.npy" for one in clips]
    assert len(Writer(root.reference).head.derived) == 1
    assert sd.verify(to).ok
    assert sd.verify(root).ok
