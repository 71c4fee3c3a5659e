"""`securedata rotate`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import Any

from securedata.cli.common import (
    add_command,
    add_corpus_options,
    add_output_options,
    add_target,
    add_writer_options,
    out,
    pins,
    plural,
    print_json,
    say,
)

LEFT = (
    "rotation takes nothing back: who could read the corpus may have kept recordings, words and the keys of objects; a "
    "copy of an older head still opens with the KMS keys that wrapped it"
)


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "rotate",
        rotate,
        help="seal the corpus under a fresh corpus key",
        about=(
            "Seal the head under a fresh corpus key, wrapped by every KMS key that wraps the current one. The corpus\n"
            "key that earlier readers were given opens no later head. Running jobs go on, and take the fresh key when\n"
            "they renew theirs.\n\n"
            "Each KMS key is asked for one Encrypt, and one Decrypt to check it, before anything is written. One that\n"
            "cannot be reached stops the rotation, unless --drop-wrap names it: it then opens no later head.\n\n"
            "Rotation takes nothing back: who could read the corpus may have kept recordings, words and the keys of\n"
            "objects, and a copy of an older head still opens with the KMS keys that wrapped it."
        ),
        example=(
            "  securedata rotate voice-a\n"
            "  # a KMS that is gone for good\n"
            "  securedata rotate voice-a \\\n"
            "    --drop-wrap hcvault://old-vault.example:8200/transit/keys/voice"
        ),
    )
    add_target(parser)
    parser.add_argument(
        "--drop-wrap",
        action="append",
        default=[],
        metavar="URI",
        help="a KMS key that is not to open the corpus any more, as 'securedata wrap list' shows it; repeatable",
    )
    add_corpus_options(parser)
    add_writer_options(parser)
    add_output_options(parser)


def rotate(args: Namespace) -> int:
    """Run `securedata rotate`."""
    from securedata.lifecycle.rotate import rotate as seal_again

    report = seal_again(
        args.target,
        drop_wraps=args.drop_wrap,
        kms=args.kms,
        pin=pins(args),
        single_writer=args.single_writer,
        accept_generation=args.accept_generation,
    )
    if args.json:
        print_json(asdict(report))
        return 0
    out(f"rotated: generation {report.generation} is under a fresh corpus key, {plural(len(report.wraps), 'wrap')}")
    for uri in report.dropped:
        out(f"dropped: {uri} opens no later head")
    say(args, LEFT)
    return 0
