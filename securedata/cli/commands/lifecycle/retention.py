"""`securedata retention`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from securedata.cli.common import (
    HELD,
    add_command,
    add_corpus_options,
    add_output_options,
    add_writer_options,
    duration,
    fail,
    in_packs,
    out,
    plural,
    print_json,
    reference,
    say,
    show_held,
    show_in_packs,
    wants_progress,
    warn,
)
from securedata.errors import InvalidArgument, SecuredataError

if TYPE_CHECKING:
    from securedata.corpus.config import Reference
    from securedata.corpus.writer import Writer
    from securedata.lifecycle.erasure.finish import Receipt
    from securedata.lifecycle.retention import Rule, Standing

_LIMITS = ("raw", "features", "inactive")
_NONE = "none"


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "retention",
        retention,
        help="how long recordings may be kept: show, set, check, apply",
        about=(
            "Show or set how long a corpus may keep recordings, check what is overdue, or erase it with a receipt.\n\n"
            "A span is a number with d (days), w (weeks) or y (365 days). --raw and --features count from the ingest,\n"
            "--inactive from the last contact that a row records. Rows whose consent has ended are always overdue.\n"
            "Nothing is overdue by a time that is not recorded.\n\n"
            "--apply erases what is overdue, as 'securedata erase' does; it is safe to run twice, and on two hosts.\n"
            "Nobody is barred by it: an ingest of the same source brings the recordings back.\n\n"
            "Exit codes of --check: 0: nothing is overdue. 1: something is. Of --apply: 0: done. 3: done, except for\n"
            "recordings under a hold."
        ),
        example=(
            "  securedata retention voice-a --raw 30d --features 2y --inactive 3y\n"
            "  securedata retention voice-a --raw none\n"
            "  securedata retention voice-a --check\n"
            "  securedata retention --all --apply   # every corpus of the config"
        ),
    )
    parser.add_argument("target", metavar="CORPUS", nargs="?", help="NAME, securedata://NAME, a path or a URL")
    rule = parser.add_argument_group("rule")
    rule.add_argument("--raw", metavar="SPAN", help="how long recordings are kept, or 'none'")
    rule.add_argument("--features", metavar="SPAN", help="how long features are kept, or 'none'")
    rule.add_argument("--inactive", metavar="SPAN", help="how long after the last contact, or 'none'")
    what = parser.add_argument_group("what to do")
    what.add_argument("--check", action="store_true", help="show what is overdue; exit with 1 if anything is")
    what.add_argument("--apply", action="store_true", help="erase what is overdue, with receipts")
    what.add_argument("--all", action="store_true", help="every corpus of the config; with --check or --apply")
    what.add_argument(
        "--partial", action="store_true", help="with --apply: go on where storage refuses to delete older versions"
    )
    add_corpus_options(parser)
    add_writer_options(parser)
    add_output_options(parser)


def retention(args: Namespace) -> int:
    """Run the command."""
    limits = {name: value for name in _LIMITS if (value := getattr(args, name)) is not None}
    if sum((args.check, args.apply, bool(limits))) > 1:
        raise InvalidArgument("set a rule, --check it or --apply it: one at a time")
    if args.all and (args.target or not (args.check or args.apply)):
        raise InvalidArgument("--all goes with --check or --apply, and without CORPUS")
    if not args.all and not args.target:
        raise InvalidArgument("name a corpus, or give --all")
    if args.all:
        return _everywhere(args)
    found = reference(args, args.target)
    if limits:
        return _set(args, found, limits)
    return _one(args, found)


def _everywhere(args: Namespace) -> int:
    """Every corpus is tried; the exit code is the worst of them."""
    from securedata.corpus.config import load

    codes = []
    for name, found in sorted(load().items()):
        say(args, f"{name}:")
        try:
            codes.append(_one(args, found))
        except SecuredataError as error:
            codes.append(fail(f"{name}: {error}"))
    return 1 if 1 in codes else max(codes, default=0)


def _set(args: Namespace, found: Reference, limits: dict[str, str]) -> int:
    from securedata.lifecycle.retention import parse_span, set_rule

    spans = {name: None if text == _NONE else parse_span(text) for name, text in limits.items()}
    rule = set_rule(_writer(args, found), **spans)
    _show(args, found, rule, None)
    return 0


def _one(args: Namespace, found: Reference) -> int:
    from securedata.lifecycle.dry_run import DryRun
    from securedata.lifecycle.erasure.erase import agreed_time
    from securedata.lifecycle.retention import Rule, looked_at, standing

    look = DryRun(found.without_role(), accept_generation=args.accept_generation)
    head, now = look.head, agreed_time(look.storage)
    tables = {part.id: look.read_table(part, looked_at()) for part in head.parts}
    late = standing(head, tables, found.root, now)
    rule = Rule.of(head, found.root)
    if args.apply:
        return _apply(args, found, rule, late, now, bool(head.erasures))
    _show(args, found, rule, late)
    overdue = late.overdue + late.expired
    return fail(f"{plural(overdue, 'row')} of {found.root} overdue: see --apply") if args.check and overdue else 0


def _apply(args: Namespace, found: Reference, rule: Rule, late: Standing, now: float, unfinished: bool) -> int:
    from securedata.lifecycle.erasure.erase import Options, erase
    from securedata.lifecycle.erasure.request import Request

    # nothing is overdue any more once the commit of a run that was killed has landed: it is finished all the same
    requests = [Request("expired", now=now)] if late.expired or unfinished else []
    if late.overdue or unfinished:
        requests.append(Request("retention", now=now, rule=rule))
    if not requests:
        if args.json:
            print_json({"root": found.root, "erased": [], "held": []})
        else:
            out(f"nothing of {found.root} is overdue")
        return 0
    writer = _writer(args, found)
    options = Options(partial=args.partial, all_meant=True, progress=wants_progress(args))
    held: list[str] = []
    receipts: list[Receipt] = []
    done: list[dict[str, Any]] = []
    for request in requests:
        erased = erase(writer, request, options)
        held += erased.commit.held
        receipts += erased.receipts
        receipt = erased.receipt
        path = str(receipt.path) if receipt is not None and receipt.path else None
        for one in () if args.json else erased.finished:
            out(f"finished the interrupted erasure {one.id}; receipt: {one.path or 'on another machine'}")
        finished = [one.id for one in erased.finished]
        packs = 0 if receipt is None else receipt.packs
        done.append(
            {
                "kind": request.kind,
                "rows": erased.commit.rows,
                "receipt": path,
                "packs": packs,
                "finished": finished,
            }
        )
        if receipt is not None and not args.json:
            out(f"erased {plural(erased.commit.rows, 'row')} ({request.kind}): {'; '.join(receipt.levels)}")
            out(f"receipt: {path or 'another run finished it, and has the receipt'}")
    if args.json:
        print_json({"root": writer.root, "erased": done, "held": held})
    else:
        show_in_packs(in_packs(receipts))
    show_held(args, held)
    return HELD if held else 0


def _show(args: Namespace, found: Reference, rule: Rule, late: Standing | None) -> None:
    from securedata.lifecycle.retention import span_text

    limits = {name: span_text(seconds) for name, seconds in rule.limits.items()}
    if args.json:
        print_json({"root": found.root, "rule": limits, **({} if late is None else {"standing": asdict(late)})})
        return
    shown = ", ".join(f"{name} {span}" for name, span in limits.items())
    out(f"{found.root}: {shown or 'no rule: recordings are kept until someone erases them'}")
    if late is None:
        return
    out(f"overdue: {plural(late.overdue, 'row')}, {duration(late.seconds)} of audio")
    out(f"with an ended consent: {plural(late.expired, 'row')}")
    if late.undated:
        warn(f"{plural(late.undated, 'row')} without the time of the ingest: the rule cannot judge them")


def _writer(args: Namespace, found: Reference) -> Writer:
    from securedata.lifecycle.erasure.erase import open_to_erase

    return open_to_erase(found, single_writer=args.single_writer, accept_generation=args.accept_generation)
