"""Where a manifest says that segments start and end: usual names, units, and what contradicts itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.columns import KNOWN_COLUMNS
from securedata.errors import InvalidArgument
from securedata.ingest.sources.recordings import SourceList, list_sources
from tests.kit.cli.commandline import Run, runner
from tests.kit.sources.folders import RATE, record

SECONDS = [(0.0, 1.0), (1.0, 2.5), (2.5, 2.75)]
FRAMES = [(round(a * RATE), round((b - a) * RATE)) for a, b in SECONDS]
FACTORS = {"": 1, "_s": 1, "_sec": 1, "_seconds": 1, "_ms": 1000, "_milliseconds": 1000, "_samples": RATE}


def sources_of(folder: Path, rows: list[dict[str, Any]], kind: str = "jsonl", **options: Any) -> SourceList:
    src = folder / "src"
    if not src.exists():
        record(src / "talk.wav", 4)
    full = [{"path": "talk.wav", "speaker": "ann", **row} for row in rows]
    if kind == "jsonl":
        text = "".join(json.dumps(row) + "\n" for row in full)
    else:
        names = list(full[0])
        text = "".join("\t".join(str(value) for value in line) + "\n" for line in [names, *(r.values() for r in full)])
    (folder / f"m.{kind}").write_text(text)
    return list_sources(src, manifest=folder / f"m.{kind}", **options)


def segments(sources: SourceList) -> list[tuple[Any, Any]]:
    assert not sources.problems
    rows = sources.table.select(["start", "frames_in_segment"]).to_pylist()
    return [(row["start"], row["frames_in_segment"]) for row in rows]


def number(value: float, factor: int) -> float | int:
    return value if factor == 1 else round(value * factor)


@pytest.mark.parametrize("kind", ["jsonl", "tsv"])
@pytest.mark.parametrize("suffix", FACTORS)
@pytest.mark.parametrize(
    ("start", "end"),
    [("start", "end"), ("Start_Time", "End_Time"), ("begin_time", "end_time"), ("begin", "stop"), ("offset", "end")],
)
def test_start_and_end(tmp_path: Path, start: str, end: str, suffix: str, kind: str) -> None:
    factor = FACTORS[suffix]
    rows: list[dict[str, Any]] = [
        {start + suffix: number(a, factor), end + suffix: number(b, factor)} for a, b in SECONDS
    ]
    assert segments(sources_of(tmp_path, rows, kind)) == FRAMES


@pytest.mark.parametrize("suffix", FACTORS)
def test_start_and_duration(tmp_path: Path, suffix: str) -> None:
    factor = FACTORS[suffix]
    rows = [{"start" + suffix: number(a, factor), "duration" + suffix: number(b - a, factor)} for a, b in SECONDS]
    assert segments(sources_of(tmp_path, rows)) == FRAMES


def test_torchaudios_names(tmp_path: Path) -> None:
    rows = [{"frame_offset": start, "num_frames": frames} for start, frames in FRAMES]
    assert segments(sources_of(tmp_path, rows)) == FRAMES


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1000), ("samples", RATE)])
def test_a_unit_that_the_caller_says(tmp_path: Path, unit: str, factor: int) -> None:
    rows = [{"start": number(a, factor), "end": number(b, factor)} for a, b in SECONDS]
    assert segments(sources_of(tmp_path, rows, segment_unit=unit)) == FRAMES


def test_columns_of_other_names(tmp_path: Path) -> None:
    rows = [{"t0_ms": a * 1000, "t1_ms": b * 1000} for a, b in SECONDS]
    assert segments(sources_of(tmp_path, rows, columns={"offset": "t0_ms", "end": "t1_ms"})) == FRAMES


def test_rows_may_name_their_times_differently(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"start": 0.0, "end": 1.0},
        {"start_ms": 1000, "end_ms": 2500},
        {"begin_time": 2.5, "duration": 0.25},
    ]
    assert segments(sources_of(tmp_path, rows)) == FRAMES


def test_all_three_may_agree_but_for_rounding(tmp_path: Path) -> None:
    rows = [{"start": a, "end": b, "duration": round(b - a, 1)} for a, b in SECONDS[:2]]
    assert segments(sources_of(tmp_path, rows)) == FRAMES[:2]


def test_a_whole_recording_stays_one(tmp_path: Path) -> None:
    assert segments(sources_of(tmp_path, [{"start": 0, "end": 4}])) == [(None, None)]
    assert segments(sources_of(tmp_path, [{"start": "", "end": ""}], "tsv")) == [(None, None)]
    assert segments(sources_of(tmp_path, [{"duration_samples": 4 * RATE}])) == [(None, None)]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"start": 2, "end": 1}, "it ends before it starts"),
        ({"start": 1, "end": 1}, "it ends before it starts"),
        ({"start": 1, "end": 2, "duration": 2}, "its end and its duration contradict each other"),
        ({"start_samples": 0, "end_samples": 80, "num_frames": 90}, "its end and its duration contradict"),
        ({"start": 1, "end": None}, "it has a start but no end"),
        ({"start": None, "end": 1}, "it has an end but no start"),
        (
            {"start": "soon", "end": 1},
            "its start is not a number of seconds from 0 (if it is not meant to be, give --columns offset=)",
        ),
        ({"start": 0, "end": "2020-01-01"}, "its end is not a number of seconds from 0"),
        ({"start": -1, "end": 1}, "its start is not a number"),
        ({"start_ms": 0, "end_ms": True}, "its end_ms is not a number of milliseconds"),
        ({"start_samples": 0.5, "end_samples": 9}, "its start_samples is not a number of samples"),
        ({"start": "inf", "end": 1}, "its start is not a number"),
        ({"start": 3, "end": 9}, "is not inside a recording"),
    ],
)
def test_what_contradicts_itself_is_the_fault_of_its_row(tmp_path: Path, row: dict[str, Any], fault: str) -> None:
    both = {name: value for name, value in row.items() if value is not None}
    record(tmp_path / "src" / "talk.wav", 4)
    record(tmp_path / "src" / "good.wav", 4)
    names = dict.fromkeys(row)
    good = {name: {"start": 0, "end": 1, "duration": 1}.get(name) for name in names}
    if not any("_" in name for name in names):
        sources = sources_of(tmp_path, [{**good, "path": "good.wav"}, both])
    else:
        sources = sources_of(tmp_path, [both])
    [problem] = [one for one in sources.problems if one.path == "talk.wav" and "no row" not in one.reason]
    assert fault in problem.reason
    assert not problem.taken


@pytest.mark.parametrize(
    ("row", "options", "reason"),
    [
        ({"end": 1}, {}, "a column 'end', but none for where a segment starts"),
        ({"end_time": 1, "duration": 1}, {}, "none for where a segment starts"),
        ({"start": 1}, {}, "it has a start but no end|none for where a segment ends"),
        (
            {"start_samples": 1, "end": 2},
            {},
            "times both in samples and in other units: 'start_samples' in samples, 'end' in s",
        ),
        ({"start_ms": 1, "end_ms": 2}, {"segment_unit": "s"}, "column 'start_ms' is in ms, but --segment-unit is s"),
        ({"onset": 1, "offset": 2}, {}, "'onset' and 'offset' could both be the offset: choose one"),
        ({"start": 1, "start_ms": 1000, "end": 2}, {}, "could both be the offset"),
    ],
)
def test_partial_and_contradictory_columns_are_errors(
    tmp_path: Path, row: dict[str, Any], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        sources_of(tmp_path, [row], **options)


def test_columns_that_are_no_segments_can_be_left_to_extra(tmp_path: Path) -> None:
    rows = [{"start": "2020-01-01", "end": "2020-01-02"}]
    sources = sources_of(tmp_path, rows, columns={"offset": None, "end": None})
    assert segments(sources) == [(None, None)]
    assert json.loads(sources.table.column("extra")[0].as_py()) == rows[0]


def test_nemos_offset_alone_goes_on_to_the_end(tmp_path: Path) -> None:
    assert segments(sources_of(tmp_path, [{"offset": 3}])) == [(3 * RATE, RATE)]


@pytest.mark.parametrize(
    ("start", "end", "factor"),
    [
        ("startTime", "endTime", 1),
        ("start time", "END-TIME", 1),
        ("Start (s)", "End (s)", 1),
        ("startMs", "end[ms]", 1000),
        ("starttime", "endtime", 1),
        ("segment_start_time", "segment_end_time", 1),
        ("seg_start", "seg_end", 1),
        ("clip_start_ms", "clip_end_ms", 1000),
        ("utterance_start_samples", "utterance_end_samples", RATE),
    ],
)
def test_the_usual_names_however_they_are_spelled(tmp_path: Path, start: str, end: str, factor: int) -> None:
    rows: list[dict[str, Any]] = [{start: number(a, factor), end: number(b, factor)} for a, b in SECONDS]
    assert segments(sources_of(tmp_path, rows)) == FRAMES


@pytest.mark.parametrize(
    ("start", "end"),
    [("xmin", "xmax"), ("from", "to"), ("start_us", "end_us"), ("start_frame", "end_frame"), ("t0", "t1")],
)
@pytest.mark.parametrize("kind", ["jsonl", "tsv"])
def test_what_sounds_like_a_segment_is_not_taken_for_a_whole_recording(
    tmp_path: Path, start: str, end: str, kind: str
) -> None:
    rows: list[dict[str, Any]] = [{"mood": "x", start: 1, end: 2}]
    with pytest.raises(InvalidArgument, match=f"--columns offset='{start}' --columns end='{end}'"):
        sources_of(tmp_path, rows, kind)
    assert segments(sources_of(tmp_path, rows, kind, columns={"end": None})) == [(None, None)]
    assert segments(sources_of(tmp_path, rows, kind, columns={"offset": start, "end": end})) == [(RATE, RATE)]


def test_a_later_row_may_be_the_first_that_sounds_so(tmp_path: Path) -> None:
    record(tmp_path / "src" / "talk.wav", 4)
    record(tmp_path / "src" / "other.wav", 4)
    with pytest.raises(InvalidArgument, match="'xmin' and 'xmax'"):
        sources_of(tmp_path, [{"path": "other.wav"}, {"xmin": 1, "xmax": 2}])


@pytest.mark.parametrize("row", [{"start_year": "1999-2", "end_year": "x"}, {"offset_mood": 1, "friend": 2}])
def test_what_is_no_number_or_no_pair_is_no_segment(tmp_path: Path, row: dict[str, Any]) -> None:
    assert segments(sources_of(tmp_path, [row])) == [(None, None)]


@pytest.mark.parametrize(
    "row", [{"offset": 1e308, "duration": 1e308}, {"start": 0, "end": 1e306}, {"start": 1e306, "end": 2e306}]
)
def test_times_beyond_all_frames_are_outside(tmp_path: Path, row: dict[str, Any]) -> None:
    (problem,) = sources_of(tmp_path, [row]).problems
    assert "is not inside a recording of 4.000 s" in problem.reason
    assert not problem.taken


def test_no_name_is_two_things() -> None:
    names = [name for names in KNOWN_COLUMNS.values() for name in names]
    assert len(names) == len(set(names))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run: Run = runner(capsys)
    record(tmp_path / "src" / "talk.wav", 4)
    (tmp_path / "m.tsv").write_text("path\tstart\tend\tspeaker\ntalk.wav\t0\t1000\tann\ntalk.wav\t1000\t2500\tann\n")
    options = ("--manifest", tmp_path / "m.tsv", "--segment-unit", "ms", "--json")
    done = run("encrypt", tmp_path / "src", tmp_path / "sealed", *options)
    assert (done.code, done.json["added"]) == (0, 2)
    assert run("encrypt", tmp_path / "src", tmp_path / "sealed", "--one-subject", "x", "--segment-unit", "ms").code == 2
