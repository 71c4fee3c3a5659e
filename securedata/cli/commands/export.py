"""`securedata export`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict, replace
from typing import Any

from securedata.cli.commands.lifecycle import to_corpus
from securedata.cli.common import (
    add_command,
    add_corpus_options,
    add_output_options,
    add_target,
    add_threads,
    fail,
    out,
    pins,
    plural,
    print_json,
    say,
    show,
    size,
    wants_progress,
)
from securedata.errors import InvalidArgument


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "export",
        export,
        help="restore the source files, or hand recordings on as another sealed corpus",
        about=(
            "With DEST: restore the source files byte for byte, checked against the digests taken at ingest, with a\n"
            "manifest (manifest.jsonl) of speakers and transcripts, which 'securedata encrypt --manifest' reads. This\n"
            "writes plaintext to a disk, into files that only you can read unless you pass --mode-from-umask. A\n"
            "recording that was cut apart, because its segments name different people, comes back as those segments,\n"
            "a file each.\n\n"
            f"{to_corpus.ABOUT}\n\n"
            "If a run is killed, run it again: what is right already is left as it is.\n\n"
            "Exit codes: 0: done. 1: a recording that was chosen was not exported; it is listed. 3, with\n"
            "--to-corpus: done, except for recordings under a hold there, which are left as they were."
        ),
        example=(
            "  securedata export voice-a ./restored --allow-plaintext-export\n"
            "  securedata export voice-a ./one --path ann/utt0.wav --allow-plaintext-export\n"
            "  securedata export voice-a --to-corpus ./vendor-b --path 'ann/*' --purpose asr"
        ),
    )
    add_target(parser)
    parser.add_argument("destination", metavar="DEST", nargs="?", help="folder to write plaintext files to")
    parser.add_argument(
        "--path",
        action="append",
        metavar="PATH",
        help="only this recording, or the recordings in this folder; with --to-corpus also a glob in quotes, and "
        "repeatable",
    )
    add_threads(parser, "one per core, at most 8; with --to-corpus two per core")
    plain = parser.add_argument_group("plaintext files, with DEST")
    plain.add_argument("--overwrite", action="store_true", help="replace existing files that have other content")
    plain.add_argument(
        "--allow-plaintext-export", action="store_true", help="required: confirms that plaintext is written to DEST"
    )
    plain.add_argument(
        "--held",
        metavar="CASE",
        help="for those who work on a case: the recordings of the people whom it holds, and no others, whatever their "
        "consent, and also if an erasure request restricts them",
    )
    plain.add_argument(
        "--mode-from-umask",
        action="store_true",
        help="create files and folders with the umask's mode, for others to read",
    )
    to_corpus.add_options(parser)
    add_corpus_options(parser, reads=True)
    add_output_options(parser)


def export(args: Namespace) -> int:
    """Run `securedata export`."""
    if args.to_corpus is not None:
        return to_corpus.hand_on(args)
    to_corpus.refuse_options(args)
    if args.destination is None:
        raise InvalidArgument("name a folder, DEST, to write plaintext to, or a corpus to seal into: --to-corpus OTHER")
    if len(args.path or ()) > 1:
        raise InvalidArgument("several --path need --to-corpus; plaintext is of one recording or folder at a time")
    from securedata.corpus.export.export import export as restore

    report = restore(
        args.target,
        args.destination,
        allow_plaintext_export=args.allow_plaintext_export,
        path=args.path[0] if args.path else "",
        overwrite=args.overwrite,
        mode_from_umask=args.mode_from_umask,
        threads=args.threads,
        kms=args.kms,
        pin=pins(args),
        purpose=args.purpose,
        held=args.held,
        accept_generation=args.accept_generation,
        progress=wants_progress(args),
    )
    failed = [{"path": path, "error": type(error).__name__, "text": str(error)} for path, error in report.failed]
    if args.json:
        print_json({**asdict(replace(report, failed=[])), "failed": failed, "complete": report.complete})
    else:
        out(
            f"{plural(report.written, 'file')} written ({size(report.bytes)}), {report.right_already:,} right already, "
            f"in {report.destination}: this is plaintext now"
        )
        say(
            args,
            f"to seal it again: securedata encrypt {args.destination} ./NEW --manifest {report.manifest} --layout none",
        )
        show(args, "not restored", [f"{one['path']}: {one['text']}" for one in failed])
    return fail(f"{plural(len(failed), 'file')} of {report.root} not restored") if failed else 0
