"""`sd.ingest`: one call does what the command does, says nothing but what must be heard, and reports the rest."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import securedata as sd
from securedata.corpus.config import config_path, load
from securedata.corpus.home import data_dir
from securedata.errors import (
    ConfigError,
    InvalidArgument,
    OlderGeneration,
    PinRequired,
    StorageUnreachable,
    SubjectUnknown,
)
from securedata.ingest import pipeline
from tests.kit.corpora.erasing import erase
from tests.kit.corpora.recorded import Root, make_corpus, remove_paths
from tests.kit.sources.recordings import clip, write_clips

PATTERN = "{speaker}/{utterance}"


@pytest.fixture
def wavs(here: Path) -> Path:
    return write_clips(here / "wavs")


def texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.name}: {record.getMessage()}" for record in caplog.records]


# ------------------------------------------------------------------------------------------------- the plainest call


def test_a_folder_becomes_a_corpus(
    here: Path, wavs: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    report = sd.ingest("./wavs", "./sealed", one_subject="me")
    assert (report.added, report.complete, report.not_taken, report.commits) == (6, True, 0, 1)
    assert (report.root, report.name) == (str(here / "sealed"), "sealed")
    key = data_dir() / "keys" / "sealed.kek"
    assert report.created is not None
    assert report.created.key_files == report.created.back_up == (key,)
    assert report.created.config == config_path()
    assert report.created.pin == str(load()["sealed"].pins[0])
    assert texts(caplog) == [
        f"securedata: the key of the new corpus 'sealed' is {key}: back up this file: without it the corpus is lost"
    ]
    assert capfd.readouterr() == ("", "")
    caplog.clear()
    again = sd.ingest(wavs, Path("./sealed"), one_subject="me")
    assert (again.unchanged, again.created, again.name) == (6, None, "sealed")
    assert texts(caplog) == []
    with sd.open_corpus("sealed") as corpus:
        assert {path: bytes(corpus.read(path)) for path in corpus.table["path"].to_pylist()} == {
            str(path.relative_to(wavs)): path.read_bytes() for path in wavs.rglob("*.*")
        }


def test_each_spelling_of_a_target(here: Path, wavs: Path) -> None:
    reference = sd.ingest(wavs, "./sealed", one_subject="me").created.reference  # type: ignore[union-attr] - it was made
    for target in ("sealed", "securedata://sealed", "sealed/", here / "sealed", reference):
        assert sd.ingest(wavs, target, one_subject="me").unchanged == 6
    url = f"memory://{os.urandom(4).hex()}/corpus"
    assert sd.ingest(wavs, url, one_subject="me", name="far", single_writer=True).name == "far"
    assert sd.ingest(wavs, "far", one_subject="me", single_writer=True).unchanged == 6


def test_no_repr_shows_a_name_or_a_key(wavs: Path) -> None:
    (wavs / "ann" / "broken.wav").write_bytes(b"no audio")
    (wavs / ".hidden-ann.wav").write_bytes(b"x")
    report = sd.ingest(wavs, "./sealed", speaker_pattern=PATTERN)
    preview = sd.ingest(wavs, "./sealed", speaker_pattern=PATTERN, dry_run=True)
    assert [one.path for one in report.problems] == ["ann/broken.wav"]
    for shown in (repr(report), repr(preview), repr(report.created), repr(report.new), repr(report.problems)):
        assert "ann" not in shown.replace(str(wavs.parent), "")
    assert "added=6" in repr(report)


# ------------------------------------------------------------------------------------------------- what is not taken


def test_what_is_not_taken_is_logged_and_reported(wavs: Path, caplog: pytest.LogCaptureFixture) -> None:
    (wavs / "ann" / "broken.wav").write_bytes(b"no audio")
    report = sd.ingest(wavs, "./sealed", speaker_pattern=PATTERN, write_bad="bad.jsonl")
    assert (report.added, report.complete, report.not_taken) == (6, False, 1)
    assert [one.path for one in report.new] == ["ann/broken.wav"]
    assert texts(caplog)[-1] == (
        f"securedata.report: 1 recording of {wavs} not taken: see the report's problems, conflicts, erased and held"
    )
    caplog.clear()
    known = sd.ingest(wavs, "sealed", speaker_pattern=PATTERN, known_bad="bad.jsonl")
    assert (known.complete, known.not_taken, known.new, texts(caplog)) == (False, 1, [], [])
    (wavs / "ann" / "utt0.wav").write_bytes(clip("x.wav", 0.9, seed=9).data)
    news = sd.ingest(wavs, "sealed", speaker_pattern=PATTERN, known_bad="bad.jsonl")
    assert (news.conflicts, [one.path for one in news.new]) == (["ann/utt0.wav"], ["ann/utt0.wav"])
    assert sd.ingest(wavs, "sealed", speaker_pattern=PATTERN, replace=True).replaced == 1


def test_nothing_to_take_makes_no_corpus(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    (here / "wavs").mkdir()
    (here / "wavs" / "a.wav").write_bytes(b"no audio")
    report = sd.ingest("./wavs", "./sealed", one_subject="me")
    assert (report.root, report.name, report.created, report.complete) == (None, None, None, False)
    assert "nothing to take, so no corpus was made: 1 recording of" in caplog.text
    assert not (here / "sealed").exists()
    assert not config_path().exists()


def test_people_who_were_erased(tmp_path: Path) -> None:
    root = make_corpus(tmp_path)
    erase(root, "bob")
    report = sd.ingest(write_clips(tmp_path / "wavs"), root.reference, speaker_pattern=PATTERN, replace=True)
    assert sorted(report.erased) == ["bob/utt0.wav", "bob/utt1.flac", "bob/utt2.wav"]
    assert (report.complete, report.not_taken) == (False, 3)


# ------------------------------------------------------------------------------------------------------------ dry run


def test_a_dry_run_writes_nothing_and_says_what_the_run_does(
    here: Path, wavs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = sd.ingest(wavs, "./sealed", speaker_pattern=PATTERN, split="dev", dry_run=True)
    assert isinstance(before, sd.IngestPreview)
    assert (before.root, before.name, before.added, before.complete) == (None, None, 6, True)
    assert {name: person.recordings for name, person in before.people.items()} == {"ann": 3, "bob": 3}
    assert not (here / "sealed").exists()
    assert not config_path().exists()
    report = sd.ingest(wavs, "./sealed", speaker_pattern=PATTERN, split="dev")
    assert (before.added, before.bytes) == (report.added, report.bytes)
    after = sd.ingest(wavs, "sealed", speaker_pattern=PATTERN, dry_run=True, progress=True)
    assert (after.unchanged, after.root, after.name) == (6, report.root, "sealed")
    with sd.open_corpus("sealed", columns=["split"]) as corpus:
        assert corpus.table["split"].to_pylist() == ["dev"] * 6


def test_a_dry_run_needs_the_pin_as_its_run_does(here: Path, wavs: Path) -> None:
    created = sd.ingest(wavs, "./sealed", one_subject="me").created
    assert created is not None
    config_path().unlink()
    for dry_run in (True, False):
        with pytest.raises(PinRequired):
            sd.ingest(wavs, "./sealed", one_subject="me", kms=created.kms, dry_run=dry_run)
        given = sd.ingest(wavs, "./sealed", one_subject="me", kms=created.kms[0], pin=created.pin, dry_run=dry_run)
        assert given.unchanged == 6


# ------------------------------------------------------------------------------------------------------------ options


def test_a_manifest_and_its_columns(wavs: Path) -> None:
    rows = [{"audio_filepath": f"{name}.wav", "client": name[:3], "words": "hi"} for name in ("ann/utt0", "bob/utt0")]
    (wavs / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"speaker": "client", "transcript": "words"}
    report = sd.ingest(
        wavs, "./sealed", manifest="train.jsonl", columns=columns, only_listed=True, leave_out="bob/utt1*", threads=1
    )
    assert (report.added, report.sources.left_out, report.complete) == (2, 4, True)
    with sd.open_corpus("sealed", columns=["speaker", "transcript"]) as corpus:
        assert corpus.table.select(["speaker", "transcript"]).to_pylist() == [
            {"speaker": "ann", "transcript": "hi"},
            {"speaker": "bob", "transcript": "hi"},
        ]
    (wavs / "train.jsonl").write_text("".join(json.dumps({**row, "words": ""}) + "\n" for row in rows))
    options: Any = {"manifest": wavs / "train.jsonl", "columns": columns, "only_listed": True, "clear": "transcript"}
    assert sd.ingest(wavs, "sealed", **options).updated == 2


WRONG: dict[str, dict[str, Any]] = {
    "if_duplicate": {"if_duplicate": "drop"},
    "segment_unit": {"segment_unit": "hours", "manifest": "m.csv"},
    "one_subject": {"one_subject": 84},
    "speaker_pattern": {"speaker_pattern": Path("x"), "one_subject": None},
    "layout": {"layout": "vinyl", "one_subject": None},
    "clear": {"clear": "path"},
    "columns": {"columns": "speaker=client", "manifest": "m.csv"},
    "leave_out": {"leave_out": 3},
    "threads": {"threads": 0},
    "accept_generation": {"accept_generation": "newest"},
    "replace": {"replace": "perhaps"},
    "dry_run": {"dry_run": "perhaps"},
    "progress": {"progress": "yes"},
    "known_bad": {"known_bad": "gone.jsonl"},
    "write_bad": {"write_bad": "no/such/folder"},
    "write_bad in a dry run": {"write_bad": "bad.jsonl", "dry_run": True},
    "two rules": {"subject_per_file": True},
    "a manifest that is none": {"manifest": "gone.csv"},
    "options of one": {"only_listed": True},
}


@pytest.mark.parametrize("case", WRONG)
def test_what_makes_no_sense_is_one_error_and_makes_nothing(here: Path, wavs: Path, case: str) -> None:
    (wavs / "m.csv").write_text("path,client\nann/utt0.wav,ann\n")
    with pytest.raises(InvalidArgument) as caught:
        sd.ingest(wavs, "./sealed", **{"one_subject": "me", **WRONG[case]})
    assert str(caught.value)
    assert not (here / "sealed").exists()


def test_other_errors_are_those_of_the_package(here: Path, wavs: Path) -> None:
    with pytest.raises(SubjectUnknown, match=r"In Python these are .* one_subject="):
        sd.ingest(wavs, "./sealed")
    with pytest.raises(ConfigError, match="no corpus named 'nobody'"):
        sd.ingest(wavs, "nobody", one_subject="me")
    sd.ingest(wavs, "./sealed", one_subject="me")
    with pytest.raises(InvalidArgument, match="is known as 'sealed'"):
        sd.ingest(wavs, "./sealed", one_subject="me", name="other")


def test_errors_name_options_as_python_spells_them_too(here: Path, wavs: Path) -> None:
    for options, names in (
        ({"one_subject": "me", "subject_per_file": True}, "one_subject=, subject_per_file="),
        ({"one_subject": "me", "only_listed": True}, "only_listed=, manifest="),
        ({"dry_run": True, "write_bad": here / "bad"}, "dry_run=, write_bad="),
    ):
        with pytest.raises(InvalidArgument, match=rf"--.* \(in Python: {names}\)$"):
            sd.ingest(wavs, "./sealed", **options)
    with pytest.raises(InvalidArgument) as caught:
        sd.ingest(wavs, "./sealed", one_subject="me", threads=0)
    assert "in Python" not in str(caught.value)


def test_a_pattern_that_gives_all_recordings_one_speaker_is_warned_of(
    here: Path, wavs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def warnings(src: Path, **options: Any) -> list[str]:
        caplog.clear()
        sd.ingest(src, "./sealed", dry_run=True, **options)
        return [text for text in caplog.messages if "one speaker" in text]

    [warning] = warnings(wavs.parent, speaker_pattern="{speaker}/*/{utterance}")
    assert warning.startswith("all 6 recordings are of one speaker, 'wavs', by the pattern '{speaker}/*/{utterance}'. ")
    assert warnings(wavs.parent, speaker_pattern="*/{speaker}/{utterance}") == []
    assert warnings(wavs, one_subject="me") == []
    (wavs / "ann/utt0.wav").unlink()
    assert warnings(wavs.parent, speaker_pattern="{speaker}/*/{utterance}") == [], "few may be of one"


def test_an_old_head_is_refused_until_it_is_accepted(tmp_path: Path) -> None:
    root: Root = make_corpus(tmp_path)
    old = Path(root, "head").read_bytes()
    remove_paths(root, ["ann/utt0.wav"])
    Path(root, "head").write_bytes(old)
    wavs = write_clips(tmp_path / "wavs")
    with pytest.raises(OlderGeneration):
        sd.ingest(wavs, root.reference, speaker_pattern=PATTERN, replace=True)
    done = sd.ingest(wavs, root.reference, speaker_pattern=PATTERN, replace=True, accept_generation=2)
    assert done.complete


# ----------------------------------------------------------------------------------------------- progress, and its end


def test_progress_counts_up_to_all(wavs: Path) -> None:
    heard: list[tuple[int, int, int, int]] = []
    report = sd.ingest(wavs, "./sealed", speaker_pattern=PATTERN, progress=lambda *numbers: heard.append(numbers))
    assert heard[-1] == (6, 6, report.bytes, report.bytes)
    assert (np.diff(np.array(heard), axis=0) >= 0).all()
    heard.clear()
    sd.ingest(wavs, "sealed", speaker_pattern=PATTERN, progress=lambda *numbers: heard.append(numbers))
    assert heard == [(6, 6, report.bytes, report.bytes)]


def test_a_call_that_fails_leaves_a_corpus_that_the_next_one_uses(
    here: Path, wavs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise StorageUnreachable("the cable is out")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline._Ingest, "run", fails)
        with pytest.raises(StorageUnreachable):
            sd.ingest(wavs, "./sealed", speaker_pattern=PATTERN)
    assert f"the new corpus 'sealed' at {here / 'sealed'} stays, with its key; run it again" in texts(caplog)[-1]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    report = sd.ingest(wavs, "./sealed", speaker_pattern=PATTERN)
    assert (report.added, report.created) == (6, None)
