"""nginx in front of an S3 server, on free loopback ports: one adds latency to each request with Lua, one has TLS."""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kit.servers import answers, free_port, running

PACKAGES = ("nginx-light", "libnginx-mod-http-lua")
MODULES = Path("/usr/lib/nginx/modules")
LUA = ("ndk_http_module.so", "ngx_http_lua_module.so")

CONFIG = """
{modules}
{user}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_max_body_size 0;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream s3 {{ server {upstream}; keepalive 256; keepalive_requests 1000000; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_buffering off;
    proxy_request_buffering off;
    server {{
        listen 127.0.0.1:{slow};
        location / {{
            access_by_lua_block {{ ngx.sleep({seconds}) }}
            proxy_pass http://s3;
        }}
    }}
    server {{
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;
        location / {{ proxy_pass http://s3; }}
    }}
}}
"""


@dataclass(frozen=True)
class Fronts:
    """Endpoints in front of the server: one with latency, and one for TLS with a self-signed certificate."""

    slow: str
    tls: str
    certificate: Path


def installed(install: bool = True) -> bool:
    """Whether nginx with Lua is installed. As root on Debian, apt installs it."""
    if shutil.which("nginx") and all((MODULES / name).exists() for name in LUA):
        return True
    if not install or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    print(f"installing {' and '.join(PACKAGES)} with apt (about 10 MB), for latency and TLS", file=sys.stderr)
    # RUNLEVEL: do not start the system's service; this benchmark starts its own nginx
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    commands = (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES])
    for arguments in commands:
        done = subprocess.run(["apt-get", *arguments], env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            print(f"apt-get {arguments[0]} ended with {done.returncode}: {done.stderr[-300:]}", file=sys.stderr)
    return installed(install=False)


@contextmanager
def fronts(endpoint: str, folder: Path, seconds: float) -> Iterator[Fronts | None]:
    """Run nginx in front of `endpoint` during the block; None if it is not installed."""
    if not installed():
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    certificate = write_certificate(folder)
    slow, tls = free_port(), free_port()
    text = CONFIG.format(
        modules="\n".join(f"load_module {MODULES / name};" for name in LUA),
        user="user root;" if os.geteuid() == 0 else "",
        folder=folder.resolve(),
        upstream=endpoint.removeprefix("http://"),
        slow=slow,
        tls=tls,
        seconds=seconds,
    )
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    nginx = shutil.which("nginx") or "nginx"
    command = [nginx, "-p", str(folder.resolve()), "-c", str((folder / "nginx.conf").resolve())]
    with running(command, folder / "nginx.log", lambda: answers(f"http://127.0.0.1:{slow}")):
        yield Fronts(f"http://127.0.0.1:{slow}", f"https://127.0.0.1:{tls}", certificate)


def write_certificate(folder: Path) -> Path:
    """Write a key and a self-signed certificate for 127.0.0.1."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "key.pem").write_bytes(private)
    path = folder / "cert.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path.resolve()
