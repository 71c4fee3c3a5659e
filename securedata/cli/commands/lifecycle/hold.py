"""`securedata hold`."""

from __future__ import annotations

import shlex
from argparse import ArgumentTypeError, Namespace
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from securedata.cli.common import (
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
    show,
    wants_progress,
    warn,
)
from securedata.cli.tables import table
from securedata.errors import InvalidArgument, NoSuchSubject

if TYPE_CHECKING:
    from securedata.corpus.state.lifecycle import Restriction
    from securedata.corpus.writer import Writer
    from securedata.lifecycle.derived import Reached
    from securedata.lifecycle.holds.held import Held, HeldPerson
    from securedata.lifecycle.holds.hold import HoldReleased, Waiting
    from securedata.lifecycle.holds.locked import Locked

_OLDER = "other users need this securedata or a newer one: an older one refuses the corpus, since it would ignore this"


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "hold",
        hold,
        help="keep a person's recordings as they are for a case, against every change",
        about=(
            "Keep the recordings of a person as they are until a case is closed: no command removes, replaces or\n"
            "changes their rows, erasures and retention included. Merging, rotating and re-encrypting go on.\n\n"
            "add puts a tag of the person and the reference of the case into the corpus. The name and the reason stay\n"
            "on this machine, in ~/.local/state/securedata/holds. Several cases can hold one person.\n\n"
            "release ends the hold of one case. An erasure request that met the hold stays recorded: the person's\n"
            "recordings open for nobody until 'securedata erase' has run, or until --keep decides that they stay.\n\n"
            "A hold binds securedata. Whoever can delete in the bucket can still do so, except what add --object-lock\n"
            "has put under legal holds of S3 Object Lock: the person's objects, and the manifest parts and the head\n"
            "with their keys. These hold the keys of others, too, so until release has turned them off no erasure\n"
            "from the corpus is complete: it is refused, or goes on with --partial, and its receipt says so."
        ),
        example=(
            "  securedata hold add voice-a --subject ann --case 2026-17 --reason 'a letter'\n"
            "  securedata hold list voice-a\n"
            "  securedata hold add voice-a --subject ann --case 2026-17 --object-lock --yes\n"
            "  securedata hold release voice-a --subject ann --case 2026-17"
        ),
    )
    parser.add_argument("action", choices=["add", "list", "release"], metavar="add|list|release", help="what to do")
    add_target(parser)
    parser.add_argument("--subject", metavar="ID", help="the person, as the recordings name them")
    parser.add_argument("--case", metavar="REF", help="reference of the case; who can read the corpus can read it")
    parser.add_argument("--reason", metavar="TEXT", help="of add: why; kept on this machine with the name")
    parser.add_argument(
        "--absent-ok", action="store_true", help="of add: hold a person of whom no recordings are there yet"
    )
    parser.add_argument(
        "--object-lock",
        action="store_true",
        help="of add: also turn on legal holds in a bucket with Object Lock; again for recordings that came later",
    )
    parser.add_argument("--yes", action="store_true", help="of add: confirm --object-lock, after it said what it does")
    parser.add_argument(
        "--tag", metavar="HEX", type=_hex, help="of release: the person by tag, as list shows it, if the name is lost"
    )
    parser.add_argument(
        "--keep", action="store_true", help="of release: the recordings stay: lift what an erasure request restricts"
    )
    add_corpus_options(parser)
    add_writer_options(parser)
    add_output_options(parser)


def _hex(text: str) -> str:
    if len(text) < 8 or set(text) - set("0123456789abcdef"):
        raise ArgumentTypeError(f"{text!r} is not a tag: 8 hex digits or more, as list shows it")
    return text


_OPTIONS = {"add": {"reason", "absent_ok", "object_lock", "yes"}, "list": set(), "release": {"tag", "keep"}}


def hold(args: Namespace) -> int:
    """Run the command."""
    takes = _OPTIONS[args.action] | (set() if args.action == "list" else {"subject", "case"})
    for name in ("subject", "case", "reason", "absent_ok", "object_lock", "yes", "tag", "keep"):
        if getattr(args, name) and name not in takes:
            raise InvalidArgument(f"{args.action} takes no --{name.replace('_', '-')}")
    if args.action == "list":
        return _list(args)
    if args.yes and not args.object_lock:
        raise InvalidArgument("--yes confirms --object-lock, which is not given")
    if not args.case:
        raise InvalidArgument(f"{args.action} needs the reference of the case: pass --case REF")
    if not args.subject and not args.tag:
        raise InvalidArgument(f"{args.action} needs the person: pass --subject ID")
    return _add(args) if args.action == "add" else _release(args)


def _writer(args: Namespace) -> Writer:
    from securedata.corpus.writer import Writer

    found = reference(args, args.target)
    return Writer(found, single_writer=args.single_writer, accept_generation=args.accept_generation)


def _add(args: Namespace) -> int:
    from securedata.lifecycle.holds.everywhere import add_everywhere

    writer = _writer(args)
    try:
        done, derived = add_everywhere(
            writer,
            args.subject,
            args.case,
            reason=args.reason,
            absent_ok=args.absent_ok,
            object_lock=args.object_lock,
            yes=args.yes,
            progress=wants_progress(args),
        )
    except NoSuchSubject:
        _show_near(args, writer)
        raise
    if args.json:
        print_json(
            {
                "case": done.case,
                "tag": done.tag.hex(),
                "changed": done.changed,
                "first": done.first,
                "rows": done.rows,
                "seconds": done.seconds,
                "generation": done.generation,
                "object_lock": done.object_lock,
                "locked": asdict(done.locked) if done.locked else None,
                "unlocked": list(done.unlocked),
                "derived": asdict(derived),
            }
        )
    else:
        amount = f"{plural(done.rows, 'row')}, {duration(done.seconds)}"
        how = f"held from generation {done.generation}" if done.changed else "held already"
        out(f"{how} for case {done.case}: {amount}")
        if done.locked:
            _tell_locked(args, done.locked)
        _tell_derived(args, derived, "held")
    if done.first:
        warn(_OLDER)
    for pin in done.unlocked:
        warn(f"a corpus made from this one is in storage without Object Lock, so only securedata is bound there: {pin}")
    if done.locked and done.locked.missing:
        warn(f"storage does not have {plural(done.locked.missing, 'object')} of theirs: run 'securedata verify'")
        return 1
    return 0


def _tell_locked(args: Namespace, locked: Locked) -> None:
    packs = f"{plural(locked.packs, 'pack')}, " if locked.packs else ""
    amount = f"{plural(locked.objects, 'object')}, {packs}{plural(locked.parts, 'manifest part')}"
    out(f"legal holds are on for {amount} and a version of the head")
    if locked.packs:
        say(args, "these packs keep other people's recordings, too: compacting, removing and erasing leaves them there")
    say(args, "until 'hold release', no erasure from this corpus is complete; recordings that come later: run it again")


def _tell_derived(args: Namespace, derived: Reached, what: str) -> None:
    if derived.reached:
        say(args, f"{what} in the corpora made from this one, too: {', '.join(derived.reached)}")
    for pin in derived.missed:
        warn(f"a corpus made from this one was not reached: {pin} is not in your config")


def _show_near(args: Namespace, writer: Writer) -> None:
    from securedata.lifecycle.spellings import near_spellings, people_of

    show(args, "names that are like it", near_spellings(args.subject, people_of(writer)))


def _release(args: Namespace) -> int:
    from securedata.lifecycle.holds.everywhere import release_everywhere

    writer = _writer(args)
    tag = _whole_tag(writer, args.tag) if args.tag else None
    try:
        done, derived = release_everywhere(
            writer, args.case, subject=args.subject, tag=tag, keep=args.keep, progress=wants_progress(args)
        )
    except NoSuchSubject:
        if args.subject:
            _show_near(args, writer)
        raise
    if args.json:
        print_json(
            {
                "case": done.case,
                "tag": done.tag.hex(),
                "changed": done.changed,
                "cases": list(done.cases),
                "lifted": [_request(one) for one in done.lifted],
                "waiting": [
                    {**_request(one.restriction), "subject": one.subject, "command": _erase(args, one)}
                    for one in done.waiting
                ],
                "last": done.last,
                "generation": done.generation,
                "unlocked": done.unlocked,
                "derived": asdict(derived),
            }
        )
        return 0
    _tell_released(args, done)
    _tell_derived(args, derived, "released")
    return 0


def _whole_tag(writer: Writer, begin: str) -> bytes:
    """The tag that begins with these hex digits, of a person who is held or restricted."""
    head = writer.head
    tags = {one.tag for one in head.holds} | {one.tag for one in head.restricted}
    found = [tag for tag in tags if tag.hex().startswith(begin)]
    if len(found) != 1:
        raise InvalidArgument(f"--tag {begin} is the beginning of {len(found)} tags that 'hold list' shows: give more")
    return found[0]


def _tell_released(args: Namespace, done: HoldReleased) -> None:
    how = f"released in generation {done.generation}"
    out(how if done.changed else "nothing to release: this case does not hold them any more")
    if done.unlocked:
        say(args, f"{plural(done.unlocked, 'legal hold')} turned off in the bucket")
    if done.cases:
        say(args, f"still held for {plural(len(done.cases), 'case')}: {', '.join(done.cases)}")
    if done.lifted:
        say(args, f"{plural(len(done.lifted), 'request')} for erasure set aside: the recordings open again")
    for one in done.waiting:
        asked = one.restriction
        when = f", received {asked.received}" if asked.received else ""
        warn(f"a request for erasure waits for this ({asked.request or 'no reference'}{when}). Erase now?")
        out(f"  {_erase(args, one)}")
    if done.waiting:
        say(args, "until then these recordings open for nobody; 'hold release --keep' lifts that without an erasure")
    if done.last:
        say(args, "this was the last one: older versions of securedata open the corpus again, unless it uses more")


def _erase(args: Namespace, one: Waiting) -> str:
    """The command that erases the person; with a placeholder if nothing here has the name."""
    asked = one.restriction
    words = ["securedata", "erase", args.target, "--subject", one.subject or "NAME"]
    if asked.request:
        words += ["--request", asked.request]
        words += ["--received", asked.received] if asked.received else []
    return shlex.join(words)


def _list(args: Namespace) -> int:
    from securedata.lifecycle.holds.held import list_holds

    found = list_holds(reference(args, args.target), accept_generation=args.accept_generation)
    if args.json:
        print_json(
            {
                "root": found.root,
                "generation": found.generation,
                "people": [_described(one) for one in found.people],
                "notes_of_no_hold": [{"subject": one.subject, "case": one.case} for one in found.left],
            }
        )
        return 0
    _show_held(args, found)
    return 0


def _show_held(args: Namespace, found: Held) -> None:
    if not found.people:
        say(args, f"nobody is held in {found.root}")
    rows = [line for one in found.people for line in _lines(one)]
    if rows:
        columns = ("case", "since", "rows", "audio", "person", "bucket", "note")
        out(table([columns, *rows], right=frozenset({2, 3})))
    if found.left:
        lines = [f"{one.subject}, case {one.case}" for one in found.left]
        show(args, "notes on this machine of holds that are not in the corpus ('hold release' deletes them)", lines)


def _lines(one: HeldPerson) -> list[tuple[str, ...]]:
    who = one.subject or f"tag {one.tag.hex()[:16]}"
    amount = (f"{one.rows:,}", duration(one.seconds), who)
    lines: list[tuple[str, ...]] = [
        (each.case, _time(each.time), *amount, "legal hold" if each.object_lock else "", each.reason or "")
        for each in one.holds
    ]
    for asked in one.restrictions:
        request = f"erasure {asked.request or '(no reference)'} waits"
        lines.append(("", _time(asked.time), *amount, "", f"{request}: opens for nobody"))
    return lines


def _described(one: HeldPerson) -> dict[str, Any]:
    return {
        "tag": one.tag.hex(),
        "subject": one.subject,
        "rows": one.rows,
        "seconds": one.seconds,
        "holds": [
            {
                "case": each.case,
                "since": _time(each.time),
                "reason": each.reason,
                "object_lock": each.object_lock,
            }
            for each in one.holds
        ],
        "restrictions": [{**_request(each), "since": _time(each.time)} for each in one.restrictions],
    }


def _request(asked: Restriction) -> dict[str, str]:
    return {"request": asked.request, "received": asked.received}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
