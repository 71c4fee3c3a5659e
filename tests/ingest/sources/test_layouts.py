"""LibriSpeech and Speech Commands, recognised by their names and by nothing less."""

import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from securedata.errors import InvalidArgument, SubjectUnknown
from securedata.ingest.sources.recordings import list_sources
from securedata.ingest.sources.walk.tree import Problem
from tests.kit.sources.folders import by_path, column, jsonl, touch


def librispeech(root: Path) -> Path:
    touch(root, "LibriSpeech/train-clean-100/19/198/19-198-0000.flac", "LibriSpeech/SPEAKERS.TXT")
    touch(root, "LibriSpeech/train-clean-100/19/198/19-198-0001.flac")
    touch(root, "LibriSpeech/dev-other/84/12/84-12-0000.flac")
    (root / "LibriSpeech/train-clean-100/19/198/19-198.trans.txt").write_text("19-198-0000 NORTHANGER ABBEY\n")
    (root / "LibriSpeech/dev-other/84/12/84-12.trans.txt").write_text("84-12-0000 GO DO YOU HEAR\n")
    return root


def test_librispeech(tmp_path: Path) -> None:
    sources = list_sources(librispeech(tmp_path))
    assert column(sources, "path")[0] == "LibriSpeech/dev-other/84/12/84-12-0000.flac"
    assert column(sources, "subjects") == [["84"], ["19"], ["19"]]
    assert column(sources, "speaker") == ["84", "19", "19"]
    assert column(sources, "utterance") == ["84-12-0000", "19-198-0000", "19-198-0001"]
    assert column(sources, "transcript") == ["GO DO YOU HEAR", "NORTHANGER ABBEY", ""]
    assert column(sources, "split") == ["dev-other", "train-clean-100", "train-clean-100"]
    assert column(sources, "language") == ["en"] * 3
    assert column(sources, "extra")[0] == '{"chapter":"12"}'
    path = "LibriSpeech/train-clean-100/19/198/19-198-0001.flac"
    assert sources.problems == [Problem(path, "no line of a .trans.txt beside it has its words", True)]
    assert sources.companions == 3
    assert sources.settings == {"subject": {"layout": "librispeech"}}


@pytest.mark.parametrize("part", ["", "/train-clean-100", "/train-clean-100/19", "/train-clean-100/19/198"])
def test_parts_of_librispeech(tmp_path: Path, part: str) -> None:
    row = list_sources(f"{librispeech(tmp_path)}/LibriSpeech{part}").table.to_pylist()[-2]
    assert (row["speaker"], row["split"], row["transcript"]) == ("19", "train-clean-100", "NORTHANGER ABBEY")


def test_librispeech_is_not_recognised_by_depth(tmp_path: Path) -> None:
    """Numbered folders alone are no layout: without transcripts, or with other names, nobody is guessed."""
    touch(tmp_path, "a/19/198/19-198-0000.flac", "b/1/2/x.flac")
    with pytest.raises(SubjectUnknown):
        list_sources(tmp_path / "a")
    (tmp_path / "b/1/2/1-2.trans.txt").write_text("x HELLO\n")
    with pytest.raises(SubjectUnknown):
        list_sources(tmp_path / "b")


def test_a_few_strangers_in_a_layout_are_problems(tmp_path: Path) -> None:
    touch(librispeech(tmp_path), "LibriSpeech/intro.wav")
    sources = list_sources(tmp_path)
    assert len(sources) == 3
    assert [problem.path for problem in sources.problems if not problem.taken] == ["LibriSpeech/intro.wav"]
    touch(tmp_path, *(f"more/{i}.wav" for i in range(3)))
    with pytest.raises(SubjectUnknown):
        list_sources(tmp_path)
    assert len(list_sources(tmp_path, layout="librispeech")) == 3


def test_a_layout_against_another_rule(tmp_path: Path) -> None:
    librispeech(tmp_path)
    manifest = jsonl(
        tmp_path / "m.jsonl", {"wav": "LibriSpeech/dev-other/84/12/84-12-0000.flac", "speaker": "x", "id": "u"}
    )
    for options in ({"one_subject": "x"}, {"manifest": manifest}):
        with pytest.raises(InvalidArgument, match=r"layout librispeech.*--layout none"):
            list_sources(tmp_path, **options)
    assert list_sources(tmp_path, one_subject="x", layout="none").settings == {"subject": {"one": True}}
    sources = list_sources(tmp_path, manifest=manifest, columns={"speaker": ""}, only_listed=True)
    row = sources.table.to_pylist()[0]
    assert (row["subjects"], row["transcript"], row["utterance"]) == (["84"], "GO DO YOU HEAR", "u")
    assert row["extra"] == '{"chapter":"12","speaker":"x"}'
    assert (sources.unlisted, sources.problems) == (2, [])


def test_a_transcript_file_that_cannot_be_read(tmp_path: Path) -> None:
    librispeech(tmp_path)
    broken = "LibriSpeech/dev-other/84/12/84-12.trans.txt"
    (tmp_path / broken).write_bytes(b"84-12-0000 \xff\n")
    sources = list_sources(tmp_path)
    assert Problem(broken, "not UTF-8 text: invalid start byte") in sources.problems
    assert by_path(sources, "transcript")["LibriSpeech/dev-other/84/12/84-12-0000.flac"] == ""
    (tmp_path / broken).unlink()
    (tmp_path / broken).symlink_to("nowhere")
    assert Problem(broken, "cannot be read: No such file or directory") in list_sources(tmp_path).problems


def speech_commands(root: Path) -> Path:
    touch(root, "bed/0a7c2a8d_nohash_0.wav", "bed/0a7c2a8d_nohash_1.wav", "cat/ff63ab0b_nohash_12.wav", "README.md")
    touch(root, "_background_noise_/pink_noise.wav")
    (root / "validation_list.txt").write_text("bed/0a7c2a8d_nohash_1.wav\n")
    (root / "testing_list.txt").write_text("cat/ff63ab0b_nohash_12.wav\n")
    return root


@pytest.mark.parametrize("above", ["", "speech_commands_v0.02/"])
def test_speech_commands(tmp_path: Path, above: str) -> None:
    speech_commands(tmp_path / above)
    sources = list_sources(tmp_path)
    assert column(sources, "path")[2] == f"{above}bed/0a7c2a8d_nohash_1.wav"
    assert column(sources, "speaker") == ["_background_noise_", "0a7c2a8d", "0a7c2a8d", "ff63ab0b"]
    assert column(sources, "subjects") == [[name] for name in column(sources, "speaker")]
    assert column(sources, "transcript") == ["", "bed", "bed", "cat"]
    assert column(sources, "split") == ["", "training", "validation", "testing"]
    assert column(sources, "language") == ["", "en", "en", "en"]
    assert column(sources, "utterance")[3] == "ff63ab0b_nohash_12"
    assert (sources.problems, sources.companions) == ([], 3)
    assert sources.settings == {"subject": {"layout": "speechcommands"}}


def test_one_word_of_speech_commands(tmp_path: Path) -> None:
    sources = list_sources(speech_commands(tmp_path) / "bed")
    assert column(sources, "transcript") == ["bed", "bed"]
    assert column(sources, "split") == ["", ""]  # the lists are not there to tell


def tables_beside(root: Path) -> Path:
    """Recordings that nothing describes but tables, each with another way to name the speaker."""
    names = [f"wav/{n}.wav" for n in range(2)]
    touch(root, *names)
    (root / "validated.tsv").write_text(f"client_id\tpath\n1f\t{names[0]}\n2e\t{names[1]}\n")
    (root / "a b.csv").write_text(f"clip,voice,words\n{names[0]},1f,hi\n{root}/{names[1]},2e,ho\n")
    pq.write_table(pa.table({"file": names, "speaker_id": ["1f", "2e"]}), root / "t.parquet")
    (root / "prices.csv").write_text("a,b\n1,2\n")
    (root / "broken.parquet").write_bytes(b"PAR1")
    jsonl(root / "wav/words.jsonl", {"audio": "0.wav", "text": "hi", "mood": "glad"})
    return root


def options(line: str) -> dict[str, Any]:
    """What the options that a message shows are in Python."""
    words = shlex.split(line)
    pairs = list(zip(words[::2], words[1::2], strict=True))
    columns = dict(value.split("=") for option, value in pairs if option == "--columns")
    return {"manifest": dict(pairs)["--manifest"], "columns": columns or None}


def test_tables_that_could_name_the_speaker_are_shown_with_the_options_that_use_them(tmp_path: Path) -> None:
    root = tables_beside(tmp_path)
    with pytest.raises(SubjectUnknown) as caught:
        list_sources(root)
    shown = dict(line.strip().split(": ", 1) for line in str(caught.value).splitlines() if ": its columns" in line)
    assert shown == {
        "--manifest 'a b.csv' --columns path=clip --columns speaker=voice": "its columns are clip, voice, words",
        "--manifest t.parquet": "its columns are file, speaker_id",
        "--manifest validated.tsv": "its columns are client_id, path",
    }
    for line in shown:
        assert column(list_sources(root, **options(line)), "subjects") == [["1f"], ["2e"]]


def test_tables_that_are_of_less_use_are_shown_last(tmp_path: Path) -> None:
    root = tables_beside(tmp_path)
    for name in ("validated.tsv", "a b.csv"):
        (root / name).unlink()
    with pytest.raises(SubjectUnknown) as caught:
        list_sources(root)
    shown = [line for line in str(caught.value).splitlines() if "its columns are" in line]
    assert shown == [
        "  --manifest t.parquet: its columns are file, speaker_id",
        "  --manifest wav/words.jsonl --columns speaker=COLUMN: its columns are audio, text, mood",
        "  prices.csv names none of these recordings by its path; its columns are a, b",
    ]
