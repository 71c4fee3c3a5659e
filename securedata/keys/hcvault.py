"""`hcvault://HOST:PORT/MOUNT/keys/NAME`: a transit key of HashiCorp Vault or OpenBao.

The key must be made with `derived=true`: the service binds the encryption context only then. Its owner makes it; we
never do, although the service would make a missing key on encryption. TLS is required; `hcvault+http://` is for a
server on this machine. The token is VAULT_TOKEN, BAO_TOKEN or ~/.vault-token; the address comes from the URI alone:
VAULT_ADDR overrides nothing, and no redirect is followed, because token and key would go along.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import json
import os
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from securedata.errors import InvalidKMSURI, KeysError, KMSDenied, KMSMisconfigured, KMSThrottled, KMSUnreachable
from securedata.files import home_folder, read_small
from securedata.foreign.aws import Cause, cause_of
from securedata.foreign.deadline import within
from securedata.foreign.describe import describe, http_status, type_name
from securedata.foreign.quiet import quiet
from securedata.keys.kms import KMS, Context, Fate, context_bytes
from securedata.printable import printable, without_secrets

_SCHEMES = {"hcvault": "https", "hcvault+http": "http"}
_TIMEOUT = 10
_SECONDS = 30.0  # for one call
_LONGEST_TOKEN = 65536


class VaultKMS(KMS):
    """A transit key. The token is read again for every call, so that a renewed one is used."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._key = _parse(uri)
        if self._key[0] == "hcvault+http" and not _loopback(self._key[1]):
            raise InvalidKMSURI(
                f"{without_secrets(uri)!r}: hcvault+http:// sends keys in clear text; use it for a server on this "
                "machine only, and hcvault:// for others"
            )

    @property
    def wrap_uri(self) -> str:
        return self.uri

    def matches(self, wrap_uri: str) -> bool:
        try:
            return _parse(wrap_uri) == self._key
        except InvalidKMSURI:
            return False

    def wrap(self, key: bytes, context: Context) -> bytes:
        self._refuse_missing(context)
        plaintext = base64.b64encode(key).decode()
        return self._call("encrypt_data", lambda data: data["ciphertext"].encode(), context, plaintext=plaintext)

    def unwrap(self, blob: bytes, context: Context) -> bytes:
        text = blob.decode("ascii", "replace")
        return self._call("decrypt_data", lambda data: base64.b64decode(data["plaintext"]), context, ciphertext=text)

    def fate(self, version: int | None) -> Fate:
        """Trimming destroys versions; raising `min_decryption_version` does not, since it can be lowered again."""
        try:
            found = json.loads(self._call("read_key", lambda data: json.dumps(data).encode(), {}, passes=404))
        except _Passed:
            return Fate("destroyed", "the service has no such key")
        try:
            least, newest = int(found.get("min_available_version") or 0), int(found["latest_version"])
        except (KeyError, TypeError, ValueError):
            raise KMSUnreachable(
                f"{self.uri}: a transit engine would not answer like this; check the address"
            ) from None
        answer = f"the service keeps versions {max(least, 1)} to {newest}"
        if version is None:
            return Fate("lives", f"{answer}; which one made the wrap is not recorded")
        return Fate("destroyed" if version < least else "lives", f"{answer}; version {version} made the wrap")

    def _refuse_missing(self, context: Context) -> None:
        """Ask first whether the key exists: on encryption the service makes it, if the token's policy has `create`.

        Raises:
            KMSDenied: there is no such key; or the token cannot decrypt, and without that no wrap is made either.
        """
        with contextlib.suppress(_Passed):
            self._call("read_key", lambda data: b"", {}, passes=403)
            return
        # the policy forbids reading the key; decrypting never makes one, and shows whether it exists
        with contextlib.suppress(_Passed):
            self._call("decrypt_data", lambda data: b"", context, passes=400, ciphertext="vault:v1:AAAA")

    def _call(
        self, operation: str, read: Callable[[Any], bytes], context: Context, passes: int = 0, **arguments: str
    ) -> bytes:
        """The service's answer.

        Args:
            passes: a status that is raised as `_Passed`, unless it means that there is no such key; 404 means that,
                unless it means that nothing is mounted there.
        """
        if context:
            arguments["context"] = base64.b64encode(context_bytes(context)).decode()
        failure: Exception
        try:
            with quiet():
                return self._asked(operation, read, arguments)
        except KeysError:
            raise
        except Exception as error:  # noqa: BLE001 - of hvac, requests or what they use; raised below as ours
            # a mount that was moved, or is in another namespace, has its keys all the same
            other = _has_no_mount(error) if passes == 404 else _is_missing(error)
            passed = passes and _status_of(error) == passes and not other
            failure = _Passed() if passed else self._failure(error)
        # raised here and not in the handler: no traceback then holds the library's error, which quotes token and key
        raise failure

    def _asked(self, operation: str, read: Callable[[Any], bytes], arguments: dict[str, str]) -> bytes:
        hvac = _hvac()
        import requests

        scheme, host, mount, name = self._key
        session = requests.Session()
        session.verify = _ca_bundle(self.uri)
        # over http:// a proxy would see the keys in clear text, and the server is on this machine
        session.trust_env = scheme == "hcvault"
        client = hvac.Client(
            url=f"{_SCHEMES[scheme]}://{host}",
            token=_token(self.uri),
            namespace=os.environ.get("VAULT_NAMESPACE", "").strip() or None,
            timeout=_TIMEOUT,
            session=session,
            allow_redirects=False,
        )
        try:
            # hvac returns a redirect like any answer, and its body like the data, so the status is checked here
            asked = partial(getattr(client.secrets.transit, operation), name=name, mount_point=mount, **arguments)
            answer = within(_SECONDS, asked)
            status = getattr(answer, "status_code", 200)
            if not isinstance(answer, dict) and 300 <= status < 400:
                raise KMSUnreachable(self._redirected(answer))
            return read(answer["data"])
        finally:
            client.adapter.close()

    def _redirected(self, answer: Any) -> str:
        target = without_secrets(str(answer.headers.get("Location", "")))
        return (
            f"{self.uri}: redirected{f' to {target}' if target else ''}, which is not followed, because token and key "
            "would go along: name the address of the server that answers"
        )

    def _failure(self, error: Exception) -> KeysError:
        """Our error for one of hvac, or of a library that it uses."""
        kind = type(error).__name__
        hvac = _of_hvac(error)
        status = _status_of(error)
        if _is_missing(error):
            _, _, mount, name = self._key
            return KMSDenied(
                f"{self.uri}: there is no such transit key, and securedata never makes one: make it with "
                f"'vault write {mount}/keys/{name} derived=true' (OpenBao: 'bao write'), or correct the URI"
            )
        if status in (401, 403):
            return KMSDenied(
                f"{self.uri}: {_REASONS[status]}; the token expired, was revoked, or its policy does not allow "
                "this key under the corpus's context: sign in again, or have the policy changed"
            )
        if status == 400:
            return KMSDenied(f"{self.uri}: {_REASONS[status]}; not a wrap of this key under the corpus's context")
        if status == 429:
            return KMSThrottled(f"{self.uri}: too many calls; try again later, or raise its limit")
        if hvac:
            return KMSUnreachable(f"{self.uri}: {_REASONS.get(status, type_name(error))}; check address and network")
        if isinstance(error, (AttributeError, KeyError, TypeError)) or kind in ("JSONDecodeError", "Error"):
            return KMSUnreachable(f"{self.uri}: a transit engine would not answer like this; check the address")
        cause = cause_of(error)
        if cause is Cause.CERTIFICATE:
            return KMSUnreachable(f"{self.uri}: {describe(error)}; check VAULT_CACERT and the address")
        if cause is Cause.NETWORK:
            return KMSUnreachable(f"{self.uri}: {describe(error)}; check address and network{self._elsewhere()}")
        advice = "check VAULT_CACERT, REQUESTS_CA_BUNDLE, the token and the proxy that the environment sets"
        return KMSMisconfigured(f"{self.uri}: {describe(error)}; {advice}")

    def _elsewhere(self) -> str:
        """A hint if the environment names another server than the URI."""
        for name in ("VAULT_ADDR", "BAO_ADDR"):
            named = os.environ.get(name, "").partition("://")[2].strip("/ ").lower()
            if named and named != self._key[1]:
                return f"; the address comes from the URI alone, {name} is not used"
        return ""


class _Passed(Exception):
    """The service refused, as expected."""


def _of_hvac(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] == "hvac"


def _status_of(error: Exception) -> int:
    """The HTTP status of an answer that hvac raised, else 0."""
    return _STATUS.get(type(error).__name__, http_status(error)) if _of_hvac(error) else 0


def _is_missing(error: Exception) -> bool:
    """Whether the service says that it has no such key, or no such mount."""
    status = _status_of(error)
    return status == 404 or (status == 400 and "encryption key not found" in str(error))


def _has_no_mount(error: Exception) -> bool:
    """Whether the service says that nothing is mounted there."""
    return "no handler for route" in str(error)


_STATUS = {"InvalidRequest": 400, "Unauthorized": 401, "Forbidden": 403, "InvalidPath": 404, "RateLimitExceeded": 429}
_STATUS |= {"InternalServerError": 500, "VaultNotInitialized": 501, "BadGateway": 502, "VaultDown": 503}
_REASONS = {
    400: "invalid request",
    401: "permission denied",
    403: "permission denied",
    500: "internal error of the server",
    501: "the server is not initialised",
    502: "a server in between answered 502",
    503: "the server is sealed or in maintenance",
}


def _parse(uri: str) -> tuple[str, str, str, str]:
    """Scheme, host and port, mount and key name."""
    try:
        parts = urlsplit(uri)
    except ValueError:  # brackets that hold no address
        parts = urlsplit("")
    mount, separator, name = parts.path.strip("/").rpartition("/keys/")
    plain = parts.username is None and not parts.query and not parts.fragment
    if parts.scheme not in _SCHEMES or not parts.netloc or not separator or not mount or not name or not plain:
        raise InvalidKMSURI(
            f"{without_secrets(uri)!r}: a Vault URI is hcvault://HOST:PORT/MOUNT/keys/NAME, without user or query"
        )
    return parts.scheme, parts.netloc.lower(), mount, name


def _loopback(netloc: str) -> bool:
    host = urlsplit(f"//{netloc}").hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _token(uri: str) -> str:
    found = ((name, os.environ.get(name, "").strip()) for name in ("VAULT_TOKEN", "BAO_TOKEN"))
    source, token = next(((name, token) for name, token in found if token), ("", ""))
    if not token:
        source = "~/.vault-token"
        try:
            token = read_small(home_folder() / ".vault-token", _LONGEST_TOKEN).decode("latin-1").strip()
        except (OSError, RuntimeError):  # RuntimeError: this user has no home
            token = ""
    if not token:
        raise KMSDenied(f"{uri}: no token: set VAULT_TOKEN, or sign in with 'vault login' or 'bao login'")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise KMSMisconfigured(f"{uri}: {source} holds a line end, a space or another character that tokens never have")
    return token


def _ca_bundle(uri: str) -> str | bool:
    named = os.environ.get("VAULT_CACERT", "").strip()
    if named and not os.path.exists(named):
        raise KMSMisconfigured(printable(f"{uri}: the file that VAULT_CACERT names does not exist: {named}"))
    if named and os.path.isfile(named):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(named)
        except OSError:
            text = f"{uri}: the file that VAULT_CACERT names holds no PEM certificate: {named}"
            raise KMSMisconfigured(printable(text)) from None
    return named or True


def _hvac() -> Any:
    try:
        import hvac
        import hvac.exceptions
    except ImportError:
        text = "Vault and OpenBao need hvac: pip install 'securedata-torch[vault]'"
        raise KMSMisconfigured(text) from None
    return hvac
