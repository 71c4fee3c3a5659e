"""Known corpora that are not as they were published: parts, copies in other formats, and what is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from securedata.errors import InvalidArgument, SubjectUnknown
from securedata.ingest.sources.recordings import SourceList, list_sources
from securedata.ingest.sources.walk.tree import Problem
from tests.kit.sources.folders import by_path, column, counted, record, text, touch
from tests.kit.sources.layouts import common_voice, libritts, ljspeech, timit, vctk_092, voxceleb1


def layout(sources: SourceList) -> str:
    return str(sources.settings["subject"]["layout"])


# ---------------------------------------------------------------------------------------------------------------- VCTK


def test_vctk_with_one_microphone_another_format_and_a_text_that_is_missing(tmp_path: Path) -> None:
    vctk_092(tmp_path)
    folder = "wav48_silence_trimmed/p225"
    record(tmp_path / folder / "p225_001_mic1.wav", seed=8)  # a copy beside the flac
    record(tmp_path / folder / "p225_002_mic2.flac", seed=9)  # without mic1, and without words
    sources = list_sources(tmp_path)
    assert (layout(sources), counted(sources)) == ("vctk", True)
    assert {path: word for path, word in by_path(sources, "transcript").items() if "p225" in path} == {
        f"{folder}/p225_001_mic1.flac": "Please call p225.",
        f"{folder}/p225_001_mic1.wav": "Please call p225.",
        f"{folder}/p225_001_mic2.flac": "Please call p225.",
        f"{folder}/p225_002_mic2.flac": "",
    }
    assert sources.problems == [
        Problem(f"{folder}/p225_002_mic2.flac", "no text in txt/ has its words", True),
        Problem("wav48_silence_trimmed/p315/p315_001_mic1.flac", "no text in txt/ has its words", True),
    ]


def test_a_folder_without_any_words_is_one_problem(tmp_path: Path) -> None:
    vctk_092(tmp_path)
    for n in (2, 3):
        record(tmp_path / f"wav48_silence_trimmed/p315/p315_00{n}_mic1.flac", seed=n)
    reason = "none of its 3 recordings has words: no text in txt/ has its words"
    assert list_sources(tmp_path).problems == [Problem("wav48_silence_trimmed/p315", reason, True)]


def test_half_of_vctk(tmp_path: Path) -> None:
    """What was left out has words that nobody misses; what was never there has words that are reported."""
    vctk_092(tmp_path)
    without = list_sources(tmp_path, leave_out=["wav48_silence_trimmed/s5"])
    assert (column(without, "speaker"), without.left_out) == (["p225", "p225", "p315"], 1)
    assert [problem.path for problem in without.problems] == ["wav48_silence_trimmed/p315/p315_001_mic1.flac"]
    shutil.rmtree(tmp_path / "wav48_silence_trimmed/s5")
    text(tmp_path / "txt/s5/s5_002.txt", "More.")
    sources = list_sources(tmp_path)
    reason = "2 texts belong to no recording that is taken from SRC; the first is 's5_001.txt'"
    assert [problem for problem in sources.problems if not problem.taken] == [Problem("txt/s5/", reason)]
    assert counted(sources)


# ------------------------------------------------------------------------------------------------------------ VoxCeleb


def test_voxceleb2_as_m4a_in_dev_and_test(tmp_path: Path) -> None:
    touch(tmp_path, "dev/aac/id00012/21Uxsk56VDQ/00001.m4a", "test/aac/id00017/01dfn2spqyE/00001.m4a")
    touch(tmp_path, "vox2_test_aac/id00061/cAT9aR8oFx0/00141.m4a")
    text(tmp_path / "vox2_meta.csv", "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000012 ,m ,test \n")
    sources = list_sources(tmp_path)
    assert (layout(sources), counted(sources), sources.problems) == ("voxceleb", True, [])
    assert column(sources, "split") == ["dev", "test", "test"], "a folder counts before the set of the speaker"
    assert column(sources, "utterance")[0] == "id00012/21Uxsk56VDQ/00001"
    assert column(sources, "extra")[0] == '{"video":"21Uxsk56VDQ","gender":"m","vggface2_id":"n000012"}'
    below = list_sources(tmp_path / "dev/aac/id00012")
    assert (column(below, "speaker"), column(below, "split")) == (["id00012"], ["dev"])


def test_eleven_letters_are_no_video(tmp_path: Path) -> None:
    touch(tmp_path, "id00001/session_001/00001.wav", "id00002/session_001/00001.wav")
    with pytest.raises(SubjectUnknown):
        list_sources(tmp_path)
    assert column(list_sources(tmp_path, layout="voxceleb"), "speaker") == ["id00001", "id00002"]


# -------------------------------------------------------------------------------------------------------- Common Voice


def test_common_voice_without_locale_as_wav_in_two_languages(tmp_path: Path) -> None:
    head = "client_id\tpath\tsentence\n"
    for language, who in (("br", "aa"), ("zh-CN", "bb")):
        record(tmp_path / language / f"clips/common_voice_{language}_1.wav", seed=len(language))
        text(tmp_path / language / "validated.tsv", f'{head}{who}\tcommon_voice_{language}_1.mp3\t"Demat" {who}\n')
        text(tmp_path / language / "invalidated.tsv", head)
    sources = list_sources(tmp_path)
    assert (layout(sources), counted(sources), sources.problems) == ("commonvoice", True, [])
    assert column(sources, "subjects") == [["aa"], ["bb"]]
    assert column(sources, "language") == ["br", "zh-CN"]
    assert column(sources, "split") == ["validated"] * 2
    assert column(sources, "transcript") == ['"Demat" aa', '"Demat" bb']


def test_common_voice_with_what_was_left_out_and_a_row_twice(tmp_path: Path) -> None:
    common_voice(tmp_path)
    table = (tmp_path / "train.tsv").read_text()
    text(tmp_path / "train.tsv", table + table.splitlines()[1] + "\n")
    sources = list_sources(tmp_path, leave_out=["clips/common_voice_br_6.mp3"])
    assert (len(sources), sources.left_out, counted(sources)) == (5, 1, True)
    reason = "line 3 of train.tsv is left out: line 2 names the same recording"
    assert sources.problems == [Problem("clips/common_voice_br_1.mp3", reason, True)]


def test_clips_of_common_voice_alone_name_nobody(tmp_path: Path) -> None:
    common_voice(tmp_path)
    with pytest.raises(SubjectUnknown):
        list_sources(tmp_path / "clips")
    with pytest.raises(InvalidArgument, match=r"the layout commonvoice, whose own tables .* --manifest out"):
        list_sources(tmp_path, manifest="train.tsv", columns={"speaker": ""})


# ------------------------------------------------------------------------------------------------------------ LibriTTS


def test_libritts_with_a_table_for_each_chapter(tmp_path: Path) -> None:
    libritts(tmp_path)
    folder, stem = "LibriTTS/dev-clean/84/121123", "84_121123_00000"
    for n in (0, 1):
        record(tmp_path / folder / f"{stem}9_00000{n}.wav", seed=3 + n)
    text(
        tmp_path / folder / "84_121123.trans.tsv",
        f"{stem}8_000000\tDr. Who?\tDoctor Who?\n{stem}9_000000\tNo. 9\tNumber nine\n{stem}7_000000\tx\ty\n",
    )
    text(tmp_path / folder / f"{stem}6_000000.normalized.txt", "Gone.")
    sources = list_sources(tmp_path)
    assert (layout(sources), counted(sources)) == ("libritts", True)
    assert column(sources, "transcript") == ["Doctor Who?", "Nobody.", "Number nine", ""]
    extra = by_path(sources, "extra")[f"{folder}/{stem}9_000000.wav"]
    assert extra == '{"chapter":"121123","original":"No. 9"}'
    said = {problem.path.rpartition("/")[2]: problem for problem in sources.problems}
    assert {name: problem.taken for name, problem in said.items()} == {
        "84_121123.trans.tsv": False,
        f"{stem}6_000000.normalized.txt": False,
        f"{stem}9_000001.wav": True,
    }
    assert "line 3" in said["84_121123.trans.tsv"].reason


# ----------------------------------------------------------------------------------------------------------- LJ Speech


@pytest.mark.parametrize("header", ["ID|Transcription|Normalized", "file_name|text|normalized"])
def test_ljspeech_with_a_header_a_lost_line_and_one_that_has_no_words(tmp_path: Path, header: str) -> None:
    ljspeech(tmp_path)
    lines = (tmp_path / "metadata.csv").read_text()
    text(tmp_path / "metadata.csv", f"{header}\n{lines}LJ001-0003|Gone|Gone\nLJ001-0004\n")
    sources = list_sources(tmp_path)
    assert (layout(sources), counted(sources)) == ("ljspeech", True)
    assert column(sources, "transcript") == ["Printing, in fourteen fifty-six", '"a" word']
    assert [(problem.path, problem.taken) for problem in sources.problems] == [("metadata.csv", False)] * 2


def test_ljspeech_from_within(tmp_path: Path) -> None:
    ljspeech(tmp_path)
    sources = list_sources(tmp_path / "wavs")
    assert column(sources, "speaker") == ["LJSpeech"] * 2
    reason = "none of its 2 recordings has words: no line of a metadata.csv has its words"
    assert sources.problems == [Problem(".", reason, True)]


def test_the_form_of_ljspeech_with_names_of_ones_own(tmp_path: Path) -> None:
    """Whose voice it is, nobody can know: a rule says it, and the words come from metadata.csv."""
    for n in (1, 2):
        record(tmp_path / f"wavs/rec{n}.wav", seed=n)
    text(tmp_path / "metadata.csv", "rec1|One|One\nrec2.wav|2|Two\n")
    for name in ("auto", "ljspeech"):
        with pytest.raises(SubjectUnknown):
            list_sources(tmp_path, layout=name)
    sources = list_sources(tmp_path, layout="ljspeech", one_subject="Ann")
    assert column(sources, "subjects") == [["Ann"]] * 2
    assert column(sources, "transcript") == ["One", "Two"]
    assert column(sources, "extra") == ['{"line":"1"}', '{"original":"2","line":"2"}']
    assert (sources.settings, sources.problems) == ({"subject": {"one": True}}, [])


# --------------------------------------------------------------------------------------------------------------- TIMIT


def test_timit_in_small_letters_and_converted(tmp_path: Path) -> None:
    record(tmp_path / "timit/train/dr1/fcjf0/sa1.wav", seed=1)
    text(tmp_path / "timit/train/dr1/fcjf0/sa1.txt", "0 100 She had.\n")
    record(tmp_path / "timit/test/dr8/mdab0/SX139.WAV.wav", seed=2)
    text(tmp_path / "timit/test/dr8/mdab0/SX139.TXT", "0 100 The bungalow.\n")
    text(tmp_path / "timit/test/dr8/mdab0/SX140.TXT", "0 100 Gone.\n")
    sources = list_sources(tmp_path)
    assert (layout(sources), counted(sources)) == ("timit", True)
    assert column(sources, "speaker") == ["MDAB0", "FCJF0"]
    assert column(sources, "utterance") == ["MDAB0_SX139", "FCJF0_SA1"]
    assert column(sources, "transcript") == ["The bungalow.", "She had."]
    assert column(sources, "split") == ["test", "train"]
    [lost] = sources.problems
    assert (lost.path, lost.taken) == ("timit/test/dr8/mdab0/SX140.TXT", False)


def test_timit_from_within(tmp_path: Path) -> None:
    timit(tmp_path)
    sources = list_sources(tmp_path / "TRAIN/DR1")
    assert (column(sources, "speaker"), column(sources, "split")) == (["FCJF0"], ["train"])


# --------------------------------------------------------------------------------------------------- texts beside them


def test_texts_beside_recordings_and_what_is_about_something_else(tmp_path: Path) -> None:
    for n in range(3):
        record(tmp_path / f"ann/{n}.wav", seed=n)
    text(tmp_path / "ann/0.txt", "Zero.")
    text(tmp_path / "ann/0.lab", "not this")
    text(tmp_path / "notes.txt", "of the recordist")
    pattern = "{speaker}/*"
    one_of_three = list_sources(tmp_path, speaker_pattern=pattern)
    assert column(one_of_three, "transcript") == [""] * 3
    [unused] = one_of_three.problems
    assert (unused.path, unused.taken) == ("ann/0.txt", True)
    assert unused.reason.startswith("texts of the same name are beside 1 of 3 recordings, this one first")
    assert "use --layout text-beside" in unused.reason
    assert column(list_sources(tmp_path, speaker_pattern=pattern, layout="text-beside"), "transcript")[0] == "Zero."
    text(tmp_path / "ann/1.txt", "One.\r\n")
    sources = list_sources(tmp_path, speaker_pattern=pattern)
    assert (column(sources, "transcript"), counted(sources)) == (["Zero.", "One.", ""], True)
    others = Problem("ann/0.lab", "it has other words than 0.txt beside it, which is used", True)
    assert others in sources.problems
    assert {(problem.path, problem.taken) for problem in sources.problems} == {
        ("ann/0.lab", True),
        ("ann/2.wav", True),
        ("notes.txt", True),
    }
    without = list_sources(tmp_path, speaker_pattern=pattern, layout="none")
    assert (column(without, "transcript"), without.problems) == ([""] * 3, [])
    for same in ("ZERO", "0 1000000 sil"):
        text(tmp_path / "ann/0.lab", same)
        assert "ann/0.lab" not in {problem.path for problem in list_sources(tmp_path, speaker_pattern=pattern).problems}
    (tmp_path / "ann/0.lab").write_bytes(b"\xff")
    assert "ann/0.lab" not in {problem.path for problem in list_sources(tmp_path, speaker_pattern=pattern).problems}
    (tmp_path / "ann/1.txt").write_bytes(b"\xff")
    unread = [problem for problem in list_sources(tmp_path, speaker_pattern=pattern).problems if not problem.taken]
    assert unread == [Problem("ann/1.txt", "not UTF-8 text: invalid start byte")]


@pytest.mark.parametrize(
    ("content", "reason", "taken"),
    [
        (b"0 1000000 sil\n", "it holds times, so its text is not used as words", True),
        (b"caf\xe9", "not UTF-8 text: unexpected end of data", False),
    ],
)
def test_texts_beside_recordings_that_give_no_words_do_not_end_the_run(
    content: bytes, reason: str, taken: bool, tmp_path: Path
) -> None:
    for n in range(3):
        record(tmp_path / f"{n}.wav", n)
        (tmp_path / f"{n}.lab").write_bytes(content)
    sources = list_sources(tmp_path, one_subject="ann")
    assert column(sources, "transcript") == [""] * 3
    assert {Problem(f"{n}.lab", reason, taken) for n in range(3)} <= set(sources.problems)
    with pytest.raises(InvalidArgument, match=f"follows the layout text-beside; 0.lab: {reason}"):
        list_sources(tmp_path, one_subject="ann", layout="text-beside")


# ---------------------------------------------------------------------------------------------------- several together


def test_two_corpora_in_one_folder_are_not_mixed(tmp_path: Path) -> None:
    """The layout of most recordings counts; those of the other are problems, and nobody in them is guessed."""
    vctk_092(tmp_path / "vctk")
    voxceleb1(tmp_path / "voxceleb")
    sources = list_sources(tmp_path)
    assert (layout(sources), counted(sources)) == ("vctk", True)
    assert {path.partition("/")[0] for path in column(sources, "path")} == {"vctk"}
    strangers = [problem.path for problem in sources.problems if not problem.taken]
    assert [path.partition("/")[0] for path in strangers] == ["voxceleb"] * 2
