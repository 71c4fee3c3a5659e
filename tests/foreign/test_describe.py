"""What other libraries raise, write and log reaches people without what it quotes."""

from __future__ import annotations

import csv
import dataclasses
import http.client
import importlib
import inspect
import json
import logging
import pkgutil
import re
import socket
import ssl
import threading
import tomllib
import uuid
import zipfile
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import botocore.exceptions
import botocore.parsers
import botocore.session
import hvac.exceptions
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import requests.exceptions
import soundfile
import tomlkit.exceptions
import urllib3.exceptions

import securedata
from securedata.errors import StorageUnreachable
from securedata.foreign.aws import AWSKeys, Cause, Failed, Refused, ask, cause_of, clean_keys
from securedata.foreign.describe import describe
from securedata.foreign.quiet import quiet
from securedata.printable import LONGEST, printable, printable_lines, without_secrets
from tests.kit.secrets import everything_logged, held, told

SECRET = "s3cr3t-TOKEN/value+with=signs"
NAMED = {
    "profile": "mine",
    "provider": "env",
    "path": "/c",
    "region_name": "r",
    "service_name": "s",
    "checksum_type": "c",
}
NAMED |= {"operation_name": "o", "cred_var": "v", "endpoint_url": f"https://u:{SECRET}@h/p?t={SECRET}"}
NAMED |= {"proxy_url": f"http://u:{SECRET}@h", "endpoint": f"http://h/?{SECRET}"}

MODULES = (botocore.exceptions, botocore.parsers, hvac.exceptions, requests.exceptions, urllib3.exceptions)
OTHERS = [http.client, json, csv, tomllib, tomlkit.exceptions, ssl, socket, pa.lib, soundfile, zipfile]
BUILT_IN = (ValueError, KeyError, TypeError, AttributeError, OSError, RuntimeError, ConnectionResetError, TimeoutError)


def classes() -> list[type[BaseException]]:
    found: dict[str, type[BaseException]] = {f"builtins.{one.__name__}": one for one in BUILT_IN}
    for module in (*MODULES, *OTHERS):
        for _, one in inspect.getmembers(module, inspect.isclass):
            if issubclass(one, BaseException) and not issubclass(one, Warning):
                found[f"{one.__module__}.{one.__qualname__}"] = one
    return [found[name] for name in sorted(found)]


def made(kind: type[BaseException]) -> Iterator[BaseException]:
    """Errors of a class that hold the secret wherever it takes something."""
    names = {*re.findall(r"\{(\w+)\}", getattr(kind, "fmt", ""))}
    response = {"Error": {"Code": SECRET, "Message": SECRET}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    ways: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((), {}),
        ((SECRET,), {}),
        ((SECRET, SECRET), {}),
        ((SECRET, SECRET, SECRET), {}),
        ((5, SECRET, SECRET), {}),
        ((2, SECRET), {}),
        ((None, None, SECRET), {}),
        ((SECRET, SECRET, 0), {}),
        (("ascii", SECRET.encode(), 0, 1, SECRET), {}),
        ((), {name: NAMED.get(name, SECRET) for name in names}),
        ((), {"error": ValueError(SECRET), **{name: NAMED.get(name, SECRET) for name in names - {"error"}}}),
        ((response, SECRET), {}),
        ((1, 2, 3, SECRET), {}),
        ((SimpleNamespace(tell=int, length_remaining=1), SECRET.encode()), {}),
        ((SECRET.encode(), SECRET.encode()), {}),
    ]
    for args, kwargs in ways:
        try:
            yield kind(*args, **kwargs)
        except Exception:  # noqa: BLE001 - whatever a class says of a way that is not its own
            continue


@pytest.mark.parametrize("kind", classes(), ids=lambda one: f"{one.__module__}.{one.__name__}")
def test_no_class_of_another_library_carries_a_secret_into_a_text(kind: type[BaseException]) -> None:
    some = list(made(kind))
    assert some, "no way was found to make one: add it"
    for error in some:
        around = RuntimeError(SECRET, error)
        around.__cause__ = error
        for one in (error, around):
            assert not held(describe(one), [SECRET]), (error.args, describe(one))
            assert 0 < len(describe(one)) <= LONGEST
            assert isinstance(cause_of(one), Cause)


@pytest.mark.parametrize("kind", classes(), ids=lambda one: f"{one.__module__}.{one.__name__}")
def test_nor_out_of_a_call(kind: type[BaseException]) -> None:
    for error in made(kind):
        if not isinstance(error, Exception):
            continue

        def call(error: Exception = error) -> None:
            raise error

        with pytest.raises((Failed, Refused)) as caught:
            ask(call)
        assert not held(told(caught.value), [SECRET])
        assert caught.value.__context__ is None, "nobody who walks the chain meets it"


def test_what_we_raise_passes_a_call_as_it_is() -> None:
    ours = StorageUnreachable("away")

    def call() -> None:
        raise ours

    with pytest.raises(StorageUnreachable) as caught:
        ask(call)
    assert caught.value is ours


@pytest.mark.parametrize(
    ("error", "words", "cause"),
    [
        (ValueError(f"Invalid endpoint: {SECRET}"), "https://HOST:PORT", Cause.SETUP),
        (ValueError(f"Invalid header value {SECRET.encode()!r}"), "line end", Cause.SETUP),
        (ValueError("Port could not be cast to integer value as 'x'"), "0 to 65535", Cause.SETUP),
        (json.JSONDecodeError("Expecting value", SECRET, 0), "Expecting value, line 1", Cause.SETUP),
        (FileNotFoundError(2, "x", "/etc/token"), "No such file", Cause.SETUP),
        (ConnectionRefusedError(111, "x"), "Connection refused", Cause.NETWORK),
        (TimeoutError(), "no answer in time", Cause.NETWORK),
        (socket.gaierror(-2, "x"), "unknown host name", Cause.NETWORK),
        (botocore.exceptions.ProfileNotFound(profile="mine"), "profile (mine)", Cause.PROFILE),
        (botocore.exceptions.NoCredentialsError(), "Unable to locate credentials", Cause.CREDENTIALS),
        (botocore.exceptions.CredentialRetrievalError(provider="custom-process", error_msg=SECRET), "process", None),
        (
            botocore.exceptions.EndpointConnectionError(
                endpoint_url="http://127.0.0.1:9/k?x-amz-security-token=1", error=ConnectionRefusedError(111, "x")
            ),
            "http://127.0.0.1:9/k?...: Connection refused",
            Cause.NETWORK,
        ),
        (
            botocore.exceptions.HTTPClientError(error=ValueError(f"Invalid header value {SECRET!r}")),
            "line end",
            Cause.SETUP,
        ),
        (requests.exceptions.InvalidHeader(SECRET), "line end", Cause.SETUP),
        (urllib3.exceptions.LocationParseError(SECRET), "cannot be parsed", Cause.SETUP),
        (soundfile.LibsndfileError(1, SECRET), "ormat not recogni", None),
    ],
)
def test_a_known_cause_is_named(error: Exception, words: str, cause: Cause | None) -> None:
    assert words in describe(error)
    assert cause in (None, cause_of(error))


@pytest.mark.parametrize(
    ("name", "value"), [("LastModified", "soon"), ("LastModified", "1e400"), ("Size", "many"), ("Size", "1e3")]
)
def test_an_answer_that_cannot_be_read_is_no_matter_of_settings(name: str, value: str) -> None:
    session = botocore.session.Session()
    shape = session.get_service_model("s3").operation_model("ListObjectsV2").output_shape
    body = f"<ListBucketResult><Contents><{name}>{value}</{name}></Contents></ListBucketResult>".encode()
    with pytest.raises((ValueError, RuntimeError)) as caught:
        botocore.parsers.create_parser("rest-xml").parse({"body": body, "headers": {}, "status_code": 200}, shape)
    assert cause_of(caught.value) is Cause.ANSWER


def test_arrow_quotes_values_and_we_do_not() -> None:
    table = pa.table({"transcript": [f"hello {SECRET}"]})
    with pytest.raises(pa.ArrowException) as caught:
        table.column("transcript").cast(pa.int32())
    assert SECRET in str(caught.value), "or this tests nothing"
    assert describe(caught.value) == "ArrowInvalid"
    with pytest.raises(pa.ArrowException) as caught:
        table.filter(pc.field("transcript") + 1 > 3)
    assert "no kernel matching input types" in describe(caught.value)
    with pytest.raises(pa.ArrowException) as caught:
        table.filter(pc.field("speker") == "ann")
    assert "FieldRef.Name(speker)" in describe(caught.value)
    assert "ann" not in describe(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("https://user:pass@host/a", "https://...@host/a"),
        ("https://user:pa/ss@host/a?b#c", "https://...@host/a?..."),
        ("hcvault://t@h/transit/keys/k?token=x", "hcvault://...@h/transit/keys/k?..."),
        ("user:pass@host", "...@host"),
        ("s3://bucket/data@v2/a", "s3://bucket/data@v2/a"),
        ("s3://me:pass@bucket/data@v2", "s3://...@bucket/data@v2"),
        ("s3://bucket/a.zip::https://me:pass@h", "s3://...@h"),
        ("x://h/\x1b[2J", "x://h/\\u001b[2J"),
    ],
)
def test_a_url_is_shown_without_user_and_query(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


# ------------------------------------------------------------------------------------------- logs


def test_other_libraries_log_nothing_while_they_work_for_us_and_all_they_like_for_others() -> None:
    names = ("botocore.endpoint", "urllib3.connectionpool", "hvac", "requests.sessions", "boto3.resources", "s3fs.core")
    inside, outside = threading.Event(), threading.Event()

    def other() -> None:
        assert inside.wait(10)
        for name in names:
            logging.getLogger(name).debug("of another thread")
        outside.set()

    for name in names[-1:]:
        logging.getLogger(name)
    thread = threading.Thread(target=other)
    with everything_logged() as log:
        thread.start()
        with quiet():
            with quiet():
                pass
            for name in names:
                logging.getLogger(name).debug("%s", SECRET)
                logging.getLogger(name).error(SECRET, extra={"headers": SECRET})
            logging.getLogger("securedata").warning("ours")
            inside.set()
            assert outside.wait(10)
        thread.join()
        for name in names:
            logging.getLogger(name).debug("afterwards")
    assert not held("\n".join(log.records), [SECRET])
    assert len(log.of(*names)) == 2 * len(names)
    assert log.of("securedata")


def test_a_library_that_is_imported_by_a_call_of_ours_logs_nothing_either() -> None:
    """Its loggers are made within the call, and log at once."""
    name = f"google.cloud.made_{uuid.uuid4().hex}"
    with everything_logged() as log:
        with quiet():
            made = [logging.getLogger(name), logging.getLogger("azure").getChild(f"made_{uuid.uuid4().hex}")]
            for logger in made:
                logger.debug(SECRET)
        for logger in made:
            logger.debug("afterwards")
    assert not held("\n".join(log.records), [SECRET])
    assert len(log.of("google", "azure")) == 2


# ------------------------------------------------------------------------------------------- keys


def test_keys_lose_what_a_file_leaves_around_them_and_nothing_else() -> None:
    assert clean_keys(" a\n", "b\r\n", "\tc \n") == AWSKeys("a", "b", "c")
    assert clean_keys("a", "b", None).token is None
    for bad in ("a\nb", "a\r\nx-evil: 1", "a\x00", "ä"):
        with pytest.raises(Failed) as caught:
            clean_keys("a", "b", bad)
        assert not held(told(caught.value), [bad])


# ------------------------------------------------------------------------------------------- repr


LEFT = ("securedata.testing", "securedata.__main__", "securedata.integrations.")
"""Modules that are not looked at; the last ones import what is in .venv-eco only, and have neither data nor a repr."""


def package_classes() -> list[type]:
    found = {}
    for module in pkgutil.walk_packages(securedata.__path__, "securedata."):
        if module.name.startswith(LEFT):
            continue
        for _, one in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            named = issubclass(one, tuple) and hasattr(one, "_fields")
            if one.__module__.startswith("securedata") and (named or dataclasses.is_dataclass(one)):
                found[f"{one.__module__}.{one.__qualname__}"] = one
    return [found[name] for name in sorted(found) if not inspect.isabstract(found[name])]


PRIVATE = {
    *("secret_key", "secret", "token", "data_key", "keys", "transcript", "speaker", "subjects", "subject", "path"),
    *("paths", "utterance", "extra", "wave", "waveform", "proxy", "kek", "corpus_key", "part_key"),
}
"""Fields that hold keys, words or people, wherever they occur."""


PLAIN: dict[str, Any] = {"root": "s3://bucket/p", "kms": (), "options": {}}


@pytest.mark.parametrize("kind", package_classes(), ids=lambda one: f"{one.__module__}.{one.__name__}")
def test_no_repr_shows_keys_words_or_people(kind: Any) -> None:
    names = kind._fields if hasattr(kind, "_fields") else [one.name for one in dataclasses.fields(kind)]
    value: Any = SECRET
    values = {name: value if name in PRIVATE else PLAIN.get(name, 1) for name in names}
    if hasattr(kind, "_fields"):
        made = kind._make(values.values())
    else:
        made = object.__new__(kind)
        for name, one in values.items():
            object.__setattr__(made, name, one)
    try:
        shown = repr(made)
    except (TypeError, AttributeError, ValueError):  # its own repr, which looks into values: it is asked with real ones
        pytest.fail(f"{kind} cannot show itself")
    assert not held(shown, [SECRET])


def classes_with_a_repr() -> list[type]:
    found = {}
    for module in pkgutil.walk_packages(securedata.__path__, "securedata."):
        if module.name.startswith(LEFT):
            continue
        for _, one in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            ours = one.__module__.startswith("securedata") and not dataclasses.is_dataclass(one)
            if ours and any(
                "__repr__" in vars(kind) for kind in one.__mro__[:-1] if kind.__module__[:10] == "securedata"
            ):
                found[f"{one.__module__}.{one.__qualname__}"] = one
    return [one for one in found.values() if not issubclass(one, tuple) and not inspect.isabstract(one)]


@pytest.mark.parametrize("kind", classes_with_a_repr(), ids=lambda one: f"{one.__module__}.{one.__name__}")
def test_what_could_not_be_opened_can_be_shown(kind: Any) -> None:
    """A traceback with local variables shows it; until Python 3.12 it breaks where a repr raises."""
    assert repr(kind.__new__(kind))


# ------------------------------------------------------------------------------------------- terminals

STEERING = "\x1b]0;x\x07\x9b2J\x7f\u202e\u2066\u2028\ud800\r\x00"


def test_what_could_steer_a_terminal_is_escaped_and_still_json() -> None:
    for shown in (printable(f"a{STEERING}\nb"), printable_lines(f"a{STEERING}\nb")):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)
        shown.encode()
    assert printable("\n") == "\\u000a"
    assert printable_lines("a\nb") == "a\nb"
    document = {"path": STEERING}
    text = printable_lines(json.dumps(document, indent=2, ensure_ascii=False))
    assert json.loads(text) == document
    assert printable("Zoë 李 ok") == "Zoë 李 ok"


def test_an_error_steers_no_terminal_wherever_it_is_printed() -> None:
    error = StorageUnreachable(f"no{STEERING}\nline")
    assert "\x1b" not in told(error)
    assert "\u202e" not in str(error)
    assert "\nline" in str(error)


def test_sizes_of_this_test() -> None:
    """That the walk finds what it is to find."""
    assert len(classes()) > 200
    names = {one.__name__ for one in package_classes()}
    shown = {one.__name__ for one in classes_with_a_repr()}
    assert {"EncryptedAudioDataset", "Corpus", "Writer", "WebStorage", "SecuredataFile"} <= shown
    assert {"Row", "Signer", "AWSKeys", "Session", "Sample", "Metadata", "Batch"} <= names
