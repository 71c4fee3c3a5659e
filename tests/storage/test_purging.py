"""Strict deletion in a folder: temporary files, what a killed writer left, flushing, and what cannot be deleted."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from securedata.corpus.state.layout import What, classify
from securedata.errors import (
    CorpusBusy,
    DeleteRefused,
    NotAFile,
    NotFound,
    SecuredataError,
    StorageUnreachable,
)
from securedata.storage import file_lock, purging
from securedata.storage.base import Purged, Storage
from securedata.storage.beneath import Root
from securedata.storage.file_lock import locked
from securedata.storage.fsspec import FsspecStorage
from securedata.storage.local import LocalStorage
from securedata.storage.web import WebStorage
from securedata.testing.storage import OBJECT, OTHER, PART, raised

LEFT = "0123456789abcdef"


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != ".lock")


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    """A root with three objects."""
    made = LocalStorage(str(tmp_path))
    for key in (OBJECT, OTHER, PART):
        made.put_new(key, [b"x"])
    made.make_durable()
    return made


def unlinking(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], None]) -> None:
    """Unlinking one file does something else."""
    unlink = os.unlink

    def other(path: str, *, dir_fd: int | None = None) -> None:
        act() if path == name else unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", other)


def refuse() -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def test_temporary_files_of_a_key_go_with_it(tmp_path: Path, storage: LocalStorage) -> None:
    for key in (f"{OBJECT}.tmp-{LEFT}", f"{OBJECT}.tmp-1", f"{OTHER}.tmp-{LEFT}", f"{PART}.tmp-{LEFT}"):
        (tmp_path / key).write_bytes(b"half")
    (tmp_path / PART).unlink()
    assert dict(storage.purge([OBJECT, PART])) == {OBJECT: Purged(3), PART: Purged(1)}
    assert files(tmp_path) == [OTHER, f"{OTHER}.tmp-{LEFT}"]
    assert dict(storage.purge([f"{OTHER}.tmp-{LEFT}"])) == {f"{OTHER}.tmp-{LEFT}": Purged(1)}
    assert files(tmp_path) == [OTHER]


def test_a_folder_is_flushed_before_its_keys_count(
    tmp_path: Path, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    unlink, fsync = os.unlink, os.fsync
    monkeypatch.setattr(os, "unlink", lambda name, **at: (events.append(f"unlink {name}"), unlink(name, **at)))
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    for key, _ in storage.purge([OBJECT, PART]):
        events.append(f"said {key}")
    for key in (OBJECT, PART):
        folder, _, name = key.rpartition("/")
        at = [events.index(one) for one in (f"unlink {name}", f"{tmp_path}/{folder}", f"said {key}")]
        assert at == sorted(at)
    events.clear()
    list(storage.purge([OBJECT]))
    folder = OBJECT.rpartition("/")[0]
    assert events == [f"{tmp_path}/{folder}"], "a process that was killed before it flushed may have unlinked it"

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    assert [type(outcome) for _, outcome in storage.purge([OTHER])] == [StorageUnreachable]


def test_what_cannot_be_deleted_is_said_of_its_key(
    tmp_path: Path, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = f"{OTHER[:-1]}f"
    (tmp_path / folder).mkdir()
    unlinking(monkeypatch, OBJECT.rpartition("/")[2], refuse)
    found = dict(storage.purge([OBJECT, OTHER, folder]))
    assert type(found[OBJECT]) is DeleteRefused
    assert f"{OBJECT} of {tmp_path}" in str(found[OBJECT])
    assert "--partial" in str(found[OBJECT])
    assert type(found[folder]) is NotAFile
    assert found[OTHER] == Purged(1)


def test_what_is_there_again_is_no_success(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    unlinking(monkeypatch, OBJECT.rpartition("/")[2], lambda: None)
    found = dict(storage.purge([OBJECT, OTHER]))
    assert "something is there again" in str(found[OBJECT])
    assert found[OTHER] == Purged(1)


def test_a_root_that_is_away_is_no_success(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path / "not mounted"))
    raised(NotFound, lambda: list(storage.purge([OBJECT])))
    raised(NotFound, lambda: storage.purge_older("head", lambda _: True, 10))


def test_keys_are_taken_in_pieces(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "CHUNK", 2)
    taken: list[str] = []

    def keys() -> object:
        for key in (PART, OBJECT, f"{OBJECT[:-1]}e", OTHER):
            taken.append(key)
            yield key

    purge = storage.purge(keys())
    next(purge)
    assert len(taken) == 2
    assert len(list(purge)) == 3


def test_a_probe_that_must_stay_is_named(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "probe_key", lambda: f".tmp-probe-{LEFT}")
    unlinking(monkeypatch, f".tmp-probe-{LEFT}", refuse)
    text = str(raised(DeleteRefused, storage.check_deletable))
    assert f"The probe .tmp-probe-{LEFT} had to stay" in text
    assert classify(f".tmp-probe-{LEFT}")[0] is What.TEMPORARY, "a prune finds it"


# ---------------------------------------------------------------------------------------------------- the head before


def make_heads(storage: LocalStorage) -> None:
    storage.replace("head", b"1", None)
    storage.replace("head", b"2", storage.get_versioned("head")[1])


def test_what_killed_writers_left_of_the_head_goes(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path))
    make_heads(storage)
    for name in ("head.tmp", f"head.tmp-{LEFT}", f"head.prev.tmp-{LEFT}", "head.tmpl", "heads.tmp-1"):
        (tmp_path / name).write_bytes(b"half a head")
    assert storage.purge_older("head", lambda _: False, 10) == 3
    assert files(tmp_path) == ["head", "head.prev", "head.tmpl", "heads.tmp-1"]
    assert storage.purge_older("head", lambda content: content == b"1", 10) == 1
    assert files(tmp_path) == ["head", "head.tmpl", "heads.tmp-1"]
    assert storage.get("head") == b"2"


@pytest.mark.parametrize("what", ["a link", "too large", "cannot be read"])
def test_a_copy_that_is_no_head_goes(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(str(tmp_path / "root"))
    make_heads(storage)
    previous = tmp_path / "root" / "head.prev"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"somebody's")
    if what == "a link":
        previous.unlink()
        previous.symlink_to(elsewhere)
    elif what == "too large":
        previous.write_bytes(bytes(11))
    else:

        def fail(*_: object) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(purging, "read_bounded", fail)
    assert storage.purge_older("head", lambda _: False, 10) == 1
    assert not previous.is_symlink()
    assert not previous.exists()
    assert elsewhere.read_bytes() == b"somebody's"


def test_earlier_heads_go_under_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(str(tmp_path))
    make_heads(storage)
    monkeypatch.setattr(file_lock, "BUSY", 0.1)
    with locked(Root(str(tmp_path)), str(tmp_path)):
        raised(CorpusBusy, lambda: storage.purge_older("head", lambda _: True, 10))
    assert storage.get("head.prev") == b"1"


@pytest.mark.parametrize(("act", "error"), [(refuse, DeleteRefused), (lambda: None, StorageUnreachable)])
def test_an_earlier_head_that_stays_is_an_error(
    act: Callable[[], None], error: type[SecuredataError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(str(tmp_path))
    make_heads(storage)
    unlinking(monkeypatch, "head.prev", act)
    assert "head" in str(raised(error, lambda: storage.purge_older("head", lambda _: True, 10)))
    assert storage.get("head") == b"2"


# -------------------------------------------------------------------------------------------- where nothing can be seen


@pytest.mark.parametrize("storage", [FsspecStorage("ftp://127.0.0.1/voice"), WebStorage("https://127.0.0.1/voice")])
def test_storage_whose_versions_nobody_sees_is_refused(storage: Storage) -> None:
    for call in (
        storage.check_deletable,
        lambda: list(storage.purge([OBJECT])),
        lambda: storage.purge_older("head", lambda _: True, 10),
        lambda: list(storage.deleted_keys(strict=True)),
    ):
        text = str(raised(DeleteRefused, call))
        assert f"{storage.url}: this storage cannot show older versions" in text
    assert list(storage.deleted_keys()) == []
