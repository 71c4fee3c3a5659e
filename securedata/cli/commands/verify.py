"""`securedata verify`."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from securedata.cli.common import (
    SHOWN,
    Progress,
    add_command,
    add_corpus_options,
    add_output_options,
    add_target,
    add_threads,
    add_writer_options,
    fail,
    out,
    plural,
    print_json,
    reference,
    say,
    size,
)
from securedata.errors import InvalidArgument, SecuredataError
from securedata.printable import printable

if TYPE_CHECKING:
    from securedata.corpus.check.report import Finding, PruneReport, VerifyReport
    from securedata.corpus.config import Reference

_PRUNED = ("Orphan", "OldTemporary", "LeavingDue")


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "verify",
        verify,
        help="account for every row, object and orphan",
        about=(
            "Open every object, compare it with what was ingested, and account for everything on storage.\n\n"
            "Exit code 0: all is well; what a writer left within the last 24 hours counts as in flight. Exit code 1:\n"
            "findings. --prune deletes what no commit took and what was replaced, once it is 24 hours old."
        ),
        example="  securedata verify voice-a\n  securedata verify voice-a --prune",
    )
    add_target(parser)
    parser.add_argument("--prune", action="store_true", help="delete what is left over; needs the pin")
    parser.add_argument(
        "--reset-horizon",
        action="store_true",
        help="with --prune: set times of the head that are later than storage's clock back; no other prune may run",
    )
    add_threads(parser, "one per core, at most 8")
    add_corpus_options(parser)
    add_writer_options(parser)
    add_output_options(parser)


def verify(args: Namespace) -> int:
    """Run `securedata verify`."""
    from securedata.corpus.check.verify import verify as check

    if args.reset_horizon and not args.prune:
        raise InvalidArgument("--reset-horizon goes with --prune")
    found = reference(args, args.target)
    if args.prune:
        found.require_pin()
        found = found.without_role()  # a role's session may not list
    with Progress(args, "verifying") as progress:
        report = check(found, threads=args.threads, progress=progress, accept_generation=args.accept_generation)
    pruned, refused = _pruned(args, found) if args.prune else (None, None)
    left = [one for one in report.findings if pruned is None or not pruned.done_with(one)]
    if args.json:
        print_json(_described(report, left, pruned))
    else:
        _tell(args, report, left, pruned)
    if refused is not None:  # what was found comes first: it tells why
        raise refused
    return fail(f"{plural(len(left), 'finding')} in {report.root}") if left else 0


def _pruned(args: Namespace, found: Reference) -> tuple[PruneReport | None, SecuredataError | None]:
    from securedata.corpus.check.prune import open_for_pruning, prune

    try:
        writer = open_for_pruning(found, single_writer=args.single_writer, accept_generation=args.accept_generation)
        with Progress(args, "pruning") as progress:
            return prune(writer, progress, reset_horizon=args.reset_horizon), None
    except SecuredataError as error:
        return None, error


def _described(report: VerifyReport, left: list[Finding], pruned: PruneReport | None) -> dict[str, Any]:
    known = asdict(report)
    known["corpus_id"] = report.corpus_id.hex()
    known["findings"] = [{**asdict(one), "object_id": one.object_id.hex() if one.object_id else None} for one in left]
    known["ok"] = not left
    if pruned is not None:
        known["pruned"] = {**asdict(pruned), "deleted": sorted(pruned.deleted)}
    return known


def _tell(args: Namespace, report: VerifyReport, left: list[Finding], pruned: PruneReport | None) -> None:
    out(
        f"{plural(report.rows, 'row')} in {plural(report.parts, 'part')}, generation {report.generation}; "
        f"{plural(report.objects_opened, 'object')} opened, {size(report.bytes)} in {report.seconds:.1f} s"
    )
    if report.in_flight or report.leaving:
        say(
            args,
            f"in flight: {plural(report.in_flight, 'object')} younger than 24 hours ({size(report.in_flight_bytes)}); "
            f"{report.leaving:,} on their way out",
        )
    if pruned is not None:
        out(f"pruned: {plural(len(pruned.deleted), 'key')}, {size(pruned.deleted_bytes)}")
    for one in left[:SHOWN]:
        rows = f" [{', '.join(one.paths[:3])}{', ...' if len(one.paths) > 3 else ''}]" if one.paths else ""
        out(printable(f"{one.error}: {one.text}{rows}"))
    if len(left) > SHOWN:
        out(f"and {len(left) - SHOWN:,} more findings (--json lists them all)")
    if any(one.error in _PRUNED for one in left) and pruned is None:
        out("'securedata verify --prune' deletes what nobody named or needs any more")
    if report.changed_to is not None:
        out(f"the corpus has generation {report.changed_to} by now: what came with it was not verified")
    out("all is well" if not left else f"{plural(len(left), 'finding')}: {_counted(left)}")


def _counted(findings: list[Finding]) -> str:
    return ", ".join(f"{count:,} {error}" for error, count in Counter(one.error for one in findings).most_common())
