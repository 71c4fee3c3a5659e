"""The newest head of each corpus that writers on this machine have seen; older heads are refused.

One small file per corpus under $XDG_STATE_HOME/securedata/seen: the generation, its write id and the ids of
superseded corpus keys. It holds no secret.
"""

from __future__ import annotations

import logging
from pathlib import Path

from securedata.corpus.home import file_lock, state_dir
from securedata.corpus.state.head import Head, Seen
from securedata.errors import ConfigError, CorpusBusy
from securedata.files import drop_left_over, make_folders, read_small, replace_file
from securedata.foreign.describe import describe

_log = logging.getLogger("securedata")

_LARGEST = 16 * 1024 * 1024
"""Limit of such a file in bytes: more than 400,000 superseded keys."""
_ADVICE = "set XDG_STATE_HOME to a folder that you can write to"


def _path(corpus_id: bytes) -> Path:
    try:
        folder = state_dir()
    except ConfigError:  # neither HOME nor a passwd entry, as in some containers
        raise ConfigError(f"without a home folder, what was seen of a corpus cannot be looked up; {_ADVICE}") from None
    return folder / "seen" / f"{corpus_id.hex()}.json"


def recall(corpus_id: bytes) -> Seen | None:
    """The newest head that was seen; None if this machine has not written to the corpus.

    Raises:
        ConfigError: the file is damaged or cannot be read, or there is no home folder.
    """
    path = _path(corpus_id)
    try:
        return Seen.parse(read_small(path, _LARGEST))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {describe(error)}; {_ADVICE}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        text = f"{path} is damaged ({type(error).__name__}); delete it to forget what was seen of corpus {path.stem}"
        raise ConfigError(text) from None


_warned: set[bytes] = set()


def recall_or_warn(corpus_id: bytes, root: str, begins: bool = True) -> Seen | None:
    """`recall` for readers, which only warn, once per corpus, if nothing is known. Nothing is written.

    Args:
        begins: this opening itself has seen nothing yet, so that without the file any old head would be accepted.
    """
    why = f"this machine has seen no head of {root} before (writers note it in $XDG_STATE_HOME)"
    try:
        seen = recall(corpus_id)
    except ConfigError as error:
        seen, why, begins = None, str(error), True
    if seen is None and begins and corpus_id not in _warned:
        _warned.add(corpus_id)
        _log.warning("%s; an old head that was put back would go unnoticed", why)
    return seen


def remember_committed(head: Head, root: str) -> None:
    """`remember` a committed head; a failure is only a warning, since the commit is done."""
    try:
        remember(head)
    except (ConfigError, CorpusBusy) as error:
        _log.warning("%s; an old head of %s that is put back would go unnoticed", error, root)


def remember(head: Head, reset: bool = False) -> None:
    """Record a head that was opened for writing or committed; never goes backwards unless `reset`.

    Raises:
        ConfigError: the state folder cannot be written.
    """
    path, seen = _path(head.corpus_id), Seen.of(head)
    try:
        make_folders(path.parent, 0o700)
        with file_lock("seen.lock"):  # so that a writer that has seen less cannot write in between
            before = None if reset else recall(head.corpus_id)
            if before and (before.generation > seen.generation or before == seen):
                return
            replace_file(path, seen.json())
            drop_left_over(path.parent)  # also of corpora that a killed run did not come to make
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {describe(error)}; {_ADVICE}") from None
