"""`securedata consent`."""

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
    duration,
    out,
    plural,
    print_json,
    reference,
    say,
    show_held,
    warn,
)
from securedata.cli.tables import table
from securedata.errors import InvalidArgument

if TYPE_CHECKING:
    from securedata.corpus.writer import Writer
    from securedata.lifecycle.consent import ConsentSummary, Withdrawn

_OLDER = "other users need this securedata or a newer one: an older one refuses the corpus, since it would ignore this"
_COMES_BACK = (
    "the next 'encrypt' of a source that still names what was withdrawn brings it back: correct the source, too; "
    "programs that have the corpus open keep reading until they refresh"
)


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "consent",
        consent,
        help="list and withdraw consent, and require a purpose",
        about=(
            "List the consents of recordings, withdraw one, or let a corpus open for a named purpose only.\n\n"
            "withdraw takes one purpose out of all recordings of a consent, or without --purpose all purposes: then\n"
            "nobody reads these recordings any more. They stay in the corpus, unless --erase\n"
            "also erases them, as 'securedata erase --consent' does. It reaches the corpora made from this one first,\n"
            "as far as your config has them, and names the others.\n\n"
            "require lets the corpus open only with a purpose named: --purpose, purpose= or purpose in the config.\n"
            "Older versions of securedata, which would ignore that, refuse the corpus until 'require --off'. It is a\n"
            "rule of this corpus alone: those made from it have their own.\n\n"
            "Consent is a rule that securedata keeps, not the keys: whoever can decrypt the corpus could read these\n"
            "recordings with other software, until they are erased.\n\n"
            "Exit codes: 0: done. 3: done, except for recordings under a hold, which are listed. 1: not done, or not\n"
            "in all corpora made from this one."
        ),
        example=(
            "  securedata consent list voice-a\n"
            "  securedata consent withdraw voice-a --consent C-2024-17 --purpose tts\n"
            "  securedata consent withdraw voice-a --consent C-2024-17\n"
            "  securedata consent require voice-a\n"
            "  securedata consent require voice-a --off"
        ),
    )
    choices = ["withdraw", "require", "list"]
    parser.add_argument("action", choices=choices, metavar="withdraw|require|list", help="what to do")
    add_target(parser)
    parser.add_argument("--consent", metavar="ID", help="of withdraw: the consent, as list shows it")
    parser.add_argument("--purpose", metavar="PURPOSE", help="of withdraw: only this purpose (default: all)")
    parser.add_argument("--erase", action="store_true", help="of withdraw: erase the recordings, too")
    parser.add_argument("--off", action="store_true", help="of require: open without a purpose again")
    add_corpus_options(parser)
    add_writer_options(parser)
    add_output_options(parser)


_OPTIONS = {"withdraw": {"consent", "purpose", "erase"}, "require": {"off"}, "list": set[str]()}


def consent(args: Namespace) -> int:
    """Run the command."""
    for name in ("consent", "purpose", "erase", "off"):
        if getattr(args, name) and name not in _OPTIONS[args.action]:
            raise InvalidArgument(f"{args.action} takes no --{name}")
    if args.action == "list":
        return _list(args)
    if args.action == "require":
        return _require(args)
    if not args.consent:
        raise InvalidArgument("withdraw needs the consent: pass --consent ID; 'securedata consent list' shows them")
    if args.erase and args.purpose:
        raise InvalidArgument("--erase withdraws all purposes: leave out --purpose")
    return _withdraw(args)


def _writer(args: Namespace) -> Writer:
    from securedata.corpus.config import resolve
    from securedata.corpus.writer import Writer

    found = resolve(args.target, args.kms, " ".join(args.pin) if args.pin else None)
    return Writer(found, single_writer=args.single_writer, accept_generation=args.accept_generation)


def _withdraw(args: Namespace) -> int:
    from securedata.lifecycle.withdrawal import withdraw_everywhere

    found = withdraw_everywhere(_writer(args), args.consent, args.purpose)
    done = found.here
    if args.json and not args.erase:
        print_json(
            {
                "consent": args.consent,
                "purpose": args.purpose,
                **asdict(done),
                "derived": {pin: asdict(one) for pin, one in found.derived.items()},
                "missed": found.missed,
            }
        )
    elif not args.json:
        _tell(args, done, "")
        for pin, one in found.derived.items():
            _tell(args, one, f" in {pin}, made from this one")
    if done.changed and not args.erase:
        say(args, _COMES_BACK)
    for one in (done, *found.derived.values()):
        show_held(args, one.held)
    for pin in found.missed:
        warn(f"not withdrawn in a corpus made from this one: {pin} is not in your config; run this again where it is")
    code = _hand_over(args) if args.erase else HELD if found.held else 0
    return 1 if found.missed else code


def _tell(args: Namespace, done: Withdrawn, where: str) -> None:
    what = f"the purpose {args.purpose!r}" if args.purpose else "all purposes"
    rows = plural(done.rows, "recording")
    if done.changed:
        closed = f"; {done.closed:,} of them open for nobody now" if done.closed else ""
        out(f"{what} withdrawn from {done.changed:,} of {rows} of this consent{where}{closed}")
    elif not done.held:
        out(f"nothing to do{where}: {rows} of this consent" + (f", none with {what}" if done.rows else ""))


def _hand_over(args: Namespace) -> int:
    """Erase what is withdrawn by now. The erasure is a command of its own, with a receipt; a rerun finishes it."""
    from securedata.cli.main import parser

    words = ["erase", args.target, f"--consent={args.consent}"]
    words += [f"--kms={uri}" for uri in args.kms or ()] + [f"--pin={pin}" for pin in args.pin or ()]
    words += ["--single-writer"] * args.single_writer + ["--json"] * args.json + ["--quiet"] * args.quiet
    erase = parser("erase").parse_args(words)
    code: int = erase.run(erase)
    return code


def _require(args: Namespace) -> int:
    from securedata.lifecycle.consent import require_purpose

    done = require_purpose(_writer(args), not args.off)
    if args.json:
        print_json(asdict(done))
    else:
        state = "opens only with a purpose named" if done.required else "opens without a purpose, too"
        how = f"from generation {done.generation}" if done.changed else "already"
        out(f"{args.target} {state}, {how}")
    if done.required and done.changed:
        warn(_OLDER)
    return 0


def _list(args: Namespace) -> int:
    import time

    from securedata.corpus.opening import open_manifest
    from securedata.lifecycle.consent import LISTED, consents_of

    found = reference(args, args.target)
    with open_manifest(found, columns=LISTED, accept_generation=args.accept_generation) as corpus:
        listed = consents_of(corpus, time.time())
    if args.json:
        print_json([asdict(one) for one in listed])
    elif listed:
        out(table([_HEADER, *map(_line, listed)], right=frozenset({1, 2}), whole=frozenset({0})))
    return 0


_HEADER = ("consent", "recordings", "duration", "purposes", "ends")


def _line(one: ConsentSummary) -> tuple[str, ...]:
    purposes = [f"{name} {count:,}" for name, count in one.purposes.items()]
    purposes += [f"none recorded {one.unrecorded:,}"] if one.unrecorded else []
    purposes += [f"withdrawn {one.withdrawn:,}"] if one.withdrawn else []
    name = "(no id)" if one.consent_id is None else one.consent_id
    return name, f"{one.rows:,}", duration(one.seconds), ", ".join(purposes), _ends(one)


def _ends(one: ConsentSummary) -> str:
    from securedata.corpus.state.consent import end_text

    if one.first_end is None or one.last_end is None:
        return "never"
    ends = dict.fromkeys((end_text(one.first_end), end_text(one.last_end)))
    text = " to ".join(ends)
    text += f", never {one.endless:,}" if one.endless else ""
    return text + (f" (ended {one.expired:,})" if one.expired else "")
