"""A head that does not follow from the one that was seen is refused by readers, though it is no older."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference
from securedata.corpus.state.head import WRITES_KEPT, seal_head
from securedata.corpus.state.seen import recall
from securedata.errors import OlderGeneration, SupersededKey
from securedata.keys.kms import open_all
from securedata.keys.wraps import wrap_key
from securedata.storage.local import LocalStorage
from securedata.testing.memory import MemoryStorage
from tests.kit.cli.commandline import runner
from tests.kit.corpora.contents import look, open_quietly
from tests.kit.corpora.harmed import put_back
from tests.kit.corpora.recorded import Root, add_clips
from tests.kit.corpora.rows import fill, make, writer_of
from tests.kit.hooked import Hooked
from tests.kit.sources.recordings import clip

# ---------------------------------------------------------------------------------------------------- another line


@pytest.fixture(params=[1, 2])
def forked(
    root: Root, tmp_path: Path, request: pytest.FixtureRequest, elsewhere: Callable[[], None]
) -> Callable[[], int]:
    """On another machine the head of generation 2 is restored, and so many commits follow; returns the generation."""
    backup = (Path(root) / "head.prev").read_bytes()

    def fork() -> int:
        (Path(root) / "head").write_bytes(backup)
        (Path(root) / "head.prev").unlink()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", str(tmp_path / "theirs"))
            for number in range(request.param):
                add_clips(root, [clip(f"eve/{number}.wav", 0.1, seed=7 + number, speaker="eve")])
        return 2 + int(request.param)

    return fork


def test_a_head_of_another_line_is_refused_though_it_is_no_older(
    root: Root, reference: Reference, forked: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise what was committed on the line that this machine knows would be gone, and nobody would notice."""
    generation = forked()
    text = f"has generation {generation} but does not follow from generation 3, .*-generation {generation} "
    for act in (lambda: open_quietly(reference), lambda: writer_of(root.reference)):
        with pytest.raises(OlderGeneration, match=text):
            act()
    assert [one.error for one in verify(reference).findings] == ["OlderGeneration"]
    before = root.state_file.read_bytes()
    with open_quietly(reference, accept_generation=generation) as corpus:
        assert len(corpus) == generation - 1
        assert not corpus.refresh()
    assert root.state_file.read_bytes() == before
    done = runner(capsys)("verify", root, "--prune")
    assert done.code == 1
    assert "does not follow" in done.error
    assert writer_of(root.reference, accept_generation=generation).head.generation == generation
    assert len(open_quietly(reference)) == generation - 1, "a writer that accepts it resets what the machine knows"


@pytest.mark.parametrize("refresh", [True, False])
def test_a_pickle_and_an_opening_refuse_another_line_by_what_they_have_seen(
    root: Root, forked: Callable[[], int], refresh: bool, elsewhere: Callable[[], None]
) -> None:
    """Of the same generation, with other rows: the numbers of a sampler would mean other recordings, in silence."""
    elsewhere()
    with open_quietly(root.reference, refresh=refresh) as corpus:
        pickled = pickle.dumps(corpus)
        forked()
        with pytest.raises(OlderGeneration, match="does not follow"):
            corpus.refresh()
        assert corpus.table.column("path").to_pylist() == ["ann/0.wav", "ann/1.wav"]
        with pytest.raises(OlderGeneration, match="does not follow"):
            pickle.loads(pickled)


def test_a_writer_refuses_another_line_while_it_is_open(root: Root, forked: Callable[[], int]) -> None:
    writer = writer_of(root.reference)
    forked()
    head = (Path(root) / "head").read_bytes()
    for act in (writer.refresh, lambda: writer.commit(settings={"x": 1})):
        with pytest.raises(OlderGeneration, match="does not follow"):
            act()
    assert (Path(root) / "head").read_bytes() == head


def test_a_commit_so_old_that_no_head_tells_of_it_is_no_other_line(root: Root, elsewhere: Callable[[], None]) -> None:
    with open_quietly(root.reference) as corpus:
        elsewhere()
        writer = writer_of(root.reference)
        for number in range(WRITES_KEPT + 2):
            writer.commit(settings={"number": number})
        assert corpus.refresh()


def test_what_an_earlier_version_noted_is_known(root: Root, forked: Callable[[], int]) -> None:
    """Without a write id: an older head is refused, and the id is noted with the next writing."""
    file = root.state_file
    noted = json.loads(file.read_bytes())
    assert len(bytes.fromhex(noted.pop("write_id"))) == 16
    file.write_text(json.dumps(noted))
    writer_of(root.reference)
    forked()
    with pytest.raises(OlderGeneration, match="does not follow"):
        open_quietly(root.reference)
    file.write_text(json.dumps(noted))
    assert open_quietly(root.reference).generation >= 3
    put_back(root)
    file.write_text(json.dumps({**noted, "generation": 4}))
    with pytest.raises(OlderGeneration, match="4 was seen before"):
        open_quietly(root.reference)


def rotate(corpus: Reference, place: MemoryStorage) -> None:
    opened = look(corpus, place)
    head = opened.head.next(
        b"w" * 16,
        key_id=b"n" * 16,
        superseded=(*opened.head.superseded, opened.head.key_id),
        wraps=wrap_key(open_all(corpus.kms), b"R" * 32, opened.head.corpus_id),
    )
    place.replace("head", seal_head(head, b"R" * 32), opened.version)


@pytest.mark.parametrize("opens", [True, False])
def test_a_head_under_a_replaced_corpus_key_is_refused_with_its_number(opens: bool) -> None:
    place = MemoryStorage("memory://corpus")
    corpus = make(place)
    fill(writer_of(corpus, place), "a")
    old = look(corpus, place)
    rotate(corpus, place)
    writer_of(corpus, place)  # this machine sees it
    # somebody who kept the old key can forge a head of a later generation, though perhaps no wrap of that key
    forged = replace(old.head, generation=99, wraps=old.head.wraps if opens else ())
    place.objects["head"] = (bytes(seal_head(forged, old.key)), place.clock)
    text = r"--accept-generation 99 " if opens else r"cannot be accepted, since it does not open \(NoTrustedKey\)"
    with pytest.raises(SupersededKey, match=rf"a copy or a backup of the corpus\?.*{text}"):
        open_quietly(corpus, place)
    assert [one.error for one in verify(corpus, storage=place).findings] == ["SupersededKey"] if opens else True


# ------------------------------------------------------------------------------------------- what the machine is asked


class _Looked:
    """How often the state was looked up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0

        def counted(corpus_id: bytes, *_: Any) -> Any:
            self.times += 1
            return recall(corpus_id)

        monkeypatch.setattr("securedata.corpus.state.lease.recall_or_warn", counted)


def test_the_state_is_read_once_for_each_head(
    root: Root, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = _Looked(monkeypatch)
    with open_quietly(reference) as corpus:
        assert looked.times == 1
        corpus.read(0)
        again = pickle.loads(pickle.dumps(corpus))
        assert looked.times == 2
        again.close()


def test_a_commit_while_a_reader_opens_is_no_old_head(reference: Reference, root: Root) -> None:
    """The head that is given is noted as outgrown before it is looked at: the reader looks again."""
    storage = Hooked(LocalStorage(str(root)))

    def commit_once(call: str, key: str) -> None:
        if (call, key) == ("get_versioned", "head"):
            storage.after = lambda call, key: None
            add_clips(root, [clip("ann/2.wav", 0.1, seed=2)])

    storage.after = commit_once
    with open_quietly(reference, storage) as corpus:
        assert corpus.generation in (3, 4)  # without one pin the state is known only after the first look
        assert len(corpus) == corpus.generation - 1
        storage.after = commit_once
        corpus.refresh()
        assert corpus.generation in (4, 5)
