"""A later run takes over what is new and what has changed, and deletes nothing; erasures, holds and consents follow."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import securedata as sd
from securedata.corpus.config import drop_entry, resolve, write_entry
from securedata.corpus.schema import rows_table
from securedata.corpus.state.commit import Next
from securedata.corpus.state.lifecycle import Hold, Restriction
from securedata.corpus.writer import Writer
from securedata.errors import CorpusError, RowReplaced
from securedata.keys.tags import Tagger
from securedata.lifecycle.consent import withdraw
from securedata.lifecycle.copying import copying
from securedata.lifecycle.erasure.erase import Options, erase, open_to_erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.holds import everywhere
from securedata.lifecycle.holds.everywhere import add_everywhere, release_everywhere
from securedata.lifecycle.holds.held import list_holds
from securedata.lifecycle.reencrypt import reencrypt
from securedata.lifecycle.rotate import rotate
from tests.kit.corpora import erasing
from tests.kit.corpora.recorded import Root, add_clips, remove_paths
from tests.kit.sources.recordings import clip
from tests.lifecycle.copying.test_export_to_corpus import rows_of, same_samples

BOB = ["bob/t@0-8000.wav", "bob/t@8000-16000.wav"]


def test_a_later_run_adds_what_is_new_and_takes_over_what_changed(root: Root, to: Path) -> None:
    sd.export_to_corpus(root, to)
    before = rows_of(to)
    assert sd.export_to_corpus(root, to).commits == 0
    add_clips(root, [clip("zoe/0.wav", 0.3, seed=9, speaker="zoe")])
    add_clips(root, [clip("eve/0.wav", 0.6, seed=10, speaker="eve")], replace=True)  # another recording
    add_clips(root, [clip("ann/0.wav", 0.5, transcript="zwei", split="train", language="de", extra='{"age": 40}')])
    report = sd.export_to_corpus(root, to)
    assert (report.added, report.replaced, report.updated, report.unchanged) == (1, 1, 1, 3)
    after = rows_of(to)
    same = [path for path in before if after[path]["object_id"] == before[path]["object_id"]]
    assert sorted(same) == ["ann/0.wav", "ann/1.flac", *BOB]
    assert after["ann/0.wav"]["transcript"] == "zwei"
    assert after["ann/0.wav"]["ingested"] == before["ann/0.wav"]["ingested"]
    assert report.complete
    assert same_samples_by_path(root, to) == 6
    assert sd.verify(to).ok


def same_samples_by_path(one: Any, other: Any) -> int:
    with sd.open_corpus(one) as mine, sd.open_corpus(other) as theirs:
        paths = mine.table.column("path").to_pylist()
        assert all(mine.read(path) == theirs.read(path) for path in paths)
        return len(theirs)


def test_words_that_were_emptied_are_emptied_there(root: Root, to: Path) -> None:
    sd.export_to_corpus(root, to)
    writer = Writer(root.reference)
    rows = [row for part in writer.head.parts for row in writer.read_table(part, None).to_pylist()]
    [row] = [row for row in rows if row["path"] == "ann/1.flac"]
    known = {name: value for name, value in row.items() if name not in ("origin", "ingested", "keyed_since")}
    emptied = {**known, "consent_id": None, "expires": None, "extra": ""}
    writer.commit(update=rows_table([emptied]), clear={"ann/1.flac": ("consent_id", "expires", "extra")})
    assert sd.export_to_corpus(root, to).updated == 1
    assert (rows_of(to)["ann/1.flac"]["consent_id"], rows_of(to)["ann/1.flac"]["expires"]) == (None, None)
    assert sd.export_to_corpus(root, to).commits == 0


def test_other_people_of_a_recording_seal_it_again(root: Root, to: Path) -> None:
    """All rows of an object name the same people, and change together."""
    sd.export_to_corpus(root, to)
    before = rows_of(to)
    writer = Writer(root.reference)
    rows = [row for part in writer.head.parts for row in writer.read_table(part, None).to_pylist()]
    import pyarrow as pa

    mine = [row for row in rows if row["path"] in BOB]
    table = pa.table({
        "path": pa.array([row["path"] for row in mine], pa.large_string()),
        "old_id": pa.array([row["object_id"] for row in mine], pa.binary(16)),
        "subjects": pa.array([["bob", "ann"]] * 2, pa.list_(pa.large_string())),
    })  # fmt: skip
    assert writer.rewrite(table).rewritten == 2
    report = sd.export_to_corpus(root, to)
    assert (report.replaced, report.objects, report.unchanged) == (2, 1, 3)
    after = rows_of(to)
    assert all(after[path]["subjects"] == ["bob", "ann"] for path in BOB)
    assert len({after[path]["object_id"] for path in BOB}) == 1
    assert after[BOB[0]]["object_id"] != before[BOB[0]]["object_id"]
    assert sd.verify(to).ok


def test_objects_that_were_sealed_again_in_the_source_are_the_same_recordings(root: Root, to: Path) -> None:
    sd.export_to_corpus(root, to)
    rotate(root.reference, data_keys=True)
    reencrypt(Writer(root.reference))
    assert sd.export_to_corpus(root, to).commits == 0


def test_what_the_other_corpus_added_itself_stays(root: Root, to: Path) -> None:
    sd.export_to_corpus(root, to, paths="ann")
    own = clip("eve/0.wav", 0.2, seed=20, speaker="eva")
    add_clips(str(to), [own])
    report = sd.export_to_corpus(root, to)
    assert (report.conflicts, report.findings, report.added) == (["eve/0.wav"], 1, 2)
    with sd.open_corpus(to) as corpus:
        assert corpus.read("eve/0.wav") == own.data


def test_it_stays_where_other_rows_are_replaced_too(root: Root, to: Path) -> None:
    sd.export_to_corpus(root, to)
    own = clip("zoe/0.wav", 0.2, seed=20, speaker="zo")
    add_clips(str(to), [own])
    add_clips(root, [clip("zoe/0.wav", 0.3, seed=9, speaker="zoe")])
    add_clips(root, [clip("eve/0.wav", 0.6, seed=10, speaker="eve")], replace=True)
    report = sd.export_to_corpus(root, to)
    assert (report.conflicts, report.replaced) == (["zoe/0.wav"], 1)
    with sd.open_corpus(to) as corpus:
        assert corpus.read("zoe/0.wav") == own.data


def test_what_the_other_corpus_adds_meanwhile_stays_where_other_rows_are_replaced(
    root: Root, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sd.export_to_corpus(root, to)
    own = clip("zoe/0.wav", 0.2, seed=20, speaker="zo")
    add_clips(root, [clip("zoe/0.wav", 0.3, seed=9, speaker="zoe")])
    add_clips(root, [clip("eve/0.wav", 0.6, seed=10, speaker="eve")], replace=True)
    each(monkeypatch, lambda: add_clips(str(to), [own]), once=True)
    report = sd.export_to_corpus(root, to)
    assert (report.conflicts, report.replaced, report.complete) == (["zoe/0.wav"], 1, False)
    with sd.open_corpus(to) as corpus:
        assert corpus.read("zoe/0.wav") == own.data


def test_what_was_removed_there_comes_back_with_all_of_its_object(root: Root, to: Path) -> None:
    sd.export_to_corpus(root, to)
    Writer(resolve(to)).commit(remove=BOB[1:])
    report = sd.export_to_corpus(root, to)
    assert (report.added, report.replaced, report.objects) == (1, 1, 1)
    assert len({rows_of(to)[path]["object_id"] for path in BOB}) == 1


def test_the_same_recording_ingested_again_is_not_sealed_again(root: Root, to: Path) -> None:
    sd.export_to_corpus(root, to)
    remove_paths(root, ["eve/0.wav"])
    add_clips(root, [one for one in root.clips if one.path == "eve/0.wav"])
    assert sd.export_to_corpus(root, to).commits == 0


def test_what_is_no_longer_in_the_source_is_listed_and_stays(root: Root, to: Path) -> None:
    sd.export_to_corpus(root, to)
    remove_paths(root, ["eve/0.wav"])
    report = sd.export_to_corpus(root, to, paths="ann")
    assert (report.kept, report.complete, len(rows_of(to))) == (["eve/0.wav"], True, 5)


def test_what_came_meanwhile_is_taken_in_the_same_run(root: Root, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    each(monkeypatch, lambda: add_clips(root, [clip("zoe/0.wav", 0.3, seed=9, speaker="zoe")]), once=True)
    report = sd.export_to_corpus(root, to)
    assert (report.added, report.unchanged, sorted(rows_of(to))[-1]) == (6, 0, "zoe/0.wav")


def test_what_is_replaced_in_every_pass_is_not_handed_on_and_not_called_gone(
    root: Root, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, seeds = copying._Pass._copy, count(30)

    def replaced_before(self: Any, *arguments: Any) -> None:
        old = rows_of(root.reference)["eve/0.wav"]["object_id"].hex()
        add_clips(root, [clip("eve/0.wav", 0.6, seed=next(seeds), speaker="eve")], replace=True)
        (Path(root) / "objects" / old[:2] / old).unlink()
        copy(self, *arguments)

    monkeypatch.setattr(copying._Pass, "_copy", replaced_before)
    report = sd.export_to_corpus(root, to)
    assert next(seeds) == 30 + copying.PASSES
    assert (report.gone, report.complete) == ([], False)
    assert [(path, type(error)) for path, error in report.failed] == [("eve/0.wav", RowReplaced)]


def each(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], once: bool = False) -> None:
    """Do something after each object was sealed, and before its row is committed."""
    add = copying._Storing.add
    left = [1]

    def meanwhile(self: Any, *arguments: Any) -> None:
        add(self, *arguments)
        left[0] -= 1
        if not once or left[0] == 0:
            act()

    monkeypatch.setattr(copying._Storing, "add", meanwhile)


# -------------------------------------------------------------------------------------------------- consent and holds


def test_a_withdrawal_that_did_not_reach_the_other_corpus_comes_with_the_next_run(root: Root, to: Path) -> None:
    sd.export_to_corpus(root, to)
    withdraw(Writer(root.reference), "C7")
    report = sd.export_to_corpus(root, to)
    assert (report.left_out, report.updated, report.kept) == (["ann/1.flac"], 1, [])
    assert rows_of(to)["ann/1.flac"]["purposes"] == []
    with sd.open_corpus(to) as corpus:
        assert len(corpus) == 4
    assert sd.export_to_corpus(root, to).commits == 0


def test_a_hold_comes_along_with_its_note(root: Root, to: Path) -> None:
    add_everywhere(Writer(root.reference), "eve", "2026-17", reason="a letter")
    report = sd.export_to_corpus(root, to)
    assert (report.holds, report.complete) == (1, True)
    [person] = list_holds(resolve(to)).people
    assert (person.subject, person.holds[0].case, person.holds[0].reason) == ("eve", "2026-17", "a letter")
    assert Writer(resolve(to)).commit(remove=["eve/0.wav"]).held == ["eve/0.wav"]
    assert sd.export_to_corpus(root, to).holds == 0


def test_what_a_hold_keeps_there_is_listed_once(root: Root, to: Path) -> None:
    sd.export_to_corpus(root, to)
    add_everywhere(Writer(resolve(to)), "eve", "K-2")
    add_clips(root, [clip("eve/0.wav", 0.6, seed=10, speaker="eve")], replace=True)
    report = sd.export_to_corpus(root, to)
    assert (report.held, report.findings, report.replaced) == (["eve/0.wav"], 1, 0)


def test_a_hold_is_there_before_the_rows_are(root: Root, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed leaves no row that could be erased there although it is held here."""
    add_everywhere(Writer(root.reference), "eve", "2026-17")
    heads = []
    commit = Writer.commit

    def looking(self: Writer, *arguments: Any, **options: Any) -> Any:
        heads.append(self.refresh())
        return commit(self, *arguments, **options)

    monkeypatch.setattr(Writer, "commit", looking)
    sd.export_to_corpus(root, to)
    assert [(head.rows, len(head.holds)) for head in heads] == [(0, 1)]


def test_a_hold_that_came_meanwhile_comes_along_in_the_end(
    root: Root, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Writer(root.reference)
    held = (Hold(Tagger(source.head.secret).tag("eve"), "2026-17", 0.0),)
    commit = copying._Storing.commit

    def meanwhile(self: Any) -> None:
        commit(self)
        source.transact(lambda attempt: Next(None, {"holds": held}))

    monkeypatch.setattr(copying._Storing, "commit", meanwhile)
    sd.export_to_corpus(root, to)
    assert [one.case for one in Writer(resolve(to)).head.holds] == ["2026-17"]


def test_a_whole_run_between_a_look_at_the_registry_and_the_hold(
    root: Root, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = everywhere.add_hold

    def later(writer: Writer, *arguments: Any, **options: Any) -> Any:
        if str(writer.root) == root and not to.exists():
            sd.export_to_corpus(root, to)
        return add(writer, *arguments, **options)

    monkeypatch.setattr(everywhere, "add_hold", later)
    _, reached = add_everywhere(Writer(root.reference), "eve", "2026-17")
    target = Writer(resolve(to))
    assert reached.reached == (str(target.head.pin),)
    assert [one.case for one in target.head.holds] == ["2026-17"]


# ----------------------------------------------------------------------------------------------------------- erasures


@pytest.mark.parametrize(
    ("request_", "left"),
    [
        (Request("subject", names=("ann",)), [*BOB, "eve/0.wav"]),
        (Request("consent", consents=("C7",)), ["ann/0.wav", *BOB, "eve/0.wav"]),
        (Request("path", paths=("eve/*",)), ["ann/0.wav", "ann/1.flac", *BOB]),
    ],
    ids=lambda value: value.kind if isinstance(value, Request) else "",
)
def test_an_erasure_in_the_source_reaches_it(
    root: Root, to: Path, operator: None, request_: Request, left: list[str]
) -> None:
    sd.export_to_corpus(root, to)
    erased = erase(open_to_erase(root.reference), request_)
    [state] = erased.derived
    head = Writer(resolve(to)).head
    assert (state.state, state.receipt) == ("erased", head.receipts[0]["digest"])
    assert erased.receipt is not None
    assert sorted(rows_of(to)) == sorted(rows_of(root)) == left
    assert len(list(Path(to, "objects").glob("*/*"))) == len({row["object_id"] for row in rows_of(to).values()})
    report = sd.export_to_corpus(root, to)
    assert (report.added, report.unchanged, report.complete) == (0, len(left), True)


def test_what_is_out_of_reach_is_said_and_goes_with_the_next_erasure(root: Root, to: Path, operator: None) -> None:
    sd.export_to_corpus(root, to)
    reference = resolve(to)
    drop_entry("vendor-b")
    [state] = erase(open_to_erase(root.reference), Request("subject", names=("ann",))).derived
    assert (state.state, len(rows_of(reference))) == ("not reached", 5)
    write_entry("vendor-b", reference)
    erase(open_to_erase(root.reference), Request("subject", names=("ann",)), Options())
    assert sorted(rows_of(to)) == [*BOB, "eve/0.wav"]


def test_people_who_are_erased_meanwhile_do_not_enter(root: Root, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    each(monkeypatch, lambda: erasing.erase(root, "ann"), once=True)
    report = sd.export_to_corpus(root, to, threads=1)
    assert sorted(rows_of(to)) == [*BOB, "eve/0.wav"]
    assert {*report.erased, *report.gone} <= {"ann/0.wav", "ann/1.flac"}
    assert report.erased
    verified = sd.verify(to)
    assert (verified.ok, verified.in_flight) == (True, 0)


@pytest.mark.parametrize("what", ["barred", "restricted"])
def test_people_who_are_barred_or_restricted_meanwhile_do_not_enter(
    root: Root, to: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    source = Writer(root.reference)
    tagger = Tagger(source.head.secret)
    entry = tagger.consent("ann", "C7") if what == "barred" else Restriction(tagger.tag("eve"), "REQ-1", "", 0.0)
    each(monkeypatch, lambda: source.transact(lambda attempt: Next(None, {what: (entry,)})))
    path = "ann/1.flac" if what == "barred" else "eve/0.wav"
    assert path in {*(report := sd.export_to_corpus(root, to)).erased, *report.gone}
    assert path not in rows_of(to)


def test_a_bar_of_one_segment_keeps_the_other_out_too(root: Root, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The object that both share holds the sound of both."""
    source = Writer(root.reference)
    [part] = source.head.parts
    rows = [row for row in source.read_table(part, None).to_pylist() if row["path"] == BOB[0]]
    known = {name: value for name, value in rows[0].items() if name not in ("origin", "ingested", "keyed_since")}
    source.commit(update=rows_table([{**known, "consent_id": "C9"}]))
    bar = Tagger(source.head.secret).consent("bob", "C9")
    each(monkeypatch, lambda: source.transact(lambda attempt: Next(None, {"barred": (bar,)})))
    assert sorted(sd.export_to_corpus(root, to).erased) == BOB
    assert sorted(rows_of(to)) == ["ann/0.wav", "ann/1.flac", "eve/0.wav"]


def test_a_source_that_no_longer_names_the_corpus_stops_it(
    root: Root, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    each(monkeypatch, lambda: Writer(root.reference).transact(lambda attempt: Next(None, {"derived": ()})))
    with pytest.raises(CorpusError, match="no longer names"):
        sd.export_to_corpus(root, to)
    assert rows_of(to) == {}
    monkeypatch.undo()
    assert sd.export_to_corpus(root, to).added == 5


# -------------------------------------------------------------------------------------------------------- several runs


def test_two_runs_side_by_side(root: Root, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sd.export_to_corpus(root, to, paths="eve")
    both = threading.Barrier(2, timeout=60)
    copy = copying._Pass._copy

    def together(self: Any, *arguments: Any) -> None:
        copy(self, *arguments)
        both.wait()

    monkeypatch.setattr(copying._Pass, "_copy", together)
    reports: list[sd.CorpusExportReport] = []
    runs = [threading.Thread(target=lambda: reports.append(sd.export_to_corpus(root, to))) for _ in range(2)]
    for one in runs:
        one.start()
    for one in runs:
        one.join(timeout=120)
    assert [report.complete for report in reports] == [True, True]
    assert sum(report.added for report in reports) == 4
    assert same_samples_by_path(root, to) == 5
    assert sd.verify(to).ok
    assert len(Writer(root.reference).head.derived) == 1


def test_what_a_prune_took_before_the_commit_is_sealed_again(
    root: Root, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Writer.commit
    calls = []

    def lost(self: Writer, add: Any = None, **options: Any) -> Any:
        if not calls:
            self._uncommitted.doubt(add.column("object_id").to_pylist()[:2])
        calls.append(add.num_rows)
        return commit(self, add, **options)

    monkeypatch.setattr(Writer, "commit", lost)
    report = sd.export_to_corpus(root, to)
    assert calls == [5, 2]
    assert (report.added, report.complete) == (5, True)
    assert same_samples_by_path(root, to) == 5
    assert same_samples(root, root) == 5


@pytest.mark.parametrize(
    "request_",
    [Request("subject", names=("ann",), reference="R-1"), Request("consent", consents=("C7",), reference="R-1")],
    ids=lambda value: value.kind,
)
def test_a_request_that_meets_a_hold_closes_the_rows_there_too(
    root: Root, to: Path, tmp_path: Path, operator: None, request_: Request
) -> None:
    sd.export_to_corpus(root, to)
    sd.retain("vendor-b", str(tmp_path / "features"), features="fbank", workers=0)
    add_everywhere(Writer(root.reference), "ann", "K-1")
    erase(open_to_erase(root.reference), request_)
    for one in (root.reference, resolve(to), resolve(tmp_path / "features")):
        with sd.open_corpus(one) as corpus:
            assert (len(corpus), corpus.left_out.restricted) == (3, 2), one
        assert [each.request for each in Writer(one).head.restricted] == ["R-1"]
    release_everywhere(Writer(root.reference), "K-1", subject="ann", keep=True)
    for one in (resolve(to), resolve(tmp_path / "features")):
        with sd.open_corpus(one) as corpus:
            assert len(corpus) == 5
