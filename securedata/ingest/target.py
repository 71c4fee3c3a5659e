"""The corpus that an ingest writes to: an existing one, or a new one."""

from __future__ import annotations

import os
from collections.abc import Sequence

from securedata.corpus.config import Reference, resolve
from securedata.corpus.create import interrupted, is_empty, refuse_full
from securedata.corpus.state.layout import HEAD
from securedata.errors import InvalidArgument


def find_target(
    target: str | os.PathLike[str] | Reference,
    kms: str | Sequence[str] | None,
    pin: str | Sequence[str] | None,
    name: str | None,
    start_over: bool = False,
) -> tuple[Reference, bool]:
    """Resolve the target, and whether the corpus exists; if not, its place is new or empty.

    A name that is not in the config is an error, not a new folder: it might be a typo.

    Args:
        start_over: the corpus at the target was deleted for good.

    Raises:
        InvalidArgument: the corpus exists under another name than `name`.
        CorpusExists: `start_over`, and something is there.
        ConfigError, StorageError
    """
    found = resolve(target, kms, pin)
    if start_over:
        refuse_full(found)
        return found, False
    there = _is_there(found)
    if there and name and name != found.name:
        known = f"is known as {found.name!r}" if found.name else "has no name in the config"
        raise InvalidArgument(
            f"the corpus at {found.root} exists already and {known}: leave out --name, which is for a new corpus",
            root=found.root,
        )
    return found, there


def _is_there(found: Reference) -> bool:
    """Whether there is a corpus. Also true if one is gone, so that the writer explains it and none takes its place."""
    if found.pins and not interrupted(found):
        return True
    # a run that was killed right after it wrote the head has left a corpus, too
    if "://" in found.root or found.options:
        return not is_empty(found)
    return os.path.isdir(found.root) and HEAD in os.listdir(found.root)
