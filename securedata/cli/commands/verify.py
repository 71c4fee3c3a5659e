"""`securedata verify`."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from securedata.cli.common import (
    SHOWN,
    add_command,
    add_corpus_options,
    add_output_options,
    add_target,
    add_threads,
    add_writer_options,
    fail,
    out,
    pins,
    plural,
    print_json,
    say,
    size,
    wants_progress,
)
from securedata.errors import SecuredataError
from securedata.printable import printable

if TYPE_CHECKING:
    from securedata.corpus.check.report import Finding, VerifyReport

_PRUNED = ("Orphan", "OldTemporary", "LeavingDue")


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "verify",
        verify,
        help="check every row and object, or prune leftovers",
        about=(
            "Open every object, compare it with what was ingested, and account for everything on storage.\n\n"
            "Exit code 0: all is well; uncommitted objects of the last 24 hours count as in flight. Exit code 1:\n"
            "findings. --prune deletes objects that no commit uses, after 24 hours."
        ),
        example=(
            "  securedata verify voice-a\n"
            "  # for cron: keep XDG_STATE_HOME, to detect an old head\n"
            "  securedata verify voice-a --prune\n"
            "  securedata verify voice-a --json | jq '.findings[].error'"
        ),
    )
    add_target(parser)
    parser.add_argument("--prune", action="store_true", help="delete leftovers; needs the pin")
    parser.add_argument(
        "--reset-horizon",
        action="store_true",
        help="with --prune: set back times in the head that are ahead of storage's clock; no other prune may run",
    )
    add_threads(parser, "one per core, at most 8")
    add_corpus_options(parser)
    add_writer_options(parser)
    add_output_options(parser)


def verify(args: Namespace) -> int:
    """Run `securedata verify`."""
    from securedata.corpus.check.verify import verify as check

    found: list[VerifyReport] = []
    try:
        report = check(
            args.target,
            prune=args.prune,
            reset_horizon=args.reset_horizon,
            before_prune=found.append if args.prune else None,
            threads=args.threads,
            kms=args.kms,
            pin=pins(args),
            single_writer=args.single_writer,
            accept_generation=args.accept_generation,
            progress=wants_progress(args),
        )
    except SecuredataError:
        for one in found:  # the findings come before the error, since they explain why the prune was refused
            _show(args, one)
        raise
    _show(args, report)
    return fail(f"{plural(len(report.findings), 'finding')} in {report.root}") if report.findings else 0


def _show(args: Namespace, report: VerifyReport) -> None:
    if args.json:
        print_json(_described(report))
    else:
        _tell(args, report)


def _described(report: VerifyReport) -> dict[str, Any]:
    known = asdict(report)
    known["corpus_id"] = report.corpus_id.hex()
    findings = [{**asdict(one), "object_id": one.object_id.hex() if one.object_id else None} for one in report.findings]
    known.update(findings=findings, ok=report.ok)
    if report.pruned is None:
        del known["pruned"]
    else:
        known["pruned"] = {**asdict(report.pruned), "deleted": sorted(report.pruned.deleted)}
    return known


def _tell(args: Namespace, report: VerifyReport) -> None:
    left, pruned = report.findings, report.pruned
    out(
        f"{plural(report.rows, 'row')} in {plural(report.parts, 'part')}, generation {report.generation}; "
        f"{plural(report.objects_opened, 'object')} opened, {size(report.bytes)} in {report.seconds:.1f} s"
    )
    if report.in_flight or report.leaving:
        say(
            args,
            f"in flight: {plural(report.in_flight, 'object')} younger than 24 hours ({size(report.in_flight_bytes)}); "
            f"{report.leaving:,} removed, to be deleted after 24 hours",
        )
    if pruned is not None:
        out(f"pruned: {plural(len(pruned.deleted), 'key')}, {size(pruned.deleted_bytes)}")
    for one in left[:SHOWN]:
        rows = f" [{', '.join(one.paths[:3])}{', ...' if len(one.paths) > 3 else ''}]" if one.paths else ""
        out(printable(f"{one.error}: {one.text}{rows}"))
    if len(left) > SHOWN:
        out(f"and {len(left) - SHOWN:,} more findings (--json lists them all)")
    if any(one.error in _PRUNED for one in left) and pruned is None:
        out("'securedata verify --prune' deletes what nothing references")
    if report.unfinished_erasures:
        out(
            f"{plural(report.unfinished_erasures, 'erasure')} not finished, so their receipts are not final: "
            f"'securedata erase {args.target} --finish'"
        )
    if report.changed_to is not None:
        out(f"the corpus has generation {report.changed_to} by now: what was added since was not verified")
    out("all is well" if not left else f"{plural(len(left), 'finding')}: {_counted(left)}")


def _counted(findings: list[Finding]) -> str:
    return ", ".join(f"{count:,} {error}" for error, count in Counter(one.error for one in findings).most_common())
