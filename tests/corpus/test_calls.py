"""`sd.create_corpus`, `sd.verify` and `sd.export` as Python calls: targets, reports, logs, progress, errors."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import securedata as sd
from securedata.corpus.config import config_path, load, write_entry
from securedata.corpus.home import data_dir
from securedata.corpus.progress import reporting
from securedata.errors import (
    ConfigError,
    CorpusExists,
    InvalidArgument,
    NoSuchPath,
    PinRequired,
    PlaintextRefused,
    UnconfirmedGeneration,
)
from tests.kit.corpora.recorded import Root

DAY = 24 * 3600


def texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.name}: {record.getMessage()}" for record in caplog.records]


# ------------------------------------------------------------------------------------------------------ create_corpus


def test_a_new_corpus_and_what_must_not_be_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = sd.create_corpus(tmp_path / "sealed", "voice-a")
    key = data_dir() / "keys" / "voice-a.kek"
    assert (made.root, made.name, made.kms) == (str(tmp_path / "sealed"), "voice-a", (f"local://{key}",))
    assert (made.key_files, made.back_up, made.config) == ((key,), (key,), config_path())
    assert made.pin == str(load()["voice-a"].pins[0])
    assert made.reference == load()["voice-a"]
    assert texts(caplog) == [
        f"securedata: the key of the new corpus 'voice-a' is {key}: back up this file: without it the corpus is lost"
    ]
    second = sd.create_corpus(tmp_path / "second", kms=[f"local://{key}", f"local://{tmp_path}/own.kek"])
    assert (second.name, second.key_files) == ("second", (tmp_path / "own.kek",))
    assert second.back_up == (key, tmp_path / "own.kek"), "also one that was there: it opens this corpus, too"
    assert len(caplog.records) == 3
    with pytest.raises(CorpusExists):
        sd.create_corpus(tmp_path / "sealed", "voice-a")
    with pytest.raises(ConfigError, match="taken by"):
        sd.create_corpus(tmp_path / "third", "voice-a")
    with pytest.raises(InvalidArgument, match="quotes"):
        sd.create_corpus(tmp_path / "third", 7)  # type: ignore[arg-type] - on purpose


def test_kms_keys_come_from_the_argument_the_entry_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECUREDATA_KMS", f"local://{tmp_path}/env.kek")
    assert sd.create_corpus(tmp_path / "a").kms == (f"local://{tmp_path}/env.kek",)
    found = sd.create_corpus(tmp_path / "b", kms=f"local://{tmp_path}/own.kek")
    assert found.kms == (f"local://{tmp_path}/own.kek",)
    write_entry("c", type(found.reference)(str(tmp_path / "c"), "c", (f"local://{tmp_path}/entry.kek",)))
    assert sd.create_corpus(tmp_path / "c").kms == (f"local://{tmp_path}/entry.kek",)


# ------------------------------------------------------------------------------------------------------------- verify


def test_each_spelling_is_verified(root: Root, capfd: pytest.CaptureFixture[str]) -> None:
    for target in (root.name, f"securedata://{root.name}", str(root), Path(root), root.reference):
        report = sd.verify(target, progress=True)
        assert (report.ok, report.objects_opened, report.rows, report.pruned) == (True, 6, 6, None)
        assert report.pin == root.pin
    assert capfd.readouterr() == ("", "")


def age(root: Root) -> None:
    """Make everything under the root two days older."""
    for path in Path(root).rglob("*"):
        os.utime(path, (time.time() - 2 * DAY,) * 2)


def test_a_prune_reports_what_is_left(root: Root) -> None:
    orphan = Path(root, "objects", "ab", "ab" + "0" * 30)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"left by a writer that was killed")
    Path(root, "notes.txt").write_text("of somebody")
    age(root)
    found = sd.verify(root.name)
    assert (found.ok, found.counts()) == (False, {"Orphan": 1, "ForeignFile": 1})
    before: list[int] = []
    heard: list[tuple[int, int, int, int]] = []
    left = sd.verify(
        root.name,
        prune=True,
        before_prune=lambda report: before.append(len(report.findings)),
        progress=lambda *numbers: heard.append(numbers),
    )
    assert before == [2]
    assert left.counts() == {"ForeignFile": 1}
    assert left.pruned is not None
    assert left.pruned.deleted == {f"objects/ab/{orphan.name}"}
    assert not orphan.exists()
    assert [numbers[:2] for numbers in heard][-2:] == [(6, 6), (1, 1)]


def test_what_was_found_can_stop_the_prune(root: Root) -> None:
    orphan = Path(root, "objects", "ab", "ab" + "0" * 30)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"?")
    age(root)

    def look(report: sd.VerifyReport) -> None:
        raise KeyError(report.findings[0].error)

    with pytest.raises(KeyError, match="Orphan"):
        sd.verify(root.name, prune=True, before_prune=look)
    assert orphan.exists()


def test_errors_of_verify(root: Root, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="--prune"):
        sd.verify(root.name, reset_horizon=True)
    with pytest.raises(InvalidArgument, match="before_prune"):
        sd.verify(root.name, before_prune=print)
    with pytest.raises(InvalidArgument, match="threads"):
        sd.verify(root.name, threads=0)
    with pytest.raises(InvalidArgument, match="accept_generation"):
        sd.verify(root.name, accept_generation="newest")  # type: ignore[arg-type] - on purpose
    with pytest.raises(InvalidArgument, match="ttl"):
        sd.verify(root.name, ttl=-1)
    with pytest.raises(InvalidArgument, match="progress"):
        sd.verify(root.name, progress=1.5)  # type: ignore[arg-type] - on purpose
    with pytest.raises(ConfigError):
        sd.verify("nobody")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(UnconfirmedGeneration):
        sd.verify(root.name, prune=True)
    assert sd.verify(root.name, prune=True, accept_generation=2).ok
    config_path().unlink()
    with pytest.raises(PinRequired):
        sd.verify(str(root), kms=root.kms, prune=True)
    assert sd.verify(str(root), kms=root.kms, pin=root.pin, prune=True).ok


# ------------------------------------------------------------------------------------------------------------- export


def test_an_export_by_name(root: Root, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[tuple[int, int, int, int]] = []
    done = sd.export(
        root.name, tmp_path / "out", allow_plaintext_export=True, progress=lambda *numbers: heard.append(numbers)
    )
    assert (done.complete, done.written, done.files) == (True, 6, 6)
    assert heard[-1] == (6, 6, done.bytes, done.bytes)
    assert {one.path: one.data for one in root.clips} == {
        str(path.relative_to(done.destination)): path.read_bytes() for path in Path(done.destination).rglob("*/*.*")
    }
    assert sd.export(root, str(tmp_path / "one"), allow_plaintext_export=True, path="ann/utt0.wav").written == 1
    assert texts(caplog) == []


def test_a_file_that_is_not_restored_is_logged(root: Root, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "out" / "ann").mkdir(parents=True)
    (tmp_path / "out" / "ann" / "utt0.wav").write_bytes(b"another one")
    done = sd.export(root.name, tmp_path / "out", allow_plaintext_export=True)
    assert (done.complete, done.written, [path for path, _ in done.failed]) == (False, 5, ["ann/utt0.wav"])
    assert texts(caplog) == [
        f"securedata.report: not all files of {root} were restored (1 missing): see the report's failed"
    ]
    assert "ann" not in repr(done)


WRONG: dict[str, tuple[type[Exception], dict[str, Any]]] = {
    "not allowed": (PlaintextRefused, {}),
    "no such path": (NoSuchPath, {"allow_plaintext_export": True, "path": "cy"}),
    "threads": (InvalidArgument, {"allow_plaintext_export": True, "threads": "many"}),
    "path": (InvalidArgument, {"allow_plaintext_export": True, "path": 3}),
    "progress": (InvalidArgument, {"allow_plaintext_export": True, "progress": "yes"}),
    "overwrite": (InvalidArgument, {"allow_plaintext_export": True, "overwrite": "perhaps"}),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors_of_export(root: Root, tmp_path: Path, case: str) -> None:
    error, options = WRONG[case]
    with pytest.raises(error):
        sd.export(root.name, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------------------------ the bar


def shown(work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> str:
    """What work writes to a terminal that is its standard error."""
    master, slave = os.openpty()
    termios.tcsetwinsize(master, (24, 100))
    with open(slave, "w", encoding="utf-8") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        work()
    said = b""
    with open(master, "rb", buffering=0) as screen, contextlib.suppress(OSError):  # EIO: nobody writes any more
        while piece := screen.read(4096):
            said += piece
    return said.decode()


def test_a_terminal_gets_a_bar(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    said = shown(lambda: sd.verify(root.name, progress=True), monkeypatch)
    assert re.search(r"verifying: 100%.*6/6 files", said), said

    def work() -> None:
        with reporting(True, "working") as told:
            assert told is not None
            for files in (1, 2, 3):
                told(files, 3, 10 * files, 30)

    assert re.search(r"working: 100%.* 30\.0/30\.0 .*3/3 files", shown(work, monkeypatch))


def test_the_callable_of_the_caller_is_called(capfd: pytest.CaptureFixture[str]) -> None:
    def heard(*numbers: int) -> None:
        raise AssertionError(numbers)

    with reporting(heard, "working") as told:
        assert told is heard
    for silent in (None, False, True):  # no terminal, no notebook
        with reporting(silent, "working") as told:
            assert told is None
    assert capfd.readouterr() == ("", "")
