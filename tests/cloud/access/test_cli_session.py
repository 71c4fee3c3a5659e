"""`securedata session` and `securedata wrap` on real servers."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from securedata.corpus.config import load, write_entry
from securedata.corpus.opening import open_corpus
from tests.cloud.conftest import Become
from tests.kit.cli.commandline import Run
from tests.kit.cloud.access import attempts, outcome
from tests.kit.corpora.cloud import Cloud, keys_in
from tests.kit.corpora.recorded import make_corpus
from tests.kit.servers import ROLE, TRAINER, WRITER_ROLE

pytestmark = pytest.mark.xdist_group("servers")


def may(cloud: Cloud, root: str, keys: tuple[str, ...]) -> set[str]:
    """What a session may do with an object of a corpus."""
    first, second, *_ = keys_in(cloud.weed, f"{root}/objects")
    calls = attempts(cloud.weed.client(keys), "voice", second, first)
    return {name for name, call in calls.items() if name in ("get", "list", "put") and outcome(call) == "ok"}


def test_credentials_in_every_shape(cloud: Cloud, become: Become, run: Run) -> None:
    root = cloud.make("contractor-a", role=WRITER_ROLE)  # the role may more than the sessions get
    become(TRAINER, "")
    lines = run("session", root.name).out.splitlines()
    env = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    keys = tuple(env[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"))
    assert may(cloud, root, keys) == {"get"}
    assert may(cloud, cloud_other(cloud, become), keys) == set()
    shown = run("session", f"securedata://{root.name}", "--format", "json").json
    assert (shown["root"], shown["role"], shown["write"]) == (root, WRITER_ROLE, False)
    process = run("session", root.name, "--write", "--format", "credential-process").json
    assert process["Version"] == 1
    end = datetime.fromisoformat(process["Expiration"])
    assert 0 < (end - datetime.now(UTC)).total_seconds() <= 12
    assert may(cloud, root, tuple(process[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))) == {
        "get",
        "put",
    }


def cloud_other(cloud: Cloud, become: Become) -> str:
    become(("ADMINKEY", "adminsecret0123"), cloud.bao.token)
    other = cloud.make("contractor-b")
    become(TRAINER, "")
    return other


def test_a_profile_of_aws_tools_runs_it(
    cloud: Cloud, become: Become, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that would run itself for ever is told so."""
    root = cloud.make("contractor-a", role=ROLE)
    key = keys_in(cloud.weed, root)[0]
    become(TRAINER, "")
    folder = own_home / ".aws"
    folder.mkdir()
    command = f"{sys.executable} -m securedata session {root.name} --format credential-process"
    keys = f"aws_access_key_id = {TRAINER[0]}\naws_secret_access_key = {TRAINER[1]}\n"
    (folder / "config").write_text(
        f"[profile own]\n{keys}[profile cut]\ncredential_process = {command}\nregion = us-east-1\n"
    )
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_PROFILE", "cut")
    program = (
        "import boto3, sys\nprint(boto3.client('s3').head_object(Bucket='voice', Key=sys.argv[1])['ContentLength'])"
    )
    call = [sys.executable, "-c", program, key]
    looped = subprocess.run(call, capture_output=True, text=True, timeout=60)
    assert looped.returncode != 0
    assert "name another one as profile" in looped.stderr
    write_entry(str(root.name), replace(load()[str(root.name)], options={"role": ROLE, "profile": "own"}))
    done = subprocess.run(call, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 64


def test_what_has_no_session(cloud: Cloud, become: Become, run: Run, tmp_path: Path) -> None:
    root, local = cloud.make("contractor-a", ()), make_corpus(tmp_path, [], name="on-disk")
    become(TRAINER, "")
    for arguments, code, words in (
        ((root.name,), 2, "has no role"),
        ((local.name, "--role", ROLE), 2, "S3 root only"),
        ((root.name, "--role", ROLE.replace("Trainer", "Nobody")), 1, "may not be assumed"),
    ):
        done = run("session", *arguments)
        assert done.code == code
        assert words in done.err
        assert done.out == ""


def test_wraps_by_two_services_of_which_one_is_enough(cloud: Cloud, become: Become, run: Run, tmp_path: Path) -> None:
    root = cloud.make("contractor-a")
    second, loose = cloud.bao.make_key(f"{cloud.prefix}-2"), cloud.bao.make_key(f"{cloud.prefix}-3", derived=False)
    refused = run("wrap", "add", root.name, "--kms", loose)
    assert refused.code == 1
    assert "derived=true" in refused.error
    assert run("wrap", "add", root.name, "--kms", second).code == 0
    assert run("wrap", "add", root.name, "--kms", f"local://{tmp_path}/safe.kek").code == 0
    listed = run("wrap", "list", root.name, "--json").json["wraps"]
    assert [one["uri"] for one in listed[:2]] == [root.kms, second]
    become(("ADMINKEY", "adminsecret0123"), "")  # without any token
    with open_corpus(replace(root.reference, kms=(f"local://{tmp_path}/safe.kek",))) as corpus:
        assert bytes(corpus.read(0)) == root.clips[0].data
    # in the caller's order: the first that opens it is enough, and one that is away does no harm
    become(("ADMINKEY", "adminsecret0123"), cloud.bao.token)
    asked = cloud.bao.calls("decrypt", f"{cloud.prefix}-2"), cloud.unwraps(root)
    with open_corpus(replace(root.reference, kms=(second, root.kms))):
        assert cloud.bao.calls("decrypt", f"{cloud.prefix}-2") == asked[0] + 1
        assert cloud.unwraps(root) == asked[1]
    assert run("wrap", "drop", root.name, "--kms", second).code == 0
    info = json.loads(run("info", root.name, "--json").out)
    assert second not in info["wraps"]
