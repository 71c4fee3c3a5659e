"""Erasures that meet a hold: the others are erased, the held are restricted, and the end of the hold lets them go."""

from __future__ import annotations

from pathlib import Path

import pytest

import securedata as sd
from securedata.corpus.config import Reference, resolve
from securedata.corpus.state.head import Head
from securedata.corpus.writer import Writer
from securedata.lifecycle.erasure.erase import Options, erase
from securedata.lifecycle.erasure.preview import preview
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.holds.hold import add_hold, release_hold
from securedata.lifecycle.receipt.operator import Operator
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, look, open_quietly
from tests.kit.corpora.recorded import Root


def opened(corpus: Reference, place: MemoryStorage) -> set[str]:
    return set(open_quietly(corpus, place).table.column("path").to_pylist())


def names(head: Head, writer: Writer, *people: str) -> list[str]:
    from securedata.keys.tags import Tagger

    tagger = Tagger(head.secret)
    return [name for name in people if tagger.tag(name) in {one.tag for one in head.restricted}]


def test_a_batch_erases_the_others_and_restricts_the_held(
    corpus: Reference, place: MemoryStorage, people: Writer
) -> None:
    add_hold(people, "ann", "7")
    request = Request("subject", names=("ann", "bob", "cid"), reference="REQ-7", received="2026-11-30")
    erased = erase(people, request)
    assert sorted(erased.commit.held) == ["ann/1", "ann/2", "both/1"]
    assert (erased.commit.rows, erased.commit.restricted) == (1, 2)
    assert erased.receipt is not None
    assert sorted(current(corpus, place)) == ["ann/1", "ann/2", "bob/1", "both/1"]
    assert opened(corpus, place) == set(), "nor what is of bob alone, whose erasure waits, too"
    head = look(corpus, place).head
    assert names(head, people, "ann", "bob", "cid") == ["ann", "bob"]
    assert {(one.request, one.received) for one in head.restricted} == {("REQ-7", "2026-11-30")}
    assert erase(people, request).commit.restricted == 0, "which is recorded already"
    waiting = release_hold(people, "7", subject="ann").waiting
    assert sorted(str(one.subject) for one in waiting) == ["ann", "bob"]
    assert opened(corpus, place) == set()
    erase(people, Request("subject", names=("ann", "bob"), reference="REQ-7"), Options(all_rows=4))
    head = look(corpus, place).head
    assert (current(corpus, place), head.restricted, head.holds) == ({}, (), ())


def test_who_shares_a_recording_with_a_held_person(corpus: Reference, place: MemoryStorage, people: Writer) -> None:
    add_hold(people, "ann", "7")
    erased = erase(people, Request("subject", names=("bob",), reference="REQ-8"))
    assert (erased.commit.rows, erased.commit.held, erased.commit.restricted) == (0, ("both/1",), 1)
    assert erased.receipt is None, "one for a part would say too much"
    assert opened(corpus, place) == {"ann/1", "ann/2", "cid/1"}
    release_hold(people, "7", subject="ann")
    erased = erase(people, Request("subject", names=("bob",), reference="REQ-8"))
    assert (erased.commit.rows, erased.commit.held) == (2, ())
    assert look(corpus, place).head.restricted == ()
    assert opened(corpus, place) == {"ann/1", "ann/2", "cid/1"}


@pytest.mark.parametrize(
    "request_",
    [Request("path", paths=("ann/1",)), Request("consent", consents=("C1",)), Request("expired", now=1e12)],
    ids=lambda one: one.kind,
)
def test_other_requests_take_nothing_of_a_held_person(
    corpus: Reference, place: MemoryStorage, people: Writer, request_: Request
) -> None:
    add_hold(people, "ann", "7")
    before = current(corpus, place)
    erase(people, request_)
    after = current(corpus, place)
    assert {path: row for path, row in after.items() if "ann" in row["subjects"]} == {
        path: row for path, row in before.items() if "ann" in row["subjects"]
    }


def test_the_end_of_a_corpus_leaves_what_a_hold_keeps(corpus: Reference, place: MemoryStorage, people: Writer) -> None:
    add_hold(people, "ann", "7")
    erased = erase(people, Request("all", reference="REQ-9"))
    assert (erased.commit.rows, sorted(erased.commit.held)) == (2, ["ann/1", "ann/2", "both/1"])
    assert erased.receipt is not None
    head = look(corpus, place).head
    assert names(head, people, "ann", "bob", "cid") == ["ann"], "of bob all but the shared recording is gone"
    assert opened(corpus, place) == set()


def test_a_dry_run_shows_what_would_stay(people: Writer) -> None:
    add_hold(people, "ann", "7")
    found = preview(people, Request("subject", names=("ann", "bob", "cid")))
    assert (found.paths, sorted(found.held), found.kept) == (("cid/1",), ["ann/1", "ann/2", "both/1"], ("ann", "bob"))
    assert ({name for name, _ in found.facts.consents}, found.absent) == ({"cid"}, ())
    found = preview(people, Request("consent", consents=("C1", "C2")))
    assert (found.paths, found.held, found.absent) == (("cid/1",), ("ann/1", "ann/2"), ())
    found = preview(people, Request("path", paths=("ann", "bob/1")))
    assert (found.paths, found.held, found.absent) == (("bob/1",), ("ann/1", "ann/2"), ())


def test_what_is_held_here_stays_in_corpora_made_from_it(root: Root, tmp_path: Path, operator: Operator) -> None:
    sd.retain(root, tmp_path / "features", features="log-mel", sample_rate=16_000, workers=0)
    made = resolve(str(tmp_path / "features"))
    before = current(made)
    add_hold(Writer(root.reference), "ann", "7")
    erased = erase(Writer(root.reference), Request("subject", names=("ann",)))
    assert (erased.commit.restricted, [one.state for one in erased.derived]) == (1, ["not reached"])
    assert current(made) == before
    erased = erase(Writer(root.reference), Request("subject", names=("ann", "bob")), Options(all_rows=len(before)))
    assert [one.state for one in erased.derived] == ["erased"]
    assert {path.partition("/")[0] for path in current(made)} == {"ann"}
    assert {path.partition("/")[0] for path in current(root.reference)} == {"ann"}
