"""`securedata move`."""

from __future__ import annotations

import os
import shlex
from argparse import Namespace
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from securedata.cli.common import add_command, add_output_options, out, positive, print_json, say, warn
from securedata.errors import CorpusExists, InvalidArgument, NotFound, OlderGeneration, SecuredataError

if TYPE_CHECKING:
    from securedata.corpus.config import Reference

_S3 = "s3://"


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "move",
        move,
        help="tell the config file that a corpus has another root",
        about=(
            "Write a new root into the entry of a corpus. Its files are copied by you: before, and then the copy is\n"
            "opened and compared with the pin; or afterwards, and then the command that copies them is printed.\n"
            "Nobody may write to the corpus between the copy and the move, and nothing at the old root is deleted."
        ),
        example=(
            "  securedata move voice-a s3://voice/contractor-a     # prints how to copy, if nothing is there yet\n"
            "  securedata verify voice-a                           # before you delete the old root"
        ),
    )
    parser.add_argument("name", metavar="NAME", help="the name in the config file, as 'securedata list' shows it")
    parser.add_argument("newroot", metavar="NEWROOT", help="a path or a URL: where the corpus is, or will be")
    parser.add_argument(
        "--accept-generation",
        type=positive,
        metavar="N",
        help="move to a copy of this generation although a newer one was seen: what came since is not in it",
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
    generation = _check(args, old, new) if _is_there(new) else None
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
    say(args, f"{old.name!r} has its root at {root} now, by {config}; it was {old.root}")
    if generation is not None:
        out(f"the corpus is there, with generation {generation}")
        say(args, f"before you delete the old root: securedata verify {old.name}")
    elif copying is None:
        warn(f"nothing is at {root} yet: copy everything below {old.root} to it, while nobody writes")
    else:
        warn(f"nothing is at {root} yet: copy it before you use the corpus, while nobody writes")
        out(copying)
    return 0


def _options(args: Namespace, old: Reference, root: str) -> dict[str, str]:
    """How the new storage is reached: as the old one, if it is of the same kind."""
    if root.partition("://")[:2] == old.root.partition("://")[:2] or not old.options:
        return dict(old.options)
    dropped = ", ".join(old.options)
    warn(f"the entry says {dropped}, which is of the old root, so it is left out: add to it what the new one needs")
    return {}


def _refuse_overlap(old: str, new: str) -> None:
    if old == new:
        raise InvalidArgument(f"the corpus has its root at {new} already", root=new)
    inner, outer = sorted((old + "/", new + "/"), key=len, reverse=True)
    if inner.startswith(outer):
        raise InvalidArgument(f"one of {old} and {new} lies in the other: choose another place", root=new)


def _is_there(new: Reference) -> bool:
    """Is there a head at the new root?

    Raises:
        CorpusExists: there is something, and no head.
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
                f"there is something at {new.root} ({entry.key}) and no head, so no whole corpus: finish the copy, or "
                "choose another place",
                root=new.root,
            ) from None
        return False
    return True


def _check(args: Namespace, old: Reference, new: Reference) -> int:
    """The generation of the corpus at the new root, which is the same as that at the old one.

    Raises:
        PinRequired, PinMismatch, OlderGeneration, KeysError, ...
    """
    new.require_pin()
    generation = _generation(new, args.accept_generation)
    try:
        before = _generation(old, None)
    except SecuredataError as error:
        say(args, f"the old root cannot be opened, so nothing is compared with it: {error}")
        return generation
    if generation != before and generation != args.accept_generation:
        raise OlderGeneration(
            f"{new.root} has generation {generation} of the corpus, and {old.root} has {before}: copy it again, or "
            f"give --accept-generation {generation}: what came since is not in the copy",
            root=new.root,
        )
    return generation


def _generation(found: Reference, accept: int | None) -> int:
    from securedata.corpus.connection import connect
    from securedata.corpus.state.lease import HeadLease

    own = found.without_role()
    return HeadLease(own, connect(own), ttl=60, kms_wait=0, accept_generation=accept).open().head.generation


def copy_command(old: Reference, new: Reference) -> str | None:
    """What copies a corpus, for a shell; None: a tool that we do not know."""
    at_s3 = [one for one in (old, new) if one.root.startswith(_S3)]
    if any("://" in one.root and one not in at_s3 for one in (old, new)):
        return None
    if not at_s3:
        target = shlex.quote(new.root)
        return f"mkdir -p {target} && cp -a {shlex.quote(os.path.join(old.root, '.'))} {target}"
    names = (("endpoint_url", "--endpoint-url"), ("profile", "--profile"), ("region", "--region"))
    options = [word for name, flag in names if (value := at_s3[0].options.get(name)) for word in (flag, value)]
    return shlex.join(["aws", "s3", "sync", old.root, new.root, *options])
