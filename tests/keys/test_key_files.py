"""A key file is its maker's alone: who may write to its folder cannot make it theirs, nor lay another in its place."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from securedata import files
from securedata.cli.main import main
from securedata.corpus.config import Reference, config_path, load, write_entry
from securedata.corpus.home import file_lock
from securedata.corpus.state.head import Head
from securedata.corpus.state.seen import recall, remember
from securedata.errors import ConfigError, CorpusBusy, KMSDenied, KMSUnreachable
from securedata.files import replace_file, write_all
from securedata.keys import local
from securedata.keys.kms import context_for
from securedata.keys.local import LocalKMS, create_key_file, uri_for
from securedata.storage.file_lock import LOCK
from tests.kit.corpora.rows import content, make, row, table, writer_of

STRANGER = 4243


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "v.kek"


def made(path: Path) -> Path:
    assert create_key_file(path)
    return path


def opens(path: Path) -> None:
    kms, context = LocalKMS(uri_for(path)), context_for(b"c" * 16)
    assert kms.unwrap(kms.wrap(b"k" * 32, context), context) == b"k" * 32


# ------------------------------------------------------------------------------------------------------------ to make


def test_its_temporary_has_a_name_that_nobody_foresees(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[tuple[str, int]] = []
    opened = os.open

    def look(name: str, flags: int, *rest: object, **named: object) -> int:
        if flags & os.O_CREAT:
            names.append((str(name), flags))
        return opened(name, flags, *rest, **named)  # type: ignore[arg-type]  # as they were given

    monkeypatch.setattr(os, "open", look)
    made(path)
    made(path.with_name("w.kek"))
    assert len({name for name, _ in names}) == len(names) == 2
    for name, flags in names:
        assert flags & os.O_EXCL
        assert flags & os.O_NOFOLLOW
        assert str(os.getpid()) not in name.partition(".tmp-")[2]
        assert len(name.partition(".tmp-")[2]) == 16
    assert sorted(one.name for one in path.parent.iterdir()) == ["v.kek", "w.kek"]


@pytest.mark.parametrize("plant", ["file", "link", "folder"])
def test_what_lies_under_its_temporary_s_name_is_not_written(
    plant: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "temporary_name", lambda name: f"{name}.tmp-foreseen")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    planted = path.with_name("v.kek.tmp-foreseen")
    planted.parent.mkdir()
    {
        "file": lambda: planted.write_text("precious"),
        "link": lambda: planted.symlink_to(victim),
        "folder": planted.mkdir,
    }[plant]()
    with pytest.raises(ConfigError, match="cannot be made"):
        create_key_file(path)
    assert victim.read_text() == "precious"
    assert plant == "folder" or planted.read_text() == "precious"
    assert not path.exists()


def test_a_planted_key_file_is_not_overwritten_and_not_taken(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    assert not create_key_file(path)
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(KMSUnreachable):
        opens(path)


@pytest.mark.parametrize(
    ("mode", "group", "refused"),
    [
        (0o755, False, False),
        (0o777, False, True),
        (0o757, False, True),
        (0o1777, False, False),
        (0o775, True, False),
        (0o775, False, True),
        (0o1775, False, False),
    ],
)
def test_it_is_not_made_where_others_can_take_it_away(
    mode: int, group: bool, refused: bool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    path.parent.chmod(mode)
    if not group:
        monkeypatch.setattr(os, "getegid", lambda: STRANGER)
    if refused:
        with pytest.raises(ConfigError, match="chmod go-w"):
            create_key_file(path)
        assert list(path.parent.iterdir()) == []
    else:
        opens(made(path))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_is_written_whole_however_little_a_disk_takes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    opens(made(path))
    read, end = os.pipe()
    thread = threading.Thread(target=lambda: (write_all(end, memoryview(b"abc" * 9).cast("b")), os.close(end)))
    thread.start()
    with os.fdopen(read, "rb") as file:
        assert file.read() == b"abc" * 9
    thread.join()


def test_a_key_file_that_cannot_be_flushed_is_not_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "the disk failed")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(ConfigError, match="cannot be made"):
            create_key_file(path)
    assert list(path.parent.iterdir()) == []
    opens(made(path))


# ------------------------------------------------------------------------------------------------------------ to open


def owned_by_a_stranger(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, STRANGER, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)


def test_another_user_s_key_file_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owned_by_a_stranger(made(path), monkeypatch)
    with pytest.raises(KMSDenied, match=r"belongs to another user \(uid \d+\)"):
        opens(path)


def test_links_are_followed_and_the_file_at_their_end_is_looked_at(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = made(path.parent / "..2026_11_28" / "kek")  # as Kubernetes lays them out
    (path.parent / "..data").symlink_to("..2026_11_28")
    path.symlink_to("..data/kek")
    opens(path)
    data.chmod(0o640)
    with pytest.raises(KMSDenied, match="chmod 600"):
        opens(path)
    data.chmod(0o400)
    opens(path)
    owned_by_a_stranger(data, monkeypatch)
    with pytest.raises(KMSDenied, match="another user"):
        opens(path)


def fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    path.touch(0o600)
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize("plant", [fifo, zeros, huge, Path.mkdir])
def test_what_is_no_key_file_neither_hangs_nor_fills_the_memory(plant: Callable[[Path], None], path: Path) -> None:
    path.parent.mkdir()
    plant(path)
    with pytest.raises(KMSDenied, match=r"not a regular file|not a securedata-kek-v1 key file"):
        opens(path)


def test_it_is_the_opened_file_that_is_looked_at(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a look at the name and the opening of it the file could be swapped."""
    made(path)
    monkeypatch.setattr(os, "stat", lambda *_, **__: pytest.fail("a name was looked at"))
    monkeypatch.setattr(os, "lstat", lambda *_, **__: pytest.fail("a name was looked at"))
    opens(path)


# ------------------------------------------------------------------------------------- other small files of this user


def test_no_file_of_ours_is_written_under_a_name_that_can_be_foreseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_names: list[str] = []
    opened = os.open

    def look(name: str, flags: int, *rest: object, **named: object) -> int:
        if flags & os.O_CREAT and not str(name).endswith(".lock"):
            made_names.append(str(name))
            assert flags & os.O_EXCL, name
        return opened(name, flags, *rest, **named)  # type: ignore[arg-type]  # as they were given

    monkeypatch.setattr(os, "open", look)
    assert main(["init", str(tmp_path / "sealed"), "--name", "v"]) == 0
    random = {name.partition(".tmp-")[2] for name in made_names}
    assert len(random) == len(made_names) >= 4, "key file, config, state and head"
    assert {len(one) for one in random} == {16}


def test_the_config_and_the_state_survive_a_power_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (flushed.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd))[1])
    write_entry("v", Reference("/data/v", "v"))
    folder = str(config_path().parent)
    assert flushed[0].startswith(f"{config_path()}.tmp-")
    assert flushed[1] == folder
    flushed.clear()
    remember(Head(b"c" * 16, b"k" * 16, b"w" * 16, (), 3, b"s" * 32))
    assert [Path(one).name[:32] for one in flushed] == [(b"c" * 16).hex(), "seen"]


def test_a_config_that_cannot_be_flushed_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    write_entry("v", Reference("/data/v", "v"))
    config_path().chmod(0o600)
    before = config_path().read_bytes()

    def fail(_: int) -> None:
        raise OSError(28, "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(ConfigError, match="cannot be written"):
            write_entry("w", Reference("/data/w", "w"))
        with pytest.raises(ConfigError, match="cannot be written"):
            remember(Head(b"c" * 16, b"k" * 16, b"w" * 16, (), 3, b"s" * 32))
    assert config_path().read_bytes() == before
    assert [one.name for one in config_path().parent.iterdir()] == [config_path().name]
    assert recall(b"c" * 16) is None
    write_entry("w", Reference("/data/w", "w"))
    assert {"v", "w"} <= set(load())
    assert stat.S_IMODE(config_path().stat().st_mode) == 0o600, "as its owner had made it"


def test_a_lock_of_the_state_folder_is_waited_for_in_bounds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("securedata.storage.file_lock.WARN_AFTER", 0.1)
    monkeypatch.setattr("securedata.storage.file_lock.BUSY", 0.3)
    with file_lock("config.lock"):
        with pytest.raises(CorpusBusy, match=r"config\.lock"):
            write_entry("v", Reference("/data/v", "v"))
        assert "waiting for another process that holds the lock" in caplog.text
    write_entry("v", Reference("/data/v", "v"))


def test_a_committed_head_counts_although_the_state_folder_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("securedata.storage.file_lock.BUSY", 0.2)
    writer = writer_of(make(root=str(tmp_path / "sealed")))
    with file_lock("seen.lock"):
        assert writer.commit(table(row(writer, "a", content("a")))).added == 1
    assert "would go unnoticed" in caplog.text


def test_a_lock_that_is_kept_ends_a_commit_and_leaves_nothing_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("securedata.storage.file_lock.BUSY", 0.2)
    writer = writer_of(make(root=str(tmp_path / "sealed")))
    rows = table(row(writer, "a", content("a")))
    with (tmp_path / "sealed" / LOCK).open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(CorpusBusy):
            writer.commit(rows)
    assert writer.commit(rows).added == 1, "the same rows, without sealing them again"


def test_threads_that_replace_one_file_leave_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    threads = [threading.Thread(target=replace_file, args=(path, bytes([n]) * 10_000)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    data = path.read_bytes()
    assert len(data) == 10_000
    assert len(set(data)) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
    assert files.TEMPORARY == ".tmp-"
