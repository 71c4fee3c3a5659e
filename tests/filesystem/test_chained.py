"""Chained URLs: the corpus is behind the `::`."""

from __future__ import annotations

import pickle
from pathlib import Path

import fsspec
import pytest
from fsspec.core import url_to_fs

from securedata.errors import PlaintextRefused, UnsafeStorage
from securedata.filesystem import SecuredataFileSystem
from tests.filesystem.corpus import FILES, Voice
from tests.kit.corpora import rows


@pytest.mark.parametrize("root", ["file://{root}", "{root}", "securedata://voice-a"])
def test_the_root_behind_the_url(voice: Voice, root: str) -> None:
    url = f"securedata://ann/a.wav::{root.format(root=voice.root)}"
    with fsspec.open(url) as file:
        assert file.read() == FILES["ann/a.wav"]
    fs, path = url_to_fs(url)
    assert fs.ls("ann", detail=False) == ["ann/a.wav", "ann/b.flac"]
    assert pickle.loads(pickle.dumps(fs)).cat_file(path) == FILES["ann/a.wav"]
    assert [file.path for file in fsspec.open_files(url.replace("a.wav", "*"))] == ["ann/a.wav", "ann/b.flac"]
    with pytest.raises(PlaintextRefused):
        fsspec.open(f"simplecache::{url}").open()


def test_references_of_the_root(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECUREDATA_CONFIG", str(voice.root / "none.toml"))
    kms, pin = voice.reference.kms[0], str(voice.reference.pins[0])
    url = f"securedata://ann/a.wav::file://{voice.root}"
    for options in ({"kms": kms, "pin": pin}, {"file": {"kms": kms, "pin": pin}}):
        with fsspec.open(url, **options) as file:
            assert file.read() == FILES["ann/a.wav"]


def test_writing_behind_it(voice: Voice) -> None:
    url = f"securedata://ann/new.txt::file://{voice.root}"
    with fsspec.open(url, "w", writable=True, subject="ann") as file:
        file.write("new")
    fs, path = url_to_fs(url)
    assert fs.cat_file(path) == b"new"


def test_storage_of_fsspec(own_home: Path) -> None:
    """Without conditional puts, writing must be asked for twice."""
    rows.make(root="memory://sealed-c", name="voice-c", single_writer=True)
    url = "securedata://ann/x::memory://sealed-c"
    with pytest.raises(UnsafeStorage, match="--single-writer"):
        fsspec.open(url, "wb", writable=True, subject="ann").open()
    options = {"writable": True, "subject": "ann", "single_writer": True}
    with fsspec.open(url, "wb", **options) as file:
        file.write(b"1" * 5_000_000)
    fs = fsspec.filesystem("securedata", root="memory://sealed-c", **options)
    with fs.transaction:
        fs.pipe({"a/y": b"2", "a/z": b"3"})
    fs.mv("a/y", "y")
    assert fs.cat(fs.find("")) == {"ann/x": b"1" * 5_000_000, "a/z": b"3", "y": b"2"}
    assert isinstance(fs, SecuredataFileSystem)
