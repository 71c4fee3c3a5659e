"""An erasure on a disk that is killed with -9 at random moments, again and again, and run until it ends."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from securedata.corpus.check.prune import prune
from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.home import state_dir
from securedata.lifecycle.erasure.erase import erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.receipt.operator import Operator
from securedata.lifecycle.receipt.store import find_receipt
from tests.conftest import FULL, Note
from tests.kit.corpora.contents import current, look, named_keys, open_quietly
from tests.kit.corpora.rows import add, content, make, writer_of

ANN = Request("subject", names=("ann",))
PATHS = ("ann/1", "ann/2", "bob/1", "bob/2")
STORMS = 100 if FULL else 6
KILLS = 3  # of each erasure, at most


def killed(corpus: Reference, seconds: float) -> bool:
    """Run the erasure in a fork that is killed after so many seconds; False: it had ended before."""
    child = os.fork()
    if not child:
        try:
            erase(writer_of(corpus), ANN)
        except BaseException:  # noqa: BLE001 - the exit code says so, in a process that must not run pytest's end
            os._exit(1)
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("storm", range(STORMS))
def test_killed_at_random_moments(storm: int, operator: Operator, tmp_path: Path, note: Note) -> None:
    corpus = make(root=str(tmp_path / "corpus"), name="corpus")
    for path in PATHS:
        add(writer_of(corpus), {path: content(path)})
    drawn, kills = random.Random(storm), 0
    while kills < KILLS and killed(corpus, drawn.uniform(0.0, 0.07)):
        kills += 1
    note(f"{kills} kills")
    erase(writer_of(corpus), ANN)
    head = look(corpus).head
    assert sorted(current(corpus)) == ["bob/1", "bob/2"]
    assert [bytes(open_quietly(corpus).read(path)) for path in ("bob/1", "bob/2")] == [
        content("bob/1"),
        content("bob/2"),
    ]
    assert head.erasures == ()
    [final] = head.receipts
    folder = state_dir() / "receipts" / head.corpus_id.hex()
    assert [find_receipt(head.corpus_id.hex(), final["id"], final["digest"])] == [*folder.glob("*.receipt")]
    assert verify(corpus).ok, "what is left over is young"
    before = time.time() - 2 * 24 * 3600
    for file in Path(corpus.root).rglob("*"):
        os.utime(file, (before, before))
    prune(writer_of(corpus))
    prune(writer_of(corpus))
    left = {file.relative_to(corpus.root).as_posix() for file in Path(corpus.root).rglob("*") if file.is_file()}
    assert left - {".lock", "head.prev"} == named_keys(look(corpus).head, writer_of(corpus).storage)
    shutil.rmtree(corpus.root)
