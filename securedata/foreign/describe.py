"""Describe another library's error in words that cannot hold a secret.

Error texts of other libraries quote their input: header values, URLs with a password, transcripts, whole documents. So
none is passed on. A known class is described from here, by its own fixed texts, or by attributes that are numbers or
names; any other by the name of its class.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
from collections.abc import Iterator

from securedata.errors import SecuredataError
from securedata.printable import LONGEST, printable, without_secrets

ANOTHER_PROFILE = "name another one as profile in the config entry"
"""The advice to a session that would get its credentials from itself."""

_NAME = re.compile(r"[A-Za-z_][\w.]{0,79}", re.ASCII)
_HEADER = (
    "a header cannot be sent: a token or key holds a line end or another character that headers must not hold; "
    "set it without that character"
)
_BAD_URL = "a URL or proxy cannot be parsed; write https://HOST:PORT"

# Texts recognised by their beginning; the rest is not passed on.
_BEGINNINGS = {
    "Invalid endpoint": "the endpoint is not a URL; write https://HOST:PORT",
    "Invalid header": _HEADER,
    "Invalid leading whitespace": _HEADER,
    "Header part": _HEADER,
    "Header value": _HEADER,
    "Port ": "the port of a URL is not a number from 0 to 65535",
    "Invalid IPv6 URL": "the brackets of a URL do not hold an IPv6 address",
    "Could not find a suitable TLS CA certificate bundle": "the file with CA certificates does not exist",
    "Could not find the TLS": "the file with a client certificate or its key does not exist",
}

# of requests, urllib3, http.client, botocore: by the name of the class
_CLASSES = {
    "BadStatusLine": "the server does not speak HTTP",
    "UnknownProtocol": "the server does not speak HTTP",
    "ChunkedEncodingError": "the answer was cut short",
    "IncompleteRead": "the answer was cut short",
    "ProtocolError": "the connection broke",
    "ContentDecodingError": "the answer cannot be decompressed",
    "DecodeError": "the answer cannot be decompressed",
    "ConnectTimeout": "the connection timed out",
    "ConnectTimeoutError": "the connection timed out",
    "ReadTimeout": "no answer in time",
    "ReadTimeoutError": "no answer in time",
    "RemoteDisconnected": "the server closed the connection without an answer",
    "TooManyRedirects": "the server redirects again and again",
    "InvalidHeader": _HEADER,
    "InvalidProxyURL": "the URL of a proxy cannot be parsed; write http://HOST:PORT",
    "InvalidSchema": _BAD_URL,
    "InvalidURL": _BAD_URL,
    "LocationParseError": _BAD_URL,
    "LocationValueError": _BAD_URL,
    "MissingSchema": _BAD_URL,
    "ProxySchemeUnknown": "the URL of a proxy cannot be parsed; write http://HOST:PORT",
    "ProxySchemeUnsupported": "a proxy of this kind cannot be used",
    "NameResolutionError": "unknown host name",
    "gaierror": "unknown host name",
    "NewConnectionError": "no connection",
    "RecursionError": "nested too deeply",
    "EOFError": "a code was asked for, but there is no terminal to type it in",
    "ProxyError": "the proxy cannot be used",
    "InvalidProxiesConfigError": "the proxy that is set cannot be used",
    "InvalidConfigError": "a setting in ~/.aws/config or the environment is missing or has an invalid value",
    "InvalidChecksumConfigError": "a setting of checksums is neither when_supported nor when_required",
    "InvalidRetryModeError": "the retry mode is not legacy, standard or adaptive",
    "InvalidDefaultsMode": "botocore does not know the defaults mode",
    "ParamValidationError": "a name or value breaks the rules of the service",
    "CredentialRetrievalError": "the source of credentials that a profile or the environment names failed",
    "MetadataRetrievalError": "the service that gives this machine its credentials did not answer correctly",
    "EndpointProviderError": "no endpoint fits these settings",
    "InvalidEndpointConfigurationError": "no endpoint fits these settings",
    "ResponseParserError": "the answer is not one of this service",
    "ParseError": "the answer is not XML",
    "BadZipFile": "not a zip file, or a damaged one",
}

# kwargs of botocore's errors that name settings or places
_PLACES = frozenset({"endpoint_url", "proxy_url", "endpoint"})
_NAMES = frozenset(
    {"profile", "provider", "path", "region_name", "service_name", "operation_name", "cred_var", "checksum_type"}
)

_TYPES = r"[\w\[\]<>():,= ]{1,120}"
_ARROW = (
    re.compile(rf"Function '\w{{1,40}}' has no kernel matching input types \({_TYPES}\)"),
    re.compile(r"No match for FieldRef\.Name\(\w{1,60}\)"),
    re.compile(r"Not an Arrow file|File is too small|Unsupported cast from \w{1,40} to \w{1,40}"),
)
_JSON = frozenset(
    {
        "Expecting value",
        "Expecting property name enclosed in double quotes",
        "Expecting ':' delimiter",
        "Expecting ',' delimiter",
        "Extra data",
        "Invalid control character at",
        "Unterminated string starting at",
        "Illegal trailing comma before end of object",
        "Illegal trailing comma before end of array",
    }
)
_CSV = re.compile(
    r"field larger than field limit \(\d+\)|line contains NUL|unexpected end of data|"
    r"new-line character seen in unquoted field|'.' expected after '.'"
)
_TOML = re.compile(r"at (?:line \d+,? col(?:umn)? \d+|end of document)")


def describe(error: BaseException) -> str:
    """Describe another library's error in one line of at most `LONGEST` characters.

    The line holds no secret, value, header, query of a URL or file name, whatever the library wrote.
    """
    if isinstance(error, SecuredataError):
        return printable(" ".join(str(error).split()))
    said, last = "", ""
    for one in chain(error):
        words = _words(one)
        said = said or words
        if isinstance(one, OSError) and words:
            last = words
    said = said or type_name(error)
    if last and last not in said:
        said = f"{said}: {last}"
    return printable(said)[:LONGEST]


def type_name(error: BaseException) -> str:
    """The name of an error's class, and the HTTP status if it has one."""
    name = type(error).__name__
    name = name if _NAME.fullmatch(name) else "an error"
    status = http_status(error)
    return f"{name}, HTTP status {status}" if status else name


def http_status(error: BaseException) -> int:
    """The HTTP status in a client's error; 0 if there is none."""
    for attribute in ("status", "status_code", "code"):
        found = str(getattr(error, attribute, None))
        if found.isascii() and found.isdecimal() and 100 <= int(found) <= 599:
            return int(found)
    return 0


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it wraps, each once, outermost first."""
    waiting: list[object] = [error]
    seen: list[int] = []
    while waiting and len(seen) < 16:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.append(id(one))
        yield one
        kwargs = getattr(one, "kwargs", None)
        waiting += [kwargs.get("error")] if isinstance(kwargs, dict) else []
        waiting += [getattr(one, "reason", None), getattr(one, "original_error", None), *one.args]
        waiting += [one.__cause__, one.__context__]


def _words(error: BaseException) -> str:
    """The words for one class; '' for an unknown one."""
    name = type(error).__name__
    module = type(error).__module__.partition(".")[0]
    if isinstance(error, ssl.SSLError):
        return _of_tls(error)
    if isinstance(error, socket.gaierror):
        return _CLASSES["gaierror"]
    if isinstance(error, OSError) and isinstance(error.errno, int):
        return os.strerror(error.errno)
    if isinstance(error, UnicodeDecodeError):
        return f"not text in the right encoding (byte {error.start})"
    if isinstance(error, UnicodeEncodeError):
        return "a character that cannot be sent"
    if isinstance(error, json.JSONDecodeError):
        reason = error.msg if error.msg in _JSON else "invalid"
        return f"not JSON ({reason}, line {error.lineno}, column {error.colno})"
    if isinstance(error, ImportError):
        return f"{error.name} is not installed" if _NAME.fullmatch(error.name or "") else ""
    if module == "botocore" and hasattr(error, "kwargs"):
        return _of_botocore(error)
    if module == "botocore" and hasattr(error, "response"):
        return f"refused ({code_of(error)})"
    if module == "soundfile" and isinstance(getattr(error, "code", None), int):
        return str(getattr(error, "error_string", ""))  # from libsndfile's own table
    if module == "pyarrow":
        return next((found[0] for pattern in _ARROW if (found := pattern.search(str(error)))), "")
    if module == "pycurl" and error.args and isinstance(error.args[0], int):
        return f"libcurl error {error.args[0]}"
    if module == "_csv":
        found = _CSV.search(str(error))
        return found[0] if found else "not CSV"
    if module in ("tomllib", "tomlkit"):
        found = _TOML.search(str(error))
        return f"not TOML{f' ({found[0]})' if found else ''}"
    if isinstance(error, (ValueError, OSError)):
        text = str(error)
        for beginning, words in _BEGINNINGS.items():
            if text.startswith(beginning):
                return words
    if module in ("requests", "urllib3", "http", "botocore", "zipfile", "xml"):
        for kind in type(error).__mro__:
            if kind.__name__ in _CLASSES:
                return _CLASSES[kind.__name__]
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return _CLASSES.get(name, "") if module == "builtins" else ""


def _of_tls(error: ssl.SSLError) -> str:
    reason = str(getattr(error, "reason", "") or "")
    reason = reason if re.fullmatch(r"[A-Z0-9_]{1,60}", reason) else ""
    text = str(getattr(error, "verify_message", "") or "") or reason.replace("_", " ").lower()
    return f"TLS: {text[:120]}" if text else "TLS failed"


def _of_botocore(error: BaseException) -> str:
    kwargs: dict[str, object] = getattr(error, "kwargs", {})
    words = next((_CLASSES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _CLASSES), "")
    if type(error).__name__ == "HTTPClientError":  # a wrapper without a reason of its own
        inner = kwargs.get("error")
        return (_words(inner) if isinstance(inner, BaseException) else "") or "a request could not be made"
    if words:
        said = words + (f" ({_value('provider', kwargs['provider'])})" if "provider" in kwargs else "")
        # a credential_process's text is not passed on, except this advice, which 'securedata session' gives itself
        return f"{said}: it asks this command again: {ANOTHER_PROFILE}" if ANOTHER_PROFILE in str(error) else said
    form = str(getattr(type(error), "fmt", "")).replace('"{', "{").replace('}"', "}")
    try:
        said = form.format(**{name: _value(name, value) for name, value in kwargs.items()})
    except (KeyError, IndexError, ValueError):  # the error lacks values for its own text
        return ""
    return " ".join(said.split()).rstrip(" :")


def _value(name: str, value: object) -> str:
    if name in _PLACES:
        return without_secrets(str(value))
    return str(value) if name in _NAMES else ""


def code_of(error: BaseException) -> str:
    """The code from a server with AWS's API, or else its HTTP status; the server's text is not passed on."""
    response = getattr(error, "response", {})
    code = str(response.get("Error", {}).get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return code_text(code) or str(status)


def code_text(code: str) -> str:
    """An error code from a server, if it looks like one; else ''."""
    return code if re.fullmatch(r"[A-Za-z][\w.:-]{0,63}", code, re.ASCII) else ""
