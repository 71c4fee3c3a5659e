"""What writers on this machine have seen of each corpus, so that an old head put back is refused.

One small file per corpus under $XDG_STATE_HOME/securedata/seen: the generation and the ids of
superseded corpus keys. It holds no secret.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from securedata.corpus.config import state_dir
from securedata.corpus.head import Head, Seen
from securedata.errors import ConfigError


def _path(corpus_id: bytes) -> Path:
    return state_dir() / "seen" / f"{corpus_id.hex()}.json"


def recall(corpus_id: bytes) -> Seen | None:
    """The newest that was seen; None if this machine has not written to the corpus.

    Raises:
        ConfigError: the file is damaged.
    """
    path = _path(corpus_id)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Seen(int(content["generation"]), frozenset(bytes.fromhex(one) for one in content["superseded"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); delete it to forget what was seen") from error


def remember(head: Head, reset: bool = False) -> None:
    """Note a head that was opened for writing or committed; never goes backwards unless `reset`.

    Raises:
        ConfigError: the state folder cannot be written.
    """
    before = None if reset else recall(head.corpus_id)
    if before and (before.generation > head.generation or before == _seen(head)):
        return
    path = _path(head.corpus_id)
    seen = _seen(head)
    content = {"generation": seen.generation, "superseded": sorted(one.hex() for one in seen.superseded)}
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content), encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {error}; set XDG_STATE_HOME to a folder that can") from error


def forget(corpus_id: bytes) -> None:
    """Forget a corpus, for --accept-generation."""
    _path(corpus_id).unlink(missing_ok=True)


def _seen(head: Head) -> Seen:
    return Seen(head.generation, frozenset(head.superseded))
