"""`securedata erase`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from securedata.cli.commands.lifecycle.lineage import described
from securedata.cli.common import (
    HELD,
    add_command,
    add_corpus_options,
    add_output_options,
    add_target,
    add_writer_options,
    duration,
    in_packs,
    out,
    plural,
    positive,
    print_json,
    reach_json,
    receipt_json,
    reference,
    say,
    show,
    show_held,
    show_in_packs,
    wants_progress,
    warn,
)
from securedata.errors import InvalidArgument

if TYPE_CHECKING:
    from securedata.corpus.writer import Writer
    from securedata.lifecycle.erasure.erase import Erased, Options
    from securedata.lifecycle.erasure.finish import Receipt
    from securedata.lifecycle.erasure.preview import Preview
    from securedata.lifecycle.erasure.reach import Reach
    from securedata.lifecycle.erasure.request import Request
    from securedata.lineage.search import Model
    from securedata.storage.base import Storage

_CHOICES = ("subject", "list", "path", "consent", "expired", "all", "finish", "derived_gone")


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "erase",
        erase,
        help="erase people, recordings or consents, with a signed receipt",
        about=(
            "Erase people, recordings or consents from a corpus. One commit takes the rows out and seals the head\n"
            "under a fresh corpus key; then the objects, the old manifest parts and all older versions of the head\n"
            "are deleted and listed as gone, and a receipt is signed ('securedata operator init' makes the key).\n\n"
            "--subject bars the person. --consent and --expired bar that consent of that person: recordings under a\n"
            "new consent enter. --path bars the recordings by their content; of a segment that was cut out of a\n"
            "recording it bars these frames, in any cut of it and in all of it. A conversation is erased with any of\n"
            "its speakers. The text of other rows is not searched for the name.\n\n"
            "Corpora made from this one, such as features, come first, as far as your config has them. What is not\n"
            "reached is noted in the corpus by tags: --finish, or the next erasure, on a machine that has them in its\n"
            "config erases there without a name, and completes the receipt.\n\n"
            "Run it again after any interruption: it finishes what it began. Recordings of a person under a hold\n"
            "stay, and open for nobody until the hold ends.\n\n"
            "Exit codes: 0: done, or erased before. 3: done, except for recordings under a hold. 1: not done, or\n"
            "--finish failed in a corpus made from this one."
        ),
        example=(
            "  securedata erase voice-a --subject ann --dry-run\n"
            "  securedata erase voice-a --subject ann --also Ann --request REQ-7\n"
            "  securedata erase voice-a --list people.txt --request REQ-8\n"
            "  securedata erase voice-a --consent C-2024-17\n"
            "  securedata erase voice-a --finish"
        ),
    )
    add_target(parser)
    what = parser.add_argument_group("what to erase (one of them)")
    what.add_argument("--subject", metavar="ID", help="a person, spelled as in the corpus")
    what.add_argument("--also", metavar="ID", action="append", default=[], help="another spelling of the same person")
    what.add_argument("--list", metavar="FILE", help="people, one a line")
    what.add_argument("--path", metavar="PATH", action="append", help="a recording, a folder, or a glob; repeatable")
    what.add_argument("--consent", metavar="ID", action="append", help="what was recorded under a consent; repeatable")
    what.add_argument("--expired", action="store_true", help="what was recorded under a consent that has ended")
    what.add_argument("--all", action="store_true", help="everything: the end of this corpus")
    what.add_argument(
        "--finish",
        action="store_true",
        help="nothing new: finish erasures that were interrupted, or missed corpora made from this one",
    )
    what.add_argument(
        "--derived-gone",
        metavar="PIN",
        help="nothing: a corpus made from this one is gone for good; receipts then say that you state this",
    )
    what.add_argument(
        "--readmit",
        metavar="ID",
        help="nothing: let a person who was erased record again, under the new consent that --consent names",
    )
    how = parser.add_argument_group("erasure")
    how.add_argument("--request", metavar="REF", default="", help="the request's reference, for the receipt")
    how.add_argument("--received", metavar="DATE", default="", help="the day it was received: YYYY-MM-DD")
    how.add_argument("--dry-run", action="store_true", help="show what would be erased; write nothing")
    how.add_argument(
        "--models",
        metavar="DIR|URL",
        action="append",
        default=[],
        help="look for models trained with these recordings, by the records beside them; repeatable",
    )
    how.add_argument("--yes", type=positive, metavar="N", help="the number of rows; needed if these are all")
    how.add_argument("--absent-ok", action="store_true", help="bar people of whom there is no row, too")
    how.add_argument(
        "--partial",
        action="store_true",
        help="go on where storage refuses to delete or list older versions; the receipt then says that they remain",
    )
    how.add_argument(
        "--derived-later",
        action="store_true",
        help="go on if a corpus made from this one fails, such as without its KMS; a later run erases there",
    )
    how.add_argument(
        "--drop-wrap",
        metavar="URI",
        action="append",
        default=[],
        help="give up a wrap whose KMS key cannot be reached; repeatable",
    )
    add_corpus_options(parser)
    add_writer_options(parser)
    add_output_options(parser)


def erase(args: Namespace) -> int:
    """Run the command."""
    from securedata.lifecycle.dry_run import DryRun
    from securedata.lifecycle.erasure.erase import Options, find_models, open_to_erase
    from securedata.lifecycle.erasure.erase import erase as run
    from securedata.lifecycle.erasure.preview import preview
    from securedata.lineage.search import read_records

    if args.models and (args.readmit or args.finish or args.derived_gone):
        raise InvalidArgument("--models belongs to an erasure that begins: one that was begun has looked, or has not")
    if args.readmit:
        return _readmit(args)
    chosen = [one for one in _CHOICES if getattr(args, one)]
    if len(chosen) != 1:
        raise InvalidArgument(f"say what to erase, with one of {', '.join(map(_option, _CHOICES))}")
    if args.also and chosen != ["subject"]:
        raise InvalidArgument("--also is another spelling of the person whom --subject names")
    if args.dry_run and (args.finish or args.derived_gone):
        raise InvalidArgument(f"--dry-run shows what would be erased: leave it out with {_option(chosen[0])}")
    options = Options(
        partial=args.partial,
        drop_wraps=tuple(args.drop_wrap),
        all_rows=args.yes,
        absent_ok=args.absent_ok,
        derived_later=args.derived_later,
        progress=wants_progress(args),
        models=read_records(args.models) if args.models else None,
    )
    found = reference(args, args.target)
    if args.dry_run:
        look = DryRun(found.without_role(), accept_generation=args.accept_generation)
        request = _request(args, look.storage)
        would = preview(look, request)
        _preview(args, would, find_models(look.head, request, would, options.models))
        if options.models is not None:
            options.models.require_read()
        return 0
    writer = open_to_erase(found, single_writer=args.single_writer, accept_generation=args.accept_generation)
    if args.finish:
        return _finish(args, writer, options)
    if args.derived_gone:
        return _forget_derived(args, writer)
    return _tell(args, run(writer, _request(args, writer.storage), options))


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _readmit(args: Namespace) -> int:
    from securedata.lifecycle.erasure.erase import open_to_erase
    from securedata.lifecycle.erasure.readmit import readmit

    others = [one for one in _CHOICES if one != "consent" and getattr(args, one)]
    if others or len(args.consent or ()) != 1:
        raise InvalidArgument("--readmit goes with one --consent, the new one, and with nothing to erase")
    writer = open_to_erase(
        reference(args, args.target), single_writer=args.single_writer, accept_generation=args.accept_generation
    )
    readmit(writer, args.readmit, args.consent[0])
    say(args, "recordings under the new consent enter from now on; the old consents of this person stay barred")
    return 0


def _request(args: Namespace, storage: Storage) -> Request:
    from securedata.lifecycle.erasure.erase import agreed_time
    from securedata.lifecycle.erasure.request import Request

    marks = {"reference": args.request, "received": _day(args.received)}
    if args.received and not args.request:
        raise InvalidArgument("--received belongs to a request: give its reference with --request")
    if args.subject:
        return Request("subject", names=(args.subject, *args.also), **marks)
    if args.list:
        return Request("subject", names=_names(args.list), **marks)
    if args.path:
        return Request("path", paths=tuple(args.path), **marks)
    if args.consent:
        return Request("consent", consents=tuple(args.consent), **marks)
    if args.expired:
        return Request("expired", now=agreed_time(storage), **marks)
    return Request("all", **marks)


def _names(file: str) -> tuple[str, ...]:
    from securedata.lifecycle.table_file import read_lines

    return tuple(dict.fromkeys(read_lines(file)))


def _day(text: str) -> str:
    from datetime import date

    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError:
        raise InvalidArgument(f"--received {text!r} is not a day such as 2026-11-30") from None


def _preview(args: Namespace, found: Preview, models: Sequence[Model]) -> None:
    if args.json:
        near = {name: list(others) for name, others in found.near.items()}
        print_json(
            {
                "rows": found.rows,
                "objects": found.objects,
                "seconds": round(found.seconds, 3),
                "paths": found.paths,
                "others": found.others,
                "absent": found.absent,
                "erased_before": found.erased_before,
                "near": near,
                "all": found.all,
                "shared": found.shared,
                "held": found.held,
                "kept": found.kept,
                "models": [described(one) for one in models] if args.models else None,
            }
        )
        return
    out(
        f"would erase {plural(found.rows, 'row')}, {plural(found.objects, 'object')}, {duration(found.seconds)} of "
        + ("audio: all of the corpus" if found.all else "audio")
    )
    if found.shared:
        warn(
            f"{plural(found.shared, 'row')} among them whose recording other segments keep: their sound would stay, so "
            "this would be refused"
        )
    show(args, "rows", found.paths)
    show(args, "rows under a hold, which would stay", found.held)
    show(args, "people who would be restricted, and erased when a hold ends", found.kept)
    show(args, "other people in these recordings, who lose them too", found.others)
    show(args, "erased before", found.erased_before)
    show(args, "not in the corpus", found.absent)
    _show_models(args, models)
    for name, others in found.near.items():
        say(args, f"other spellings like {name}: {', '.join(others)}; add those of the same person with --also")


def _show_models(args: Namespace, models: Sequence[Model]) -> None:
    show(args, "models trained with recordings of these people, which stay as they are", [one.path for one in models])
    if args.models and not models:
        say(args, "no record of a model that was found names these people")


def _finish(args: Namespace, writer: Writer, options: Options) -> int:
    from securedata.lifecycle.erasure.erase import finish_open, reach_derived

    receipts = finish_open(writer, options)
    reached, completed = reach_derived(writer, options)
    if args.json:
        print_json(
            {
                "finished": [receipt_json(one) for one in receipts],
                "reached": [reach_json(one) for one in reached],
                "completed": [receipt_json(one) for one in completed],
            }
        )
    elif not (receipts or reached or completed):
        out("no erasure is unfinished")
    for one in () if args.json else receipts:
        out(f"finished the erasure {one.id}: {'; '.join(one.levels)}")
        out(f"receipt: {one.path or 'on the machine that finished it'}")
    tell_reached(args, reached, completed)
    if not args.json:
        show_in_packs(in_packs((*receipts, *(each for one in reached for each in one.receipts))))
    states = {one.state for one in reached}
    return 1 if "failed" in states else HELD if "held" in states else 0


def tell_reached(args: Namespace, reached: Sequence[Reach], completed: Sequence[Receipt]) -> None:
    """Say what became of corpora made from this one that earlier erasures had not reached, and what receipts say so."""
    for one in reached:
        if one.state != "erased":
            warn(f"corpus {one.pin}, made from this one, has still to be reached: {one.why}")
        elif not args.json:
            out(f"corpus {one.pin}, made from this one: erased what earlier erasures had not reached there")
    for each in () if args.json else completed:
        out(f"the receipt {each.id} says so now: {each.path or 'on another machine'}")


def _forget_derived(args: Namespace, writer: Writer) -> int:
    from securedata.lifecycle.erasure.erase import forget_derived

    count, completed = forget_derived(writer, args.derived_gone)
    if args.json:
        print_json({"erasures": count, "completed": [receipt_json(one) for one in completed]})
        return 0
    out(f"no erasure looks for this corpus any more; erasures that had not reached it: {count:,}")
    tell_reached(args, (), completed)
    say(args, "the receipts say that you stated this, and that nobody checked it")
    return 0


def _tell(args: Namespace, erased: Erased) -> int:
    done, receipt = erased.commit, erased.receipt
    if args.json:
        print_json(
            {
                "rows": done.rows,
                "seconds": round(done.seconds, 3),
                "held": done.held,
                "restricted": done.restricted,
                "erased_before": erased.erased_before,
                "receipt": None if receipt is None else receipt_json(receipt),
                "finished": [receipt_json(one) for one in erased.finished],
                "unfinished": erased.left,
                "derived": [asdict(one) for one in erased.derived],
                "missed": [reach_json(one) for one in erased.missed],
                "reached": [reach_json(one) for one in erased.reached],
                "completed": [receipt_json(one) for one in erased.completed],
                "receipts": [receipt_json(one) for one in erased.receipts],
                "models": [described(one) for one in erased.models] if args.models else None,
            }
        )
    else:
        _say(args, erased)
    for one in erased.missed:
        warn(f"corpus {one.pin}, made from this one, was not reached: {one.why}")
    tell_reached(args, erased.reached, erased.completed)
    if not args.json:
        show_in_packs(in_packs(erased.receipts))
    _show_models(args, erased.models)
    show_held(args, done.held)
    if done.restricted:
        warn(
            f"people under a hold: {done.restricted:,}. The request is recorded, and their recordings open for nobody; "
            "when the hold is released, run this again"
        )
    if erased.left:
        warn(f"{plural(erased.left, 'erasure')} of this corpus not finished: 'securedata erase {args.target} --finish'")
    held = done.held or done.restricted or any(one.state == "held" for one in erased.missed)
    return HELD if held else 0


def _say(args: Namespace, erased: Erased) -> None:
    done, receipt = erased.commit, erased.receipt
    for one in erased.finished:
        out(f"finished the interrupted erasure {one.id}; receipt: {one.path or 'on another machine'}")
    if receipt is None:
        if erased.erased_before:
            out(f"erased before: {erased.erased_before:,} of what you name; nothing was left to erase")
        elif not done.restricted:
            out("nothing to erase")
        return
    out(f"erased {plural(done.rows, 'row')}, {duration(done.seconds)} of audio: {'; '.join(receipt.levels)}")
    out(f"receipt: {receipt.path or 'another run finished it, and has the receipt'}")
    for each in erased.derived:
        out(f"corpus {each.pin}, made from this one: {each.state}")
    say(
        args,
        "whoever saved an older head, part and object, and may still use its KMS key, can open them: see 'remains' in "
        "the receipt, and docs/receipt.md for what 'key destroyed' takes; texts of other rows were not searched",
    )
