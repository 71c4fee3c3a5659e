"""Plaintext on a disk is for those who asked for it alone, whole, and there after a power cut."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from securedata.cli.main import main
from securedata.corpus.export.destination import Destination
from securedata.corpus.export.export import ExportReport, export
from securedata.errors import InvalidArgument, NoSuchPath, StorageError
from tests.kit.corpora.recorded import Root
from tests.kit.docs.tree import ROOT as CHECKOUT


@pytest.fixture(params=[0o022, 0o000, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """The modes of all that lies in a folder, and of itself."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*")}
    return {name: stat.S_IMODE(path.stat().st_mode) for name, path in {".": folder, **found}.items()}


def private(folder: Path, *others: str) -> None:
    for name, mode in modes(folder).items():
        if name not in others:
            assert mode == (0o700 if (folder / name).is_dir() else 0o600), name


def run(root: Root, dest: Path, overwrite: bool = False) -> ExportReport:
    return export(root.reference, dest, allow_plaintext_export=True, overwrite=overwrite)


@pytest.mark.usefixtures("umask")
def test_what_is_exported_is_its_user_s_alone(root: Root, tmp_path: Path) -> None:
    assert run(root, tmp_path / "deep" / "er" / "restored").complete
    private(tmp_path / "deep")
    assert (tmp_path / "deep/er/restored/manifest.jsonl").exists()


@pytest.mark.usefixtures("umask")
def test_folders_and_right_files_that_are_there_keep_their_mode(root: Root, tmp_path: Path) -> None:
    dest = tmp_path / "restored"
    run(root, dest)
    for path, mode in ((dest, 0o750), (dest / "ann", 0o755), (dest / "ann/utt0.wav", 0o644)):
        path.chmod(mode)
    (dest / "bob/utt0.wav").write_bytes(b"another")
    (dest / "bob/utt0.wav").chmod(0o644)
    assert run(root, dest, overwrite=True).written == 1
    assert [modes(dest)[name] for name in (".", "ann", "ann/utt0.wav")] == [0o750, 0o755, 0o644]
    private(dest, ".", "ann", "ann/utt0.wav")


def test_a_shared_place_may_be_asked_for(root: Root, tmp_path: Path, umask: int) -> None:
    dest = tmp_path / "deep" / "restored"
    allowed = ["--allow-plaintext-export", "--mode-from-umask"]
    assert main(["export", root.name, str(dest), *allowed]) == 0
    for name, mode in modes(tmp_path / "deep").items():
        assert mode == (0o777 if (tmp_path / "deep" / name).is_dir() else 0o666) & ~umask


def test_no_moment_in_which_others_can_read(root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync
    seen: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: (seen.append(os.fstat(fd).st_mode & 0o077), fsync(fd))[1])
    run(root, tmp_path / "restored")
    assert len(seen) > 6
    assert set(seen) == {0}


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("recursive", [True, False])
def test_what_fsspec_writes_is_its_user_s_alone(recursive: bool, root: Root, tmp_path: Path) -> None:
    fs = fsspec.filesystem("securedata", skip_instance_cache=True, allow_plaintext_export=True)
    here = tmp_path / "deep" / "here"
    if recursive:
        fs.get(root.name, str(here), recursive=True)
        assert len([path for path in here.rglob("*") if path.is_file()]) == 6
    else:
        fs.get_file(f"{root.name}/ann/utt0.wav", here / "one.wav")
        fs.get(f"{root.name}/ann/utt1.flac", str(here / "two.flac"))
        (tmp_path / "mine").write_bytes(b"before")
        (tmp_path / "mine").chmod(0o640)
        fs.get(f"{root.name}/ann/utt0.wav", str(tmp_path / "mine"))
        assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o640
        assert (tmp_path / "mine").read_bytes() == (here / "one.wav").read_bytes() == root.clips[0].data
        with pytest.raises(NoSuchPath):
            fs.get_file(f"{root.name}/ann/none.wav", here / "none.wav")
        assert not (here / "none.wav").exists()
    private(tmp_path / "deep")


STRANGER = 4243


def lay_as_a_stranger(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was laid here belongs to another user."""
    if os.geteuid() == 0:
        os.chown(path, STRANGER, -1, follow_symlinks=False)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)


@pytest.mark.parametrize("plant", ["link", "dangling", "file"])
def test_what_another_user_laid_there_does_not_steer_fsspec(
    plant: str, root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In /tmp the kernel lets nobody write through another user's link; resolving it first would pass that by."""
    fs = fsspec.filesystem("securedata", skip_instance_cache=True, allow_plaintext_export=True)
    recording = fs.cat_file(f"{root.name}/ann/utt0.wav")
    shared, victim = tmp_path / "shared", tmp_path / "victim"
    shared.mkdir()
    shared.chmod(0o1777)
    victim.write_bytes(b"precious")
    laid = shared / "one.wav"
    if plant == "file":
        laid.write_bytes(b"")
        laid.chmod(0o666)
    else:
        laid.symlink_to(victim if plant == "link" else tmp_path / "made")
    lay_as_a_stranger(laid, monkeypatch)
    if plant == "file":
        fs.get(f"{root.name}/ann/utt0.wav", str(laid))
        assert stat.S_IMODE(laid.stat().st_mode) == 0o600
        assert laid.read_bytes() == recording
    else:
        with pytest.raises(InvalidArgument, match="a link that another user made"):
            fs.get(f"{root.name}/ann/utt0.wav", str(laid))
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("owner", ["stranger", "folder's"])
def test_a_link_on_the_way_is_followed_if_the_folder_is_its_owner_s(
    owner: str, root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is laid by whoever may write there, the second by whose folder it is, as on a cluster."""
    fs = fsspec.filesystem("securedata", skip_instance_cache=True, allow_plaintext_export=True)
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (elsewhere / "utt0.wav").write_bytes(b"precious")
    (out / "ann").symlink_to(elsewhere)
    lstat, look = os.lstat, os.stat

    def owned(status: os.stat_result) -> os.stat_result:
        return os.stat_result((*status[:4], STRANGER, *status[5:]))

    monkeypatch.setattr(
        os, "lstat", lambda path, **kw: owned(lstat(path, **kw)) if path == str(out / "ann") else lstat(path, **kw)
    )
    if owner == "folder's":
        monkeypatch.setattr(
            os, "stat", lambda path, **kw: owned(look(path, **kw)) if path == str(out) else look(path, **kw)
        )
        fs.get(root.name, str(out), recursive=True)
        assert (elsewhere / "utt0.wav").read_bytes() == root.clips[0].data
    else:
        with pytest.raises(InvalidArgument, match="a link that another user made"):
            fs.get(root.name, str(out), recursive=True)
        with pytest.raises(InvalidArgument, match="a link that another user made"):
            fs.get_file(f"{root.name}/ann/utt0.wav", str(out / "ann/utt0.wav"))
        assert [path.read_bytes() for path in elsewhere.iterdir()] == [b"precious"]


def test_a_link_of_one_s_own_is_followed(root: Root, tmp_path: Path) -> None:
    fs = fsspec.filesystem("securedata", skip_instance_cache=True, allow_plaintext_export=True)
    (tmp_path / "link.wav").symlink_to(tmp_path / "behind.wav")
    fs.get(f"{root.name}/ann/utt0.wav", str(tmp_path / "link.wav"))
    assert (tmp_path / "link.wav").is_symlink()
    assert (tmp_path / "behind.wav").read_bytes() == root.clips[0].data


def test_a_pipe_gets_what_fsspec_writes_and_no_file_that_took_its_place(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = fsspec.filesystem("securedata", skip_instance_cache=True, allow_plaintext_export=True)
    pipe, victim = tmp_path / "pipe", tmp_path / "victim"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    fs.get_file(f"{root.name}/ann/utt0.wav", str(pipe))
    reader.join()
    assert got == [root.clips[0].data]
    victim.write_bytes(b"precious")
    opened = os.open

    def swapped(path: str, *options: int, **named: int) -> int:
        if path == str(pipe):
            pipe.unlink()
            os.link(victim, pipe)
        return opened(path, *options, **named)

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(OSError, match="a moment ago"):
        fs.get_file(f"{root.name}/ann/utt0.wav", str(pipe))
    assert victim.read_bytes() == b"precious"


@pytest.mark.timeout(20)
def test_a_file_that_grows_while_it_is_compared_is_another_one(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "restored"
    run(root, dest)
    read = os.read

    def grow(fd: int, count: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{fd}").endswith("utt0.wav"):
            os.truncate(dest / "ann/utt0.wav", 1 << 40)
        return read(fd, count)

    monkeypatch.setattr(os, "read", grow)
    assert "ann/utt0.wav" in [path for path, _ in run(root, dest).failed]


# ---------------------------------------------------------------------------------------------- whole, and on the disk


@pytest.mark.usefixtures("short")
def test_a_short_write_is_finished(root: Root, tmp_path: Path) -> None:
    assert run(root, tmp_path / "restored").complete
    for one in root.clips:
        assert (tmp_path / "restored" / one.path).read_bytes() == one.data


CAT = """
import os, sys
from securedata.cli.main import main
write = os.write
os.write = lambda fd, data: write(fd, memoryview(data)[:1000])
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("options", [[], ["-u"]])
def test_cat_writes_all_of_it(options: list[str], root: Root) -> None:
    arguments = ["cat", root.name, "bob/utt0.wav"]
    done = subprocess.run([sys.executable, *options, "-c", CAT, *arguments], cwd=CHECKOUT, stdout=subprocess.PIPE)
    assert done.returncode == 0
    assert done.stdout == next(one.data for one in root.clips if one.path == "bob/utt0.wav")


def test_a_run_that_finds_everything_right_flushes_the_folders_that_a_killed_one_left(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "restored"
    with monkeypatch.context() as patch:
        patch.setattr(Destination, "make_durable", lambda _: None)
        run(root, dest)
    flushed: set[str] = set()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (flushed.add(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd))[1])
    assert run(root, dest).right_already == 6
    assert flushed == {str(dest), str(dest / "ann"), str(dest / "bob")}


@pytest.mark.parametrize("error", [5, 28, 122])
def test_a_file_that_cannot_be_flushed_is_not_there(
    error: int, root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "restored"

    def fail(_: int) -> None:
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StorageError, match="run it again"):
            run(root, dest)
    assert [path for path in dest.rglob("*") if path.is_file()] == []
    assert run(root, dest).written == 6


@pytest.mark.parametrize("plant", ["link", "file", "fifo"])
def test_what_lies_under_the_name_of_a_file_under_way_is_not_written(plant: str, root: Root, tmp_path: Path) -> None:
    dest = tmp_path / "restored"
    (dest / "ann").mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    part = dest / "ann" / f".{hashlib.sha256(b'utt0.wav').hexdigest()[:24]}.part"
    if plant == "link":
        part.symlink_to(victim)
    elif plant == "file":
        os.link(victim, part)
    else:
        os.mkfifo(part)
    assert run(root, dest).complete
    assert victim.read_bytes() == b"precious"
    assert (dest / "ann/utt0.wav").read_bytes() == root.clips[0].data
    assert not part.exists()
