"""Why an object is missing: the head tells, for as few calls to the KMS as it takes."""

from __future__ import annotations

import time
from pathlib import Path

import fsspec
import pytest

from securedata.corpus.objects import missing
from securedata.corpus.objects.fetch import Piece
from securedata.corpus.opening import open_corpus
from securedata.corpus.reader import Corpus
from securedata.errors import (
    AccessDenied,
    CorpusGone,
    KMSUnreachable,
    NotFound,
    ObjectMissing,
    RowReplaced,
    SecuredataError,
    SubjectErased,
)
from securedata.storage.base import Buffer, Wanted
from securedata.storage.local import LocalStorage
from tests.kit.corpora.erasing import erase, lose
from tests.kit.corpora.recorded import Root, add_clips, make_corpus, remove_paths
from tests.kit.counting_kms import Counted
from tests.kit.sources.recordings import clip


@pytest.fixture
def root(tmp_path: Path, counted: Counted) -> Root:
    """Three recordings of each of four people."""
    clips = [clip(f"{who}/{n}.wav", 0.1, seed=n, speaker=who) for who in ("ann", "bob", "cid", "dot") for n in range(3)]
    return make_corpus(tmp_path, clips, kms=counted.uri)


def _error(corpus: Corpus, path: str) -> SecuredataError:
    with pytest.raises(SecuredataError) as caught:
        corpus.read(path)
    [(_, outcome)] = corpus.read_many([Piece(corpus.find(path))])
    assert isinstance(outcome, SecuredataError)
    assert type(outcome) is type(caught.value)
    assert caught.value.path == path
    assert path not in str(caught.value)
    assert isinstance(caught.value.__cause__, (NotFound, AccessDenied))
    assert corpus.root in str(caught.value)
    return caught.value


def test_what_no_part_can_explain_is_no_file_that_was_never_there(root: Root) -> None:
    fs = fsspec.filesystem("securedata", root=str(root))
    mapping = fs.get_mapper("")
    assert len(mapping["ann/0.wav"]) > 0
    with open_corpus(root) as corpus:
        lose(root, "ann/0.wav")
        for part in Path(root, "manifest").iterdir():
            part.unlink()
        for read in (lambda: mapping["ann/0.wav"], lambda: mapping.get("ann/0.wav"), lambda: fs.cat_file("ann/0.wav")):
            with pytest.raises(ObjectMissing, match=r"manifest part|is not on storage; refresh") as caught:
                read()
            assert not isinstance(caught.value, FileNotFoundError)
        assert isinstance(_error(corpus, "ann/0.wav"), ObjectMissing)


def test_every_row_of_an_erased_person_says_so_by_one_call_to_the_kms(root: Root, counted: Counted) -> None:
    with open_corpus(root) as corpus:
        erase(root, "ann", "cid")
        counted.forget()
        for path in ("ann/0.wav", "cid/2.wav", "ann/1.wav", "ann/2.wav"):
            assert type(_error(corpus, path)) is SubjectErased
        assert len(counted.unwraps) == 1
        corpus.read("bob/0.wav")


def test_an_erasure_a_moment_after_another_is_told_from_a_loss(root: Root, counted: Counted) -> None:
    with open_corpus(root) as corpus:
        lose(root, "bob/0.wav")
        assert type(_error(corpus, "bob/0.wav")) is ObjectMissing
        erase(root, "ann")
        assert type(_error(corpus, "ann/0.wav")) is SubjectErased
        erase(root, "cid")
        counted.forget()
        assert type(_error(corpus, "cid/0.wav")) is SubjectErased
        assert type(_error(corpus, "ann/0.wav")) is SubjectErased
        assert type(_error(corpus, "bob/0.wav")) is ObjectMissing
        assert len(counted.unwraps) == 1


def test_many_lost_objects_cost_one_call_for_each_head_and_two_in_ten_seconds(
    root: Root, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_corpus(root) as corpus:
        lose(root, "ann/0.wav", "bob/0.wav", "cid/0.wav", "ann/1.wav")
        counted.forget()
        for path in ("ann/0.wav", "bob/0.wav", "cid/0.wav"):
            assert "named by the current head" in str(_error_once(corpus, path))
        assert len(counted.unwraps) == 1
        remove_paths(root, ["bob/0.wav", "ann/1.wav"])
        counted.forget()
        for path in ("ann/0.wav", "bob/0.wav", "ann/1.wav"):
            assert str(_error_once(corpus, path)).endswith(
                "is not on storage; refresh() the dataset, or run 'securedata verify'"
            )
        assert len(counted.unwraps) == 1
        with monkeypatch.context() as patch:
            patch.setattr(missing, "RECHECK", 0.0)
            assert "named by the current head" in str(_error_once(corpus, "ann/0.wav"))
        assert [type(_error_once(corpus, path)) for path in ("bob/0.wav", "ann/1.wav")] == [RowReplaced, RowReplaced]
        assert len(counted.unwraps) == 2


def _error_once(corpus: Corpus, path: str) -> SecuredataError:
    with pytest.raises(SecuredataError) as caught:
        corpus.read(path)
    return caught.value


def test_a_row_that_moved_on_says_so(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing, "RECHECK", 0.0)
    with open_corpus(root) as corpus:
        lose(root, "ann/0.wav", "bob/0.wav")
        add_clips(root, [clip("ann/0.wav", 0.2, seed=9)], replace=True)
        remove_paths(root, ["bob/0.wav"])
        for path in ("ann/0.wav", "bob/0.wav"):
            assert type(_error(corpus, path)) is RowReplaced


def test_what_a_session_is_refused_may_be_an_erasure(
    root: Root, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may not list is answered 403 where there is nothing: readers' sessions are like that."""
    real, real_get = LocalStorage.get_ranges, LocalStorage.get
    head = True

    def refused(self: LocalStorage, key: str) -> AccessDenied:
        return AccessDenied(f"{key} of {self.url}: refused or missing", root=self.url)

    def get_ranges(self: LocalStorage, key: str, ranges: list[tuple[int, int]]) -> list[Buffer]:
        try:
            return list(real(self, key, ranges))
        except NotFound:
            raise refused(self, key) from None

    def get_many(self: LocalStorage, wanted: list[Wanted], in_flight: int) -> object:
        for at, one in enumerate(wanted):
            try:
                yield at, get_ranges(self, one.key, [(one.offset, one.length)])[0]
            except SecuredataError as error:
                yield at, error

    def get(self: LocalStorage, key: str, limit: int | None = None) -> Buffer:
        if not head:
            raise refused(self, key)
        return real_get(self, key, limit)

    for name, replacement in (("get_ranges", get_ranges), ("get_many", get_many), ("get", get)):
        monkeypatch.setattr(LocalStorage, name, replacement)
    with open_corpus(root) as corpus:
        erase(root, "ann")
        lose(root, "bob/0.wav")
        assert type(_error(corpus, "ann/0.wav")) is SubjectErased
        with pytest.raises(AccessDenied, match="refused or missing") as caught:
            corpus.read("bob/0.wav")
        assert caught.value.__cause__ is None
        head = False  # the session is over: that, and nothing else, is what every object says
        for path in ("ann/0.wav", "bob/0.wav"):
            with pytest.raises(AccessDenied, match="objects/"):
                corpus.read(path)


def test_who_cannot_ask_the_head_hears_why(root: Root, counted: Counted) -> None:
    with open_corpus(root) as corpus:
        lose(root, "ann/0.wav")
        counted.take_away()
        assert type(_error_once(corpus, "ann/0.wav")) is KMSUnreachable
        counted.bring_back()
        assert type(_error(corpus, "ann/0.wav")) is ObjectMissing
        Path(root, "head").unlink()
        assert type(_error_once(corpus, "ann/0.wav")) is CorpusGone


def test_waiting_for_the_reason_is_counted_as_waiting(root: Root) -> None:
    with open_corpus(root) as corpus:
        corpus.read("bob/0.wav")
        assert corpus.counters.seconds_wait < 0.01
        lose(root, "ann/0.wav")
        before, begun = corpus.counters.seconds_wait, time.perf_counter()
        _error_once(corpus, "ann/0.wav")
        assert corpus.counters.seconds_wait - before > (time.perf_counter() - begun) / 2
