"""`securedata wrap`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from securedata.cli.commands.rotate import LEFT
from securedata.cli.common import (
    add_command,
    add_output_options,
    add_pin,
    add_target,
    add_writer_options,
    out,
    pins,
    print_json,
    say,
    warn,
)
from securedata.cli.tables import table
from securedata.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securedata.corpus.config import Reference
    from securedata.keys.wraps import Wrap


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "wrap",
        wrap,
        help="show, add or drop the KMS keys of a corpus",
        about=(
            "Show, add or drop KMS keys that can open a corpus: in other regions, at other providers, in a safe.\n\n"
            "add needs permission to encrypt and decrypt with the new key, and a key that opens the corpus today,\n"
            "from the config file or SECUREDATA_KMS. A key that ignores the encryption context is refused; a missing\n"
            "key file is created. To open the corpus with the new key, people add it to kms in their own config.\n\n"
            "drop makes later heads unreadable with a key. It revokes nothing: anyone who could use the key may have\n"
            "kept what it opened, the corpus key too. With --rotate the same commit seals the corpus under a fresh\n"
            "corpus key, as 'securedata rotate' does."
        ),
        example=(
            "  securedata wrap list voice-a\n"
            "  securedata wrap add voice-a \\\n"
            "    --kms hcvault://vault.example:8200/transit/keys/voice\n"
            "  securedata wrap drop voice-a --kms local:///old/voice.kek --rotate"
        ),
    )
    parser.add_argument("action", choices=["list", "add", "drop"], metavar="list|add|drop", help="what to do")
    add_target(parser)
    group = parser.add_argument_group("corpus")
    group.add_argument("--kms", metavar="URI", help="the KMS key to add or drop; give a lost one as 'list' shows it")
    group.add_argument("--rotate", action="store_true", help="with drop: also seal the corpus under a fresh corpus key")
    add_pin(group)
    add_writer_options(parser)
    add_output_options(parser)


def wrap(args: Namespace) -> int:
    """Run the command."""
    from securedata.corpus.config import resolve

    if (args.action == "list") != (args.kms is None):
        text = "shows all keys: leave out --kms" if args.kms else "needs a key: pass --kms URI"
        raise InvalidArgument(f"{args.action} {text}")
    if args.rotate and args.action != "drop":
        raise InvalidArgument("--rotate goes with drop; to rotate without that, run 'securedata rotate'")
    found = resolve(args.target, None, pins(args))
    return _list(args, found) if args.action == "list" else _change(args, found)


def _list(args: Namespace, found: Reference) -> int:
    from securedata.corpus.connection import connect
    from securedata.corpus.state.head import MAX_SEALED, peek
    from securedata.corpus.state.layout import HEAD
    from securedata.corpus.state.lease import explain_missing_head
    from securedata.keys.pin import check_corpus

    storage = connect(found).storage
    header, wraps = peek(explain_missing_head(found, storage, lambda: storage.get(HEAD, MAX_SEALED)), found.root)
    check_corpus(found.pins, header.corpus_id, found.root)
    say(args, "no KMS was called: this comes from storage unverified; opening the corpus verifies it")
    _show(args, found, wraps)
    return 0


def _change(args: Namespace, found: Reference) -> int:
    from dataclasses import replace

    from securedata.corpus.connection import connect
    from securedata.corpus.wrapping import add_wrap, drop_wrap
    from securedata.corpus.writer import Writer
    from securedata.keys.kms import trusts
    from securedata.lifecycle.rotate import rotate_head

    found.require_pin()
    # with the user's own credentials: a role's session may not encrypt
    own = found.without_role()
    writer = Writer(own, single_writer=args.single_writer, accept_generation=args.accept_generation)
    if args.action == "drop" and args.rotate:
        rotated = rotate_head(writer, [args.kms])
        head = writer.head
        say(args, f"dropped, and rotated in generation {rotated.generation}; {LEFT}")
    elif args.action == "drop":
        head = drop_wrap(writer, args.kms).head
        say(args, "dropped; anyone who could use that key may have kept what it opened, and old copies of the head")
    else:
        if made := _key_file(found, args.kms):
            warn(f"the key file {made} was created: back it up")
        done = add_wrap(writer, connect(replace(own, kms=(args.kms,))).trusted[0])
        head = done.head
        say(
            args, f"added in generation {done.head.generation}" if done.changed else "this key opens the corpus already"
        )
    if not any(trusts(found.kms, one.uri) for one in head.wraps):
        warn("warning: no key that you trust opens the corpus any more; add one to kms in your config")
    _show(args, found, head.wraps)
    return 0


def _key_file(found: Reference, uri: str) -> str:
    """Create a missing key file, as 'init' does; returns its path, '' if none was created."""
    from securedata.keys.local import SCHEME, LocalKMS, create_key_file, refuse_inside

    if not uri.startswith(SCHEME):
        return ""
    refuse_inside(found.root, [uri])
    path = LocalKMS(uri).path
    return str(path) if create_key_file(path) else ""


def _show(args: Namespace, found: Reference, wraps: Sequence[Wrap]) -> None:
    from securedata.keys.kms import trusts

    listed = [{"uri": one.uri, "trusted": trusts(found.kms, one.uri)} for one in wraps]
    if args.json:
        print_json({"root": found.root, "wraps": listed})
    else:
        out(table([(str(one["uri"]), "yours" if one["trusted"] else "") for one in listed], whole=frozenset({0})))
