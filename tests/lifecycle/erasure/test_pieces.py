"""Erasing a piece that was cut out of a recording of several people: its sound does not come back, the others' does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from securedata.corpus.config import Reference, resolve
from securedata.corpus.state.lifecycle import BarredPiece
from securedata.corpus.writer import Writer
from securedata.keys.tags import Tagger
from securedata.lifecycle.erasure.erase import Options, erase
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.receipt.operator import Operator
from securedata.lifecycle.relabel import relabel
from tests.ingest.test_apart import SAID, rows_of, samples, table, talk
from tests.kit.cli.commandline import Ran, Run
from tests.kit.corpora.contents import look
from tests.kit.sources.folders import jsonl

ANNA, BEN = "talk@1600-12800.wav", "talk@16000-40000.wav"
BOTH = SAID[:2]


def said(speaker: str, start: int, stop: int) -> dict[str, Any]:
    """A segment, by its frames."""
    return {"speaker": speaker, "offset": start / 16_000, "duration": (stop - start) / 16_000}


def encrypt(run: Run, src: Path, root: str | Path, manifest: Path, *more: str) -> Ran:
    """Without a rehearsal, which reads no recording and so cannot know which are barred."""
    return run("encrypt", src, root, "--manifest", manifest, "--json", *more)


@pytest.fixture
def src(tmp_path: Path) -> Path:
    return talk(tmp_path / "src")


@pytest.fixture
def sealed(run: Run, src: Path, tmp_path: Path, operator: Operator) -> Reference:
    """Anna's piece and ben's, of one recording; anna's was erased by its path."""
    root = tmp_path / "sealed"
    assert encrypt(run, src, root, table(tmp_path, *BOTH)).code == 0
    reference = resolve(str(root))
    erase(Writer(reference), Request("path", paths=(ANNA,)))
    return reference


def offered(run: Run, sealed: Reference, src: Path, folder: Path, *rows: dict[str, Any], **more: Any) -> Ran:
    return encrypt(run, src, sealed.root, table(folder, *rows, **more))


def test_others_pieces_come_back(run: Run, src: Path, sealed: Reference, tmp_path: Path) -> None:
    heard = samples(sealed.root)
    assert list(heard) == [BEN]
    head = look(sealed).head
    digest = rows_of(sealed.root)[BEN]["recording_sha256"]
    tagger = Tagger(head.secret)
    assert head.barred_pieces == (BarredPiece(tagger.recording(digest), 1600, 11200),)
    assert tagger.recording(digest) not in head.barred
    again = offered(run, sealed, src, tmp_path, *BOTH)
    assert (again.json["unchanged"], again.json["erased"]) == (1, [ANNA])
    # as in a corpus whose rows were lost
    assert run("remove", sealed.root, BEN, "--now", "--yes", "1").code == 0
    again = offered(run, sealed, src, tmp_path, *BOTH)
    assert (again.code, again.json["added"], again.json["erased"]) == (1, 1, [ANNA])
    assert samples(sealed.root) == heard
    resealed = encrypt(run, src, sealed.root, table(tmp_path, *BOTH), "--reseal")
    assert (resealed.json["replaced"], resealed.json["erased"]) == (1, [ANNA])


def test_another_cut_brings_nothing_of_it_back(run: Run, src: Path, sealed: Reference, tmp_path: Path) -> None:
    overlapping = [(1500, 1700), (12799, 14000), (5000, 6000), (0, 16000)]
    apart = [(0, 1600), (12800, 14000)]
    rows = [said("anna", *span) for span in (*overlapping, *apart)]
    done = offered(run, sealed, src, tmp_path, *rows, BOTH[1])
    assert sorted(done.json["erased"]) == sorted(f"talk@{start}-{stop}.wav" for start, stop in overlapping)
    assert set(rows_of(sealed.root)) == {BEN, *(f"talk@{start}-{stop}.wav" for start, stop in apart)}


@pytest.mark.parametrize("whose", [["anna", "ben"], ["ben"]], ids=["both", "one"])
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "segments"])
def test_an_object_with_all_of_the_recording_does_not_enter(
    run: Run, src: Path, sealed: Reference, tmp_path: Path, cut: bool, whose: list[str]
) -> None:
    """Under another path, too, and as segments that share one object, even of other people only."""
    assert run("remove", sealed.root, BEN, "--now", "--yes", "1").code == 0
    shutil.move(src / "talk.wav", src / "other.wav")
    spans = [{"offset": 1, "duration": 1.5}, {"offset": 2, "duration": 0.5}] if cut else [{}]
    rows = [{**span, "subjects": whose} for span in spans]
    done = offered(run, sealed, src, tmp_path, *rows, name="other.wav")
    assert (done.json["added"], len(done.json["erased"])) == (0, len(rows))
    assert rows_of(sealed.root) == {}


def test_the_piece_does_not_enter_as_a_file(run: Run, src: Path, tmp_path: Path, operator: Operator) -> None:
    root, out = tmp_path / "sealed", tmp_path / "out"
    assert encrypt(run, src, root, table(tmp_path, *BOTH)).code == 0
    assert run("export", root, out, "--allow-plaintext-export").code == 0
    erase(Writer(resolve(str(root))), Request("path", paths=(ANNA,)))
    (out / ANNA).rename(out / "other.wav")
    listed = jsonl(tmp_path / "o.jsonl", {"audio_filepath": "other.wav", "speaker": "anna"})
    assert encrypt(run, out, root, listed).json["erased"] == ["other.wav"]


def test_labels_of_others_pieces_can_be_corrected(sealed: Reference) -> None:
    report = relabel(sealed, {BEN: {"subjects": "benjamin", "consent_id": "C2"}})
    assert (report.rows, report.erased) == (1, [])


def test_all_pieces_by_the_recordings_folder(run: Run, src: Path, sealed: Reference, tmp_path: Path) -> None:
    """Erased one after another, each is barred by itself; what nobody erased may enter."""
    erase(Writer(sealed), Request("path", paths=("talk@*",)), Options(all_meant=True))
    spans = sorted((one.start, one.frames) for one in look(sealed).head.barred_pieces)
    assert spans == [(1600, 11200), (16000, 24000)]
    done = offered(run, sealed, src, tmp_path, *BOTH, said("anna", 40000, 41000))
    assert (sorted(done.json["erased"]), list(rows_of(sealed.root))) == ([ANNA, BEN], ["talk@40000-41000.wav"])
