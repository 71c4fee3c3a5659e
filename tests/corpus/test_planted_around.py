"""What lies beside a corpus steers nothing either: settings, states, sandboxes, the spelling of a root."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import securedata
from securedata.corpus import config, home
from securedata.corpus.create import create_corpus
from securedata.corpus.state.seen import recall
from securedata.errors import ConfigError, InvalidArgument, InvalidKMSURI, KMSDenied, NotAFile, NotFound
from securedata.ingest.sources import manifest_reader
from securedata.ingest.sources.manifest_reader import read_rows
from securedata.ingest.sources.origin import LocalOrigin, SourceProblem, Stamp
from securedata.keys import hcvault
from securedata.keys.local import LocalKMS
from securedata.storage.file_lock import LOCK
from securedata.storage.local import LocalStorage
from securedata.storage.registry import open_storage


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10**12)


PLANTED: dict[str, Callable[[Path], None]] = {
    "fifo": os.mkfifo,
    "terabyte": sparse,
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.fixture(params=list(PLANTED))
def plant(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    """Lay something that no reader may wait for or take whole, under a name."""

    def lay(path: Path) -> None:
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        PLANTED[request.param](path)

    return lay


@pytest.mark.timeout(20)
def test_settings_and_states_are_read_in_bounds(
    plant: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    plant(config.config_path())
    with pytest.raises(ConfigError, match=r"config\.toml cannot be read"):
        config.load()
    with pytest.raises(ConfigError, match=r"config\.toml cannot be written"):
        config.drop_entry("voice")
    plant(tmp_path / "s" / "securedata" / "seen" / f"{bytes(16).hex()}.json")
    with pytest.raises(ConfigError, match=r"\.json cannot be read"):
        recall(bytes(16))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("VAULT_TOKEN", "BAO_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    plant(tmp_path / "home" / ".vault-token")
    with pytest.raises(KMSDenied, match="no token"):
        hcvault._token("hcvault://vault.example/transit/voice")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["fifo", "folder", "link"])
def test_a_lock_of_the_state_folder_is_a_file_of_ours(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    lock = tmp_path / "s" / "securedata" / "some.lock"
    lock.parent.mkdir(parents=True)
    if kind == "link":
        lock.symlink_to(tmp_path / "elsewhere")
    else:
        PLANTED[kind](lock)
    with pytest.raises(ConfigError, match=r"some\.lock cannot be written"), home.file_lock("some.lock"):
        raise AssertionError("nobody is alone behind that")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.timeout(20)
def test_lists_beside_recordings_are_read_in_bounds(plant: Callable[[Path], None], tmp_path: Path) -> None:
    plant(tmp_path / "84" / "84-121550.trans.txt")
    with pytest.raises(SourceProblem):
        LocalOrigin(str(tmp_path)).content("84/84-121550.trans.txt")


@pytest.mark.timeout(20)
def test_a_manifest_may_be_a_pipe_and_is_read_in_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, huge = tmp_path / "pipe.jsonl", tmp_path / "huge.jsonl"
    os.mkfifo(pipe)
    row = b'{"audio_filepath": "a.wav", "speaker": "84"}\n'
    writer = threading.Thread(target=lambda: pipe.write_bytes(row * 10))
    writer.start()
    assert len(read_rows(pipe)) == 10
    writer.join()
    sparse(huge)
    with pytest.raises(InvalidArgument, match=r"huge\.jsonl: the manifest cannot be read"):
        read_rows(huge)
    monkeypatch.setattr(manifest_reader, "MAX_CONTENT", len(row))
    writer = threading.Thread(target=lambda: pipe.write_bytes(row * 2))
    writer.start()
    with pytest.raises(InvalidArgument, match="it has more than"):
        read_rows(pipe)
    writer.join()


def test_no_config_is_a_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECUREDATA_CONFIG", os.devnull)
    assert config.load() == {}


def test_no_config_stays_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For root, a config in the place of /dev/null was the end of /dev/null."""
    nothing = tmp_path / "null"
    nothing.write_text("")
    before = nothing.stat()
    monkeypatch.setattr(os, "devnull", str(nothing))
    monkeypatch.setenv("SECUREDATA_CONFIG", str(nothing))
    made = create_corpus(str(tmp_path / "voice"), "voice")
    assert made.reference.pins
    assert config.drop_entry("voice") == nothing
    assert os.path.samestat(nothing.stat(), before)
    assert nothing.read_text() == ""


@pytest.mark.timeout(20)
def test_a_recording_that_grows_while_it_is_read_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "grows.wav"
    path.write_bytes(b"x" * 1000)
    status = path.stat()
    pieces = LocalOrigin(str(tmp_path)).pieces(str(path), Stamp(status.st_size, status.st_mtime_ns))
    read = len(next(pieces))
    os.truncate(path, 1 << 40)
    with pytest.raises(SourceProblem, match="changed during"):  # noqa: PT012 - it raises after what it gave
        for piece in pieces:
            read += len(piece)
            assert read < 2000
    assert read == 1001


def test_no_spelling_of_a_local_root_comes_to_it_by_a_way_that_follows_links(tmp_path: Path) -> None:
    create_corpus(f"local://{tmp_path}/voice", "voice")
    (tmp_path / "elsewhere").write_bytes(b"of others")
    (tmp_path / "voice" / "planted").symlink_to(tmp_path / "elsewhere")
    for root in (f"local://{tmp_path}/voice", f"file://{tmp_path}/voice", f"{tmp_path}/voice/"):
        assert securedata.open_corpus(root).root == str(tmp_path / "voice")
        storage = open_storage(root)
        assert isinstance(storage, LocalStorage)
        with pytest.raises(NotAFile):
            storage.get("planted")


def test_a_nul_character_is_an_error_of_ours(tmp_path: Path) -> None:
    """One entry like this in the config ended every command in a traceback."""
    with pytest.raises(InvalidKMSURI, match="an absolute path"):
        LocalKMS("local:///a%00b")
    for root in ("/a\0b", "file:///a\0b"):
        for use in (securedata.open_corpus, open_storage, create_corpus):
            with pytest.raises(InvalidArgument, match="NUL character"):
                use(root)
    config.config_path().parent.mkdir(parents=True)
    config.config_path().write_text('[corpora.odd]\nroot = "/a\\u0000b"\n')
    with pytest.raises(ConfigError, match=r"corpora\.odd\]: a root cannot contain a NUL character"):
        config.load()


@pytest.mark.parametrize("below", [False, True])
def test_a_root_that_is_no_folder_is_said_before_anything_is_made(below: bool, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(NotFound, match="is not a folder"):
        create_corpus(str(tmp_path / "file" / "root" if below else tmp_path / "file"), "voice")
    assert "voice" not in config.load()
    assert not (home.data_dir() / "keys" / "voice.kek").exists()


def test_a_root_that_the_config_cannot_hold_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="not UTF-8"):
        create_corpus(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"), "voice")
    assert not (home.data_dir() / "keys" / "voice.kek").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith("\udcff")] == []


@pytest.mark.parametrize("content", [b"", b"mine"])
def test_the_clock_touches_no_file_that_was_given_the_lock_s_name(content: bytes, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    mine = tmp_path / "mine"
    mine.write_bytes(content)
    os.utime(mine, (1, 1))
    os.link(mine, root / LOCK)
    storage = LocalStorage(str(root))
    assert storage.now() > 1
    assert mine.stat().st_mtime == 1
    assert [path.name for path in root.iterdir()] == [LOCK], "no temporary stays"


_FILTERED = """
import ctypes, errno, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = int(sys.argv[1])
def op(code, jt, jf, k):
    return struct.pack("HBBI", code, jt, jf, k)
# load the number of the call; of openat2 answer with the error, allow all others
rules = op(0x20, 0, 0, 0) + op(0x15, 0, 1, 437) + op(0x06, 0, 0, 0x00050000 | code) + op(0x06, 0, 0, 0x7FFF0000)
held = ctypes.create_string_buffer(rules)
class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))
program = Program(4, ctypes.addressof(held))
from securedata.storage.local import LocalStorage
early = LocalStorage(sys.argv[2])
assert early.get("head") == b"one"
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
assert libc.syscall(437, -100, b".", None, 0) == -1 and ctypes.get_errno() == code
late = LocalStorage(sys.argv[2])
for storage in (late, early):
    assert storage.get("head") == b"one", storage
    assert storage.get_ranges("head", [(1, 1)]) == [b"n"]
    storage.put_new(f"objects/aa/{id(storage)}", [b"x"])
    assert [entry.key for entry in storage.list("objects/")]
"""


@pytest.mark.parametrize("code", [1, 38], ids=["EPERM", "ENOSYS"])
def test_a_sandbox_that_refuses_openat2_costs_speed_and_nothing_else(code: int, tmp_path: Path) -> None:
    """Old Docker answers EPERM to calls that its profile does not know; one may be entered at any time."""
    storage = LocalStorage(str(tmp_path / "root"))
    storage.replace("head", b"one", None)
    command = [sys.executable, "-c", _FILTERED, str(code), storage.path]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
