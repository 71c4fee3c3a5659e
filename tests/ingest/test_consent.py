"""Consent from sources and options: taken, corrected by a later run, counted, and refused row by row."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import securedata as sd
from securedata.corpus.opening import open_manifest
from securedata.errors import InvalidArgument
from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.sources.recordings import clip, write_clips

END = datetime.datetime(2999, 12, 31, 23, 59, 59, 999_999, datetime.UTC)
COLUMNS = ("consent_id", "purposes", "expires", "last_contact")


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    return write_clips(tmp_path / "wavs", [clip(f"ann/{n}.wav", 0.05, seed=n) for n in range(4)])


def lines(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def cells(root: str | Path) -> dict[str, tuple[Any, ...]]:
    with open_manifest(str(root), columns=COLUMNS) as corpus:
        rows = corpus.table.select(["path", *COLUMNS]).to_pylist()
    return {row["path"]: tuple(row[name] for name in COLUMNS) for row in rows}


def test_a_manifest_says_it_and_a_later_one_corrects_it(wavs: Path, tmp_path: Path) -> None:
    root = tmp_path / "sealed"
    said = {"consent_id": "c-1", "purposes": ["asr", "tts"], "expires": "2999-12-31", "last_contact": "2999-12-31"}

    def run(*rows: dict[str, Any], **options: Any) -> sd.IngestReport:
        named = [{"audio_filepath": f"ann/{n}.wav", "speaker": "ann", **row} for n, row in enumerate(rows)]
        return sd.ingest(wavs, root, manifest=lines(wavs, *named), only_listed=True, **options)

    report = run(said, {"purposes": "asr;tts", "expires": ""}, {"purposes": []}, {})
    assert (report.added, report.consent) == (
        4,
        {"consent_id": 1, "purposes": 3, "expires": 1, "last_contact": 1},
    )
    assert cells(root) == {
        "ann/0.wav": ("c-1", ["asr", "tts"], END, END),
        "ann/1.wav": (None, ["asr", "tts"], None, None),
        "ann/2.wav": (None, [], None, None),
        "ann/3.wav": (None, None, None, None),
    }
    assert run(said, {}, {}, {}).unchanged == 4
    preview = run(said, {"consent_id": "c-2"}, {}, {"last_contact": "2999-12-31"}, dry_run=True)
    assert (preview.updated, preview.consent["consent_id"], preview.consent["last_contact"]) == (2, 1, 1)
    report = run({"purposes": ["asr"]}, {"consent_id": "c-2"}, {}, {"last_contact": "2999-12-31"})
    assert report.columns == {"purposes": 1, "consent_id": 1, "last_contact": 1}
    assert cells(root) == {
        "ann/0.wav": ("c-1", ["asr"], END, END),
        "ann/1.wav": ("c-2", ["asr", "tts"], None, None),
        "ann/2.wav": (None, [], None, None),
        "ann/3.wav": (None, None, None, END),
    }
    report = run({"expires": ""}, {}, {}, {}, clear=["expires", "last_contact"])
    assert report.columns == {"expires": 1, "last_contact": 2}
    assert [row[2:] for row in cells(root).values()] == [(None, None)] * 4
    with sd.open_corpus(root, purpose="asr") as corpus:
        assert sorted(corpus.table.column("path").to_pylist()) == ["ann/0.wav", "ann/1.wav"]


def test_a_bad_value_is_an_error_of_its_row(wavs: Path, tmp_path: Path) -> None:
    manifest = lines(
        wavs,
        {"audio_filepath": "ann/0.wav", "speaker": "ann", "expires": 1_830_297_600},
        {"audio_filepath": "ann/1.wav", "speaker": "ann", "purposes": 3},
        {"audio_filepath": "ann/2.wav", "speaker": "ann", "consent_id": True},
        {"audio_filepath": "ann/3.wav", "speaker": "ann", "expires": "2999-12-31"},
    )
    report = sd.ingest(wavs, tmp_path / "sealed", manifest=manifest)
    assert (report.added, report.complete) == (1, False)
    assert [problem.reason.partition(": ")[2][:24] for problem in report.problems] == [
        "its expires is a int, wh",
        "its purposes are a int, ",
        "its consent_id is a bool",
    ]


def test_parquet_has_dates_and_lists(wavs: Path, tmp_path: Path) -> None:
    table = pa.table(
        {
            "path": ["ann/0.wav", "ann/1.wav"],
            "speaker": ["ann", "ann"],
            "purposes": [["asr"], None],
            "expires": pa.array([datetime.date(2999, 12, 31), None]),
            "last_contact": pa.array([END, None], pa.timestamp("us", tz="Europe/Berlin")),
        }
    )
    pq.write_table(table, wavs / "rows.parquet")
    sd.ingest(wavs, tmp_path / "sealed", manifest=wavs / "rows.parquet", only_listed=True)
    assert list(cells(tmp_path / "sealed").values()) == [(None, ["asr"], END, END), (None, None, None, None)]


def test_options_hold_where_the_manifest_says_nothing(wavs: Path, tmp_path: Path, run: Run) -> None:
    root = tmp_path / "sealed"
    manifest = lines(
        wavs,
        {"audio_filepath": "ann/0.wav", "speaker": "ann", "consent_id": "own", "purposes": []},
        {"audio_filepath": "ann/1.wav", "speaker": "ann", "expires": "2998-01-01T00:00Z"},
    )
    options = ("--consent", "c-9", "--purpose", "asr", "--purpose", "tts", "--expires", "2999-12-31", "--only-listed")
    done = run("encrypt", wavs, root, "--manifest", manifest, *options)
    assert "with consent in the sources, of 2: an id 2, purposes 2, an end 2" in done.out
    assert cells(root) == {
        "ann/0.wav": ("own", [], END, None),
        "ann/1.wav": ("c-9", ["asr", "tts"], datetime.datetime(2998, 1, 1, tzinfo=datetime.UTC), None),
    }
    rest = run("encrypt", wavs, root, *PATTERN, "--expires", "2999-12-31", "--dry-run")
    assert "with consent in the sources, of 3: an end 3" in rest.out
    assert run("encrypt", wavs, root, "--one-subject", "ann", "--expires", "tomorrow").code == 2
    with pytest.raises(InvalidArgument, match=r"--consent, --purpose and --expires: its expires is a int.*expires="):
        sd.ingest(wavs, root, one_subject="ann", expires=2999)
