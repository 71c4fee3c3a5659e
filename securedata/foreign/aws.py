"""Calls to AWS, or to servers that speak its API: credentials, clients, and one map from botocore's errors to causes.

Callers have their own error classes; only this module decides on the cause.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from securedata.errors import SecuredataError
from securedata.foreign.describe import chain, code_text, describe
from securedata.foreign.quiet import quiet
from securedata.printable import printable

EXPIRED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)
"""Codes for credentials that expired or are unknown: any of them can occur after a session ends."""

_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
_SIGNATURE = frozenset({"SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature"})

THROTTLED = frozenset(
    {"ThrottlingException", "Throttling", "RequestLimitExceeded", "LimitExceededException", "SlowDown"}
)
"""Codes that ask to slow down."""


class AWSKeys(NamedTuple):
    """AWS credentials at one moment."""

    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        return f"AWSKeys({self.access_key!r})"


Credentials = Callable[[bool], AWSKeys]
"""Returns current credentials. Called with True, after the old ones were refused, it gets new ones."""


class Cause(Enum):
    """Why there was no answer."""

    CREDENTIALS = "no credentials, or incomplete ones"
    PROFILE = "a profile that does not exist, or a file of profiles that cannot be read"
    SIGN_IN = "the user's sign-in expired"
    SETUP = "settings: a profile, a URL, a file, a proxy"
    ARGUMENT = "a name or value that the service does not accept"
    ANSWER = "not an answer of this service"
    CERTIFICATE = "the server's certificate cannot be verified"
    NETWORK = "no connection, or no answer in time"


class Failed(Exception):
    """A call without an answer. The text holds no secret, and no error of botocore is chained."""

    def __init__(self, cause: Cause, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class Refused(Exception):
    """An answer that is an error.

    Attributes:
        response: as in botocore's ClientError, but only with code, status, tries, date and region.
    """

    def __init__(self, response: Mapping[str, Any]) -> None:
        super().__init__(str(response["Error"]["Code"] or response["ResponseMetadata"]["HTTPStatusCode"]))
        self.response = response

    @property
    def code(self) -> str:
        """The server's code, '' if it sent none."""
        return str(self.response["Error"]["Code"])

    @property
    def status(self) -> int:
        """The HTTP status, 0 if there is none."""
        return int(self.response["ResponseMetadata"]["HTTPStatusCode"])

    @property
    def said(self) -> str:
        """Code or status, for an error text."""
        return self.code or str(self.status)

    @property
    def expired(self) -> bool:
        """Whether the credentials expired, or are unknown."""
        return self.code in EXPIRED


def of_signature(code: str) -> str:
    """What to check if a server rejects our signature, rather than our permissions; '' for other codes."""
    if code in _CLOCK:
        return "the clock of this machine is wrong: set it"
    if code in _SIGNATURE:
        return "the server rejects the signature: check the secret key, the region and the clock of this machine"
    return ""


_T = TypeVar("_T")


def ask(call: Callable[[], _T]) -> _T:
    """Make a botocore call, without letting it log and without letting its errors out.

    Raises:
        Refused, Failed
        SecuredataError: our own errors that `call` raises.
    """
    failure: Exception
    try:
        with quiet():
            return call()
    except (SecuredataError, Refused, Failed):
        raise
    except Exception as error:  # noqa: BLE001 - of any library's class; raised below as ours
        failure = _failure(error)
    # raised outside the handler, so that nothing that walks the traceback reaches the library's error
    raise failure


def _failure(error: Exception) -> Exception:
    response = getattr(error, "response", None)
    if isinstance(response, Mapping) and ("Error" in response or "ResponseMetadata" in response):
        return Refused(_kept(response))
    return Failed(cause_of(error), _text(error))


def _kept(response: Mapping[str, Any]) -> dict[str, Any]:
    meta = response.get("ResponseMetadata") or {}
    headers = meta.get("HTTPHeaders") or {}
    details = response.get("Error") or {}
    kept = {name: printable(str(headers[name])) for name in ("date", "x-amz-bucket-region") if name in headers}
    region = re.sub(r"[^A-Za-z0-9-]", "", str(details.get("Region", "")))[:64]
    return {
        "Error": {"Code": code_text(str(details.get("Code", ""))), "Region": region},
        "ResponseMetadata": {
            "HTTPStatusCode": int(meta.get("HTTPStatusCode") or 0),
            "RetryAttempts": int(meta.get("RetryAttempts") or 0),
            "HTTPHeaders": kept,
        },
    }


def _text(error: Exception) -> str:
    """As `describe`, with the name of the file from AWS's own configuration."""
    said = describe(error)
    for one in chain(error):
        if isinstance(one, _OF_FILES) and isinstance(name := one.filename, str) and _is_name(name):
            return f"{printable(name)[:200]} cannot be read ({said})"
    if type(error).__module__.partition(".")[0] != "botocore" and _passed(error, *_OF_KEYS):
        if cause_of(error) is Cause.SIGN_IN:
            return said if isinstance(error, EOFError) else "the credentials from a profile or a process have expired"
        return f"{_CREDENTIALS} ({said})"
    return said


def _is_name(name: str) -> bool:
    """Whether it is the name of a file or command, and not a token or command line set by mistake."""
    return "://" not in name and " -" not in name and (name.startswith(("/", "~", ".")) or len(name) <= 32)


_CREDENTIALS = "the credentials from a profile, a process or the environment are not in the form that AWS defines"


_CAUSES = {
    "NoCredentialsError": Cause.CREDENTIALS,
    "PartialCredentialsError": Cause.CREDENTIALS,
    "NoAuthTokenError": Cause.CREDENTIALS,
    "CredentialRetrievalError": Cause.CREDENTIALS,
    "MetadataRetrievalError": Cause.CREDENTIALS,
    "ProfileNotFound": Cause.PROFILE,
    "ConfigParseError": Cause.PROFILE,
    "SSOError": Cause.SIGN_IN,
    "LoginError": Cause.SIGN_IN,
    "TokenRetrievalError": Cause.SIGN_IN,
    "RefreshWithMFAUnsupportedError": Cause.SIGN_IN,
    "ParamValidationError": Cause.ARGUMENT,
    "ResponseParserError": Cause.ANSWER,
    "ParseError": Cause.ANSWER,
    "ChecksumError": Cause.ANSWER,
    "FlexibleChecksumError": Cause.ANSWER,
    # only wrong settings cause these, even if a network class wraps them
    "SSLCertVerificationError": Cause.CERTIFICATE,
    "LocationValueError": Cause.SETUP,
    "InvalidURL": Cause.SETUP,
    "InvalidSchema": Cause.SETUP,
    "MissingSchema": Cause.SETUP,
    "InvalidHeader": Cause.SETUP,
    "InvalidProxyURL": Cause.SETUP,
    "URLSchemeUnknown": Cause.SETUP,
    "ProxySchemeUnknown": Cause.SETUP,
    "UnicodeError": Cause.SETUP,
}
_OF_NETWORK = frozenset(
    {
        *("HTTPClientError", "IncompleteReadError", "HTTPError", "HTTPException"),  # botocore, urllib3, http.client
        *("ConnectionError", "Timeout", "TimeoutError", "ChunkedEncodingError", "ContentDecodingError", "gaierror"),
    }
)
_OF_KEYS = ("credentials.py", "configloader.py", "tokens.py")
_BAD_PEM = ("NO_CERTIFICATE_OR_CRL_FOUND", "NO_START_LINE", "BAD_BASE64_DECODE", "BAD_END_LINE")
_OF_FILES = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


def cause_of(error: BaseException) -> Cause:
    """Why a call was not answered, from an error and those that it wraps."""
    if _passed(error, "parsers.py") and type(error).__name__ not in _CAUSES:
        return Cause.ANSWER  # of any class, such as for a malformed time or number
    if type(error) in (RuntimeError, EOFError) and _passed(error, "credentials.py"):
        return Cause.SIGN_IN  # expired credentials, or no MFA code was typed
    network = False
    for one in chain(error):
        names = {kind.__name__ for kind in type(one).__mro__}
        for name, cause in _CAUSES.items():
            if name in names:
                return cause
        if isinstance(one, _OF_FILES) or getattr(one, "reason", None) in _BAD_PEM:
            return Cause.SETUP
        if isinstance(one, ValueError) and not names & _OF_NETWORK:
            return Cause.SETUP  # a URL or header that was refused while the request was prepared
        if names & _OF_NETWORK or (isinstance(one, OSError) and isinstance(one.errno, int)):
            network = True
        elif isinstance(one, OSError):
            return Cause.SETUP  # requests raises this for a CA bundle
    if network:
        return Cause.NETWORK
    # raised because of a file's or process's content while botocore looked for credentials, or made a client (args.py)
    of_settings = _passed(error, *_OF_KEYS, "args.py")
    odd = isinstance(error, (AttributeError, KeyError, TypeError)) and not of_settings
    return Cause.ANSWER if odd else Cause.SETUP


def _passed(error: BaseException, *names: str) -> bool:
    """Whether it was raised in, or in a call from, one of these files of botocore."""
    at = error.__traceback__
    while at is not None:
        folder, name = os.path.split(at.tb_frame.f_code.co_filename)
        if name in names and os.path.basename(folder) == "botocore":
            return True
        at = at.tb_next
    return False


# ------------------------------------------------------------ keys and clients


def clean_keys(access_key: str, secret_key: str, token: str | None) -> AWSKeys:
    """Credentials without the spaces and line ends that a file or a mounted secret leaves around them.

    Raises:
        Failed: one holds a character that a header must not hold.
    """
    if not all(isinstance(one, str) for one in (access_key, secret_key, token or "")):
        raise Failed(Cause.SETUP, _CREDENTIALS)  # a process may print any JSON
    keys = AWSKeys(access_key.strip(), secret_key.strip(), token.strip() if token else token)
    if any(one and not (one.isascii() and one.isprintable()) for one in keys):
        raise Failed(
            Cause.SETUP,
            "an AWS access key, secret key or session token holds a line end or another character that is not allowed",
        )
    return keys


def session_keys(session: Any) -> AWSKeys | None:
    """The credentials of a botocore session; None if it finds none. Call it through `ask`."""
    found = session.get_credentials()
    if found is None:
        return None
    frozen = found.get_frozen_credentials()
    return clean_keys(frozen.access_key, frozen.secret_key, frozen.token)


_models: Any = None
_PROXIES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


def new_session(profile: str | None = None, region: str | None = None) -> Any:
    """A botocore session; all sessions of a process share the API's models, which take 15 MB and 0.1 s to load.

    Call it through `ask`.
    """
    global _models
    from botocore.session import Session

    session = Session(profile=profile)
    # a trailing line end, common in files and secrets, passes botocore's own check but must not be in a header
    if region := (region or session.get_config_variable("region") or "").strip():
        session.set_config_variable("region", region)
    if _models is None:
        _models = session.get_component("data_loader")
    else:
        session.register_component("data_loader", _models)
    ca_bundle(session)  # also for the clients that botocore makes by itself to get credentials
    return session


def new_client(session: Any, service: str, keys: AWSKeys | None = None, **options: Any) -> Any:
    """A botocore client. Call it through `ask`.

    Args:
        keys: those of a role's session; None: the session's own.
        options: as `create_client` takes them.

    Raises:
        Failed: the endpoint holds a user, a password or a query, which would be stored and shown.
    """
    if keys is None:
        _clean_static_keys(session)
    else:
        options |= {"aws_access_key_id": keys[0], "aws_secret_access_key": keys[1], "aws_session_token": keys[2]}
    client = session.create_client(service, **options)
    check_url(client.meta.endpoint_url, "the endpoint")
    proxy_for(client.meta.endpoint_url)
    return client


def proxy_for(url: str) -> str:
    """The proxy that botocore would use for a URL; "" for none.

    Raises:
        Failed: an impossible proxy.
    """
    from botocore.utils import get_environ_proxies

    found = str(get_environ_proxies(url).get(url.partition(":")[0], ""))
    if found:
        check_url(found if "://" in found else f"http://{found}", "the proxy", _PROXIES)
    return found


def ca_bundle(session: Any) -> str:
    """The file of CA certificates that botocore uses. Call it through `ask`.

    An empty setting, as compose files produce, counts as unset: some versions of botocore would verify nothing, and
    others refuse it.

    Raises:
        Failed: it does not exist, which botocore would notice only when a server answers.
    """
    from botocore.httpsession import where

    named = str(session.get_config_variable("ca_bundle") or "").strip()
    named = named or os.environ.get("REQUESTS_CA_BUNDLE", "").strip()
    if named and not os.path.exists(named):
        text = f"the file with CA certificates (AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE, ca_bundle) does not exist: {named}"
        raise Failed(Cause.SETUP, printable(text))
    found = str(named or where())
    session.set_config_variable("ca_bundle", found)
    return found


def _clean_static_keys(session: Any) -> None:
    """Clean the session's keys: botocore sends those of the environment and files unchanged, line ends included."""
    from botocore.credentials import Credentials as Static

    found = session.get_credentials()
    if type(found) is Static:
        frozen = found.get_frozen_credentials()
        was = AWSKeys(frozen.access_key, frozen.secret_key, frozen.token)
        if (keys := clean_keys(*was)) != was:
            session.set_credentials(*keys)


def check_url(url: str, what: str, schemes: tuple[str, ...] = ("http", "https")) -> None:
    """Refuse an endpoint or proxy that cannot work or must not be shown.

    Raises:
        Failed: not a URL, an impossible port, or a user, password or query where none may be.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in schemes and bool(parts.hostname)
        good = good and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is not a number, or brackets without an address
        good = False
    if not good:
        raise Failed(Cause.SETUP, f"{what} is not a URL; write {schemes[0]}://HOST:PORT")
    if what != "the proxy" and ("@" in parts.netloc or parts.query or parts.fragment):
        raise Failed(Cause.SETUP, f"{what} must not hold a user, a password or a query, because it is shown")
