"""A filesystem that has written keeps references, and never a key; another process opens the corpus for itself."""

from __future__ import annotations

import base64
import multiprocessing
import os
import pickle

import fsspec
import pytest

import securedata
from securedata.corpus.config import Reference
from securedata.errors import InvalidArgument
from securedata.filesystem import SecuredataFileSystem
from tests.kit.corpora.contents import current, look

SECRET = b"a word that nobody else may read"


def spellings(secret: bytes) -> list[bytes]:
    return [secret, secret.hex().encode(), base64.b64encode(secret), repr(secret).encode()]


def test_nothing_that_is_kept_holds_a_key(fs: SecuredataFileSystem, reference: Reference) -> None:
    file = fs.open("ann/open.txt", "wb")
    file.write(SECRET)
    fs.pipe_file("ann/x.txt", SECRET)
    fs.cp("ann/x.txt", "ann/y.txt")
    transaction = fs.start_transaction()
    fs.pipe_file("ann/z.txt", SECRET)
    shown = [repr(one) for one in (fs, file, transaction, vars(fs), vars(transaction), transaction.batches)]
    shown += [one.to_json() for one in SecuredataFileSystem._cache.values()]
    shown += [repr(one) for batch in transaction.batches._batches.values() for one in batch._pending.values()]
    kept = pickle.dumps(fs) + "".join(shown).encode()
    fs.end_transaction()
    file.close()
    opened = look(reference)
    keys = [opened.key, opened.head.secret, *(row["data_key"] for row in current(reference).values())]
    assert len(keys) == 6
    for secret in (*keys, SECRET):
        assert not [one for one in spellings(secret) if one in kept]
    assert b"ann/open.txt" not in repr(file).encode()
    with pytest.raises(InvalidArgument, match="cannot be pickled"):
        pickle.dumps(file)


def _write(fs: SecuredataFileSystem, path: str) -> None:
    fs.pipe_file(path, path.encode())


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.full)])
def test_another_process_writes_for_itself(fs: SecuredataFileSystem, reference: Reference, method: str) -> None:
    fs.pipe_file("parent", b"parent")
    half = fs.open("half", "wb")
    half.write(b"1")
    child = multiprocessing.get_context(method).Process(target=_write, args=(fs, "child"))
    child.start()
    child.join()
    assert child.exitcode == 0
    half.close()
    fs.pipe_file("parent", b"again")
    fs.invalidate_cache()
    assert fs.cat(fs.find("")) == {"parent": b"again", "child": b"child", "half": b"1"}
    assert securedata.verify(reference).ok


def test_a_file_that_is_open_at_a_fork_belongs_to_the_parent(fs: SecuredataFileSystem) -> None:
    file = fs.open("x", "wb")
    file.write(b"parent")
    child = os.fork()
    if not child:
        try:
            file.write(b"child")
        except InvalidArgument:
            file.close()
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    file.close()
    assert fs.cat_file("x") == b"parent"


def test_a_second_instance_sees_a_commit_when_it_looks_again(fs: SecuredataFileSystem) -> None:
    fs.pipe_file("x", b"1")
    other = fsspec.filesystem("securedata", root="voice-a", kms=None, skip_instance_cache=True)
    assert other.find("") == ["x"]
    fs.pipe_file("y", b"2")
    assert other.find("") == ["x", "y"]  # the same options, so the same opening
    apart = fsspec.filesystem("securedata", root="voice-a", purpose="asr")
    assert apart.find("") == []  # nobody consented to anything
