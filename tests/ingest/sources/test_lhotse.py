"""Lhotse manifests that are not as a recipe writes them: what is refused, what is lost, and who is not named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from securedata.errors import InvalidArgument, SubjectUnknown
from securedata.ingest.sources.recordings import list_sources
from securedata.ingest.sources.walk.tree import Problem
from tests.ingest.sources.test_odd_layouts import layout
from tests.kit.cli.commandline import Run
from tests.kit.sources.folders import by_path, column, counted, jsonl, record, text, touch
from tests.kit.sources.layouts import lhotse, lhotse_cuts, lhotse_recording, libritts, supervision


def two(root: Path) -> None:
    for n, name in enumerate("ab"):
        record(root / f"{name}.wav", seed=n)
    jsonl(root / "recordings.jsonl", *(lhotse_recording(name, f"{name}.wav") for name in "ab"))


@pytest.mark.parametrize("kind", ["command", "memory", "shar"])
def test_a_source_that_is_no_file_is_refused_by_its_line(kind: str, tmp_path: Path, run: Run) -> None:
    two(tmp_path / "src")
    piped = lhotse_recording("c", "sph2pipe c.sph |")
    piped["sources"][0]["type"] = kind
    lines = [lhotse_recording("a", "a.wav"), lhotse_recording("b", "b.wav"), piped]
    jsonl(tmp_path / "src/recordings.jsonl", *lines)
    ran = run("encrypt", tmp_path / "src", tmp_path / "sealed", "--name", "known")
    assert ran.code != 0
    assert f"recordings.jsonl, line 3: a source has the type {kind!r}, and only 'file' and 'url'" in ran.err
    jsonl(
        tmp_path / "src/cuts.jsonl",
        *({"id": "x", "start": 0, "duration": 0.1, "type": "MonoCut", "recording": one} for one in lines),
    )
    (tmp_path / "src/recordings.jsonl").unlink()
    with pytest.raises(InvalidArgument, match=r"cuts\.jsonl, line 3: a source has the type"):
        list_sources(tmp_path / "src")


def test_without_any_speaker_a_rule_says_it(tmp_path: Path) -> None:
    two(tmp_path)
    with pytest.raises(SubjectUnknown):
        list_sources(tmp_path)  # recordings alone
    jsonl(
        tmp_path / "supervisions.jsonl",
        supervision("u", "a", 0, 0.1, text="Ay.", speaker=None),
        supervision("v", "b", 0, 0.1, text="Bee.", speaker=" "),
    )
    with pytest.raises(SubjectUnknown) as caught:
        list_sources(tmp_path)
    assert "--columns" not in str(caught.value)
    sources = list_sources(tmp_path, subject_per_file=True)
    assert (column(sources, "subjects"), column(sources, "transcript")) == ([["a"], ["b"]], ["Ay.", "Bee."])
    assert (column(sources, "utterance"), column(sources, "duration")) == (["u", "v"], [0.1, 0.1])
    assert (sources.problems, counted(sources)) == ([], True)


def test_recordings_alone_are_taken_with_a_rule(tmp_path: Path) -> None:
    two(tmp_path)
    (tmp_path / "recordings.jsonl").rename(tmp_path / "train_recordings.jsonl")
    sources = list_sources(tmp_path, one_subject="ann")
    assert (column(sources, "utterance"), column(sources, "split")) == (["a", "b"], ["train", "train"])
    assert sources.problems == []


def test_where_only_some_have_a_speaker_the_others_are_not_taken(tmp_path: Path) -> None:
    two(tmp_path)
    jsonl(
        tmp_path / "supervisions.jsonl",
        supervision("u", "a", 0, 0.05, speaker="ann"),
        supervision("v", "a", 0.05, 0.05),
        supervision("w", "b", 0, 0.1, speaker="bob"),
    )
    sources = list_sources(tmp_path)
    assert (layout(sources), column(sources, "path"), column(sources, "speaker")) == ("lhotse", ["b.wav"], ["bob"])
    assert sources.problems == [Problem("a.wav", "line 2 of supervisions.jsonl names no speaker")]
    with pytest.raises(InvalidArgument, match="names the speakers, and so does --one-subject"):
        list_sources(tmp_path, one_subject="ann")


def test_nothing_is_lost_silently(tmp_path: Path) -> None:
    two(tmp_path)
    record(tmp_path / "c.wav", seed=3)
    jsonl(
        tmp_path / "recordings.jsonl",
        *(lhotse_recording(name, f"{name}.wav") for name in "ab"),
        lhotse_recording("gone", "gone.wav"),
    )
    jsonl(
        tmp_path / "supervisions.jsonl",
        supervision("u", "a", 0, 0.1, speaker="ann"),
        supervision("v", "nowhere", 0, 0.1, speaker="ann"),
        supervision("w", "gone", 0, 0.1, speaker="ann"),
        supervision("x", "b", 0, 0.1, speaker="bob"),
    )
    sources = list_sources(tmp_path)
    lost = "line 3 names no recording that is taken from SRC"
    assert sources.problems == [
        Problem("c.wav", "no row of the Lhotse manifests names it, so its speaker is unknown"),
        Problem("recordings.jsonl", f"{lost}: 'gone.wav'"),
        Problem(
            "supervisions.jsonl",
            "2 lines name no recording that is taken from SRC; the first is line 2, 'nowhere'",
        ),
    ]
    assert (column(sources, "path"), counted(sources)) == (["a.wav", "b.wav"], True)
    part = list_sources(tmp_path, leave_out=["b.wav", "c.wav"])
    assert [problem.path for problem in part.problems] == ["recordings.jsonl", "supervisions.jsonl"]
    assert part.problems[0].reason == f"{lost}: 'gone.wav'", "what was left out is not missed"
    assert part.problems[1].reason.startswith("2 lines")


def test_of_whole_recordings_no_header_is_read(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")  # whose header nobody could read
    jsonl(tmp_path / "recordings.jsonl", lhotse_recording("a", "a.wav"))
    jsonl(tmp_path / "supervisions.jsonl", supervision("u", "a", 0.0, 0.1001, speaker="ann"))
    sources = list_sources(tmp_path)
    assert (column(sources, "path"), column(sources, "duration"), sources.problems) == (["a.wav"], [0.1001], [])


def test_each_channel_has_its_file(tmp_path: Path) -> None:
    for n in range(3):
        record(tmp_path / f"{n}.wav", seed=n)
    jsonl(tmp_path / "recordings.jsonl", lhotse_recording("call", "0.wav", "1.wav"), lhotse_recording("2", "2.wav"))
    jsonl(
        tmp_path / "supervisions.jsonl",
        {**supervision("u", "call", 0, 0.1, speaker="ann")},
        {**supervision("v", "call", 0, 0.1, speaker="bob"), "channel": 1},
        {**supervision("w", "2", 0, 0.1, speaker="cy"), "channel": 1},
    )
    sources = list_sources(tmp_path)
    assert by_path(sources, "speaker") == {"0.wav": "ann", "1.wav": "bob"}
    assert by_path(sources, "extra")["1.wav"] == '{"channel":1,"recording_id":"call"}'
    reason = "line 3 of supervisions.jsonl: no source of its recording has its channel"
    assert sources.problems == [Problem("2.wav", reason)]
    both = {**supervision("u", "call", 0, 0.1, speaker="ann"), "channel": [0, 1]}
    jsonl(tmp_path / "supervisions.jsonl", both, supervision("w", "2", 0, 0.1, speaker="cy"))
    assert by_path(list_sources(tmp_path), "speaker") == {"0.wav": "ann", "1.wav": "ann", "2.wav": "cy"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"duration": None}, "it has no start or no duration"),
        ({"start": "soon"}, "its offset is not a number of seconds from 0"),
        ({"start": -0.01}, "its offset is not a number of seconds from 0"),
        ({"start": 0.2}, "from 0.2 s for 0.1 s is not inside a recording of 0.100 s"),
        ({"text": ["a"]}, "a list where text belongs"),
    ],
)
def test_an_impossible_supervision_is_the_fault_of_its_recording(
    wrong: dict[str, object], said: str, tmp_path: Path
) -> None:
    two(tmp_path)
    good, bad = supervision("u", "a", 0, 0.1, speaker="ann"), supervision("v", "b", 0, 0.1, speaker="bob")
    jsonl(tmp_path / "supervisions.jsonl", good, {**bad, **wrong})
    sources = list_sources(tmp_path)
    assert column(sources, "path") == ["a.wav"]
    assert sources.problems == [Problem("b.wav", f"line 2 of supervisions.jsonl: {said}")]


def test_cuts_that_cannot_be_taken(tmp_path: Path) -> None:
    for n in range(4):
        record(tmp_path / f"{n}.wav", seed=n)
    cuts = []
    for n in range(4):
        said = [supervision(f"s{n}", str(n), 0, 0.1, speaker="ann")]
        cut = {"id": f"c{n}", "start": 0, "duration": 0.1, "channel": 0, "supervisions": said, "type": "MonoCut"}
        cuts.append({**cut, "recording": lhotse_recording(str(n), f"{n}.wav")})
    cuts[1]["recording"]["transforms"] = [{"name": "Speed", "kwargs": {"factor": 0.9}}]
    cuts[2]["supervisions"] = []
    cuts[3] = {"id": "c3", "tracks": [{"cut": cuts[3]}], "type": "MixedCut"}
    jsonl(tmp_path / "cuts.jsonl", *cuts, {**cuts[0], "recording": None, "id": "c4"}, cuts[0])
    sources = list_sources(tmp_path)
    assert column(sources, "path") == ["0.wav"]
    assert [(problem.path, problem.reason, problem.taken) for problem in sources.problems] == [
        ("0.wav", "line 6 of cuts.jsonl is left out: line 1 names the same recording", True),
        (
            "1.wav",
            "line 2 of cuts.jsonl: its recording has transforms, so its times do not fit the file: use the "
            "manifest from before the transforms",
            False,
        ),
        ("2.wav", "line 3 of cuts.jsonl names no speaker", False),
        ("3.wav", "line 4 of cuts.jsonl: it is part of a cut of several recordings, which is not read", False),
        (
            "cuts.jsonl",
            "line 4 is not a cut of one recording (a MonoCut or MultiCut), and is not taken: 'c3'",
            False,
        ),
        ("cuts.jsonl", "line 5 holds no recording: 'c4'", False),
    ]
    assert counted(sources)


def test_cuts_beside_supervisions_are_not_read_and_named(tmp_path: Path) -> None:
    """They might name more people."""
    two(tmp_path)
    jsonl(tmp_path / "supervisions.jsonl", *(supervision(f"u{name}", name, 0, 0.1, speaker="ann") for name in "ab"))
    cut = {"id": "x", "start": 0, "duration": 0.1, "type": "MonoCut", "recording": lhotse_recording("a", "a.wav")}
    jsonl(tmp_path / "cuts.jsonl", cut)
    [problem] = list_sources(tmp_path).problems
    assert (problem.path, problem.taken) == ("cuts.jsonl", True)
    assert "is not read, for there are recordings and supervisions" in problem.reason


def test_manifests_that_cannot_be_read_or_are_others(tmp_path: Path) -> None:
    two(tmp_path)
    jsonl(tmp_path / "supervisions_a.jsonl", supervision("u", "a", 0, 0.1, speaker="ann"))
    jsonl(tmp_path / "supervisions_b.jsonl.gz", supervision("v", "b", 0, 0.1, speaker="bob"))
    packed = (tmp_path / "supervisions_b.jsonl.gz").read_bytes()
    (tmp_path / "supervisions_b.jsonl.gz").write_bytes(packed[:-9])
    jsonl(tmp_path / "my_cuts.jsonl", {"film": "one"})
    (tmp_path / "supervisions_c.jsonl").write_text("")
    sources = list_sources(tmp_path)
    assert column(sources, "path") == ["a.wav"]
    said = {problem.path: (problem.reason, problem.taken) for problem in sources.problems}
    assert said.keys() == {"b.wav", "my_cuts.jsonl", "supervisions_b.jsonl.gz"}
    assert said["my_cuts.jsonl"][0].startswith(
        "not read, because its first line lacks a field of Lhotse cuts: duration"
    )
    assert said["supervisions_b.jsonl.gz"][0].startswith("cannot be decompressed: ")
    assert (said["my_cuts.jsonl"][1], said["supervisions_b.jsonl.gz"][1], counted(sources)) == (True, False, True)
    (tmp_path / "supervisions_a.jsonl").write_text('{"id": "u", "recording_id": "a", "start": 0, "duration": 1}\n{')
    with pytest.raises(InvalidArgument, match=r"supervisions_a\.jsonl, line 2: not valid JSON"):
        list_sources(tmp_path)


def test_ids_that_mean_two_recordings(tmp_path: Path) -> None:
    two(tmp_path)
    jsonl(tmp_path / "recordings_train.jsonl", lhotse_recording("x", "a.wav"))
    jsonl(tmp_path / "recordings_dev.jsonl", lhotse_recording("x", "b.wav"))
    (tmp_path / "recordings.jsonl").unlink()
    jsonl(tmp_path / "supervisions.jsonl", supervision("u", "x", 0, 0.1, speaker="ann"))
    with pytest.raises(
        InvalidArgument, match=r"line 1: recordings_dev\.jsonl and recordings_train\.jsonl have different"
    ):
        list_sources(tmp_path)
    (tmp_path / "supervisions.jsonl").rename(tmp_path / "supervisions_dev.jsonl")
    assert by_path(list_sources(tmp_path, layout="lhotse"), "speaker") == {"b.wav": "ann"}
    jsonl(tmp_path / "recordings_dev.jsonl", lhotse_recording("x", "b.wav"), lhotse_recording("x", "a.wav"))
    with pytest.raises(InvalidArgument, match=r"line 2: line 1 of recordings_dev\.jsonl has a different recording"):
        list_sources(tmp_path)


def test_paths_through_a_link_and_from_another_machine(tmp_path: Path) -> None:
    lhotse(tmp_path / "src")
    (tmp_path / "link").symlink_to(tmp_path / "src")
    assert len(list_sources(tmp_path / "link")) == 4
    (tmp_path / "src").rename(tmp_path / "moved")
    assert column(list_sources(tmp_path / "moved"), "speaker") == ["cy", "ann"], "one path was absolute"
    two(tmp_path / "far")
    jsonl(tmp_path / "far/recordings.jsonl", lhotse_recording("a", "/elsewhere/a.wav"))
    with pytest.raises(InvalidArgument, match=r"the first file they name is '/elsewhere/a\.wav'"):
        list_sources(tmp_path / "far", layout="lhotse")
    with pytest.raises(InvalidArgument, match="holds no Lhotse manifests"):
        list_sources(tmp_path / "moved/audio", layout="lhotse")


@pytest.mark.parametrize("make", [lhotse, lhotse_cuts])
def test_manifests_apart_from_their_recordings_say_where_they_are(
    make: Callable[[Path], object], tmp_path: Path
) -> None:
    make(tmp_path / "all")
    for manifest in (tmp_path / "all").rglob("*.jsonl*"):
        (tmp_path / "manifests").mkdir(exist_ok=True)
        manifest.rename(tmp_path / "manifests" / manifest.name)
    text(tmp_path / "manifests/a_recordings.jsonl.gz", "no gzip")
    wanted = r"holds no recordings: .*\.jsonl.* names recordings that are not under it, such as '.*\.wav': give as SRC"
    with pytest.raises(InvalidArgument, match=wanted):
        list_sources(tmp_path / "manifests")
    piped = lhotse_recording("c", "sph2pipe secret |")
    piped["sources"][0]["type"] = "command"
    jsonl(tmp_path / "piped/recordings.jsonl", piped)
    with pytest.raises(InvalidArgument, match=r"0 left out$"):
        list_sources(tmp_path / "piped")


def test_a_corpus_with_names_of_its_own_is_that_one(tmp_path: Path) -> None:
    libritts(tmp_path)
    [folder] = tmp_path.glob("LibriTTS/*/84/121123")
    stems = sorted(path.stem for path in folder.glob("*.wav"))
    jsonl(
        tmp_path / "manifests/libritts_recordings_dev-clean.jsonl.gz",
        *(lhotse_recording(stem, str(folder / f"{stem}.wav")) for stem in stems),
    )
    jsonl(
        tmp_path / "manifests/libritts_supervisions_dev-clean.jsonl.gz",
        *(supervision(stem, stem, 0, 0.1, speaker="84", text="From Lhotse.") for stem in stems),
    )
    sources = list_sources(tmp_path)
    assert (layout(sources), column(sources, "transcript")) == ("libritts", ["Doctor who?", "Nobody."])
    chosen = list_sources(tmp_path, layout="lhotse")
    assert (column(chosen, "transcript"), column(chosen, "split")) == (["From Lhotse."] * 2, ["dev-clean"] * 2)
