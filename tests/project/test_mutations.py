"""The suites bite: each line of defence is taken out in turn, and the check that guards it must fail."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from securedata.corpus.check import verification
from securedata.corpus.config import Reference
from securedata.corpus.rows import match, plan
from securedata.corpus.rows.changes import Changes
from securedata.corpus.state import commit, retired
from securedata.corpus.state.commit import Transaction
from securedata.corpus.state.head import Head
from securedata.corpus.state.live import LiveParts
from securedata.corpus.writer import Writer
from securedata.errors import ConfigError, CorpusGone, SecuredataError, StorageUnreachable
from securedata.format import cobblestone, sealed
from securedata.format.cobblestone import CHUNK, PREFIX, SEALED_CHUNK
from securedata.format.header import FIXED
from securedata.keys import wraps
from securedata.testing.memory import MemoryStorage
from tests.corpus import test_bad_corpus
from tests.corpus.state import test_commit, test_commit_replayed
from tests.format import test_bad_input
from tests.keys import test_wraps
from tests.kit.corpora.harmed import two_corpora
from tests.kit.corpora.rows import fill, make
from tests.kit.schedules.roles import Role, clock, erase, hold, ingest, remove, sweep
from tests.kit.schedules.scenarios import act_out, begin, explore

AWAY = StorageUnreachable
FAILS = (AssertionError, SecuredataError, pytest.fail.Exception)
Patch = Callable[[pytest.MonkeyPatch], object]
Check = Callable[[], object]


# ---------------------------------------------------------------------------------------------- what may be taken out


def no_commitment(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cobblestone, "hmac", SimpleNamespace(compare_digest=lambda one, other: True))


def a_full_last_chunk(patch: pytest.MonkeyPatch) -> None:
    def plain_size(message: int) -> int | None:
        full, rest = divmod(message - PREFIX, SEALED_CHUNK)
        return full * CHUNK if full and not rest else cobblestone.plain_size(message)

    patch.setattr(sealed, "_message_plain_size", plain_size)


def no_object_id(patch: pytest.MonkeyPatch) -> None:
    real = sealed._check
    patch.setattr(sealed, "_check", lambda header, expect: real(header, expect._replace(object_id=None)))


def no_wiping(patch: pytest.MonkeyPatch) -> None:
    def open_chunks(message: Any, first: int, data: memoryview, out: memoryview, expect: Any) -> None:
        try:
            message.open_chunks(first, data, out)
        except cobblestone.ChunkInvalid as error:
            text = f"chunk {error.index} of {expect.name}; changed"
            raise sealed.AuthenticationFailed(text, root=expect.root, object_id=expect.object_id) from error

    patch.setattr(sealed, "open_chunks", open_chunks)


def context_from_storage(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wraps, "context_for", lambda corpus_id: {"securedata:corpus": "what the head says"})


def no_pin_for_writers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reference, "require_pin", lambda self: None)


def half_a_pin(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("securedata.corpus.state.head.check_secret", lambda *_: None)


def no_staleness(patch: pytest.MonkeyPatch) -> None:
    real = plan.make_plan
    patch.setattr(commit, "make_plan", lambda head, changes, load: real(head, replace(changes, put_times={}), load))


def old_parts(patch: pytest.MonkeyPatch) -> None:
    real = Transaction.write

    def write(self: Transaction[Any], head: Head, *planned: Any) -> Any:
        self._made_under = head.horizon
        return real(self, head, *planned)

    patch.setattr(Transaction, "write", write)


def planned_once(patch: pytest.MonkeyPatch) -> None:
    real, first = plan.make_plan, {}

    def make_plan(head: Head, changes: Changes, load: Any) -> Any:
        return first.setdefault(id(changes), (changes, real(head, changes, load)))[1]

    patch.setattr(commit, "make_plan", make_plan)


def no_tombstones(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plan, "refused", lambda head, add: [])


def no_holds(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plan, "held", lambda head, view: frozenset())


def nothing_listed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plan, "_retired_objects", lambda view, drop: [])


def due_at_once(patch: pytest.MonkeyPatch) -> None:
    for module in (retired, commit, verification):
        patch.setattr(module, "due", lambda head, now: [*head.retired])


def content_does_not_matter(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(match, "_IDENTITY", ())


def horizon_kept_to_itself(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Writer, "commit_horizon", lambda self: replace(self.head, horizon=self.storage.now() - retired.DELAY))


def doubt_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Transaction, "in_doubt", property(lambda self: False, lambda self, value: None), raising=False)


def a_refusal_believed(patch: pytest.MonkeyPatch) -> None:
    real = Transaction._replace

    def replaced(self: Transaction[Any], *given: Any) -> bool:
        done = real(self, *given)
        if not done and self._failure is None:
            self._replacing, self.in_doubt = None, False
        return done

    patch.setattr(Transaction, "_replace", replaced)
    what_a_head_names_discarded(patch)


def what_a_head_names_discarded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LiveParts, "named", lambda self, head, object_ids: set())


def a_new_id_taken_by_others(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(commit, "put_once", lambda storage, key, pieces: (storage.put_new(key, pieces), None))


# ----------------------------------------------------------------------------------------------- and what notices it


def in_memory(check: Callable[[Reference, MemoryStorage], object], *paths: str) -> Check:
    def run() -> None:
        place = MemoryStorage()
        corpus = make(place)
        if paths:
            fill(Writer(corpus, storage=place), *paths)
        check(corpus, place)

    return run


def scripted(roles: Callable[[], list[Role]], *script: tuple[str, str]) -> Check:
    return lambda: act_out(begin(), roles(), script)


def explored(scenario: str, preemptions: int, faults: int = 0) -> Check:
    return lambda: explore(begin(), scenario, preemptions, faults)


A, B, T, P = ("A", ""), ("B", ""), ("T", ""), ("P", "")

MUTANTS: list[tuple[Patch, Check]] = [
    (no_commitment, lambda: test_bad_input.test_every_flip_in_header_salt_and_commitment(FIXED + 30)),
    (a_full_last_chunk, test_bad_input.test_a_message_that_ends_after_a_full_chunk_was_cut),
    (no_object_id, lambda: test_bad_input.test_every_flip_in_header_salt_and_commitment(50)),
    (no_wiping, test_bad_input.test_flips_in_the_first_and_the_last_chunk),
    (context_from_storage, test_wraps.test_the_context_comes_from_the_corpus_id_and_from_nowhere_else),
    (no_pin_for_writers, in_memory(test_commit.test_writing_needs_the_pin_before_any_call)),
    (
        half_a_pin,
        lambda: test_bad_corpus.test_a_corpus_made_anew_with_the_same_id_is_refused_by_the_pin(two_corpora()),
    ),
    (planned_once, explored("two ingests", 1)),
    (content_does_not_matter, explored("conflict", 0)),
    (nothing_listed, explored("removed and recorded again", 0)),
    (due_at_once, explored("removed and recorded again", 0)),
    (
        no_tombstones,
        scripted(lambda: [ingest("A", "bob/new", subjects=["bob"]), erase("B", "bob")], ("A", "get_versioned"), B, A),
    ),
    (no_holds, scripted(lambda: [hold("A", "ann", "7"), remove("B", "old/2")], ("B", "replace"), A, B)),
    # objects that are put, a day and a half, and a prune before their commit goes on
    (no_staleness, scripted(lambda: [ingest("A", "a"), clock(), sweep("P")], ("A", "replace"), T, P, A)),
    # the same with a part, which a removal writes before its head
    (old_parts, scripted(lambda: [remove("A", "old/1"), clock(), sweep("P")], ("A", "replace"), T, P, A)),
    # a prune that has listed, and a commit of what it is about to delete
    (
        horizon_kept_to_itself,
        scripted(
            lambda: [ingest("A", "a"), clock(), sweep("P")],
            ("A", "get_versioned"),
            ("A", "put_new m"),
            T,
            ("P", "delete"),
            A,
            P,
        ),
    ),
    (
        doubt_forgotten,
        in_memory(
            partial(test_commit_replayed.test_what_nobody_could_look_for_is_neither_deleted_nor_committed_again, AWAY),
            "kept/1",
            "kept/2",
        ),
    ),
    (a_refusal_believed, explored("two ingests", 0, 1)),
    (a_new_id_taken_by_others, explored("two ingests", 0, 1)),
    (
        what_a_head_names_discarded,
        in_memory(test_commit_replayed.test_no_way_to_a_discard_deletes_what_the_head_names, "kept/1", "kept/2"),
    ),
]


@pytest.fixture(autouse=True)
def as_in_the_interleavings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "_sleep", lambda seconds: None)
    monkeypatch.setattr(plan, "MERGE_AT", 3)


@contextmanager
def own_home() -> Iterator[None]:
    """Both runs make the same corpora."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for name in ("CONFIG", "DATA", "STATE"):
            patch.setenv(f"XDG_{name}_HOME", f"{folder}/{name}")
        yield


@pytest.mark.parametrize(("mutation", "check"), MUTANTS, ids=[one.__name__ for one, _ in MUTANTS])
def test_what_is_taken_out_is_noticed(mutation: Patch, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    with own_home():
        check()  # a check that fails anyway would prove nothing
    with own_home(), monkeypatch.context() as patch:
        mutation(patch)
        with pytest.raises(FAILS) as caught:
            check()
    assert not isinstance(caught.value, CorpusGone | ConfigError), "it failed for another reason"
