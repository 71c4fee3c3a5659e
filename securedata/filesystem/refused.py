"""Refusals of the filesystem are logged as well as raised: tools such as `fsspec.generic.rsync` swallow them."""

from __future__ import annotations

import logging
from typing import TypeVar

_log = logging.getLogger("securedata")
_Error = TypeVar("_Error", bound=Exception)


def refused(error: _Error) -> _Error:
    """Log a refusal at WARNING, to be raised right after."""
    _log.warning("refused: %s", error)
    return error
