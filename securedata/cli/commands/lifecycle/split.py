"""`securedata split`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from securedata.cli.common import (
    HELD,
    add_command,
    add_corpus_options,
    add_output_options,
    add_target,
    add_threads,
    add_writer_options,
    duration,
    fail,
    out,
    pins,
    plural,
    print_json,
    say,
    show,
    show_held,
    show_unpacked,
    size,
    wants_progress,
)

if TYPE_CHECKING:
    from securedata.lifecycle.splitting.report import SplitReport


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "split",
        split,
        help="cut recordings of several people into segments of their own",
        about=(
            "Give each segment of a recording of several people an object of its own, so that one person can be\n"
            "erased without the others. 'securedata encrypt' does this with new recordings; in older corpora all\n"
            "segments of a recording can share one object, which is erased with any of its people.\n\n"
            "Each such object is read and cut, and the segments are sealed again, as WAV files with the same samples.\n"
            "A segment then names its speaker, and the speakers of segments that overlap it. What is in no segment is\n"
            "lost: --dry-run says how much that is.\n\n"
            "Nobody is guessed. If a segment has no speaker, or one of the people is the speaker of no segment, the\n"
            "recording is listed and stays as it is: correct it with 'securedata relabel', and run this again.\n\n"
            "The old objects are deleted by the first commit or prune after 24 hours; --now deletes them at once.\n"
            "PATH is a segment, a folder, or a glob in quotes; without one, all shared recordings are split. If it is\n"
            "interrupted, run it again.\n\n"
            "Exit codes: 0: done. 3: done, except for recordings under a hold, which are listed. 1: not done, or not\n"
            "for all."
        ),
        example=(
            "  securedata split voice-a --dry-run\n"
            "  securedata split voice-a\n"
            "  securedata split voice-a 'talks/**' --now"
        ),
    )
    add_target(parser)
    parser.add_argument("path", metavar="PATH", nargs="*", help="a segment, a folder, or a glob in quotes")
    parser.add_argument("--dry-run", action="store_true", help="show what would be split; write nothing")
    parser.add_argument(
        "--now", action="store_true", help="delete the old objects at once; readers in flight hear RowReplaced"
    )
    add_threads(parser, "two per core, at most 8")
    add_corpus_options(parser)
    add_writer_options(parser)
    add_output_options(parser)


def split(args: Namespace) -> int:
    """Run `securedata split`."""
    from securedata.lifecycle.splitting.split import split as cut

    report = cut(
        args.target,
        args.path,
        now=args.now,
        dry_run=args.dry_run,
        threads=args.threads,
        progress=wants_progress(args),
        kms=args.kms,
        pin=pins(args),
        single_writer=args.single_writer,
        accept_generation=args.accept_generation,
    )
    failed = [(paths, type(error).__name__, str(error)) for paths, error in report.failed]
    if args.json:
        listed = [{"paths": list(paths), "error": name, "text": text} for paths, name, text in failed]
        print_json({**asdict(replace(report, failed=[])), "failed": listed, "complete": report.complete})
    else:
        _tell(args, report)
    show(args, "no speaker among their people: name them with 'securedata relabel'", report.unclear)
    show(args, "one of their people speaks in no segment: correct speakers or subjects, by relabel", report.unnamed)
    show(args, "not split: the person, consent or recording is barred", report.erased)
    show(args, "not split", [f"{', '.join(paths[:3])}: {text}" for paths, _, text in failed])
    show_held(args, report.held)
    if not report.complete:
        left = len(report.unclear) + len(report.unnamed) + len(report.erased) + sum(len(one[0]) for one in failed)
        return fail(f"{plural(left, 'segment')} of {report.root} not split")
    return HELD if report.held else 0


def _tell(args: Namespace, report: SplitReport) -> None:
    if report.dry_run:
        out(f"would split {plural(report.objects, 'recording')} into {plural(report.rows, 'segment')}")
    else:
        into = f"{plural(report.rows, 'segment')} ({size(report.bytes)})" if report.rows else "0 segments"
        out(f"split {plural(report.objects, 'recording')} into {into}")
    if report.seconds_left_out:
        lost = "would be lost: it is" if report.dry_run else "is lost: it was"
        out(f"{duration(report.seconds_left_out)} of audio {lost} in no segment")
    if not args.quiet:
        title = "segments that overlap those of other people: erasing any of these people erases them"
        show(args, title, report.overlapping)
        show(args, "left as they are, since everyone is heard in each segment of their recording", report.together)
    if report.changed:
        say(args, f"removed, replaced or split by others meanwhile: {plural(report.changed, 'recording')}")
    if report.dry_run or not report.objects:
        return
    show_unpacked(args, report.unpacked)
    if report.derived:
        say(
            args,
            f"corpora made from this one name everyone still: {', '.join(report.derived)}; run 'securedata retain' or "
            "'export --to-corpus' again",
        )
    if report.deleted is not None:
        out("deleted the old objects; readers in flight hear RowReplaced")
    else:
        say(args, "the old objects are deleted after 24 hours, by the first commit or prune")
