"""A split recording: each segment has an object of its own, and `ds[i]` gives the same float32 samples as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import securedata as sd
from securedata.corpus.check.verify import verify
from securedata.corpus.config import resolve
from securedata.corpus.schema import CUT
from securedata.corpus.writer import Writer
from securedata.lifecycle.splitting import cutting
from tests.ingest.test_apart import KINDS, SAID, table
from tests.ingest.test_apart import talk as source
from tests.kit.cli.commandline import Run
from tests.kit.corpora.contents import current
from tests.kit.corpora.recorded import Root
from tests.kit.corpora.shared import TALK, share, talk
from tests.kit.sources.ffmpeg import KINDS as BY_FFMPEG
from tests.kit.sources.ffmpeg import Made, make

ONCE = {"object_id", "data_key", "origin", "keyed_since", "ingested"}
"""Columns that no two ingests write alike."""


def samples(root: str, **options: Any) -> dict[str, tuple[tuple[int, ...], int, bytes]]:
    data = sd.EncryptedAudioDataset(root, **options)
    found = {}
    for i in range(len(data)):
        waveform, rate = data[i][:2]
        found[data.get_metadata(i)[0]] = tuple(waveform.shape), rate, waveform.numpy().tobytes()
    return found


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("channels", [1, 3])
def test_channels_and_rates(old: Root, pen: Writer, rate: int, channels: int) -> None:
    share(pen, talk(3.0, rate, channels), [(rate // 8, rate, "ann"), (2 * rate, rate // 2 + 1, "ben")])
    before, resampled = samples(old), samples(old, sample_rate=22_050)
    report = sd.split(old)
    assert (report.objects, report.rows, report.complete) == (1, 2, True)
    assert samples(old) == before
    assert samples(old, sample_rate=22_050) == resampled
    assert {shape for shape, _, _ in before.values()} == {(channels, rate), (channels, rate // 2 + 1)}


@pytest.mark.parametrize("whole", [True, False], ids=["at once", "in pieces"])
@pytest.mark.parametrize(("kind", "subtype", "becomes"), KINDS, ids=lambda one: str(one))
def test_every_format(
    old: Root, pen: Writer, kind: str, subtype: str, becomes: str, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not whole:
        monkeypatch.setattr(cutting, "READ_WHOLE", 0)
    share(pen, talk(channels=2, format=kind, subtype=subtype))
    before = samples(old)
    assert sd.split(old).rows == 3
    assert samples(old) == before
    rows = current(old.reference).values()
    assert {(row["format"], row["subtype"], row["start"]) for row in rows} == {("WAV", becomes, None)}
    assert len({row["object_id"] for row in rows}) == 3
    assert verify(old.reference).ok


@pytest.mark.parametrize("made", BY_FFMPEG, ids=lambda one: f"{one.container}-{one.codec}")
def test_what_ffmpeg_decodes(old: Root, pen: Writer, made: Made) -> None:
    share(pen, make(made, 3.0), [(made.rate // 4, made.rate, "ann"), (2 * made.rate, made.rate // 2, "ben")])
    before = samples(old)
    assert sd.split(old).rows == 2
    assert samples(old) == before


def test_the_rows_are_those_of_an_ingest_that_cuts(run: Run, tmp_path: Path) -> None:
    """So that the next one of the same source has nothing to do."""
    src, shared, parted = source(tmp_path / "src"), tmp_path / "shared", tmp_path / "parted"
    both = table(tmp_path, subjects=["anna", "ben"])
    assert run("encrypt", src, shared, "--manifest", both).code == 0
    speakers = table(tmp_path)
    assert run("encrypt", src, parted, "--manifest", speakers).code == 0
    before = run("encrypt", src, shared, "--manifest", speakers, "--json")
    assert (len(before.json["shared"]), before.json["unchanged"]) == (3, 3)
    report = sd.split(str(shared))
    assert report.overlapping == ["talk@16000-40000.wav", "talk@36000-40800.wav"]
    assert report.seconds_left_out == pytest.approx(3 - 0.7 - 1.55)
    after, fresh = (current(resolve(str(root))) for root in (shared, parted))
    assert sorted(after) == sorted(fresh)
    for path, row in after.items():
        names = (row.keys() | fresh[path].keys()) - ONCE
        assert {name: row.get(name) for name in names} == {name: fresh[path].get(name) for name in names}
        assert all(row[name] is not None for name in CUT.names)
    objects = {path: row["object_id"] for path, row in after.items()}
    again = run("encrypt", src, shared, "--manifest", speakers, "--json")
    assert (again.code, again.json["unchanged"], again.json["files"], again.json["commits"]) == (0, 3, 0, 0)
    assert (again.json["shared"], again.json["conflicts"]) == ([], [])
    checked = run("encrypt", src, shared, "--manifest", speakers, "--checksum", "--json")
    assert (checked.code, checked.json["unchanged"], checked.json["bytes"]) == (0, 3, 0)
    words = table(tmp_path, *SAID[:2], {**SAID[2], "text": "better"})
    assert run("encrypt", src, shared, "--manifest", words, "--json").json["updated"] == 1
    assert {path: row["object_id"] for path, row in current(resolve(str(shared))).items()} == objects


def test_words_and_consent_stay(old: Root, pen: Writer) -> None:
    share(pen, talk(), consent_id="C-1", purposes=["asr"], extra='{"room": 3}', split="train", language="de")
    before = current(old.reference)
    sd.split(old)
    after = current(old.reference)
    kept = {"path", "speaker", "utterance", "transcript", "split", "language", "consent_id", "purposes", "expires"}
    kept |= {"extra", "source_mtime_ns", "ingested"}
    assert {path: {name: row[name] for name in kept} for path, row in after.items()} == {
        path: {name: row[name] for name in kept} for path, row in before.items()
    }
    assert {path: row["subjects"] for path, row in after.items()} == {
        f"talk@{start}-{start + frames}.wav": [speaker] for start, frames, speaker in TALK
    }
    assert {row["origin"] for row in after.values()} == {row["object_id"] for row in before.values()}
