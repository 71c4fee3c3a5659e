"""When `securedata encrypt` makes a corpus: not before there is something to seal, and never a second one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from securedata.corpus.config import config_path
from securedata.corpus.home import data_dir
from securedata.errors import StorageUnreachable
from securedata.ingest import pipeline
from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.sources.folders import record, touch
from tests.kit.sources.recordings import write_clips


def nothing_was_made(here: Path) -> bool:
    state = Path(os.environ["XDG_STATE_HOME"])
    return (
        not (here / "sealed").exists()
        and not config_path().exists()
        and not list(data_dir().rglob("*.kek"))
        and not [path for path in state.rglob("*") if path.is_file() and path.suffix != ".lock"]
    )


ROWS: dict[str, dict[str, object]] = {
    "a list where text belongs": {"text": ["a"], "speaker": "ann"},
    "no speaker": {"text": "a", "speaker": ""},
    "a segment that is not inside": {"offset": 99, "duration": 1, "speaker": "ann"},
    "an impossible value": {"duration": "long", "speaker": "ann"},
}


@pytest.mark.parametrize("case", ROWS)
@pytest.mark.parametrize("form", ["people", "--json", "-q"])
def test_a_manifest_in_which_every_recording_has_a_problem(run: Run, here: Path, case: str, form: str) -> None:
    record(here / "src" / "u.wav", 1)
    (here / "src" / "m.jsonl").write_text(json.dumps({"audio_filepath": "u.wav", **ROWS[case]}))
    more = () if form == "people" else (form,)
    done = run("encrypt", here / "src", "./sealed", "--manifest", "m.jsonl", *more)
    assert done.code == 1
    assert "nothing to take, so no corpus was made: 1 recording of" in done.error
    if form == "--json":
        assert (done.json["root"], done.json["added"], done.json["complete"]) == (None, 0, False)
        assert done.json["sources"]["not_taken"] == 1
        assert [one["path"] for one in done.json["problems"]] == ["u.wav"]
    else:
        assert "u.wav: line 1 of the manifest" in done.err
    assert nothing_was_made(here)


def test_recordings_of_which_none_can_be_decoded(run: Run, here: Path) -> None:
    touch(here / "src", "a.wav", "b/c.flac")
    (here / "src" / "a.wav").write_bytes(b"no audio")
    done = run("encrypt", here / "src", "./sealed", "--one-subject", "x", "--json")
    assert done.code == 1
    assert [one["path"] for one in done.json["problems"]] == ["a.wav", "b/c.flac"]
    assert nothing_was_made(here)
    record(here / "src" / "z.wav", 1)  # one behind those that are bad is enough
    done = run("encrypt", here / "src", "./sealed", "--one-subject", "x", "--json")
    assert (done.code, done.json["added"], len(done.json["problems"])) == (1, 1, 2)


@pytest.mark.parametrize("arguments", [(), ("--manifest", "none.csv"), ("--one-subject", "")])
def test_what_makes_no_sense_makes_nothing(run: Run, here: Path, arguments: tuple[str, ...]) -> None:
    record(here / "src" / "u.wav", 1)
    assert run("encrypt", here / "src", "./sealed", *arguments).code == 2
    assert nothing_was_made(here)


def test_nothing_to_take_for_a_corpus_that_is_there(run: Run, here: Path) -> None:
    assert run("encrypt", write_clips(here / "wavs"), "./sealed", *PATTERN).code == 0
    record(here / "src" / "u.wav", 1)
    (here / "src" / "m.jsonl").write_text('{"audio_filepath": "u.wav", "text": ["a"], "speaker": "ann"}')
    done = run("encrypt", here / "src", "sealed", "--manifest", "m.jsonl", "--json")
    assert (done.code, done.json["name"], done.json["sources"]["not_taken"]) == (1, "sealed", 1)
    assert "1 recording of" in done.error


def test_a_run_that_fails_leaves_an_empty_corpus_that_the_next_one_uses(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wavs = write_clips(here / "wavs")

    def fails(*_: object, **__: object) -> None:
        raise StorageUnreachable("the cable is out")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline._Ingest, "run", fails)
        done = run("encrypt", wavs, "./sealed", *PATTERN, "-q")
    assert done.code == 1
    key = data_dir() / "keys" / "sealed.kek"
    assert f"the new corpus 'sealed' at {here / 'sealed'} stays, with its key" in done.err
    before = key.read_bytes()
    assert "6 added" in run("encrypt", wavs, "./sealed", *PATTERN).out
    assert key.read_bytes() == before
    assert run("verify", "sealed").code == 0


def test_a_run_that_is_killed_leaves_a_corpus_that_the_next_one_uses(run: Run, here: Path) -> None:
    for number in range(60):
        record(here / "src" / f"ann/{number}.wav", 60)
    command = [sys.executable, "-m", "securedata", "encrypt", "./src", "./sealed", *PATTERN, "-q", "--threads", "1"]
    child = subprocess.Popen(command, cwd=here, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    while not (here / "sealed" / "head").exists() and child.poll() is None:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    done = run("encrypt", here / "src", "./sealed", *PATTERN, "--json")
    assert done.code == 0, done.err
    assert done.json["sources"]["files"] == 60
    assert run("verify", "sealed").code == 0


# --------------------------------------------------------------------------------------------------------------- names


def test_a_name_for_a_corpus_that_is_there_is_refused(run: Run, here: Path) -> None:
    wavs = write_clips(here / "wavs")
    assert run("encrypt", wavs, "./sealed", *PATTERN, "--name", "one").code == 0
    assert run("encrypt", wavs, "./sealed", *PATTERN, "--name", "one").code == 0, "its own name is no other"
    before = config_path().read_text()
    done = run("encrypt", wavs, "./sealed", *PATTERN, "--name", "two")
    assert done.code == 2
    assert "exists already and is known as 'one': leave out --name, which is for a new corpus" in done.err
    assert run("encrypt", wavs, "one", *PATTERN, "--name", "two").code == 2
    assert config_path().read_text() == before


def test_a_name_for_a_corpus_of_a_colleague_is_refused(run: Run, here: Path) -> None:
    wavs = write_clips(here / "wavs")
    assert run("encrypt", wavs, "./sealed", *PATTERN).code == 0
    pin = run("info", "sealed", "--json").json["pin"]
    kms = f"local://{data_dir() / 'keys' / 'sealed.kek'}"
    config_path().unlink()
    done = run("encrypt", wavs, "./sealed", *PATTERN, "--name", "mine", "--pin", pin, "--kms", kms)
    assert done.code == 2
    assert "has no name in the config" in done.err
    assert run("encrypt", wavs, "./sealed", *PATTERN, "--pin", pin, "--kms", kms).code == 0


@pytest.mark.parametrize("name", [None, "voices"])
def test_an_empty_url_becomes_a_corpus_as_a_folder_does(run: Run, here: Path, name: str | None) -> None:
    wavs, url = write_clips(here / "wavs"), f"memory://making-{os.urandom(4).hex()}/corpus"
    more = ("--name", name) if name else ()
    done = run("encrypt", wavs, url, *PATTERN, *more, "--single-writer")
    assert done.code == 0
    assert f"new corpus {name or 'corpus'!r} at {url}" in done.err
    assert "6 unchanged" in run("encrypt", wavs, name or "corpus", *PATTERN, "--single-writer").out
    assert run("verify", name or "corpus").code == 0
    config_path().unlink()
    stranger = run("encrypt", wavs, url, *PATTERN, "--single-writer")
    assert stranger.code == 1
    assert "pin" in stranger.error, "no second corpus, and no first without its pin"
