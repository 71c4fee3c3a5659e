"""Which recording a URL means: the corpus, and the logical path in it."""

from __future__ import annotations

import os
import unicodedata

from securedata.corpus import config
from securedata.corpus.config import SCHEME, Reference, normal_root, resolve
from securedata.corpus.state.layout import HEAD
from securedata.errors import InvalidArgument
from securedata.roots import LOCAL

_CHAIN = "::"


def url_of(name: str | None, root: str) -> tuple[str, str]:
    """What a recording's URL has before and after its logical path, as `locate` reads it."""
    return (f"{SCHEME}{name}/", "") if name else (SCHEME, f"{_CHAIN}{root}")


def locate(url: str | os.PathLike[str]) -> tuple[Reference, str]:
    """The corpus and the logical path that a URL means, in any of these spellings; makes no network request:

    - `securedata://NAME/PATH`, with a name from the config;
    - `securedata://PATH::ROOT`, where ROOT is the path or URL of a corpus;
    - ROOT/PATH, where ROOT is the root of an entry in the config, or a folder on this machine that holds a corpus.

    Raises:
        InvalidArgument: none of these.
        ConfigError: a name that is not in the config.
    """
    text = os.fspath(url)
    reference, path = _chained(text) if _CHAIN in text and text.startswith(SCHEME) else _plain(text)
    if reference is None or not path:
        raise InvalidArgument(
            "a recording is given as securedata://NAME/PATH with a name from the config, as securedata://PATH::ROOT, "
            "or as the path or URL of a corpus that the config has, followed by /PATH"
        )
    return reference, unicodedata.normalize("NFC", path)


def _chained(text: str) -> tuple[Reference | None, str]:
    path, _, root = text.removeprefix(SCHEME).partition(_CHAIN)
    if not root or _CHAIN in root:  # a cache in between would hold plaintext
        return None, ""
    return resolve(root), path.strip("/")


def _plain(text: str) -> tuple[Reference | None, str]:
    if text.startswith(SCHEME):
        name, _, path = text.removeprefix(SCHEME).partition("/")
        return (resolve(SCHEME + name), path) if name and path else (None, "")
    scheme, separator, rest = text.partition("://")
    is_local = not separator or scheme in LOCAL
    whole = os.path.abspath(os.path.expanduser(rest if separator else text)) if is_local else text
    roots = {entry.root for entry in config.load().values()}
    for root in _above(whole):
        if normal_root(root) in roots or (is_local and os.path.isfile(os.path.join(root, HEAD))):
            return resolve(root), whole[len(root) :].strip("/")
    return None, ""


def _above(whole: str) -> list[str]:
    """The folders above a path or the key of a URL, the nearest first."""
    scheme, separator, rest = whole.rpartition("://")
    parts = rest.split("/")
    return [f"{scheme}{separator}{'/'.join(parts[:n])}" for n in range(len(parts) - 1, 0, -1) if parts[n - 1]]
