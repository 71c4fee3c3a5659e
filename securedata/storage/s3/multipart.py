"""Put an object on S3 in parts, through boto3."""

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
from securedata.storage.http.date import time_of
from securedata.storage.part_stream import side_by_side
from securedata.storage.s3.calls import Calls, response


def put_parts(
    calls: Calls, key: str, parts: Iterator[mmap.mmap], at_once: int, check_there: Callable[[], object]
) -> float:
    """Store an object under a key that does not exist. Returns when the upload began, by the server's clock.

    Args:
        at_once: how many parts are sent at once.
        check_there: raises if there is no object under the key.

    Raises:
        AlreadyExists, AccessDenied, StorageUnreachable
    """
    begun = calls.call("create_multipart_upload", key, **_checksum(calls))
    upload = begun.get("UploadId")
    if not upload:
        raise StorageUnreachable(f"{key} of {calls.url}: the server gave the upload no id; check the endpoint")
    when = time_of(begun["ResponseMetadata"]["HTTPHeaders"].get("date", ""), f"{key} of {calls.url}", calls.url)
    try:
        sent = side_by_side(lambda number, part: _put_part(calls, key, upload, number, part), parts, at_once)
        _complete(calls, key, upload, sent, check_there)
    except BaseException:  # re-raised, Ctrl-C too: parts that are never completed cost money
        with contextlib.suppress(StorageError):  # the first error matters more; the bucket's rules may clean up
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
        # if the key is taken when a put is retried, the first try took it, and its answer was lost
        if not _retried(error):
            raise AlreadyExists(f"{key} of {calls.url} exists already", root=calls.url) from error
        check_there()
    except NotFound as error:  # no such upload, perhaps because a first try completed it
        if not _retried(error):
            raise
        check_there()
    else:
        if not answer.get("ETag"):  # whatever its status, the answer is not from a server that stored the object
            check_there()


def _retried(error: SecuredataError) -> bool:
    """Whether boto3 retried a call before it was refused."""
    return bool(response(error).get("ResponseMetadata", {}).get("RetryAttempts"))
