"""What never reaches a disk, and what is not written."""

from __future__ import annotations

import errno
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.csv
import pyarrow.fs
import pytest
from fsspec.config import conf
from fsspec.core import url_to_fs
from fsspec.generic import rsync

from securedata.errors import (
    InvalidArgument,
    PlaintextRefused,
)
from securedata.filesystem import SecuredataFileSystem
from securedata.filesystem.options import KNOWN
from tests.filesystem.corpus import D_PATH, FILES, SEEN, D, Voice, named


@pytest.mark.parametrize(
    "option",
    ["key", "secret", "token", "password", "aws_secret_access_key", "session_token", "KMS_TOKEN", "credentials"],
)
def test_credentials_are_no_options(voice: Voice, option: str) -> None:
    for make_fs in (
        lambda: fsspec.filesystem("securedata", root="voice-a", **{option: "hunter2"}),
        lambda: fsspec.open("securedata://voice-a/ann/a.wav", **{option: "hunter2"}),
    ):
        with pytest.raises(InvalidArgument, match=r"profile or a role.*config") as raised:
            make_fs()
        assert "hunter2" not in str(raised.value)
    assert all("hunter2" not in fs.to_json() for fs in SecuredataFileSystem._cache.values())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"root": "s3://me:hunter2@bucket/x"}, "user or password"),
        ({"root": "voice-a", "kms": "hcvault://me:hunter2@host/transit/keys/x"}, "user or password"),
        ({"root": "voice-a", "kms": ["local:///a", "hcvault://hunter2@host/transit/keys/x"]}, "user or password"),
        ({"root": "voice-a", "profile": {"x": "hunter2"}}, "profile must be text"),
        ({"root": "voice-a", "client_kwargs": {"x": {"session_token": "hunter2"}}}, "option session_token looks like"),
        ({"root": "voice-a", "headers": [{"Authorization": "hunter2"}]}, "option Authorization looks like"),
        ({"root": "voice-a", "proxy": "http://me:hunter2@proxy:80"}, "option proxy looks like a credential"),
        ({"root": "voice-a", "client_kwargs": {"proxy": "http://me:hunter2@proxy"}}, "proxy looks like a credential"),
        ({"root": "voice-a", "SAS": "hunter2"}, "option SAS looks like a credential"),
        ({"root": "voice-a", "pwd": "hunter2"}, "option pwd looks like a credential"),
        ({"root": "voice-a", "password": 2222}, "option password looks like a credential"),
        ({"root": "voice-a", "kmss": "hunter2"}, "unknown option kmss: did you mean kms?"),
        ({"root": "voice-a", "KMS": "hunter2"}, "unknown option KMS: did you mean kms?"),
        ({"root": "voice-a", "pins": ["hunter2"]}, "unknown option pins: did you mean pin?"),
        ({"rooot": "hunter2"}, "unknown option rooot: did you mean root?"),
        ({"root": "voice-a", "endpoint": "hunter2"}, "did you mean endpoint_url?"),
        ({"root": "voice-a", "allow_plaintext": "hunter2"}, "did you mean allow_plaintext_export?"),
        ({"root": "voice-a", "target_options": {"x": "hunter2"}}, "chained URL"),
    ],
)
def test_other_options_are_refused(
    voice: Voice, options: dict[str, Any], match: str, caplog: pytest.LogCaptureFixture
) -> None:
    for make_fs in (
        lambda: fsspec.filesystem("securedata", **options),
        lambda: fsspec.open("securedata://voice-a/ann/a.wav", **options),
    ):
        caplog.clear()
        with pytest.raises(InvalidArgument, match=re.escape(match)) as raised:
            make_fs()
        assert "hunter2" not in str(raised.value)
        [record] = caplog.records
        assert (record.levelname, record.getMessage()) == ("WARNING", f"refused: {raised.value}")
    assert all("hunter2" not in fs.to_json() for fs in SecuredataFileSystem._cache.values())


@pytest.mark.parametrize(
    "options",
    [
        {"asynchronous": True},
        {"asynchronous": False, "loop": None, "batch_size": 16},
        {"use_listings_cache": True, "listings_expiry_time": 3, "max_paths": 5, "skip_instance_cache": True},
        {"mode": "rb", "bufsize": 8192, "encoding": "utf-8", "newline": ""},
        {"client_kwargs": {"trust_env": True}, "anon": False, "auto_mkdir": True, "protocol_args": [1, {"a": 2}]},
        {"token": None, "key": None, "username": None, "kmss": None, "fo": None, "target_options": None},
        {"token": False, "use_auth_token": True, "secret": ""},
        {"role": None, "profile": None, "region": None, "endpoint_url": None, "kms": None, "pin": None},
        {"allow_plaintext_export": None, "accept_generation": None},
    ],
)
def test_options_that_mean_nothing_here_are_ignored(
    voice: Voice, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "securedata")
    fs = fsspec.filesystem("securedata", root="voice-a", **options)
    assert fs.cat_file("ann/a.wav") == FILES["ann/a.wav"]
    assert fs._reference(fs._split("x")[0]).options == {}
    passed = {key: value for key, value in options.items() if key not in ("mode", "encoding", "newline")}
    with fsspec.open("securedata://voice-a/ann/a.wav", **passed) as file:
        assert file.read() == FILES["ann/a.wav"]
    said = [record.getMessage() for record in caplog.records if "is ignored" in record.getMessage()]
    ours = {*KNOWN, "asynchronous", "loop", "use_listings_cache", "skip_instance_cache"}
    if unknown := {key for key, value in options.items() if value is not None} - ours:
        assert all(any(f"option {key} " in one for one in said) for key in unknown)
    assert all(record.levelname == "DEBUG" for record in caplog.records if record.getMessage() in said)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_the_environment_may_name_options_of_others(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(conf, "securedata", {"cache_dir": "/nowhere", "pinn": None})
    assert fsspec.filesystem("securedata", root="voice-a").cat_file("ann/a.wav") == FILES["ann/a.wav"]


def test_refusals_that_rsync_swallows_are_in_the_log(
    voice: Voice, disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copied = rsync("securedata://voice-a/ann", f"file://{disk}/ann")
    assert len(copied) > 1  # it says that it copied them
    assert not [path for path in disk.rglob("*") if path.is_file()]
    warnings = [one for one in caplog.records if one.levelname == "WARNING"]
    assert len(warnings) == len(copied)
    assert all("get() would write plaintext to a local disk" in one.getMessage() for one in warnings)


def test_refusals_are_logged(voice: Voice, fs: SecuredataFileSystem, caplog: pytest.LogCaptureFixture) -> None:
    for act, said in (
        (lambda: fs.get("voice-a/ann/a.wav", "x"), "get() would write"),
        (lambda: fs.open("voice-a/ann/a.wav", cache_type="mmap"), "cache_type='mmap'"),
        (lambda: fsspec.open("blockcache::securedata://voice-a/ann/a.wav").open(), "a caching filesystem"),
        (lambda: fs.pipe("voice-a/x", b"x"), "read-only"),
        (lambda: fs.open("voice-a/x", "wb"), "read-only"),
    ):
        caplog.clear()
        with pytest.raises((PlaintextRefused, OSError)):
            act()
        [record] = [one for one in caplog.records if one.levelname == "WARNING"]
        assert said in record.getMessage()
        assert "a.wav" not in record.getMessage()


def test_options_of_a_root_reach_its_reference(voice: Voice) -> None:
    fs = fsspec.filesystem("securedata", root="voice-a", profile="trainer", region="eu-west-1")
    assert fs._reference(fs._split("x")[0]).options == {"profile": "trainer", "region": "eu-west-1"}


def test_a_chained_url_takes_a_path_and_references_only(voice: Voice) -> None:
    url = f"securedata://ann/a.wav::file://{voice.root}"
    for options, match in (
        ({"file": {"host": "x"}}, "give the corpus a name in the config"),
        ({"file": {"secret": "hunter2"}}, "option secret looks like a credential"),
        ({"root": "voice-a"}, "names the root already"),
    ):
        with pytest.raises(InvalidArgument, match=match) as raised:
            fsspec.open(url, **options)
        assert "hunter2" not in str(raised.value)


def test_writing_names_the_tool(voice: Voice, fs: SecuredataFileSystem, tmp_path: Path) -> None:
    local = tmp_path / "new.wav"
    local.write_bytes(b"new")
    path, other = "voice-a/new.wav", "voice-a/ann/a.wav"
    before = voice.writer.refresh().generation
    for write in (
        *(lambda mode=mode: fs.open(path, mode) for mode in ("wb", "w", "ab", "xb", "r+b", "rb+")),
        lambda: fs._open(path, "wb"),
        lambda: fsspec.open(f"securedata://{path}", "wb").open(),
        lambda: fs.pipe(path, b"new"),
        lambda: fs.pipe_file(path, b"new"),
        lambda: fs.write_bytes(path, b"new"),
        lambda: fs.write_text(path, "new"),
        lambda: fs.put(str(local), path),
        lambda: fs.put_file(str(local), path),
        lambda: fs.upload(str(local), path),
        lambda: fs.touch(path),
        lambda: fs.mkdir("voice-a/new"),
        lambda: fs.makedirs("voice-a/new"),
        lambda: fs.mkdirs("voice-a/new"),
        lambda: fs.rmdir("voice-a/ann"),
        lambda: fs.rm(other),
        lambda: fs.rm("voice-a", recursive=True),
        lambda: fs.rm_file(other),
        lambda: fs.delete(other),
        lambda: fs.mv(other, path),
        lambda: fs.rename(other, path),
        lambda: fs.cp(other, path),
        lambda: fs.copy(other, path),
        lambda: fs.cp_file(other, path),
        lambda: pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fs)).open_output_stream(path),
    ):
        with pytest.raises(OSError, match="securedata encrypt") as raised:
            write()
        assert raised.value.errno == errno.EROFS
    assert voice.writer.refresh().generation == before
    assert fs.find("voice-a") == sorted(named(*SEEN))


def plaintext_in(folder: Path) -> list[Path]:
    """Files in which a piece of a recording stands."""
    pieces = [content[100:132] for content in SEEN.values() if len(content) > 200]
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            found += [path for piece in pieces if piece in content]
    return found


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files, caches and downloads of the test go; afterwards no plaintext may lie there."""
    folder = tmp_path / "disk"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield folder
    assert plaintext_in(folder) == []


def test_get_is_refused(fs: SecuredataFileSystem, disk: Path) -> None:
    handle = (disk / "handle").open("wb")
    for get in (
        lambda: fs.get("voice-a/ann/a.wav", str(disk / "a.wav")),
        lambda: fs.get("voice-a/ann", str(disk), recursive=True),
        lambda: fs.get(["voice-a/ann/a.wav"], [str(disk / "a.wav")]),
        lambda: fs.get_file("voice-a/ann/a.wav", str(disk / "a.wav")),
        lambda: fs.get_file("voice-a/ann", str(disk / "ann")),
        lambda: fs.get_file("voice-a/ann/a.wav", None, outfile=handle),
        lambda: fs.download("voice-a/ann/a.wav", str(disk / "a.wav")),
    ):
        with pytest.raises(PlaintextRefused, match="allow_plaintext_export=True"):
            get()
    handle.close()
    assert [(path.name, path.stat().st_size) for path in disk.rglob("*")] == [("handle", 0)]


def test_get_into_memory(fs: SecuredataFileSystem) -> None:
    memory = io.BytesIO()
    fs.get_file("voice-a/ann/a.wav", memory)
    assert memory.getvalue() == FILES["ann/a.wav"]


def test_get_that_was_allowed(voice: Voice, fs: SecuredataFileSystem, tmp_path: Path) -> None:
    fs.get("voice-a/ann/a.wav", str(tmp_path / "one.wav"), allow_plaintext_export=True)
    assert (tmp_path / "one.wav").read_bytes() == FILES["ann/a.wav"]
    fs.get("voice-a/bob/", str(tmp_path / "bob"), recursive=True, allow_plaintext_export=True)
    assert (tmp_path / "bob/deep/down/d.bin").read_bytes() == D
    fs.get_file("voice-a/ann/a.wav", str(tmp_path / "two.wav"), allow_plaintext_export=True)
    fs.download("voice-a/ann/a.wav", str(tmp_path / "three.wav"), allow_plaintext_export=True)
    with pytest.raises(PlaintextRefused):  # it was for one call
        fs.get("voice-a/ann/a.wav", str(tmp_path / "four.wav"))
    exporting = fsspec.filesystem("securedata", root="voice-a", allow_plaintext_export=True)
    exporting.get("ann/a.wav", str(tmp_path / "four.wav"))
    for name in ("two", "three", "four"):
        assert (tmp_path / f"{name}.wav").read_bytes() == FILES["ann/a.wav"]


CACHES = ["simplecache", "filecache", "blockcache", "cached"]


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("compression", [None, "infer", "gzip"])
def test_caching_filesystems_are_refused(voice: Voice, disk: Path, cache: str, compression: str | None) -> None:
    url = f"{cache}::securedata://voice-a/ann/a.wav"
    options = {"cache_storage": str(disk / "cache")} | ({"compression": compression} if compression else {})
    fs, path = url_to_fs(url, **{cache: options})
    for _ in range(2):  # what the first left behind must not be served the second time
        many = [] if compression else [lambda: fsspec.open_files(url, **{cache: options}).__enter__()[0].read()]
        for read in (
            *many,  # fsspec's caches open no list of compressed files
            lambda: fsspec.open(url, **{cache: options}).open().read(),
            lambda: fs.open(path).read(),
            lambda: fs.cat_file(path),
            lambda: fs.cat_file(path, 0, 10),
            lambda: fs.cat(path),
            lambda: fs.cat_ranges([path], [0], [10], on_error="raise"),
            lambda: fs.head(path),
            lambda: fs.get(path, str(disk / "got")),
        ):
            with pytest.raises(PlaintextRefused):
                read()
    assert fs.info(path)["size"] == len(FILES["ann/a.wav"])


def test_open_local_is_refused(voice: Voice, disk: Path) -> None:
    with pytest.raises(PlaintextRefused):
        fsspec.open_local("simplecache::securedata://voice-a/ann/*.wav", simplecache={"cache_storage": str(disk)})


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # fsspec leaves it to the collector
@pytest.mark.parametrize("cache", CACHES)
def test_caching_filesystems_that_were_allowed(voice: Voice, tmp_path: Path, cache: str) -> None:
    options = {"cache_storage": str(tmp_path / "cache")}
    url = f"{cache}::securedata://voice-a/bob/deep/down/d.bin"
    for _ in range(2):
        with fsspec.open(url, securedata={"allow_plaintext_export": True}, **{cache: options}) as file:
            assert file.read() == D


@pytest.mark.parametrize("cache_type", ["mmap", "somebodys"])
def test_caches_on_disk_are_refused(fs: SecuredataFileSystem, disk: Path, cache_type: str) -> None:
    with pytest.raises(PlaintextRefused, match="readahead"):
        fs.open("voice-a/ann/a.wav", cache_type=cache_type, cache_options={"location": str(disk / "mmap")})


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # fsspec leaves it to the collector
def test_an_mmap_that_was_allowed(voice: Voice, tmp_path: Path) -> None:
    fs = fsspec.filesystem("securedata", root="voice-a", allow_plaintext_export=True)
    options = {"location": str(tmp_path / "mmap")}
    with fs.open("bob/deep/down/d.bin", cache_type="mmap", cache_options=options) as file:
        assert file.read() == D


def test_the_cache_of_a_file_cannot_be_replaced(fs: SecuredataFileSystem, disk: Path) -> None:
    from fsspec.caching import BaseCache

    file = fs.open("voice-a/ann/a.wav")
    with pytest.raises(PlaintextRefused):
        file.cache = BaseCache(0, file._fetch_range, file.size)
    with pytest.raises(InvalidArgument, match="cache_options"):
        fs.open("voice-a/ann/a.wav", cache_type="bytes", cache_options={"nonsense": 1})


def test_reading_leaves_nothing_on_disk(voice: Voice, fs: SecuredataFileSystem, disk: Path, own_home: Path) -> None:
    fs.cat_file("voice-a/ann/a.wav")
    fs.cat("voice-a", recursive=True, on_error="omit")
    for cache_type in ("readahead", "bytes", "all", "blockcache", "background", "first"):
        with fs.open(D_PATH, cache_type=cache_type) as file:
            file.read()
    assert list(disk.rglob("*")) == []
    assert plaintext_in(own_home) == []
    assert plaintext_in(voice.root) == []


def test_the_detector_finds_plaintext(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"before" + FILES["ann/a.wav"])
    assert plaintext_in(tmp_path) == [tmp_path / "x"]
