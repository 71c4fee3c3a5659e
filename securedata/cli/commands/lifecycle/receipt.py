"""`securedata receipt`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from securedata.cli.common import add_command, add_output_options, out, print_json, say, warn
from securedata.errors import InvalidArgument

if TYPE_CHECKING:
    from securedata.lifecycle.receipt.note import VerifierKey
    from securedata.lifecycle.receipt.statement import Statement


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "receipt",
        receipt,
        help="verify or show the receipt of an erasure",
        about=(
            "Verify or show the receipt of an erasure. Neither needs the corpus, a KMS or a network.\n\n"
            "verify checks the signature with the operator's public key, and that the receipt does not contradict\n"
            "itself; then it says who signed it, what it states, and what it does not. With --opening it also checks\n"
            "that the receipt is about the person of this opening. Get the key from somewhere else than the receipt.\n"
            "Exit code 1: it was changed, is signed by no trusted key, or is no receipt.\n\n"
            "show prints what a receipt says, without checking who signed it."
        ),
        example=(
            "  securedata receipt verify erasure.receipt --key operator.pub\n"
            "  securedata receipt verify erasure.receipt --key operator.pub \\\n"
            "    --opening mine.json\n"
            "  securedata receipt show erasure.receipt --json | jq -r '.deleted.objects[]'"
        ),
    )
    parser.add_argument("action", choices=["verify", "show"], metavar="verify|show", help="what to do")
    parser.add_argument("file", metavar="FILE", help="the receipt")
    group = parser.add_argument_group("verifying")
    group.add_argument(
        "--key",
        action="append",
        metavar="KEY|FILE",
        help="a trusted verifier key (NAME+ID+BASE64), or a file with one a line; repeatable "
        "(default: your own, [operator] in the config)",
    )
    group.add_argument("--opening", metavar="FILE", help="the opening that a person was given")
    add_output_options(parser)


def receipt(args: Namespace) -> int:
    """Run the command."""
    if args.action == "verify":
        return _verify(args)
    if args.key or args.opening:
        raise InvalidArgument("show checks nothing: leave out --key and --opening, or run 'securedata receipt verify'")
    from securedata.lifecycle.receipt.codec import to_json
    from securedata.lifecycle.receipt.verify import read_receipt, unverified_statement

    statement = unverified_statement(read_receipt(args.file))
    if args.json:
        print_json(to_json(statement))
        return 0
    warn("its signature was not checked; 'securedata receipt verify' does that")
    _describe(statement)
    return 0


def _verify(args: Namespace) -> int:
    from securedata.lifecycle.receipt.codec import to_json
    from securedata.lifecycle.receipt.verify import read_opening, read_receipt, verify_receipt

    keys = _keys(args.key)
    opening = read_opening(args.opening) if args.opening else None
    found = verify_receipt(read_receipt(args.file), keys, opening)
    if args.json:
        print_json(
            {
                "receipt": found.statement.id,
                "digest": found.digest,
                "signers": [str(one) for one in found.signers],
                "opened": found.opened,
                "notes": list(found.notes),
                "statement": to_json(found.statement),
            }
        )
        return 0
    for signer in found.signers:
        out(f"signed by {signer}")
    if found.opened:
        out("the receipt names the person of this opening")
    _describe(found.statement)
    out(f"SHA-256 of the file: {found.digest}")
    for note in found.notes:
        warn(f"note: {note}")
    say(
        args, "it is final if the head of the corpus records this digest; only someone who may open the corpus can tell"
    )
    return 0


def _keys(words: list[str] | None) -> list[VerifierKey]:
    from securedata.lifecycle.receipt.operator import public_key
    from securedata.lifecycle.receipt.verify import read_keys

    if words:
        return read_keys(words)
    own = public_key()
    if own is None:
        raise InvalidArgument(
            "verify needs the operator's public key: give --key, with the key as the operator published it, apart from "
            "the receipt"
        )
    return [own]


def _describe(statement: Statement) -> None:
    from securedata.lifecycle.receipt.words import does_not_state, states

    out("It states:")
    for line in states(statement):
        out(f"  {line}")
    out("It does not state, or says that it remains:")
    for line in does_not_state(statement):
        out(f"  {line}")
