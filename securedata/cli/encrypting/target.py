"""The corpus that `securedata encrypt` writes to: one that is there, or one that is made for what is to be sealed."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import TYPE_CHECKING

from securedata.cli.commands.init import announce
from securedata.cli.common import reference
from securedata.errors import InvalidArgument

if TYPE_CHECKING:
    from securedata.corpus.config import Reference


def find(args: Namespace) -> tuple[Reference, bool]:
    """What the command line means, and whether the corpus is there; if not, its place is new or empty.

    A name that the config does not hold is an error, not a new folder: it may be a slip of the pen.

    Raises:
        InvalidArgument: there is a corpus, and --name gives it another name.
        ConfigError, StorageError
    """
    found = reference(args, args.target)
    there = _is_there(found)
    if there and args.name and args.name != found.name:
        known = f"is known as {found.name!r}" if found.name else "has no name in the config"
        raise InvalidArgument(
            f"the corpus at {found.root} is there already and {known}: --name is for one that is made; leave it out",
            root=found.root,
        )
    return found, there


def make(args: Namespace, found: Reference) -> Reference:
    """Make the corpus: its key file, its config entry, and last its head. Raises as `create_corpus`."""
    from securedata.corpus.config import normal_root
    from securedata.corpus.create import create_corpus

    name = args.name or found.name
    created = create_corpus(normal_root(found.root), found.kms, name, single_writer=args.single_writer)
    announce(args, created)
    return created.reference


def _is_there(found: Reference) -> bool:
    """Whether there is a corpus, or a writer is to find out why not: one that is gone is no place for another."""
    from securedata.corpus.create import interrupted, is_empty

    if found.pins and not interrupted(found):
        return True
    # a run that was killed right behind its head has left a corpus, too
    if "://" in found.root or found.options:
        return not is_empty(found)
    return os.path.isdir(found.root) and "head" in os.listdir(found.root)
