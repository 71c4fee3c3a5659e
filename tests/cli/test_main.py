"""The command as people and scripts meet it: help, exit codes, and what goes where."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from securedata.cli.common import duration, size
from securedata.corpus.config import config_path
from securedata.corpus.opening import open_corpus
from securedata.corpus.state.seen import recall, remember
from securedata.errors import NoSuchPath, SecuredataError
from securedata.printable import printable
from tests.kit.cli.commandline import PATTERN, Run
from tests.kit.cli.process import output_of
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.docs.clidocs import BLOCK, PAGE, commands, examples, help_text, with_help
from tests.kit.sources.recordings import clip

# --------------------------------------------------------------------------------------------------- help and the docs


def test_the_docs_hold_the_help_of_every_command() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_help(page), "run: python -m tests.kit.docs.clidocs"
    assert sorted(found["command"] for found in BLOCK.finditer(page)) == sorted(commands())


@pytest.mark.parametrize("command", [name for name in commands() if name])
def test_help_teaches_by_an_example_that_parses(command: str) -> None:
    assert "\nexample" in help_text(command)
    assert any(name == command and arguments[0] == command for name, arguments in examples())


@pytest.mark.parametrize(("name", "arguments"), list(examples()))
def test_an_example_parses(name: str, arguments: list[str]) -> None:
    assert commands()[""].parse_args(arguments).command == arguments[0]


@pytest.mark.parametrize("command", commands())
def test_help_is_asked_for_in_two_ways(command: str, run: Run) -> None:
    one, other = run("help", *command.split()), run(*command.split(), "--help")
    assert (one.code, one.out, one.err) == (other.code, other.out, other.err)
    assert one.code == 0
    assert one.out.startswith(f"usage: securedata {command}".strip())


def test_help_for_what_is_no_command(run: Run) -> None:
    done = run("help", "decrypt")
    assert done.code == 2
    assert "invalid choice: 'decrypt'" in done.err
    assert run("help", "help").out == run("--help").out


@pytest.mark.parametrize("command", commands())
def test_no_line_of_a_help_text_passes_80_columns(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert [line for line in commands()[command].format_help().splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("command", commands())
def test_paragraphs_of_a_help_text_fit_the_terminal(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    about = (
        commands()[command].format_help().partition("\n\n")[2].partition("\npositional")[0].partition("\noptions")[0]
    )
    assert len(about.splitlines()) > 0
    assert max(map(len, about.splitlines())) <= 78


def test_help_and_start_load_nothing_that_takes_time(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom securedata.cli.main import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print(*sorted(set(sys.modules) & {'pyarrow', 'numpy', 'torch', 'tqdm', 'soundfile', 'cryptography'}))"
    )
    for arguments in (["--help"], ["encrypt", "--help"], ["--version"], ["ls"]):
        assert output_of([sys.executable, "-c", program, *arguments], tmp_path).splitlines()[-1] == ""


def test_ls_loads_no_torch(root: Root, tmp_path: Path) -> None:
    program = "import sys\nfrom securedata.cli.main import main\nmain(sys.argv[1:])\nprint('torch' in sys.modules)"
    assert output_of([sys.executable, "-c", program, "ls", root], tmp_path).endswith("False\n")


def test_the_module_is_the_command(tmp_path: Path) -> None:
    assert output_of([sys.executable, "-m", "securedata", "--version"], tmp_path).startswith("securedata 0.")


# -------------------------------------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["ls"],
        ["ls", "x", "y", "z"],
        ["encrypt", "x"],
        ["ls", "--recur", "x"],
        ["verify", "x", "--threads", "0"],
        ["verify", "x", "--threads", "-1"],
        ["encrypt", "x", "y", "--columns", "speaker"],
        ["encrypt", "x", "y", "--layout", "other"],
        ["verify", "x", "--accept-generation", "new"],
    ],
    ids=" ".join,
)
def test_usage_is_exit_2(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("usage: securedata")


@pytest.mark.parametrize(
    "arguments",
    [
        ["wrap", "add", "x", "hcvault://me:ZECR3T@h/transit/keys/k", "hcvault://me:ZECR3T@h/transit/keys/l"],
        ["ls", "x", "y", "https://h/p?token=ZECR3T"],
        ["verify", "x", "--threads", "https://me:ZECR3T@h"],
        ["https://me:ZECR3T@h/p"],
        ["encrypt", "x", "y", "--columns", "https://me:ZECR3T@h/x?y"],
        ["info", "securedata://me:ZECR3T@h/p"],
        ["ls", "securedata://voice?token=ZECR3T"],
    ],
    ids=" ".join,
)
def test_no_error_of_usage_repeats_a_password(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.code in (1, 2)
    assert "..." in done.err
    assert "ZECR3T" not in done.out + done.err


def test_a_name_that_is_no_text_is_one_line(run: Run, root: Root) -> None:
    done = run("ls", root, "a\udcffb")
    assert done.code == 1
    assert "no such path" in done.error
    with open_corpus(root) as corpus, pytest.raises(NoSuchPath):
        corpus.find("a\udcffb")


def test_a_folder_is_not_a_recording(root: Root) -> None:
    with open_corpus(root) as corpus:
        for folder in ("ann", "ann/"):
            with pytest.raises(NoSuchPath, match="a folder of the corpus, not a recording"):
                corpus.find(folder)
        with pytest.raises(NoSuchPath, match="the corpus has no such path"):
            corpus.find("an")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('root = "https://me:ZECR3T@h/p"', "[corpora.v]: https://...: the URL of a corpus must not hold"),
        ('root = "/data/v"\npin = "sd1"', "[corpora.v]: 'sd1' is not a pin"),
        ("root = " + "[" * 100_000, "nested too deeply"),
    ],
)
def test_an_entry_that_cannot_be_right_is_named_with_its_file(run: Run, own_home: Path, entry: str, said: str) -> None:
    config = own_home / ".config" / "securedata" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(f"[corpora.v]\n{entry}\n")
    done = run("ls", "v")
    assert done.code == 1
    assert str(config) in done.error
    assert said in done.error
    assert "ZECR3T" not in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls", "{}"],
        ["info", "{}"],
        ["info", "{}", "--config"],
        ["info", "{}", "--object", "0" * 32],
        ["cat", "{}", "x"],
        ["verify", "{}"],
        ["export", "{}", "{}-out", "--allow-plaintext-export"],
    ],
    ids=" ".join,
)
def test_no_corpus_there_is_one_line_and_exit_1(
    run: Run, tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    done = run(*(one.format(tmp_path / "nowhere") for one in arguments))
    sys.stdout.close()
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "there is no corpus at" in done.error
    assert not (tmp_path / "nowhere-out").exists()


def test_a_name_that_the_config_does_not_hold(run: Run, here: Path, wavs: Path) -> None:
    for arguments in (["ls", "voice-x"], ["ls", "securedata://voice-x"], ["encrypt", wavs, "voice-x", *PATTERN]):
        done = run(*arguments)
        assert done.code == 1
        assert "no corpus named 'voice-x'" in done.error
    assert "for a folder here, write ./voice-x;" in done.error
    assert done.error.endswith("first run 'securedata init ROOT --name voice-x'")
    assert list(here.iterdir()) == []


def test_an_interrupt_is_130_and_says_that_it_can_be_run_again(
    run: Run, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("securedata.corpus.check.verify.verify", interrupted)
    done = run("verify", root)
    assert (done.code, done.out) == (130, "")
    assert "run the command again" in done.err
    assert done.err.count("\n") == 1


def test_a_failure_of_the_system_is_one_line(run: Run, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere")

    monkeypatch.setattr("securedata.corpus.opening.open_corpus", full)
    done = run("ls", root)
    assert done.code == 1
    assert done.error == "securedata: error: No space left on device: /somewhere"


def test_an_error_of_several_lines_is_one_line(run: Run, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise SecuredataError("first\nsecond", path="ann\n\x1b[2J")

    monkeypatch.setattr("securedata.corpus.opening.open_corpus", failing)
    assert run("ls", root).err == "securedata: error: first second [ann\\u000a\\u001b[2J]\n"


def test_a_reader_that_went_away_is_no_error(run: Run, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "stdout", os.fdopen(writing, "w"))
    done = run("ls", root, "-R")
    sys.stdout.close()
    assert done.code == 0
    assert done.err == ""


def test_a_missing_pin_is_a_remark_for_readers_and_an_error_for_writers(run: Run, root: Root, wavs: Path) -> None:
    config_path().unlink()
    done = run("ls", root, "--kms", root.kms)
    assert done.code == 0
    assert (
        done.err
        == f"securedata: warning: {root} was opened without a pin; if it is the corpus you mean, pin it: {root.pin}\n"
    )
    done = run("encrypt", wavs, root, *PATTERN, "--kms", root.kms)
    assert done.code == 1
    assert "--pin" in done.error
    assert run("encrypt", wavs, root, *PATTERN, "--kms", root.kms, "--pin", root.pin, "--replace").code == 0
    assert run("ls", root, "--kms", root.kms, "--pin", root.pin).err == ""


def test_kms_and_pin_from_the_environment(run: Run, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    config_path().unlink()
    assert run("verify", root, "--prune").code == 1
    monkeypatch.setenv("SECUREDATA_KMS", root.kms)
    monkeypatch.setenv("SECUREDATA_PIN", root.pin)
    assert run("verify", root, "--prune").code == 0


def test_names_of_any_alphabet_on_a_terminal_of_another(tmp_path: Path) -> None:
    root = make_corpus(tmp_path, [clip("Zoë/1.wav", speaker="Zoë")])
    done = subprocess.run(
        [sys.executable, "-m", "securedata", "ls", root, "-R"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert b"Zo\\xeb/1.wav" in done.stdout


# ----------------------------------------------------------------------------------------------------------- on the way


def read_terminal(fd: int) -> str:
    try:
        return os.read(fd, 100_000).decode()
    except OSError:  # nobody writes there any more
        return ""


def test_progress_is_for_terminals_only(here: Path, wavs: Path) -> None:
    command = [sys.executable, "-m", "securedata", "encrypt", str(wavs), "./sealed", *PATTERN]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)
        shown = "".join(iter(lambda: read_terminal(ours), ""))
        out = process.communicate(timeout=60)[0].decode()
    finally:
        os.close(ours)
    assert process.returncode == 0
    assert "sealing" in shown
    assert "6/6 files" in shown
    assert "sealing" not in out
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_long_manifest_of_one_speaker_stays_in_order(run: Run, here: Path, tmp_path: Path) -> None:
    """Numbers for people: thousands, units, and rates that are no division by zero."""
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(3):
        soundfile.write(folder / f"{n}.wav", np.zeros(8), 8000, subtype="PCM_16")
    assert run("encrypt", folder, "./sealed", "--one-subject", "me").code == 0
    assert run("ls", "sealed").out.splitlines()[0].split() == ["60", "0.00", "s", "me", "0.wav"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.00 s"), (59.994, "59.99 s"), (60, "1:00"), (3599.4, "59:59"), (3600, "1:00:00"), (360_000, "100:00:00")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (5e15, "5000000.0 GB")]
)
def test_sizes(count: float, shown: str) -> None:
    assert size(count) == shown


def test_ordinary_text_stays_as_it_is() -> None:
    assert printable("ann ä 安 'x' (1).wav") == "ann ä 安 'x' (1).wav"


def test_a_seen_file_of_generation_0_hides_nothing(root: Root) -> None:
    """It marks an init that has begun; the corpus counts from 1."""
    from securedata.corpus.writer import Writer

    writer = Writer(root.reference)
    remember(replace(writer.head, generation=0), reset=True)
    seen = recall(writer.corpus_id)
    assert seen is not None
    assert seen.generation == 0
    assert Writer(root.reference).head.generation == writer.head.generation
