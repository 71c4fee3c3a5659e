"""`securedata receipt`."""

from __future__ import annotations

import time
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from securedata.cli.common import (
    add_command,
    add_corpus_options,
    add_output_options,
    add_writer_options,
    out,
    pins,
    print_json,
    say,
    warn,
)
from securedata.errors import InvalidArgument

if TYPE_CHECKING:
    from securedata.corpus.config import Reference
    from securedata.lifecycle.receipt.note import VerifierKey
    from securedata.lifecycle.receipt.statement import Statement


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "receipt",
        receipt,
        help="verify, show or complete the receipt of an erasure",
        about=(
            "Verify or show the receipt of an erasure, which needs neither the corpus, nor a KMS or a network; or\n"
            "complete it.\n\n"
            "verify checks the signature with the operator's public key, and that the receipt does not contradict\n"
            "itself; then it says who signed it, what it states, and what it does not. With --opening it also checks\n"
            "that the receipt is about the person of this opening. Get the key from somewhere else than the receipt.\n"
            "Exit code 1: it was changed, is signed by no trusted key, or is no receipt.\n\n"
            "show prints what a receipt says, without checking who signed it.\n\n"
            "complete asks the KMS keys that wrapped the old corpus key whether they live: a head that was saved\n"
            "before the erasure opens as long as one does. It says which corpora of your config still need a key\n"
            "(others may exist), and by which commands it is destroyed; it never destroys one. What has become of\n"
            "them goes into a new receipt, which is then the final one. --stated, --validated and --responsible add\n"
            "what only you can say."
        ),
        example=(
            "  securedata receipt verify erasure.receipt --key operator.pub\n"
            "  securedata receipt verify erasure.receipt --key operator.pub \\\n"
            "    --opening mine.json\n"
            "  securedata receipt show erasure.receipt --json | jq -r '.deleted.objects[]'\n"
            "  securedata receipt complete erasure.receipt voice-a \\\n"
            "    --stated 'backups=the tapes of 2025 were overwritten on 2026-11-30'"
        ),
    )
    parser.add_argument(
        "action", choices=["verify", "show", "complete"], metavar="verify|show|complete", help="what to do"
    )
    parser.add_argument("file", metavar="FILE", help="the receipt")
    parser.add_argument(
        "target", metavar="CORPUS", nargs="?", help="of complete: NAME, securedata://NAME, a path or a URL"
    )
    group = parser.add_argument_group("verifying")
    group.add_argument(
        "--key",
        action="append",
        metavar="KEY|FILE",
        help="a trusted verifier key (NAME+ID+BASE64), or a file with one a line; repeatable "
        "(default: your own, [operator] in the config)",
    )
    group.add_argument("--opening", metavar="FILE", help="the opening that a person was given")
    more = parser.add_argument_group("completing")
    more.add_argument(
        "--stated",
        action="append",
        default=[],
        metavar="ABOUT=TEXT",
        help="what you state and securedata cannot check, such as of backups or KMS snapshots; repeatable",
    )
    more.add_argument(
        "--validated",
        metavar="BY=TEXT",
        help="who has judged today, apart from the checks, that the result is enough, and in which words",
    )
    more.add_argument("--responsible", metavar="WHO", help="the person or office responsible, and how to reach them")
    add_corpus_options(parser)
    add_writer_options(parser)
    add_output_options(parser)


def receipt(args: Namespace) -> int:
    """Run the command."""
    if args.action == "complete":
        return _complete(args)
    if args.target or args.stated or args.validated or args.responsible:
        raise InvalidArgument(
            f"{args.action} takes the receipt alone: leave out CORPUS, --stated, --validated and --responsible"
        )
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


def _complete(args: Namespace) -> int:
    from securedata.keys.kms import open_all
    from securedata.lifecycle.erasure.complete import complete, how_to_destroy
    from securedata.lifecycle.erasure.erase import open_to_erase
    from securedata.lifecycle.receipt.members import Stated, Validation, utc
    from securedata.lifecycle.receipt.operator import load_operator
    from securedata.lifecycle.receipt.verify import read_receipt

    if not args.target:
        raise InvalidArgument("complete needs the corpus: give CORPUS after the receipt")
    if args.key or args.opening:
        raise InvalidArgument("complete takes no --key and no --opening: it is signed by your own key")
    stated = [Stated(*_two(words, "--stated is ABOUT=TEXT", "backups=there are none")) for words in args.stated]
    validation = None
    if args.validated:
        by, says = _two(args.validated, "--validated is BY=TEXT", "the data protection officer=enough for REQ-7")
        validation = Validation(by, says, utc(time.time())[:10])
    operator, found = load_operator(), resolve_own(args)
    writer = open_to_erase(found, single_writer=args.single_writer, accept_generation=args.accept_generation)
    asked = open_all((*found.kms, *(uri for uri in args.kms or () if uri not in found.kms)))
    done = complete(
        writer,
        read_receipt(args.file),
        operator,
        asked,
        stated,
        validation=validation,
        responsible=(args.responsible or "").strip() or None,
    )
    if args.json:
        print_json(
            {
                "receipt": done.receipt.id,
                "digest": done.receipt.digest,
                "path": None if done.receipt.path is None else str(done.receipt.path),
                "levels": list(done.receipt.levels),
                "changed": done.changed,
                "keys": [asdict(one) for one in done.keys],
            }
        )
        return 0
    for one in done.keys:
        out(f"{one.wrap}: {one.why if one.fate is None else f'{one.fate.state} ({one.fate.evidence})'}")
        if one.needed_by:
            say(
                args,
                f"  still needed by {', '.join(one.needed_by)}; corpora that your config does not have may need it too",
            )
        if one.fate is not None and one.fate.state == "lives":
            for line in how_to_destroy(one.wrap):
                say(args, f"  {line}")
    out(f"levels: {'; '.join(done.receipt.levels)}")
    out(f"receipt: {done.receipt.path or 'on another machine'}{'' if done.changed else ', as it was'}")
    return 0


def _two(words: str, form: str, example: str) -> tuple[str, str]:
    """The two sides of a word with '='."""
    one, mark, other = words.partition("=")
    if not (mark and one.strip() and other.strip()):
        raise InvalidArgument(f"{form}, such as '{example}'")
    return one.strip(), other.strip()


def resolve_own(args: Namespace) -> Reference:
    """The corpus with the config's KMS keys, whatever --kms adds."""
    from securedata.corpus.config import resolve

    return resolve(args.target, None, pins(args))


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
