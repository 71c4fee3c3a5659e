"""`hcvault://HOST:PORT/MOUNT/keys/NAME`: a transit key of HashiCorp Vault or OpenBao.

The key has to be made with `derived=true`: only then does the service bind the encryption context. TLS
is a must; `hcvault+http://` is for a server on this machine. The token is VAULT_TOKEN, BAO_TOKEN or
~/.vault-token; the address is the URI's alone, and VAULT_ADDR overrides nothing.
"""

from __future__ import annotations

import base64
import ipaddress
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from securedata.errors import InvalidKMSURI, KMSDenied, KMSThrottled, KMSUnreachable
from securedata.keys.kms import KMS, Context, context_bytes

_SCHEMES = {"hcvault": "https", "hcvault+http": "http"}
_TIMEOUT = 10


class VaultKMS(KMS):
    """A transit key. The token is read anew for every call, so that a renewed one is used."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._key = _parse(uri)
        if self._key[0] == "hcvault+http" and not _loopback(self._key[1]):
            raise InvalidKMSURI(f"{uri!r}: hcvault+http:// sends keys in clear; only a server on this machine may")

    @property
    def wrap_uri(self) -> str:
        return self.uri

    def matches(self, wrap_uri: str) -> bool:
        try:
            return _parse(wrap_uri) == self._key
        except InvalidKMSURI:
            return False

    def wrap(self, key: bytes, context: Context) -> bytes:
        plaintext = base64.b64encode(key).decode()
        return self._call("encrypt_data", lambda data: data["ciphertext"].encode(), context, plaintext=plaintext)

    def unwrap(self, blob: bytes, context: Context) -> bytes:
        text = blob.decode("ascii", "replace")
        return self._call("decrypt_data", lambda data: base64.b64decode(data["plaintext"]), context, ciphertext=text)

    def _call(self, operation: str, read: Callable[[Any], bytes], context: Context, **arguments: str) -> bytes:
        hvac = _hvac()
        import requests

        scheme, host, mount, name = self._key
        session = requests.Session()
        session.verify = os.environ.get("VAULT_CACERT") or True
        # a proxy would see what is in clear, and this server is on this machine
        session.trust_env = scheme == "hcvault"
        client = hvac.Client(
            url=f"{_SCHEMES[scheme]}://{host}",
            token=_token(self.uri),
            namespace=os.environ.get("VAULT_NAMESPACE"),
            timeout=_TIMEOUT,
            session=session,
        )
        if context:
            arguments["context"] = base64.b64encode(context_bytes(context)).decode()
        errors = hvac.exceptions
        try:
            answer = getattr(client.secrets.transit, operation)(name=name, mount_point=mount, **arguments)
            return read(answer["data"])
        except (errors.Forbidden, errors.Unauthorized) as error:
            raise KMSDenied(
                f"{self.uri}: {_said(error)}; the token expired, was revoked, or its policy does not allow "
                "this key under the corpus's context: sign in again, or have the policy changed"
            ) from error
        except (errors.InvalidRequest, errors.InvalidPath) as error:
            raise KMSDenied(f"{self.uri}: {_said(error)}; not a wrap of this key under the corpus's context") from error
        except errors.RateLimitExceeded as error:
            raise KMSThrottled(f"{self.uri}: too many calls; try again later, or raise its limit") from error
        except (errors.VaultError, requests.RequestException) as error:
            raise KMSUnreachable(f"{self.uri}: {_said(error)}; check address and network") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise KMSUnreachable(f"{self.uri}: no transit engine answers like this; check the address") from error
        finally:
            client.adapter.close()


def _parse(uri: str) -> tuple[str, str, str, str]:
    """Scheme, host and port, mount and key name."""
    try:
        parts = urlsplit(uri)
    except ValueError:  # brackets that are no address
        parts = urlsplit("")
    mount, separator, name = parts.path.strip("/").rpartition("/keys/")
    plain = parts.username is None and not parts.query and not parts.fragment
    if parts.scheme not in _SCHEMES or not parts.netloc or not separator or not mount or not name or not plain:
        raise InvalidKMSURI(f"{uri!r}: a Vault URI is hcvault://HOST:PORT/MOUNT/keys/NAME, without user or query")
    return parts.scheme, parts.netloc.lower(), mount, name


def _loopback(netloc: str) -> bool:
    host = urlsplit(f"//{netloc}").hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _token(uri: str) -> str:
    for name in ("VAULT_TOKEN", "BAO_TOKEN"):
        if os.environ.get(name):
            return os.environ[name]
    try:
        token = (Path.home() / ".vault-token").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    if not token:
        raise KMSDenied(f"{uri}: no token: set VAULT_TOKEN, or sign in with 'vault login' or 'bao login'")
    return token


def _said(error: Exception) -> str:
    # of a connection that failed requests tells the URL at length before it says why
    reason = getattr(error.args[0], "reason", None) if error.args else None
    text = " ".join(str(reason or error).split())
    return text[:200] or type(error).__name__


def _hvac() -> Any:
    try:
        import hvac
        import hvac.exceptions
    except ImportError as error:
        raise KMSUnreachable("Vault and OpenBao need hvac: pip install 'securedata-torch[vault]'") from error
    return hvac
