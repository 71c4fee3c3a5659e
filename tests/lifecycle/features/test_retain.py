"""`retain`: rows of features, what a later run does, what is listed, what is refused, and what verification finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import securedata as sd
from securedata.corpus.config import resolve
from securedata.corpus.state.commit import Next
from securedata.corpus.state.lifecycle import Hold, Restriction
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument, PinRequired, UndecodableMedia
from securedata.keys.tags import Tagger, tag_under
from securedata.lifecycle.features import storing
from securedata.lifecycle.features.recipe import Recipe, environment
from securedata.lifecycle.features.transforms import compute
from tests.kit.corpora.erasing import erase, lose
from tests.kit.corpora.recorded import Root, add_clips, flip_object, make_corpus, remove_paths
from tests.kit.sources.recordings import Clip, clip
from tests.lifecycle.features.runs import kept, rows_of

OWN = "tests.lifecycle.features.own"


# --------------------------------------------------------------------------------------------------------------- rows


@pytest.mark.parametrize("workers", [0, 2])
def test_features_are_those_of_the_recordings_with_their_people_and_words(root: Root, to: Path, workers: int) -> None:
    report = kept(root, to, workers=workers)
    assert (report.rows, report.added, report.unchanged, report.commits) == (5, 5, 0, 1)
    assert (report.opened, report.compared, report.identical) == (5, 5, 5)
    assert report.complete
    assert report.created is not None
    recipe = Recipe.make("log-mel", 16_000, "float16", {})
    with sd.EncryptedFeatureDataset(to) as features, sd.EncryptedAudioDataset(root) as recordings:
        assert [features.get_metadata(i).path for i in range(5)] == [
            recordings.get_metadata(i).path + ".npy" for i in range(5)
        ]
        for made, sample in zip(features, recordings, strict=True):
            assert np.array_equal(made.features.numpy(), compute(recipe, sample.waveform))
            assert made[1:] == sample[2:]
        assert features.lengths.tolist() == [made.features.shape[2] for made in features]
    before, after = {row["path"]: row for row in rows_of(root)}, rows_of(to)
    for row in after:
        source = before[row["path"].removesuffix(".npy")]
        for name in ("subjects", "speaker", "transcript", "split", "language", "consent_id", "purposes", "expires"):
            assert row[name] == source[name], name
        assert row["derived_from"] == source["object_id"]
        assert row["recording_sha256"] == source["source_sha256"]
        assert row["frames"] / row["sample_rate"] == pytest.approx(
            (source["frames_in_segment"] or source["frames"]) / 16_000
        )
        assert row["start"] is None
    assert len({row["object_id"] for row in after}) == 5
    assert sd.verify(to).ok


def test_settings_say_what_was_computed_and_the_source_names_the_corpus(root: Root, to: Path) -> None:
    kept(root, to, sample_rate=8_000, dtype="float32", arguments={"n_mels": 20})
    target, source = Writer(resolve(to)), Writer(root.reference)
    assert target.head.settings["features"] == {
        "source": {"corpus": source.corpus_id.hex(), "pin": root.pin},
        **Recipe.make("log-mel", 8_000, "float32", {"n_mels": 20}).json(),
        "computed_with": [environment()],
    }
    [entry] = source.head.derived
    assert (entry["corpus"], entry["pin"]) == (target.corpus_id.hex(), str(target.head.pin))
    tags = Tagger(target.head.secret)
    assert tag_under(bytes.fromhex(entry["tag_key"]), "ann") == tags.tag("ann")
    assert str(to) not in str(entry)
    kept(root, to)  # what is not said is as before
    assert Writer(root.reference).head.derived == (entry,)
    assert {row["sample_rate"] for row in rows_of(to)} == {8_000}


# ---------------------------------------------------------------------------------------------------------- run again


def test_a_later_run_adds_what_is_new_and_computes_what_changed(root: Root, to: Path) -> None:
    kept(root, to)
    before = {row["path"]: row for row in rows_of(to)}
    assert kept(root, to).commits == 0
    add_clips(root, [clip("zoe/0.wav", 0.3, seed=9, speaker="zoe")])
    add_clips(root, [clip("eve/0.wav", 0.6, seed=10, speaker="eve")], replace=True)  # another recording
    add_clips(root, [clip("ann/0.wav", 0.5, transcript="zwei", split="train", language="de", extra='{"age": 40}')])
    report = kept(root, to)
    assert (report.added, report.replaced, report.unchanged) == (1, 2, 3)
    after = {row["path"]: row for row in rows_of(to)}
    assert sorted(after) == sorted([*before, "zoe/0.wav.npy"])
    same = [path for path in before if after[path]["object_id"] == before[path]["object_id"]]
    assert sorted(set(before).difference(same)) == ["ann/0.wav.npy", "eve/0.wav.npy"]
    assert after["ann/0.wav.npy"]["transcript"] == "zwei"
    assert after["eve/0.wav.npy"]["frames"] == 9_600
    assert report.complete
    assert sd.verify(to).ok


def test_commits_are_bounded(root: Root, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("securedata.lifecycle.deriving.storing.COMMIT_ROWS", 2)
    monkeypatch.setattr("securedata.lifecycle.features.computing._ROWS", 1)
    assert kept(root, to).commits == 3


def test_what_a_prune_took_before_the_commit_is_computed_again(
    root: Root, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Writer.commit
    calls = []

    def lost(self: Writer, add: Any = None, **options: Any) -> Any:
        if not calls:
            self._uncommitted.doubt(add.column("object_id").to_pylist()[:2])
        calls.append(add.num_rows)
        return commit(self, add, **options)

    monkeypatch.setattr(Writer, "commit", lost)
    report = kept(root, to)
    assert calls == [5, 2]
    assert report.added == 5
    assert report.complete


# ------------------------------------------------------------------------------------------------------ what is listed


def test_a_recording_that_cannot_be_decoded_is_listed_and_the_others_are_taken(root: Root, to: Path) -> None:
    add_clips(root, [Clip("eve/bad.flac", b"no audio", "eve", columns={
        "format": "FLAC", "subtype": "PCM_16", "sample_rate": 16_000, "channels": 1, "frames": 100})])  # fmt: skip
    flip_object(root, "ann/0.wav")
    report = kept(root, to, workers=1)
    assert (report.added, report.complete) == (4, False)
    assert [(path, type(error).__name__) for path, error in report.failed] == [
        ("ann/0.wav", "AuthenticationFailed"),
        ("eve/bad.flac", "UndecodableMedia"),
    ]


def test_a_function_that_fails_on_one_recording(root: Root, to: Path) -> None:
    report = kept(root, to, features=f"{OWN}:refuses_short_ones")
    [(path, error)] = report.failed
    assert (path, type(error), report.added) == ("eve/0.wav", UndecodableMedia, 4)


def test_erased_and_removed_recordings_are_left_out(root: Root, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While they are computed: after the rows were read, and before they are committed."""
    computed = storing.StoringFeatures.take

    def meanwhile(self: storing.StoringFeatures, made: Any) -> None:
        computed(self, made)
        erase(root, "ann")

    monkeypatch.setattr(storing.StoringFeatures, "take", meanwhile)
    report = kept(root, to)
    assert sorted(report.erased) == ["ann/0.wav.npy", "ann/1.flac.npy"]
    assert sorted(row["path"] for row in rows_of(to)) == [
        "bob/t@0-8000.wav.npy",
        "bob/t@8000-16000.wav.npy",
        "eve/0.wav.npy",
    ]
    verified = sd.verify(to)
    assert (verified.ok, verified.in_flight) == (True, 0)


@pytest.mark.parametrize("removed", [True, False])
def test_an_object_that_went_with_its_row_is_gone_and_another_failed(
    root: Root, to: Path, monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    before = storing.StoringFeatures.__init__

    def meanwhile(self: storing.StoringFeatures, *arguments: Any) -> None:
        before(self, *arguments)
        lose(root, "eve/0.wav")
        if removed:
            remove_paths(root, ["eve/0.wav"])

    monkeypatch.setattr(storing.StoringFeatures, "__init__", meanwhile)
    report = kept(root, to)
    failed = [(path, type(error).__name__) for path, error in report.failed]
    assert (report.gone, failed) == ((["eve/0.wav"], []) if removed else ([], [("eve/0.wav", "ObjectMissing")]))
    assert report.added == 4


@pytest.mark.parametrize("what", ["barred", "restricted"])
def test_people_who_are_barred_or_restricted_in_the_source_do_not_enter(
    root: Root, to: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    computed = storing.StoringFeatures.take
    source = Writer(root.reference)
    tagger = Tagger(source.head.secret)
    entry = tagger.consent("ann", "C7") if what == "barred" else Restriction(tagger.tag("eve"), "REQ-1", "", 0.0)

    def meanwhile(self: storing.StoringFeatures, made: Any) -> None:
        computed(self, made)
        source.transact(lambda attempt: Next(None, {what: (entry,)}))

    monkeypatch.setattr(storing.StoringFeatures, "take", meanwhile)
    report = kept(root, to, verify_sample=0)
    assert report.erased == ["ann/1.flac.npy" if what == "barred" else "eve/0.wav.npy"]


def test_a_hold_keeps_features_as_they_are(root: Root, to: Path) -> None:
    kept(root, to)
    target = Writer(resolve(to))
    tag = Tagger(target.head.secret).tag("eve")
    target.transact(lambda attempt: Next(None, {"holds": (Hold(tag, "case 7", 0.0),)}))
    add_clips(root, [clip("eve/0.wav", 0.6, seed=10, speaker="eve")], replace=True)
    report = kept(root, to)
    assert (report.held, report.complete) == (["eve/0.wav.npy"], False)


def test_a_hold_of_the_source_comes_along(root: Root, to: Path) -> None:
    """Otherwise the features could be erased there."""
    source = Writer(root.reference)
    held = (Hold(Tagger(source.head.secret).tag("eve"), "case 7", 0.0),)
    source.transact(lambda attempt: Next(None, {"holds": held}))
    kept(root, to)
    head = Writer(resolve(to)).head
    assert [(one.tag, one.case) for one in head.holds] == [(Tagger(head.secret).tag("eve"), "case 7")]
    assert Writer(resolve(to)).commit(remove=["eve/0.wav.npy"]).held == ["eve/0.wav.npy"]


def test_all_of_a_batch_can_be_refused(root: Root, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = storing.StoringFeatures.take

    def meanwhile(self: storing.StoringFeatures, made: Any) -> None:
        computed(self, made)
        erase(root, "ann")

    monkeypatch.setattr(storing.StoringFeatures, "take", meanwhile)
    assert kept(root, to, purpose="asr").erased == ["ann/1.flac.npy"]
    assert rows_of(to) == []


def test_a_source_that_no_longer_names_the_corpus_stops_it(
    root: Root, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = storing.StoringFeatures.take

    def meanwhile(self: storing.StoringFeatures, made: Any) -> None:
        computed(self, made)
        Writer(root.reference).transact(lambda attempt: Next(None, {"derived": ()}))

    monkeypatch.setattr(storing.StoringFeatures, "take", meanwhile)
    with pytest.raises(sd.errors.CorpusError, match="no longer names"):
        kept(root, to)
    assert rows_of(to) == []
    monkeypatch.undo()
    assert kept(root, to).added == 5


# ----------------------------------------------------------------------------------------------------- what is refused


def test_another_recipe_or_source_needs_a_corpus_of_its_own(root: Root, to: Path, tmp_path: Path) -> None:
    kept(root, to, features="mfcc")
    for options, different in (
        ({}, "transform"),
        ({"features": "mfcc", "dtype": "float32"}, "dtype"),
        ({"features": "mfcc", "arguments": {"n_mfcc": 20}}, "n_mfcc"),
        ({"features": "mfcc", "sample_rate": 8_000}, "sample_rate"),
    ):
        with pytest.raises(InvalidArgument, match=f"computed with another .*{different}"):
            kept(root, to, **options)
    other = make_corpus(tmp_path, [clip("ann/0.wav")], "voice-b")
    with pytest.raises(InvalidArgument, match="features of another corpus"):
        kept(other, to, features="mfcc")
    with pytest.raises(InvalidArgument, match="holds recordings"):
        kept(root, other)
    assert Writer(other.reference).head.derived == ()
    with pytest.raises(InvalidArgument, match="has features, not recordings"):
        kept(to, tmp_path / "more")
    with pytest.raises(InvalidArgument, match="recordings itself"):
        kept(root, root)
    with pytest.raises(InvalidArgument, match="inside each other"):
        kept(root, Path(root, "features"))


def test_several_rates_need_one_to_compute_at(root: Root, to: Path) -> None:
    add_clips(root, [clip("zoe/0.wav", 0.5, 8_000, speaker="zoe")])
    with pytest.raises(InvalidArgument, match="recordings at 8000, 16000 Hz: give the rate"):
        kept(root, to)
    assert not to.exists()
    report = kept(root, to, sample_rate=8_000)
    assert (report.added, report.identical) == (6, 6)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"features": 3}, InvalidArgument),
        ({"arguments": "n_mels=3"}, InvalidArgument),
        ({"workers": -1}, InvalidArgument),
        ({"verify_sample": "many"}, InvalidArgument),
        ({"progress": 3}, InvalidArgument),
        ({"sample_rate": 0}, InvalidArgument),
        ({"dtype": "int8"}, InvalidArgument),
        ({"kms": "local:///nowhere.kek"}, sd.errors.KeysError),
        ({"to": "nothing-of-this-name"}, sd.errors.ConfigError),
    ],
)
def test_bad_options_make_nothing(root: Root, to: Path, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        kept(root, options.pop("to", to), **options)
    assert not to.exists()
    assert Writer(root.reference).head.derived == ()


def test_writing_needs_the_pin_of_the_source(root: Root, to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(to))
    with pytest.raises(PinRequired):
        kept(str(root), to / "x", kms=root.kms)


def test_progress_reaches_its_totals(root: Root, to: Path) -> None:
    told: list[tuple[int, int, int, int]] = []
    kept(root, to, progress=lambda *numbers: told.append(numbers))
    assert told[0][:2] == (5, 5)
    assert all(done <= total and size <= all_ for done, total, size, all_ in told)
    assert told[-1][0] == told[-1][1]
    assert told[-1][2] == told[-1][3]
