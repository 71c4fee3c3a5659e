"""Keep other libraries from logging keys, tokens and headers while they work for us.

Nor does `http.client` print requests, as it otherwise would if its `debuglevel` is set. Only the records and lines of
the thread, or the event loop's task, that works for us are dropped; others log through the same loggers as before.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import ModuleType
from typing import Any

_LIBRARIES = frozenset(
    {
        *("botocore", "boto3", "s3transfer", "urllib3", "requests", "hvac", "aiobotocore", "aiohttp", "s3fs", "fsspec"),
        *("asyncio", "gcsfs", "google", "adlfs", "azure", "msal", "paramiko", "smbprotocol", "httpx", "httpcore"),
        *("grpc", "oauthlib", "requests_oauthlib", "charset_normalizer"),
    }
)
_depth: ContextVar[int] = ContextVar("securedata_quiet", default=0)
_watching = False


class quiet:
    """Drop what these libraries log, and what `http.client` prints, in a block's context.

    Do not hold it across a `yield`: the generator's caller would run in its context.
    """

    def __enter__(self) -> None:
        if not _watching:
            _watch()
        # checked each time: it may be imported, and get a debuglevel, or another tool's print, at any time
        client = sys.modules.get("http.client")
        if client is not None:
            _hush(client)
        self._token: Token[int] = _depth.set(_depth.get() + 1)

    def __exit__(self, *_: object) -> None:
        _depth.reset(self._token)


def _drop(record: logging.LogRecord) -> bool:
    return not _depth.get()


class _Printing:
    """Print as before, except during work for us."""

    def __init__(self, before: Callable[..., object]) -> None:
        self._before = before

    def __call__(self, *words: object, **options: Any) -> None:
        if not _depth.get():
            self._before(*words, **options)


def _hush(client: ModuleType) -> None:
    """Replace `print` in `http.client`, which has no hook: a name in the module precedes Python's built-in."""
    found = vars(client).get("print", print)
    if not isinstance(found, _Printing):
        client.__dict__["print"] = _Printing(found)


def _watch() -> None:
    """Filter each logger of these libraries, including later ones: many libraries are imported by a call of ours."""
    global _watching
    manager = logging.Logger.manager
    get_logger = manager.getLogger

    def get_and_filter(name: str) -> logging.Logger:
        logger = get_logger(name)
        _filter(logger)
        return logger

    # on this one object, which `logging.getLogger` and `getChild` call: a logger class could conflict with others
    manager.getLogger = get_and_filter  # type: ignore[method-assign]  # there is no hook for it
    _watching = True
    for logger in list(manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            _filter(logger)


def _filter(logger: logging.Logger) -> None:
    if logger.name.partition(".")[0] in _LIBRARIES:
        logger.addFilter(_drop)  # has no effect if the filter is there
