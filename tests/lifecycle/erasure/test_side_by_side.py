"""An erasure beside another, an ingest, `retain` and a handing on: real processes on one folder, with real locks."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference, load
from securedata.keys.tags import Tagger
from securedata.lifecycle.receipt.operator import make_operator
from securedata.lifecycle.receipt.store import find_receipt
from tests.conftest import FULL
from tests.kit.corpora.contents import current, look
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.killed import Ended, ran, ran_together
from tests.kit.sources.recordings import clip, write_clips

ROUNDS = range(20 if FULL else 2)
PEOPLE = ("ann", "bob", "cid", "dan")
CLIPS = [clip(f"{name}/{n}.wav", 0.05, seed=n, speaker=name) for name in PEOPLE for n in range(3)]

pytestmark = pytest.mark.parametrize("round_", ROUNDS)


@pytest.fixture
def corpus(tmp_path: Path) -> Root:
    make_operator("example.com/erasure")
    return make_corpus(tmp_path, CLIPS)


def erasure(corpus: Root, *people: str) -> list[str]:
    first, *others = people
    return ["erase", corpus.name, "--json", "--subject", first, *(word for one in others for word in ("--also", one))]


def check_erased(reference: Reference, *people: str) -> None:
    """Nobody of them is in it, all are barred, and each erasure has its one final receipt."""
    head = look(reference).head
    named = {name for row in current(reference).values() for name in row["subjects"]}
    assert not named & set(people)
    tagger = Tagger(head.secret)
    assert {tagger.tag(name) for name in people} <= {one.tag for one in head.tombstones}
    assert head.erasures == ()
    files = {find_receipt(head.corpus_id.hex(), one["id"], one["digest"]) for one in head.receipts}
    assert None not in files
    [folder] = {path.parent for path in files if path}
    assert files == set(folder.glob("*.receipt"))
    report = verify(reference)
    assert report.ok, report.findings


def rows_of(done: list[Ended]) -> list[int]:
    """How many rows each erasure took out."""
    for one in done:
        assert one.code == 0, one.said
    documents = [json.JSONDecoder().raw_decode(one.said)[0] for one in done]  # warnings come behind it
    return [one["rows"] for one in documents]


def paths(*people: str) -> list[str]:
    return [f"{name}/{n}.wav" for name in people for n in range(3)]


def test_two_of_different_people(corpus: Root, round_: int) -> None:
    assert rows_of(ran_together(erasure(corpus, "ann"), erasure(corpus, "bob"))) == [3, 3]
    check_erased(corpus.reference, "ann", "bob")
    assert sorted(current(corpus.reference)) == paths("cid", "dan")
    assert len(look(corpus.reference).head.receipts) == 2


def test_two_that_share_a_person(corpus: Root, round_: int) -> None:
    """Each row is in the receipt of one of them."""
    rows = rows_of(ran_together(erasure(corpus, "ann", "bob"), erasure(corpus, "bob", "cid")))
    assert sorted(rows) == [3, 6]
    check_erased(corpus.reference, "ann", "bob", "cid")
    assert sorted(current(corpus.reference)) == paths("dan")


def test_two_of_the_same_person(corpus: Root, round_: int) -> None:
    assert sorted(rows_of(ran_together(erasure(corpus, "ann"), erasure(corpus, "ann")))) == [0, 3]
    check_erased(corpus.reference, "ann")
    assert sorted(current(corpus.reference)) == paths("bob", "cid", "dan")
    assert len(look(corpus.reference).head.receipts) == 1


def test_beside_an_ingest_of_the_same_person(corpus: Root, round_: int, tmp_path: Path) -> None:
    """Whichever is first: what is committed is erased, and what comes later is refused."""
    more = [clip(f"{name}/more{n}.wav", 0.05, seed=20 + n) for name in ("ann", "bob") for n in range(3)]
    source = write_clips(tmp_path / "wavs", more)
    ingest = ["encrypt", str(source), corpus.name, "--speaker-pattern", "{speaker}/{utterance}", "--threads", "2"]
    erased, ingested = ran_together(erasure(corpus, "ann"), ingest)
    assert erased.code == 0, erased.said
    assert ingested.code in (0, 1), ingested.said
    check_erased(corpus.reference, "ann")
    here = paths("bob", "cid", "dan") + [f"bob/more{n}.wav" for n in range(3)]
    assert sorted(current(corpus.reference)) == sorted(here)
    again = ran(ingest)
    assert "erased" in again.said
    check_erased(corpus.reference, "ann")


def test_beside_retain(corpus: Root, round_: int, tmp_path: Path) -> None:
    """The corpus of features is asked, or computes none of the person."""
    for name in ("torchaudio", "securedata.lifecycle.features.retaining"):
        importlib.import_module(name)  # here, and not in each child
    to = tmp_path / "features-a"
    retain = ["retain", corpus.name, "--to", str(to), "--features", "log-mel", "--workers", "0"]
    erased, retained = ran_together(erasure(corpus, "ann"), retain)
    assert erased.code == 0, erased.said
    assert retained.code in (0, 1), retained.said
    check_erased(corpus.reference, "ann")
    again = ran(retain)
    assert again.code == 0, again.said
    features = load()["features-a"]
    assert sorted(current(features)) == [f"{path}.npy" for path in paths("bob", "cid", "dan")]
    assert verify(features).ok


def test_beside_handing_on(corpus: Root, round_: int, tmp_path: Path) -> None:
    """The other corpus is asked, or takes over nothing of the person."""
    importlib.import_module("securedata.lifecycle.copying.export_to_corpus")  # here, and not in each child
    to = tmp_path / "vendor-b"
    export = ["export", corpus.name, "--to-corpus", str(to), "--threads", "2"]
    erased, exported = ran_together(erasure(corpus, "ann"), export)
    assert erased.code == 0, erased.said
    assert exported.code == 0, exported.said
    check_erased(corpus.reference, "ann")
    again = ran(export)
    assert again.code == 0, again.said
    vendor = load()["vendor-b"]
    assert sorted(current(vendor)) == sorted(paths("bob", "cid", "dan"))
    assert verify(vendor).ok
