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
    from securedata.lifecycle.people.reach import DerivedCorpus


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
            "consent, which corpora were made from it and what they have, and which KMS keys and roles can read it.\n\n"
            "Exit codes: 0: done; also if the person was erased before. 2: there is nothing of the person."
        ),
        example=(
            "  securedata people voice-a\n"
            "  securedata people voice-a --json | jq '.people[] | select(.expired > 0)'\n"
            "  securedata people voice-a --subject ann --also Ann"
        ),
    )
    add_target(parser)
    parser.add_argument("--subject", metavar="ID", help="what there is of this person, as the recordings name them")
    parser.add_argument("--also", metavar="ID", action="append", default=[], help="another spelling of the same person")
    add_corpus_options(parser, lists=True)
    add_output_options(parser)


def people(args: Namespace) -> int:
    """Run the command."""
    if args.subject is not None:
        return _person(args)
    if args.also:
        raise InvalidArgument("--also is another spelling of the person whom --subject names")
    return _list(args)


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

    found = look_up(reference(args, args.target), args.subject, args.also, accept_generation=args.accept_generation)
    if not found.known:
        show(args, "names that are like it", found.near)
        return _absent(not_there(found))
    if args.json:
        print_json(_document(found))
        return 0
    out(table(list(_facts(found)), whole=frozenset({1})))
    if found.near:
        say(
            args, f"other spellings that are like it: {', '.join(found.near)}; add those of the same person with --also"
        )
    return 0


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
    for one in (*document["holds"], *document["restrictions"]):
        one["tag"] = one["tag"].hex()
    return document


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
