"""`securedata pack`."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from typing import TYPE_CHECKING, Any

from securedata.cli.common import (
    add_command,
    add_corpus_options,
    add_output_options,
    add_target,
    add_threads,
    add_writer_options,
    count,
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

if TYPE_CHECKING:
    from securedata.corpus.packs.report import PackReport

_SHARE = 25


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "pack",
        pack,
        help="rewrite small objects into packs",
        about=(
            "Rewrite small objects into packs of about 256 MB, so that what reads many of them makes few requests,\n"
            "and a listing has few keys. The sealed objects are copied as they are, with their ids and data keys;\n"
            "each is opened first, and one that is missing or damaged stays where it is, with exit code 1. A\n"
            "recording is still read alone, by one request for its range.\n\n"
            "The members of a pack are in a random order, which is what shuffled reading needs. --group-by subject\n"
            "puts recordings of the same people beside each other, so that erasing a person leaves one hole.\n\n"
            "What is removed or erased leaves a hole: the bytes stay in the pack, and nothing has their key.\n"
            "--compact rewrites packs of which more than 25 % is dead, or the percentage that you give, without these\n"
            "bytes. 'securedata verify' says how many there are. --unpack seals every packed object again, under a\n"
            "storage key, id and data key of its own.\n\n"
            "What is not needed any more is deleted by the first commit or prune after 24 hours; --now deletes it at\n"
            "once. It can run beside anything else. If it is interrupted, run it again: it goes on with what is left."
        ),
        example=(
            "  securedata pack voice-a --dry-run\n"
            "  securedata pack voice-a\n"
            "  securedata pack voice-a --group-by subject --size 64MB\n"
            "  securedata pack voice-a --compact 10 --now\n"
            "  securedata pack voice-a --unpack"
        ),
    )
    add_target(parser)
    group = parser.add_argument_group("packs")
    group.add_argument("--size", type=byte_count, metavar="BYTES", help="of a pack, such as 64MB (default: 256MB)")
    group.add_argument(
        "--min-object", type=byte_count, metavar="BYTES", help="leave smaller objects alone (default: 0)"
    )
    group.add_argument(
        "--max-object", type=byte_count, metavar="BYTES", help="leave larger objects alone, at most 64MB (default: 8MB)"
    )
    group.add_argument("--seed", type=count, default=0, metavar="N", help="of the order of the members (default: 0)")
    group.add_argument("--group-by", metavar="WHAT", help="'subject': recordings of the same people lie together")
    which = parser.add_argument_group("instead")
    which.add_argument(
        "--compact",
        type=_percentage,
        nargs="?",
        const=_SHARE,
        metavar="PERCENT",
        help=f"rewrite packs of which more than that is dead (default: {_SHARE})",
    )
    which.add_argument("--unpack", action="store_true", help="seal packed objects again, each on its own")
    parser.add_argument("--dry-run", action="store_true", help="show what would be done; write nothing")
    parser.add_argument(
        "--now", action="store_true", help="delete what is not needed any more at once; readers hear RowReplaced"
    )
    add_threads(parser, "one per core, at most 4; with --unpack two, at most 8")
    add_corpus_options(parser)
    add_writer_options(parser)
    add_output_options(parser)


def byte_count(text: str) -> int:
    """An option's value in bytes, as `as_bytes` reads it."""
    from securedata.corpus.option_values import as_bytes

    try:
        return as_bytes("size", text)
    except InvalidArgument:
        raise ArgumentTypeError(f"{text!r} is not a number of bytes such as 500000, 64MB or 64MiB") from None


def _percentage(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 2:
        raise ArgumentTypeError(f"{text!r} is not a percentage from 0 to 99")
    return int(text)


def pack(args: Namespace) -> int:
    """Run `securedata pack`."""
    from securedata.lifecycle.packing.pack import pack as rewrite

    made = {"size": args.size, "min_object": args.min_object, "max_object": args.max_object, "group_by": args.group_by}
    if args.unpack and (args.compact is not None or any(value is not None for value in made.values())):
        raise InvalidArgument("--unpack goes with none of --compact, --size, --min-object, --max-object and --group-by")
    report = rewrite(
        args.target,
        seed=args.seed,
        compact=None if args.compact is None else args.compact / 100,
        unpack=args.unpack,
        now=args.now,
        dry_run=args.dry_run,
        threads=args.threads,
        progress=wants_progress(args),
        kms=args.kms,
        pin=pins(args),
        single_writer=args.single_writer,
        accept_generation=args.accept_generation,
        **{name: value for name, value in made.items() if value is not None},
    )
    if args.json:
        print_json(report.described())
    else:
        _tell(args, report)
        show(args, "left as they are", report.failures)
    return 0 if report.complete else fail(f"{plural(len(report.failed), 'object')} of {report.root} not moved")


def _tell(args: Namespace, report: PackReport) -> None:
    would = "would be " if report.dry_run else ""
    objects = f"{plural(report.objects, 'object')} ({size(report.bytes)})"
    if not report.objects:
        out("nothing to do: no object is to be moved, by these options")
    elif args.unpack:
        out(f"{would}unpacked: {objects}")
    elif args.compact is not None:
        out(f"{would}compacted: {plural(report.old_packs, 'pack')} into {report.packs:,}, {objects}")
        out(f"{size(report.dead_bytes)} of dead bytes {'would be' if report.dry_run else 'are'} left out")
    else:
        out(f"{would}packed: {objects} into {plural(report.packs, 'pack')}")
    if report.again:
        say(args, f"changed by others meanwhile, and looked at again: {plural(report.again, 'object')}")
    if report.deleted is not None:
        out(f"deleted {plural(report.deleted, 'key')} that nothing needs; readers in flight hear RowReplaced")
    elif report.objects and not report.dry_run:
        say(args, "what is not needed any more is deleted after 24 hours, by the first commit or prune")
