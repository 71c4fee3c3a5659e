"""A home that is none, is another user's, or is made under any umask: what steers us is this user's alone to lay."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from securedata.cli.main import main
from securedata.corpus import config
from securedata.corpus.create import create_corpus
from securedata.errors import ConfigError, KMSDenied
from securedata.files import home_folder
from securedata.keys import hcvault
from tests.kit.corpora.recorded import make_corpus

XDG = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")


@pytest.fixture
def only_home(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """HOME alone says where things are."""
    for name in XDG:
        monkeypatch.delenv(name)
    return own_home


@pytest.fixture
def umask() -> Iterator[None]:
    """The umask of many daemons and containers, which keeps nobody away."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.parametrize("home", ["", "here", "~", "."])
@pytest.mark.parametrize("entry", ["home", "", None])
def test_a_home_that_is_no_absolute_path_is_none(
    home: str, entry: str | None, only_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the working directory others may have laid a config, which chooses the KMS, or a token."""

    def passwd(_: int) -> object:
        if entry is None:
            raise KeyError("uid not found")
        return type("Entry", (), {"pw_dir": entry and str(only_home)})

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", home)
    monkeypatch.setattr("pwd.getpwuid", passwd)
    for name in ("VAULT_TOKEN", "BAO_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    planted = Path(home or ".").resolve()
    (planted / ".config/securedata").mkdir(parents=True)
    (planted / ".config/securedata/config.toml").write_text('[corpora.voice]\nroot = "/elsewhere"\n')
    (planted / ".vault-token").write_text("planted")
    before = sorted(tmp_path.rglob("*"))
    assert config.load() == {}
    with pytest.raises(KMSDenied, match="no token"):
        hcvault._token("hcvault://vault.example/transit/voice")
    if entry:
        assert home_folder() == only_home
        create_corpus(str(only_home / "corpus"), "mine")
        assert (only_home / ".local/share/securedata/keys/mine.kek").exists()
    else:
        with pytest.raises(ConfigError, match=r"no home folder: set XDG_STATE_HOME \(or HOME\)"):
            create_corpus(str(only_home / "corpus"), "mine")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("umask")
def test_nothing_that_steers_us_can_be_written_or_moved_by_others(only_home: Path, tmp_path: Path) -> None:
    """Whoever may write to ~/.config moves our folder away and lays another with another KMS; keys go the same way."""
    make_corpus(tmp_path)
    create_corpus(str(tmp_path / "other"), "other")
    made = [only_home, *only_home.rglob("*")]
    assert {"config.toml", "other.kek", "seen.lock", "config.lock"} <= {path.name for path in made}
    for path in made:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert not mode & stat.S_IWOTH, path
        if path.is_dir():
            assert mode == 0o700, path
        elif not path.name.endswith(".lock"):
            assert not mode & stat.S_IWGRP, path


def test_a_config_keeps_the_mode_that_its_user_gave_it(only_home: Path, tmp_path: Path) -> None:
    create_corpus(str(tmp_path / "one"), "one")
    config.config_path().chmod(0o640)
    create_corpus(str(tmp_path / "two"), "two")
    assert stat.S_IMODE(config.config_path().stat().st_mode) == 0o640


# ---------------------------------------------------------------------------------------------------------- elsewhere


@pytest.mark.parametrize("out_of_reach", ["/dev/null", "file"])
def test_a_config_out_of_reach_is_none_for_who_names_root_and_key(
    out_of_reach: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_corpus(tmp_path)
    for name in XDG:
        monkeypatch.delenv(name)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / out_of_reach))
    named = [str(root), "--kms", root.reference.kms[0], "--pin", str(root.reference.pins[0])]
    for command in ("ls", "info", "verify"):
        assert main([command, *named]) == 0, capsys.readouterr().err
    assert main(["ls", "voice"]) == 1
    assert "no corpus named 'voice'" in capsys.readouterr().err


def test_a_config_behind_a_closed_folder_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(config, "_warned", set())

    def closed(one: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(one))

    def read(one: str | Path, limit: int) -> bytes:
        if str(one) == str(config.config_path()):
            raise PermissionError(13, "Permission denied", str(one))
        raise FileNotFoundError

    monkeypatch.setattr(config, "read_small", read)
    with pytest.raises(ConfigError, match="cannot be read"):  # it can be seen, and may hold the pin
        config.load()
    monkeypatch.setattr(Path, "lstat", closed)
    with caplog.at_level(logging.WARNING, "securedata"):
        for _ in range(2):
            assert config.load() == {}
    [record] = caplog.records
    assert "is ignored, since this user may not enter its folder" in record.getMessage()
    monkeypatch.setenv("SECUREDATA_CONFIG", str(config.config_path()))  # it was named, so it is meant to be read
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load()
