"""The options that a filesystem takes: references to a corpus, never credentials.

fsspec keeps each instance with its arguments for the life of the process, and `to_json` prints them.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from securedata.errors import InvalidArgument
from securedata.filesystem.refused import refused
from securedata.roots import LOCAL

_log = logging.getLogger("securedata")

REFERENCES = ("role", "profile", "region", "endpoint_url", "purpose", "cache", "cache_size")
"""Options of a root that name where credentials come from, which server to ask, or what is read for, and
the folder and size of a cache. They reach its `Reference`."""

KNOWN = (
    *("root", "kms", "pin", "allow_plaintext_export", "accept_generation", "writable", "subject", "single_writer"),
    *REFERENCES,
)
"""All options that have a meaning here."""

_CREDENTIALS = (
    *("key", "secret", "token", "passw", "passphrase", "credential", "auth", "username", "bearer", "cookie"),
    *("connection_string", "signature", "private"),
)
_SHORT = frozenset({"sas", "pwd", "pass", "cred", "creds", "user", "login", "jwt"})
_CHAIN = ("fo", "target_protocol", "target_options")
_CLOSE = 0.75  # of difflib: kmss, pins, endpoint; not mode, or anything that fsspec passes
_THEIRS = frozenset({"batch_size"})  # what tools pass, close to one of ours


def check_options(options: Mapping[str, Any]) -> dict[str, str]:
    """The options of a root among other keyword arguments.

    None counts as absent. Unknown options are ignored, as every filesystem does: tools pass options of their own.

    Raises:
        InvalidArgument: a credential, or a misspelt option. The text never holds a value.
    """
    found = {}
    for name, value in options.items():
        if value is None:
            continue
        if inside := _credential(name, value):
            raise refused(
                InvalidArgument(
                    f"option {inside} looks like a credential, and fsspec keeps and prints options: name a profile or "
                    "a role, here or in the corpus's entry in the config file"
                )
            )
        if name in _CHAIN:
            continue  # see `chained_root`
        if name in REFERENCES:
            if not isinstance(value, str):
                raise refused(InvalidArgument(f"option {name} must be text, not {type(value).__name__}"))
            found[name] = value
        elif name not in _THEIRS and (near := difflib.get_close_matches(name.lower(), KNOWN, 1, _CLOSE)):
            raise refused(
                InvalidArgument(f"unknown option {name}: did you mean {near[0]}? The options are {', '.join(KNOWN)}")
            )
        else:
            _log.debug("option %s is unknown to securedata:// and is ignored", name)
    return found


def chained_root(options: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The root that a chained URL names behind its `::`, and its options; None if the URL is not chained.

    fsspec passes the next URL without its scheme, as the scheme's own class strips it.

    Raises:
        InvalidArgument: the scheme has more to it than a path, such as a host.
    """
    scheme, rest = options.get("target_protocol"), options.get("fo")
    if scheme is None and rest is None and not options.get("target_options"):
        return None, {}
    further = {name: value for name, value in (options.get("target_options") or {}).items() if value is not None}
    if not isinstance(scheme, str) or not isinstance(rest, str) or {*further} - {*REFERENCES, "kms", "pin"}:
        raise refused(
            InvalidArgument(
                "a chained URL that begins with securedata:// takes from the URL behind :: its path and these options: "
                f"{', '.join((*REFERENCES, 'kms', 'pin'))}. Otherwise give the corpus a name in the config and write "
                "securedata://NAME/..., or use fsspec.filesystem('securedata', root=...)"
            )
        )
    if scheme in LOCAL:
        return rest, further
    return f"{scheme}://{rest.lstrip('/')}", further


def _credential(name: str, value: Any) -> str:
    """The name of an option, here or nested, that looks like a credential with a value; '' if there is none."""
    if isinstance(value, Mapping):
        return next((found for key, one in value.items() if (found := _credential(str(key), one))), "")
    if isinstance(value, (list, tuple)):
        return next((found for one in value if (found := _credential(name, one))), "")
    if value is None or isinstance(value, bool) or (isinstance(value, (str, bytes)) and not value):
        return ""  # such as token=False, which some tools pass for none
    lower = name.lower()
    looks = any(word in lower for word in _CREDENTIALS) or not _SHORT.isdisjoint(re.split("[^a-z]", lower))
    return name if looks or _has_user(value) else ""


def _has_user(value: Any) -> bool:
    return isinstance(value, str) and "://" in value and "@" in value.partition("://")[2].partition("/")[0]


def check_urls(urls: Iterable[str]) -> None:
    """Refuse a root or KMS URI with a user or password, because it would be kept and printed as well.

    Raises:
        InvalidArgument
    """
    for url in urls:
        if _has_user(url):
            raise refused(
                InvalidArgument(
                    "root and kms must not hold user or password, because fsspec keeps and prints them: name a profile "
                    "or a role, here or in the corpus's entry in the config file"
                )
            )


def absolute(root: Any) -> Any:
    """Make a relative path absolute: instances outlive the working directory, and pickles leave it."""
    text = os.fspath(root) if isinstance(root, os.PathLike) else root
    is_path = isinstance(text, str) and "://" not in text and ("/" in text or text.startswith((".", "~")))
    return os.path.abspath(os.path.expanduser(text)) if is_path else text
