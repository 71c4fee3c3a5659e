"""Find the storage for a root's URL."""

from __future__ import annotations

from collections.abc import Mapping

from securedata.foreign.aws import Credentials
from securedata.roots import LOCAL
from securedata.storage.base import Storage
from securedata.storage.local import LocalStorage
from securedata.storage.s3.store import S3Storage
from securedata.storage.web import WebStorage


def open_storage(
    root: str, options: Mapping[str, str] | None = None, credentials: Credentials | None = None
) -> Storage:
    """The storage of a root: a path, `file://`, `local://`, `s3://bucket/prefix`, `https://`, or any URL for fsspec.

    Args:
        options: profile, region and endpoint_url, if the storage takes them.
        credentials: those of a role's session, if the storage takes them; None: its own.

    Raises:
        InvalidArgument: no storage serves the scheme, or the URL holds a password.
    """
    scheme, separator, rest = root.partition("://")
    if not separator:
        return LocalStorage(root)
    if scheme in LOCAL:
        return LocalStorage(rest)
    if scheme == "s3":
        return S3Storage(root, options, credentials)
    if scheme in ("http", "https"):
        return WebStorage(root)
    from securedata.storage.fsspec import FsspecStorage  # fsspec takes a while to import

    return FsspecStorage(root)
