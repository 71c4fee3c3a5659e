"""Roots that others could take for another path, and session policies that would match more than one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import securedata as sd
from securedata.access.policy import session_policy
from securedata.corpus.config import Reference, resolve
from securedata.corpus.connection import role_source
from securedata.errors import InvalidArgument
from securedata.ingest.sources.remote import tree_of
from securedata.keys.pin import Pin
from securedata.storage.registry import open_storage
from tests.kit.cli.commandline import runner

ODD = (
    "a\udcffb",
    "a/../b",
    "a/./b",
    "a//b",
    "../b",
    "./b",
    "/b",
    "..",
    ".",
    "a/..",
    "a/../",
    "a/.",
    "a//",
    "a/%2e%2e/b",
    "a/%2E%2e/b",
    "a/.%2e/b",
    "a/%2e/b",
    "a%2f..%2fb",
    "a/%252e%252e/b",
    "a%5c..%5cb",
    "a\\..\\b",
    "a\nb",
    "a\x00b",
    "a%0d%0aHost: x/b",
    "a\x7f",
)
FINE = ("a/b", "a/b/", "a/..b", "a/b..", "a/...", "a/.b", "100%", "a%20b", "a b", "a\\b", "zoë/ü", "a+b=c", "it's(1)!~")
SCHEMES = ("s3://voice/", "https://example.org/", "http://example.org:8080/", "memory://voice/")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_root_that_others_could_take_for_another_place_is_refused(scheme: str, tmp_path: Path) -> None:
    for path in ODD:
        with pytest.raises(InvalidArgument, match="might read as another path"):
            open_storage(scheme + path)
    for path in FINE:
        open_storage(scheme + path)


def test_it_is_refused_wherever_a_root_is_named(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = own_home / "config.toml"
    config.write_text('[corpora.odd]\nroot = "s3://voice/a/../b"\nkms = ["local:///nowhere/k"]\n')
    monkeypatch.setenv("SECUREDATA_CONFIG", str(config))
    for target in ("odd", "securedata://odd", "s3://voice/a/%2e%2e/b", "https://example.org/a/../b"):
        with pytest.raises(InvalidArgument, match="might read as another path"):
            sd.open_corpus(target, kms="local:///nowhere/k")
    with pytest.raises(InvalidArgument, match="might read as another path"):
        tree_of("s3://voice/a/../b")
    assert resolve("odd").root == "s3://voice/a/../b"
    assert "might read as another path" in runner(capsys)("ls", "odd").err


# --------------------------------------------------------------------------------------------------------- policies

MATCHING = ("*", "?", "$", "${aws:username}", "${*}", "${aws:PrincipalTag/x}")


@pytest.mark.parametrize("odd", MATCHING)
@pytest.mark.parametrize("root", ["s3://voi{}ce/x", "s3://{}/x", "s3://{}", "s3://voice/x{}", "s3://voice/{}/x"])
def test_a_policy_never_holds_what_matches_others(root: str, odd: str) -> None:
    with pytest.raises(InvalidArgument):
        session_policy(root.format(odd), bytes(16))


@pytest.mark.parametrize(
    "root",
    ["s3://", "s3:///", "s3:///x", "s3:///voice/x", "s3://voice:x/y", "s3://vo ice/x", 's3://voi"ce/x', "s3://voïce/x"]
    + [f"s3://voice/{odd}" for odd in ODD]
    + ["s3://./x", "s3://../x", "https://voice/x", "/voice/x", ""],
)
def test_no_policy_for_what_is_no_root(root: str) -> None:
    with pytest.raises(InvalidArgument):
        session_policy(root, bytes(16))


@pytest.mark.parametrize("prefix", ["", "x", 'x"y', "x\\y", "zoë", "a,b:[c]{d}"])
@pytest.mark.parametrize("write", [False, True])
def test_a_policy_is_cut_to_its_root(prefix: str, write: bool) -> None:
    root = f"s3://voice.a_b-c/{prefix}"
    policy = session_policy(root, bytes(16), ["arn:aws:kms:eu-west-1:111122223333:key/k"], write=write)
    storage, kms = policy["Statement"]
    assert storage["Resource"] == [f"arn:aws:s3:::voice.a_b-c/{prefix + '/' if prefix else ''}*"]
    assert json.dumps(policy).count("*") == 1
    assert kms["Resource"] == ["arn:aws:kms:eu-west-1:111122223333:key/k"]
    assert ("s3:PutObject" in storage["Action"]) is write


def test_what_a_policy_takes_from_the_config_names_one_thing_each() -> None:
    pin = Pin(bytes(16), bytes(16))
    key = "aws-kms://arn:aws:kms:eu-west-1:111122223333:key/"
    for kms, role in ((f"{key}*", "arn:aws:iam::1:role/x"), (f"{key}k", "arn:aws*:iam::1:role/x")):
        with pytest.raises(InvalidArgument, match="must name one each"):
            role_source(Reference("s3://voice/x", None, (kms,), (pin,), {"role": role}))
