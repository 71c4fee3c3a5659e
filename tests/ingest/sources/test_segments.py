"""Segments of longer recordings: frames, paths, and people who share an object."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securedata.corpus.schema import check_path
from securedata.corpus.segments import overlapping, recording_path, segment_path, to_frames, uncovered
from securedata.errors import InvalidArgument
from securedata.ingest.sources.apart import Apart
from securedata.ingest.sources.recordings import list_sources
from securedata.ingest.sources.walk.tree import Problem
from securedata.media.audio.probe import AudioInfo
from tests.kit.sources.folders import by_path, column, jsonl, record, touch


def test_segments(tmp_path: Path) -> None:
    record(tmp_path / "talk.wav", 10)
    record(tmp_path / "other.wav", 1)
    part = {"audio_filepath": "talk.wav", "speaker": "anna"}
    manifest = jsonl(
        tmp_path / "m.jsonl",
        {**part, "offset": 4.5, "duration": 1.25, "text": "two"},
        {**part, "offset": 0, "duration": 2, "text": "one", "id": "u1"},
        {**part, "offset": 9, "text": "three"},
        {**part, "text": "all"},
        {**part, "offset": 9.5, "duration": 3, "text": "beyond"},
        {**part, "offset": 4.5, "duration": 1.25, "text": "again"},
        {"audio_filepath": "other.wav", "speaker": "ben", "offset": 0.0, "duration": 0.996},
    )
    sources = list_sources(tmp_path, manifest=manifest)
    rows = sources.table.to_pylist()
    assert [(row["path"], row["start"], row["frames_in_segment"], row["transcript"]) for row in rows] == [
        ("other.wav", None, None, ""),  # an offset of 0 up to the end, but for rounding, is the whole recording
        ("talk@0-16000.wav", 0, 16000, "one"),
        ("talk.wav", None, None, "all"),
        ("talk@36000-46000.wav", 36000, 10000, "two"),
        ("talk@72000-80000.wav", 72000, 8000, "three"),
    ]
    assert [row["utterance"] for row in rows] == ["other", "u1", "talk", "talk@36000-46000", "talk@72000-80000"]
    assert [row["duration"] for row in rows] == [0.996, None, None, None, None]
    assert {row["file"] for row in rows[1:]} == {str(tmp_path / "talk.wav")}
    for row in rows:
        check_path(row["path"])
        assert recording_path(row["path"], row["start"], row["frames_in_segment"]) in ("talk.wav", "other.wav")
    assert sources.problems == [
        Problem("talk.wav", "line 5 of the manifest: from 9.5 s for 3.0 s is not inside a recording of 10.000 s"),
        Problem(
            "talk.wav",
            "line 6 of the manifest is left out: line 1 names the same recording with other values",
        ),
    ]


def test_the_utterance_of_a_segment_is_not_that_of_the_file(tmp_path: Path) -> None:
    record(tmp_path / "anna_7.wav", 2)
    manifest = jsonl(tmp_path / "m.jsonl", {"wav": "anna_7.wav", "offset": 1}, {"wav": "anna_7.wav"})
    sources = list_sources(tmp_path, manifest=manifest, speaker_pattern="{speaker}_{utterance}")
    assert column(sources, "utterance") == ["7", "anna_7@8000-16000"]


@pytest.mark.parametrize(
    ("offset", "duration", "expected"),
    [
        (0, None, None),
        (0, 10.01, None),
        (0, 9.99, None),
        (0, 9.98, (0, 79840)),
        (9, 1.01, (72000, 8000)),
        (9, 0.999, (72000, 7992)),
        (9.99999, None, ValueError),
        (10, 0.005, ValueError),
        (9, 1.02, (72000, 8000)),
        (9, 1.5, (72000, 8000)),
        (9, 1.501, ValueError),
        (0, 10.5, None),
        (0, 10.501, ValueError),
        (0.0, 10.3, None),
        (10, 0.3, ValueError),
        (3, 0, ValueError),
    ],
)
def test_seconds_to_frames(offset: float, duration: float | None, expected: Any) -> None:
    info = AudioInfo("WAV", "PCM_16", 8000, 1, 80000, 44)
    if expected is ValueError:
        with pytest.raises(ValueError, match=r"not inside a recording of 10\.000 s"):
            to_frames(offset, duration, info)
    else:
        assert to_frames(offset, duration, info) == expected


def test_what_ends_a_little_late_is_taken_and_said(tmp_path: Path) -> None:
    """The same tolerance for a segment, for an offset of 0, and for a duration alone (which sealing compares)."""
    for name in ("a.wav", "b.wav", "c.wav", "d.wav"):
        record(tmp_path / name, 10)
    late = [
        {"wav": "a.wav", "speaker": "anna", "offset": 0, "duration": 10.4},
        {"wav": "b.wav", "speaker": "anna", "offset": 9, "duration": 1.4},
        {"wav": "c.wav", "speaker": "anna", "offset": 9, "duration": 1.01},
        {"wav": "d.wav", "speaker": "anna", "offset": 0, "duration": 10.6},
    ]
    sources = list_sources(tmp_path, manifest=jsonl(tmp_path / "m.jsonl", *late))
    assert column(sources, "path") == ["a.wav", "b@72000-80000.wav", "c@72000-80000.wav"]
    said = "of the manifest ends 0.40 s after the recording ends, and is cut off there"
    assert sources.problems == [
        Problem("a.wav", f"line 1 {said}", taken=True),
        Problem("b.wav", f"line 2 {said}", taken=True),
        Problem("d.wav", "line 4 of the manifest: from 0.0 s for 10.6 s is not inside a recording of 10.000 s"),
    ]


def test_segments_of_different_people_are_parted(tmp_path: Path) -> None:
    record(tmp_path / "talk.wav", 4)
    rows: list[dict[str, object]] = [
        {"wav": "talk.wav", "speaker": "anna", "offset": 0, "duration": 1},
        {"wav": "talk.wav", "speaker": "ben", "offset": 2, "duration": 1},
    ]
    sources = list_sources(tmp_path, manifest=jsonl(tmp_path / "m.jsonl", *rows))
    assert column(sources, "subjects") == [["anna"], ["ben"]]
    assert column(sources, "apart") == [True, True]
    assert sources.apart == Apart(recordings=1, segments=2, overlapping=[], seconds_left_out=2.0)
    # The same, with everyone who is heard in the recording named in each row.
    rows[0]["subjects"], rows[1]["subjects"] = ["anna", "ben"], ["ben", "anna"]
    sources = list_sources(tmp_path, manifest=jsonl(tmp_path / "m.jsonl", *rows))
    assert column(sources, "subjects") == [["anna", "ben"], ["ben", "anna"]]
    assert column(sources, "apart") == [False, False]
    assert sources.apart == Apart()
    assert column(sources, "speaker") == ["anna", "ben"]
    del rows[0]["speaker"], rows[1]["speaker"]
    assert column(list_sources(tmp_path, manifest=jsonl(tmp_path / "m.jsonl", *rows)), "speaker") == ["", ""]
    # One row that names nobody leaves it open who else is heard.
    rows[0]["subjects"] = None
    rows.append({"wav": str(touch(tmp_path, "b.wav") / "b.wav"), "subjects": "x"})
    sources = list_sources(tmp_path, manifest=jsonl(tmp_path / "m.jsonl", *rows))
    assert column(sources, "path") == ["b.wav"]
    assert sources.problems == [Problem("talk.wav", "line 1 of the manifest names no speaker")]


def test_who_is_heard_while_others_speak(tmp_path: Path) -> None:
    record(tmp_path / "talk.wav", 10)
    said = [("anna", 0, 2), ("ben", 1.5, 3), ("carl", 1.75, 0.125), ("anna", 6, 1), ("dora", 7, 1), ("eve", 7, 1)]
    rows = [{"wav": "talk.wav", "speaker": who, "offset": at, "duration": long} for who, at, long in said]
    sources = list_sources(tmp_path, manifest=jsonl(tmp_path / "m.jsonl", *rows))
    assert by_path(sources, "subjects") == {
        "talk@0-16000.wav": ["anna", "ben", "carl"],
        "talk@12000-36000.wav": ["ben", "anna", "carl"],
        "talk@14000-15000.wav": ["carl", "anna", "ben"],
        "talk@48000-56000.wav": ["anna"],
        "talk@56000-64000.wav": ["dora", "eve"],  # whose row is left out, and who is heard
    }
    assert column(sources, "speaker") == ["anna", "ben", "carl", "anna", "dora"]
    assert [one.taken for one in sources.problems] == [False]
    paths = [path for path in column(sources, "path") if path != "talk@48000-56000.wav"]
    assert (sources.apart.overlapping, sources.apart.segments) == (paths, 5)
    assert sources.apart.seconds_left_out == 10 - 4.5 - 2


def test_all_of_a_recording_beside_segments_of_others(tmp_path: Path) -> None:
    record(tmp_path / "talk.wav", 4)
    rows = [{"wav": "talk.wav", "speaker": "anna"}, {"wav": "talk.wav", "speaker": "ben", "offset": 1, "duration": 1}]
    sources = list_sources(tmp_path, manifest=jsonl(tmp_path / "m.jsonl", *rows))
    assert by_path(sources, "apart") == {"talk.wav": False, "talk@8000-16000.wav": True}
    assert column(sources, "subjects") == [["anna", "ben"], ["ben", "anna"]]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)).map(lambda one: (one[0], sum(one))), max_size=9))
def test_overlaps_and_what_no_segment_covers(spans: list[tuple[int, int]]) -> None:
    frames = [set(range(*span)) for span in spans]
    for i, others in enumerate(overlapping(spans)):
        assert sorted(others) == [j for j in range(len(spans)) if j != i and frames[i] & frames[j]]
    assert uncovered(spans, 29) == 29 - len(set().union(*frames))


def test_segments_of_what_is_no_audio(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    manifest = jsonl(tmp_path / "m.jsonl", {"wav": "a.wav", "offset": 1}, {"wav": "b.wav"})
    sources = list_sources(tmp_path, manifest=manifest, one_subject="x")
    assert column(sources, "path") == ["b.wav"]  # not opened here
    assert sources.problems == [Problem("a.wav", "the file is empty")]


def test_a_file_with_the_name_of_a_segment(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", 2)
    touch(tmp_path, "a@0-8000.wav")
    manifest = jsonl(tmp_path / "m.jsonl", {"wav": "a.wav", "offset": 0, "duration": 1})
    with pytest.raises(InvalidArgument, match=r"both be 'a@0-8000\.wav'"):
        list_sources(tmp_path, manifest=manifest, one_subject="x")


@given(start=st.integers(0, 10**12), frames=st.integers(1, 10**12), path=st.text(alphabet="ab./@-19", min_size=1))
def test_the_path_of_a_segment_gives_the_recording_back(start: int, frames: int, path: str) -> None:
    assert recording_path(segment_path(path, start, frames), start, frames) == path
    assert recording_path(path, None, None) == path


@given(rate=st.sampled_from([8000, 22050, 48000]), frames=st.integers(1, 10**7), data=st.data())
def test_frames_of_a_segment_lie_inside_the_recording(rate: int, frames: int, data: st.DataObject) -> None:
    info = AudioInfo("WAV", "PCM_16", rate, 1, frames, 44)
    length = frames / rate
    offset = data.draw(st.floats(0, 2 * length))
    duration = data.draw(st.none() | st.floats(0, 2 * length))
    try:
        segment = to_frames(offset, duration, info)
    except ValueError:
        start, end = round(offset * rate), frames if duration is None else round((offset + duration) * rate)
        assert start >= min(end, frames) or end > frames + rate // 2
        return
    if segment is None:
        assert round(offset * rate) == 0
        assert duration is None or -0.01 - 1 / rate <= duration - length <= 0.5 + 1 / rate
    else:
        assert 0 <= segment[0] == round(offset * rate)
        assert 1 <= segment[1] <= frames - segment[0]


def test_a_manifest_of_segments_opens_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path / "a.wav", 10)
    record(tmp_path / "b.wav", 1)
    opened: list[str] = []
    real = os.open

    def tracking(path: str, *rest: Any, **options: Any) -> int:
        opened.append(path)
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", tracking)
    rows = [{"wav": "a.wav", "offset": i, "duration": 1} for i in range(10)] + [{"wav": "b.wav"}]
    sources = list_sources(tmp_path, manifest=jsonl(tmp_path / "m.jsonl", *rows), one_subject="x")
    assert len(sources) == 11
    assert [os.path.basename(path) for path in opened if str(path).endswith(".wav")] == ["a.wav"]


@pytest.mark.parametrize("name", ["transcript", "speaker", "utterance", "split", "lang", "xmin"])
def test_a_row_that_is_left_out_says_nothing_of_its_own_or_counts(tmp_path: Path, name: str) -> None:
    """A table of segments under names that nobody knows takes the whole file once: that is no success."""
    record(tmp_path / "talk.wav", 2)
    rows = [{"audio_filepath": "talk.wav", "subjects": ["a", "b"], name: value} for value in ("a", "a", "b")]
    sources = list_sources(tmp_path, manifest=jsonl(tmp_path / "m.jsonl", *rows))
    assert len(sources) == 1
    same, other = sorted(sources.problems, key=lambda one: not one.taken)
    assert (same.taken, other.taken) == (True, False)
    assert "--columns offset=NAME end=NAME" in other.reason
