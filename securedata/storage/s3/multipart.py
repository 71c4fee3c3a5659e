"""An object put on S3 in parts, over boto3."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Callable, Iterator
from typing import Any

from securedata.errors import (
    AlreadyExists,
    NotFound,
    PreconditionFailed,
    SecuredataError,
    StorageError,
    StorageUnreachable,
)
from securedata.storage.part_stream import side_by_side
from securedata.storage.s3.calls import Calls, response
from securedata.storage.s3.errors import time_of


def put_parts(
    calls: Calls, key: str, parts: Iterator[mmap.mmap], at_once: int, check_there: Callable[[], object]
) -> float:
    """Store an object under a key that does not exist; returns the time at which the upload was begun.

    Args:
        at_once: parts that are sent side by side.
        check_there: raises if there is no object under the key.

    Raises:
        AlreadyExists, AccessDenied, StorageUnreachable
    """
    begun = calls.call("create_multipart_upload", key, **_checksum(calls))
    upload = begun.get("UploadId")
    if not upload:
        raise StorageUnreachable(f"{key} of {calls.url}: an upload was begun and has no id; check the endpoint")
    when = time_of(begun["ResponseMetadata"]["HTTPHeaders"].get("date", ""), f"{key} of {calls.url}", calls.url)
    try:
        sent = side_by_side(lambda number, part: _put_part(calls, key, upload, number, part), parts, at_once)
        _complete(calls, key, upload, sent, check_there)
    except BaseException:  # raised again, Ctrl-C too: parts that nobody completes cost money
        with contextlib.suppress(StorageError):  # what went wrong before says more; the bucket's rules may clean up
            calls.call("abort_multipart_upload", key, UploadId=upload)
        raise
    return when


def _checksum(calls: Calls) -> dict[str, Any]:
    return {"ChecksumAlgorithm": "CRC32"} if calls.endpoint().checksums else {}


def _put_part(calls: Calls, key: str, upload: str, number: int, data: mmap.mmap) -> dict[str, Any]:
    sent = calls.call("upload_part", key, UploadId=upload, PartNumber=number, Body=data, **_checksum(calls))
    return {"PartNumber": number} | {name: sent[name] for name in ("ETag", "ChecksumCRC32") if name in sent}


def _complete(
    calls: Calls, key: str, upload: str, parts: list[dict[str, Any]], check_there: Callable[[], object]
) -> None:
    whole = {"Parts": parts}
    try:
        answer = calls.call("complete_multipart_upload", key, UploadId=upload, MultipartUpload=whole, IfNoneMatch="*")
    except PreconditionFailed as error:
        # a key that is taken when a put is tried again was taken by the first try, whose answer was lost
        if not _retried(error):
            raise AlreadyExists(f"{key} of {calls.url} exists already", root=calls.url) from error
        check_there()
    except NotFound as error:  # no such upload: any more, if a first try was the last
        if not _retried(error):
            raise
        check_there()
    else:
        if not answer.get("ETag"):  # not an answer of a server that stored something, whatever its status says
            check_there()


def _retried(error: SecuredataError) -> bool:
    """Did boto3 try a call again before it was refused?"""
    return bool(response(error).get("ResponseMetadata", {}).get("RetryAttempts"))
