"""One opening per process; pickles and printed options hold references only."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

from securedata.corpus.config import Reference, drop_entry, write_entry
from securedata.corpus.opening import UnpinnedWarning, open_corpus
from securedata.errors import (
    RowReplaced,
)
from securedata.filesystem import SecuredataFileSystem, opened
from tests.filesystem.corpus import FILES, Voice, unwraps


def test_instances_and_threads_share_one_opening(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    openings = []

    def slow(*args: Any, **kwargs: Any) -> Any:
        openings.append(args)
        time.sleep(0.2)  # time for the other threads to come
        return open_corpus(*args, **kwargs)

    monkeypatch.setattr(opened, "open_corpus", slow)

    def read(_: int) -> bytes:
        with fsspec.open("securedata://voice-a/ann/a.wav") as file:
            return file.read()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, range(32))) == {FILES["ann/a.wav"]}
    fsspec.filesystem("securedata", root="voice-a", skip_instance_cache=True).ls("")
    assert len(openings) == 1
    assert unwraps(voice.reference) == 1


def test_a_missing_pin_warns_once(voice: Voice, tmp_path: Path) -> None:
    drop_entry(voice.reference.name)
    write_entry("loose", Reference(str(voice.root), "loose", voice.reference.kms))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            fs = fsspec.filesystem("securedata", skip_instance_cache=True)
            fs.cat_file("loose/ann/a.wav")
            fs.ls("loose")
        fs.invalidate_cache()
    assert [warning.category for warning in caught] == [UnpinnedWarning]
    assert str(voice.reference.pins[0]) in str(caught[0].message)


def test_to_json_and_back(voice: Voice) -> None:
    fs = fsspec.filesystem("securedata", root=str(voice.root), kms=list(voice.reference.kms), profile="trainer")
    fs.cat_file("ann/a.wav")
    content = json.loads(fs.to_json())
    assert content == {
        "cls": "securedata.filesystem.spec:SecuredataFileSystem",
        "protocol": "securedata",
        "args": [],
        "root": str(voice.root),
        "kms": list(voice.reference.kms),
        "profile": "trainer",
    }
    again = fsspec.AbstractFileSystem.from_json(fs.to_json())
    assert again.cat_file("ann/a.wav") == FILES["ann/a.wav"]


def _secrets(voice: Voice) -> dict[str, bytes]:
    corpus = opened.corpus_of(voice.reference)
    return {
        "data key": bytes(corpus.index.key(corpus.find("ann/a.wav"))),
        "corpus secret": voice.writer.head.secret,
        "key file": Path(voice.reference.kms[0].removeprefix("local://")).read_bytes()[-32:],
        "transcript": b"every word",
        "plaintext": FILES["ann/a.wav"][44:76],
    }


def test_pickles_carry_references_only(voice: Voice, fs: SecuredataFileSystem) -> None:
    fs.cat_file("voice-a/ann/a.wav")
    file = fs.open("voice-a/ann/a.wav")
    file.read(100)
    opener = fsspec.open("securedata://voice-a/ann/a.wav")
    mapper = fs.get_mapper("voice-a")
    for thing in (fs, file, opener, mapper, fs.__dict__["storage_options"]):
        pickled = pickle.dumps(thing)
        assert len(pickled) < 1000
        for name, secret in _secrets(voice).items():
            assert secret not in pickled, name
    assert pickle.loads(pickle.dumps(fs)) is fs  # fsspec's instance cache
    again = pickle.loads(pickle.dumps(file))
    assert again.tell() == 100
    assert again.read() == FILES["ann/a.wav"][100:]
    assert (again.cache.name, again.blocksize) == (file.cache.name, file.blocksize)
    assert again == file
    with pickle.loads(pickle.dumps(opener)) as other:
        assert other.read() == FILES["ann/a.wav"]


def test_a_pickled_file_that_was_replaced(voice: Voice, fs: SecuredataFileSystem) -> None:
    pickled = pickle.dumps(fs.open("voice-a/ann/a.wav"))
    voice.add({"ann/a.wav": b"another recording"})
    fs.invalidate_cache()
    with pytest.raises(RowReplaced, match="replaced after it was opened") as raised:
        pickle.loads(pickled)
    assert raised.value.path == "voice-a/ann/a.wav"


def test_reprs_hold_no_path_and_no_plaintext(fs: SecuredataFileSystem) -> None:
    with fs.open("voice-a/ann/a.wav") as file:
        file.read(1000)
        for text in (repr(file), str(file)):
            assert text == f"<SecuredataFile of {len(FILES['ann/a.wav'])} bytes, at 1000>"
    assert "voice-a" not in repr(fs)


def _child(read: Callable[[], bytes], queue: Any) -> None:
    content = read()
    (corpus,) = [slot.corpus for slot in opened._slots.values() if slot.corpus]
    queue.put((content, corpus.counters.unwraps))


def test_a_forked_process_reads_on_with_its_parents_opening(voice: Voice, fs: SecuredataFileSystem) -> None:
    file = fs.open("voice-a/bob/c.wav")
    assert unwraps(voice.reference) == 1
    context = multiprocessing.get_context("fork")
    readers = [
        lambda: fs.cat_file("voice-a/ann/a.wav"),  # the parent's instance
        lambda: fsspec.open("securedata://voice-a/ann/a.wav").open().read(),  # a new one: fsspec's cache is emptied
        file.read,
    ]
    for read, wanted in zip(readers, ("ann/a.wav", "ann/a.wav", "bob/c.wav"), strict=True):
        queue = context.SimpleQueue()
        child = context.Process(target=_child, args=(read, queue))
        child.start()
        assert queue.get() == (FILES[wanted], 0)  # it asked no KMS
        child.join()
        assert child.exitcode == 0


def test_a_fork_while_another_thread_opens(voice: Voice, fs: SecuredataFileSystem) -> None:
    # the child must not wait for a lock whose holder it does not have
    slot = opened._slot(voice.reference)
    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with slot.lock:
            held.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        held.wait(60)
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        child = context.Process(target=_child, args=(lambda: fs.cat_file("voice-a/ann/a.wav"), queue))
        child.start()
        child.join(30)
        hung = child.is_alive()
        if hung:
            child.kill()
            child.join()
        assert not hung
        assert queue.get() == (FILES["ann/a.wav"], 1)
    finally:
        leave.set()
        thread.join()


def _read_elsewhere(file: Any, fs: Any) -> tuple[bytes, bytes]:
    return file.read(), fs.cat_file("voice-a/ann/b.flac")


def test_a_spawned_process_opens_for_itself(fs: SecuredataFileSystem) -> None:
    file = fs.open("voice-a/ann/a.wav")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_read_elsewhere, (file, fs)) == (FILES["ann/a.wav"], FILES["ann/b.flac"])
