"""Other libraries log what they receive: keys, tokens, headers. While they work for us they log nothing.

`http.client` does not print requests either, as it would if its `debuglevel` is set. Only the records and lines of the
thread, or the event loop's task, that works for us are dropped. What others log through the same loggers is unchanged.
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
    """While a block runs, nothing that these libraries log in its context reaches a handler, and nothing that
    `http.client` prints reaches a stream.

    Do not hold it across a `yield`: the generator's caller would run in its context.
    """

    def __enter__(self) -> None:
        if not _watching:
            _watch()
        # looked at each time: its debuglevel is set by who has imported it, and a tool may put a function there, too
        client = sys.modules.get("http.client")
        if client is not None:
            _hush(client)
        self._token: Token[int] = _depth.set(_depth.get() + 1)

    def __exit__(self, *_: object) -> None:
        _depth.reset(self._token)


def _drop(record: logging.LogRecord) -> bool:
    return not _depth.get()


class _Printing:
    """Prints as before, except during work for us."""

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
    """Filter each logger of these libraries, including those made later: many libraries are imported only by a call of
    ours, and log at once.
    """
    global _watching
    manager = logging.Logger.manager
    get_logger = manager.getLogger

    def get_and_filter(name: str) -> logging.Logger:
        logger = get_logger(name)
        _filter(logger)
        return logger

    # on this one object, which `logging.getLogger` and `getChild` ask: a class of loggers would be in the way of others
    manager.getLogger = get_and_filter  # type: ignore[method-assign]  # there is no hook for it
    _watching = True
    for logger in list(manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            _filter(logger)


def _filter(logger: logging.Logger) -> None:
    if logger.name.partition(".")[0] in _LIBRARIES:
        logger.addFilter(_drop)  # once: a filter that is there is not added again
