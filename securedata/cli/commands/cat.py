"""`securedata cat`."""

from __future__ import annotations

import os
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
from securedata.cli.streams import refuse_plaintext_file, write_raw
from securedata.errors import InvalidArgument

_PIECE = 8 * 1024 * 1024


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "cat",
        cat,
        help="write one recording to standard output",
        about=(
            "Decrypt one recording to standard output: a pipe or, with --allow-plaintext-export, a file.\n"
            "Each chunk is authenticated before any byte of it is written."
        ),
        example=(
            "  securedata cat voice-a ann/utt0.wav | soxi -\n"
            "  securedata cat securedata://voice-a/ann/utt0.wav | ffplay -nodisp -autoexit -"
        ),
    )
    add_target(parser)
    parser.add_argument(
        "path", metavar="PATH", nargs="?", default="", help="the recording, as 'securedata ls -R' shows it"
    )
    parser.add_argument("--allow-plaintext-export", action="store_true", help="allow standard output to be a file")
    parser.add_argument("--force", action="store_true", help="allow standard output to be a terminal")
    add_corpus_options(parser, reads=True)
    parser.set_defaults(json=False, quiet=False)


def cat(args: Namespace) -> int:
    """Run `securedata cat`."""
    from securedata.corpus.opening import open_corpus

    target, path = split_target(args.target, args.path)
    if not path:
        raise InvalidArgument("give the path of a recording, as 'securedata ls -R' shows it")
    output = sys.stdout.buffer
    refuse_plaintext_file(args.allow_plaintext_export)
    if os.isatty(output.fileno()) and not args.force:
        raise InvalidArgument(
            "standard output is a terminal: pipe it into a player, such as | ffplay -, or pass --force"
        )
    with open_corpus(reference(args, target), columns=["path"], accept_generation=args.accept_generation) as corpus:
        i = corpus.find(path)
        size = corpus.value("size", i)
        if size <= _PIECE:
            write_raw(output.fileno(), corpus.read(i))
        else:
            for at in range(0, size, _PIECE):
                write_raw(output.fileno(), corpus.read_range(i, at, _PIECE))
    return 0
