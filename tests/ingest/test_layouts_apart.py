"""In every layout that can name segments, those of different people become objects of their own."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from securedata.corpus.opening import open_corpus
from securedata.corpus.schema import ALL, CUT
from tests.kit.cli.commandline import Run
from tests.kit.sources.folders import jsonl, text
from tests.kit.sources.layouts import lhotse_recording, supervision
from tests.kit.sources.recordings import encode, noise, read
from tests.kit.sources.shards import as_json, table_of, write_arrow, write_parquet, write_tar

RATE = 8000
SECONDS = 3.0
Said = tuple[float, float, str]
"""From, to, in seconds; who."""

APART: tuple[Said, ...] = ((0.25, 1.0, "ann"), (1.0, 1.75, "ben"), (2.0, 2.5, "ann"))
OVER: tuple[Said, ...] = ((0.25, 1.0, "ann"), (0.75, 1.75, "ben"), (2.0, 2.5, "ann"))


def rows(
    said: Sequence[Said], path: str, end: str = "", length: str = "", start: str = "start"
) -> list[dict[str, Any]]:
    return [
        {
            path: "talk.wav",
            start: begin,
            **({end: stop} if end else {}),
            **({length: stop - begin} if length else {}),
            "speaker": who,
            "text": f"words {number}",
        }
        for number, (begin, stop, who) in enumerate(said)
    ]


def table(path: Path, lines: list[dict[str, Any]], delimiter: str) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(lines)


def kaldi(src: Path, said: Sequence[Said]) -> None:
    text(src / "data/wav.scp", f"rec {src}/talk.wav\n")
    text(src / "data/segments", "".join(f"u{n} rec {begin} {end}\n" for n, (begin, end, _) in enumerate(said)))
    text(src / "data/utt2spk", "".join(f"u{n} {who}\n" for n, (_, _, who) in enumerate(said)))


def stm(src: Path, said: Sequence[Said]) -> None:
    text(src / "stm/talk.stm", "".join(f"talk 1 {who} {begin} {end} <o> words\n" for begin, end, who in said))
    (src / "sph").mkdir()
    (src / "talk.wav").rename(src / "sph/talk.wav")


def lhotse(src: Path, said: Sequence[Said]) -> None:
    jsonl(src / "recordings.jsonl", lhotse_recording("r", "talk.wav", seconds=SECONDS))
    lines = [supervision(f"s{n}", "r", begin, end - begin, speaker=who) for n, (begin, end, who) in enumerate(said)]
    jsonl(src / "supervisions.jsonl", *lines)


def one_cut(src: Path, said: Sequence[Said]) -> None:
    """All in one cut, as a recogniser of who speaks when writes them."""
    lines = [supervision(f"s{n}", "r", begin, end - begin, speaker=who) for n, (begin, end, who) in enumerate(said)]
    cut = {"id": "c", "start": 0, "duration": SECONDS, "channel": 0, "type": "MonoCut", "supervisions": lines}
    jsonl(src / "cuts.jsonl", {**cut, "recording": lhotse_recording("r", "talk.wav", seconds=SECONDS)})


def a_cut_each(src: Path, said: Sequence[Said]) -> None:
    of = lhotse_recording("r", "talk.wav", seconds=SECONDS)
    lines = []
    for number, (begin, end, who) in enumerate(said):
        cut = {"id": f"c{number}", "start": begin, "duration": end - begin, "channel": 0, "type": "MonoCut"}
        inside = supervision(f"s{number}", "r", 0, end - begin, speaker=who)
        lines.append({**cut, "supervisions": [inside], "recording": of})
    jsonl(src / "cuts.jsonl", *lines)


MANIFEST = "--manifest"
LAYOUTS: dict[str, tuple[Callable[[Path, Sequence[Said]], object], Sequence[str]]] = {
    "kaldi": (kaldi, ()),
    "stm": (stm, ()),
    "lhotse": (lhotse, ()),
    "lhotse, one cut": (one_cut, ()),
    "lhotse, a cut each": (a_cut_each, ()),
    "nemo": (
        lambda src, said: jsonl(src / "m.json", *rows(said, "audio_filepath", length="duration", start="offset")),
        (MANIFEST, "m.json"),
    ),
    "jsonl in milliseconds": (
        lambda src, said: jsonl(
            src / "m.jsonl",
            *rows([(begin * 1000, end * 1000, who) for begin, end, who in said], "path", "end_ms", start="start_ms"),
        ),
        (MANIFEST, "m.jsonl"),
    ),
    "csv": (lambda src, said: table(src / "m.csv", rows(said, "file", "end"), ","), (MANIFEST, "m.csv")),
    "tsv in samples": (
        lambda src, said: table(
            src / "m.tsv",
            rows([(int(b * RATE), int(e * RATE), who) for b, e, who in said], "path", length="num_frames",
                 start="frame_offset"),
            "\t",
        ),
        (MANIFEST, "m.tsv"),
    ),
    "parquet manifest": (
        lambda src, said: pq.write_table(pa.Table.from_pylist(rows(said, "path", "end")), src / "m.parquet"),
        (MANIFEST, "m.parquet"),
    ),
    "audiofolder, jsonl": (lambda src, said: jsonl(src / "metadata.jsonl", *rows(said, "file_name", "end")), ()),
    "audiofolder, csv": (lambda src, said: table(src / "metadata.csv", rows(said, "file_name", "end"), ","), ()),
    "audiofolder, parquet": (
        lambda src, said: pq.write_table(
            pa.Table.from_pylist(rows(said, "file_name", length="duration")), src / "metadata.parquet"
        ),
        (),
    ),
}  # fmt: skip


@pytest.mark.parametrize("said", [APART, OVER], ids=["one after the other", "overlapping"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_segments_of_different_people(run: Run, tmp_path: Path, layout: str, said: Sequence[Said]) -> None:
    make, options = LAYOUTS[layout]
    src, root = tmp_path / "src", tmp_path / "sealed"
    src.mkdir()
    recording = encode(noise(SECONDS, RATE), RATE)
    (src / "talk.wav").write_bytes(recording)
    make(src, said)
    done = run("encrypt", src, root, *options, "--json")
    assert done.code == 0, done.err
    assert (done.json["added"], done.json["apart"]["recordings"], done.json["apart"]["segments"]) == (3, 1, 3)
    overlaps = said is OVER
    assert len(done.json["apart"]["overlapping"]) == (2 if overlaps else 0)
    with open_corpus(str(root), columns=[*ALL, *CUT.names]) as corpus:
        found = sorted(corpus.table.to_pylist(), key=lambda row: span_of(row["path"]))
        for row in found:
            begin, end = span_of(row["path"])
            audio = read(bytes(corpus.read(row["path"])))
            assert audio.tobytes() == read(recording, begin, end - begin).tobytes(), "its segment, and nothing else"
    assert {row["start"] for row in found} == {None}
    assert len({row["object_id"] for row in found}) == 3
    people = [{"ann", "ben"} if overlaps and at < 2 else {who} for at, (_, _, who) in enumerate(said)]
    assert [row["speaker"] for row in found] == [who for _, _, who in said]
    assert [set(row["subjects"]) for row in found] == people


def hub(src: Path, data: bytes, said: Sequence[Said], write: Callable[..., object] = write_parquet) -> None:
    suffix = "arrow" if write is write_arrow else "parquet"
    columns = {"speaker": [who for *_, who in said], "start": [one[0] for one in said], "end": [one[1] for one in said]}
    write(src / f"train.{suffix}", table_of([(data, "talk.wav")] * len(said), **columns))


def tar(src: Path, data: bytes, said: Sequence[Said]) -> None:
    members = []
    for number, (begin, end, who) in enumerate(said):
        members += [(f"{number}.wav", data), (f"{number}.json", as_json(speaker=who, start=begin, end=end))]
    write_tar(src / "x-000.tar", members)


SHARDS: dict[str, Callable[[Path, bytes, Sequence[Said]], None]] = {
    "parquet": hub,
    "arrow": lambda src, data, said: hub(src, data, said, write_arrow),
    "webdataset": tar,
}


@pytest.mark.parametrize("kind", SHARDS)
def test_rows_of_a_shard_with_a_copy_each(run: Run, tmp_path: Path, kind: str) -> None:
    """Nothing but its bytes tells that a row's recording is that of another row, so each is cut to its segment."""
    src, root = tmp_path / "src", tmp_path / "sealed"
    recording = encode(noise(SECONDS, RATE), RATE)
    SHARDS[kind](src, recording, APART)
    options = ("--columns", "offset=start", "--columns", "end=end", "--json")
    done = run("encrypt", src, root, *options)
    assert done.code == 0, done.err
    assert (done.json["added"], done.json["apart"]["segments"]) == (3, 3)
    assert done.json["apart"]["seconds_left_out"] == pytest.approx(9 - 2)
    with open_corpus(str(root), columns=ALL) as corpus:
        found = sorted(corpus.table.to_pylist(), key=lambda row: span_of(row["path"]))
        assert [row["subjects"] for row in found] == [[who] for *_, who in APART]
        for row in found:
            begin, end = span_of(row["path"])
            audio = read(bytes(corpus.read(row["path"])))
            assert audio.tobytes() == read(recording, begin, end - begin).tobytes(), "its segment, and nothing else"
    again = run("encrypt", src, root, *options)
    assert (again.code, again.json["unchanged"], again.json["bytes"]) == (0, 3, 0)


def span_of(path: str) -> tuple[int, int]:
    begin, end = path.rpartition("@")[2].partition(".")[0].split("-")
    return int(begin), int(end)
