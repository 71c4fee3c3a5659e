"""Probe whether a server honours conditional puts: with one that does not, writers would lose rows."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable
from typing import Any

from securedata.errors import AccessDenied, NotFound, PreconditionFailed, UnsafeStorage

_log = logging.getLogger("securedata")

_TRIES = 3

_sleep = time.sleep


def probe(call: Callable[..., Any], delete: Callable[[str], None], url: str) -> None:
    """Try both conditions on a key of our own, where they are false. They stay false if the put is retried.

    Args:
        call: makes one boto3 call, by operation and key.
        delete: deletes a key.

    Raises:
        UnsafeStorage: the server accepted a put under a false condition.
    """
    key = f".tmp-probe-{os.urandom(8).hex()}"
    try:
        _make(call, key)
        for condition, value in (("IfNoneMatch", "*"), ("IfMatch", '"0"')):
            try:
                call("put_object", key, **{"Body": b"2", condition: value})
            except PreconditionFailed:
                continue
            except NotFound:  # AWS's answer to an If-Match on a missing key
                call("head_object", key)  # raises if the key is indeed missing
                continue
            raise UnsafeStorage(
                f"{url}: the server accepts a false {condition}, so two writers could lose each other's rows: "
                "update it, or use --single-writer if nobody else ever writes there",
                root=url,
            )
    finally:
        try:
            delete(key)
        except AccessDenied as error:  # such as Object Lock's: what is written stays for a while, and so does this
            _log.warning("the probe of the server had to stay: %s", error)


def _make(call: Callable[..., Any], key: str) -> None:
    """Put the key. It is ours alone, so a refusal means that an intermediary sent the put twice, or that two met."""
    for left in reversed(range(_TRIES)):
        try:
            call("put_object", key, Body=b"1", IfNoneMatch="*")
            return
        except (PreconditionFailed, NotFound) as error:
            try:
                call("head_object", key)
                return
            except NotFound:
                if not left:
                    raise error from None
        _sleep(random.uniform(0, 0.5))  # noqa: S311 - jitter, not a secret
