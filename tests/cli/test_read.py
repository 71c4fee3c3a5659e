"""`securedata ls`, `info`, `cat`, `verify` and `export`: what they show, write and refuse."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from securedata.cli.main import main
from securedata.corpus.config import config_path
from securedata.corpus.opening import open_corpus
from securedata.corpus.schema import rows_table
from securedata.corpus.state.layout import object_key
from tests.kit.cli.commandline import Run
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.corpora.rows import DAY, add, in_folder, row
from tests.kit.sources.recordings import clip

# ------------------------------------------------------------------------------------------------------------ ls, info


def test_ls_shows_folders_with_their_sums(run: Run, root: Root) -> None:
    done = run("ls", root)
    assert done.code == 0
    ann, bob = (sum(len(one.data) for one in root.clips if one.speaker == speaker) for speaker in ("ann", "bob"))
    assert done.out == f"{ann:>6,}  1.80 s  3 recordings  ann/\n{bob:>6,}  1.70 s  3 recordings  bob/\n"


@pytest.mark.parametrize("path", ["ann", "ann/", "/ann"])
def test_ls_of_a_folder(run: Run, root: Root, path: str) -> None:
    lines = run("ls", root, path).out.splitlines()
    assert [line.split()[-1] for line in lines] == ["utt0.wav", "utt1.flac", "utt2.ogg"]
    assert lines[0].split()[0] == f"{len(root.clips[0].data):,}"
    assert lines[0].split()[1:4] == ["0.50", "s", "ann"]


def test_ls_below_and_of_one(run: Run, root: Root) -> None:
    paths = [one.path for one in root.clips]
    assert [line.split()[-1] for line in run("ls", root, "-R").out.splitlines()] == paths
    assert [line.split()[-1] for line in run("ls", root, "bob", "-R").out.splitlines()] == paths[3:]
    for spelled in (
        [root, paths[0]],
        [f"securedata://{root.name}/{paths[0]}"],
        [f"securedata://{root.name}/ann/", "utt0.wav"],
    ):
        assert [line.split()[-1] for line in run("ls", *spelled).out.splitlines()] == [paths[0]]
    assert run("ls", f"securedata://{root.name}").out == run("ls", root).out


def test_ls_of_nothing(run: Run, root: Root, tmp_path: Path) -> None:
    for path in ("an", "ann/utt", "eve"):
        done = run("ls", root, path)
        assert done.code == 1
        assert done.error.endswith(f"[{path}]")
    empty = make_corpus(tmp_path, [], name="empty")
    assert (run("ls", empty).code, run("ls", empty).out) == (0, "")
    assert run("ls", empty, "--json").json == []


def test_ls_as_json(run: Run, root: Root) -> None:
    top = run("ls", root, "--json").json
    assert [(one["path"], one["type"], one["recordings"]) for one in top] == [
        ("ann/", "folder", 3),
        ("bob/", "folder", 3),
    ]
    [one] = run("ls", root, "bob/utt1.flac", "--json").json
    assert one == {
        "path": "bob/utt1.flac", "type": "recording", "size": len(root.clips[4].data), "seconds": 0.4, "speaker": "bob",
        "split": "test", "language": "", "format": "FLAC", "sample_rate": 44_100, "mtime": 1_700_000_000.0,
    }  # fmt: skip


def test_ls_shows_words_on_request_only(run: Run, root: Root) -> None:
    words = [one.columns.get("transcript", "") for one in root.clips]
    for arguments in (["-R"], ["-R", "--json"]):
        assert "good" not in run("ls", root, *arguments).out
    for option in ("-t", "--transcripts"):
        lines = run("ls", root, "-R", option).out.splitlines()
        assert [line.split("  ")[-1].strip() for line in lines] == [word or "ann/utt2.ogg" for word in words]
        assert [one["transcript"] for one in run("ls", root, "-R", option, "--json").json] == words
    top = run("ls", root, "-t")
    assert top.out == run("ls", root).out
    assert top.err == "folders have no transcripts: -R lists what lies in them\n"
    assert run("ls", root, "ann/utt2.ogg", "-t").err == "none has a transcript\n"
    assert run("ls", root, "-R", "-t").err == ""


def test_info_tells_of_splits_rates_formats_and_people(run: Run, root: Root) -> None:
    found = run("info", root, "--json").json
    assert found["splits"] == [
        {"split": "train", "recordings": 3, "seconds": 2.2},
        {"split": "test", "recordings": 2, "seconds": 1.0},
        {"split": "", "recordings": 1, "seconds": 0.3},
    ]
    assert found["sample_rates"] == [
        {"sample_rate": 16_000, "recordings": 4, "seconds": 2.8},
        {"sample_rate": 44_100, "recordings": 1, "seconds": 0.4},
        {"sample_rate": 8_000, "recordings": 1, "seconds": 0.3},
    ]
    assert [(one["format"], one["recordings"]) for one in found["formats"]] == [("WAV", 3), ("FLAC", 2), ("OGG", 1)]
    assert found["by_speaker"] == [
        {"speaker": "ann", "recordings": 3, "seconds": 1.8},
        {"speaker": "bob", "recordings": 3, "seconds": 1.7},
    ]
    assert found["transcripts"] == sum(bool(one.columns.get("transcript")) for one in root.clips) == 5
    shown = run("info", root).out.splitlines()
    assert "transcripts 5" in [" ".join(line.split(maxsplit=1)) for line in shown]
    at = next(n for n, line in enumerate(shown) if line.startswith("splits"))
    assert [line[6:].strip() for line in shown[at : at + 3]] == [
        "train: 3 recordings, 2.20 s",
        "test: 2 recordings, 1.00 s",
        "(none): 1 recording, 0.30 s",
    ]
    assert any(line.startswith("sample rates") and line.endswith("16,000 Hz: 4 recordings, 2.80 s") for line in shown)


def test_info_shows_the_people_with_most_hours_and_counts_the_rest(run: Run, tmp_path: Path) -> None:
    clips = [clip(f"p{n:02}/a.wav", 0.1 + n / 100, speaker=f"p{n:02}") for n in range(13)]
    root = make_corpus(tmp_path, clips)
    shown = run("info", root).out
    assert [f"p{n:02}: " in shown for n in range(13)] == [False] * 3 + [True] * 10
    assert "and 3 more (--json lists them all)" in shown
    assert len(run("info", root, "--json").json["by_speaker"]) == 13


def test_the_config_block_as_json(run: Run, root: Root) -> None:
    expected = {"name": root.name, "root": root, "kms": [root.kms], "pin": root.pin}
    assert run("info", root, "--config", "--json").json == expected


def test_ls_counts_an_object_of_several_segments_once(run: Run, tmp_path: Path) -> None:
    talk = clip("ann/talk.wav", 3.0, rate=8000, segments=[(0, 8000), (8000, 4000)])
    root = make_corpus(tmp_path, [talk])
    assert run("ls", root).out == f"{len(talk.data):,}  1.50 s  2 recordings  ann/\n"
    assert [line.split()[1:3] for line in run("ls", root, "ann").out.splitlines()] == [["1.00", "s"], ["0.50", "s"]]


def test_folders_and_recordings_in_the_order_of_bytes(run: Run, tmp_path: Path) -> None:
    reference, writer = in_folder(tmp_path / "sealed")
    add(writer, {"b": b"1", "a.x": b"2", "a/x": b"3", "ä": b"4", "a/y/z": b"5", "C": b"6"}, sample_rate=0, frames=0)
    assert [line.split()[-1] for line in run("ls", reference.root).out.splitlines()] == ["C", "a.x", "a/", "b", "ä"]


def test_what_could_steer_a_terminal_is_shown_and_not_sent(run: Run, tmp_path: Path) -> None:
    reference, writer = in_folder(tmp_path / "sealed")
    bad = "ann/\x1b[2J\u202egpj.wav"
    made = row(writer, bad, b"x", speaker="ann\x07")
    writer.commit(rows_table([made]))
    for arguments in (["ls", "-R"], ["ls"], ["verify"], ["info", "--object", made["object_id"].hex()]):
        done = run(arguments[0], reference.root, *arguments[1:])
        assert not {"\x1b", "\x07", "\u202e"} & set(done.out + done.err)
    assert "\\u001b[2J\\u202egpj.wav" in run("ls", reference.root, "-R").out


def test_info(run: Run, root: Root) -> None:
    done = run("info", root)
    assert done.code == 0
    shown = dict(line.split(maxsplit=1) for line in done.out.splitlines() if not line.startswith("corpus id"))
    assert shown["pin"] == root.pin
    assert shown["generation"] == "2"
    assert shown["recordings"] == "6"
    assert shown["duration"] == "3.50 s"
    assert shown["speakers"] == "2"
    assert shown["kms"] == root.kms
    known = run("info", root.name, "--json").json
    assert known["bytes"] == sum(len(one.data) for one in root.clips)
    assert known["root"] == root
    assert known["opened"] is True
    assert known["seconds"] == pytest.approx(3.5)
    assert known["subjects"] == 2


def test_info_without_a_pin_shows_it_and_does_not_warn(run: Run, root: Root) -> None:
    config_path().unlink()
    done = run("info", root, "--kms", root.kms)
    assert root.pin in done.out
    assert done.err == ""


@pytest.mark.parametrize("json_too", [True, False])
def test_info_without_the_key_says_that_it_proves_nothing(run: Run, root: Root, json_too: bool) -> None:
    root.key_file.unlink()
    done = run("info", root, *(["--json"] if json_too else []))
    assert done.code == 1
    assert root.kms in done.error
    if json_too:
        assert done.json["opened"] is False
        assert "pin" not in done.json
        assert done.json["corpus_id"] == root.reference.pins[0].corpus_id.hex()
    else:
        assert "unverified" in done.out.splitlines()[0]
        assert root.pin not in done.out


def test_info_of_another_corpus_than_pinned(run: Run, root: Root, tmp_path: Path) -> None:
    other = make_corpus(tmp_path, [], name="other")
    done = run("info", root, "--pin", other.pin)
    assert done.code == 1
    assert done.out == ""
    assert "the pin names" in done.error


def test_the_block_for_a_colleague_works(run: Run, root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = run("info", root.name, "--config").out
    assert "copy of it" in block
    (tmp_path / "theirs.toml").write_text(block)
    monkeypatch.setenv("SECUREDATA_CONFIG", str(tmp_path / "theirs.toml"))
    done = run("verify", "voice-a", "--prune")
    assert (done.code, done.err) == (0, "")


def test_an_object_by_its_id(run: Run, root: Root) -> None:
    with open_corpus(root.reference) as corpus:
        id = corpus.value("object_id", corpus.find("bob/utt0.wav")).hex()
    assert run("info", root, "--object", id).out == "bob/utt0.wav\n"
    assert run("info", root, "--object", id, "--json").json == {"object": id, "paths": ["bob/utt0.wav"]}
    assert run("info", root, "--object", "0" * 32).code == 1
    assert run("info", root, "--object", "0" * 30).code == 2
    assert run("info", root, "--object", "x" * 32).code == 2


# ---------------------------------------------------------------------------------------------------------------- cat


class Out:
    """Standard output as a shell would set it up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fd: int) -> None:
        self.stream = os.fdopen(fd, "w")
        monkeypatch.setattr(sys, "stdout", self.stream)


def test_cat_into_a_pipe(root: Root, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "securedata", "cat", root, "bob/utt0.wav"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == root.clips[3].data
    command[-2:] = [f"securedata://{root.name}/ann/utt0.wav"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == root.clips[0].data


def test_cat_of_a_large_one_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = clip("ann/long.wav", 5.0)
    root = make_corpus(tmp_path, [large])
    monkeypatch.setattr("securedata.cli.commands.cat._PIECE", 50_000)
    target = tmp_path / "out.wav"
    Out(monkeypatch, os.open(target, os.O_WRONLY | os.O_CREAT))
    assert main(["cat", root, "ann/long.wav", "--allow-plaintext-export"]) == 0
    sys.stdout.close()
    assert target.read_bytes() == large.data


def test_cat_into_a_file_has_to_be_allowed(
    run: Run, root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.wav"
    Out(monkeypatch, os.open(target, os.O_WRONLY | os.O_CREAT))
    assert "--allow-plaintext-export" in run("cat", root, "ann/utt0.wav").error
    assert target.read_bytes() == b""
    assert run("cat", root, "ann/utt0.wav", "--allow-plaintext-export").code == 0
    sys.stdout.close()
    assert target.read_bytes() == root.clips[0].data


def test_cat_to_a_terminal_has_to_be_forced(run: Run, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    Out(monkeypatch, theirs)
    done = run("cat", root, "ann/utt2.ogg")
    assert done.code == 2
    assert "--force" in done.err
    monkeypatch.setattr("securedata.corpus.reader.Corpus.read", lambda *_: bytearray(b"short"))
    assert run("cat", root, "ann/utt2.ogg", "--force").code == 0
    assert os.read(ours, 100) == b"short"
    sys.stdout.close()
    os.close(ours)


def test_cat_of_nothing(run: Run, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    Out(monkeypatch, os.open(os.devnull, os.O_WRONLY))
    done = run("cat", root, "ann/utt9.wav")
    assert done.code == 1
    assert done.error.endswith("[ann/utt9.wav]")
    assert run("cat", root).code == 2
    sys.stdout.close()


# ------------------------------------------------------------------------------------------------------ verify, export


def test_verify_of_a_sound_corpus(run: Run, root: Root) -> None:
    done = run("verify", root)
    assert done.code == 0
    assert done.err == ""
    assert done.out.splitlines()[-1] == "all is well"
    assert done.out.startswith("6 rows in 1 part, generation 2; 6 objects opened")
    known = run("verify", root, "--json").json
    assert known["ok"] is True
    assert known["findings"] == []
    assert (known["rows"], known["objects_opened"]) == (6, 6)


def harm(root: Root, path: str) -> str:
    with open_corpus(root.reference) as corpus:
        id = corpus.value("object_id", corpus.find(path))
    file = Path(root, object_key(id))
    file.write_bytes(file.read_bytes()[:-1])
    return str(id.hex())


def test_verify_with_findings(run: Run, root: Root) -> None:
    id = harm(root, "ann/utt0.wav")
    done = run("verify", root)
    assert done.code == 1
    assert done.error == f"securedata: error: 1 finding in {root}"
    [line] = [line for line in done.out.splitlines() if line.startswith("Truncated: ")]
    assert id in line
    assert line.endswith("[ann/utt0.wav]")
    known = run("verify", root, "--json")
    assert known.code == 1
    [finding] = known.json["findings"]
    assert (finding["error"], finding["object_id"], finding["paths"]) == ("Truncated", id, ["ann/utt0.wav"])


def test_a_long_list_of_findings_is_cut_for_people(run: Run, root: Root) -> None:
    for n in range(30):
        Path(root, f"junk{n}").write_bytes(b"")
    done = run("verify", root)
    assert done.out.count("ForeignFile: ") == 20
    assert "and 10 more findings" in done.out
    assert "30 findings: 30 ForeignFile" in done.out
    assert len(run("verify", root, "--json").json["findings"]) == 30


def test_prune_deletes_what_verify_found_and_the_rest_stays_a_finding(run: Run, root: Root) -> None:
    left = Path(root, f"objects/ab/ab{'0' * 30}")
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"abandoned")
    assert "in flight: 1 object" in run("verify", root).err
    old = left.stat().st_mtime - DAY - 60
    os.utime(left, (old, old))
    done = run("verify", root)
    assert done.code == 1
    assert "--prune" in done.out
    id = harm(root, "ann/utt0.wav")
    done = run("verify", root, "--prune")
    assert done.code == 1
    assert "pruned: 1 key, 9 B" in done.out
    assert "Orphan" not in done.out
    assert id in done.out
    assert not left.exists()
    known = run("verify", root, "--prune", "--json").json
    assert known["pruned"]["deleted"] == []


def test_a_prune_that_is_refused_still_reports(run: Run, root: Root) -> None:
    [part] = Path(root, "manifest").iterdir()
    part.rename(part.with_name("saved"))
    done = run("verify", root, "--prune")
    assert done.code == 1
    assert "PartMissing: " in done.out
    assert part.name in done.error


def test_export(run: Run, root: Root, tmp_path: Path) -> None:
    done = run("export", root, tmp_path / "out")
    assert done.code == 1
    assert "--allow-plaintext-export" in done.error
    assert not (tmp_path / "out").exists()
    done = run("export", root, tmp_path / "out", "--allow-plaintext-export")
    assert done.code == 0
    assert done.out.startswith("6 files written")
    again = (
        done.err.splitlines()[-1]
        .removeprefix("to seal it again: securedata ")
        .replace("./NEW", str(tmp_path / "again"))
    )
    assert run(*again.split()).code == 0
    known = run(
        "export", root, tmp_path / "out", "--allow-plaintext-export", "--path", "ann", "--overwrite", "--json"
    ).json
    assert (known["written"], known["right_already"], known["complete"]) == (0, 3, True)


def test_export_lists_what_could_not_be_restored(run: Run, root: Root, tmp_path: Path) -> None:
    harm(root, "ann/utt0.wav")
    done = run("export", root, tmp_path / "out", "--allow-plaintext-export", "--threads", "1")
    assert done.code == 1
    assert "not restored (1):\n  ann/utt0.wav: object" in done.err
    assert done.error == f"securedata: error: 1 file of {root} not restored"
    known = run("export", root, tmp_path / "out", "--allow-plaintext-export", "--json")
    assert known.code == 1
    assert [one["path"] for one in known.json["failed"]] == ["ann/utt0.wav"]
    assert known.json["complete"] is False
