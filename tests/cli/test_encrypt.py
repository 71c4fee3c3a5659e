"""`securedata encrypt` and `init`, on real folders of recordings."""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path

import pytest

from securedata.corpus.config import config_path
from securedata.corpus.create import create_corpus
from securedata.corpus.home import data_dir
from securedata.corpus.opening import open_corpus
from securedata.corpus.state.seen import recall
from securedata.storage.local import LocalStorage
from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.corpora.recorded import Root, remove_paths
from tests.kit.sources.folders import jsonl
from tests.kit.sources.recordings import clip

# ------------------------------------------------------------------------------------------------------ encrypt, init


def test_encrypt_makes_the_corpus_and_says_what_must_not_be_lost(run: Run, here: Path, wavs: Path) -> None:
    done = run("encrypt", wavs, "./sealed", *PATTERN)
    assert done.code == 0
    key = data_dir() / "keys" / "sealed.kek"
    assert f"{key}: back up this file: without it the corpus is lost" in done.err
    assert "6 added" in done.out
    assert run("verify", "sealed").code == 0
    again = run("encrypt", wavs, "sealed", *PATTERN)
    assert again.code == 0
    assert "6 unchanged" in again.out
    assert "back up" not in again.err
    with open_corpus("sealed") as corpus:
        assert {path: bytes(corpus.read(path)) for path in corpus.table["path"].to_pylist()} == {
            str(path.relative_to(wavs)): path.read_bytes() for path in wavs.rglob("*.*")
        }


def test_the_key_file_is_spoken_of_with_quiet_too(run: Run, here: Path, wavs: Path) -> None:
    done = run("encrypt", wavs, "./sealed", *PATTERN, "-q")
    assert done.err.count("\n") == 1
    assert "back up this file" in done.err


def test_a_run_that_takes_nothing_says_so(run: Run, here: Path, wavs: Path) -> None:
    assert run("encrypt", wavs, "./sealed", "--one-subject", "ann").code == 0
    done = run("encrypt", wavs, "./sealed", "--one-subject", "bob")
    assert done.code == 1
    assert "0 added, 6 not taken: 0 B sealed" in done.out
    assert "nothing to do" not in done.out


COUNTS = {"files": 8, "taken": 6, "companions": 1, "not_taken": 1}


def test_encrypt_as_json(run: Run, here: Path, wavs: Path) -> None:
    (wavs / "ann" / "notes.txt").write_text("x")
    (wavs / "ann" / "broken.wav").write_bytes(b"no audio")
    done = run("encrypt", wavs, "./sealed", *PATTERN, "--json")
    assert done.code == 1
    assert done.json["added"] == 6
    assert done.json["sources"] == {**dict.fromkeys(done.json["sources"], 0), **COUNTS}
    assert [one["path"] for one in done.json["problems"]] == ["ann/broken.wav"]
    assert done.json["complete"] is False
    assert done.json["root"] == str(here / "sealed")
    assert "1 recording" in done.error


def test_without_a_subject_nothing_is_made(run: Run, here: Path, wavs: Path) -> None:
    done = run("encrypt", wavs, "./sealed")
    assert done.code == 2
    lines = done.err.splitlines()
    assert lines[0].startswith("securedata encrypt: error: nothing names the speakers")
    assert any(line.startswith("  --speaker-pattern '{speaker}/{utterance}'") for line in lines)
    assert list(here.iterdir()) == []
    assert not config_path().exists()


@pytest.mark.parametrize("quiet", [True, False])
def test_what_cannot_be_taken_is_listed_and_the_rest_is_sealed(run: Run, here: Path, wavs: Path, quiet: bool) -> None:
    (wavs / "ann" / "empty.wav").write_bytes(b"")
    done = run("encrypt", wavs, "./sealed", *PATTERN, *(["-q"] if quiet else []))
    assert done.code == 1
    assert "  ann/empty.wav: " in done.err
    assert done.error.endswith("not taken, for the reasons above")
    assert "see the report" not in done.err, "which is for Python: the command shows it"
    assert f"securedata: the key of the new corpus 'sealed' is {data_dir()}" in done.err
    assert "6 added" in done.out
    assert run("verify", "sealed").code == 0


def test_a_changed_recording_is_a_conflict_until_it_may_replace(run: Run, here: Path, wavs: Path) -> None:
    assert run("encrypt", wavs, "./sealed", *PATTERN).code == 0
    path = wavs / "ann/utt0.wav"
    path.write_bytes(clip("x.wav", 0.9, seed=77).data)
    done = run("encrypt", wavs, "sealed", *PATTERN)
    assert done.code == 1
    assert "(--replace replaces them) (1):\n  ann/utt0.wav" in done.err
    done = run("encrypt", wavs, "sealed", *PATTERN, "--replace")
    assert done.code == 0
    assert "1 replaced, 5 unchanged" in done.out
    with open_corpus("sealed") as corpus:
        assert bytes(corpus.read("ann/utt0.wav")) == path.read_bytes()


def test_checksum_finds_what_size_and_time_do_not(run: Run, here: Path, wavs: Path) -> None:
    assert run("encrypt", wavs, "./sealed", *PATTERN).code == 0
    path = wavs / "ann/utt0.wav"
    data, status = bytearray(path.read_bytes()), path.stat()
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert run("encrypt", wavs, "sealed", *PATTERN).code == 0
    assert run("encrypt", wavs, "sealed", *PATTERN, "--checksum").code == 1


def test_two_columns_for_one_field_are_no_choice(run: Run, tmp_path: Path, wavs: Path) -> None:
    (wavs / "m.csv").write_text("path,who,whom\nann/utt0.wav,ann,bob\n")
    what = ("encrypt", wavs, tmp_path / "sealed", "--manifest", "m.csv", "--only-listed")
    done = run(*what, "--columns", "speaker=who", "--columns", "speaker=whom")
    assert (done.code, "names two columns for speaker, 'who' and 'whom'" in done.err) == (2, True)
    assert run(*what, "--columns", "speaker=who", "--column", "speaker=who").code == 0


@pytest.mark.parametrize("option", ["--columns", "--column"])
def test_words_of_a_manifest(run: Run, here: Path, wavs: Path, option: str) -> None:
    table = wavs / "train.tsv"
    table.write_text("path\tclient\tsentence\tsplit\nann/utt0.wav\tAnn\tgood day\t\nbob/utt0.wav\tBob\thi\tdev\n")
    done = run(
        "encrypt", wavs, "./sealed", "--manifest", table, option, "speaker=client", option, "transcript=sentence",
        "--only-listed", "--split", "train", "--threads", "1", "--name", "words",
    )  # fmt: skip
    assert done.code == 0
    columns = ["path", "speaker", "transcript", "split"]
    with open_corpus("words", columns=columns) as corpus:
        assert [tuple(one.values()) for one in corpus.table.select(columns).to_pylist()] == [
            ("ann/utt0.wav", "Ann", "good day", "train"),
            ("bob/utt0.wav", "Bob", "hi", "dev"),
        ]


def test_how_many_have_a_transcript_is_reported(run: Run, here: Path, wavs: Path) -> None:
    assert "with a transcript in the sources: 0 of 6\n" in run("encrypt", wavs, "./sealed", *PATTERN).out
    rows: list[dict[str, object]] = [{"path": "ann/utt0.wav", "text": "hi"}, {"path": "ann/utt1.flac", "text": ""}]
    words = jsonl(wavs / "words.jsonl", *rows)
    for arguments in (["--dry-run"], []):
        done = run("encrypt", wavs, "sealed", "--manifest", words, "--only-listed", *PATTERN, *arguments)
        assert "with a transcript in the sources: 1 of 1\n" in done.out, "the other row is unchanged"
    done = run("encrypt", wavs, "sealed", *PATTERN)
    assert (done.code, "transcript" in done.out) == (0, False), "nothing changed, and the words stay"
    assert run("info", "sealed", "--json").json["transcripts"] == 1


def test_spellings_that_may_be_one_person_are_shown(run: Run, here: Path, wavs: Path) -> None:
    shutil.copytree(wavs / "ann", wavs / "Ann")
    assert "'Ann', 'ann'" in run("encrypt", wavs, "./sealed", *PATTERN).err


def test_encrypt_into_a_folder_that_holds_something_else(run: Run, here: Path, wavs: Path) -> None:
    (here / "full").mkdir()
    (here / "full" / "thesis.txt").write_text("mine")
    done = run("encrypt", wavs, "./full", *PATTERN)
    assert done.code == 1
    assert "something already (thesis.txt)" in done.error
    assert [path.name for path in (here / "full").iterdir()] == ["thesis.txt"]


def test_encrypt_into_a_corpus_that_is_gone(run: Run, here: Path, wavs: Path) -> None:
    assert run("encrypt", wavs, "./sealed", *PATTERN).code == 0
    shutil.rmtree("sealed")
    for _ in range(2):
        done = run("encrypt", wavs, "./sealed", *PATTERN)
        assert done.code == 1
        assert "the corpus is gone" in done.error


def test_a_colleagues_entry_whose_disk_is_not_mounted(run: Run, here: Path, wavs: Path) -> None:
    """This machine has seen nothing of the corpus, and still no new one is made in its place."""
    created = create_corpus(str(here / "sealed"))
    shutil.rmtree("sealed")
    shutil.rmtree(Path(os.environ["XDG_STATE_HOME"]))
    assert recall(created.reference.pins[0].corpus_id) is None
    assert "the corpus is gone" in run("encrypt", wavs, "./sealed", *PATTERN).error


def test_an_init_that_was_killed_is_mended_by_encrypt(
    run: Run, here: Path, wavs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    kek = here / "own.kek"
    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "replace", killed)
        assert run("encrypt", wavs, "./sealed", *PATTERN, "--kms", f"local://{kek}").code == 130
    assert config_path().exists()
    assert not (here / "sealed" / "head").exists()
    done = run("encrypt", wavs, "./sealed", *PATTERN)
    assert done.code == 0
    assert f"{kek}: back up this file" in done.err
    assert run("verify", "sealed").code == 0


def test_init(run: Run, here: Path) -> None:
    done = run(
        "init", "./sealed", "--name", "voice-a", "--kms", f"local://{here}/a.kek", "--kms", f"local://{here}/b.kek"
    )
    assert done.code == 0
    assert done.out.startswith("sd1")
    assert done.err.count("back up this file") == 2
    config = tomllib.loads(config_path().read_text())["corpora"]["voice-a"]
    assert config["pin"] == done.out.strip()
    assert config["root"] == str(here / "sealed")
    assert len(config["kms"]) == 2
    done = run("init", "./sealed", "--name", "voice-b")
    assert done.code == 1
    assert "there is a corpus at" in done.error
    assert "taken by" in run("init", "./other", "--name", "voice-a").error
    assert "inside the corpus" in run("init", "./other", "--kms", f"local://{here}/other/kek").error


def test_init_as_json_with_the_kms_of_the_environment(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECUREDATA_KMS", f"local://{here}/env.kek")
    done = run("init", "./sealed", "--json", "--single-writer")
    assert done.code == 0
    assert done.json["kms"] == [f"local://{here}/env.kek"]
    assert done.json["key_files"] == [f"{here}/env.kek"]
    assert done.json["name"] == "sealed"
    assert done.json["pin"].startswith("sd1")


def test_an_old_head_is_refused_until_it_is_accepted(run: Run, root: Root, wavs: Path) -> None:
    writer_head = Path(root, "head").read_bytes()
    remove_paths(root, ["ann/utt0.wav"])
    Path(root, "head").write_bytes(writer_head)
    assert "generation 2" in run("encrypt", wavs, root, *PATTERN, "--replace").error
    assert run("encrypt", wavs, root, *PATTERN, "--replace", "--accept-generation", "7").code == 2
    assert run("encrypt", wavs, root, *PATTERN, "--replace", "--accept-generation", "2").code == 0
