"""The commands that docs/cloud.md shows for Vault and OpenBao run, against a server of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import hvac
import pytest

from securedata.corpus.opening import open_corpus
from securedata.errors import KMSDenied
from tests.kit.corpora.recorded import make_corpus
from tests.kit.docs.readme import all_blocks
from tests.kit.docs.tree import ROOT
from tests.kit.servers import BIN, Bao, openbao
from tests.kit.sources.recordings import write_clips

pytestmark = pytest.mark.xdist_group("servers")


def script() -> str:
    """The section's blocks, one after the other."""
    page = (ROOT / "docs" / "cloud.md").read_text(encoding="utf-8")
    section = re.split(r"(?m)^##+ ", page.partition("### Vault and OpenBao\n")[2])[0]
    return "\n".join(block.text for block in all_blocks(section) if block.language == "sh")


@pytest.fixture
def own_bao(tmp_path: Path) -> Bao:
    with openbao(tmp_path / "bao") as server:
        server.client().sys.disable_secrets_engine("transit")  # the page enables it
        yield server


def test_the_page_runs(own_bao: Bao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clips(tmp_path / "wavs")
    shell = script()
    assert shell.count("bao policy write") == 3
    tokens = tmp_path / "tokens"
    shell = re.sub(r"(export VAULT_TOKEN=.*)", rf'\1\necho "$VAULT_TOKEN" >> {tokens}', shell)
    shell = shell.replace("127.0.0.1:8200", own_bao.address.removeprefix("http://"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "securedata").write_text(f'#!/bin/sh\nexec {sys.executable} -m securedata "$@"\n')
    (tmp_path / "bin" / "securedata").chmod(0o755)
    path = f"{tmp_path}/bin:{BIN}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "BAO_TOKEN": own_bao.token, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", shell], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("3 recordings  ann/") == 2
    owner, reader, cut = tokens.read_text().split()
    uri = own_bao.uri("contractor-a")
    # a second corpus under the same key
    monkeypatch.setenv("VAULT_TOKEN", owner)
    other = make_corpus(tmp_path / "other", name="voice-b", kms=uri)
    outcomes = {}
    for token in (owner, reader, cut):
        monkeypatch.setenv("VAULT_TOKEN", token)
        for name in ("voice-a", other.name):
            try:
                open_corpus(name).close()
                outcomes[token, name] = "opens"
            except KMSDenied:
                outcomes[token, name] = "denied"
    names = {owner: "owner", reader: "reader", cut: "cut"}
    assert {(names[token], name): what for (token, name), what in outcomes.items()} == {
        ("owner", "voice-a"): "opens",
        ("owner", "voice-b"): "opens",
        ("reader", "voice-a"): "opens",
        ("reader", "voice-b"): "opens",
        ("cut", "voice-a"): "opens",
        ("cut", "voice-b"): "denied",
    }
    # a reader makes no wrap, and nobody makes a key
    for token in (owner, reader, cut):
        for key in ("contractor-a", "another") if token != owner else ("another",):
            with pytest.raises(hvac.exceptions.Forbidden):
                own_bao.client(token).secrets.transit.encrypt_data(name=key, plaintext="YQ==", context="YQ==")
    assert own_bao.client().secrets.transit.list_keys()["data"]["keys"] == ["contractor-a"]
