"""Real servers for the tests, on free loopback ports, ended by process id: SeaweedFS, OpenBao, moto."""

from __future__ import annotations

import base64
import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
ROLE = "arn:aws:iam::000000000000:role/Trainer"
WRITER_ROLE = "arn:aws:iam::000000000000:role/Writer"
ADMIN = ("ADMINKEY", "adminsecret0123")
TRAINER = ("TRAINERKEY", "trainersecret012")


def free_port(also: int = 0) -> int:
    """A port that is free now, with the one `also` above it; away from the range that the kernel gives to clients."""
    while True:
        port = random.randrange(12_000, 22_000)
        if all(_is_free(one) for one in {port, port + also}):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def running(
    command: list[str], log: Path, ready: Callable[[], bool], env: dict[str, str] | None = None
) -> Iterator[int]:
    """A server for as long as the block runs; yields its process id."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )
    try:
        end = time.monotonic() + 60
        while not ready():
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(2)  # its data is thrown away; SeaweedFS would wait for its own clients
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    """Does an HTTP server answer there, whatever it says?"""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class Seaweed:
    """An S3 server with STS and session policies."""

    endpoint: str
    folder: Path
    pid: int

    def client(self, keys: tuple[str, ...] = ADMIN, service: str = "s3") -> Any:
        """A boto3 client."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=keys[0],
            aws_secret_access_key=keys[1],
            aws_session_token=keys[2] if len(keys) > 2 else None,
            config=Config(retries={"total_max_attempts": 3}, s3={"addressing_style": "path"}),
        )

    def environment(self, keys: tuple[str, ...] = ADMIN) -> dict[str, str]:
        """What a user would set to use this server."""
        return {
            "AWS_ACCESS_KEY_ID": keys[0],
            "AWS_SECRET_ACCESS_KEY": keys[1],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
        }


@contextmanager
def seaweed(folder: Path, session_seconds: int = 25, bucket: str = "voice") -> Iterator[Seaweed]:
    """SeaweedFS with a bucket, and roles whose sessions live `session_seconds` at most."""
    folder.mkdir(parents=True, exist_ok=True)
    identities = [
        _identity("admin", ADMIN, ["Admin", "Read", "Write", "List", "Tagging"]),
        _identity("trainer", TRAINER, []),
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    read, write = ["s3:GetObject", "s3:ListBucket"], ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    iam = {
        "sts": {
            "tokenDuration": "1h",
            "maxSessionLength": f"{session_seconds}s",
            "issuer": "seaweedfs-sts",
            "signingKey": base64.b64encode(os.urandom(32)).decode(),
        },
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "policies": [_policy("Read", bucket, read), _policy("ReadWrite", bucket, read + write)],
        "roles": [_role("Trainer", ROLE, "Read"), _role("Writer", WRITER_ROLE, "ReadWrite")],
    }
    (folder / "iam.json").write_text(json.dumps(iam))
    # each of weed's services has a gRPC port 10000 above its own
    ports = {name: free_port(10_000) for name in ("master", "volume", "filer", "s3")}
    endpoint = f"http://127.0.0.1:{ports['s3']}"
    # a bucket begins with seven volumes; without a free one a new bucket takes no object
    command = [str(BIN / "weed"), "server", f"-dir={folder}", "-ip=127.0.0.1", "-filer", "-s3", "-volume.max=400"]
    command += [f"-{'s3.port' if name == 's3' else name + '.port'}={port}" for name, port in ports.items()]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder}/s3.json"]
    command += [f"-s3.iam.config={folder}/iam.json"]
    with running(command, folder / "weed.log", lambda: answers(endpoint)) as pid:
        server = Seaweed(endpoint, folder, pid)
        _until(lambda: server.client().create_bucket(Bucket=bucket))
        _until(lambda: server.client().put_object(Bucket=bucket, Key=".ready", Body=b"1"))
        server.client().delete_object(Bucket=bucket, Key=".ready")
        yield server


def _identity(name: str, keys: tuple[str, str], actions: list[str]) -> dict[str, Any]:
    return {"name": name, "credentials": [{"accessKey": keys[0], "secretKey": keys[1]}], "actions": actions}


def _policy(name: str, bucket: str, actions: list[str]) -> dict[str, Any]:
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    statement = {"Effect": "Allow", "Action": actions, "Resource": resources}
    return {"name": name, "document": {"Version": "2012-10-17", "Statement": [statement]}}


def _role(name: str, arn: str, policy: str) -> dict[str, Any]:
    trusted = {"AWS": ["arn:aws:iam::000000000000:user/trainer"]}
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": trusted, "Action": ["sts:AssumeRole"]}],
    }
    return {"roleName": name, "roleArn": arn, "trustPolicy": trust, "attachedPolicies": [policy]}


def _until(call: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            call()
            return
        except Exception:  # a server that starts answers in many wrong ways; the last one is raised
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


@dataclass(frozen=True)
class Bao:
    """An OpenBao server with a transit engine."""

    address: str
    token: str
    pid: int
    audit: Path

    def client(self, token: str | None = None) -> Any:
        import hvac

        return hvac.Client(self.address, token=token or self.token)

    def uri(self, name: str) -> str:
        """The KMS URI of a transit key."""
        return f"hcvault+http://{self.address.removeprefix('http://')}/transit/keys/{name}"

    def make_key(self, name: str, derived: bool = True) -> str:
        """A new transit key; returns its KMS URI."""
        self.client().secrets.transit.create_key(name, derived=derived, key_type="aes256-gcm96")
        return self.uri(name)

    def calls(self, operation: str, name: str) -> int:
        """How often the server was asked to `encrypt` or `decrypt` with a transit key, by its own audit log."""
        lines = [json.loads(line) for line in self.audit.read_text().splitlines()]
        path = f"transit/{operation}/{name}"
        return sum(one["type"] == "request" and one["request"]["path"] == path for one in lines)

    def make_token(self, policy: str) -> str:
        """A token that may do what a policy says."""
        name = f"p{os.urandom(6).hex()}"
        self.client().sys.create_or_update_policy(name, policy)
        return str(self.client().auth.token.create(policies=[name])["auth"]["client_token"])


@contextmanager
def openbao(folder: Path) -> Iterator[Bao]:
    """OpenBao in development mode: in memory, unsealed, with a root token of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    address, token = f"127.0.0.1:{free_port(1)}", os.urandom(8).hex()  # its cluster port is the next
    audit = folder / "audit.log"
    (folder / "audit.hcl").write_text(f'audit "file" "calls" {{ options = {{ file_path = "{audit}" }} }}\n')
    command = [str(BIN / "bao"), "server", "-dev", "-dev-no-store-token"]
    command += [f"-dev-root-token-id={token}", f"-dev-listen-address={address}", f"-config={folder}/audit.hcl"]
    with running(command, folder / "bao.log", lambda: answers(f"http://{address}/v1/sys/health")) as pid:
        server = Bao(f"http://{address}", token, pid, audit)
        _until(lambda: server.client().sys.enable_secrets_engine("transit"))
        yield server


@contextmanager
def moto(folder: Path) -> Iterator[str]:
    """moto's server of the AWS APIs (shapes only: it enforces no policy); yields its endpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    with running([str(BIN / "moto_server"), "-p", str(port)], folder / "moto.log", lambda: answers(endpoint)):
        yield endpoint
