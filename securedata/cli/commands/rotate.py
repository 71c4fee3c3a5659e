"""`securedata rotate`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from securedata.cli.common import (
    add_command,
    add_corpus_options,
    add_engine,
    add_output_options,
    add_target,
    add_threads,
    add_writer_options,
    fail,
    out,
    period,
    pins,
    plural,
    print_json,
    say,
    show,
    show_unpacked,
    size,
    wants_progress,
)
from securedata.errors import InvalidArgument

if TYPE_CHECKING:
    from securedata.lifecycle.rotate import RotateReport

_OLD = "a copy of an older head still opens with the KMS keys that wrapped it"
LEFT = (
    "rotation takes nothing back: who could read the corpus may have kept recordings, words and the keys of objects "
    f"(--data-keys seals the objects again); {_OLD}"
)
KEPT = (
    "this takes nothing back: who could read the corpus may have kept recordings and words, and copies of old objects "
    f"with their keys; the old objects stay on storage for the grace; {_OLD}"
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
            "objects, and a copy of an older head still opens with the KMS keys that wrapped it.\n\n"
            "--data-keys then seals every object again under a fresh key, so that a key of an object that somebody\n"
            "kept opens nothing that is on storage after the grace, except versions that you may not delete. It reads\n"
            "and writes the whole corpus. If it is interrupted, run it again: it goes on under the same corpus key.\n"
            "Objects that are missing or damaged are listed, with exit code 1. Jobs in flight find old objects for 24\n"
            "hours, or as long as --grace says; later they get RowReplaced, and go on after refresh()."
        ),
        example=(
            "  securedata rotate voice-a\n"
            "  securedata rotate voice-a --data-keys --grace 14d    # for long trainings\n"
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
    group = parser.add_argument_group("fresh keys of objects")
    group.add_argument("--data-keys", action="store_true", help="seal every object again under a fresh key")
    group.add_argument(
        "--grace",
        type=period,
        metavar="TIME",
        help="how long old objects stay for jobs in flight: 36h, 14d or 2w; 24h at least (default: 24h)",
    )
    add_threads(group, "two per core, at most 8")
    add_engine(group, "they are sealed again")
    add_corpus_options(parser)
    add_writer_options(parser)
    add_output_options(parser)


def rotate(args: Namespace) -> int:
    """Run `securedata rotate`."""
    from securedata.lifecycle.rotate import rotate as seal_again

    if not args.data_keys and (args.grace is not None or args.threads is not None or args.engine != "local"):
        raise InvalidArgument("--grace, --threads and --engine go with --data-keys")
    report = seal_again(
        args.target,
        drop_wraps=args.drop_wrap,
        data_keys=args.data_keys,
        threads=args.threads,
        engine=args.engine,
        progress=wants_progress(args),
        kms=args.kms,
        pin=pins(args),
        single_writer=args.single_writer,
        accept_generation=args.accept_generation,
        **({} if args.grace is None else {"grace": args.grace}),
    )
    done = report.data_keys
    failed = [] if done is None else [(paths, type(error).__name__, str(error)) for paths, error in done.failed]
    if args.json:
        listed = [{"paths": list(paths), "error": name, "text": text} for paths, name, text in failed]
        keys = None if done is None else {**asdict(replace(done, failed=[])), "failed": listed}
        print_json({**asdict(replace(report, data_keys=None)), "data_keys": keys})
    else:
        _tell(args, report)
        show(args, "not sealed again", [f"{', '.join(paths[:3])}: {text}" for paths, _, text in failed])
    return fail(f"{plural(len(failed), 'object')} of {report.root} not sealed again") if failed else 0


def _tell(args: Namespace, report: RotateReport) -> None:
    if report.resumed:
        out(f"went on with a re-encryption that had not finished; generation {report.generation} keeps its corpus key")
    else:
        out(f"rotated: generation {report.generation} is under a fresh corpus key, {plural(len(report.wraps), 'wrap')}")
    for uri in report.dropped:
        out(f"dropped: {uri} opens no later head")
    if (done := report.data_keys) is not None:
        out(f"sealed again under fresh keys: {plural(done.objects, 'object')} ({size(done.bytes)})")
        show_unpacked(args, done.unpacked)
        say(args, KEPT)
    else:
        say(args, LEFT)
    if report.unfinished:
        say(args, "some objects still have older keys: 'securedata rotate --data-keys' goes on, without rotating again")
