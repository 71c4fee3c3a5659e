"""Files that are no recordings: sealed by --include, whose they are is said, and everything else behaves."""

from __future__ import annotations

import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from torch.utils.data import DataLoader

import securedata as sd
from securedata.errors import SubjectUnknown, UndecodableMedia
from securedata.media.media_type import media_type_of
from tests.kit.cli.commandline import Run
from tests.kit.corpora.recorded import make_corpus
from tests.kit.sources import drop_ins
from tests.kit.sources.folders import record, text
from tests.kit.sources.recordings import clip

PATTERNS = "*.parquet,*.tar,*.json"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A recording, a table, a tar that would be a shard, notes, and files that no pattern names."""
    src = tmp_path / "src"
    record(src / "ann/a.wav", seed=1)
    pq.write_table(pa.table({"x": [1, 2]}), src / "ann/features.parquet")
    record(tmp_path / "in/b.wav", seed=2)
    with tarfile.open(src / "ann/shard.tar", "w") as archive:
        archive.add(tmp_path / "in/b.wav", "b.wav")
    text(src / "ann/notes.json", '{"said": "hello"}')
    text(src / "ann/readme.txt", "not taken")
    text(src / "ann/.hidden.json", "{}")
    return src


def rows_of(corpus: Any, *columns: str) -> dict[str, Any]:
    with sd.open_corpus(corpus, columns=columns) as opened:
        return {row.pop("path"): row for row in opened.table.select(["path", *columns]).to_pylist()}


def test_they_are_sealed_as_they_are(source: Path, tmp_path: Path, run: Run) -> None:
    ran = run("encrypt", source, tmp_path / "sealed", "--one-subject", "ann", "--include", PATTERNS, "--json")
    assert (ran.code, ran.json["added"], ran.json["sources"]["companions"]) == (0, 4, 1), ran.err
    assert rows_of("sealed", "media_type", "format", "subjects") == {
        "ann/a.wav": {"media_type": None, "format": "WAV", "subjects": ["ann"]},
        "ann/features.parquet": {"media_type": "application/vnd.apache.parquet", "format": "", "subjects": ["ann"]},
        "ann/notes.json": {"media_type": "application/json", "format": "", "subjects": ["ann"]},
        "ann/shard.tar": {"media_type": "application/x-tar", "format": "", "subjects": ["ann"]},
    }
    again = run("encrypt", source, "sealed", "--one-subject", "ann", "--include", PATTERNS, "--json")
    assert (again.code, again.json["unchanged"]) == (0, 4)
    text(source / "ann/notes.json", '{"said": "bye"}')
    changed = run("encrypt", source, "sealed", "--one-subject", "ann", "--include", PATTERNS, "--replace", "--json")
    assert (changed.code, changed.json["replaced"]) == (0, 1), changed.err
    with sd.open_corpus("sealed") as corpus:
        assert corpus.read("ann/notes.json") == (source / "ann/notes.json").read_bytes()


def test_whose_they_are_is_never_guessed(source: Path, tmp_path: Path) -> None:
    with pytest.raises(SubjectUnknown):
        sd.ingest(source, tmp_path / "sealed", include=PATTERNS)
    table = "path,subjects\nann/features.parquet,ann;bob\nann/a.wav,ann\n"
    text(tmp_path / "m.csv", table)
    report = sd.ingest(source, tmp_path / "sealed", include=["*.parquet", "*.json"], manifest=tmp_path / "m.csv")
    assert not report.complete
    assert {problem.path for problem in report.problems if not problem.taken} >= {"ann/notes.json"}
    assert rows_of("sealed", "subjects")["ann/features.parquet"]["subjects"] == ["ann", "bob"]


def test_beside_a_layout(tmp_path: Path) -> None:
    """The layout is still recognised, but it names the people of recordings only."""
    drop_ins.librispeech(tmp_path / "tree")
    text(tmp_path / "tree/stats.json", "{}")
    report = sd.ingest(tmp_path / "tree", tmp_path / "books", include="*.json,*.txt")
    assert report.added == 8
    lost = {problem.path: problem.reason for problem in report.problems if not problem.taken}
    assert len(lost) == 5
    assert "the layout librispeech does not name whose it is" in lost["stats.json"]
    assert rows_of("books", "transcript")["LibriSpeech/dev-clean/9/12/9-12-0000.flac"]["transcript"]
    text(tmp_path / "m.csv", "path,subjects\nstats.json,84;9\n")
    options: dict[str, Any] = {"layout": "none", "only_listed": True, "manifest": tmp_path / "m.csv"}
    assert sd.ingest(tmp_path / "tree", tmp_path / "books", include="*.json", **options).added == 1
    assert len(sd.datasets.LIBRISPEECH("books", "dev-clean")) == 6


def test_a_pattern_that_matches_nothing_and_an_empty_file(source: Path, tmp_path: Path) -> None:
    (source / "ann/empty.json").touch()
    report = sd.ingest(source, tmp_path / "sealed", one_subject="ann", include=["*.json", "*.bin"])
    said = {problem.path: problem.reason for problem in report.problems}
    assert "no file that is not a recording matches" in said["*.bin"]
    assert said["ann/empty.json"] == "the file is empty"


def test_a_preview_and_a_corpus_of_nothing_else(source: Path, tmp_path: Path) -> None:
    (source / "ann/a.wav").unlink()
    options: dict[str, Any] = {"one_subject": "ann", "include": PATTERNS}
    preview = sd.ingest(source, tmp_path / "sealed", dry_run=True, **options)
    assert (preview.added, [one for one in preview.problems if not one.taken]) == (3, [])
    assert sd.ingest(source, tmp_path / "sealed", **options).added == 3
    assert len(sd.EncryptedAudioDataset("sealed")) == 0


# ------------------------------------------------------------------------------------------------- reading


@pytest.fixture
def mixed(source: Path, tmp_path: Path) -> Path:
    sd.ingest(source, tmp_path / "mixed", one_subject="ann", include=PATTERNS)
    return tmp_path / "mixed"


def test_audio_datasets_take_recordings_only(mixed: Path) -> None:
    ds = sd.EncryptedAudioDataset("mixed", refresh=True)
    assert [one.path for one in map(ds.get_metadata, range(len(ds)))] == ["ann/a.wav"]
    assert "3 other files left out" in repr(ds)
    assert ds.stats().other_files == 3
    for method in ("fork", "spawn"):
        [batch] = DataLoader(ds, num_workers=1, collate_fn=list, multiprocessing_context=method)
        assert batch[0].waveform.shape == (1, 800)
    assert pickle.loads(pickle.dumps(ds)).stats().other_files == 3
    assert sd.EncryptedAudioDataset("mixed", filter=pc.field("frames") > 0).stats().other_files == 3
    assert not ds.refresh()
    assert ds.stats().other_files == 3


def test_one_of_them_is_no_recording(mixed: Path) -> None:
    with pytest.raises(UndecodableMedia):
        sd.info("securedata://mixed/ann/notes.json")
    with sd.manifest("mixed") as made:
        assert (made.rows, made.others) == (1, 3)


def test_commands(mixed: Path, source: Path, tmp_path: Path, run: Run) -> None:
    assert run("verify", "mixed").code == 0
    assert {one["path"] for one in run("ls", "mixed", "-R", "--json").json} >= {"ann/shard.tar", "ann/notes.json"}
    restored = sd.export("mixed", tmp_path / "plain", allow_plaintext_export=True)
    assert restored.complete
    for name in ("ann/features.parquet", "ann/shard.tar", "ann/notes.json", "ann/a.wav"):
        assert (tmp_path / "plain" / name).read_bytes() == (source / name).read_bytes()
    [line] = [one for one in Path(restored.manifest).read_text().splitlines() if "notes" in one]
    assert "duration" not in json.loads(line)
    back = sd.ingest(tmp_path / "plain", tmp_path / "back", include=PATTERNS, manifest=restored.manifest)
    assert (back.complete, back.added) == (True, 4), back.problems
    columns = ("media_type", "format", "subjects", "source_sha256")
    assert rows_of("back", *columns) == rows_of("mixed", *columns)
    assert [person.rows for person in sd.people("mixed").people] == [4]
    assert run("info", "mixed").code == 0


def test_retain_leaves_them_out(mixed: Path, tmp_path: Path) -> None:
    report = sd.retain("mixed", tmp_path / "features", features="mfcc", workers=0)
    assert report.complete
    assert (report.rows, report.others) == (1, 3)
    assert set(rows_of("features", "format")) == {"ann/a.wav.npy"}


def test_a_corpus_without_any_has_no_such_column(tmp_path: Path) -> None:
    root = make_corpus(tmp_path, [clip("ann/a.wav", 0.1)])
    with sd.open_corpus(root, columns=["media_type"]) as corpus:
        assert corpus.table.column("media_type").null_count == 1
    assert sd.EncryptedAudioDataset(root).stats().other_files == 0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a/b.JSON", "application/json"),
        ("x.tar.gz", "application/gzip"),
        ("data:x.parquet", "application/vnd.apache.parquet"),
        ("photo.png", "image/png"),
        ("nothing", "application/octet-stream"),
    ],
)
def test_media_types(name: str, kind: str) -> None:
    assert media_type_of(name) == kind
