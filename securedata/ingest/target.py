"""The corpus that an ingest writes to: one that is there, or one that is made for what is to be sealed."""

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
    """What the caller means, and whether the corpus is there; if not, its place is new or empty.

    A name that the config does not hold is an error, not a new folder: it may be a slip of the pen.

    Args:
        start_over: the corpus that was there was deleted for good.

    Raises:
        InvalidArgument: there is a corpus, and `name` gives it another name.
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
            f"the corpus at {found.root} is there already and {known}: --name is for one that is made; leave it out",
            root=found.root,
        )
    return found, there


def _is_there(found: Reference) -> bool:
    """Whether there is a corpus, or a writer is to find out why not: one that is gone is no place for another."""
    if found.pins and not interrupted(found):
        return True
    # a run that was killed right behind its head has left a corpus, too
    if "://" in found.root or found.options:
        return not is_empty(found)
    return os.path.isdir(found.root) and HEAD in os.listdir(found.root)
