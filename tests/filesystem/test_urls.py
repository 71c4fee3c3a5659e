"""URLs, roots and options of the fsspec filesystem; what is not there; which generation is shown."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.core import url_to_fs

from securedata.corpus.create import create_corpus
from securedata.errors import (
    ConfigError,
    IsAFolder,
    NoSuchPath,
    NoTrustedKey,
    PinMismatch,
    SecuredataError,
)
from securedata.filesystem import SecuredataFileSystem
from tests.filesystem.corpus import FILES, SEEN, Voice, make, named
from tests.kit.cli.process import output_of


def test_fsspec_knows_the_scheme() -> None:
    assert fsspec.get_filesystem_class("securedata") is SecuredataFileSystem


@pytest.mark.parametrize("path", SEEN)
def test_open_a_url(voice: Voice, path: str) -> None:
    with fsspec.open(f"securedata://voice-a/{path}") as file:
        assert file.read() == SEEN[path]


def test_open_files_expands_a_pattern(voice: Voice) -> None:
    files = fsspec.open_files("securedata://voice-a/*/*.wav")
    assert [file.path for file in files] == named("ann/a.wav", "bob-2/x.wav", "bob/c.wav", "zoë/ü.wav")
    with files as handles:
        assert [handle.read() for handle in handles] == [FILES[file.path.partition("/")[2]] for file in files]


def test_url_to_fs_and_back(voice: Voice) -> None:
    url = "securedata://voice-a/ann/a.wav"
    fs, path = url_to_fs(url)
    assert path == "voice-a/ann/a.wav"
    assert fs.unstrip_protocol(path) == url
    assert fs.cat_file(url) == fs.cat_file(path) == FILES["ann/a.wav"]


def test_with_a_root_urls_are_relative_to_it(voice: Voice, rooted: SecuredataFileSystem) -> None:
    url = "securedata://ann/a.wav"
    assert rooted.cat_file(url) == rooted.cat_file("ann/a.wav") == FILES["ann/a.wav"]
    assert rooted.unstrip_protocol("ann/a.wav") == url
    with fsspec.open(url, root=str(voice.root)) as file:
        assert file.read() == FILES["ann/a.wav"]


@pytest.mark.parametrize("spelling", ["voice-a", "securedata://voice-a", "{path}", "file://{path}"])
def test_root_takes_every_spelling(voice: Voice, spelling: str) -> None:
    fs = fsspec.filesystem("securedata", root=spelling.format(path=voice.root))
    assert fs.ls("ann", detail=False) == ["ann/a.wav", "ann/b.flac"]


def test_without_a_config(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECUREDATA_CONFIG", str(voice.root / "none.toml"))
    kms, pin = voice.reference.kms, str(voice.reference.pins[0])
    fs = fsspec.filesystem("securedata", root=str(voice.root), kms=kms[0], pin=pin)
    assert fs.cat_file("ann/a.wav") == FILES["ann/a.wav"]
    assert fsspec.filesystem("securedata", root=str(voice.root), kms=list(kms), pin=[pin]).exists("ann/a.wav")
    with pytest.raises(ConfigError, match="voice-a"):
        fsspec.open("securedata://voice-a/ann/a.wav").open()


def test_options_from_the_environment(voice: Voice, tmp_path: Path) -> None:
    # what a tool that passes no options, such as datasets.Audio, is configured with
    program = "import fsspec; print(len(fsspec.open('securedata://ann/a.wav').open().read()))"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FSSPEC_SECUREDATA_ROOT", str(voice.root))
        printed = output_of([sys.executable, "-W", "error", "-c", program], tmp_path)
    assert int(printed) == len(FILES["ann/a.wav"])


def test_a_relative_root_outlives_the_working_directory(
    voice: Voice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make(tmp_path / "elsewhere" / "sealed", "other", {"other.bin": b"other"})
    monkeypatch.chdir(tmp_path)
    here = fsspec.filesystem("securedata", root="./sealed")
    assert str(tmp_path) in here.to_json()
    monkeypatch.chdir(other.root.parent)
    assert fsspec.filesystem("securedata", root="./sealed").find("") == ["other.bin"]
    assert pickle.loads(pickle.dumps(here)).cat_file("table.csv") == FILES["table.csv"]


def test_decomposed_names_are_found(fs: SecuredataFileSystem) -> None:
    assert fs.cat_file("voice-a/zoe\u0308/u\u0308.wav") == FILES["zoë/ü.wav"]


# --------------------------------------------------------------------------------------------------- what is not there


def test_missing_paths(fs: SecuredataFileSystem, rooted: SecuredataFileSystem) -> None:
    for call in (fs.info, fs.ls, fs.open, fs.cat_file, fs.ukey, fs.checksum, fs.modified, fs.head):
        with pytest.raises(FileNotFoundError) as raised:
            call("voice-a/ann/anna-from-cork.wav")
        assert type(raised.value) is NoSuchPath
        assert raised.value.path == "voice-a/ann/anna-from-cork.wav"
        assert "cork" not in str(raised.value)
        assert "invalidate_cache" in str(raised.value)
    assert not fs.exists("voice-a/ann/c.wav")
    assert not fs.isfile("voice-a/ann/c.wav")
    assert not fs.isdir("voice-a/an")
    with pytest.raises(NoSuchPath):  # with a root, a name is not part of a path
        rooted.info("voice-a/ann/a.wav")


def test_a_folder_is_no_file(fs: SecuredataFileSystem) -> None:
    for path in ("voice-a/bob/deep", "voice-a", ""):
        for call in (fs.open, fs.cat_file, fs.ukey):
            with pytest.raises(IsADirectoryError) as raised:
                call(path)
            assert type(raised.value) is IsAFolder
        assert fs.isdir(path)
        assert not fs.isfile(path)
        assert fs.exists(path)


def test_a_path_that_is_both(voice: Voice, fs: SecuredataFileSystem) -> None:
    voice.add({"both": b"file", "both/below": b"below"})
    assert fs.cat_file("voice-a/both") == b"file"
    assert fs.info("voice-a/both")["type"] == "file"
    assert fs.ls("voice-a/both", detail=False) == named("both", "both/below")
    assert fs.find("voice-a/both") == named("both", "both/below")


def test_an_unknown_name(voice: Voice, fs: SecuredataFileSystem) -> None:
    for call in (fs.info, fs.ls, fs.open, fs.find, fs.cat_file):
        with pytest.raises(ConfigError, match=r"voice-b.*known names: voice-a"):
            call("securedata://voice-b/ann/a.wav")
    with pytest.raises(ConfigError, match="voice-b"):
        fs.glob("voice-b/*")
    assert not fs.exists("voice-b")
    with pytest.raises(ConfigError):
        fsspec.filesystem("securedata", root="voice-b")


def test_an_empty_corpus(tmp_path: Path) -> None:
    create_corpus(str(tmp_path / "none"), name="none")
    fs = fsspec.filesystem("securedata")
    assert fs.ls("none") == fs.find("none") == fs.glob("none/**/*.wav") == []
    assert fs.isdir("none")


# Every cause keeps its class, also where fsspec would call it "not there".
def _other_key(voice: Voice, fs: Callable[..., SecuredataFileSystem]) -> SecuredataFileSystem:
    create_corpus(str(voice.root.parent / "other"), name="other")
    key = voice.reference.kms[0].replace("voice-a", "other")
    return fs(root=str(voice.root), kms=key)


def _other_pin(voice: Voice, fs: Callable[..., SecuredataFileSystem]) -> SecuredataFileSystem:
    other = create_corpus(str(voice.root.parent / "other"), name="other").reference
    return fs(root=str(voice.root), pin=str(other.pins[0]))


def _no_key(voice: Voice, fs: Callable[..., SecuredataFileSystem]) -> SecuredataFileSystem:
    return fs(root=str(voice.root), kms=f"local://{voice.root.parent}/none.kek")


@pytest.mark.parametrize(
    ("break_it", "error"),
    [
        (_other_key, NoTrustedKey),
        (_other_pin, PinMismatch),
        (_no_key, SecuredataError),
    ],
)
def test_exists_hides_no_failure(voice: Voice, break_it: Any, error: type[SecuredataError]) -> None:
    # what was opened with the right key and pin is not for those who come with others
    assert fsspec.filesystem("securedata", root=str(voice.root)).exists("ann/a.wav")
    fs = break_it(voice, lambda **options: fsspec.filesystem("securedata", **options))
    for call in (fs.exists, fs.isfile, fs.isdir, fs.info, fs.open, fs.find, fs.ls):
        with pytest.raises(error):
            call("ann/a.wav")


# ------------------------------------------------------------------------------------------------------ other versions


def test_invalidate_cache_opens_the_current_head(voice: Voice, fs: SecuredataFileSystem) -> None:
    assert not fs.exists("voice-a/new.bin")
    other = fsspec.filesystem("securedata", root="voice-a")
    voice.add({"new.bin": b"new"})
    assert not fs.exists("voice-a/new.bin")
    fs.invalidate_cache("voice-a/ann")
    assert fs.cat_file("voice-a/new.bin") == b"new"
    assert other.cat_file("new.bin") == b"new"
    voice.writer.commit(remove=["new.bin"])
    other.invalidate_cache()
    assert not fs.exists("voice-a/new.bin")


def test_an_open_file_stays_its_object(voice: Voice, fs: SecuredataFileSystem) -> None:
    with fs.open("voice-a/ann/b.flac", cache_type="none") as file:
        assert file.read(10) == FILES["ann/b.flac"][:10]
        # rows before it: numbers change
        voice.writer.commit(remove=["ann/a.wav"])
        fs.invalidate_cache()
        assert file.read() == FILES["ann/b.flac"][10:]


def test_ukey_names_the_object(voice: Voice, fs: SecuredataFileSystem) -> None:
    path = "voice-a/ann/a.wav"
    before, checksum = fs.ukey(path), fs.checksum(path)
    assert int(before, 16) == checksum
    assert fs.ukey("voice-a/ann/b.flac") != before
    voice.add({"new.bin": b"new"})
    fs.invalidate_cache()
    assert fs.ukey(path) == before
    # the same bytes sealed anew are another object: a key that told so would be a digest of the plaintext
    voice.writer.commit(remove=["ann/a.wav"])
    voice.add({"ann/a.wav": FILES["ann/a.wav"]})
    fs.invalidate_cache()
    assert fs.ukey(path) != before
