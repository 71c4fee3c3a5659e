"""What a filesystem may be told: references to a corpus, never credentials.

fsspec keeps each instance with its arguments for the life of the process, and `to_json` prints them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from securedata.errors import InvalidArgument

REFERENCES = ("role", "profile", "region", "endpoint_url")
"""Options of a root that name where credentials come from, or whom to ask. They reach its `Reference`."""

FSSPEC = ("use_listings_cache", "listings_expiry_time", "max_paths")
"""What fsspec passes to any filesystem; nothing here needs it, for the index is in memory."""

_CREDENTIALS = ("key", "secret", "token", "password", "passwd", "passphrase", "credential", "auth", "username")
_CHAIN = ("fo", "target_protocol", "target_options")


def check_options(options: Mapping[str, Any]) -> dict[str, str]:
    """The options of a root among further keyword arguments.

    Raises:
        InvalidArgument: a credential, or an option that nobody knows. The text never holds a value.
    """
    found = {}
    for name, value in options.items():
        if any(word in name.lower() for word in _CREDENTIALS):
            raise InvalidArgument(
                f"option {name} looks like a credential, and fsspec keeps and prints options: name a profile or a "
                "role, or write them into the corpus's entry in the config file"
            )
        if name in _CHAIN:
            raise InvalidArgument(
                "securedata:// at the front of a chained URL is not known yet: use securedata://NAME/... with a name "
                "from the config, or fsspec.filesystem('securedata', root=..., kms=..., pin=...)"
            )
        if name in FSSPEC:
            continue
        if name not in REFERENCES:
            known = ("root", "kms", "pin", "allow_plaintext_export", "accept_generation", *REFERENCES)
            raise InvalidArgument(f"unknown option {name}; known are {', '.join(known)}")
        if not isinstance(value, str):
            raise InvalidArgument(f"option {name} must be text, not {type(value).__name__}")
        found[name] = value
    return found


def check_urls(urls: Iterable[str]) -> None:
    """A root or KMS URI that carries user and password would be kept and printed as well.

    Raises:
        InvalidArgument
    """
    for url in urls:
        authority = url.partition("://")[2].partition("/")[0]
        if "@" in authority:
            raise InvalidArgument(
                "root and kms must not hold user or password, for fsspec keeps and prints them: name a profile or a "
                "role, or write it into the corpus's entry in the config file"
            )


def absolute(root: Any) -> Any:
    """A relative path as an absolute one: instances outlive the working directory, and pickles leave it."""
    text = os.fspath(root) if isinstance(root, os.PathLike) else root
    is_path = isinstance(text, str) and "://" not in text and ("/" in text or text.startswith((".", "~")))
    return os.path.abspath(os.path.expanduser(text)) if is_path else text
