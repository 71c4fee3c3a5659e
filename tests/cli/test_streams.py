"""The command with unusual standard streams, home and terminal: the work is done, and the exit code is right."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from securedata.corpus.opening import open_corpus
from tests.conftest import FULL
from tests.kit.cli.commandline import PATTERN
from tests.kit.corpora.recorded import Root, make_corpus
from tests.kit.sources.recordings import clip, write_clips

PROGRAM = f"{sys.executable} -m securedata"
ALL_CLOSED = "<&- >&- 2>&-"


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell in which $SD is the command."""
    return subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env={**os.environ, "SD": PROGRAM, **environment},
        capture_output=True,
        timeout=100,
        check=False,
    )


# ---------------------------------------------------------------------------------------------------- closed streams


@pytest.mark.parametrize("closed", [ALL_CLOSED, "2>&-", ">&-", "<&-"] if FULL else [ALL_CLOSED])
def test_encrypt_and_export_with_closed_streams(tmp_path: Path, closed: str) -> None:
    wavs = write_clips(tmp_path / "wavs")
    pattern = " ".join([PATTERN[0], f"'{PATTERN[1]}'"])
    assert shell(f"$SD encrypt wavs ./sealed --name v {pattern} {closed}", tmp_path).returncode == 0
    with open_corpus("v") as corpus:
        assert len(corpus) == 6
    assert shell(f"$SD export v out --allow-plaintext-export {closed}", tmp_path).returncode == 0
    assert (tmp_path / "out/manifest.jsonl").read_text().count("\n") == 6
    for path in wavs.rglob("*.*"):
        assert (tmp_path / "out" / path.relative_to(wavs)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("ls voice-a", 0),
        ("verify voice-a", 0),
        ("cat voice-a ann/utt0.wav", 0),
        ("init ./new --name new", 0),
        ("--help", 0),
        ("ls nobody", 1),
        ("ls", 2),
        ("export voice-a out", 1),
    ]
    + (
        [
            ("ls voice-a -R --json", 0),
            ("info voice-a", 0),
            ("verify voice-a --prune", 0),
            ("--version", 0),
            ("cat voice-a no/such.wav", 1),
            ("cat voice-a", 2),
        ]
        if FULL
        else []
    ),
)
def test_every_command_has_its_code_without_streams(root: Root, tmp_path: Path, command: str, code: int) -> None:
    assert shell(f"$SD {command} {ALL_CLOSED}", tmp_path).returncode == code
    if FULL and not command.startswith("init"):  # which has done its work now
        assert shell(f"$SD {command} >/dev/null 2>/dev/full", tmp_path).returncode == code


def test_verify_says_its_findings_by_its_code_alone(root: Root, tmp_path: Path) -> None:
    next(path for path in Path(root, "objects").rglob("*") if path.is_file()).write_bytes(b"nothing")
    for streams in (ALL_CLOSED, "| (exit 0)", *(["2>/dev/full", ">&-", "2>&-", ">/dev/full"] if FULL else [])):
        line = f"(set -o pipefail; $SD verify voice-a {streams})"
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env={**os.environ, "SD": PROGRAM}, check=False)
        assert done.returncode == 1, streams


def test_what_is_said_without_standard_error_is_not_in_the_answer(root: Root, tmp_path: Path) -> None:
    done = shell("$SD ls voice-a nobody 2>&-", tmp_path)
    assert (done.returncode, done.stdout) == (1, b"")
    done = shell("$SD ls voice-a --json 2>&-", tmp_path)
    assert len(json.loads(done.stdout)) == 2


def test_no_file_of_ours_becomes_a_standard_stream(tmp_path: Path) -> None:
    # what is printed later would be written into it
    program = (
        "import os, sys\n"
        "from securedata.cli.streams import standard_streams\n"
        "with standard_streams():\n"
        f"    fd = os.open({str(tmp_path / 'data')!r}, os.O_WRONLY | os.O_CREAT)\n"
        "    print('to nobody'); print('to nobody', file=sys.stderr)\n"
        "    sys.stdout.flush()\n"
        "    assert sys.stdin is None or sys.stdin.read() == ''\n"
        "    sys.exit(fd if [os.readlink(f'/proc/self/fd/{n}') for n in range(3)] == ['/dev/null'] * 3 else 1)\n"
    )
    (tmp_path / "program.py").write_text(program)
    done = shell(f"{sys.executable} program.py {ALL_CLOSED}", tmp_path)
    assert done.returncode > 2
    assert (tmp_path / "data").read_bytes() == b""


# ----------------------------------------------------------------------------------------- full, or without a reader


@pytest.mark.parametrize(
    "command",
    ["ls voice-a", "--help", *(["info voice-a --json", "verify voice-a", "cat voice-a x.wav"] if FULL else [])],
)
def test_a_full_disk_under_standard_output_is_one_clear_line(tmp_path: Path, command: str) -> None:
    make_corpus(tmp_path, [clip("x.wav", 1.0)])
    done = shell(f"$SD {command} >/dev/full", tmp_path)
    assert done.returncode == 1
    [line] = done.stderr.decode().splitlines()
    assert line.startswith("securedata: error: ")
    assert "No space left on device" in line


def test_the_work_is_done_before_a_full_disk_is_an_error(root: Root, tmp_path: Path) -> None:
    done = shell("$SD export voice-a out --allow-plaintext-export >/dev/full", tmp_path)
    assert done.returncode == 1
    assert b"standard output cannot be written: No space left on device" in done.stderr
    assert (tmp_path / "out/manifest.jsonl").read_text().count("\n") == 6


def test_a_reader_that_leaves_stops_nothing(tmp_path: Path) -> None:
    root = make_corpus(tmp_path, [clip("a.wav", 0.01)])
    line = "$SD {} | head -c 1; exit ${{PIPESTATUS[0]}}"
    for command in ("ls voice-a", "export voice-a out --allow-plaintext-export -q", "--help"):
        done = subprocess.run(
            ["bash", "-c", line.format(command)],
            cwd=tmp_path,
            env={**os.environ, "SD": PROGRAM},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b""), command
    assert (tmp_path / "out/a.wav").read_bytes() == root.clips[0].data


def test_a_pipe_that_does_not_wait_gets_everything(tmp_path: Path) -> None:
    make_corpus(tmp_path, [clip(f"speaker/{n:05}.wav", 0.001) for n in range(400)])
    program = (
        "import os, subprocess, sys, time\n"
        "reading, writing = os.pipe()\n"
        "os.set_blocking(writing, False)\n"
        "command = [sys.executable, '-m', 'securedata', 'ls', 'voice-a', '-R', '--json']\n"
        "child = subprocess.Popen(command, stdout=writing)\n"
        "os.close(writing); time.sleep(2)\n"
        "sys.stdout.buffer.write(open(reading, 'rb').read()); sys.exit(child.wait())\n"
    )
    (tmp_path / "program.py").write_text(program)
    done = shell(f"{sys.executable} program.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 400


def test_a_recording_reaches_a_pipe_that_does_not_wait(tmp_path: Path) -> None:
    """As of a player, or of an event loop: more than the pipe holds comes when there is room."""
    root = make_corpus(tmp_path, [clip("long.wav", 5.0)])
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    command = [sys.executable, "-m", "securedata", "cat", "voice-a", "long.wav"]
    child = subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    with open(reading, "rb") as pipe:
        got = pipe.read(1)
        time.sleep(0.3)  # the pipe is full by now
        got += pipe.read()
    said = child.communicate()[1]
    assert (child.returncode, said) == (0, b"")
    assert got == root.clips[0].data
    assert len(got) > 100_000


# ---------------------------------------------------------------------------------------------------------- encodings


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii:strict"},
        *([{"LC_ALL": "C"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "1"}] if FULL else []),
    ],
)
def test_names_of_any_alphabet_in_any_encoding(tmp_path: Path, environment: dict[str, str]) -> None:
    names = {"Zoë/1.wav", "李/2.wav", "x/\U0001f600.wav"}
    make_corpus(tmp_path, [clip(name, 0.01, speaker=name.partition("/")[0]) for name in names])
    done = shell("$SD ls voice-a -R --json", tmp_path, **environment)
    assert {one["path"] for one in json.loads(done.stdout)} == names
    assert done.returncode == 0
    done = shell("$SD ls voice-a -R", tmp_path, **environment)
    assert (done.returncode, done.stderr, done.stdout.count(b"\n")) == (0, b"", 3)
    done = shell("$SD export voice-a out --allow-plaintext-export", tmp_path, **environment)
    assert done.returncode == 0
    assert {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.wav")} == names


def test_names_that_the_locale_has_no_letters_for_are_one_clear_line(tmp_path: Path) -> None:
    make_corpus(tmp_path, [clip("Zoë/1.wav", 0.01)])
    narrow = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = shell("$SD ls voice-a -R --json", tmp_path, **narrow)
    assert json.loads(done.stdout)[0]["path"] == "Zoë/1.wav"
    done = shell("$SD export voice-a out --allow-plaintext-export", tmp_path, **narrow)
    assert done.returncode == 1
    [line] = done.stderr.decode().splitlines()
    assert "set PYTHONUTF8=1, or LC_ALL to a UTF-8 locale" in line
    write_clips(tmp_path / "wavs")
    (tmp_path / "wavs/ann").rename(tmp_path / "wavs/Zoë")
    for source, extra in (("wavs", ""), ("wavs/Zoë", "--one-subject Z")):
        done = shell(
            f"$SD encrypt {source} ./new {extra or '--speaker-pattern {speaker}/{utterance}'}", tmp_path, **narrow
        )
        assert done.returncode in (1, 2)
        assert b"set PYTHONUTF8=1, or LC_ALL to a UTF-8 locale" in done.stderr
        assert b"rename it" not in done.stderr


# ---------------------------------------------------------------------------------------------------------- terminals


@pytest.mark.parametrize(
    ("columns", "width", "extra"),
    [("1", 1, {"NO_COLOR": "1", "TERM": "dumb"})]
    + (
        [("", 0, {}), ("0", 0, {}), ("0", 1, {"TERM": "dumb"}), ("10", 5, {}), ("-3", 3, {}), ("many", 80, {})]
        if FULL
        else []
    ),
)
def test_terminals_of_any_width(tmp_path: Path, columns: str, width: int, extra: dict[str, str]) -> None:
    write_clips(tmp_path / "wavs")
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "TERM")}
    environment |= {"SD": PROGRAM, **extra, **({"COLUMNS": columns} if columns else {})}
    line = "$SD encrypt wavs ./sealed --speaker-pattern '{speaker}/{utterance}' && $SD ls ./sealed && $SD --help"
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", width and 24, width, 0, 0))
    try:
        process = subprocess.Popen(
            ["sh", "-c", line], cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        shown = b""
        while piece := _read(ours):
            shown += piece
        assert process.wait(60) == 0, shown
    finally:
        os.close(ours)
    assert b"Traceback" not in shown
    with open_corpus(tmp_path / "sealed") as corpus:
        assert len(corpus) == 6


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 100_000)
    except OSError:  # nobody writes there any more
        return b""


# --------------------------------------------------------------------------------------------------------------- home


NOBODY = """import pwd, sys
def missing(_): raise KeyError("uid not found")
pwd.getpwuid = missing
from securedata.cli.main import main
sys.exit(main())"""


def _homeless(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a user id without a passwd entry, and without HOME; such an id is for root alone to take."""
    command = [sys.executable, "-m", "securedata"]
    if os.geteuid() == 0:
        command = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", *command]
    else:
        command[1:] = ["-c", NOBODY]
    clean = ["env", "-i", f"PATH={os.environ['PATH']}", *(f"{key}={value}" for key, value in environment.items())]
    return subprocess.run([*clean, *command, *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder in which the other user may write; not pytest's own, which every session closes to others."""
    with tempfile.TemporaryDirectory(prefix="securedata-") as name:
        os.chmod(name, 0o755)
        folder = Path(name, "shared")
        folder.mkdir()
        folder.chmod(0o777 if os.geteuid() == 0 else 0o700)
        yield folder


def test_no_home_and_no_passwd_entry(shared: Path) -> None:
    done = _homeless(shared, "ls", str(shared / "nowhere"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "there is no corpus at" in done.stderr
    done = _homeless(shared, "ls", "nobody")
    assert done.returncode == 1
    assert "no corpus named 'nobody'" in done.stderr
    assert "set XDG_CONFIG_HOME (or HOME)" in done.stderr
    write_clips(shared / "wavs")
    done = _homeless(shared, "encrypt", "wavs", "./sealed", *PATTERN)
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if "error" in line]
    assert "there is no home folder: set XDG_" in line
    homes = {f"XDG_{name}_HOME": str(shared / name) for name in ("CONFIG", "DATA", "STATE")}
    assert _homeless(shared, "encrypt", "wavs", "./sealed", *PATTERN, **homes).returncode == 0
    for command in ("ls", "verify", "info")[:: 1 if FULL else 3]:
        done = _homeless(shared, command, "./sealed", **homes)
        assert done.returncode == 0, done.stderr
    without_state = {key: value for key, value in homes.items() if "STATE" not in key}
    assert _homeless(shared, "ls", "sealed", **without_state).returncode == 0


def test_a_home_that_cannot_be_entered(shared: Path) -> None:
    """As HOME is of sudo and of many containers: what it holds is not this user's, and is said to count as none."""
    closed = shared / "closed"
    closed.mkdir()
    write_clips(shared / "wavs")
    homes = {f"XDG_{name}_HOME": str(shared / name) for name in ("CONFIG", "DATA", "STATE")}
    assert _homeless(shared, "encrypt", "wavs", "./sealed", *PATTERN, **homes).returncode == 0
    [key] = (shared / "DATA/securedata/keys").iterdir()
    closed.chmod(0)
    done = _homeless(shared, "ls", "./sealed", "--kms", f"local://{key}", HOME=str(closed))
    closed.chmod(0o700)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is ignored, since this user may not enter its folder") == 1


def test_a_home_that_cannot_be_written(shared: Path) -> None:
    write_clips(shared / "wavs")
    done = _homeless(shared, "encrypt", "wavs", "./sealed", *PATTERN, HOME="/proc")
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if "error" in line]
    assert "/proc/" in line
    assert "Traceback" not in done.stderr
