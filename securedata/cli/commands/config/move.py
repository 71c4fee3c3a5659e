"""`securedata move`."""

from __future__ import annotations

import os
import shlex
from argparse import Namespace
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from securedata.cli.common import add_command, add_output_options, out, positive, print_json, say, warn
from securedata.errors import (
    CorpusExists,
    CorpusGone,
    InvalidArgument,
    NotACorpus,
    NotFound,
    OlderGeneration,
    SecuredataError,
)

if TYPE_CHECKING:
    from securedata.corpus.config import Reference

_S3 = "s3://"


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "move",
        move,
        help="change the root of a corpus in the config file",
        about=(
            "Change the root in a corpus's config entry. You copy or move the files yourself: either before, and the\n"
            "corpus at the new root is opened and its pin checked; or afterwards, with the command that is printed.\n"
            "Nobody may write to the corpus between the copy and the move. Nothing at the old root is deleted."
        ),
        example=(
            "  # prints how to copy, if nothing is there yet\n"
            "  securedata move voice-a s3://voice/contractor-a\n"
            "  securedata verify voice-a  # before you delete the old root"
        ),
    )
    parser.add_argument("name", metavar="NAME", help="the name in the config file, as 'securedata list' shows it")
    parser.add_argument("newroot", metavar="NEWROOT", help="path or URL where the corpus is, or will be")
    parser.add_argument(
        "--accept-generation",
        type=positive,
        metavar="N",
        help="move to a copy of generation N although a newer one was seen; later changes are not in it",
    )
    add_output_options(parser)


def move(args: Namespace) -> int:
    """Run the command."""
    from securedata.corpus.config import check_one_entry, normal_root, user_entry, write_entry
    from securedata.keys.local import refuse_inside

    old = user_entry(args.name)
    root = normal_root(args.newroot)
    new = replace(old, root=root, options=_options(args, old, root))
    _refuse_overlap(old.root, root)
    check_one_entry(str(old.name), new)
    refuse_inside(root, old.kms)
    generation, gone = _check(args, old, new) if _is_there(new) else (None, False)
    config = write_entry(str(old.name), new)
    copying = copy_command(old, new)
    if args.json:
        found = {
            "name": old.name,
            "root": root,
            "from": old.root,
            "config": str(config),
            "there": generation is not None,
        }
        print_json({**found, "generation": generation, "copy": copying if generation is None else None})
        return 0
    say(args, f"the root of {old.name!r} is now {root}, changed in {config}; it was {old.root}")
    if generation is not None:
        out(f"the corpus is there, with generation {generation}")
        if gone:
            say(args, f"no corpus is left at the old root {old.root}")
        else:
            say(args, f"before you delete the old root: securedata verify {old.name}")
    elif copying is None:
        warn(f"nothing is at {root} yet: copy everything below {old.root} to it, while nobody writes")
    else:
        warn(f"nothing is at {root} yet: copy it before you use the corpus, while nobody writes")
        out(copying)
    return 0


def _options(args: Namespace, old: Reference, root: str) -> dict[str, str]:
    """The storage options of the new root: the old ones, if it is the same kind of storage."""
    if root.partition("://")[:2] == old.root.partition("://")[:2] or not old.options:
        return dict(old.options)
    kept = {name: value for name, value in old.options.items() if name == "purpose"}  # of the corpus, not of its place
    if dropped := ", ".join(name for name in old.options if name not in kept):
        warn(f"left out of the entry: {dropped}, which applied to the old root; add those that the new root needs")
    return kept


def _refuse_overlap(old: str, new: str) -> None:
    if old == new:
        raise InvalidArgument(f"the corpus has its root at {new} already", root=new)
    inner, outer = sorted((old + "/", new + "/"), key=len, reverse=True)
    if inner.startswith(outer):
        raise InvalidArgument(f"{inner[:-1]} lies inside {outer[:-1] or outer}: choose another place", root=new)


def _is_there(new: Reference) -> bool:
    """Whether there is a head at the new root.

    Raises:
        CorpusExists: there is something else.
        StorageError
    """
    from securedata.corpus.connection import connect
    from securedata.corpus.state.head import MAX_SEALED
    from securedata.corpus.state.layout import HEAD

    storage = connect(new.without_role()).storage
    try:
        storage.get(HEAD, MAX_SEALED)
    except NotFound:
        for entry in storage.list():
            raise CorpusExists(
                f"{new.root} is not empty ({entry.key}) and has no head, so it is not a complete corpus: finish the "
                "copy, or choose another place",
                root=new.root,
            ) from None
        return False
    return True


def _check(args: Namespace, old: Reference, new: Reference) -> tuple[int, bool]:
    """The generation of the corpus at the new root, compared with the old root; and whether that one is gone.

    Raises:
        PinRequired, PinMismatch, OlderGeneration, KeysError, ...
    """
    new.require_pin()
    generation = _generation(new, args.accept_generation)
    try:
        before = _generation(old, None)
    except (CorpusGone, NotACorpus):  # it was moved rather than copied
        return generation, True
    except SecuredataError as error:
        say(args, f"not compared with the old root, which cannot be opened: {error}")
        return generation, False
    if generation != before and generation != args.accept_generation:
        raise OlderGeneration(
            f"{new.root} has generation {generation} of the corpus, but {old.root} has {before}: copy it again, or "
            f"do without the later changes with --accept-generation {generation}",
            root=new.root,
        )
    return generation, False


def _generation(found: Reference, accept: int | None) -> int:
    from securedata.corpus.connection import connect
    from securedata.corpus.state.lease import HeadLease

    own = found.without_role()
    return HeadLease(own, connect(own), ttl=60, kms_wait=0, accept_generation=accept).open().head.generation


def copy_command(old: Reference, new: Reference) -> str | None:
    """A shell command that copies the corpus; None if we know of no tool for it."""
    at_s3 = [one for one in (old, new) if one.root.startswith(_S3)]
    if any("://" in one.root and one not in at_s3 for one in (old, new)):
        return None
    if not at_s3:
        target = shlex.quote(new.root)
        return f"mkdir -p {target} && cp -a {shlex.quote(os.path.join(old.root, '.'))} {target}"
    names = (("endpoint_url", "--endpoint-url"), ("profile", "--profile"), ("region", "--region"))
    options = [word for name, flag in names if (value := at_s3[0].options.get(name)) for word in (flag, value)]
    return shlex.join(["aws", "s3", "sync", old.root, new.root, *options])
