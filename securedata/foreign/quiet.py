"""Other libraries log what they are handed: keys, tokens, headers. While they work for us they log nothing.

Only the records of the thread, or the task of an event loop, that works for us are dropped. What anybody else logs
through the same loggers stays as it is.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from contextvars import ContextVar, Token
from pathlib import Path

_LIBRARIES = ("botocore", "boto3", "s3transfer", "urllib3", "requests", "hvac")
_MORE = (
    *_LIBRARIES,
    *("aiobotocore", "aiohttp", "s3fs", "fsspec", "asyncio", "gcsfs", "google", "adlfs", "azure", "msal", "paramiko"),
    *("smbprotocol", "httpx", "httpcore", "grpc", "oauthlib", "requests_oauthlib", "charset_normalizer"),
)
_depth: ContextVar[int] = ContextVar("securedata_quiet", default=0)
_filtered: set[str] = set()
_known = 0
_walked = False


class quiet:
    """For as long as a block runs, nothing that these libraries log in its context reaches a handler.

    Not to be held over a `yield`: the caller of a generator would be in its context.
    """

    def __enter__(self) -> None:
        if not _walked or len(logging.Logger.manager.loggerDict) != _known:
            _watch()
        self._token: Token[int] = _depth.set(_depth.get() + 1)

    def __exit__(self, *_: object) -> None:
        _depth.reset(self._token)


def _drop(record: logging.LogRecord) -> bool:
    return not _depth.get()


def _watch() -> None:
    """Filter each logger of these libraries, those that they will make later included, as far as they can be known."""
    global _known, _walked
    if not _walked:
        for name in _LIBRARIES:
            for module in _modules(name):
                logging.getLogger(module)
        _walked = True
    for name in list(logging.Logger.manager.loggerDict):
        if name not in _filtered and name.partition(".")[0] in _MORE:
            logging.getLogger(name).addFilter(_drop)
            _filtered.add(name)
    _known = len(logging.Logger.manager.loggerDict)


def _modules(package: str) -> list[str]:
    """The names of a package's modules, none of which is imported for it; none where it is not installed."""
    spec = importlib.util.find_spec(package)
    names = [package] if spec is not None else []
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        for folder, folders, files in os.walk(place):
            folders[:] = [one for one in folders if one not in ("data", "__pycache__")]
            above = ".".join([package, *Path(folder).relative_to(place).parts])
            names += [above, *(f"{above}.{file[:-3]}" for file in files if file.endswith(".py"))]
    return names
