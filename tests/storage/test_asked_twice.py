"""A server of files that is asked twice, as its answer was lost, does what was asked and says that it cannot be done.

So does NFS with requests that it sends again: a link that was made 'exists', a file that was renamed or deleted is not
there. Homes lie on it, and a root may with --single-writer.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from securedata.errors import AlreadyExists, ConfigError, StorageUnreachable
from securedata.files import replace_file
from securedata.keys.local import create_key_file
from securedata.storage.local import LocalStorage
from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.sources.recordings import write_clips

Asked = Callable[[str, int | None], list[str]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """From now on every call of this name is made twice; or, with an error, once, and answered with that."""

    def begin(name: str, error: int | None) -> list[str]:
        real, last = getattr(os, name), []

        def call(*given: Any, **more: Any) -> None:
            real(*given, **more)
            last.append(os.fspath(given[-1]))
            if error is None:
                real(*given, **more)
            else:
                raise OSError(error, os.strerror(error))

        monkeypatch.setattr(os, name, call)
        return last

    return begin


_ANSWERS = [("rename", None), ("rename", errno.EIO), ("link", None), ("link", errno.EIO), ("unlink", None)]


@pytest.mark.parametrize(("name", "error"), _ANSWERS)
def test_all_that_the_commands_write(name: str, error: int | None, asked: Asked, run: Run, tmp_path: Path) -> None:
    write_clips(tmp_path / "src")
    calls = asked(name, error)
    made = run("init", tmp_path / "sealed", "--name", "voice")
    assert made.code == 0, made.err
    assert "back up" in made.err
    sealed = run("encrypt", tmp_path / "src", "voice", *PATTERN, "--write-bad", tmp_path / "bad")
    assert sealed.code == 0, sealed.err
    exported = run("export", "voice", tmp_path / "out", "--allow-plaintext-export")
    assert exported.code == 0, exported.err
    fs = fsspec.filesystem("securedata", allow_plaintext_export=True)
    [first, *_] = fs.find("voice")
    fs.get_file(first, str(tmp_path / "one"))
    assert (tmp_path / "one").read_bytes() == fs.cat_file(first)
    assert calls
    assert run("verify", "voice").code == 0
    assert not [path for path in tmp_path.rglob("*") if ".tmp-" in path.name or path.name.endswith(".part")]


@pytest.mark.parametrize("error", [None, errno.EIO])
def test_a_head_in_its_place_is_flushed(
    error: int | None, asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(str(tmp_path))
    storage.replace("head", b"one", None)
    asked("rename", error)
    flushed, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (flushed.append(os.fstat(fd).st_ino), fsync(fd)))
    storage.replace("head", b"two", storage.get_versioned("head")[1])
    assert (storage.get("head"), storage.get("head.prev")) == (b"two", b"one")
    assert flushed[-1] == tmp_path.stat().st_ino


def test_what_was_not_done_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(str(tmp_path))
    storage.replace("head", b"one", None)
    storage.put_new("objects/00/one", [b"one"])

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for name in ("rename", "link"):
        monkeypatch.setattr(os, name, fail)
    with pytest.raises(StorageUnreachable):
        storage.replace("head", b"two", storage.get_versioned("head")[1])
    with pytest.raises(StorageUnreachable):
        storage.put_new("objects/00/two", [b"two"])
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        replace_file(tmp_path / "objects/00/one", b"three")
    monkeypatch.undo()
    with pytest.raises(AlreadyExists):
        storage.put_new("objects/00/one", [b"two"])
    assert {entry.key for entry in storage.list()} == {"head", "objects/00/one"}
    assert (storage.get("head"), storage.get("objects/00/one")) == (b"one", b"one")


def test_a_key_file_whose_name_could_not_be_flushed_is_flushed_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, fsync = tmp_path / "keys" / "voice.kek", os.fsync
    flushed: list[int] = []

    def flush(fd: int) -> None:
        flushed.append(os.fstat(fd).st_ino)
        if len(flushed) == 2:  # the folder, after the file
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", flush)
    with pytest.raises(ConfigError):
        create_key_file(path)
    content = path.read_bytes()
    assert not create_key_file(path)
    assert (path.read_bytes(), flushed[-1], len(flushed)) == (content, path.parent.stat().st_ino, 3)
