"""Making a corpus: several at once, one that lost its answer, one that another machine makes meanwhile."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from securedata.corpus.config import config_path, load, resolve
from securedata.corpus.create import create_corpus
from securedata.corpus.state import seen
from securedata.errors import (
    AccessDenied,
    CorpusExists,
    InvalidArgument,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    SecuredataError,
    StorageError,
    StorageUnreachable,
)
from securedata.files import replace_file
from securedata.testing.memory import MemoryStorage
from tests.kit.cli.commandline import runner
from tests.kit.corpora.contents import open_quietly
from tests.kit.corpora.rows import ROOT, fill, make, writer_of
from tests.kit.docs.tree import ROOT as CHECKOUT
from tests.kit.hooked import Faults, Hooked

CREATE = """
import sys
from securedata.corpus.create import create_corpus
from securedata.errors import CorpusExists

print("ready", flush=True)
sys.stdin.readline()
try:
    create_corpus(sys.argv[1])
except CorpusExists:
    sys.exit(7)
"""


def at_once(roots: list[Path]) -> list[int]:
    """The exit statuses of processes that make corpora at these roots at the same time."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE, str(root)],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for root in roots
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=100)
    return [process.returncode for process in processes]


def test_one_of_many_makes_the_corpus_and_the_config_names_that_one(tmp_path: Path) -> None:
    for number in range(3):
        root = tmp_path / f"sealed-{number}"
        assert sorted(at_once([root] * 3)) == [0, 7, 7]
        reference = resolve(f"sealed-{number}")
        fill(writer_of(reference), "a")
        assert len(open_quietly(reference)) == 1


def test_corpora_that_are_made_at_once_are_all_in_the_config(tmp_path: Path) -> None:
    roots = [tmp_path / f"sealed-{number}" for number in range(4)]
    assert at_once(roots) == [0] * 4
    assert {reference.root for reference in load().values()} == {str(root) for root in roots}


@pytest.mark.parametrize("before", [False, True])
def test_a_corpus_that_another_machine_makes_meanwhile(before: bool) -> None:
    # its config is another file: this one's entry must not name a corpus that never came to be
    place = MemoryStorage()
    storage = Hooked(place)
    if before:
        make(place)
        place.objects.clear()
    config = config_path().read_text() if before else ""

    def made_elsewhere(call: str, key: str) -> None:
        if call == "replace":
            place.replace("head", b"of another machine", None)

    storage.before = made_elsewhere
    name = "corpus" if not before else "second"
    with pytest.raises(CorpusExists, match="meanwhile"):
        create_corpus(ROOT if not before else "memory://second", name=name, storage=storage)
    assert name not in load()
    if before:
        assert config_path().read_text().strip() == config.strip()


BATCH_BYTES = [StorageUnreachable, PreconditionFailed, AccessDenied, NotFound, InvalidArgument]
"""What may be answered to a put of the head that landed: nothing, or what an intermediary heard to its second try."""


@pytest.mark.parametrize("answer", BATCH_BYTES)
@pytest.mark.parametrize("used", [False, True])
def test_a_head_that_landed_is_ours_whatever_was_answered(answer: type[SecuredataError], used: bool) -> None:
    place = MemoryStorage()
    storage = Hooked(place)

    def replayed(call: str, key: str) -> None:
        if call == "replace":
            storage.after = lambda call, key: None
            if used:  # and by the time we look, somebody who has our config has used it
                fill(writer_of(load()["corpus"], place), "b")
            raise answer("no")

    storage.after = replayed
    reference = make(storage)
    assert load()["corpus"].pins == reference.pins
    fill(writer_of(reference, place), "a")
    assert len(open_quietly(reference, place)) == 1 + used


def test_a_head_that_cannot_be_looked_for_leaves_the_config_entry() -> None:
    place = MemoryStorage()
    storage = Hooked(place)

    def away(call: str, key: str) -> None:
        if call == "get_versioned":
            raise StorageUnreachable("the line is cut")

    storage.before, storage.after = away, Faults("replace", error=PreconditionFailed)
    with pytest.raises(OutcomeUnknown, match="securedata info"):
        make(storage)
    fill(writer_of(load()["corpus"], place), "a")


@pytest.mark.parametrize("error", [PreconditionFailed, StorageUnreachable])
@pytest.mark.parametrize("times", [1, 4, 5])
def test_a_first_head_that_is_refused_where_there_is_none_is_put_again(
    times: int, error: type[StorageError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("securedata.corpus.create._sleep", lambda seconds: None)
    place = MemoryStorage()
    storage = Hooked(place, before=Faults("replace", times, error=error))
    if times < 5:
        fill(writer_of(make(storage), place), "a")
        return
    with pytest.raises(error):
        make(storage)
    fill(writer_of(make(place), place), "a")  # nothing was made: it may begin again


def test_a_first_head_that_was_not_taken_is_an_error() -> None:
    place = MemoryStorage()
    with pytest.raises(AccessDenied):
        make(Hooked(place, before=Faults("replace", error=AccessDenied)))
    assert not place.objects


@pytest.mark.parametrize("left", ["head.tmp", "head.tmp-0123456789abcdef", ".tmp-probe-0123456789abcdef"])
def test_what_an_init_that_was_killed_had_under_way_is_no_hindrance(left: str) -> None:
    storage = MemoryStorage()
    storage.put_new(left, [b"half"])
    make(storage)
    storage = MemoryStorage()
    storage.put_new(f"objects/{left}", [b"half"])
    with pytest.raises(CorpusExists, match="something already"):
        make(storage)


def test_a_corpus_whose_head_cannot_be_noted_is_made(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The head is there: an error would keep from its maker which key file is to be backed up."""
    noted: list[Path] = []

    def replace(path: Path, data: bytes) -> None:
        noted.append(path)
        if len(noted) == 2:  # the first is before the head
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace_file(path, data)

    run = runner(capsys)
    with monkeypatch.context() as patch:
        patch.setattr(seen, "replace_file", replace)
        made = run("init", tmp_path / "sealed", "--name", "voice")
    assert (made.code, len(noted)) == (0, 2), made.err
    assert "back up this file" in made.err
    assert "cannot be written" in caplog.text
    assert "an old head" in caplog.text
    assert run("verify", "voice").code == 0


KILLED = """
import os, signal, sys
from securedata.corpus.create import create_corpus

fsync = os.fsync
def kill(fd):
    if "/head.tmp-" in os.readlink(f"/proc/self/fd/{fd}"):
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(fd)
os.fsync = kill
create_corpus(sys.argv[1])
"""


def test_an_init_that_was_killed_over_its_head_is_run_again(tmp_path: Path) -> None:
    root = tmp_path / "sealed"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(root)], cwd=CHECKOUT, check=False)
    assert killed.returncode == -9
    assert [path.name[:9] for path in root.glob("head*")] == ["head.tmp-"]
    assert create_corpus(str(root)).reference.root == str(root)
