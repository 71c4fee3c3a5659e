"""`securedata retention`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from securedata.cli.commands.lifecycle.erase import tell_reached
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
    reach_json,
    receipt_json,
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
    from securedata.corpus.state.head import Head
    from securedata.corpus.writer import Writer
    from securedata.lifecycle.erasure.erase import Erased
    from securedata.lifecycle.erasure.finish import Receipt
    from securedata.lifecycle.erasure.reach import Reach
    from securedata.lifecycle.erasure.request import Request
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
            "It names corpora made from this one that earlier erasures have still to reach, and tries them again.\n\n"
            "Exit codes of --check: 0: nothing is overdue. 1: something is. Of --apply: 0: done, or such a corpus is\n"
            "not in the config. 1: not done, or such a corpus failed. 3: done, except for recordings under a hold,\n"
            "here or there."
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
        return _apply(args, found, rule, late, now, head)
    _show(args, found, rule, late)
    overdue = late.overdue + late.expired
    return fail(f"{plural(overdue, 'row')} of {found.root} overdue: see --apply") if args.check and overdue else 0


def _apply(args: Namespace, found: Reference, rule: Rule, late: Standing, now: float, head: Head) -> int:
    from securedata.lifecycle.erasure.erase import Options, erase, reach_derived
    from securedata.lifecycle.erasure.request import Request

    # nothing is overdue any more once the commit of a run that was killed has landed: it is finished all the same
    requests = [Request("expired", now=now)] if late.expired or head.erasures else []
    if late.overdue or head.erasures:
        requests.append(Request("retention", now=now, rule=rule))
    applied = _Applied(args, found.root)
    if not requests and not args.json:
        out(f"nothing of {found.root} is overdue")
    if requests or head.pending:
        writer = _writer(args, found)
        options = Options(partial=args.partial, all_meant=True, progress=wants_progress(args))
        for request in requests:
            applied.take(request, erase(writer, request, options))
        if not requests:  # an erasure tries these by itself
            applied.take_reached(*reach_derived(writer, options))
    return applied.end()


class _Applied:
    """What a run has erased, said as it goes: what comes after might fail."""

    def __init__(self, args: Namespace, root: str) -> None:
        self.args, self.root = args, root
        self.erased: list[dict[str, Any]] = []
        self.held: list[str] = []
        self.receipts: list[Receipt] = []
        self.missed: list[Reach] = []
        self.reached: list[Reach] = []
        self.completed: list[Receipt] = []
        self.unfinished = 0
        self.told: set[tuple[str, str, str]] = set()

    def take(self, request: Request, done: Erased) -> None:
        """Say what an erasure has done."""
        receipt, rows = done.receipt, done.commit.rows
        path = str(receipt.path) if receipt is not None and receipt.path else None
        for one in () if self.args.json else done.finished:
            out(f"finished the interrupted erasure {one.id}; receipt: {one.path or 'on another machine'}")
        if receipt is not None and not self.args.json:
            out(f"erased {plural(rows, 'row')} ({request.kind}): {'; '.join(receipt.levels)}")
            out(f"receipt: {path or 'another run finished it, and has the receipt'}")
        packs = 0 if receipt is None else receipt.packs
        finished = [one.id for one in done.finished]
        self.erased.append({"kind": request.kind, "rows": rows, "receipt": path, "packs": packs, "finished": finished})
        self.held += done.commit.held
        self.unfinished = done.left
        self._tell(done.reached, done.completed)  # those of earlier erasures, which come first
        self._tell(done.missed, ())
        self.reached += done.reached
        self.missed += done.missed
        self.receipts += done.receipts

    def take_reached(self, reached: Sequence[Reach], completed: Sequence[Receipt]) -> None:
        """Say what became of corpora that earlier erasures had not reached."""
        self._tell(reached, completed)
        self.reached += reached
        self.receipts += (each for one in reached for each in one.receipts)

    def _tell(self, reached: Sequence[Reach], completed: Sequence[Receipt]) -> None:
        # many erasures might wait for one corpus, and the second request of a run tries again what the first has missed
        new = {key: one for one in reached if (key := (one.pin, one.state, one.why)) not in self.told}
        tell_reached(self.args, tuple(new.values()), completed)
        self.told |= new.keys()
        self.completed += completed

    def end(self) -> int:
        """Say the rest; the exit code."""
        if self.args.json:
            print_json(
                {
                    "root": self.root,
                    "erased": self.erased,
                    "held": self.held,
                    "unfinished": self.unfinished,
                    "missed": [reach_json(one) for one in self.missed],
                    "reached": [reach_json(one) for one in self.reached],
                    "completed": [receipt_json(one) for one in self.completed],
                    "receipts": [receipt_json(one) for one in self.receipts],
                }
            )
        else:
            show_in_packs(in_packs(self.receipts))
        show_held(self.args, self.held)
        if self.unfinished:
            name = self.root if self.args.all else self.args.target
            warn(
                f"{plural(self.unfinished, 'erasure')} of this corpus not finished: 'securedata erase {name} --finish'"
            )
        states = {one.state for one in (*self.missed, *self.reached)}
        return 1 if "failed" in states else HELD if self.held or "held" in states else 0


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
