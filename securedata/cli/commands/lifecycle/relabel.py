"""`securedata relabel`."""

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
    fail,
    out,
    pins,
    plural,
    print_json,
    say,
    show,
    show_held,
    warn,
)
from securedata.printable import printable

if TYPE_CHECKING:
    from securedata.lifecycle.relabel import RelabelReport


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "relabel",
        relabel,
        help="correct speakers, people, words and consent from a table",
        about=(
            "Correct what a corpus says of its recordings, from a table with a row for each, in one commit. No\n"
            "recording is read or sealed again.\n\n"
            "TABLE is a CSV, TSV, JSONL or Parquet file with a column 'path', as 'securedata ls -R' shows it, and\n"
            "those to correct: subjects, speaker, utterance, transcript, split, language, consent_id, purposes,\n"
            "expires, last_contact. An empty cell changes nothing.\n\n"
            "subjects are all people heard in the recording, with ';' between them. An erasure finds a person's\n"
            "recordings by them and by nothing else: one that names somebody else would stay when its person is\n"
            "erased. Segments that share one object name the same people, everyone in the recording, and the table\n"
            "must name all of them. 'securedata split' then gives each an object of its own, with its speaker. If\n"
            "people change, their consent must be given, cleared or, for a name that was misspelt, kept\n"
            "(--keep-consent).\n\n"
            "Correct the source too: the next 'encrypt' puts its words back, and reports other people as conflicts.\n\n"
            "Exit codes: 0: done. 3: done, except for recordings under a hold. 1: not done, or not for all."
        ),
        example=(
            "  securedata relabel voice-a corrections.csv --dry-run\n"
            "  printf 'path,subjects\\nann/utt7.wav,ben\\n' > ben.csv\n"
            "  securedata relabel voice-a ben.csv --clear consent_id --clear expires\n"
            "  securedata relabel voice-a renamed.csv --keep-consent"
        ),
    )
    add_target(parser)
    parser.add_argument("table", metavar="TABLE", help="what to correct, a row for each recording")
    parser.add_argument(
        "--clear",
        action="append",
        default=[],
        metavar="COLUMN",
        help="empty this column of the recordings in TABLE that have no value for it there; repeatable",
    )
    parser.add_argument(
        "--keep-consent", action="store_true", help="where people change, keep the consent that the recording has"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would change; write nothing")
    add_corpus_options(parser)
    add_writer_options(parser)
    add_output_options(parser)


def relabel(args: Namespace) -> int:
    """Run `securedata relabel`."""
    from securedata.lifecycle.relabel import relabel as correct

    report = correct(
        args.target,
        args.table,
        clear=args.clear,
        keep_consent=args.keep_consent,
        dry_run=args.dry_run,
        kms=args.kms,
        pin=pins(args),
        single_writer=args.single_writer,
        accept_generation=args.accept_generation,
    )
    if args.json:
        print_json({**asdict(report), "examples": [_texts(one) for one in report.examples]})
    else:
        _tell(args, report)
    show(args, "not changed: the person or consent was erased or barred", report.erased)
    show(args, "not changed: another writer changed them meanwhile; look at them, and run it again", report.changed)
    show(args, "rows to add to the table, with these people", report.lacking)
    show_held(args, report.held)
    if report.derived:
        warn(
            "corpora made from this one keep what these recordings said before, people included, and an erasure that "
            f"reaches them later finds only names that are there: {', '.join(report.derived)}; run 'securedata retain' "
            "or 'export --to-corpus' again"
        )
    if report.lacking:
        return fail(
            f"{plural(len(report.lacking), 'row')} of the same objects would name other people; nothing was changed: "
            "give 'subjects' for them too: everyone in the recording, and 'speaker' for each; 'securedata split' then "
            "gives each segment an object of its own"
        )
    left = len(report.erased) + len(report.changed)
    return fail(f"{plural(left, 'row')} of {report.root} not changed") if left else HELD if report.held else 0


def _tell(args: Namespace, report: RelabelReport) -> None:
    if report.lacking:
        return
    verb = "would correct" if report.dry_run else "corrected"
    counts = ", ".join(f"{name} of {count:,}" for name, count in report.columns.items())
    out(f"{verb} {plural(report.rows, 'recording')}" + (f": {counts}" if counts else ""))
    if report.unchanged:
        say(args, f"unchanged: {report.unchanged:,}")
    if report.dry_run:
        for one in report.examples:
            path, column, before, after = map(str, _texts(one))
            out(printable(f"  {path}: {column} {before!r} -> {after!r}"))


def _texts(example: tuple[str, str, Any, Any]) -> tuple[str, ...]:
    path, column, *values = example
    return (
        path,
        column,
        *("; ".join(one) if isinstance(one, list) else "" if one is None else str(one) for one in values),
    )
