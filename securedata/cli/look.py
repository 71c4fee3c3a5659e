"""`securedata ls` and `securedata cat`."""

from __future__ import annotations

import os
import stat
import sys
from argparse import Namespace
from typing import Any

from securedata.cli.common import (
    add_command,
    add_corpus_options,
    add_output_options,
    print_json,
    reference,
    table,
)
from securedata.errors import InvalidArgument, NoSuchPath, PlaintextRefused

_COLUMNS = ["path", "size", "frames", "sample_rate", "frames_in_segment", "speaker", "split", "language"]
_PIECE = 4 * 1024 * 1024


def add_parser(subparsers: Any) -> None:
    """Add the commands."""
    parser = add_command(
        subparsers,
        "ls",
        ls,
        help="list the recordings of a corpus",
        about="List the recordings of a corpus with plaintext sizes and durations.",
        example="  securedata ls voice-a\n  securedata ls voice-a ann/ --json",
    )
    parser.add_argument("target", metavar="CORPUS", help="NAME, securedata://NAME, a path or a URL")
    parser.add_argument("prefix", metavar="PREFIX", nargs="?", default="", help="only paths that begin with it")
    add_corpus_options(parser)
    add_output_options(parser)
    parser = add_command(
        subparsers,
        "cat",
        cat,
        help="write one recording to a pipe",
        about=(
            "Decrypt one recording to standard output: to a pipe, or, with --allow-plaintext-export, into a file.\n"
            "Nothing is written before it has been authenticated."
        ),
        example="  securedata cat voice-a ann/utt0.wav | soxi -",
    )
    parser.add_argument("target", metavar="CORPUS", help="NAME, securedata://NAME, a path or a URL")
    parser.add_argument("path", metavar="PATH", help="logical path, as 'securedata ls' shows it")
    parser.add_argument("--allow-plaintext-export", action="store_true", help="let plaintext reach a file")
    add_corpus_options(parser)
    parser.set_defaults(json=False, quiet=False)


def ls(args: Namespace) -> int:
    """Run `securedata ls`."""
    from securedata.corpus.opening import open_corpus

    with open_corpus(reference(args, args.target), columns=_COLUMNS) as corpus:
        rows = corpus.table.select(_COLUMNS).to_pylist()
    rows = sorted((row for row in rows if row["path"].startswith(args.prefix)), key=lambda row: row["path"])
    if args.prefix and not rows:
        raise NoSuchPath(f"no path in {args.target} begins with what was asked for; 'securedata ls' lists them")
    for row in rows:
        frames = row.pop("frames_in_segment")
        row["seconds"] = round((row["frames"] if frames is None else frames) / row["sample_rate"], 3)
    if args.json:
        print_json(rows)
    elif rows:
        lines = [(f"{row['size']:,}", f"{row['seconds']:.2f} s", row["speaker"], row["path"]) for row in rows]
        print(table(lines, frozenset({0, 1})))
    return 0


def cat(args: Namespace) -> int:
    """Run `securedata cat`."""
    from securedata.corpus.opening import open_corpus

    output = sys.stdout.buffer
    kind = os.fstat(output.fileno()).st_mode
    if stat.S_ISREG(kind) and not args.allow_plaintext_export:
        raise PlaintextRefused(
            "standard output is a file, so plaintext would reach a disk: say --allow-plaintext-export if you mean it"
        )
    if os.isatty(output.fileno()):
        raise InvalidArgument("a recording is not for a terminal: pipe it into a player, as | ffplay -")
    with open_corpus(reference(args, args.target), columns=[]) as corpus:
        i = corpus.find(args.path)
        if corpus.value("size", i) <= 16 * _PIECE:
            output.write(corpus.read(i))
        else:
            with corpus.open(i) as file:
                while piece := file.read(_PIECE):
                    output.write(piece)
    output.flush()
    return 0
