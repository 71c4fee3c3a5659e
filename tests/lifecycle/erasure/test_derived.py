"""An erasure and the corpora that were made from its corpus: asked first, and only if the source can follow."""

from __future__ import annotations

from pathlib import Path

import pytest

import securedata as sd
from securedata.corpus.config import Reference, drop_entry, resolve, write_entry
from securedata.corpus.wrapping import add_wrap
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, NoTrustedKey
from securedata.keys.kms import open_kms
from securedata.keys.local import create_key_file
from securedata.keys.tags import Tagger
from securedata.lifecycle.derived import register_derived
from securedata.lifecycle.erasure.erase import Options, erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.holds.hold import add_hold
from securedata.lifecycle.receipt.operator import Operator
from securedata.lifecycle.relabel import relabel
from tests.kit.corpora.contents import current, look
from tests.kit.corpora.recorded import Root
from tests.kit.corpora.rows import add, content, make, writer_of

ANN = Request("subject", names=("ann",))


@pytest.fixture
def derived(people: Writer, tmp_path: Path) -> Reference:
    """A corpus in a folder, made from that of `people`, with rows of ann and bob."""
    reference = make(root=str(tmp_path / "derived"), name="derived")
    register_derived(people, writer_of(reference).head)
    add(writer_of(reference), {"ann/1": content("ann/1"), "bob/1": content("bob/1")})
    return reference


def test_it_is_asked_first_and_gets_the_bars(people: Writer, derived: Reference) -> None:
    erased = erase(people, ANN)
    assert sorted(current(derived)) == ["bob/1"]
    head = look(derived).head
    assert [one.tag for one in head.tombstones] == [Tagger(head.secret).tag("ann")]
    [state] = erased.derived
    assert (state.state, state.receipt) == ("erased", head.receipts[0]["digest"])


def test_erased_already_asks_it_again_and_changes_nothing(people: Writer, derived: Reference) -> None:
    erase(people, ANN)
    before = look(derived).head
    assert erase(people, ANN).receipt is None
    assert look(derived).head == before


def test_what_came_into_it_later_goes_although_the_source_has_nothing(people: Writer, derived: Reference) -> None:
    """It was registered, and out of reach, when the person was erased from the source."""
    drop_entry("derived")
    [state] = erase(people, ANN).derived
    assert state.state == "not reached"
    write_entry("derived", derived)
    erase(people, ANN)
    assert sorted(current(derived)) == ["bob/1"]


def test_a_recording_that_a_hold_keeps_is_asked_for_nowhere(people: Writer, derived: Reference) -> None:
    add_hold(people, "ann", "7")
    before = look(derived).head
    done = erase(people, Request("path", paths=("ann/1",)))
    assert (done.receipt, done.commit.held) == (None, ("ann/1",))
    assert look(derived).head == before


def test_nothing_goes_there_if_all_of_the_source_was_not_meant(people: Writer, derived: Reference) -> None:
    with pytest.raises(InvalidArgument, match=r"all 5 rows of .*; nothing was erased"):
        erase(people, Request("subject", names=("ann", "bob", "cid")))
    assert sorted(current(derived)) == ["ann/1", "bob/1"]


def test_nothing_goes_there_if_the_fresh_key_cannot_be_wrapped(
    people: Writer, derived: Reference, tmp_path: Path
) -> None:
    create_key_file(tmp_path / "other.kek")
    add_wrap(people, open_kms(f"local://{tmp_path / 'other.kek'}"))
    with pytest.raises(NoTrustedKey, match="--drop-wrap"):
        erase(people, ANN)
    assert sorted(current(derived)) == ["ann/1", "bob/1"]
    own = open_kms(people.reference.kms[0])
    [wrap] = [one.uri for one in people.head.wraps if not own.matches(one.uri)]
    erase(people, ANN, Options(drop_wraps=(wrap,)))
    assert sorted(current(derived)) == ["bob/1"]


@pytest.mark.parametrize("made", ["copy", "features"])
def test_who_was_named_here_later_is_found_by_what_was_made_of_it(
    made: str, root: Root, tmp_path: Path, operator: Operator
) -> None:
    """A recording had a wrong name when it was handed on; the source was corrected, and the other corpus was not."""
    if made == "copy":
        sd.export_to_corpus(root, tmp_path / made)
    else:
        sd.retain(root, tmp_path / made, features="log-mel", sample_rate=16_000, workers=0)
    reference = resolve(str(tmp_path / made))
    before, [path, *_] = current(reference), sorted(path for path in current(root.reference) if path.startswith("ann"))
    relabel(root.reference, {path: {"speaker": "zoe", "subjects": ["zoe"]}})
    erased = erase(Writer(root.reference), Request("subject", names=("zoe",)))
    assert [one.state for one in erased.derived] == ["erased"]
    after = current(reference)
    assert {one.removesuffix(".npy") for one in before.keys() - after.keys()} == {path}
    head = look(reference).head
    assert [one.tag for one in head.tombstones] == [Tagger(head.secret).tag("zoe")], "ann is not barred"
    assert head.barred == (Tagger(head.secret).consent("zoe", None),), "nor is a consent of hers"
