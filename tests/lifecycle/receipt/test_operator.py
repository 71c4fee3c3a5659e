"""The operator's key: made once, never replaced, and tried before anything relies on it."""

from __future__ import annotations

import os
import signal
import stat
import sys
import tomllib
from pathlib import Path

import pytest

from securedata.corpus.config import Reference, config_path, load, write_entry
from securedata.corpus.home import data_dir
from securedata.errors import ConfigError, InvalidArgument, NoOperatorKey, OperatorKeyRefused
from securedata.keys import local
from securedata.lifecycle.receipt import operator as module
from securedata.lifecycle.receipt.note import SignerKey, parse_verifier, verify
from securedata.lifecycle.receipt.operator import key_path, load_operator, make_operator, public_key
from tests.kit.cli.commandline import Run

NAME = "example.com/erasure"


def test_it_is_made_and_loaded_and_signs() -> None:
    made, new = make_operator(NAME)
    assert new
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert made.path == data_dir() / "operator.key" == key_path()
    loaded = load_operator()
    assert loaded == made
    assert loaded.name == NAME
    assert verify(loaded.sign("text\n"), [public_key() or pytest.fail("no public half")]).signers == (made.public,)
    secret = made.path.read_text().split("+", 4)[4].strip()  # base64 can have a plus, too
    assert secret not in repr(made)
    assert secret not in config_path().read_text()
    assert tomllib.loads(config_path().read_text())["operator"] == {
        "name": NAME,
        "key": str(made.path),
        "public": str(made.public),
    }


def test_it_is_never_replaced_and_the_config_keeps_what_others_wrote() -> None:
    write_entry("v", Reference("/data/v", "v"))
    config_path().write_text("# by hand\n" + config_path().read_text() + "\n[other]\nx = 1  # stays\n")
    before = config_path().read_text()
    made = make_operator(NAME).operator
    key = made.path.read_bytes()
    assert config_path().read_text().startswith(before)
    assert make_operator() == make_operator(NAME) == (made, False)
    with pytest.raises(InvalidArgument, match="never replaced"):
        make_operator("another.example")
    assert made.path.read_bytes() == key
    assert set(load()) == {"v"}
    write_entry("w", Reference("/data/w", "w"))
    assert load_operator() == made


@pytest.mark.parametrize("name", [None, "", "a b", "a+b"])
def test_without_a_name_that_a_key_can_have_none_is_made(name: str | None) -> None:
    with pytest.raises(InvalidArgument):
        make_operator(name)
    assert not data_dir().exists() or not list(data_dir().iterdir())
    assert not config_path().exists()


def test_no_key() -> None:
    with pytest.raises(NoOperatorKey, match="securedata operator init"):
        load_operator()


def test_a_key_without_an_entry_is_kept_and_entered() -> None:
    made = make_operator(NAME).operator
    config_path().unlink()
    with pytest.raises(NoOperatorKey, match="operator init"):
        load_operator()
    assert make_operator() == (made, False)
    assert load_operator() == made


def test_a_key_that_is_gone_is_not_made_a_second_time() -> None:
    made = make_operator(NAME).operator
    made.path.unlink()
    with pytest.raises(NoOperatorKey, match="restore"):
        load_operator()
    with pytest.raises(OperatorKeyRefused, match="restore"):
        make_operator(NAME)
    assert not made.path.exists()


def test_a_foreign_key_is_refused() -> None:
    made = make_operator(NAME).operator
    made.path.write_text(SignerKey(NAME, bytes(32)).encoded() + "\n")
    for call in (load_operator, make_operator):
        with pytest.raises(OperatorKeyRefused, match="the config has the public half"):
            call()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_read_is_refused(mode: int) -> None:
    path = make_operator(NAME).operator.path
    path.chmod(mode)
    with pytest.raises(OperatorKeyRefused, match="chmod 600"):
        load_operator()
    path.chmod(0o400)
    load_operator()


def test_another_user_s_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_operator(NAME).operator.path
    if os.geteuid() == 0:
        os.chown(path, 4243, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4243)
    with pytest.raises(OperatorKeyRefused, match="another user"):
        load_operator()


@pytest.mark.parametrize("content", [b"", b"PRIVATE+KEY+x", b"\xff", b"x" * 5000, None])
def test_a_broken_key_is_refused_and_not_quoted(content: bytes | None) -> None:
    path = make_operator(NAME).operator.path
    content = path.read_bytes()[:-3] if content is None else content
    path.write_bytes(content)
    with pytest.raises(OperatorKeyRefused) as caught:
        load_operator()
    assert len(content) < 60 or content.decode()[40:60] not in str(caught.value)


def test_a_fifo_is_not_waited_for() -> None:
    path = make_operator(NAME).operator.path
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(OperatorKeyRefused, match="not a regular file"):
        load_operator()


def test_a_key_that_cannot_sign_is_found_by_its_test_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    make_operator(NAME)
    sign = SignerKey.sign
    monkeypatch.setattr(SignerKey, "sign", lambda self, text: sign(self, text).replace(text[:1], "S", 1))
    with pytest.raises(OperatorKeyRefused, match="does not fit"):
        load_operator()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("operator = 1", "needs name, key and public"),
        ("[operator]\nname = 'a'", "needs name, key and public"),
        ("[operator]\nname = 'a'\nkey = 'operator.key'\npublic = '{}'", "absolute path"),
        ("[operator]\nname = 'a'\nkey = '/k'\npublic = '{}'", "different keys"),
        ("[operator]\nname = 'a'\nkey = '/k'\npublic = 'a+b+c'", "public: 'a\\+b\\+c' is not a verifier key"),
    ],
)
def test_a_broken_entry_is_said(entry: str, said: str) -> None:
    public = str(SignerKey(NAME, bytes(32)).verifier)
    config_path().parent.mkdir(parents=True)
    config_path().write_text(entry.format(public))
    for call in (load_operator, lambda: make_operator(NAME), public_key):
        with pytest.raises(ConfigError, match=said):
            call()


def test_a_system_wide_entry_counts_unless_the_user_has_one(own_home: Path) -> None:
    made = make_operator(NAME).operator
    system = own_home / "etc" / "securedata" / "config.toml"
    system.parent.mkdir(parents=True)
    config_path().rename(system)
    assert load_operator() == made
    other = SignerKey("other", bytes(32)).verifier
    config_path().write_text(f"[operator]\nname = 'other'\nkey = '{made.path}'\npublic = '{other}'\n")
    with pytest.raises(OperatorKeyRefused, match="the config has the public half other"):
        load_operator()


def test_an_entry_that_came_meanwhile_is_not_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    other = SignerKey("other", bytes(32)).verifier
    text = f"[operator]\nname = 'other'\nkey = '/k'\npublic = '{other}'\n"
    create = module.create_secret_file

    def meanwhile(path: Path, line: str) -> bool:
        config_path().parent.mkdir(parents=True)
        config_path().write_text(text)
        return create(path, line)

    monkeypatch.setattr(module, "create_secret_file", meanwhile)
    with pytest.raises(ConfigError, match="meanwhile"):
        make_operator(NAME)
    assert config_path().read_text() == text


KILLED = """
import os, signal, sys
from securedata import files
at = int(sys.argv[1])
calls = 0
def counted(function):
    def call(*arguments, **named):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return call
for name in ("open", "write", "fsync", "link", "unlink", "rename"):
    setattr(os, name, counted(getattr(os, name)))
from securedata.lifecycle.receipt.operator import make_operator
calls = 0
make_operator("example.com/erasure")
"""


def test_killed_at_every_step_and_run_again_it_makes_one_key(tmp_path: Path) -> None:
    """In forked children, so that each costs no start of a new interpreter."""
    seen = set()
    for at in range(1, 60):
        home = tmp_path / str(at)
        child = os.fork()
        if child == 0:
            for name in ("CONFIG", "DATA", "STATE"):
                os.environ[f"XDG_{name}_HOME"] = str(home / name)
            sys.argv = ["x", str(at)]
            try:
                exec(compile(KILLED, "killed", "exec"), {"__name__": "killed"})
                os._exit(0)
            finally:
                os._exit(1)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert ended in (0, -signal.SIGKILL)
        key = home / "DATA/securedata/operator.key"
        left = key.read_text() if key.exists() else None
        with pytest.MonkeyPatch.context() as patch:
            for name in ("CONFIG", "DATA", "STATE"):
                patch.setenv(f"XDG_{name}_HOME", str(home / name))
            found = make_operator(NAME).operator
            assert load_operator() == found
        assert left is None or key.read_text() == left
        seen.add((left is None, ended))
        if ended == 0:
            break
    assert seen == {(True, -signal.SIGKILL), (False, -signal.SIGKILL), (False, 0)}


# --------------------------------------------------------------------------------------------------------- the command


def test_the_command(run: Run) -> None:
    done = run("operator", "init")
    assert done.code == 2
    assert "--name example.com/erasure" in done.err
    done = run("operator", "show")
    assert done.code == 1
    assert "securedata operator init" in done.error
    done = run("operator", "init", "--name", NAME)
    assert done.code == 0
    assert parse_verifier(done.out.strip()) == load_operator().public
    assert "back it up, and publish the public half where people can find it apart from the receipts" in done.err
    again = run("operator", "init")
    assert (again.code, again.out) == (0, done.out)
    assert "was kept" in again.err
    assert run("operator", "show").out == done.out
    shown = {"name": NAME, "key": str(key_path()), "public": done.out.strip(), "made": False}
    assert run("operator", "show", "--json").json == shown
    assert run("operator", "show", "--name", NAME).code == 2
    assert run("operator", "init", "--name", "other").code == 2
    assert local.create_key_file(key_path()) is False
