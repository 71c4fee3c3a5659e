"""`export_to_corpus`: the recordings as they were, in another corpus; what is chosen, left out, listed and refused."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import securedata as sd
from securedata.corpus.config import Reference, resolve
from securedata.corpus.schema import CUT, FEATURES, SCHEMA, rows_table
from securedata.corpus.state.commit import Next
from securedata.corpus.state.lifecycle import Restriction
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, NoSuchPath, NoSuchSubject, PinRequired, PurposeRequired
from securedata.keys.tags import Tagger, tag_under
from securedata.lifecycle.consent import require_purpose
from tests.kit.corpora.contents import current
from tests.kit.corpora.featured import make_features
from tests.kit.corpora.recorded import Root, add_clips, flip_object, make_corpus
from tests.kit.sources.recordings import Clip, clip

PLACE = {"object_id", "data_key", "pack", "offset", "sealed_size"}
NEW = {*PLACE, "ingested", "derived_from", "keyed_since", "origin"}


def rows_of(target: Any) -> dict[str, dict[str, Any]]:
    return current(target if isinstance(target, Reference) else resolve(target))


def same_samples(one: Any, other: Any) -> int:
    """Compare two corpora by what training sees; returns the number of rows."""
    with sd.EncryptedAudioDataset(one) as mine, sd.EncryptedAudioDataset(other) as theirs:
        assert len(mine) == len(theirs)
        for a, b in zip(mine, theirs, strict=True):
            assert np.array_equal(a.waveform, b.waveform)
            assert a[1:] == b[1:]
        return len(mine)


# --------------------------------------------------------------------------------------------------------------- rows


@pytest.mark.parametrize("threads", [1, 4])
def test_the_recordings_are_the_same_under_another_key(root: Root, to: Path, threads: int) -> None:
    report = sd.export_to_corpus(root, to, threads=threads)
    assert (report.rows, report.added, report.objects, report.commits, report.compared) == (5, 5, 4, 1, 5)
    assert report.complete
    assert report.created is not None
    assert same_samples(root, to) == 5
    before, after = rows_of(root), rows_of(to)
    assert list(before) == list(after)
    for path, row in after.items():
        source = before[path]
        for name in {*SCHEMA.names, *CUT.names, "last_contact"} - NEW:
            assert row.get(name) == source.get(name), name
        assert row["derived_from"] == source["object_id"]
        assert row["ingested"] is not None
        assert row.get("origin") is None
    assert {row["object_id"] for row in after.values()}.isdisjoint(row["object_id"] for row in before.values())
    assert {row["data_key"] for row in after.values()}.isdisjoint(row["data_key"] for row in before.values())
    assert after["bob/t@0-8000.wav"]["object_id"] == after["bob/t@8000-16000.wav"]["object_id"]
    assert sd.verify(to).ok
    assert sd.verify(root).ok
    own, other = root.reference, resolve(to)
    assert set(own.kms).isdisjoint(other.kms)


def test_the_source_names_the_corpus_and_the_corpus_its_source(root: Root, to: Path) -> None:
    sd.export_to_corpus(root, to)
    target, source = Writer(resolve(to)), Writer(root.reference)
    assert target.head.settings["copied"] == {"source": {"corpus": source.corpus_id.hex(), "pin": root.pin}}
    [entry] = source.head.derived
    assert (entry["corpus"], entry["pin"]) == (target.corpus_id.hex(), str(target.head.pin))
    assert tag_under(bytes.fromhex(entry["tag_key"]), "ann") == Tagger(target.head.secret).tag("ann")
    assert str(to) not in str(entry)
    sd.export_to_corpus(root, to)
    assert Writer(root.reference).head.derived == (entry,)


def test_features_are_handed_on_as_they_are(tmp_path: Path, to: Path) -> None:
    root = make_features(tmp_path)
    writer = Writer(root.reference)
    writer.transact(
        lambda attempt: Next(None, {"settings": {**attempt.head.settings, "features": {"dtype": "float16"}}})
    )
    assert sd.export_to_corpus(root, to).complete
    with sd.EncryptedFeatureDataset(root) as mine, sd.EncryptedFeatureDataset(to) as theirs:
        assert all(np.array_equal(a.features, b.features) and a[1:] == b[1:] for a, b in zip(mine, theirs, strict=True))
    before, after = rows_of(root), rows_of(to)
    for path, row in after.items():
        assert all(row[name] == before[path][name] for name in FEATURES.names if name != "derived_from")
    assert Writer(resolve(to)).head.settings["features"] == {"dtype": "float16"}


def test_objects_that_are_read_in_pieces(root: Root, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("lifecycle.sealing", "lifecycle.copying.objects", "lifecycle.copying.comparing"):
        monkeypatch.setattr(f"securedata.{module}.PIECE", 4_096)
    assert sd.export_to_corpus(root, to, threads=2).complete
    assert same_samples(root, to) == 5


# ------------------------------------------------------------------------------------------------------------- chosen


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        ({"paths": "ann/*"}, ["ann/0.wav", "ann/1.flac"]),
        ({"paths": ["ann", "eve/0.wav"]}, ["ann/0.wav", "ann/1.flac", "eve/0.wav"]),
        ({"paths": "**/*.wav", "splits": "train"}, ["ann/0.wav"]),
        ({"subjects": ["eve", "ann"], "splits": [""]}, ["ann/1.flac", "eve/0.wav"]),
        ({"subjects": "bob"}, ["bob/t@0-8000.wav", "bob/t@8000-16000.wav"]),
        ({"purpose": "asr"}, ["ann/1.flac"]),
    ],
)
def test_a_part_is_chosen(root: Root, to: Path, options: dict[str, Any], paths: list[str]) -> None:
    report = sd.export_to_corpus(root, to, **options)
    assert sorted(rows_of(to)) == paths
    assert (report.rows, report.added, report.complete) == (len(paths), len(paths), True)


def test_recordings_with_other_people_in_them_are_left_out(root: Root, to: Path) -> None:
    add_clips(root, [clip("both/0.wav", 0.3, seed=8, speaker="ann", subjects=["ann", "bob"])])
    report = sd.export_to_corpus(root, to, subjects=["ann"])
    assert (sorted(rows_of(to)), report.others) == (["ann/0.wav", "ann/1.flac"], ["both/0.wav"])
    assert sd.export_to_corpus(root, to, subjects=["ann", "bob"]).others == []
    assert "both/0.wav" in rows_of(to)


def test_a_segment_alone_is_not_handed_on_with_the_sound_of_others(root: Root, to: Path) -> None:
    report = sd.export_to_corpus(root, to, paths=["bob/t@0-8000.wav", "eve/*"])
    assert (report.shared, report.complete, list(rows_of(to))) == (["bob/t@0-8000.wav"], False, ["eve/0.wav"])
    assert sd.export_to_corpus(root, to, paths=["bob/*"]).shared == []
    assert len(rows_of(to)) == 3


def test_nor_with_that_of_a_segment_without_consent(root: Root, to: Path) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    talk = clip("zoe/t.wav", 1.0, seed=9, speaker="zoe", segments=[(0, 8_000), (8_000, 8_000)])
    add_clips(root, [talk])
    writer = Writer(root.reference)
    [part] = [part for part in writer.head.parts if part.rows == 2]
    rows = writer.read_table(part, None).to_pylist()
    writer.commit(update=rows_table([{**rows[0], "expires": past}]))
    report = sd.export_to_corpus(root, to)
    assert report.left_out == [rows[0]["path"]]
    assert report.shared == [rows[1]["path"]]
    assert not [path for path in rows_of(to) if path.startswith("zoe")]


def test_what_may_not_be_read_is_left_out_and_listed(root: Root, to: Path) -> None:
    add_clips(root, [clip("zoe/0.wav", 0.3, speaker="zoe", expires=datetime(2020, 1, 1, tzinfo=UTC)),
                     clip("zoe/1.wav", 0.3, speaker="zoe", purposes=[])])  # fmt: skip
    source = Writer(root.reference)
    tag = Tagger(source.head.secret).tag("eve")
    source.transact(lambda attempt: Next(None, {"restricted": (Restriction(tag, "REQ-1", "", 0.0),)}))
    report = sd.export_to_corpus(root, to, paths=["zoe/*", "eve/*", "ann/*"])
    assert (sorted(report.left_out), report.complete) == (["eve/0.wav", "zoe/0.wav", "zoe/1.wav"], True)
    assert sorted(rows_of(to)) == ["ann/0.wav", "ann/1.flac"]
    assert sd.export_to_corpus(root, to, purpose="asr", paths="ann").left_out == ["ann/0.wav"]


def test_a_damaged_recording_is_listed_and_the_others_are_taken(root: Root, to: Path) -> None:
    flip_object(root, "ann/0.wav")
    report = sd.export_to_corpus(root, to)
    assert [(path, type(error).__name__) for path, error in report.failed] == [("ann/0.wav", "AuthenticationFailed")]
    assert (report.added, report.complete) == (4, False)


def test_an_object_with_other_content_than_its_row_says(root: Root, to: Path) -> None:
    add_clips(root, [Clip("eve/x.wav", clip("eve/x.wav", 0.2).data, "eve", columns={"source_sha256": bytes(32)})])
    report = sd.export_to_corpus(root, to)
    assert [(path, type(error).__name__) for path, error in report.failed] == [("eve/x.wav", "MalformedManifest")]
    assert "eve/x.wav" not in rows_of(to)


def test_a_source_that_opens_only_for_a_purpose_makes_such_a_corpus(root: Root, to: Path) -> None:
    require_purpose(Writer(root.reference), True)
    with pytest.raises(PurposeRequired):
        sd.export_to_corpus(root, to)
    assert not to.exists()
    assert sd.export_to_corpus(root, to, purpose="asr").added == 1
    with pytest.raises(PurposeRequired):
        sd.open_corpus(to)
    require_purpose(Writer(resolve(to)), False)  # later it is a rule of that corpus alone
    sd.export_to_corpus(root, to, purpose="asr")
    sd.open_corpus(to).close()


# ------------------------------------------------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"paths": ["ann/*", "zoe/*"]}, NoSuchPath, "one path matches nothing"),
        ({"subjects": ["zoe"]}, NoSuchSubject, "1 of the people"),
        ({"splits": "test"}, InvalidArgument, "has the split 'test'"),
        ({"paths": []}, InvalidArgument, "empty list"),
        ({"subjects": []}, InvalidArgument, "empty list"),
        ({"subjects": ["ann", ""]}, InvalidArgument, "is empty"),
        ({"subjects": 3}, InvalidArgument, "texts"),
        ({"threads": 0}, InvalidArgument, "threads"),
        ({"verify_sample": -1}, InvalidArgument, "verify_sample"),
        ({"progress": 3}, InvalidArgument, "progress"),
        ({"to": "nothing-of-this-name"}, sd.errors.ConfigError, "nothing-of-this-name"),
    ],
)
def test_bad_options_make_nothing(
    root: Root, to: Path, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        sd.export_to_corpus(root, options.pop("to", to), **options)
    assert not to.exists()
    assert Writer(root.reference).head.derived == ()


def test_other_corpora_are_refused(root: Root, to: Path, tmp_path: Path) -> None:
    sd.export_to_corpus(root, to)
    other = make_corpus(tmp_path, [clip("ann/0.wav")], "voice-c")
    with pytest.raises(InvalidArgument, match="exported from another corpus"):
        sd.export_to_corpus(other, to)
    with pytest.raises(InvalidArgument, match="holds something else"):
        sd.export_to_corpus(root, other)
    with pytest.raises(InvalidArgument, match="recordings itself"):
        sd.export_to_corpus(root, root)
    with pytest.raises(InvalidArgument, match="inside each other"):
        sd.export_to_corpus(root, Path(root, "inner"))
    with pytest.raises(InvalidArgument, match="retain into a new one"):
        sd.retain(root, to, features="mfcc", workers=0)
    assert Writer(other.reference).head.derived == ()


def test_a_corpus_does_not_become_the_source_of_its_own_source(root: Root, to: Path) -> None:
    sd.export_to_corpus(root, to)
    writer = Writer(root.reference)
    writer.commit(remove=list(rows_of(root)))
    with pytest.raises(InvalidArgument, match="holds something else"):
        sd.export_to_corpus(to, root)


def test_writing_needs_the_pin_of_the_source(root: Root, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(to))
    with pytest.raises(PinRequired):
        sd.export_to_corpus(str(root), to / "x", kms=root.kms)


def test_progress_reaches_its_totals(root: Root, to: Path) -> None:
    told: list[tuple[int, int, int, int]] = []
    sd.export_to_corpus(root, to, progress=lambda *numbers: told.append(numbers))
    assert all(done <= total and size <= all_ for done, total, size, all_ in told)
    assert (4, 4) in [numbers[:2] for numbers in told]
    assert told[-1][0] == told[-1][1] == 5
    assert told[-1][2] == told[-1][3]
