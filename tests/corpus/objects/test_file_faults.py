"""What fails below a file object is an error for whoever reads from it, C libraries included, and never short data."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import soundfile

from securedata.corpus.objects.file import READ_AHEAD, READ_WHOLE
from securedata.corpus.opening import open_corpus
from securedata.errors import AuthenticationFailed, NoSuchPath, ObjectMissing, SecuredataError
from securedata.filesystem import SecuredataFileSystem
from securedata.filesystem.file import IN_MEMORY, SecuredataFile
from securedata.storage.local import LocalStorage
from tests.conftest import FULL
from tests.kit.corpora.recorded import Root, flip_object, make_corpus, object_files
from tests.kit.readers import BY_PATH, READERS, SOUNDFILE
from tests.kit.sources.kinds import KINDS, every_kind, other_file
from tests.kit.sources.recordings import Clip


@pytest.fixture(autouse=True)
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Python printed because nobody could be told; soundfile's callbacks do so, and are sorted out."""
    seen: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: "cffi" in str(it.err_msg) or seen.append(it.err_msg))
    return seen


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return every_kind()


@pytest.fixture
def root(tmp_path: Path, clips: list[Clip]) -> Root:
    return make_corpus(tmp_path, clips)


@pytest.fixture
def fs(root: Root) -> SecuredataFileSystem:
    return fsspec.filesystem("securedata", root=str(root))


# ---------------------------------------------------------------------------------------------------------- faults


def _same(found: Any, expected: Any) -> bool:
    return np.array_equal(found, expected) if isinstance(expected, np.ndarray) else found == expected


def fails_or_is_right(read: Callable[[], Any], expected: Any) -> bool:
    """Whether it raised; what it gives otherwise must be right."""
    try:
        found = read()
    except Exception:  # noqa: BLE001 - each library has its own
        return True
    assert _same(found, expected)
    return False


@pytest.mark.parametrize("part", [0.2, 0.6, 0.9999] if FULL else [0.6])
@pytest.mark.parametrize("way", SOUNDFILE)
def test_a_flipped_byte_is_an_error_for_soundfile(
    fs: Any, root: Root, clips: list[Clip], way: str, part: float
) -> None:
    for clip in clips[: len(KINDS)]:
        expected = SOUNDFILE[way](fs.open(clip.path))
        flip_object(root, clip.path, part)
        assert fails_or_is_right(lambda path=clip.path: SOUNDFILE[way](fs.open(path)), expected), clip.path
        with open_corpus(root) as corpus:
            assert fails_or_is_right(lambda path=clip.path, c=corpus: SOUNDFILE[way](c.open(path)), expected), clip.path


@pytest.mark.parametrize("part", [0.2, 0.5, 0.6, 0.99] if FULL else [0.6])
def test_a_flipped_byte_is_an_error_for_other_readers(fs: Any, root: Root, part: float) -> None:
    expected = {name: read(fs.open(path)) for name, (path, read) in READERS.items()}
    by_path = {name: read(fs) for name, read in BY_PATH.items()}
    for path in {path for path, _ in READERS.values()}:
        flip_object(root, path, part)
    with open_corpus(root) as corpus:
        for name, (path, read) in READERS.items():
            assert fails_or_is_right(lambda r=read, p=path: r(fs.open(p)), expected[name]), name
            assert fails_or_is_right(lambda r=read, p=path: r(corpus.open(p)), expected[name]), name
    for name, read in BY_PATH.items():
        fails_or_is_right(lambda r=read: r(fs), by_path[name])


@pytest.mark.parametrize("cache_type", IN_MEMORY)
def test_every_cache_of_fsspec_passes_the_failure_on(fs: Any, root: Root, clips: list[Clip], cache_type: str) -> None:
    [data] = [clip.data for clip in clips if clip.path == "WAV.PCM_16"]
    expected, _ = soundfile.read(io.BytesIO(data))
    flip_object(root, "WAV.PCM_16")
    for read in SOUNDFILE.values():

        def opened(read: Callable[[Any], Any] = read) -> Any:
            return read(fs.open("WAV.PCM_16", block_size=65_536, cache_type=cache_type))

        assert fails_or_is_right(opened, expected)


class Later:
    """Does something to storage once a number of ranges were read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.deed = -1, lambda: None
        self.bytes = 0
        real = LocalStorage.get_ranges

        def get_ranges(storage: LocalStorage, key: str, wanted: Any) -> Any:
            if self.left == 0:
                self.deed()
            self.left -= 1
            found = real(storage, key, wanted)
            self.bytes += sum(len(one) for one in found)
            return found

        monkeypatch.setattr(LocalStorage, "get_ranges", get_ranges)

    def do(self, deed: Callable[[], object], after: int) -> None:
        self.left, self.deed = after, deed  # type: ignore[assignment]  # what it gives is of no use


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    return Later(monkeypatch)


@pytest.mark.parametrize("way", SOUNDFILE)
def test_an_object_that_goes_away_is_an_error(fs: Any, root: Root, clips: list[Clip], way: str, later: Later) -> None:
    for clip in clips[: len(KINDS)]:
        expected, _ = soundfile.read(io.BytesIO(clip.data))
        [stored] = object_files(root, clip.path)
        file = fs.open(clip.path)
        later.do(stored.unlink, after=1 if file._whole is False else 0)
        assert fails_or_is_right(lambda f=file: SOUNDFILE[way](f), expected)
        with pytest.raises(ObjectMissing):
            file.close()


@pytest.mark.parametrize("kind", ["WAV.PCM_16", "OGG.VORBIS", "WAV.MS_ADPCM"])
def test_keys_that_end_are_an_error(root: Root, kind: str, later: Later) -> None:
    with open_corpus(root, ttl=1.0, kms_wait=0) as corpus:
        file = corpus.open(kind)
        if kind == "WAV.PCM_16":
            assert file.read(44)[:4] == b"RIFF"
            file.seek(0)
        root.key_file.rename(root.key_file.with_suffix(".away"))
        time.sleep(1.1)
        with pytest.raises((soundfile.LibsndfileError, SecuredataError)):
            soundfile.read(file)
        with pytest.raises(SecuredataError):
            file.close()


# ------------------------------------------------------------------------------------------------ failed for good


@pytest.fixture(params=["filesystem", "corpus"])
def failed(request: pytest.FixtureRequest, fs: Any, root: Root) -> Iterator[Any]:
    """A file object that has failed, and whose first error was lost."""
    flip_object(root, "WAV.PCM_16", 0.5)
    with open_corpus(root) as corpus:
        file = fs.open("WAV.PCM_16") if request.param == "filesystem" else corpus.open("WAV.PCM_16")
        with contextlib.suppress(AuthenticationFailed):
            file.read()
        yield file


def test_every_later_call_raises(failed: Any) -> None:
    calls: list[Callable[[], object]] = [
        failed.read,
        lambda: failed.read(1),
        lambda: failed.read(0),
        lambda: failed.readinto(bytearray(1)),
        lambda: failed.seek(0),
        failed.tell,
        failed.readline,
        failed.readlines,
        lambda: next(failed),
        failed.close,
        failed.close,
        lambda: failed.seek(0, 2),
    ]
    for call in calls:
        with pytest.raises(AuthenticationFailed, match="chunk"):
            call()
    assert failed.closed


def test_leaving_a_with_block_raises(failed: Any) -> None:
    with pytest.raises(AuthenticationFailed), failed:
        pass
    assert failed.closed


def test_what_is_on_its_way_is_not_replaced(failed: Any) -> None:
    with pytest.raises(KeyError) as caught, failed:
        raise KeyError("mine")
    assert failed.closed
    assert "AuthenticationFailed" in caught.value.__notes__[0]
    with pytest.raises(AuthenticationFailed) as again, failed:
        failed.seek(0)
    assert not hasattr(again.value, "__notes__")


def test_the_error_does_not_gather_what_it_passes(failed: Any) -> None:
    def depth() -> int:
        with pytest.raises(AuthenticationFailed) as caught:
            failed.tell()
        return len(caught.traceback)

    assert depth() == depth() == depth()


def test_what_is_collected_says_nothing(fs: Any, root: Root, unraisable: list[Any]) -> None:
    flip_object(root, "WAV.PCM_16", 0.5)
    with open_corpus(root) as corpus:
        for make in (lambda: fs.open("WAV.PCM_16"), lambda: corpus.open("WAV.PCM_16")):
            for wrap in (lambda file: file, io.BufferedReader, lambda file: io.TextIOWrapper(file, "latin-1")):
                file = wrap(make())
                with contextlib.suppress(AuthenticationFailed):
                    file.read()
                del file
    gc.collect()
    assert unraisable == []


def test_an_interrupt_is_not_lost(fs: Any, later: Later) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    file = fs.open("WAV.PCM_16")
    later.do(interrupt, after=2)
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(file)
    with pytest.raises(KeyboardInterrupt):
        file.close()


def test_a_misuse_is_no_failure(fs: Any, root: Root) -> None:
    with open_corpus(root) as corpus, fs.open("WAV.PCM_16") as one, corpus.open("WAV.PCM_16") as two:
        for file in (one, two):
            with pytest.raises(ValueError, match=r"seek|Seek"):
                file.seek(-1)
            assert file.read(4) == b"RIFF"


def test_it_is_logged_once(fs: Any, root: Root, caplog: pytest.LogCaptureFixture) -> None:
    flip_object(root, "WAV.PCM_16", 0.5)
    file = fs.open("WAV.PCM_16")
    with caplog.at_level(logging.ERROR, "securedata"), contextlib.suppress(soundfile.LibsndfileError):
        soundfile.read(file)
        file.tell()
    [record] = [one for one in caplog.records if one.name.startswith("securedata")]
    assert "chunk" in record.getMessage()
    assert "WAV.PCM_16" not in record.getMessage()
    file._failure = None


@pytest.mark.parametrize("many", [False, True])
def test_a_download_that_fails_leaves_no_part(tmp_path: Path, many: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(5).bytes(700_000)
    root = make_corpus(tmp_path, [other_file("a/broken", data), other_file("a/whole", data)])
    flip_object(root, "a/broken", 0.9)
    fs = SecuredataFileSystem(root=str(root), allow_plaintext_export=True)
    monkeypatch.setattr(SecuredataFileSystem, "blocksize", 100_000, raising=False)
    here = tmp_path / "here"
    with pytest.raises(AuthenticationFailed):
        fs.get("a", str(here), recursive=True) if many else fs.get_file("a/broken", str(here / "broken"))
    assert [path.name for path in here.rglob("*") if path.name != "whole"] == []
    old = tmp_path / "old"
    old.write_bytes(b"what was there")
    old.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(old)
    for target in (old, link):
        with pytest.raises(AuthenticationFailed):
            fs.get_file("a/broken", str(target))
        assert old.read_bytes() == b"what was there"
    for target in (old, link):
        old.write_bytes(b"what was there")
        fs.get_file("a/whole", str(target))
        assert old.read_bytes() == data
        assert link.is_symlink()
        assert old.stat().st_mode & 0o777 == 0o640
    fs.get_file("a/whole", "/dev/null")
    with pytest.raises(NoSuchPath):
        fs.get_file("a/nothing", str(tmp_path / "new" / "x"))
    assert not (tmp_path / "new").exists()


# -------------------------------------------------------------------------------------------------- which bytes


def test_lossy_files_are_fetched_whole_at_the_first_read(fs: Any, root: Root, clips: list[Clip], later: Later) -> None:
    sizes = {clip.path: len(clip.data) for clip in clips}
    with open_corpus(root) as corpus:
        for kind in ("WAV.PCM_16", "WAV.FLOAT", "FLAC.PCM_16", "AIFF.PCM_16", "a.csv", "a.json"):
            for file in (fs.open(kind), corpus.open(kind)):
                later.bytes = 0
                file.read(44)
                assert later.bytes <= READ_AHEAD + 44 + 3 * 16_400 < sizes[kind], kind
        for kind in ("MP3.MPEG_LAYER_III", "OGG.OPUS", "WAV.MS_ADPCM", "WAV.GSM610", "PAF.PCM_24"):
            for file in (fs.open(kind), corpus.open(kind)):
                later.bytes = 0
                assert file.tell() == file.seek(0) == 0
                assert later.bytes == 0
                file.read(44)
                assert later.bytes > sizes[kind]
                later.bytes = 0
                file.seek(0)
                assert len(file.read()) == sizes[kind]
                assert later.bytes == 0


def test_what_asks_for_a_range_gets_a_range(
    fs: Any, clips: list[Clip], later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SecuredataFile, "DEFAULT_BLOCK_SIZE", 1_000)
    [data] = [clip.data for clip in clips if clip.path == "WAV.MS_ADPCM"]
    path = "WAV.MS_ADPCM"
    asked: dict[str, tuple[Callable[[], Any], Any]] = {
        "cat_file": (lambda: fs.cat_file(path, 10, 20), data[10:20]),
        "cat_ranges": (lambda: fs.cat_ranges([path], [10], [20]), [data[10:20]]),
        "head": (lambda: fs.head(path, 100), data[:100]),
        "tail": (lambda: fs.tail(path, 100), data[-100:]),
        "tail 0": (lambda: fs.tail(path, 0), b""),
        "tail all": (lambda: fs.tail(path, len(data) + 9)[-9:], data[-9:]),
        "block": (lambda: fs.read_block(path, 100, 50), data[100:150]),
        "block end": (lambda: fs.read_block(path, len(data) - 10, 50), data[-10:]),
    }
    for name, (call, expected) in asked.items():
        later.bytes = 0
        assert call() == expected, name
        if name != "tail all":
            assert later.bytes < len(data), name
    assert fs.read_block(path, 100, None) == data[100:]


def test_a_large_lossy_file_is_read_in_ranges(fs: Any, root: Root, later: Later, monkeypatch: Any) -> None:
    for module in ("securedata.corpus.objects.file",):
        monkeypatch.setattr(f"{module}.READ_WHOLE", 100_000)
    assert READ_WHOLE == 32 * 1024 * 1024
    with open_corpus(root) as corpus:
        for file in (fs.open("WAV.MS_ADPCM"), corpus.open("WAV.MS_ADPCM")):
            later.bytes = 0
            file.read(44)
            assert 0 < later.bytes < 400_000
