"""Receipts and openings on this machine: whole or not there, under a kill at any step, and never one over another."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from securedata import files
from securedata.corpus.home import state_dir
from securedata.errors import ConfigError, InvalidArgument
from securedata.lifecycle.receipt.members import Stated
from securedata.lifecycle.receipt.note import verify
from securedata.lifecycle.receipt.opening import Opening, check_opening
from securedata.lifecycle.receipt.operator import Operator, make_operator
from securedata.lifecycle.receipt.statement import Statement
from securedata.lifecycle.receipt.store import (
    drop_openings,
    find_receipt,
    keep_final,
    receipts_folder,
    stray_openings,
    write_openings,
    write_receipt,
)
from tests.lifecycle.receipt.receipts import ANN, CORPUS, ID, NAME, draft, statement


@pytest.fixture
def operator() -> Operator:
    return make_operator(NAME).operator


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# ------------------------------------------------------------------------------------------------------------ receipts


def test_a_receipt_is_written_signed_and_found_by_its_digest(operator: Operator) -> None:
    path, digest = write_receipt(statement(), operator)
    assert path.parent == state_dir() / "receipts" / CORPUS == receipts_folder(CORPUS)
    assert path.name == f"{ID}-{digest[:16]}.receipt"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert Statement.from_text(verify(path.read_bytes(), [operator.public]).text) == statement()
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    assert find_receipt(CORPUS, ID, digest) == path
    assert find_receipt(CORPUS, ID, "ab" * 32) is None
    assert write_receipt(statement(), operator) == (path, digest), "the same again"
    path.write_bytes(path.read_bytes()[:-1])
    assert find_receipt(CORPUS, ID, digest) is None, "it is not whole"


def test_two_runs_that_finish_one_erasure_do_not_overwrite_each_other(operator: Operator) -> None:
    one = write_receipt(statement(), operator)
    other = write_receipt(statement(stated=[Stated("backups", "none")]), operator)
    foreign = write_receipt(statement(draft(id="ab" * 16)), operator)
    assert len({one, other, foreign}) == 3
    keep_final(CORPUS, ID, other.digest)
    keep_final(CORPUS, ID, other.digest)
    assert names(receipts_folder(CORPUS)) == sorted([other.path.name, foreign.path.name])


def test_a_receipt_of_another_operator_is_not_signed(operator: Operator) -> None:
    with pytest.raises(InvalidArgument, match=r"other\.example's"):
        write_receipt(statement(operator="other.example"), operator)
    assert names(receipts_folder(CORPUS)) == []


@pytest.mark.parametrize("corpus", ["", "..", "AB" * 16])
def test_a_corpus_is_named_by_its_id(corpus: str) -> None:
    with pytest.raises(InvalidArgument, match="an id must be"):
        receipts_folder(corpus)


def test_a_full_disk_leaves_nothing_half_said(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_all", full)
        with pytest.raises(ConfigError, match=r"No space left on device; make room"):
            write_receipt(statement(), operator)
        with pytest.raises(ConfigError, match=r"cannot be written") as caught:
            write_openings(CORPUS, ID, [ANN])
        assert ANN.name not in str(caught.value)
    assert names(receipts_folder(CORPUS)) == [f"{ID}.openings"]
    assert names(receipts_folder(CORPUS) / f"{ID}.openings") == []
    write_receipt(statement(), operator)


def test_what_is_written_is_flushed_with_every_folder_made_for_it(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (flushed.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd))[1])
    path = write_receipt(statement(), operator).path
    assert flushed[0].startswith(f"{path}.tmp-")
    assert set(flushed[1:]) == {str(one) for one in [*path.parents][:4]}
    flushed.clear()
    folder = write_openings(CORPUS, ID, [ANN, Opening.make("Bob")])
    assert sum(one.startswith(f"{folder}/") for one in flushed[:2]) == 2, "files before folders"
    assert {str(folder), str(folder.parent)} <= set(flushed[2:])


# ------------------------------------------------------------------------------------------------------------ openings


def test_openings_are_this_user_s_alone_and_open_the_receipt() -> None:
    folder = write_openings(CORPUS, ID, [ANN, Opening.make("Bob")])
    assert names(folder.parent) == [f"{ID}.openings"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    [file, other] = sorted(folder.iterdir(), key=lambda path: path.stem != ANN.commitment[:16])
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(other.stat().st_mode) == 0o600
    check_opening(file.read_text(), statement())
    assert write_openings(CORPUS, ID, []).name == f"{ID}.openings"


def test_openings_of_an_erasure_that_did_not_happen_are_found_and_deleted() -> None:
    folder = write_openings(CORPUS, ID, [ANN])
    (folder / f"x.json{files.TEMPORARY}0011223344556677").write_text(ANN.text(ID))
    write_openings(CORPUS, "ab" * 16, [ANN])
    assert stray_openings(CORPUS, [ID]) == [], "they are young: that run might commit now"
    assert stray_openings(CORPUS, [ID], older=-1) == ["ab" * 16]
    assert stray_openings(CORPUS, [], older=-1) == sorted([ID, "ab" * 16])
    assert stray_openings("cd" * 16, []) == []
    drop_openings(CORPUS, ID)
    drop_openings(CORPUS, ID)
    assert names(receipts_folder(CORPUS)) == [f"{'ab' * 16}.openings"]


def test_what_cannot_be_deleted_is_said_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    write_openings(CORPUS, ID, [ANN])

    def refuse(path: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(ConfigError, match=rf"{ID}\.openings cannot be deleted"):
        drop_openings(CORPUS, ID)


# -------------------------------------------------------------------------------------------------------------- kill -9


def killed_at(step: int, deed: Callable[[], object]) -> int:
    """Run the deed in a fork that is killed before its nth change on disk; its exit code."""
    child = os.fork()
    if child == 0:
        calls = 0

        def counted(function: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **named: object) -> object:
                nonlocal calls
                calls += 1
                if calls == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **named)

            return call

        try:
            for name in ("mkdir", "open", "write", "fsync", "rename"):
                setattr(os, name, counted(getattr(os, name)))
            deed()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("what", ["receipt", "openings"])
def test_killed_at_any_step_it_is_whole_or_not_there(what: str, operator: Operator, tmp_path: Path) -> None:
    seen = set()
    for step in range(1, 60):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", str(tmp_path / str(step)))

            def deed() -> Path:
                if what == "receipt":
                    return write_receipt(statement(), operator).path
                return write_openings(CORPUS, ID, [ANN]) / f"{ANN.commitment[:16]}.json"

            ended = killed_at(step, deed)
            whole = operator.sign(statement().text()) if what == "receipt" else ANN.text(ID)
            found = [path.read_text() for path in state_dir().rglob("*") if path.suffix in (".receipt", ".json")]
            assert found in ([], [whole])
            assert deed().read_text() == whole
        seen.add((len(found), ended))
        if ended == 0:
            break
    assert seen == {(0, -signal.SIGKILL), (1, -signal.SIGKILL), (1, 0)}
