"""Erasures in the source reach its features; and the recordings are erased once their features are verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import securedata as sd
from securedata.corpus.config import resolve
from securedata.corpus.schema import rows_table
from securedata.corpus.state.commit import Next
from securedata.corpus.state.lifecycle import Hold
from securedata.corpus.writer import Writer
from securedata.errors import CorpusError, InvalidArgument, NoOperatorKey, SubjectErased
from securedata.keys.tags import Tagger
from securedata.lifecycle.erasure.erase import erase, open_to_erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.features import raw, retaining
from securedata.lifecycle.receipt.operator import make_operator
from tests.ingest.test_apart import SAID, table, talk
from tests.kit.cli.commandline import Run
from tests.kit.corpora.recorded import Root, add_clips, flip_object
from tests.kit.sources.recordings import clip
from tests.lifecycle.features.runs import kept, rows_of


@pytest.fixture
def operator() -> None:
    make_operator("example.com/erasure")


@pytest.mark.parametrize(
    ("request_", "left"),
    [
        (Request("subject", names=("ann",)), ["bob/t@0-8000.wav", "bob/t@8000-16000.wav", "eve/0.wav"]),
        (Request("consent", consents=("C7",)), ["ann/0.wav", "bob/t@0-8000.wav", "bob/t@8000-16000.wav", "eve/0.wav"]),
        (Request("path", paths=("eve/*",)), ["ann/0.wav", "ann/1.flac", "bob/t@0-8000.wav", "bob/t@8000-16000.wav"]),
    ],
    ids=lambda value: value.kind if isinstance(value, Request) else "",
)
def test_an_erasure_in_the_source_reaches_the_features(
    root: Root, to: Path, operator: None, request_: Request, left: list[str]
) -> None:
    kept(root, to)
    with sd.EncryptedFeatureDataset(to, on_erased="raise") as ds:
        erased = erase(open_to_erase(root.reference), request_)
        if request_.kind == "subject":
            with pytest.raises(SubjectErased):
                ds[0]
    assert [one.state for one in erased.derived] == ["erased"]
    assert sorted(row["path"] for row in rows_of(to)) == [f"{path}.npy" for path in left]
    report = kept(root, to)
    assert (report.added, report.unchanged, report.complete) == (0, len(left), True)


def test_a_piece_goes_from_the_features_and_others_of_its_recording_stay(
    run: Run, tmp_path: Path, to: Path, operator: None
) -> None:
    src, root = talk(tmp_path / "src"), tmp_path / "sealed"
    assert run("encrypt", src, root, "--manifest", table(tmp_path, *SAID[:2])).code == 0
    kept(root, to)
    ben = "talk@16000-40000.wav"
    erased = erase(open_to_erase(resolve(root)), Request("path", paths=("talk@1600-12800.wav",)))
    assert [one.state for one in erased.derived] == ["erased"]
    assert [row["path"] for row in rows_of(to)] == [f"{ben}.npy"]
    # and features of what nobody erased are computed again, but none of all of the recording
    Writer(resolve(to)).commit(remove=[f"{ben}.npy"])
    report = kept(root, to)
    assert (report.added, report.erased, report.complete) == (1, [], True)
    target = Writer(resolve(to))
    [there] = rows_of(to)
    [piece] = rows_of(root)
    whole = {**there, "path": "talk.wav.npy", "recording": "talk.wav", "recording_sha256": piece["recording_sha256"]}
    assert target.commit(rows_table([{**whole, "object_id": b"n" * 16}])).erased == ["talk.wav.npy"]


def test_the_recordings_go_once_their_features_are_verified(root: Root, to: Path, operator: None) -> None:
    report = kept(root, to, erase_raw=True)
    assert (report.added, report.identical, report.raw_erased, report.complete) == (5, 5, 5, True)
    assert report.receipt is not None
    assert Path(report.receipt).is_file()
    assert rows_of(root) == []
    assert list(Path(root, "objects").glob("*/*")) == []
    with sd.EncryptedFeatureDataset(to) as ds:
        assert [one.features.shape[1] for one in ds] == [80] * 5
    again = kept(root, to, erase_raw=True)  # as after a kill in between
    assert (again.rows, again.opened, again.compared, again.raw_erased, again.complete) == (0, 5, 0, 0, True)


def test_nothing_is_erased_if_something_is_incomplete(root: Root, to: Path, operator: None) -> None:
    flip_object(root, "eve/0.wav")
    report = kept(root, to, erase_raw=True)
    assert (report.complete, report.raw_erased, report.receipt) == (False, None, None)
    assert len(rows_of(root)) == 5


def test_nothing_is_erased_that_came_meanwhile(
    root: Root, to: Path, operator: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*arguments: Any, **options: Any) -> Any:
        add_clips(root, [clip("zoe/0.wav", 0.3, seed=9, speaker="zoe")])
        return raw.erase_recordings(*arguments, **options)

    monkeypatch.setattr(retaining, "erase_recordings", late)
    with pytest.raises(CorpusError, match=r"1 recording .* no features .*--yes 6"):
        kept(root, to, erase_raw=True)
    assert len(rows_of(root)) == 6
    monkeypatch.undo()
    assert kept(root, to, erase_raw=True).raw_erased == 6


def test_recordings_under_a_hold_stay(root: Root, to: Path, operator: None) -> None:
    source = Writer(root.reference)
    tag = Tagger(source.head.secret).tag("eve")
    source.transact(lambda attempt: Next(None, {"holds": (Hold(tag, "case 7", 0.0),)}))
    report = kept(root, to, erase_raw=True)
    assert (report.raw_erased, report.raw_held) == (4, ["eve/0.wav"])
    assert [row["path"] for row in rows_of(root)] == ["eve/0.wav"]
    assert len(rows_of(to)) == 5


def test_without_the_operators_key_nothing_begins(root: Root, to: Path) -> None:
    with pytest.raises(NoOperatorKey):
        kept(root, to, erase_raw=True)
    assert not to.exists()
    with pytest.raises(InvalidArgument, match="newest generation"):
        kept(root, to, erase_raw=True, accept_generation=1)


def test_recordings_without_consent_get_no_features_and_are_not_erased_for_them(
    root: Root, to: Path, operator: None
) -> None:
    report = kept(root, to, purpose="asr")
    assert (report.rows, report.left_out, report.added, report.opened, report.complete) == (1, 4, 1, 1, True)
    with pytest.raises(CorpusError, match=r"4 recordings .* no features"):
        kept(root, to, purpose="asr", erase_raw=True)
    assert len(rows_of(root)) == 5
