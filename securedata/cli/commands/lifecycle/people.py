"""`securedata people`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from securedata.cli.common import (
    add_command,
    add_corpus_options,
    add_output_options,
    add_target,
    duration,
    err,
    fail,
    out,
    plural,
    print_json,
    reference,
    say,
    show,
)
from securedata.cli.tables import table
from securedata.errors import InvalidArgument, NoSuchSubject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from securedata.lifecycle.consent import ConsentSummary
    from securedata.lifecycle.people.listing import PeopleReport, PersonCount
    from securedata.lifecycle.people.person import PersonReport
    from securedata.lifecycle.people.public import PublicReport
    from securedata.lifecycle.people.reach import DerivedCorpus
    from securedata.lifecycle.people.requests import OpenRequest

_WORDS = ("title", "license", "url", "creator")


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "people",
        people,
        help="who is in a corpus, on what consent and until when",
        about=(
            "List the people of a corpus: rows, audio, number of consents, when the first of them ends, purposes, and\n"
            "whether a hold keeps the recordings or a request for erasure closes them. Nothing is left out because of\n"
            "consent, and no recording is opened.\n\n"
            "--subject answers a request for access (GDPR articles 15 and 19): what there is of one person, on what\n"
            "consent, which corpora were made from it and what they have, and which KMS keys and roles can read it.\n"
            "With --models it also looks for models, by the records beside them, as 'securedata lineage' does.\n\n"
            "--requests lists the requests for erasure that are not done: those that met a hold, and interrupted\n"
            "erasures. A request is due one month after the day it was received (GDPR article 12(3)).\n\n"
            "--report counts what can be published, and names nobody: how long recordings are kept, people, rows and\n"
            "audio by language, split, format, consent and purpose, holds, erasures. --croissant also writes it as a\n"
            "Croissant 1.1 file.\n\n"
            "Exit codes: 0: done; also if the person was erased before. 2: there is nothing of the person. 1: not\n"
            "done, or the record of a model could not be read. Of --requests: 0: no request is overdue. 1: one is."
        ),
        example=(
            "  securedata people voice-a\n"
            "  securedata people voice-a --json | jq '.people[] | select(.expired > 0)'\n"
            "  securedata people voice-a --subject ann --also Ann\n"
            "  securedata people voice-a --requests\n"
            "  securedata people voice-a --croissant voice-a.json --creator 'Example Labs' \\\n"
            "    --url https://example.com/voice --license https://example.com/licence"
        ),
    )
    add_target(parser)
    parser.add_argument("--subject", metavar="ID", help="what there is of this person, as the recordings name them")
    parser.add_argument("--also", metavar="ID", action="append", default=[], help="another spelling of the same person")
    parser.add_argument(
        "--models", metavar="DIR|URL", action="append", default=[], help="where models are, for --subject; repeatable"
    )
    parser.add_argument("--requests", action="store_true", help="requests for erasure that are not done; 1: overdue")
    parser.add_argument("--report", action="store_true", help="counts that can be published; names nobody")
    file = parser.add_argument_group("Croissant file")
    file.add_argument("--croissant", metavar="FILE", help="write the report as JSON-LD, too; replaces an earlier one")
    file.add_argument("--title", metavar="TEXT", help="the dataset's name in it (default: the name in your config)")
    file.add_argument("--license", metavar="URL", help="the dataset's licence")
    file.add_argument("--url", metavar="URL", help="the web page that says how to ask for access")
    file.add_argument("--creator", metavar="NAME", help="the organization that made the dataset")
    add_corpus_options(parser, lists=True)
    add_output_options(parser)


def people(args: Namespace) -> int:
    """Run the command."""
    report = args.report or args.croissant is not None
    if sum((args.subject is not None, args.requests, report)) > 1:
        raise InvalidArgument("--subject, --requests or --report: one at a time")
    if args.also and args.subject is None:
        raise InvalidArgument("--also is another spelling of the person whom --subject names")
    if args.models and args.subject is None:
        raise InvalidArgument("--models goes with --subject")
    if not report and any(getattr(args, name) is not None for name in _WORDS):
        raise InvalidArgument(f"{', '.join(f'--{name}' for name in _WORDS)}: only with --croissant FILE")
    if args.subject is not None:
        return _person(args)
    if args.requests:
        return _requests(args)
    return _report(args) if report else _list(args)


# ------------------------------------------------------------------------------------------------------- everybody


def _list(args: Namespace) -> int:
    from securedata.lifecycle.people.listing import people

    found = people(reference(args, args.target), accept_generation=args.accept_generation)
    if args.json:
        print_json(asdict(found))
        return 0
    _show_list(found)
    return 0


_HEADER = ("person", "rows", "audio", "consents", "first end", "purposes", "")


def _show_list(found: PeopleReport) -> None:
    if found.people:
        out(table([_HEADER, *map(_line, found.people)], right=frozenset({1, 2, 3}), whole=frozenset({0})))
    out(str(found))


def _line(one: PersonCount) -> tuple[str, ...]:
    marks = [name for name, on in (("held", one.held), ("restricted", one.restricted)) if on]
    end = "never" if one.first_end is None else _time(one.first_end)
    end += f" (ended {one.expired:,})" if one.expired else ""
    purposes = ", ".join(one.purposes)
    return one.name, f"{one.rows:,}", duration(one.seconds), f"{one.consents:,}", end, purposes, ", ".join(marks)


# ------------------------------------------------------------------------------------------------------ one person


def _person(args: Namespace) -> int:
    from securedata.lifecycle.people.person import look_up, not_there

    found = look_up(
        reference(args, args.target), args.subject, args.also, args.models, accept_generation=args.accept_generation
    )
    if not found.known:
        show(args, "names that are like it", found.near)
        return _absent(not_there(found))
    if args.json:
        print_json(_document(found))
    else:
        out(table(list(_facts(found)), whole=frozenset({1})))
        show(args, "trained from a model that has no record, so anybody may be in it, too", found.unsure)
        show(args, "could not be read", [f"{one.path}: {one.reason}" for one in found.unread])
        if found.near:
            near = ", ".join(found.near)
            say(args, f"other spellings that are like it: {near}; add those of the same person with --also")
    if not found.unread:
        return 0
    return fail(f"{plural(len(found.unread), 'record or folder')} could not be read; nobody can tell whom they name")


def _absent(error: NoSuchSubject) -> int:
    err(f"securedata people: error: {error}")
    return 2


def _facts(found: PersonReport) -> Iterator[tuple[str, str]]:
    yield "person", ", ".join((found.subject, *found.also))
    shared = f"; {found.shared:,} of them name others, too" if found.shared else ""
    yield "recordings", f"{found}{shared}"
    if found.first_ingested is not None and found.last_ingested is not None:
        ends = dict.fromkeys((_time(found.first_ingested), _time(found.last_ingested)))
        yield "ingested", " to ".join(ends)
    if found.last_contact is not None:
        yield "last contact", _time(found.last_contact)
    yield from _titled("consent", map(_consent, found.consents))
    if found.retention:
        yield "kept for", ", ".join(f"{name} {span}" for name, span in found.retention.items())
    yield from _titled("held", (f"case {one.case}, since {_time(one.time)}" for one in found.holds))
    yield from _titled("restricted", (_restriction(one.request, one.received) for one in found.restrictions))
    if found.erased is not None:
        yield "erased", f"in generation {found.erased}; recordings of this person are not taken any more"
    if found.unfinished:
        command = "'securedata erase --finish'"
        yield "unfinished", f"{plural(found.unfinished, 'erasure')} of this person: {command} finishes it"
    yield from _titled("made from it", map(_derived, found.derived))
    yield from _titled("opened by", (one.uri + (" (yours)" if one.trusted else "") for one in found.kms))
    yield from _titled("roles", found.roles)
    yield from _titled("models", _models(found))


def _models(found: PersonReport) -> Iterator[str]:
    if found.models is None:
        yield "not looked for: give --models DIR|URL"
        return
    mine = [(one, "") for one in found.models]
    mine += [(one, f", with {made.name}") for made in found.derived for one in made.models]
    for one, where in mine:
        yield f"{one.path}: record of {one.made}{where}"
    if not mine:
        yield f"none of {plural(found.records, 'record')} names this person"


def _titled(title: str, lines: Any) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines):
        yield (title if number == 0 else "", line)


def _consent(one: ConsentSummary) -> str:
    named = "(no id)" if one.consent_id is None else one.consent_id
    purposes = [*one.purposes, *(["no purpose recorded"] if one.unrecorded else [])]
    purposes += [f"withdrawn {one.withdrawn:,}"] if one.withdrawn else []
    ends = "no end" if one.first_end is None else f"ends {_time(one.first_end)}"
    if one.last_end is not None and one.last_end != one.first_end:
        ends += f" to {_time(one.last_end)}"
    ended = f" (ended {one.expired:,})" if one.expired else ""
    return f"{named}: {plural(one.rows, 'row')}; {', '.join(purposes)}; {ends}{ended}"


def _restriction(request: str, received: str) -> str:
    when = f", received {received}" if received else ""
    return f"request {request or '(no reference)'}{when}: opens for nobody until a hold ends"


def _derived(one: DerivedCorpus) -> str:
    if not one.reached:
        return f"{one.name or one.pin}: not looked into: {one.why}"
    erased = "; erased before" if one.erased else ""
    keys = ", ".join([key.uri for key in one.kms] + [f"role {role}" for role in one.roles])
    return f"{one.name or one.pin}: {plural(one.rows, 'row')}, {duration(one.seconds)}{erased}; opened by {keys}"


def _document(found: PersonReport) -> dict[str, Any]:
    document = asdict(found)
    for listed in (document["models"] or (), *(one["models"] for one in document["derived"])):
        for model in listed:
            del model["entries"]  # tags of everybody: 'securedata lineage' describes them
    for one in (*document["holds"], *document["restrictions"]):
        one["tag"] = one["tag"].hex()
    return document


# ----------------------------------------------------------------------------------------------------------- requests


def _requests(args: Namespace) -> int:
    from securedata.lifecycle.people.requests import open_requests

    found = open_requests(reference(args, args.target), accept_generation=args.accept_generation)
    if args.json:
        print_json({**asdict(found), "overdue": found.overdue})
    else:
        if found.requests:
            out(table([_COLUMNS, *map(_request, found.requests)], whole=frozenset({0, 5})))
        out(str(found))
    if not found.overdue:
        return 0
    return fail(f"{plural(found.overdue, 'request')} of {found.root} overdue")


_COLUMNS = ("request", "received", "due", "left", "people", "waits for")


def _request(one: OpenRequest) -> tuple[str, ...]:
    received = one.received or f"{one.recorded} (recorded)"
    left = "" if one.days_left is None else plural(one.days_left, "day")
    if one.days_left is not None and one.days_left < 0:
        left = f"overdue by {plural(-one.days_left, 'day')}"
    if one.interrupted:
        waits = "securedata erase --finish: it was interrupted"
    elif one.cases:
        waits = f"the end of the hold: case {', '.join(one.cases)}"
    else:
        waits = "securedata erase: no hold of their own keeps them any more"
    return one.reference or "(no reference)", received, one.due or "", left, f"{one.people:,}", waits


# ------------------------------------------------------------------------------------------------------------- report


def _report(args: Namespace) -> int:
    from securedata.lifecycle.people.public import public_report

    found = public_report(
        reference(args, args.target),
        croissant=args.croissant,
        title=args.title,
        license=args.license,
        url=args.url,
        creator=args.creator,
        accept_generation=args.accept_generation,
    )
    if args.json:
        print_json(asdict(found))
        return 0
    kept = ", ".join(f"{name} {span}" for name, span in found.retention.items())
    out(str(found))
    out(f"kept for: {kept or 'no rule: until someone erases them'}")
    rows = [(title, *cells) for title, groups in _groups(found) for cells in groups]
    if rows:
        out(table([("", "", "rows", "audio", "people"), *rows], right=frozenset({2, 3, 4})))
    out(f"people held: {found.held:,}; restricted: {found.restricted:,}; erased by name: {found.erased:,}")
    out(f"erasures done: {found.erasures:,}; not finished: {found.unfinished:,}")
    out(f"corpora made from it: {found.derived:,}")
    if args.croissant:
        say(args, f"written: {args.croissant}")
    say(args, "a count of one is still a person: look before you publish this")
    return 0


def _groups(found: PublicReport) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    for name in ("languages", "splits", "formats", "consent", "purposes"):
        title = name.removesuffix("s")
        for one in getattr(found, name):
            cells = (one.value or "(none)", f"{one.rows:,}", duration(one.seconds), f"{one.people:,}")
            yield title, [cells]
            title = ""


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
