"""Servers that start once for all tests here, and the environment in which a user would meet them."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from securedata.testing.proxy import FaultProxy
from tests.kit.cloud.fault_plans import Between
from tests.kit.corpora.cloud import Cloud
from tests.kit.corpora.recorded import Root
from tests.kit.servers import ADMIN, Bao, Seaweed, moto, openbao, seaweed
from tests.kit.sources.recordings import clip

pytest.register_assert_rewrite("securedata.testing.kms", "securedata.testing.storage")

SESSION = 12
"""Seconds that a session lives at most; renewal and expiry can be watched."""

VERSIONED = "versioned"


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """S3 and STS, with the buckets `voice` and `versioned`."""
    with seaweed(tmp_path_factory.mktemp("weed"), SESSION) as server:
        server.client().create_bucket(Bucket=VERSIONED)
        server.client().put_bucket_versioning(Bucket=VERSIONED, VersioningConfiguration={"Status": "Enabled"})
        yield server


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    """A KMS."""
    with openbao(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of moto: shapes of AWS's APIs."""
    with moto(tmp_path_factory.mktemp("moto")) as endpoint:
        yield endpoint


@pytest.fixture
def admin(weed: Seaweed, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Seaweed:
    """The S3 server, whose owner's credentials this test has in its environment."""
    for name, value in weed.environment().items():
        monkeypatch.setenv(name, value)
    return weed


Become = Callable[[tuple[str, str], str], None]


@pytest.fixture
def become(weed: Seaweed, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Become:
    """Puts somebody's keys of S3 and token of the KMS into the environment of this test."""

    def put(keys: tuple[str, str], token: str) -> None:
        for name, value in weed.environment(keys).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("VAULT_TOKEN", token)

    return put


@pytest.fixture
def cloud(weed: Seaweed, bao: Bao, prefix: str, become: Become) -> Cloud:
    """Both servers; the environment is that of their owner."""
    become(ADMIN, bao.token)
    return Cloud(weed, bao, prefix)


@pytest.fixture
def prefix() -> str:
    """A place in a bucket that no other test has."""
    return f"t-{os.urandom(6).hex()}"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificate and key of 127.0.0.1, by nobody that anybody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(*form))
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture(scope="session")
def proxies(weed: Seaweed, bao: Bao, aws: str) -> Iterator[Between]:
    """In front of the servers."""
    with ExitStack() as stack:
        yield Between(
            *(stack.enter_context(FaultProxy(one)) for one in (weed.endpoint, bao.address, aws, weed.endpoint))
        )


@pytest.fixture
def between(proxies: Between) -> Iterator[Between]:
    """The proxies, without a fault yet."""
    for proxy in proxies.all:
        proxy.clear()
    yield proxies
    for proxy in proxies.all:
        proxy.clear()


@pytest.fixture(scope="session")
def faulty_made(proxies: Between, weed: Seaweed, bao: Bao, tmp_path_factory: pytest.TempPathFactory) -> Root:
    """A corpus of twelve recordings, reached through the proxies."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**weed.environment(), "VAULT_TOKEN": bao.token}.items():
            patch.setenv(name, value)
        for name in ("CONFIG", "DATA", "STATE", "CACHE"):
            patch.setenv(f"XDG_{name}_HOME", str(home))
        cloud = Cloud(weed, replace(bao, address=proxies.kms.endpoint), f"t-{os.urandom(6).hex()}")
        clips = [clip(f"ann/{n:04}.wav", 0.5, seed=n) for n in range(12)]
        return cloud.make("faulty", clips, endpoint=proxies.s3.endpoint)


@pytest.fixture
def faulty(faulty_made: Root, between: Between, cloud: Cloud) -> Root:
    """That corpus, for a test that leaves it as it is."""
    return faulty_made
