"""`securedata manifest`."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from securedata.cli.common import (
    add_command,
    add_corpus_options,
    add_target,
    pins,
    plural,
    print_json,
    say,
    split_target,
)
from securedata.cli.streams import refuse_plaintext_file, write_raw
from securedata.errors import InvalidArgument

_FORMATS = ("nemo", "lhotse", "kaldi", "hf", "csv")
_PIECE = 64 * 1024


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "manifest",
        manifest,
        help="list the recordings for NeMo, lhotse, Kaldi, Hugging Face or as CSV",
        about=(
            "Write a manifest to standard output, a line for each recording or segment, with URLs\n"
            "securedata://NAME/PATH that the tool opens. No recording is read. A manifest has names and\n"
            "transcripts, so standard output must be a pipe or, with --allow-plaintext-export, a file.\n"
            "\n"
            "nemo: JSON lines with audio_filepath, duration, offset, text, sampling_rate, lang. lhotse: cuts as JSON\n"
            "lines. kaldi: a data directory, for -o; its wav.scp decrypts into pipes. hf: JSON lines for the json\n"
            "loader of datasets. csv: a table with a header."
        ),
        example=(
            "  securedata manifest voice-a --format nemo | head -2\n"
            "  securedata manifest voice-a ann --format lhotse | python train.py\n"
            "  securedata manifest voice-a --format kaldi -o data --allow-plaintext-export"
        ),
    )
    add_target(parser)
    parser.add_argument("path", metavar="PATH", nargs="?", default="", help="a folder or a recording (default: all)")
    parser.add_argument("--format", choices=_FORMATS, default="nemo", help="what reads it (default: nemo)")
    parser.add_argument("--split", metavar="SPLIT", help="only rows of this split")
    parser.add_argument("--speaker", metavar="NAME", help="only rows of this speaker")
    parser.add_argument("-o", "--output", metavar="DIR", help="write the files into this folder (kaldi only)")
    parser.add_argument("--overwrite", action="store_true", help="with -o: replace existing files that differ")
    parser.add_argument(
        "--allow-plaintext-export", action="store_true", help="allow names and transcripts to reach a file"
    )
    add_corpus_options(parser, reads=True)
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="with -o: print one JSON document")
    group.add_argument("-q", "--quiet", action="store_true", help="print no notes")


def manifest(args: Namespace) -> int:
    """Run `securedata manifest`."""
    several = args.format == "kaldi"
    if several and not args.output:
        raise InvalidArgument("a manifest for kaldi is several files: give a folder with -o")
    if args.output and not several:
        raise InvalidArgument(f"a manifest for {args.format} goes to standard output: pipe it, or redirect it with >")
    if args.json and not args.output:
        raise InvalidArgument("--json is for -o: without it the manifest is what is printed")
    if not several:
        refuse_plaintext_file(args.allow_plaintext_export)
    from securedata.corpus.manifests.manifest import manifest as make

    target, path = split_target(args.target, args.path)
    with make(
        target,
        args.format,
        path=path,
        split=args.split,
        speaker=args.speaker,
        kms=args.kms,
        pin=pins(args),
        purpose=args.purpose,
        accept_generation=args.accept_generation,
    ) as made:
        if made.others:
            say(args, f"{plural(made.others, 'row')} left out: no recordings")
        if several:
            files = made.save(args.output, allow_plaintext_export=args.allow_plaintext_export, overwrite=args.overwrite)
            if args.json:
                print_json({"format": args.format, "files": files, "rows": made.rows, "others": made.others})
            else:
                say(args, f"{plural(made.rows, 'row')} in {args.output}: {', '.join(made.files)}")
            return 0
        piece = bytearray()
        for line in made:
            piece += f"{line}\n".encode()
            if len(piece) >= _PIECE:
                write_raw(sys.stdout.fileno(), piece)  # raises when the reader goes away, as head does
                piece.clear()
        write_raw(sys.stdout.fileno(), piece)
    return 0
