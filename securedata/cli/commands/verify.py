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
    add_engine,
    add_output_options,
    add_threads,
    add_writer_options,
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
from securedata.errors import ConfigError, InvalidArgument, SecuredataError
from securedata.printable import printable

if TYPE_CHECKING:
    from securedata.corpus.check.report import Finding, VerifyReport
    from securedata.corpus.config import Reference
    from securedata.lifecycle.erasure.saved import Tried

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
            "findings. --prune deletes objects that no commit uses, after 24 hours.\n\n"
            "--erased RECEIPT --copy DIR tries a saved copy of a corpus instead (a folder as the bucket had it, or a\n"
            "single head or part that was saved), with the KMS keys that you may use now: exit code 1 if anything of\n"
            "what the receipt names opens, or a key could not be asked; 0 if nothing does."
        ),
        example=(
            "  securedata verify voice-a\n"
            "  # for cron: keep XDG_STATE_HOME, to detect an old head\n"
            "  securedata verify voice-a --prune\n"
            "  securedata verify voice-a --json | jq '.findings[].error'\n"
            "  securedata verify voice-a --erased erasure.receipt --copy backup/"
        ),
    )
    parser.add_argument(
        "target",
        metavar="CORPUS",
        nargs="?",
        help="NAME, securedata://NAME, a path or a URL; with --erased it is found by the pin in the receipt",
    )
    erased = parser.add_argument_group("a saved copy, after an erasure")
    erased.add_argument("--erased", metavar="RECEIPT", help="the receipt: what must not open")
    erased.add_argument("--copy", metavar="DIR", help="the saved copy; nothing else is read")
    parser.add_argument("--prune", action="store_true", help="delete leftovers; needs the pin")
    parser.add_argument(
        "--reset-horizon",
        action="store_true",
        help="with --prune: set back times in the head that are ahead of storage's clock; no other prune may run",
    )
    add_threads(parser, "one per core, at most 8")
    add_engine(parser, "objects are opened")
    add_corpus_options(parser)
    add_writer_options(parser)
    add_output_options(parser)


def verify(args: Namespace) -> int:
    """Run `securedata verify`."""
    if args.erased or args.copy:
        return _try_copy(args)
    if not args.target:
        raise InvalidArgument("say which corpus: give CORPUS")
    from securedata.corpus.check.verify import verify as check

    found: list[VerifyReport] = []
    try:
        report = check(
            args.target,
            prune=args.prune,
            reset_horizon=args.reset_horizon,
            before_prune=found.append if args.prune else None,
            threads=args.threads,
            engine=args.engine,
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


def _try_copy(args: Namespace) -> int:
    from securedata.corpus.connection import connect
    from securedata.lifecycle.erasure.saved import try_copy
    from securedata.lifecycle.receipt.verify import read_receipt, unverified_statement

    if not (args.erased and args.copy):
        raise InvalidArgument("--erased RECEIPT and --copy DIR go together")
    if args.prune or args.reset_horizon:
        raise InvalidArgument("a saved copy is only read: leave out --prune and --reset-horizon")
    statement = unverified_statement(read_receipt(args.erased))
    found = try_copy(statement, args.copy, connect(_named(args, statement.corpus.pin)).trusted)
    if args.json:
        print_json({**asdict(found), "opened": found.opened})
    else:
        _tell_copy(args, found)
    if found.opened:
        return fail(f"of what the receipt {statement.id} names, something opened in {args.copy}")
    return fail(f"{plural(len(found.unasked), 'file')} not tried") if found.unasked else 0


def _named(args: Namespace, pin: str) -> Reference:
    """The corpus whose keys are tried: as named, or the config's entry with the pin of the receipt."""
    from securedata.corpus.config import load, resolve

    target = args.target or next((one for one in load().values() if pin in map(str, one.pins)), None)
    if target is None:
        raise ConfigError(f"no entry of your config has the pin {pin} of the receipt: name the corpus")
    return resolve(target, args.kms, pins(args)).without_role()


def _tell_copy(args: Namespace, found: Tried) -> None:
    heads, parts, objects = found.there
    out(f"the copy has {plural(heads, 'head')}, {plural(parts, 'part')} and {plural(objects, 'object')} of the corpus")
    for one in found.heads:
        if one.generation is None:
            out(printable(f"head {one.file}: not opened: {one.why}"))
        else:
            when = "from before the erasure" if one.before else "from after the erasure"
            held = f", with keys of {plural(one.parts, 'part')} of the receipt" if one.parts else ""
            out(printable(f"head {one.file}: OPENED, generation {one.generation}, {when}{held}"))
    show(args, "parts with keys of what was erased, OPENED", found.parts)
    show(args, "objects of the receipt, OPENED", found.objects)
    show(args, "damaged", [printable(one) for one in found.damaged])
    show(args, "not tried", [printable(one) for one in found.unasked])
    if not found.opened and not found.unasked:
        out("nothing of what the receipt names opened with the keys that you may use now")
    say(args, "who signed the receipt was not checked: 'securedata receipt verify' does that")


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
    if report.packs:
        dead = f", of which {size(report.dead_bytes)} nothing names: see 'securedata pack --compact'"
        say(args, f"{plural(report.packs, 'pack')}{dead if report.dead_bytes else ''}")
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
    if report.unreached_corpora:
        out(
            f"corpora made from this one that erasures have still to reach: {report.unreached_corpora:,}; "
            f"'securedata erase {args.target} --finish' where your config has them"
        )
    if report.changed_to is not None:
        out(f"the corpus has generation {report.changed_to} by now: what was added since was not verified")
    out("all is well" if not left else f"{plural(len(left), 'finding')}: {_counted(left)}")


def _counted(findings: list[Finding]) -> str:
    return ", ".join(f"{count:,} {error}" for error, count in Counter(one.error for one in findings).most_common())
