"""Recordings whose segments name different people: each segment is an object of its own, with the same samples."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import securedata as sd
from securedata.corpus.config import resolve
from securedata.corpus.opening import open_corpus
from securedata.corpus.schema import ALL, CUT
from securedata.ingest import cutting, preview, sealing
from securedata.ingest.sources import origin
from securedata.media.audio import cut
from securedata.media.audio.cut import cut_of
from securedata.media.audio.probe import AudioInfo, probe, probe_ranges
from tests.kit.cli.commandline import Ran, Run
from tests.kit.corpora.erasing import erase
from tests.kit.corpora.recorded import Root
from tests.kit.docs.tree import ROOT
from tests.kit.sources.folders import jsonl
from tests.kit.sources.recordings import encode, noise, read

KINDS = [
    *(("WAV", subtype, subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW")),
    *(("FLAC", "PCM_S8", "PCM_U8"), ("FLAC", "PCM_16", "PCM_16"), ("FLAC", "PCM_24", "PCM_24")),
    *(("NIST", "ULAW", "PCM_16"), ("AIFF", "PCM_16", "PCM_16"), ("AIFF", "PCM_32", "FLOAT")),
    *(("MP3", "MPEG_LAYER_III", "FLOAT"), ("OGG", "VORBIS", "FLOAT"), ("OGG", "OPUS", "FLOAT")),
]
SAID: list[dict[str, Any]] = [
    {"speaker": "anna", "offset": 0.1, "duration": 0.70001, "text": "one"},
    {"speaker": "ben", "offset": 1, "duration": 1.5, "text": "two", "id": "u2", "lang": "de", "room": 3},
    {"speaker": "anna", "offset": 2.25, "duration": 0.3, "text": "three"},
]
KEPT = ("path", "size", "source_sha256", "subjects", "speaker", "utterance", "transcript", "split", "language", "extra")
SHARED = (
    "added",
    "replaced",
    "updated",
    "unchanged",
    "conflicts",
    "problems",
    "sources",
    "apart",
    "shared",
    "complete",
)


def talk(
    folder: Path, name: str = "talk.wav", kind: str = "WAV", subtype: str | None = "PCM_16", seed: int = 1
) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(encode(noise(3.0, channels=2, seed=seed), 16_000, kind, subtype))
    return folder


def table(folder: Path, *rows: dict[str, Any], name: str = "talk.wav", **more: Any) -> Path:
    return jsonl(folder / "m.jsonl", *({"audio_filepath": name, **row, **more} for row in rows or SAID))


def encrypt(run: Run, src: Path, root: str | Path, manifest: Path, *more: str) -> Ran:
    """A run, and a rehearsal before it that says the same."""
    arguments = ("encrypt", src, root, "--manifest", manifest, "--json", *more)
    said = run(*arguments, "--dry-run")
    done = run(*arguments)
    assert said.code == done.code, said.err + done.err
    assert {name: said.json[name] for name in SHARED} == {name: done.json[name] for name in SHARED}
    if not done.json["erased"] and "--if-duplicate" not in more:  # of which a run sees only what it has sealed
        assert said.json["bytes"] == done.json["bytes"]
    return done


def rows_of(root: str | Path) -> dict[str, dict[str, Any]]:
    with open_corpus(resolve(str(root)), columns=[*ALL, *CUT.names]) as corpus:
        return {row["path"]: row for row in corpus.table.to_pylist()}


def samples(root: str | Path) -> dict[str, bytes]:
    data = sd.EncryptedAudioDataset(str(root))
    return {data.get_metadata(i)[0]: data[i][0].numpy().tobytes() for i in range(len(data))}


@pytest.mark.parametrize(("kind", "subtype", "becomes"), KINDS, ids=lambda one: str(one))
def test_the_samples_are_those_of_the_recording(
    run: Run, tmp_path: Path, kind: str, subtype: str, becomes: str
) -> None:
    src = talk(tmp_path / "src", "talk.rec", kind, subtype)
    shared, parted = tmp_path / "shared", tmp_path / "parted"
    everybody = table(tmp_path, name="talk.rec", subjects=["anna", "ben"])
    assert encrypt(run, src, shared, everybody).json["apart"]["recordings"] == 0
    done = encrypt(run, src, parted, table(tmp_path, name="talk.rec"))
    assert (done.code, done.json["added"], done.json["files"]) == (0, 3, 1)
    assert samples(parted) == samples(shared)
    rows = rows_of(parted)
    assert [(row["subjects"], row["transcript"]) for row in rows.values()] == [
        (["anna"], "one"),
        (["ben", "anna"], "two"),
        (["anna", "ben"], "three"),
    ]
    assert len({row["object_id"] for row in rows.values()}) == 3
    assert {(row["format"], row["subtype"], row["start"]) for row in rows.values()} == {("WAV", becomes, None)}
    assert [row["frames"] for row in rows.values()] == [11200, 24000, 4800]
    assert {row["speaker"] for row in rows.values()} == {"anna", "ben"}
    assert run("verify", parted, "-q").code == 0


def test_they_come_back_as_files_of_their_own(run: Run, tmp_path: Path) -> None:
    src, root, out = talk(tmp_path / "src"), tmp_path / "sealed", tmp_path / "out"
    assert encrypt(run, src, root, table(tmp_path)).code == 0
    assert run("export", root, out, "--allow-plaintext-export").code == 0
    assert {path.name for path in out.iterdir()} == {*rows_of(root), "manifest.jsonl"}
    assert encrypt(run, out, tmp_path / "again", out / "manifest.jsonl").code == 0
    before, after = rows_of(root), rows_of(tmp_path / "again")
    assert [[row[name] for name in KEPT] for row in before.values()] == [
        [row[name] for name in KEPT] for row in after.values()
    ]
    assert encrypt(run, out, root, out / "manifest.jsonl").json["unchanged"] == 3, "they are what is there"


def test_run_again(run: Run, tmp_path: Path) -> None:
    src, root = talk(tmp_path / "src"), tmp_path / "sealed"
    first = encrypt(run, src, root, table(tmp_path))
    assert first.json["apart"] == {
        "recordings": 1,
        "segments": 3,
        "overlapping": ["talk@16000-40000.wav", "talk@36000-40800.wav"],
        "seconds_left_out": pytest.approx(3 - 0.7 - 1.55),
    }
    objects = {path: row["object_id"] for path, row in rows_of(root).items()}

    again = encrypt(run, src, root, table(tmp_path))
    assert (again.json["unchanged"], again.json["files"], again.json["commits"]) == (3, 0, 0)
    os.utime(src / "talk.wav", ns=(5, 5))
    touched = encrypt(run, src, root, table(tmp_path, *SAID[:2], {**SAID[2], "text": "better"}))
    assert (touched.json["updated"], touched.json["files"], touched.json["bytes"]) == (3, 1, 0)
    assert {row["source_mtime_ns"] for row in rows_of(root).values()} == {5}
    assert encrypt(run, src, root, table(tmp_path), "--checksum").json["updated"] == 1  # the words again
    assert {path: row["object_id"] for path, row in rows_of(root).items()} == objects

    talk(src, seed=2)
    changed = encrypt(run, src, root, table(tmp_path))
    assert (changed.code, changed.json["conflicts"]) == (1, list(objects))
    assert encrypt(run, src, root, table(tmp_path), "--replace").json["replaced"] == 3
    assert not set(objects.values()) & {row["object_id"] for row in rows_of(root).values()}
    assert encrypt(run, src, root, table(tmp_path), "--reseal").json["replaced"] == 3
    assert encrypt(run, src, root, table(tmp_path)).json["unchanged"] == 3
    assert run("verify", root, "-q").code == 0


def test_one_person_is_erased_and_the_other_stays(run: Run, tmp_path: Path) -> None:
    src, root = talk(tmp_path / "src"), Root(tmp_path / "sealed")
    assert encrypt(run, src, root, table(tmp_path, *SAID[:2])).code == 0
    root.reference = resolve(root)
    before = samples(root)
    erase(root, "ben")
    assert samples(root) == {path: before[path] for path in ("talk@1600-12800.wav",)}
    again = encrypt(run, src, root, table(tmp_path, *SAID[:2]))
    assert (again.json["unchanged"], again.json["erased"]) == (1, ["talk@16000-40000.wav"])


def test_what_shares_an_object_is_left_until_it_is_to_be_replaced(run: Run, tmp_path: Path) -> None:
    src, root = talk(tmp_path / "src"), tmp_path / "sealed"
    assert encrypt(run, src, root, table(tmp_path, subjects=["anna", "ben"])).code == 0
    before, heard = rows_of(root), samples(root)
    left = encrypt(run, src, root, table(tmp_path))
    assert (left.code, left.json["unchanged"], left.json["shared"]) == (0, 3, list(before))
    assert rows_of(root) == before
    quiet = run("encrypt", src, root, "--manifest", table(tmp_path))
    assert "left as they are ('securedata split' or --replace splits them) (3)" in quiet.err
    assert encrypt(run, src, root, table(tmp_path), "--replace").json["replaced"] == 3
    assert samples(root) == heard
    assert {row["start"] for row in rows_of(root).values()} == {None}
    assert run("verify", root, "-q").code == 0


def test_later_segments_of_one_person_do_not_bring_the_others_in(run: Run, tmp_path: Path) -> None:
    """Else all of the recording would be sealed as this person's alone."""
    src, root = talk(tmp_path / "src"), tmp_path / "sealed"
    assert encrypt(run, src, root, table(tmp_path)).code == 0
    more = encrypt(run, src, root, table(tmp_path, SAID[0], {"speaker": "anna", "offset": 2.7, "duration": 0.2}))
    assert (more.code, more.json["added"], more.json["unchanged"]) == (0, 1, 1)
    rows = rows_of(root)
    assert (rows["talk@43200-46400.wav"]["frames"], rows["talk@43200-46400.wav"]["start"]) == (3200, None)
    # and what replaces such a row is not taken for cut out any more
    (root.parent / "other").mkdir()
    shutil.copy(src / "talk.wav", root.parent / "other" / "talk@43200-46400.wav")
    manifest = jsonl(tmp_path / "o.jsonl", {"audio_filepath": "talk@43200-46400.wav", "speaker": "anna"})
    assert encrypt(run, tmp_path / "other", root, manifest).json["conflicts"] == ["talk@43200-46400.wav"]
    assert encrypt(run, tmp_path / "other", root, manifest, "--replace").json["replaced"] == 1
    assert rows_of(root)["talk@43200-46400.wav"]["recording_sha256"] is None
    assert encrypt(run, tmp_path / "other", root, manifest).json["unchanged"] == 1


@pytest.mark.parametrize("policy", ["take", "skip", "fail"])
def test_the_same_recording_under_another_name(run: Run, tmp_path: Path, policy: str) -> None:
    src, root = talk(tmp_path / "src"), tmp_path / "sealed"
    assert encrypt(run, src, root, table(tmp_path)).code == 0
    other = talk(tmp_path / "other", "copy.wav")
    done = encrypt(run, other, root, table(tmp_path, name="copy.wav"), "--if-duplicate", policy)
    assert (done.code, done.json["added"]) == {"take": (0, 3), "skip": (0, 0), "fail": (1, 0)}[policy]
    assert {one["same_as"] for one in done.json["duplicates"]} == (set() if policy == "fail" else {"talk.wav"})
    assert encrypt(run, src, root, table(tmp_path), "--if-duplicate", policy).json["unchanged"] == 3


def test_a_segment_that_cannot_be_decoded(run: Run, tmp_path: Path) -> None:
    src = talk(tmp_path / "src", "talk.flac", "FLAC")
    data = bytearray((src / "talk.flac").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)  # in the second
    (src / "talk.flac").write_bytes(data)
    done = encrypt(run, src, tmp_path / "sealed", table(tmp_path, name="talk.flac"))
    assert (done.code, done.json["added"]) == (1, 2)
    assert [one["path"] for one in done.json["problems"]] == ["talk@16000-40000.flac"]


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")])
def test_large_recordings_are_read_in_pieces(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, subtype: str
) -> None:
    src = talk(tmp_path / "src", "talk.rec", kind, subtype)
    assert encrypt(run, src, tmp_path / "whole", table(tmp_path, name="talk.rec")).code == 0
    for module in (sealing, preview, origin, cut):
        monkeypatch.setattr(module, "PIECE", 5000)
    monkeypatch.setattr(cut, "_BLOCK", 1001)
    monkeypatch.setattr(cutting.Blocks, "BLOCK", 777)
    assert encrypt(run, src, tmp_path / "pieces", table(tmp_path, name="talk.rec")).code == 0
    one, other = rows_of(tmp_path / "whole"), rows_of(tmp_path / "pieces")
    assert [row["source_sha256"] for row in one.values()] == [row["source_sha256"] for row in other.values()]
    assert [row["recording_sha256"] for row in one.values()] == [row["recording_sha256"] for row in other.values()]


@pytest.mark.parametrize("piece", [5000, 4 * 1024 * 1024])
def test_a_recording_that_changes_while_it_is_cut(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    for module in (sealing, origin, cut):
        monkeypatch.setattr(module, "PIECE", piece)
    src, root = talk(tmp_path / "src"), tmp_path / "sealed"
    talk(src, "b.wav", seed=3)
    put_segments = sealing.Sealing._put_segments

    def and_change(self: Any, item: Any, *rest: Any) -> None:
        put_segments(self, item, *rest)
        if item.file.endswith("talk.wav"):
            talk(src, seed=2)

    monkeypatch.setattr(sealing.Sealing, "_put_segments", and_change)
    rows = [{"audio_filepath": name, **row} for name in ("talk.wav", "b.wav") for row in SAID]
    done = run("encrypt", src, root, "--manifest", jsonl(tmp_path / "m.jsonl", *rows), "--json", "--threads", "1")
    small = piece > 5000  # read once, and whole, before it changed
    assert (done.code, done.json["added"]) == ((0, 6) if small else (1, 3))
    objects = [path for path in (root / "objects").rglob("*") if path.is_file()]
    assert len(objects) == done.json["added"], "nothing stays of what was not taken"


def test_killed_and_run_again(run: Run, tmp_path: Path) -> None:
    src, root = tmp_path / "src", tmp_path / "sealed"
    for n in range(6):
        talk(src, f"{n}.wav", seed=n)
    manifest = jsonl(tmp_path / "m.jsonl", *({"audio_filepath": f"{n}.wav", **row} for n in range(6) for row in SAID))
    arguments = ["encrypt", str(src), str(root), "--manifest", str(manifest), "--json"]
    command = [sys.executable, "-m", "tests.kit.cli.impatient", "3", "9", *arguments, "--threads", "1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.kill()
    before = rows_of(root)
    assert 0 < len(before) < 18
    done = encrypt(run, src, root, manifest)
    assert (done.json["added"], done.json["unchanged"]) == (18 - len(before), len(before))
    assert run("verify", root, "-q").code == 0


def test_a_header_for_more_than_4_gb() -> None:
    info = AudioInfo("RF64", "FLOAT", 48_000, 2, 2**30, 80)
    for frames in (2**29 - 50, 2**30 - 5):
        file = cut_of(info, frames)

        def read_at(offset: int, length: int, header: bytes = file.header, size: int = file.size) -> bytes:
            piece = header[offset : offset + length]
            return piece + bytes(min(length, size - offset) - len(piece))

        assert probe_ranges(read_at, file.size) == file.info
        assert file.info.format == ("WAV" if frames < 2**29 else "RF64")


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24"])
def test_an_odd_number_of_bytes(subtype: str) -> None:
    data = encode(noise(1.0), 16_000, "WAV", subtype)
    cutter = cutting.Cutter.over(probe(data), data)
    made = b"".join(cutter.pieces(7, 333))
    assert (len(made), probe(made)) == (cutter.file(333).size, cutter.file(333).info)
    assert len(made) % 2 == 0
    assert read(made).tobytes() == read(data, 7, 333).tobytes()
