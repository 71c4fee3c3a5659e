"""`securedata cat`."""

from __future__ import annotations

import os
import stat
import sys
from argparse import Namespace
from typing import Any

from securedata.cli.common import (
    add_command,
    add_corpus_options,
    add_target,
    reference,
    split_target,
)
from securedata.cli.streams import write_raw
from securedata.errors import InvalidArgument, PlaintextRefused

_PIECE = 8 * 1024 * 1024


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "cat",
        cat,
        help="write one recording to a pipe",
        about=(
            "Decrypt one recording to standard output: to a pipe, or, with --allow-plaintext-export, into a file.\n"
            "No byte is written before the chunk that it is in has been authenticated."
        ),
        example=(
            "  securedata cat voice-a ann/utt0.wav | soxi -\n"
            "  securedata cat securedata://voice-a/ann/utt0.wav | ffplay -nodisp -autoexit -"
        ),
    )
    add_target(parser)
    parser.add_argument("path", metavar="PATH", nargs="?", default="", help="as 'securedata ls -R' shows it")
    parser.add_argument("--allow-plaintext-export", action="store_true", help="let plaintext reach a file")
    parser.add_argument("--force", action="store_true", help="write to a terminal, whatever it makes of it")
    add_corpus_options(parser, reads=True)
    parser.set_defaults(json=False, quiet=False)


def cat(args: Namespace) -> int:
    """Run `securedata cat`."""
    from securedata.corpus.opening import open_corpus

    target, path = split_target(args.target, args.path)
    if not path:
        raise InvalidArgument("which recording? Give its path, as 'securedata ls -R' shows it")
    output = sys.stdout.buffer
    if stat.S_ISREG(os.fstat(output.fileno()).st_mode) and not args.allow_plaintext_export:
        raise PlaintextRefused(
            "standard output is a file, so plaintext would reach a disk: say --allow-plaintext-export if you mean it"
        )
    if os.isatty(output.fileno()) and not args.force:
        raise InvalidArgument("a recording is not for a terminal: pipe it into a player, as | ffplay -, or say --force")
    with open_corpus(reference(args, target), columns=["path"], accept_generation=args.accept_generation) as corpus:
        i = corpus.find(path)
        size = corpus.value("size", i)
        if size <= _PIECE:
            write_raw(output.fileno(), corpus.read(i))
        else:
            for at in range(0, size, _PIECE):
                write_raw(output.fileno(), corpus.read_range(i, at, _PIECE))
    return 0
