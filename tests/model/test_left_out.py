"""Each rule of the model is needed: without it the exploration finds what it prevents."""

from __future__ import annotations

import pytest

from tests.model.rules import RULES
from tests.model.scenarios import run

NEEDED = {
    "tombstone at every try": ("erase ann + ingest ann", "names ['new'] of somebody erased"),
    "horizon at every try": ("ingest bob + prune + days", "not on storage"),
    "horizon first": ("ingest bob + prune + days", "not on storage"),
    "a day": ("remove ann + prune + read", "RowReplaced within a day"),
    "leaving list": ("erase ann", "are on no list"),
    "every listed part": ("merge + erase ann", "which holds keys of the rows, is on storage"),
    "fresh key": ("erase ann", "opens with today's corpus key"),
    "commit first": ("erase ann", "the head names ['ann-1', 'part-ann-1'], not on storage"),
    "old heads": ("erase ann", "an older version of the head names the rows"),
    "listing order": ("erase ann", "an older version of the head names the rows"),
    "old parts": ("erase ann", "part-past-ann-0, which holds keys of the rows, is on storage"),
    "draft": ("erase ann", "0 open drafts and 0 final receipts"),
    "open list": ("erase ann + prune + a day", "no list names them"),
    "finish drafts": ("erase ann", "a draft is open, though everybody has ended"),
    "verify": ("erase ann on deaf storage", "as deleted, which are on storage"),
    "receipt first": ("erase ann", "a receipt of draft@1 that nobody wrote"),
    "still open": ("erase ann + erase ann", "2 final receipts"),
    "hold at every try": ("erase ann + hold ann", "ann-1 left while its person was held"),
    "hold in leaves": ("retain ann + erase ann + hold ann", "kept-ann-1 left while its person was held"),
    "hold before leaves": ("retain ann + erase ann + hold ann", "kept-ann-1 left while its person was held"),
    "bar": ("erase a consent + ingest ann", "the head names rows of somebody erased"),
    "selected anew": ("erase ann + ingest ann", "names ['new'] of somebody erased"),
    "compare and swap": ("re-encrypt ann + remove ann", "ann-1 came back by Reencrypt"),
    "swapped object leaves": ("re-encrypt ann", "are on no list"),
    "explained after": ("read + erase ann", "ObjectMissing"),
    "refresh": ("read + erase ann", "a sample of an erased person"),
    "register first": ("retain ann + erase ann", "does not mention derived corpus 1"),
    "registry at every try": ("retain ann + erase ann", "does not mention derived corpus 1"),
    "leaves of the erased": (
        "retain ann + erase ann + erase the source only",
        "a draft is open, though everybody has ended",
    ),
    "tombstone in leaves": ("retain ann + erase ann", "does not mention derived corpus 1"),
    "unreached in the draft": ("retain ann + erase the source only", "does not mention derived corpus 1"),
    "unreached is noted": (
        "retain ann + erase the source only",
        "no note says that derived corpus 1",
    ),
    "noted until erased": (
        "retain ann + erase the source only + reach ann",
        "no note says that derived corpus 1",
    ),
    "tombstone by tag": (
        "retain ann + erase the source only + reach ann",
        "no note says that derived corpus 1",
    ),
    "read after registering": ("retain ann + erase ann", "does not mention derived corpus 1"),
}
"""Of each rule the actors that need it, and the fault."""

COVERED = {"delete again": "verify", "every version": "verify"}
"""Rules whose breach the verification before the receipt notices; without that too, a receipt lies."""


@pytest.mark.parametrize("rule", NEEDED)
def test_without_a_rule_there_is_a_fault(rule: str) -> None:
    actors, fault = NEEDED[rule]
    for crashes in (0, 1):  # without a crash the way is shorter
        if found := run(actors, crashes=crashes, without=(rule,)).fault:
            assert fault in found.what
            assert found.way
            return
    pytest.fail(f"{actors} do not need the rule '{rule}'")


@pytest.mark.parametrize("rule", COVERED)
def test_the_verification_covers_for_a_rule(rule: str) -> None:
    found = run("erase ann", without=(rule,)).fault
    assert not found or "nobody comes to an end" in found.what
    found = run("erase ann", without=(rule, COVERED[rule])).fault
    assert found
    assert "as deleted, which are on storage" in found.what


def test_every_rule_is_left_out_once() -> None:
    assert NEEDED.keys() | COVERED.keys() == RULES.keys()


def test_asking_the_source_is_no_stand_in_for_a_tombstone_in_the_derived_corpus() -> None:
    """The source can be erased between the question and the commit to the derived corpus: no put binds both."""
    found = run("retain ann, asking + erase ann", crashes=0, without=("tombstone in leaves",)).fault
    assert found
    assert "does not mention derived corpus 1" in found.what
