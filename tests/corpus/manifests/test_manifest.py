"""Manifests for other tools: what each says, that its URLs open, and that our own readers read it back."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import soundfile

import securedata as sd
from securedata.errors import AlreadyExists, InvalidArgument, NoSuchPath, PlaintextRefused
from securedata.ingest.sources.manifest_reader import read_rows
from tests.kit.cli.commandline import Run
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import clip, read


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Two people, two formats, two channels, and two segments of one recording."""
    return make_corpus(
        tmp_path,
        [
            clip("ann/a b.wav", 0.5, seed=1),
            clip("ann/talk.wav", 1.0, seed=2, segments=[(0, 8_000), (8_000, 4_000)]),
            clip("zoë/c.flac", 0.5, seed=3, channels=2, speaker="zoë", transcript='demat, "ya"'),
        ],
    )


def entries(format: str, **options: Any) -> list[dict[str, Any]]:
    with sd.manifest("voice-a", format, **options) as made:
        return [json.loads(line) for line in made]


def heard(url: str, offset: float, duration: float, rate: int) -> Any:
    """What a tool would hear."""
    with fsspec.open(url, "rb") as file:
        samples, found = soundfile.read(io.BytesIO(file.read()), dtype="float32", always_2d=True)
    assert found == rate
    start = round(offset * rate)
    return samples.T[:, start : start + round(duration * rate)]


def expected(root: Root) -> list[Any]:
    talk = read(root.clips[1].data)
    return [read(root.clips[0].data), talk[:, :8_000], talk[:, 8_000:12_000], read(root.clips[2].data)]


def test_nemo(root: Root) -> None:
    found = entries("nemo")
    assert [one["audio_filepath"].rpartition("/")[2] for one in found] == [
        "a b.wav",
        "talk@0-8000.wav",
        "talk@8000-12000.wav",
        "c.flac",
    ]
    for one, audio in zip(found, expected(root), strict=True):
        assert one["sampling_rate"] == 16_000
        assert np.array_equal(heard(one["audio_filepath"], one.get("offset", 0), one["duration"], 16_000), audio)
    assert (found[2]["offset"], found[2]["duration"]) == (0.5, 0.25)
    assert {"text", "speaker", "subjects"} <= found[0].keys()


def test_lhotse(root: Root) -> None:
    for one, audio in zip(entries("lhotse"), expected(root), strict=True):
        recording, [supervision] = one["recording"], one["supervisions"]
        [source] = recording["sources"]
        assert source["type"] == "url"
        assert one["type"] == ("MonoCut" if len(audio) == 1 else "MultiCut")
        assert recording["num_samples"] / recording["sampling_rate"] == recording["duration"]
        assert np.array_equal(heard(source["source"], one["start"], one["duration"], 16_000), audio)
        assert (supervision["recording_id"], supervision["start"]) == (recording["id"], 0)
        assert supervision["duration"] == one["duration"]


def test_hugging_face_and_csv(root: Root) -> None:
    found = entries("hf")
    assert all(one.keys() == found[0].keys() for one in found)
    with sd.manifest("voice-a", "csv") as made:
        rows = list(csv.DictReader(made))
    for one, row, audio in zip(found, rows, expected(root), strict=True):
        assert np.array_equal(heard(one["audio"], one["offset"], one["duration"], 16_000), audio)
        assert row == {
            name: cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False) for name, cell in one.items()
        }


def test_kaldi(root: Root, tmp_path: Path) -> None:
    with sd.manifest("voice-a", "kaldi") as made:
        with pytest.raises(InvalidArgument, match=r"-o \(in Python: save\)"):
            list(made)
        with pytest.raises(PlaintextRefused):
            made.save(tmp_path / "data")
        assert not (tmp_path / "data").exists()
        files = made.save(tmp_path / "data", allow_plaintext_export=True)
        assert files == made.save(tmp_path / "data", allow_plaintext_export=True)
    tables = {Path(file).name: Path(file).read_text().splitlines() for file in files}
    assert all(lines == sorted(lines, key=str.encode) for lines in tables.values())
    names = {name: [line.split()[0] for line in lines] for name, lines in tables.items()}
    assert names["wav.scp"] == names["utt2spk"] == names["segments"] == names["utt2dur"]
    assert "ann-ann/a%20b.wav securedata cat 'securedata://voice-a/ann/a b.wav' |" in tables["wav.scp"]
    assert tables["segments"][2].split()[2:] == ["0.500000", "0.750000"]
    for line in tables["wav.scp"]:
        command = line.split(" ", 1)[1].removesuffix("|").split(" | ")[0].replace("securedata", "$0 -m securedata", 1)
        done = subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, check=True)
        assert soundfile.info(io.BytesIO(done.stdout)).samplerate == 16_000
    (tmp_path / "data/text").write_text("other\n")
    with sd.manifest("voice-a", "kaldi") as made, pytest.raises(AlreadyExists):
        made.save(tmp_path / "data", allow_plaintext_export=True)


def test_two_rows_never_have_one_name_in_kaldi(tmp_path: Path) -> None:
    clips = [("x-u.wav", "a-p", "one"), ("p-x-u.wav", "a", "two")]
    make_corpus(tmp_path, [clip(path, 0.1, speaker=who, transcript=words) for path, who, words in clips])
    with sd.manifest("voice-a", "kaldi") as made, pytest.raises(InvalidArgument, match="one name in Kaldi"):
        made.save(tmp_path / "data", allow_plaintext_export=True)
    assert list(tmp_path.glob("data/*")) == []
    with sd.manifest("voice-a", "kaldi", speaker="a") as made:
        assert list(made.lines("text")) == ["a-p-x-u.wav two"]


def test_a_data_directory_without_segments(tmp_path: Path) -> None:
    make_corpus(tmp_path, [clip("ann/a.wav", 0.1)])
    with sd.manifest("voice-a", "kaldi") as made:
        assert "segments" not in made.files


@pytest.mark.parametrize(("format", "name"), [("nemo", "m.jsonl"), ("hf", "m.jsonl"), ("csv", "m.csv")])
def test_our_own_reader_reads_it(root: Root, format: str, name: str) -> None:
    with sd.manifest("voice-a", format) as made:
        content = "".join(f"{line}\n" for line in made).encode()
    rows = read_rows(name, content=content)
    with sd.open_corpus("voice-a") as corpus:
        table = corpus.table.sort_by("path").to_pylist()
    assert rows.names == [f"securedata://voice-a/{row['path']}" for row in table]
    for column in ("transcript", "speaker", "utterance", "split", "language"):
        assert getattr(rows, column) == [row[column] for row in table]
    assert [list(people) for people in rows.subjects] == [row["subjects"] for row in table]
    starts = [row["start"] for row in table]
    assert [(one or 0) * 16_000 for one in rows.offset] == [one or 0 for one in starts]
    assert not any(rows.fault)


def test_lhotse_cuts_are_ingested_again(tmp_path: Path) -> None:
    """The corpus is the source, through fsspec, with the manifest beside its recordings."""
    make_corpus(tmp_path, [clip("ann/a.wav", 0.5, seed=1), clip("bob/b.flac", 0.5, seed=2)])
    restored = sd.export("voice-a", tmp_path / "plain", allow_plaintext_export=True)
    with sd.manifest("voice-a", "lhotse") as made:
        lines = [line.replace("securedata://voice-a", str(tmp_path / "plain")) for line in made]
    (tmp_path / "plain/cuts.jsonl").write_text("\n".join(lines))
    Path(restored.manifest).unlink()
    report = sd.ingest(tmp_path / "plain", tmp_path / "again", layout="lhotse")
    assert report.complete, report.problems
    with sd.open_corpus("again") as again, sd.open_corpus("voice-a") as first:
        columns = ["path", "speaker", "subjects", "utterance", "transcript", "frames"]
        tables = [one.table.select(columns).sort_by("path").to_pylist() for one in (again, first)]
    assert tables[0] == tables[1]


def test_which_rows(root: Root) -> None:
    assert len(entries("nemo", path="ann")) == 3
    assert len(entries("nemo", path="ann/a b.wav")) == 1
    assert len(entries("nemo", speaker="zoë")) == 1
    for nobody in ({"split": "test"}, {"speaker": "nobody"}, {"path": "zoë", "speaker": "ann"}):
        with pytest.raises(InvalidArgument, match="has this"):
            entries("nemo", **nobody)
    with pytest.raises(NoSuchPath):
        entries("nemo", path="ann/a")
    with pytest.raises(InvalidArgument, match="nemo"):
        entries("espnet")
    with sd.manifest(root, "csv") as made:
        assert repr(made) == f"<Manifest for csv of {root}: 4 rows>"


def test_a_corpus_without_a_name(root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECUREDATA_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(InvalidArgument, match="no name in the config"):
        sd.manifest(root, kms=root.kms, pin=root.pin)


# ------------------------------------------------------------------------------------------------- the command


def test_the_command(root: Root, tmp_path: Path, run: Run) -> None:
    command = [sys.executable, "-m", "securedata", "manifest", "voice-a", "ann"]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [json.loads(line) for line in made.stdout.splitlines()] == entries("nemo", path="ann")
    allowed = ("-o", tmp_path / "data", "--json", "--allow-plaintext-export")
    done = run("manifest", "voice-a", "--format", "kaldi", *allowed)
    assert done.json["rows"] == 4
    assert len(done.json["files"]) == 5
    for arguments in (
        ["--format", "kaldi"],
        ["--format", "nemo", "-o", "x"],
        ["--json"],
    ):
        assert run("manifest", "voice-a", *arguments).code == 2


def test_standard_output(root: Root, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "securedata", "manifest", "voice-a"]
    with open(tmp_path / "m.jsonl", "wb") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, (tmp_path / "m.jsonl").read_bytes()) == (1, b"")
    assert "standard output is a file" in done.stderr
    with open(tmp_path / "m.jsonl", "wb") as file:
        subprocess.run([*command, "--allow-plaintext-export"], stdout=file, check=True)
    assert len((tmp_path / "m.jsonl").read_text().splitlines()) == 4
    piped = subprocess.run(f"{' '.join(command)} | head -1", shell=True, capture_output=True, text=True, check=True)
    assert (len(piped.stdout.splitlines()), piped.stderr) == (1, "")
