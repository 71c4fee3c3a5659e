"""`securedata operator`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from securedata.cli.common import add_command, add_output_options, out, print_json, say, warn
from securedata.errors import InvalidArgument

if TYPE_CHECKING:
    from securedata.lifecycle.receipt.operator import Operator


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "operator",
        operator,
        help="make or show the key that signs receipts of erasures",
        about=(
            "Make or show the operator's key, an Ed25519 key that signs the receipts of erasures. It opens no\n"
            "corpus.\n\n"
            "init makes the key file (in ~/.local/share/securedata) and writes the public half into the config file.\n"
            "An existing key is kept. Back the key file up, and publish the public half where people can find it\n"
            "apart from the receipts, such as on your web site: a receipt proves only that this key signed it.\n\n"
            "show checks the key as an erasure does before its first write, with a test signature."
        ),
        example=(
            "  securedata operator init --name example.com/erasure\n"
            "  securedata operator show\n"
            "  securedata operator show --json | jq -r .public    # to publish"
        ),
    )
    parser.add_argument("action", choices=["init", "show"], metavar="init|show", help="what to do")
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="of a new key, without blanks and '+': best a host name of yours with a path; it stands in every receipt",
    )
    add_output_options(parser)


def operator(args: Namespace) -> int:
    """Run the command."""
    from securedata.lifecycle.receipt.operator import load_operator, make_operator

    if args.action == "show":
        if args.name is not None:
            raise InvalidArgument("show shows the key of this machine: leave out --name")
        _show(args, load_operator(), made=False)
        return 0
    found, made = make_operator(args.name)
    _show(args, found, made)
    if made:
        warn(
            f"the operator key {found.path} was created: back it up, and publish the public half where people can "
            "find it apart from the receipts"
        )
    else:
        say(args, "this key was there already, and was kept")
    return 0


def _show(args: Namespace, found: Operator, made: bool) -> None:
    if args.json:
        print_json({"name": found.name, "key": str(found.path), "public": str(found.public), "made": made})
        return
    say(args, f"key file {found.path}; its public half:")
    out(str(found.public))
