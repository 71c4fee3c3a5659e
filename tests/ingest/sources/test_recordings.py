"""From folder and manifest to the table of what is sealed: whose voice it is, which words, and what is refused."""

import os
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from securedata.corpus.schema import SCHEMA as MANIFEST
from securedata.errors import InvalidArgument, SubjectUnknown
from securedata.ingest.sources.layouts.names import CHOICES
from securedata.ingest.sources.recordings import list_sources
from securedata.ingest.sources.source_table import SCHEMA
from securedata.ingest.sources.subjects import near_duplicates
from securedata.ingest.sources.walk.tree import Problem
from tests.kit.sources.folders import by_path, column, jsonl, touch

# ---------------------------------------------------------------------------------------------- the table itself


def test_the_table(tmp_path: Path) -> None:
    touch(tmp_path, "ben/2.wav", "anna/1.flac", "anna/notes.txt", ".x.wav")
    (tmp_path / "ben/2.wav").write_bytes(b"12345")
    os.utime(tmp_path / "ben/2.wav", ns=(5, 1_234_567_890_123))
    sources = list_sources(tmp_path, speaker_pattern="{speaker}/{utterance}")
    assert sources.table.schema == SCHEMA
    assert sources.table.slice(1).to_pylist() == [
        {
            "path": "ben/2.wav",
            "file": str(tmp_path / "ben/2.wav"),
            "size": 5,
            "mtime_ns": 1_234_567_890_123,
            "version": "",
            "subjects": ["ben"],
            "speaker": "ben",
            "utterance": "2",
            "transcript": "",
            "split": "",
            "language": "",
            "start": None,
            "frames_in_segment": None,
            "duration": None,
            "consent_id": None,
            "purposes": None,
            "expires": None,
            "last_contact": None,
            "extra": "",
            "described": True,
            "utterance_given": False,
            "apart": False,
            "memory": None,
            "media_type": None,
        }
    ]
    assert column(sources, "path") == ["anna/1.flac", "ben/2.wav"]
    assert (len(sources), sources.companions, sources.hidden, sources.unlisted, sources.problems) == (2, 1, 1, 0, [])
    assert sources.settings == {"subject": {"pattern": "{speaker}/{utterance}"}}


def test_columns_have_the_types_of_the_corpus() -> None:
    shared = [name for name in SCHEMA.names if name in MANIFEST.names]
    assert {"path", "size", "subjects", "speaker", "transcript", "start", "extra"} <= set(shared)
    for name in shared:
        assert SCHEMA.field(name) == MANIFEST.field(name)


def test_repr_names_nobody(tmp_path: Path) -> None:
    sources = list_sources(touch(tmp_path, "anna/1.wav", "Anna/2.wav", "x.wav"), speaker_pattern="{speaker}/*")
    assert sources.near_duplicates == [("Anna", "anna")]
    assert len(sources.problems) == 1
    assert "anna" not in repr(sources).lower()
    assert "x.wav" not in repr(sources)


def test_decomposed_names_on_disk(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFD", "zoë/é.wav")
    sources = list_sources(touch(tmp_path, name), speaker_pattern="{speaker}/{utterance}")
    assert column(sources, "path") == ["zoë/é.wav"]
    assert column(sources, "subjects") == [["zoë"]]
    assert os.path.exists(column(sources, "file")[0])


def test_no_recordings(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt", ".b.wav")
    with pytest.raises(InvalidArgument, match=r"1 other files, 1 hidden"):
        list_sources(tmp_path, one_subject="x")


def test_recordings_none_of_which_can_be_taken_are_listed(tmp_path: Path) -> None:
    (tmp_path / "c.wav").symlink_to("nowhere")
    sources = list_sources(tmp_path, one_subject="x")
    assert len(sources) == 0
    assert [(one.path, one.reason) for one in sources.problems] == [("c.wav", "link leads nowhere")]


@pytest.mark.full
@pytest.mark.quiet
def test_a_hundred_thousand_files(tmp_path: Path) -> None:
    for folder in range(100):
        (tmp_path / f"s{folder}").mkdir()
        for i in range(1000):
            os.close(os.open(tmp_path / f"s{folder}" / f"{i}.wav", os.O_CREAT | os.O_WRONLY))
    sources = list_sources(tmp_path, speaker_pattern="{speaker}/{utterance}")
    assert len(sources) == 100_000
    assert sources.table.column("speaker").value_counts().to_pylist()[0]["counts"] == 1_000


# ---------------------------------------------------------------------------------------------- whose voice it is


def test_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "de/dev/anna-1.wav", "de/dev/ben.wav", "de/x.wav", "de/dev/ -3.wav")
    sources = list_sources(tmp_path, speaker_pattern="{language}/{split}/{speaker}-{take}")
    row = sources.table.to_pylist()[0]
    assert (row["subjects"], row["speaker"], row["utterance"]) == (["anna"], "anna", "anna-1")
    assert (row["language"], row["split"], row["extra"]) == ("de", "dev", '{"take":"1"}')
    assert len(sources) == 1
    reason = "does not fit the speaker pattern {language}/{split}/{speaker}-{take}"
    paths = ["de/dev/ -3.wav", "de/dev/ben.wav", "de/x.wav"]
    assert sources.problems == [Problem(path, reason) for path in paths]


def test_pattern_that_fits_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"none of the 1 recordings .*such as 'a/b/c'"):
        list_sources(touch(tmp_path, "a/b/c.wav"), speaker_pattern="{speaker}/{utterance}")


def test_one_subject(tmp_path: Path) -> None:
    sources = list_sources(touch(tmp_path, "a.wav", "b/c.wav"), one_subject="Zoe\u0308")
    assert column(sources, "subjects") == [["Zoë"], ["Zoë"]]
    assert column(sources, "speaker") == ["Zoë", "Zoë"]
    assert "Zo" not in str(sources.settings)  # settings outlive the erasure of a person
    assert sources.settings == {"subject": {"one": True}}
    for name in ("", " ", "a\0", "\udcff"):
        with pytest.raises(InvalidArgument, match="blank, or holds"):
            list_sources(tmp_path, one_subject=name)


def test_subject_per_file(tmp_path: Path) -> None:
    sources = list_sources(touch(tmp_path, "a.wav", "a.flac", "b/A.wav"), subject_per_file=True)
    assert by_path(sources, "subjects") == {"a.flac": ["a"], "a.wav": ["a"], "b/A.wav": ["b/A"]}
    assert by_path(sources, "speaker")["b/A.wav"] == "b/A"
    assert by_path(sources, "utterance")["b/A.wav"] == "A"
    assert sources.settings == {"subject": {"per_file": True}}
    # Paths differ by such marks everywhere; listing them all would hide what matters.
    assert list_sources(touch(tmp_path, "x-1.wav", "X_1.wav"), subject_per_file=True).near_duplicates == []


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["anna/1.wav"], ["'{speaker}/{utterance}': anna/1 is 'anna'", "anna/1.wav is 'anna/1'"]),
        (["x/anna/1.wav"], ["'{speaker}/*/{utterance}': x/anna/1 is 'x'", "'*/{speaker}/{utterance}': x/anna/1 is"]),
        (["anna_1-2.wav"], ["'{speaker}_{utterance}': anna_1-2 is 'anna'", "'{speaker}-{utterance}'"]),
        (["one.wav"], ["'{speaker}/{utterance}': for one folder per person"]),
        (["_.wav"], ["'{speaker}/{utterance}'"]),
    ],
)  # fmt: skip
def test_without_a_rule_the_choices_are_shown(tmp_path: Path, names: list[str], shown: list[str]) -> None:
    for manifest in (None, jsonl(tmp_path / "m.jsonl", {"audio_filepath": names[0]})):
        with pytest.raises(SubjectUnknown) as caught:
            list_sources(touch(tmp_path, *names), manifest=manifest)
        for text in [*shown, "--subject-per-file", "--one-subject NAME", "--manifest FILE", "never guessed"]:
            assert text in str(caught.value)


RULES: dict[str, dict[str, Any]] = {
    "--speaker-pattern": {"speaker_pattern": "{speaker}"},
    "--one-subject": {"one_subject": "x"},
    "--subject-per-file": {"subject_per_file": True},
    "--layout librispeech": {"layout": "librispeech"},
    "column of speakers": {"manifest": "m.jsonl"},
}


@pytest.mark.parametrize("first", RULES)
@pytest.mark.parametrize("second", RULES)
def test_two_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, second: str) -> None:
    monkeypatch.chdir(touch(tmp_path, "a.wav"))
    jsonl(tmp_path / "m.jsonl", {"audio_filepath": "a.wav", "speaker": "a"})
    options = {**RULES[first], **RULES[second]}
    if first == second:
        if first == "--layout librispeech":
            with pytest.raises(InvalidArgument, match="none of the 1 recordings"):
                list_sources(tmp_path, **options)
        else:
            assert len(list_sources(tmp_path, **options)) == 1
        return
    with pytest.raises(InvalidArgument) as caught:
        list_sources(tmp_path, **options)
    assert first in str(caught.value)
    assert second in str(caught.value)


def test_options_without_their_object(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    with pytest.raises(InvalidArgument, match="--columns needs a manifest"):
        list_sources(tmp_path, one_subject="x", columns={"speaker": "who"})
    with pytest.raises(InvalidArgument, match="--only-listed needs a manifest"):
        list_sources(tmp_path, one_subject="x", only_listed=True)
    with pytest.raises(InvalidArgument, match=f"unknown layout 'libri': choose one of {', '.join(CHOICES)}"):
        list_sources(tmp_path, layout="libri")


WIDE = unicodedata.lookup("FULLWIDTH LATIN SMALL LETTER S") + "pk2"


def test_near_duplicates() -> None:
    names = [
        "spk1",
        "Spk 1",
        "SPK_1",
        "spk2",
        WIDE,
        "anna",
        "Anna",
        "anne",
        "1-12",
        "11-2",
        "1_12",
        "ß",
        "SS",
        "-",
        "_",
    ]
    assert near_duplicates(names) == [
        ("1-12", "1_12"),
        ("Anna", "anna"),
        ("SPK_1", "Spk 1", "spk1"),
        ("SS", "ß"),
        ("spk2", WIDE),
    ]
    assert near_duplicates(["a", "a"]) == []


# ------------------------------------------------------------------------------------------------------ manifests


def test_manifest_with_speakers(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav", "c.wav", ".h.wav", "sub/d.wav")
    manifest = jsonl(
        tmp_path / "m.jsonl",
        {"wav": "sub/d.wav", "speaker": "dora", "text": "hi", "duration": 2.5, "lang": "fr", "split": "d", "id": "u9"},
        {"audio_filepath": str(tmp_path / "a.wav"), "speaker": "anna", "snr": 3},
        {"audio_filepath": "none\x1b.wav", "speaker": "x"},
        {"audio_filepath": ".h.wav", "speaker": "x"},
        {"audio_filepath": "b.wav", "speaker": None},
    )  # fmt: skip
    sources = list_sources(tmp_path, manifest=manifest)
    assert column(sources, "path") == ["a.wav", "sub/d.wav"]
    first, second = sources.table.to_pylist()
    assert (first["subjects"], first["speaker"], first["utterance"], first["extra"]) == (
        ["anna"],
        "anna",
        "a",
        '{"snr":3}',
    )
    assert (second["transcript"], second["language"], second["split"], second["utterance"]) == ("hi", "fr", "d", "u9")
    assert (first["duration"], second["duration"], second["start"]) == (None, 2.5, None)
    assert sources.problems == [
        Problem(".h.wav", "line 4 of the manifest: is not among the recordings taken from SRC"),
        Problem("b.wav", "line 5 of the manifest names no speaker"),
        Problem("c.wav", "no row of the manifest names it, so its speaker is unknown"),
        Problem("none\\x1b.wav", "line 3 of the manifest: no such file"),
    ]
    assert (sources.unlisted, sources.settings) == (1, {"subject": {"manifest": True}})
    listed = list_sources(tmp_path, manifest=manifest, only_listed=True)
    assert listed.table.equals(sources.table)
    assert [problem.path for problem in listed.problems] == [".h.wav", "b.wav", "none\\x1b.wav"]
    assert listed.unlisted == 1


def test_manifest_without_speakers_beside_a_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "anna/dev_1.wav", "anna/dev_2.wav", "ben.wav", "x.wav")
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,text,split,n,note\nanna/dev_1.wav,hello,train,7,\nben.wav,nobody,,,\n")
    options = {"manifest": manifest, "speaker_pattern": "{speaker}/{split}_{n}"}
    sources = list_sources(tmp_path, **options)
    first, second = sources.table.to_pylist()
    assert (first["subjects"], first["transcript"], first["split"]) == (["anna"], "hello", "train")
    assert first["extra"] == '{"n":"7"}'
    assert (second["subjects"], second["transcript"], second["split"]) == (["anna"], "", "dev")
    assert second["extra"] == '{"n":"2"}'
    assert [(problem.path, problem.taken) for problem in sources.problems] == [
        ("anna/dev_2.wav", True),
        ("ben.wav", False),
        ("x.wav", False),
    ]
    listed = list_sources(tmp_path, only_listed=True, **options)
    assert column(listed, "path") == ["anna/dev_1.wav"]
    assert [problem.path for problem in listed.problems] == ["ben.wav"]


def test_common_voice(tmp_path: Path) -> None:
    touch(tmp_path, "eo/clips/cv_1.mp3", "eo/clips/cv_2.mp3")
    manifest = tmp_path / "eo/train.tsv"
    manifest.write_text('client_id\tpath\tsentence\tlocale\tage\nf00\tcv_2.mp3\t"Oh yes\teo\ttwenties\n')
    for src in (tmp_path / "eo", tmp_path / "eo/clips", tmp_path):
        sources = list_sources(src, manifest=manifest, only_listed=True)
        assert column(sources, "file") == [str(tmp_path / "eo/clips/cv_2.mp3")]
        assert column(sources, "transcript") == ['"Oh yes']
        assert (column(sources, "subjects"), column(sources, "language")) == ([["f00"]], ["eo"])


def test_the_folder_of_the_manifest_comes_before_src(tmp_path: Path) -> None:
    touch(tmp_path, "src/a.wav", "src/part/a.wav", "src/b.wav")
    row = {"speaker": "x"}
    manifest = jsonl(tmp_path / "src/part/m.jsonl", {**row, "wav": "a.wav"}, {**row, "wav": "../b.wav"})
    assert column(list_sources(tmp_path / "src", manifest=manifest), "path") == ["b.wav", "part/a.wav"]
    (tmp_path / "link").symlink_to("src")
    manifest = jsonl(tmp_path / "m.jsonl", {**row, "wav": str(tmp_path / "src/a.wav")}, {**row, "wav": "link/b.wav"})
    assert column(list_sources(tmp_path / "link", manifest=manifest), "path") == ["a.wav", "b.wav"]


def test_names_in_a_manifest_may_be_decomposed(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "é.wav")
    touch(tmp_path, "é.wav")
    sources = list_sources(tmp_path, manifest=jsonl(tmp_path / "m.json", {"wav": decomposed, "speaker": "x"}))
    assert column(sources, "path") == ["é.wav"]


def test_a_manifest_of_other_files(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    manifest = jsonl(tmp_path / "m.jsonl", {"wav": "/data/x.wav", "speaker": "x"})
    with pytest.raises(
        InvalidArgument, match=r"m\.jsonl names no recording under .*: its first row names '/data/x.wav'"
    ):
        list_sources(tmp_path, manifest=manifest)


def test_a_faulty_row_takes_its_recording_out(tmp_path: Path) -> None:
    """What the row wanted to say, about people too, is not known."""
    touch(tmp_path, "a.wav", "b.wav")
    manifest = jsonl(
        tmp_path / "m.jsonl",
        {"wav": "a.wav", "speaker": "x"},
        {"wav": "a.wav", "speaker": "y", "offset": "?"},
        {"wav": "b.wav", "speaker": "z"},
    )
    sources = list_sources(tmp_path, manifest=manifest)
    assert column(sources, "path") == ["b.wav"]
    assert [problem.path for problem in sources.problems] == ["a.wav"]
    assert "line 2 of the manifest: its offset is not a number" in sources.problems[0].reason
    sources = list_sources(tmp_path, manifest=manifest, columns={"speaker": ""}, one_subject="x")
    assert column(sources, "path") == ["b.wav"]


def test_an_empty_table_keeps_its_schema(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    manifest = jsonl(tmp_path / "m.jsonl", {"wav": "a.wav", "speaker": ""})
    sources = list_sources(tmp_path, manifest=manifest)
    assert len(sources) == 0
    assert isinstance(sources.table, pa.Table)
    assert sources.table.schema == SCHEMA
    assert len(sources.problems) == 2


def test_a_name_that_only_another_folder_has_may_be_another_recording(tmp_path: Path) -> None:
    """bob/1.wav is gone, and the 1.wav of somebody else has the same name."""
    touch(tmp_path, "1.wav", "bob/2.wav", "bob/3.wav")
    names = ("1.wav", "2.wav", "3.wav", str(tmp_path / "bob/3.wav"))
    rows = [{"audio_filepath": name, "speaker": "bob"} for name in names]
    sources = list_sources(tmp_path, manifest=jsonl(tmp_path / "bob/m.jsonl", *rows[:3]))
    assert by_path(sources, "subjects") == {"bob/2.wav": ["bob"], "bob/3.wav": ["bob"]}
    reasons = [problem.reason for problem in sources.problems if not problem.taken]
    assert any("it is there only relative to" in reason for reason in reasons)
    assert any("names it" in reason for reason in reasons)
    absolute = list_sources(tmp_path, manifest=jsonl(tmp_path / "bob/m.jsonl", rows[1], rows[3]))
    assert column(absolute, "path") == ["bob/2.wav", "bob/3.wav"]
