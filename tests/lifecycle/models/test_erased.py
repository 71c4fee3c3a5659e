"""An erasure looks for models before it commits, and its receipt says what was found, also after a crash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.config import Reference
from securedata.corpus.state.head import Head
from securedata.corpus.writer import Writer
from securedata.errors import MalformedLineage
from securedata.keys.tags import Tagger
from securedata.lifecycle.derived import register_derived
from securedata.lifecycle.erasure.erase import Options, erase, finish_open
from securedata.lifecycle.erasure.finish import Receipt
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.receipt.operator import make_operator
from securedata.lifecycle.receipt.verify import unverified_statement
from securedata.lineage.files import save
from securedata.lineage.record import Entry, Lineage, new_id, now
from securedata.lineage.search import read_records
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, look
from tests.kit.corpora.rows import add, content, make, row, table, writer_of
from tests.kit.hooked import Hooked

ANN = Request("subject", names=("ann",))


@pytest.fixture
def people(writer: Writer) -> Writer:
    """ann under two consents, bob and cid."""
    make_operator("example.com/erasure")
    sound = {"sample_rate": 100, "frames": 50}
    writer.commit(
        table(
            row(writer, "ann/1", content("ann/1"), consent_id="C1", **sound),
            row(writer, "ann/2", content("ann/2"), consent_id="C2", **sound),
            row(writer, "bob/1", content("bob/1"), ["bob"], **sound),
            row(writer, "cid/1", content("cid/1"), ["cid"], consent_id="C1", **sound),
        )
    )
    return writer


def trained(folder: Path, model: str, head: Head, *names: str, complete: bool = True) -> str:
    """Save the record of a model that was trained with recordings of these people; returns its id."""
    id = new_id()
    tags = Tagger(head.secret).in_lineage(bytes.fromhex(id), names)
    entry = Entry(id, head.corpus_id.hex(), str(head.pin), (1, 2), (), None, 9, 1.5, tuple(sorted(tags)))
    save(Lineage(id, now(), complete, (entry,)), str(folder / model))
    return id


def said(receipt: Receipt | None) -> dict[str, Any]:
    assert receipt is not None
    assert receipt.path is not None
    statement = unverified_statement(receipt.path.read_bytes())
    found: dict[str, Any] = json.loads(statement.text())["models"]
    return found


def options(folder: Path, **others: Any) -> Options:
    return Options(models=read_records([str(folder)]), **others)


def test_the_receipt_has_the_records_and_no_path(people: Writer, tmp_path: Path) -> None:
    first = trained(tmp_path, "ann-the-singer.pt", people.head, "ann", "bob")
    second = trained(tmp_path, "b.pt", people.head, "ann")
    trained(tmp_path, "c.pt", people.head, "bob")
    trained(tmp_path, "d.pt", make_other(tmp_path).head, "ann", complete=False)
    done = erase(people, ANN, options(tmp_path))
    assert said(done.receipt) == {
        "state": "looked for",
        "where": [
            "4 lineage records in 1 place", "without an entry of this corpus: 1",
            "of models that began with one without a record: 1",
        ],
        "found": sorted([first, second]),
    }  # fmt: skip
    assert [Path(one.path).name for one in done.models] == ["ann-the-singer.pt", "b.pt"]
    assert done.receipt is not None
    assert done.receipt.path is not None
    assert "singer" not in done.receipt.path.read_text()
    again = erase(people, ANN, options(tmp_path))  # who was erased before is found all the same
    assert again.receipt is None
    assert len(again.models) == 2


def make_other(tmp_path: Path) -> Writer:
    return writer_of(make(root=str(tmp_path / "other"), name="other"))


def test_who_does_not_look_says_so(people: Writer) -> None:
    done = erase(people, ANN)
    assert said(done.receipt) == {"state": "not looked for", "where": [], "found": []}
    assert done.models == ()


def test_nothing_found_is_looked_for_too(people: Writer, tmp_path: Path) -> None:
    assert said(erase(people, ANN, options(tmp_path)).receipt) == {
        "state": "looked for", "where": ["0 lineage records in 1 place"], "found": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        (Request("path", paths=("ann/1",)), {"ann"}),
        (Request("consent", consents=("C1",)), {"ann", "cid"}),
        (Request("all"), {"ann", "bob", "cid"}),
        (Request("subject", names=("ann", "dan")), {"ann", "dan"}),
    ],
    ids=lambda one: one.kind if isinstance(one, Request) else "",
)
def test_it_looks_for_those_whose_rows_go(people: Writer, tmp_path: Path, request_: Request, names: set[str]) -> None:
    ids = {name: trained(tmp_path, f"{name}.pt", people.head, name) for name in ("ann", "bob", "cid", "dan")}
    done = erase(people, request_, options(tmp_path, all_meant=True, absent_ok=True))
    assert said(done.receipt)["found"] == sorted(ids[name] for name in names)
    assert {Path(one.path).stem for one in done.models} == names


def test_a_record_that_cannot_be_read_stops_it_before_anything_is_written(
    people: Writer, corpus: Reference, place: MemoryStorage, tmp_path: Path
) -> None:
    (tmp_path / "torn.lineage.json").write_text("{")
    before = dict(place.objects)
    with pytest.raises(MalformedLineage, match="nothing was erased") as caught:
        erase(people, ANN, options(tmp_path))
    assert caught.value.path == str(tmp_path / "torn.lineage.json")
    assert place.objects == before
    assert "ann/1" in current(corpus, place)


class Killed(BaseException):
    """The process is gone: nothing catches this."""


def test_the_finding_outlives_a_crash(people: Writer, corpus: Reference, place: MemoryStorage, tmp_path: Path) -> None:
    """It is in the draft; whoever finishes the erasure knows no name, and has no access to the models."""
    id = trained(tmp_path, "m.pt", people.head, "ann")

    def before(call: str, key: str) -> None:
        if call == "purge" and not key.startswith(".tmp"):
            raise Killed

    with pytest.raises(Killed):
        erase(Writer(corpus, storage=Hooked(place, before, lambda call, key: None)), ANN, options(tmp_path))
    [draft] = look(corpus, place).head.erasures
    assert draft["models"]["found"] == [id]
    assert "m.pt" not in str(draft)
    (tmp_path / "m.pt.lineage.json").unlink()
    [done] = finish_open(writer_of(corpus, place))
    assert said(done)["found"] == [id]


def test_models_of_a_corpus_made_from_this_one_are_in_its_receipt(people: Writer, tmp_path: Path) -> None:
    reference = make(root=str(tmp_path / "derived"), name="derived")
    register_derived(people, writer_of(reference).head)
    add(writer_of(reference), {"ann/1": content("ann/1"), "bob/1": content("bob/1")})
    models = tmp_path / "models"
    models.mkdir()
    here = trained(models, "raw.pt", people.head, "ann")
    trained(models, "features.pt", look(reference).head, "ann")
    done = erase(people, ANN, options(models))
    assert said(done.receipt)["found"] == [here]
    assert [Path(one.path).name for one in done.models] == ["raw.pt", "features.pt"]
    assert done.derived[0].state == "erased"
