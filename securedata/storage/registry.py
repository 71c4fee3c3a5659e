"""From a root's URL to its storage."""

from __future__ import annotations

from securedata.errors import InvalidArgument
from securedata.storage.base import Storage
from securedata.storage.local import LocalStorage


def open_storage(root: str) -> Storage:
    """The storage of a root: a local path, or a `file://` URL.

    Raises:
        InvalidArgument: a scheme that no storage serves.
    """
    scheme, separator, rest = root.partition("://")
    if not separator:
        return LocalStorage(root)
    if scheme == "file":
        return LocalStorage(rest)
    raise InvalidArgument(f"no storage serves {scheme}:// yet: use a local path or a file:// URL", root=root)
