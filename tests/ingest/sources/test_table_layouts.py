"""Kaldi's data directories and TED-LIUM's stm: what their tables miss, contradict or leave open."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from securedata.errors import InvalidArgument, SubjectUnknown
from securedata.ingest.sources.recordings import SourceList, list_sources
from securedata.ingest.sources.walk.tree import Problem
from tests.kit.cli.commandline import runner
from tests.kit.sources.folders import by_path, column, counted, record, text
from tests.kit.sources.layouts import kaldi, stm, vctk_092


def append(path: Path, lines: str) -> None:
    text(path, path.read_text(encoding="utf-8") + lines)


def untaken(sources: SourceList) -> dict[str, str]:
    return {problem.path: problem.reason for problem in sources.problems if not problem.taken}


# --------------------------------------------------------------------------------------------------------------- Kaldi


def test_a_pipe_is_not_run_and_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kaldi(tmp_path / "src")
    append(tmp_path / "src/data/test/wav.scp", "u6 touch secret; cat wav/spare.wav |\n")
    ran = runner(capsys)("encrypt", tmp_path / "src", tmp_path / "sealed", "--name", "piped")
    assert ran.code != 0
    assert "line 2 of data/test/wav.scp, 'u6', is a command" in ran.err
    assert "write its output to a file" in ran.err
    assert "secret" not in ran.err
    assert not (tmp_path / "sealed").exists()


@pytest.mark.parametrize("lines", ["u5 u5\n", "", None])
def test_a_utt2spk_without_people_is_asked_about(tmp_path: Path, lines: str | None) -> None:
    kaldi(tmp_path)
    for folder in ("train", "test"):
        (tmp_path / "data" / folder / "utt2spk").unlink()
    if lines is not None:
        text(tmp_path / "data/train/utt2spk", "u1 u1\nu2 u2\nu3 u3\nu4 u4\n" if lines else "")
        text(tmp_path / "data/test/utt2spk", lines)
    why = {None: "there is no data/train/utt2spk", "": "data/train/utt2spk names nobody"}
    for layout in ("auto", "kaldi"):
        with pytest.raises(SubjectUnknown) as caught:
            list_sources(tmp_path, layout=layout)
        assert why.get(lines, "data/train/utt2spk gives each utterance its own name") in str(caught.value)
        assert "--columns" not in str(caught.value)
    sources = list_sources(tmp_path, speaker_pattern="wav/{speaker}")
    assert sources.settings == {"subject": {"pattern": "wav/{speaker}"}}
    assert by_path(sources, "subjects")["wav/both@80-320.wav"] == ["both"]
    assert column(sources, "transcript") == ["hello", "hi  there", "demat", "good day", "and night"]
    assert untaken(sources) == {}


def test_people_are_not_guessed_for_one_directory_of_two(tmp_path: Path) -> None:
    kaldi(tmp_path)
    text(tmp_path / "data/test/utt2spk", "u5 u5\n")
    assert untaken(list_sources(tmp_path)) == {"wav/spare.wav": "line 1 of data/test/wav.scp names no speaker"}
    with pytest.raises(InvalidArgument, match="the layout kaldi, which names the speakers"):
        list_sources(tmp_path, one_subject="x")


def test_lines_of_nothing_are_said(tmp_path: Path) -> None:
    kaldi(tmp_path)
    train = tmp_path / "data/train"
    record(tmp_path / "wav/stranger.wav", seed=9)
    append(train / "wav.scp", "rec-x wav/gone.wav\n")
    append(train / "segments", "u7 rec-y 0 1\nu8 rec-x 0 1\n")
    append(train / "text", "u7 seven\nu8 eight\nu9 nine\n")
    append(train / "utt2spk", "u7 dan\nu8 dan\nu9 dan\n")
    sources = list_sources(tmp_path)
    assert untaken(sources) == {
        "data/train/wav.scp": "line 3 names no recording that is taken from SRC: 'wav/gone.wav'",
        "data/train/segments": "line 5 names no recording in wav.scp: 'u7'",
        "data/train/text": "line 7 names no utterance in segments: 'u9'",
        "data/train/utt2spk": "line 7 names no utterance in segments: 'u9'",
        "wav/stranger.wav": "no row of the tables of Kaldi names it, so its speaker is unknown",
    }
    assert (len(sources), counted(sources)) == (5, True)


def test_what_was_left_out_is_not_missed(tmp_path: Path) -> None:
    kaldi(tmp_path)
    sources = list_sources(tmp_path, leave_out=["wav/both.wav"])
    assert (column(sources, "utterance"), sources.problems, sources.left_out) == (["u5", "u1", "u2"], [], 1)


@pytest.mark.parametrize(
    ("table", "line", "reason"),
    [
        ("segments", "u1 rec-t 0.01 0.02\n", "line 5 of data/train/segments: the utterance 'u1' is there twice"),
        ("segments", "u6 rec-t 0.01\n", "line 5 of data/train/segments: it is not UTTERANCE RECORDING START END"),
        ("segments", "u6 rec-t 0 0.1 1\n", "line 5 of data/train/segments: it is not UTTERANCE RECORDING START END"),
        (
            "segments",
            "u6 rec-t 0 x\n",
            "line 5 of data/train/segments: its times '0' and 'x' are not numbers of seconds",
        ),
        ("segments", "u6 rec-t 0.05 nan\n", "line 5 of data/train/segments: it ends before it starts"),
        ("segments", "u6 rec-t 0.01 0.02\n", "line 5 of data/train/segments names no speaker"),
        ("utt2spk", "u2 bob\n", "line 2 of data/train/segments: utt2spk names two speakers for 'u2'"),
    ],
)
def test_a_recording_of_which_a_line_is_wrong_is_not_taken(tmp_path: Path, table: str, line: str, reason: str) -> None:
    """The line might name another person."""
    kaldi(tmp_path)
    append(tmp_path / "data/train" / table, line)
    sources = list_sources(tmp_path)
    assert untaken(sources)["wav/talk.wav"] == reason
    assert {path.partition("@")[0] for path in column(sources, "path")} == {"wav/both", "wav/spare.wav"}


def test_tables_that_contradict_themselves(tmp_path: Path) -> None:
    kaldi(tmp_path)
    append(tmp_path / "data/train/text", "u1 bad day\nu2 and night\n")
    append(tmp_path / "data/train/wav.scp", "rec-b wav/talk.wav\n")
    sources = list_sources(tmp_path)
    assert untaken(sources) == {
        "data/train/text": "line 5 gives a different value than an earlier line: 'u1'",
        "data/train/wav.scp": "line 3 gives a different path than an earlier line: 'rec-b'",
        "wav/both.wav": "no row of the tables of Kaldi names it, so its speaker is unknown",
    }
    assert by_path(sources, "transcript")["wav/talk@0-400.wav"] == "good day"


def test_utterances_without_words_are_taken(tmp_path: Path) -> None:
    kaldi(tmp_path)
    (tmp_path / "data/test/text").unlink()
    text(tmp_path / "data/train/text", "u1 good day\nu2\nu4 hi\n")
    assert list_sources(tmp_path).problems == [
        Problem("data/test", "the utterance 'u5' has no words in text", True),
        Problem("data/train", "2 utterances have no words in text; the first is 'u2'", True),
    ]


@pytest.mark.parametrize("table", ["wav.scp", "segments", "utt2spk"])
def test_a_table_that_cannot_be_read_is_one_problem_and_nothing_is_taken_for_whole(tmp_path: Path, table: str) -> None:
    kaldi(tmp_path)
    (tmp_path / "data/train" / table).write_bytes(b"\xff\n")
    sources = list_sources(tmp_path)
    assert column(sources, "path") == ["wav/spare.wav"]
    said = untaken(sources)
    assert said.pop(f"data/train/{table}") == "not UTF-8 text: invalid start byte"
    others = set(said) - {"wav/both.wav", "wav/talk.wav"}
    assert others == ({"data/train/segments"} if table == "wav.scp" else set())


def test_paths_relative_to_the_folder_above_or_further_up(tmp_path: Path) -> None:
    record(tmp_path / "egs/data/wav/a.wav", seed=1)
    record(tmp_path / "egs/data/wav/a b.wav", seed=2)
    text(tmp_path / "egs/data/all/utt2spk", "a ann\nb bob\n")
    for a, b in (
        ("wav/a.wav", "wav/a b.wav"),
        ("data/wav/a.wav", "./data/all/../wav/a b.wav"),
        ("../wav/a.wav", "../wav/a b.wav"),
    ):
        text(tmp_path / "egs/data/all/wav.scp", f"a {a}\nb {b}\n")
        for src in (tmp_path, tmp_path / "egs", tmp_path / "egs/data"):
            assert sorted(column(list_sources(src), "speaker")) == ["ann", "bob"], (src, a)


def test_a_path_that_can_mean_two_recordings_means_none(tmp_path: Path) -> None:
    kaldi(tmp_path)
    record(tmp_path / "data/wav/spare.wav", seed=7)
    said = untaken(list_sources(tmp_path))
    assert said.keys() == {"data/test/wav.scp", "data/wav/spare.wav", "wav/spare.wav"}
    assert "line 1 fits several recordings" in said["data/test/wav.scp"]


def test_the_copies_of_split_data_are_not_read(tmp_path: Path) -> None:
    kaldi(tmp_path)
    before = list_sources(tmp_path)
    for copy in ("split2/1", "split2utt/2"):
        shutil.copytree(tmp_path / "data/test", tmp_path / f"data/test/{copy}")
    sources = list_sources(tmp_path)
    assert sources.table.equals(before.table)
    assert sources.problems == before.problems
    assert "test" in column(sources, "split")
    (tmp_path / "data/test/wav.scp").unlink()
    assert "cat" in column(list_sources(tmp_path, leave_out=["data/test/split2utt"]), "speaker"), "no copy of anything"


def test_empty_tables_that_kaldi_makes_are_no_failed_recordings(tmp_path: Path) -> None:
    kaldi(tmp_path)
    for name in ("reco2file_and_channel", "reco2dur", "utt2num_frames", "utt2uniq", "frame_shift"):
        text(tmp_path / "data/test" / name, "")
    sources = list_sources(tmp_path)
    assert (untaken(sources), sources.not_taken, counted(sources)) == ({}, 0, True)


@pytest.mark.parametrize("name", ["eval2000", "dev93", "train960", "test92", "train_si84", "valid-small", "Test"])
def test_a_data_directory_is_the_split_that_its_name_begins_with(name: str, tmp_path: Path) -> None:
    kaldi(tmp_path)
    (tmp_path / "data/test").rename(tmp_path / "data" / name)
    assert by_path(list_sources(tmp_path), "split")["wav/spare.wav"] == name


@pytest.mark.parametrize("name", ["all", "testing", "devices", "my_train"])
def test_other_data_directories_are_no_split(name: str, tmp_path: Path) -> None:
    kaldi(tmp_path)
    (tmp_path / "data/test").rename(tmp_path / "data" / name)
    assert by_path(list_sources(tmp_path), "split")["wav/spare.wav"] == ""


def test_nothing_outside_of_src_is_taken(tmp_path: Path) -> None:
    record(tmp_path / "elsewhere/a.wav", seed=1)
    record(tmp_path / "src/b.wav", seed=2)
    text(tmp_path / "src/data/utt2spk", "a ann\nb bob\n")
    text(tmp_path / "src/data/wav.scp", f"a {tmp_path}/elsewhere/a.wav\nb b.wav\n")
    sources = list_sources(tmp_path / "src")
    assert (column(sources, "path"), list(untaken(sources))) == (["b.wav"], ["data/wav.scp"])
    text(tmp_path / "src/data/wav.scp", "a ../elsewhere/a.wav\n")
    with pytest.raises(InvalidArgument, match=r"no wav\.scp under .* names a recording there; data/wav\.scp: line 1 "):
        list_sources(tmp_path / "src")


def test_a_data_directory_apart_from_its_recordings_says_where_they_are(tmp_path: Path) -> None:
    kaldi(tmp_path)
    text(tmp_path / "data/train/wav.scp", f"rec-b touch secret |\nrec-t {tmp_path}/wav/talk.wav\n")
    with pytest.raises(
        InvalidArgument, match=r"holds no recordings: .*; wav\.scp names recordings that are not"
    ) as found:
        list_sources(tmp_path / "data/train")
    assert f"such as '{tmp_path}/wav/talk.wav': give as SRC a folder above both" in str(found.value)
    text(tmp_path / "data/train/wav.scp", f"rec-t {tmp_path}/data/train/lost.wav\n")
    with pytest.raises(InvalidArgument, match=r"0 left out$"):
        list_sources(tmp_path / "data/train")


def test_tables_of_kaldi_beside_a_corpus_that_is_known_by_its_names(tmp_path: Path) -> None:
    vctk_092(tmp_path)
    record(tmp_path / "notes.wav", seed=9)
    text(tmp_path / "data/all/wav.scp", "a wav48_silence_trimmed/p225/p225_001_mic1.flac\n")
    text(tmp_path / "data/all/utt2spk", "a ann\n")
    assert list_sources(tmp_path).settings == {"subject": {"layout": "vctk"}}
    with pytest.raises(InvalidArgument, match=r"holds no wav\.scp"):
        list_sources(tmp_path / "wav48_silence_trimmed", layout="kaldi")


# ----------------------------------------------------------------------------------------------------------------- stm


def test_what_is_not_scored_is_counted(tmp_path: Path) -> None:
    stm(tmp_path)
    sources = list_sources(tmp_path)
    reason = "2 lines of its .stm files are gaps or not scored, and are not taken"
    assert (sources.problems, counted(sources)) == ([Problem("train/stm", reason, True)], True)


def test_a_person_who_is_named_only_where_nothing_is_scored_can_be_erased(tmp_path: Path) -> None:
    stm(tmp_path)
    append(
        tmp_path / "train/stm/AnnLee_2009.stm", "AnnLee_2009 1 Guest 0.05 0.06 <NA> ignore_time_segment_in_scoring\n"
    )
    sources = list_sources(tmp_path)
    guest = by_path(sources, "subjects")["train/sph/AnnLee_2009@400-480.sph"]
    assert (guest, by_path(sources, "transcript")["train/sph/AnnLee_2009@400-480.sph"]) == (["Guest", "AnnLee"], "")
    assert by_path(sources, "subjects")["train/sph/AnnLee_2009@480-800.sph"] == ["AnnLee"]
    assert Problem("train/stm", "1 line of its .stm files is a row without words", True) in sources.problems


@pytest.mark.parametrize("times", ["0.03 0.06", "x y"])
def test_a_person_who_is_heard_in_a_segment_without_being_scored_is_named(tmp_path: Path, times: str) -> None:
    stm(tmp_path)
    table = tmp_path / "test/stm/BobRoy_2010.stm"
    append(table, f"BobRoy_2010 1 Cat 0.09 0.095 hi\nBobRoy_2010 1 Cat {times} ignore_time_segment_in_scoring\n")
    people = by_path(list_sources(tmp_path), "subjects")
    assert people["test/sph/BobRoy_2010@80-400.sph"] == ["BobRoy", "Cat"]
    assert people["test/sph/BobRoy_2010@400-720.sph"] == ["Host", "Cat"]
    assert people["test/sph/BobRoy_2010@720-760.sph"] == ["Cat"]


def test_stm_lines_of_nothing_and_recordings_of_no_line(tmp_path: Path) -> None:
    stm(tmp_path)
    record(tmp_path / "train/sph/Extra.sph", seed=4, format="NIST")
    append(tmp_path / "train/stm/AnnLee_2009.stm", "Gone 1 Gone 0 1 <o,f0,male> gone\n")
    text(tmp_path / "train/stm/Lost.stm", "Lost 1 Lost 0 1 <o,f0,male> a\nLost 1 Lost 1 2 <o,f0,male> b\n")
    sources = list_sources(tmp_path)
    assert untaken(sources) == {
        "train/sph/Extra.sph": "no row of the .stm files names it, so its speaker is unknown",
        "train/stm/AnnLee_2009.stm": "line 6 names no recording that is taken from SRC: 'Gone'",
        "train/stm/Lost.stm": "2 lines name no recording that is taken from SRC; the first is line 1, 'Lost'",
    }
    assert (len(sources), counted(sources)) == (4, True)
    (tmp_path / "train/stm/Lost.stm").unlink()
    left_out = list_sources(tmp_path, leave_out=["train/sph/*"])
    said = {"train/stm/AnnLee_2009.stm": "line 6 names no recording that is taken from SRC: 'Gone'"}
    assert untaken(left_out) == said


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("BobRoy_2010 1 Cat 0.05", "it is not FILE CHANNEL SPEAKER START END <LABELS> WORDS"),
        ("BobRoy_2010", "it is not FILE CHANNEL SPEAKER START END <LABELS> WORDS"),
        ("BobRoy_2010 1 Cat 0.05 x hi", "its times '0.05' and 'x' are not numbers of seconds"),
        ("BobRoy_2010 1 Cat 0.05 0.01 hi", "it ends before it starts"),
    ],
)
def test_a_talk_of_which_a_line_is_wrong_is_not_taken(tmp_path: Path, line: str, reason: str) -> None:
    stm(tmp_path)
    append(tmp_path / "test/stm/BobRoy_2010.stm", line + "\n")
    said = untaken(list_sources(tmp_path))
    assert said == {"test/sph/BobRoy_2010.sph": f"line 3 of test/stm/BobRoy_2010.stm: {reason}"}


def test_stm_of_several_talks_from_within_and_beside_the_recordings(tmp_path: Path) -> None:
    stm(tmp_path / "TEDLIUM")
    train = list_sources(tmp_path / "TEDLIUM/train")
    assert column(train, "split") == ["train"] * 2
    for seed, name in enumerate(("a", "b")):
        record(tmp_path / f"own/talks/{name}.wav", seed=seed)
    text(tmp_path / "own/talks/all.stm", "a 1 ann 0 0.1 <o,f0,female> hello\nb.wav 1 bob 0 0.1 <unk> there\n")
    with pytest.raises(SubjectUnknown):
        list_sources(tmp_path / "own")
    own = list_sources(tmp_path / "own", layout="stm")
    assert column(own, "speaker") == ["ann", "bob"]
    assert column(own, "transcript") == ["hello", "<unk> there"]
    assert column(own, "path") == ["talks/a.wav", "talks/b.wav"]
