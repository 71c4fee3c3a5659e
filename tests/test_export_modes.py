"""Plaintext on a disk is for those who asked for it alone, whole, and there after a power cut."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from securedata.cli.main import main
from securedata.corpus.export import ExportReport, export
from securedata.corpus.outside import Destination
from securedata.errors import NoSuchPath, StorageError
from tests.kit import Root, make_corpus
from tests.tree import ROOT as CHECKOUT


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_corpus(tmp_path)


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


# ---------------------------------------------------------------------------------------------- whole, and on the disk


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call writes a thousand bytes, as it writes 2 GiB where there is more."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, memoryview(data)[:1000]))


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
