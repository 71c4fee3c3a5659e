"""What a machine remembers of a corpus: it never goes back, and a damaged memory is told."""

from __future__ import annotations

import multiprocessing
import random
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.home import state_dir
from securedata.corpus.state.head import Head
from securedata.corpus.state.seen import recall, remember
from securedata.corpus.writer import Writer
from securedata.errors import ConfigError
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.rows import writer_of

pytestmark = pytest.mark.usefixtures("no_waiting")


def test_what_was_seen_never_goes_back(corpus: Reference, place: MemoryStorage, writer: Writer) -> None:
    head = writer.head
    generations = list(range(2, 40))
    random.Random(1).shuffle(generations)

    def note(some: list[int]) -> None:
        for generation in some:
            remember(replace(head, generation=generation))

    errors: list[BaseException] = []

    def run(some: list[int]) -> None:
        try:
            note(some)
        except BaseException as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(generations[at::6],)) for at in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    seen = recall(head.corpus_id)
    assert seen
    assert seen.generation == 39
    assert [path.name for path in (state_dir() / "seen").iterdir() if ".tmp" in path.name] == []


def _note(head: Head, generations: list[int]) -> None:
    for generation in generations:
        remember(replace(head, generation=generation))


def test_what_was_seen_never_goes_back_between_processes(
    corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    context = multiprocessing.get_context("fork")
    generations = list(range(2, 400))
    random.Random(1).shuffle(generations)
    processes = [context.Process(target=_note, args=(writer.head, generations[at::4])) for at in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    seen = recall(writer.corpus_id)
    assert seen
    assert seen.generation == 399


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"generation": "x", "superseded": []}', "[" * 100_000])
def test_a_damaged_memory_is_told_and_not_forgotten(
    text: str, corpus: Reference, place: MemoryStorage, writer: Writer
) -> None:
    (file,) = (path for path in (state_dir() / "seen").iterdir() if path.suffix == ".json")
    file.write_text(text)
    with pytest.raises(ConfigError, match="delete it to forget what was seen") as caught:
        writer_of(corpus, place)
    assert str(file) in str(caught.value)


def test_a_state_folder_that_cannot_be_written_is_told_at_once(
    corpus: Reference, place: MemoryStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="XDG_STATE_HOME"):
        writer_of(corpus, place)
