"""`securedata lineage`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from securedata.cli.common import (
    add_command,
    add_corpus_options,
    add_output_options,
    add_target,
    duration,
    out,
    plural,
    positive,
    print_json,
    reference,
    say,
    show,
    warn,
)
from securedata.cli.tables import table

if TYPE_CHECKING:
    from securedata.lifecycle.models.person import ModelsOfPerson
    from securedata.lineage.record import Entry
    from securedata.lineage.search import Model


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "lineage",
        lineage,
        help="find the models that were trained with recordings of a person",
        about=(
            "Find the models that were trained with recordings of a person, by the records beside them\n"
            "(MODEL.lineage.json), which sd.save_lineage and the callbacks for Lightning and transformers write.\n\n"
            "It opens the corpus, since only its secret can test a name, and those that were made from it, as far as\n"
            "your config has them. A person who was erased is found, too. A model without a record is not found, nor\n"
            "one whose record is elsewhere.\n\n"
            "Exit codes: 0: every record was read, whatever it says. 1: some could not be read; they are listed."
        ),
        example=(
            "  securedata lineage voice-a --subject ann --in ./models\n"
            "  securedata lineage voice-a --subject ann --in s3://team/models --json"
        ),
    )
    add_target(parser)
    parser.add_argument("--subject", metavar="ID", required=True, help="the person, spelled as in the corpus")
    parser.add_argument("--also", metavar="ID", action="append", default=[], help="another spelling of the same person")
    parser.add_argument(
        "--in",
        dest="places",
        metavar="DIR|URL",
        action="append",
        required=True,
        help="where models are, with all folders below; repeatable",
    )
    add_corpus_options(parser)
    parser.add_argument(
        "--accept-generation",
        type=positive,
        metavar="N",
        help="accept generation N although this machine has seen a newer one: after a restore, or for a copy",
    )
    add_output_options(parser)


def lineage(args: Namespace) -> int:
    """Run the command."""
    from securedata.lifecycle.models.person import models_of_person

    found = models_of_person(
        reference(args, args.target),
        (args.subject, *args.also),
        args.places,
        accept_generation=args.accept_generation,
    )
    if args.json:
        print_json(
            {
                "records": found.records,
                "models": [described(one) for one in found.models],
                "others": found.others,
                "unsure": found.unsure,
                "unreached": found.unreached,
                "unread": [{"path": one.path, "reason": one.reason} for one in found.unread],
                "absent": found.absent,
                "near": {name: list(others) for name, others in found.near.items()},
            }
        )
    else:
        _show(args, found)
    if not found.unread:
        return 0
    warn(f"error: {plural(len(found.unread), 'record or folder')} could not be read; nobody can tell whom they name")
    return 1


def _show(args: Namespace, found: ModelsOfPerson) -> None:
    if found.models:
        head = ("model", "record of", "recordings", "audio", "generations", "people")
        lines = [_line(one, entry) for one in found.models for entry in one.entries]
        out(table([head, *lines], right=frozenset({2, 3, 5}), whole=frozenset({0})))
        say(args, "recordings, audio and people: all that the training could read, not of this person alone")
    out(f"models trained with this person's recordings: {len(found.models):,} of {plural(found.records, 'record')}")
    show(args, "trained from a model that has no record, so anybody may be in it, too", found.unsure)
    show(args, "records that do not know this corpus", found.others)
    show(args, "corpora made from this one that were not read: whom records name there, nobody looked", found.unreached)
    show(args, "could not be read", [f"{one.path}: {one.reason}" for one in found.unread])
    if found.absent:
        warn(f"no row names this person, and nobody of that name was erased: {', '.join(found.absent)}")
    for name, others in found.near.items():
        say(args, f"other spellings like {name}: {', '.join(others)}; add those of the same person with --also")


def _line(model: Model, entry: Entry) -> tuple[str, ...]:
    first, last = entry.generations
    generations = f"{first}" if first == last else f"{first} to {last}"
    people = f"{len(entry.people):,}"
    return model.path, model.made, f"{entry.rows:,}", duration(entry.seconds), generations, people


def described(model: Model) -> dict[str, Any]:
    """A model, as `--json` shows it."""
    return {
        "model": model.path,
        "record": model.record,
        "made": model.made,
        "complete": model.complete,
        "entries": [
            {
                "record": one.record,
                "generations": list(one.generations),
                "filter": list(one.filter),
                "purpose": one.purpose,
                "rows": one.rows,
                "seconds": one.seconds,
                "people": len(one.people),
            }
            for one in model.entries
        ],
    }
