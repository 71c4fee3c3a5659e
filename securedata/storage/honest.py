"""Whether a server means the conditions of a conditional put: some answer 200 to a false one, and lose rows."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from securedata.errors import NotFound, PreconditionFailed, UnsafeStorage


def probe(call: Callable[..., Any], delete: Callable[[str], None], url: str) -> None:
    """Try both conditions, false, on a key of our own.

    Args:
        call: makes one call of boto3, by operation and key.
        delete: deletes a key.

    Raises:
        UnsafeStorage: one of them was taken for true.
    """
    key = f".tmp-probe-{os.urandom(8).hex()}"
    try:
        call("put_object", key, Body=b"1", IfNoneMatch="*")
    except PreconditionFailed as error:  # nobody else has this key: an intermediary sent it twice, and the first landed
        try:
            call("head_object", key)
        except NotFound:
            raise error from None
    try:
        for condition, value in (("IfNoneMatch", "*"), ("IfMatch", '"0"')):
            try:
                call("put_object", key, once=True, **{"Body": b"2", condition: value})
            except PreconditionFailed:
                continue
            raise UnsafeStorage(
                f"{url}: the server accepts a false {condition}, so two writers could lose each other's rows: "
                "update it, or say --single-writer if nobody else ever writes there",
                root=url,
            )
    finally:
        delete(key)
