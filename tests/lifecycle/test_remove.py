"""Rows are taken out in one commit; their objects go a day later, or at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from securedata.corpus.check.prune import prune
from securedata.corpus.config import Reference
from securedata.corpus.state.layout import object_key
from securedata.corpus.state.lifecycle import Hold
from securedata.corpus.writer import Writer
from securedata.errors import DeleteRefused, InvalidArgument, NoSuchPath, PinRequired, RowReplaced
from securedata.keys.tags import Tagger
from securedata.lifecycle.remove import RemoveReport
from securedata.lifecycle.remove import remove as take_out
from securedata.testing.memory import MemoryStorage
from tests.kit.corpora.contents import current, look, open_quietly
from tests.kit.corpora.rows import DAY, content, fill, writer_of

PATHS = ("ann/1", "ann/2", "ann/[1]", "bob/1", "bob/2")


@pytest.fixture
def filled(writer: Writer) -> Writer:
    fill(writer, *PATHS[:3])
    fill(writer, *PATHS[3:], subjects=["bob"])
    return writer


def remove(corpus: Reference, place: MemoryStorage, *patterns: str, **options: object) -> RemoveReport:
    return take_out(corpus, patterns, storage=place, **options)  # type: ignore[arg-type]  # options of the tests


def hold(writer: Writer, *names: str) -> None:
    tagger = Tagger(writer.head.secret)
    from securedata.corpus.state.commit import Next

    holds = tuple(Hold(tagger.tag(name), "case 1", 1.0) for name in names)
    writer.transact(lambda attempt: Next(None, {"holds": holds}))


def test_what_is_removed_is_deleted_after_a_day(corpus: Reference, place: MemoryStorage, filled: Writer) -> None:
    rows = current(corpus, place)
    keys = {object_key(rows[path]["object_id"]) for path in ("ann/2", "bob/1", "bob/2")}
    report = remove(corpus, place, "ann/2", "bob/*")
    assert (report.rows, report.objects, report.held, report.deleted) == (3, 3, [], None)
    assert report.bytes == sum(rows[path]["sealed_size"] for path in ("ann/2", "bob/1", "bob/2"))
    assert sorted(current(corpus, place)) == ["ann/1", "ann/[1]"]
    assert keys <= set(place.objects)
    place.clock += DAY + 1
    prune(writer_of(corpus, place))
    assert not keys & set(place.objects)


def test_nothing_is_removed_if_a_path_matches_nothing(corpus: Reference, place: MemoryStorage, filled: Writer) -> None:
    before = dict(place.objects)
    for patterns, options in (
        (("ann/1", "nobody"), {}),
        (("ann/1", "x/*"), {}),
        (("ann/1",), {"paths": ["ann/*"]}),
        ((), {"paths": ["ann"]}),
    ):
        for dry_run in (True, False):
            with pytest.raises(NoSuchPath, match="one path matches nothing") as caught:
                remove(corpus, place, *patterns, dry_run=dry_run, **options)
            assert caught.value.path not in str(caught.value)
    assert place.objects == before


def test_paths_of_a_manifest_are_no_patterns(corpus: Reference, place: MemoryStorage, filled: Writer) -> None:
    assert remove(corpus, place, paths=["ann/[1]", "/bob/1"]).rows == 2
    assert sorted(current(corpus, place)) == ["ann/1", "ann/2", "bob/2"]


@pytest.mark.parametrize("patterns", [(), ("",), ("/",)])
def test_no_path(corpus: Reference, place: MemoryStorage, filled: Writer, patterns: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgument, match=r"name at least one path|a path is empty"):
        remove(corpus, place, *patterns)


def test_every_row_must_be_confirmed(corpus: Reference, place: MemoryStorage, filled: Writer) -> None:
    before = dict(place.objects)
    with pytest.raises(InvalidArgument, match="--yes 5"):
        remove(corpus, place, "ann", "bob")
    with pytest.raises(InvalidArgument, match="5 rows would be removed, not 4"):
        remove(corpus, place, "**", yes=4)
    assert remove(corpus, place, "**", dry_run=True).rows == 5
    assert place.objects == before
    assert remove(corpus, place, "**", yes=5).rows == 5
    assert current(corpus, place) == {}


def test_a_dry_run_says_the_same_and_writes_nothing(corpus: Reference, place: MemoryStorage, filled: Writer) -> None:
    hold(filled, "bob")
    before = dict(place.objects)
    said = remove(corpus, place, "ann/1", "bob", dry_run=True)
    assert place.objects == before
    done = remove(corpus, place, "ann/1", "bob")
    assert (said.rows, said.objects, said.bytes, said.held) == (done.rows, done.objects, done.bytes, done.held)
    assert done.held == ["bob/1", "bob/2"]
    assert sorted(current(corpus, place)) == ["ann/2", "ann/[1]", "bob/1", "bob/2"]
    assert remove(corpus, place, "bob").rows == 0


def test_the_pin_is_needed(corpus: Reference, place: MemoryStorage, filled: Writer) -> None:
    for dry_run in (True, False):
        with pytest.raises(PinRequired):
            remove(Reference(corpus.root, None, corpus.kms), place, "ann/1", dry_run=dry_run)


# ----------------------------------------------------------------------------------------------------------------- now


def test_at_once(corpus: Reference, place: MemoryStorage, filled: Writer) -> None:
    filled.commit(remove=["ann/1"])  # leaves after a day, whoever is in a hurry
    rows = current(corpus, place)
    reader = open_quietly(corpus, place)
    report = remove(corpus, place, "bob", now=True)
    assert (report.rows, report.objects, report.deleted) == (2, 2, 3)  # with the part
    head = look(corpus, place).head
    assert len(head.retired) == 1
    assert {"head", *(part.storage_key for part in head.parts)} <= set(place.objects)
    assert not {object_key(rows[path]["object_id"]) for path in ("bob/1", "bob/2")} & set(place.objects)
    with pytest.raises(RowReplaced):
        reader.read("bob/1")
    assert reader.read("ann/2") == content("ann/2")


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("deletions", [0, 1, 2, 3])
def test_killed_while_it_deletes(
    corpus: Reference, place: MemoryStorage, filled: Writer, monkeypatch: pytest.MonkeyPatch, deletions: int
) -> None:
    purge = MemoryStorage.purge

    def killed(self: MemoryStorage, keys: object) -> object:
        for number, outcome in enumerate(purge(self, iter(sorted(keys)))):  # type: ignore[call-overload]  # any keys
            yield outcome
            if number + 1 == deletions:
                raise _Killed
        raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(MemoryStorage, "purge", killed)
        with pytest.raises(_Killed):
            remove(corpus, place, "bob", now=True)
    assert len(look(corpus, place).head.retired) == 1
    report = remove(corpus, place, "bob", now=True)
    assert (report.finished, report.rows, report.deleted) == (True, 0, 3)
    head = look(corpus, place).head
    assert head.retired == ()
    prune(writer_of(corpus, place))
    assert len(place.objects) == 1 + len(head.parts) + 3
    with pytest.raises(NoSuchPath):
        remove(corpus, place, "bob", now=True)


def test_a_list_of_a_killed_run_is_finished_with_the_next(
    corpus: Reference, place: MemoryStorage, filled: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("securedata.lifecycle.leaving.delete_now", lambda *_: (_ for _ in ()).throw(_Killed))
        with pytest.raises(_Killed):
            remove(corpus, place, "bob/1", now=True)
    assert remove(corpus, place, "bob/2", now=True).rows == 1
    assert look(corpus, place).head.retired == ()


def test_a_refused_deletion_is_said_and_left_to_a_prune(
    corpus: Reference, place: MemoryStorage, filled: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(MemoryStorage, "purge", lambda self, keys: iter([(next(iter(keys)), DeleteRefused("no"))]))
        with pytest.raises(DeleteRefused, match="2 rows removed, but not everything was deleted: no; run it again"):
            remove(corpus, place, "bob", now=True)
    assert sorted(current(corpus, place)) == ["ann/1", "ann/2", "ann/[1]"]
    assert len(look(corpus, place).head.retired) == 1
    place.clock += DAY + 1
    prune(writer_of(corpus, place))
    assert len(place.objects) == 1 + len(look(corpus, place).head.parts) + 3


def test_what_a_head_names_again_stays(corpus: Reference, place: MemoryStorage, filled: Writer, own_home: Path) -> None:
    """A row is renamed by adding it again with its object."""
    from securedata.lifecycle.leaving import delete_now
    from tests.kit.corpora.rows import table

    row = current(corpus, place)["bob/1"]
    filled.commit(remove=["bob/1"])
    filled.commit(table({**{name: cell for name, cell in row.items() if name in table().schema.names}, "path": "b"}))
    lists = {one.table.id for one in look(corpus, place).head.retired}
    assert delete_now(writer_of(corpus, place), lists) > 0
    assert open_quietly(corpus, place).read("b") == content("bob/1")
