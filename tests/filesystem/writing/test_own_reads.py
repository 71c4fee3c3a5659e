"""Reads inside a transaction see what it has changed, and nobody else does before its end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import securedata
from securedata.corpus.config import Reference
from securedata.errors import NoSuchPath
from securedata.filesystem import SecuredataFileSystem
from securedata.filesystem.writing.batch import SMALL
from tests.filesystem.corpus import audio
from tests.kit.corpora.contents import current

BIG = np.random.default_rng(0).bytes(SMALL + 17)
BEFORE = {"ann/1.wav": audio(1, "WAV"), "ann/2.wav": audio(2, "WAV"), "bob/deep/3.wav": audio(3, "WAV")}


@pytest.fixture
def fs(fs: SecuredataFileSystem) -> SecuredataFileSystem:
    fs.pipe(BEFORE)
    return fs


def read(fs: SecuredataFileSystem) -> dict[str, bytes]:
    return {path: fs.cat_file(path) for path in fs.find("")}


def test_what_was_removed_is_not_there(fs: SecuredataFileSystem, reference: Reference) -> None:
    with fs.transaction:
        fs.rm(["ann/1.wav", "ann/2.wav"])
        for act in (
            lambda: fs.cp("ann/1.wav", "kept.wav"),
            lambda: fs.mv("ann/1.wav", "kept.wav"),
            lambda: fs.cat_file("ann/1.wav"),
            lambda: fs.open("ann/1.wav"),
            lambda: fs.info("ann/1.wav"),
            lambda: fs.rm("ann/1.wav"),
            lambda: fs.ls("ann"),
            lambda: fs.cp("ann", "kept", recursive=True),
        ):
            with pytest.raises(NoSuchPath):
                act()
        assert not fs.exists("ann")
        assert fs.find("", withdirs=True) == ["bob", "bob/deep", "bob/deep/3.wav"]
        assert fs.ls("", detail=False) == ["bob"]
        assert fs.glob("*/*.wav") == []
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(read, fs).result() == BEFORE
    assert set(current(reference)) == {"bob/deep/3.wav"}


def test_what_was_put_is_there(fs: SecuredataFileSystem, reference: Reference) -> None:
    with fs.transaction:
        fs.pipe({"ann/2.wav": audio(4, "FLAC"), "new/a/b.bin": b"0123456789", "big": BIG})
        fs.cp("ann/1.wav", "copy.wav")
        fs.mv("bob/deep/3.wav", "cid/3.wav")
        fs.cp("ann/2.wav", "second.flac")
        fs.cp("big", "big too")
        fs.cp("cid/3.wav", "cid/4.wav")
        fs.mv("copy.wav", "cid/copy.wav")
        seen, infos, folders = read(fs), fs.find("", detail=True), fs.find("", withdirs=True)
        shallow = fs.find("", maxdepth=2, withdirs=True)
        assert (fs.cat_file("new/a/b.bin", 2, 4), fs.tail("big", 5), fs.info("big")["size"]) == (
            b"23",
            BIG[-5:],
            len(BIG),
        )
        assert (fs.isdir("new"), fs.isdir("bob"), fs.isfile("cid/3.wav")) == (True, False, True)
        assert fs.ls("new", detail=False) == ["new/a"]
        with fs.open("new/a/b.bin") as file:
            file.seek(3)
            assert file.read() == b"3456789"
        with pytest.raises(FileExistsError):
            fs.open("new/a/b.bin", "xb")
    assert (
        seen
        == read(fs)
        == {
            "ann/1.wav": BEFORE["ann/1.wav"],
            "ann/2.wav": audio(4, "FLAC"),
            "second.flac": audio(4, "FLAC"),
            "new/a/b.bin": b"0123456789",
            "big": BIG,
            "big too": BIG,
            "cid/copy.wav": BEFORE["ann/1.wav"],
            "cid/3.wav": BEFORE["bob/deep/3.wav"],
            "cid/4.wav": BEFORE["bob/deep/3.wav"],
        }
    )
    assert infos == fs.find("", detail=True)
    assert (folders, shallow) == (fs.find("", withdirs=True), fs.find("", maxdepth=2, withdirs=True))
    assert current(reference)["second.flac"]["format"] == "FLAC"
    report = securedata.verify(reference)
    assert (report.ok, report.in_flight) == (True, 0)


def test_folders_of_what_was_put_are_moved_and_removed(fs: SecuredataFileSystem, reference: Reference) -> None:
    with fs.transaction:
        fs.pipe({"ann/new.wav": audio(5, "WAV"), "bob/x": b"x"})
        fs.rm("bob", recursive=True)
        fs.mv("ann", "cid", recursive=True)
        assert fs.find("") == ["cid/1.wav", "cid/2.wav", "cid/new.wav"]
        fs.cp("cid", "dan", recursive=True)
        fs.rm("cid/new.wav")
    assert sorted(current(reference)) == ["cid/1.wav", "cid/2.wav", "dan/1.wav", "dan/2.wav", "dan/new.wav"]
    assert read(fs)["dan/new.wav"] == audio(5, "WAV")


def test_a_file_outlives_the_transaction_in_which_it_was_opened(fs: SecuredataFileSystem) -> None:
    with fs.transaction:
        fs.pipe_file("x", b"12345")
        file = fs.open("x", cache_type="none")
        assert file.read(2) == b"12"
    assert file.read() == b"345"
    fs.start_transaction()
    fs.pipe_file("y", b"12345")
    file = fs.open("y", cache_type="none")
    fs.transaction.complete(commit=False)
    with pytest.raises(NoSuchPath, match="dropped"):
        file.read()
