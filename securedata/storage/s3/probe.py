"""Probe whether a server honours conditional puts: some answer 200 to a false condition, and lose rows."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any

from securedata.errors import NotFound, PreconditionFailed, UnsafeStorage

_TRIES = 3

_sleep = time.sleep


def probe(call: Callable[..., Any], delete: Callable[[str], None], url: str) -> None:
    """Try both conditions, false, on a key of our own. A false one may be sent again: it is as false then.

    Args:
        call: makes one call of boto3, by operation and key.
        delete: deletes a key.

    Raises:
        UnsafeStorage: one of them was taken for true.
    """
    key = f".tmp-probe-{os.urandom(8).hex()}"
    try:
        _make(call, key)
        for condition, value in (("IfNoneMatch", "*"), ("IfMatch", '"0"')):
            try:
                call("put_object", key, **{"Body": b"2", condition: value})
            except PreconditionFailed:
                continue
            except NotFound:  # as AWS answers to an If-Match where there is nothing: there is, or the next line tells
                call("head_object", key)
                continue
            raise UnsafeStorage(
                f"{url}: the server accepts a false {condition}, so two writers could lose each other's rows: "
                "update it, or say --single-writer if nobody else ever writes there",
                root=url,
            )
    finally:
        delete(key)


def _make(call: Callable[..., Any], key: str) -> None:
    """Put the key. Nobody else has it: a no means that an intermediary sent it twice, or that two puts met."""
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
        _sleep(random.uniform(0, 0.5))  # noqa: S311 - jitter, no secret
