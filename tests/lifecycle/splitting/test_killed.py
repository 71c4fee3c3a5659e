"""A split that is killed with -9 before or after any write to a disk, and run again: nothing is lost or left over."""

from __future__ import annotations

from pathlib import Path

import pytest

import securedata as sd
from securedata.corpus.check.prune import prune
from securedata.corpus.check.verify import verify
from securedata.corpus.state.seen import recall
from tests.kit.corpora.contents import current, files_of, look
from tests.kit.corpora.rows import make, writer_of
from tests.kit.corpora.shared import share, talk
from tests.lifecycle.test_rotate_killed import age, killed_at

SPOKEN = [(0, 4000, "ann"), (4000, 4000, "ben")]


def pcm(data: bytes, start: int, frames: int) -> bytes:
    return data[44 + 2 * start :][: 2 * frames]


@pytest.mark.parametrize("now", [False, True], ids=["later", "at once"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_write(after: bool, now: bool, tmp_path: Path) -> None:
    data = talk(0.6)
    wanted = {f"{name}@{start}-{start + frames}.wav": (start, frames) for name in "ab" for start, frames, _ in SPOKEN}
    step, alive = 0, True
    while alive:
        corpus = make(root=str(tmp_path / f"{step}"), name=f"corpus-{step}")
        for name in "ab":
            share(writer_of(corpus), data, SPOKEN, f"{name}.wav")
        alive = killed_at(step, after, lambda: sd.split(corpus, threads=1, now=now))  # noqa: B023 - runs now
        half = current(corpus)
        assert sorted(half) == sorted(wanted)
        moved = {path for path, row in half.items() if row["start"] is None}
        for name in "ab":  # all segments of a recording, or none
            assert len([path for path in moved if path.startswith(name)]) in (0, 2)
        assert verify(corpus).ok, "what is left over is young"
        report = sd.split(corpus, threads=1, now=now)
        assert (report.objects, report.complete) == ((4 - len(moved)) // 2, True)
        with sd.open_corpus(corpus) as opened:
            for path, (start, frames) in wanted.items():
                assert bytes(opened.read(path))[44:] == pcm(data, start, frames)
                [row] = [row for row in opened.table.to_pylist() if row["path"] == path]
                assert row["subjects"] == ["ann" if start == 0 else "ben"]
        if now and alive:
            assert not look(corpus).head.retired
        age(corpus)
        assert recall(look(corpus).head.corpus_id) is not None
        prune(writer_of(corpus))
        last = verify(corpus)
        assert last.ok, last.findings
        assert last.objects_opened == 4
        stored = [one for one in files_of(corpus.root) if "objects" in one.parts]
        assert len(stored) == (4 if now else 6), "the shared ones have a day"
        step += 1
    assert step > 8
