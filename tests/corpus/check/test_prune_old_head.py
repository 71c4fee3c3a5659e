"""A prune deletes what the head does not name: not by a head of which nobody knows whether it is the newest."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from securedata.corpus.check.prune import open_for_pruning, prune
from securedata.corpus.check.verify import verify
from securedata.corpus.home import state_dir
from securedata.corpus.state.head import seal_head
from securedata.corpus.state.seen import recall
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, KMSDenied, OlderGeneration, UnconfirmedGeneration
from securedata.keys.kms import open_all
from securedata.keys.local import create_key_file, uri_for
from securedata.keys.wraps import wrap_key
from tests.kit.cli.commandline import Run
from tests.kit.corpora.contents import files_of, look
from tests.kit.corpora.recorded import Root, add_clips, make_corpus
from tests.kit.corpora.rows import DAY
from tests.kit.sources.recordings import clip


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """A corpus of generation 4, whose objects a prune would delete if no head named them."""
    root = make_corpus(tmp_path, [clip("ann/0.wav", 0.1)])
    for number in (1, 2):
        shutil.copy(Path(root) / "head", tmp_path / f"head-{number + 1}")
        add_clips(root, [clip(f"ann/{number}.wav", 0.1, seed=number)])
    shutil.copy(Path(root) / "head", tmp_path / "head-4")
    age(root)
    return root


def age(root: Root) -> None:
    old = time.time() - 2 * DAY
    for path in files_of(root):
        os.utime(path, (old, old))


def put_back(root: Root, generation: int, key: str = "head") -> None:
    shutil.copy(Path(root).parent / f"head-{generation}", Path(root) / key)


def objects(root: Root) -> list[Path]:
    return files_of(Path(root) / "objects")


@pytest.mark.parametrize("back", [True, False])
def test_a_machine_that_has_not_seen_the_corpus_deletes_nothing(
    root: Root, back: bool, elsewhere: Callable[[], None], run: Run
) -> None:
    if back:
        put_back(root, 2)
        put_back(root, 2, "head.prev")
    before = {path: path.read_bytes() for path in files_of(root)}
    elsewhere()
    number = 2 if back else 4
    for _ in range(2):  # the first run notes nothing that would let the second one pass
        done = run("verify", root, "--prune", "-q")
        assert done.code == 1
        assert f"--accept-generation {number} " in done.error
        assert "XDG_STATE_HOME" in done.error
        assert {path: path.read_bytes() for path in files_of(root)} == before
        assert not state_dir().exists()
    wrong = run("verify", root, "--prune", "--accept-generation", number + 1)
    assert wrong.code == 2
    assert "it was not accepted" in wrong.err
    assert {path: path.read_bytes() for path in files_of(root)} == before


def test_who_confirms_the_generation_prunes_and_is_known_from_then_on(
    root: Root, elsewhere: Callable[[], None], run: Run
) -> None:
    elsewhere()
    done = run("verify", root, "--prune", "--accept-generation", 4)
    assert done.code == 0, done.err
    assert len(objects(root)) == 3
    seen = recall(root.reference.pins[0].corpus_id)
    assert seen
    assert seen.generation == 5  # of the horizon that it committed
    assert run("verify", root, "--prune").code == 0


def test_a_machine_that_knows_better_deletes_nothing(root: Root, run: Run) -> None:
    put_back(root, 2)
    done = run("verify", root, "--prune")
    assert done.code == 1
    assert "4 was seen before" in done.error
    assert len(objects(root)) == 3


@pytest.mark.parametrize("generation", [3, 4])
def test_a_later_head_beside_it_refuses_even_what_was_confirmed(
    root: Root, generation: int, elsewhere: Callable[[], None], run: Run
) -> None:
    put_back(root, 2)
    put_back(root, generation, "head.prev")
    elsewhere()
    done = run("verify", root, "--prune", "--accept-generation", 2)
    assert done.code == 1
    assert f"does not follow from head.prev, of generation {generation}" in done.error
    assert len(objects(root)) == 3
    again = run("verify", root, "--prune")  # what was accepted is known now, and changes nothing
    assert again.code == 1
    assert len(objects(root)) == 3
    (Path(root) / "head.prev").unlink()  # as the error says, for a corpus that was restored on purpose
    assert run("verify", root, "--prune").code == 0
    assert len(objects(root)) == 1


def test_a_former_head_that_is_too_large_says_what_to_do(root: Root, run: Run) -> None:
    with (Path(root) / "head.prev").open("wb") as file:
        file.truncate(2**30)
    done = run("verify", root, "--prune")
    assert done.code == 1
    assert "head.prev" in done.error
    assert "delete it, and run this again" in " ".join(done.error.split())
    (Path(root) / "head.prev").unlink()
    assert run("verify", root, "--prune").code == 0


def test_a_machine_of_an_older_state_is_stopped_by_the_later_head(root: Root, run: Run) -> None:
    """It has seen generation 2 once, and is given that again."""
    file = state_dir() / "seen" / f"{root.reference.pins[0].corpus_id.hex()}.json"
    file.write_text('{"generation": 2, "superseded": []}')
    put_back(root, 2)
    put_back(root, 4, "head.prev")
    assert run("verify", root, "--prune").code == 1
    assert len(objects(root)) == 3


def test_commits_on_an_old_head_do_not_hide_the_later_ones(root: Root) -> None:
    """As on a bucket with versions, where the heads that were replaced are still there."""
    put_back(root, 2)
    writer = Writer(root.reference, accept_generation=2)
    for number in range(3):
        writer.commit(settings={"number": number})
    put_back(root, 4, "head.prev")
    with pytest.raises(OlderGeneration, match=r"generation 5 but does not follow from head\.prev, of generation 4"):
        prune(open_for_pruning(root.reference))
    put_back(root, 2, "head.prev")  # one that it does follow from
    assert len(prune(open_for_pruning(root.reference)).deleted) > 0


def test_a_python_caller_is_held_to_it_as_well(root: Root, elsewhere: Callable[[], None]) -> None:
    elsewhere()
    with pytest.raises(UnconfirmedGeneration, match="--accept-generation 4 "):
        open_for_pruning(root.reference)
    with pytest.raises(UnconfirmedGeneration):
        prune(Writer(root.reference))  # an ingest may open it for the first time; a prune may not
    with pytest.raises(InvalidArgument, match="not 3"):
        open_for_pruning(root.reference, accept_generation=3)
    assert prune(open_for_pruning(root.reference, accept_generation=4)).deleted == set()


def rotated(root: Root) -> bytes:
    """A head under a fresh corpus key, of generation 5, as a rotation makes it."""
    opened = look(root.reference)
    head = opened.head.next(
        b"w" * 16,
        key_id=b"n" * 16,
        superseded=(opened.head.key_id,),
        wraps=wrap_key(open_all(root.reference.kms), b"R" * 32, opened.head.corpus_id),
    )
    return bytes(seal_head(head, b"R" * 32))


def test_a_later_head_under_a_later_corpus_key_counts(root: Root) -> None:
    (Path(root) / "head.prev").write_bytes(rotated(root))
    with pytest.raises(OlderGeneration, match=r"head\.prev, of generation 5"):
        prune(open_for_pruning(root.reference))
    assert len(objects(root)) == 3


def test_a_later_head_that_this_caller_may_not_open_stops_it(root: Root, tmp_path: Path) -> None:
    create_key_file(tmp_path / "other.kek")
    opened = look(root.reference)
    wraps = wrap_key(open_all([uri_for(tmp_path / "other.kek")]), b"R" * 32, opened.head.corpus_id)
    mine = replace(opened.head.wraps[0], blob=wraps[0].blob)
    head = opened.head.next(b"w" * 16, key_id=b"n" * 16, wraps=(mine,))
    (Path(root) / "head.prev").write_bytes(bytes(seal_head(head, b"R" * 32)))
    with pytest.raises(KMSDenied):
        prune(open_for_pruning(root.reference))


def test_what_a_past_reader_can_forge_beside_the_head_stops_nothing(root: Root) -> None:
    """A head under the corpus key of before a rotation, of any generation."""
    old = look(root.reference)
    (Path(root) / "head").write_bytes(rotated(root))
    forged = replace(old.head, generation=99)
    (Path(root) / "head.prev").write_bytes(bytes(seal_head(forged, old.key)))
    assert prune(open_for_pruning(root.reference)).deleted == set()


@pytest.mark.parametrize("data", [b"", b"garbage", None])
def test_what_is_no_head_stops_nothing(root: Root, data: bytes | None, tmp_path: Path) -> None:
    other = make_corpus(tmp_path, [clip("bob/0.wav", 0.1)], "voice-b")
    (Path(root) / "head.prev").write_bytes((Path(other) / "head").read_bytes() if data is None else data)
    assert prune(open_for_pruning(root.reference)).deleted == set()
    cut = (Path(root) / "head").read_bytes()[:-5]
    (Path(root) / "head.prev").write_bytes(cut)  # by a crash
    assert prune(open_for_pruning(root.reference)).deleted == set()
    assert verify(root.reference).ok
