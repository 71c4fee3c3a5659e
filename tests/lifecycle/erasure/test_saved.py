"""A saved copy of a corpus is tried after an erasure: what opens is said, and what cannot be tried is no success."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.wrapping import add_wrap
from securedata.errors import InvalidArgument, KMSUnreachable
from securedata.keys.kms import open_all, open_kms
from securedata.keys.local import LocalKMS, create_key_file
from securedata.lifecycle.erasure.erase import erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.erasure.saved import try_copy
from securedata.lifecycle.receipt.operator import Operator
from securedata.lifecycle.receipt.statement import Statement
from securedata.lifecycle.receipt.verify import unverified_statement
from tests.kit.cli.commandline import Run
from tests.kit.corpora.rows import add, content, in_folder, writer_of


@pytest.fixture
def erased(tmp_path: Path, operator: Operator) -> tuple[Reference, Statement, Path, Path]:
    """A corpus in a folder, the receipt of ann's erasure and its file, and a copy from before."""
    reference, writer = in_folder(tmp_path / "corpus")
    add(writer, {"ann/1": content("ann/1"), "ann/2": content("ann/2")})
    add(writer, {"bob/1": content("bob/1")})
    shutil.copytree(tmp_path / "corpus", tmp_path / "copy")
    done = erase(writer, Request("subject", names=("ann",)))
    assert done.receipt is not None
    assert done.receipt.path is not None
    return reference, unverified_statement(done.receipt.path.read_bytes()), done.receipt.path, tmp_path / "copy"


def test_a_copy_from_before_opens(erased: tuple[Reference, Statement, Path, Path], run: Run, tmp_path: Path) -> None:
    reference, said, file, copy = erased
    found = try_copy(said, copy, open_all(reference.kms))
    assert found.opened
    assert set(found.objects) == set(said.deleted.objects)
    assert set(found.parts) & set(said.deleted.parts)
    assert all(one.before for one in found.heads)
    # the corpus of today has a head that opens, and nothing of what was erased
    assert not try_copy(said, tmp_path / "corpus", open_all(reference.kms)).opened
    told = run("verify", "--erased", file, "--copy", copy)
    assert told.code == 1
    assert "from before the erasure" in told.out
    assert run("verify", "--erased", file, "--copy", tmp_path / "corpus").code == 0
    assert run("verify", "--erased", file, "--copy", copy, "--json").json["opened"] is True
    # single files, under any name: a head opens, a part and an object alone do not
    head, alone = copy / "head", tmp_path / "alone"
    alone.mkdir()
    shutil.copy(head, alone / "what-i-saved")
    assert try_copy(said, alone, open_all(reference.kms)).opened
    assert try_copy(said, head, open_all(reference.kms)).opened
    part = copy / "manifest" / next(iter(said.deleted.parts))
    found = try_copy(said, part, open_all(reference.kms))
    assert (found.opened, found.there) == (False, (0, 1, 0))
    shutil.copy(part, alone)
    found = try_copy(said, alone, open_all(reference.kms))
    assert (len(found.parts), found.objects) == (1, ())


def test_the_key_file_is_gone(erased: tuple[Reference, Statement, Path, Path], run: Run) -> None:
    reference, said, file, copy = erased
    LocalKMS(reference.kms[0]).path.unlink()
    found = try_copy(said, copy, open_all(reference.kms))
    assert (found.opened, found.unasked, {one.generation for one in found.heads}) == (False, (), {None})
    told = run("verify", reference.root, "--erased", file, "--copy", copy, "--kms", reference.kms[0])
    assert told.code == 0
    assert "nothing of what the receipt names opened" in told.out
    # without its folder, the file might be on a disk that is not mounted
    folder = LocalKMS(reference.kms[0]).path.parent
    folder.rename(folder.with_name("elsewhere"))
    assert try_copy(said, copy, open_all(reference.kms)).unasked


def test_a_head_opens_with_the_key_of_another(tmp_path: Path, operator: Operator) -> None:
    """Two heads under one corpus key: the wrap that only the later one has opens both."""
    reference, writer = in_folder(tmp_path / "two")
    add(writer, {"ann/1": content("ann/1"), "ann/2": content("ann/2")})
    add(writer, {"bob/1": content("bob/1")})
    copy = tmp_path / "heads"
    copy.mkdir()
    shutil.copy(tmp_path / "two" / "head", copy / "first")
    create_key_file(tmp_path / "new.kek")
    new = f"local://{tmp_path / 'new.kek'}"
    add_wrap(writer, open_kms(new))
    shutil.copy(tmp_path / "two" / "head", copy / "second")
    done = erase(writer_of(replace(reference, kms=(*reference.kms, new))), Request("subject", names=("ann",)))
    assert done.receipt is not None
    assert done.receipt.path is not None
    said = unverified_statement(done.receipt.path.read_bytes())
    assert [one.generation for one in try_copy(said, copy / "first", open_all([new])).heads] == [None]
    assert None not in [one.generation for one in try_copy(said, copy, open_all([new])).heads]


def test_what_cannot_be_tried_is_no_success(
    erased: tuple[Reference, Statement, Path, Path], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference, said, file, copy = erased

    def away(*_: object) -> bytes:
        raise KMSUnreachable("the KMS is away")

    with monkeypatch.context() as patch:
        patch.setattr(LocalKMS, "unwrap", away)
        assert len(try_copy(said, copy, open_all(reference.kms)).unasked) == len(list(copy.glob("head*")))
        assert run("verify", "--erased", file, "--copy", copy).code == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidArgument, match="nothing of the corpus"):
        try_copy(said, tmp_path / "empty", open_all(reference.kms))
    with pytest.raises(InvalidArgument, match="no copy"):
        try_copy(said, tmp_path / "none", open_all(reference.kms))
    (copy / "more").symlink_to(tmp_path / "empty")
    with pytest.raises(InvalidArgument, match="link to a folder"):
        try_copy(said, copy, open_all(reference.kms))
    assert run("verify", "--erased", file).code == 2
