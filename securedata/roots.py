"""Roots that are URLs: one spelling for each, so that everything on the way to a key means the same one.

libcurl, browsers, proxies and web servers resolve dot segments and merge slashes, each in its own way, and a policy is
compared with the unchanged text: a root that any of them could take for another one is refused.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from securedata.errors import InvalidArgument

LOCAL = ("file", "local")
"""Schemes that fsspec treats as a path on this machine; code that follows links must never reach such a path."""
_S3 = "s3://"
_BACKSLASHES = re.compile(r"[/\\]")
_DECODED = 4  # how many times a proxy or two might decode a path


def split_s3(root: str) -> tuple[str, str]:
    """Bucket and prefix of an S3 root, the prefix without a slash at either end.

    Raises:
        InvalidArgument: not an S3 root, or one that could be taken for another.
    """
    bucket, _, prefix = root.removeprefix(_S3).partition("/")
    if not root.startswith(_S3) or not bucket or "?" in bucket or "@" in bucket or "#" in bucket:
        # the rest is not shown: a secret in it might be what is wrong
        text = "s3://... is not an S3 root: write s3://bucket/prefix, without user, password or query"
        raise InvalidArgument(text, root="s3://...")
    check_segments(root, f"{bucket}/{prefix}")
    return bucket, prefix.strip("/")


def check_plain(root: str) -> None:
    """Refuse a URL that holds a secret, before anything else can show it: roots are kept, printed and pickled.

    Raises:
        InvalidArgument: a user with a password, a query; on S3 and the web also a user alone.
    """
    scheme, separator, rest = root.partition("://")
    if not separator or scheme in LOCAL:
        return
    host = rest.partition("/")[0]
    user = host.rpartition("@")[0]
    query = "?" in (host if scheme == "s3" else rest)  # in an S3 key it is an ordinary character
    if query or ":" in user or (user and scheme in ("s3", "http", "https")):
        where = f"{scheme}://..."
        raise InvalidArgument(
            f"{where}: the URL of a corpus must not hold a user, a password or a query, because it is kept and shown: "
            "set credentials in the way that the tools of this storage use",
            root=where,
        )


def check_segments(root: str, path: str) -> None:
    """Refuse a path with dot segments, empty segments or control characters, encoded or not.

    Args:
        root: for the error, so it must not hold a secret.
        path: what follows `scheme://`; a slash at its end is fine.

    Raises:
        InvalidArgument
    """
    plain = path[:-1] if path.endswith("/") else path
    for _ in range(_DECODED):
        if any(part in ("", ".", "..") for part in _BACKSLASHES.split(plain)):
            problem = "'.', '..' or an empty segment"
        elif any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) <= 0xDFFF for char in plain):
            problem = "a control character"
        else:
            plain, before = unquote(plain, errors="replace"), plain
            if plain == before:
                return
            continue
        raise InvalidArgument(
            f"{root!r} has {problem} in it, which a proxy or server might read as another path: "
            "write the path that it leads to",
            root=root,
        )
    raise InvalidArgument(f"{root!r} is encoded more than once: write it unencoded", root=root)
