"""What export writes can be sealed anew, and says all that the corpus knew."""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.export.export import ALL, export
from securedata.corpus.opening import open_corpus
from securedata.corpus.writer import Writer
from securedata.errors import AlreadyExists, InvalidArgument
from securedata.ingest.pipeline import seal_sources
from securedata.ingest.sources.recordings import list_sources
from tests.corpus.export.test_export import errors, run
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.corpora.rows import add, in_folder
from tests.kit.sources.recordings import clip, some_clips


def rows_of(reference: Any) -> list[dict[str, Any]]:
    with open_corpus(reference, columns=ALL) as corpus:
        rows = corpus.table.drop_columns(["object_id"]).to_pylist()
    return sorted(rows, key=lambda row: str(row["path"]))


def seal_again(tmp_path: Path, dest: Path) -> Any:
    reference, writer = in_folder(tmp_path / "again")
    sources = list_sources(dest, manifest=dest / "manifest.jsonl", layout="none")
    assert seal_sources(sources, writer).complete
    return reference


def test_sealing_the_export_gives_the_same_rows(tmp_path: Path, dest: Path) -> None:
    odd = 'tabs\tand\nlines, "quotes"; \u2028 and ä'
    root = make_corpus(
        tmp_path,
        [
            *some_clips(),
            clip("eve/talk.wav", 3.0, rate=44_100, segments=[(0, 44_099), (44_099, 7)], speaker="eve", transcript=odd),
            clip(
                "duo/1.flac", subjects=["ann", "bob"], speaker="bob", language="fr", extra='{"room":[1,"x"],"ok":true}'
            ),
            clip("duo/2.flac", subjects=["ann", "bob"], speaker="", utterance="second"),
        ],
    )
    run(root, dest)
    assert rows_of(seal_again(tmp_path, dest)) == [
        {**row, "extra": '{"room":3}'} if row["extra"] == '{"room": 3}' else row for row in rows_of(root.reference)
    ]


@pytest.mark.parametrize(
    "extra",
    [
        "[1,2]",
        "no json",
        '{"Speaker":"x"}',
        '{"lang":"x","text":"y"}',
        '{"extra":{"extra":1}}',
        '{"audio_file":"/x"}',
        '{"duration":5}',
        '{"xmin":0,"xmax":1}',
        '{"startTime":0}',
        '{"text_filepath":"words.txt"}',
        '{"a":1e999}',
        '{"a":NaN}',
        '{"a":""}',
        "[" * 100_000,
    ],
    ids=lambda extra: extra[:15],
)
def test_extra_that_cannot_be_columns_stays_readable(tmp_path: Path, dest: Path, extra: str) -> None:
    root = make_corpus(tmp_path, [clip("ann/1.wav", extra=extra)])
    run(root, dest)
    entry = json.loads((dest / "manifest.jsonl").read_text())
    assert "extra" in entry
    again = rows_of(seal_again(tmp_path, dest))[0]
    if isinstance(entry["extra"], dict):
        assert json.loads(again["extra"]) == json.loads(extra)  # the same again
    else:
        assert json.loads(again["extra"])["extra"] == entry["extra"]
    assert again["speaker"] == "ann"


def test_a_speaker_who_is_no_subject_does_not_keep_it_from_being_sealed(tmp_path: Path, dest: Path) -> None:
    root = make_corpus(tmp_path, [clip("ann/1.wav", subjects=["ann"], speaker="narrator")])
    run(root, dest)
    assert rows_of(seal_again(tmp_path, dest))[0]["subjects"] == ["ann"]


def test_consent_comes_back(tmp_path: Path, dest: Path) -> None:
    end, contact = (datetime.datetime(year, 1, 2, 3, 4, 5, 6, datetime.UTC) for year in (2999, 2001))
    said = {"consent_id": "c-17", "purposes": ["asr", "tts"], "expires": end, "last_contact": contact}
    run(make_corpus(tmp_path, [clip("ann/1.wav", **said)]), dest)
    reference = seal_again(tmp_path, dest)
    with open_corpus(reference, columns=[*said, "extra"]) as corpus:
        assert corpus.table.select([*said, "extra"]).to_pylist() == [{**said, "extra": ""}]


def read_as_nemo(manifest: Path) -> list[dict[str, Any]]:
    """What NeMo takes a manifest for, by its own rules (nemo/collections/common/parts/preprocessing/manifest.py).

    The file is in audio_filename, else in audio_filepath, relative to the manifest's folder; a duration there must be.
    The words are in text, else in the file that text_filepath names, else in normalized_text; else there are none.
    offset, speaker and lang may be missing.
    """
    found = []
    for line in manifest.read_text(encoding="utf-8").split("\n"):
        if not line:
            continue
        item = json.loads(line)
        name = item["audio_filename"] if "audio_filename" in item else item["audio_filepath"]
        if "text" in item:
            text = item["text"]
        elif "text_filepath" in item:
            text = (manifest.parent / item["text_filepath"]).read_text()
        else:
            text = item.get("normalized_text", "")
        optional = {name: item.get(name) for name in ("offset", "speaker", "lang")}
        found.append({"file": manifest.parent / name, "duration": item["duration"], "text": text, **optional})
    return found


def test_nemo_reads_words_languages_and_segments(tmp_path: Path, dest: Path) -> None:
    odd = 'a "quoted"\ttab\nline \u2028 and \U0001f600 e\u0301'
    root = make_corpus(
        tmp_path,
        [
            clip("ann/1.wav", 0.5, transcript="hello", language="en", split="train"),
            clip("ann/2.wav", 0.25, transcript="", extra='{"normalized_text":"no","text_filepath":"/etc/passwd"}'),
            clip("ann/3.wav", 0.5, transcript=odd, extra='{"audio_filename":"other.wav","text":"no","lang":"no"}'),
            clip("eve/talk.wav", 3.0, segments=[(0, 16_000), (24_000, 8_000)], speaker="eve", transcript="bye"),
            clip("duo/1.wav", 0.5, subjects=["ann", "bob"], speaker="bob", transcript="both", language="fr-CA"),
        ],
    )
    run(root, dest)
    got = {(str(one["file"].relative_to(dest)), one["offset"]): one for one in read_as_nemo(dest / "manifest.jsonl")}
    assert {place: (one["duration"], one["text"], one["lang"], one["speaker"]) for place, one in got.items()} == {
        ("ann/1.wav", None): (0.5, "hello", "en", "ann"),
        ("ann/2.wav", None): (0.25, "", None, "ann"),
        ("ann/3.wav", None): (0.5, odd, None, "ann"),
        ("eve/talk.wav", 0.0): (1.0, "bye", None, "eve"),
        ("eve/talk.wav", 1.5): (0.5, "bye", None, "eve"),
        ("duo/1.wav", None): (0.5, "both", "fr-CA", "bob"),
    }
    assert all(one["file"].is_file() for one in got.values())


def test_every_column_comes_back(tmp_path: Path, dest: Path) -> None:
    odd = ' \u2028 "quotes"\ttabs\r\nlines \x00 \U0001f600 e\u0301 \u202e '
    named = {"transcript": odd, "utterance": f"u{odd}", "split": f"s{odd}", "language": f"l{odd}"}
    nested = {"a": [1, {"b": None, "c": ["", 2.5]}], "ä \U0001f600": odd, "big": 2**70, "no": False}
    extras: list[dict[str, Any]] = [
        nested,
        {"transcript": "not this", "Lang": "nor this", "speaker": "nobody", "offset": 5, "subjects": ["nobody"]},
        {"audio_filename": "other.wav"},
        {"extra": nested},
        {"empty": "", "nothing": None},
        {"consent_id": "said by the source"},
    ]
    clips = [
        clip(f"Zoë/{n}.wav", 0.05, seed=n, speaker="Zoë", extra=json.dumps(extra), **named)
        for n, extra in enumerate(extras)
    ]
    clips += [
        clip("talk.wav", 1.0, segments=[(0, 8_000), (8_000, 1)], subjects=["Zoë", "李"], speaker="李", **named),
        clip("duo.flac", 0.1, rate=44_100, channels=2, subjects=["Zoë", "李"], speaker=""),
    ]
    root = make_corpus(tmp_path, clips)
    run(root, dest)
    before, after = rows_of(root.reference), rows_of(seal_again(tmp_path, dest))
    for row in [*before, *after]:
        row["extra"] = json.loads(row["extra"]) if row["extra"] else None
    assert after == before
    assert set(before[0]) > {"consent_id", "purposes", "expires", "start", "frames_in_segment", "source_mtime_ns"}


def test_the_manifest_is_of_the_rows_that_were_asked_for(root: Root, dest: Path) -> None:
    run(root, dest, path="bob")
    entries = [json.loads(line) for line in (dest / "manifest.jsonl").read_text().splitlines()]
    assert [one["audio_filepath"] for one in entries] == ["bob/utt0.wav", "bob/utt1.flac", "bob/utt2.wav"]
    assert entries[0]["text"] == "good night"
    assert entries[0]["subjects"] == ["bob"]
    before = (dest / "manifest.jsonl").read_bytes()
    report = run(root, dest)  # all of it, into the same folder: that is another manifest
    assert errors(report) == [("manifest.jsonl", AlreadyExists)]
    assert (dest / "manifest.jsonl").read_bytes() == before
    assert run(root, dest, overwrite=True).complete


def test_a_recording_called_like_the_manifest(tmp_path: Path, dest: Path) -> None:
    reference, writer = in_folder(tmp_path / "sealed")
    add(writer, {"manifest.jsonl": b"mine", "a/manifest.jsonl": b"fine"})
    with pytest.raises(InvalidArgument, match="--path"):
        export(reference, dest, allow_plaintext_export=True)
    assert export(reference, dest, allow_plaintext_export=True, path="a").complete


def test_the_corpus_is_only_read(root: Root, dest: Path) -> None:
    def state() -> dict[str, str]:
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(root).rglob("*") if path.is_file()
        }

    before = state()
    run(root, dest)
    assert state() == before
    assert Writer(root.reference).head.generation == 2
