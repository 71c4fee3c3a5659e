"""`securedata remove`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from securedata.cli.common import (
    HELD,
    add_command,
    add_corpus_options,
    add_output_options,
    add_target,
    add_writer_options,
    duration,
    out,
    pins,
    plural,
    positive,
    print_json,
    say,
    show_held,
    size,
)

if TYPE_CHECKING:
    from securedata.lifecycle.remove import RemoveReport


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "remove",
        remove,
        help="take recordings out of a corpus",
        about=(
            "Take recordings out of a corpus, in one commit. Their objects are deleted by the first commit or prune\n"
            "after 24 hours, so that trainings in flight can finish; --now deletes them at once.\n\n"
            "This is not an erasure: the keys of what is removed remain in older parts and heads of the corpus until\n"
            "an erasure, the person is not barred, and the next 'encrypt' of the source brings the recordings back.\n\n"
            "PATH is a recording, a folder, or a glob in quotes: * and ? match within a folder, ** across folders. If\n"
            "one of them matches nothing, nothing is removed. Recordings of a person under a hold stay.\n\n"
            "Exit codes: 0: done. 3: done, except for recordings under a hold, which are listed. 1: not done."
        ),
        example=(
            "  securedata remove voice-a ann/utt0.wav bob --dry-run\n"
            "  securedata remove voice-a '**/*-noise.wav'\n"
            "  securedata remove voice-a --manifest bad.txt --now\n"
            "  securedata remove voice-a '**' --yes 1200   # every recording"
        ),
    )
    add_target(parser)
    parser.add_argument("path", metavar="PATH", nargs="*", help="a recording, a folder, or a glob in quotes")
    parser.add_argument(
        "--manifest",
        metavar="FILE",
        help="paths to remove, taken as they are: a line each, or column 'path' of a CSV, TSV, JSONL or Parquet file",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be removed; write nothing")
    parser.add_argument(
        "--now", action="store_true", help="delete the objects at once; readers in flight hear RowReplaced"
    )
    parser.add_argument(
        "--yes", type=positive, metavar="N", help="the number of recordings; needed if these are all of the corpus"
    )
    add_corpus_options(parser)
    add_writer_options(parser)
    add_output_options(parser)


def remove(args: Namespace) -> int:
    """Run `securedata remove`."""
    from securedata.lifecycle.remove import remove as take_out
    from securedata.lifecycle.table_file import read_paths

    report = take_out(
        args.target,
        args.path,
        paths=read_paths(args.manifest) if args.manifest else (),
        now=args.now,
        yes=args.yes,
        dry_run=args.dry_run,
        kms=args.kms,
        pin=pins(args),
        single_writer=args.single_writer,
        accept_generation=args.accept_generation,
    )
    if args.json:
        print_json(asdict(report))
    else:
        _tell(args, report)
    show_held(args, report.held)
    return HELD if report.held else 0


def _tell(args: Namespace, report: RemoveReport) -> None:
    if report.finished:
        out(f"nothing matches now; deleted what an interrupted run had removed: {plural(report.deleted or 0, 'key')}")
        return
    verb = "would remove" if report.dry_run else "removed"
    out(f"{verb} {plural(report.rows, 'recording')}: {duration(report.seconds)} of audio")
    if report.dry_run or not report.rows:
        return
    objects = f"{plural(report.objects, 'object')}, {size(report.bytes)}"
    if report.deleted is not None:
        out(f"deleted {objects}; readers in flight hear RowReplaced")
    else:
        say(args, f"deleted after 24 hours, by the first commit or prune: {objects}")
    if report.packed:
        say(args, f"{plural(report.packed, 'object')} in packs: the bytes stay there until 'securedata pack --compact'")
    say(
        args,
        "this is not an erasure: keys remain in older parts and heads until one, nobody is barred, and the next "
        "'encrypt' of the source brings the recordings back",
    )
