"""`securedata encrypt --dry-run`: what a run would do."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING

from securedata.cli.common import HELD, duration, fail, out, plural, print_json, say, show, show_held, size

if TYPE_CHECKING:
    from securedata.ingest.known_bad import NotTaken
    from securedata.ingest.preview import IngestPreview
    from securedata.ingest.report import IngestReport, Sources
    from securedata.ingest.sources.apart import Apart


def show_preview(args: Namespace, found: IngestPreview) -> int:
    """Show what `encrypt` would do; returns the exit code that the run would have."""
    from securedata.ingest.known_bad import amount

    if args.json:
        others = {
            "problems": [one._asdict() for one in found.problems],
            "complete": found.complete,
            "new": [one.said() for one in found.new],
            "near_duplicates": [list(group) for group in found.near_duplicates],
        }
        print_json({"dry_run": True, "root": found.root, "name": found.name, **asdict(found), **others})
    else:
        _tell(args, found)
    if only_held(args, found.held, found.new):
        return HELD
    return fail(f"{amount(found.new)} of {args.src} would not be taken") if found.new else 0


def _tell(args: Namespace, found: IngestPreview) -> None:
    counts = [(found.added, "add"), (found.replaced, "replace"), (found.updated, "update"), (found.unchanged, "leave")]
    what = ", ".join(f"{verb} {count:,}" for count, verb in counts if count) or "do nothing"
    amount = f"{size(found.bytes)}, {duration(found.seconds)} of audio to seal"
    out(f"would {what}: {amount}; nothing was written")
    tell_transcripts(found)
    people = sorted(found.people.items())
    for name, person in people[:20]:
        out(f"  {name}: {plural(person.recordings, 'recording')}, {duration(person.seconds)}")
    if len(people) > 20:
        out(f"  and {len(people) - 20:,} more people (--json lists them all)")
    say(args, accounted(found.sources))
    if found.hidden_names:
        say(args, f"left out, because hidden: {some(found.hidden_names)}")
    for group in found.near_duplicates:
        say(args, f"treated as different people; check: {', '.join(repr(name) for name in group)}")
    tell_apart(args, found.apart, found.shared)
    show(args, "same content", [", ".join(group) for group in found.duplicates])
    show(args, "would not be taken", [f"{one.path}: {one.reason}" for one in found.problems if not one.taken])
    show(
        args, "would be taken, but deserve a look", [f"{one.path}: {one.reason}" for one in found.problems if one.taken]
    )
    show(
        args,
        "would not be taken: the corpus has other content or people under these paths (--replace replaces them)",
        found.conflicts,
    )
    show(args, "would not be taken: of people who were erased", found.erased)


def only_held(args: Namespace, held: list[str], new: list[NotTaken]) -> bool:
    """List the rows under a hold; returns whether they are all that this run leaves undone."""
    from securedata.ingest.known_bad import HELD as ON_HOLD

    if any(one.reason == ON_HOLD for one in new):
        show_held(args, held)
    else:
        show(args, "under a hold, left as they are, as before", held)
    return bool(new) and all(one.reason == ON_HOLD for one in new)


_CONSENT = {"consent_id": "an id", "purposes": "purposes", "expires": "an end", "last_contact": "a last contact"}


def tell_transcripts(found: IngestReport | IngestPreview) -> None:
    """Print how many of the rows that change have a transcript, and consent."""
    if changed := found.added + found.replaced + found.updated:
        out(f"with a transcript in the sources: {found.transcripts:,} of {changed:,}")
        said = [f"{what} {found.consent[name]:,}" for name, what in _CONSENT.items() if found.consent.get(name)]
        if said:
            out(f"with consent in the sources, of {changed:,}: {', '.join(said)}")


def tell_apart(args: Namespace, apart: Apart, shared: list[str]) -> None:
    """Print what becomes of recordings whose segments name different people."""
    if apart.recordings:
        say(
            args,
            f"{plural(apart.recordings, 'recording')} whose segments name different people, or are in shards: "
            f"{plural(apart.segments, 'segment')}, each an object of its own; "
            f"{duration(apart.seconds_left_out)} outside all segments are left out",
        )
    if not args.quiet:
        title = "segments that overlap those of other people: erasing any of these people erases them"
        show(args, title, apart.overlapping)
    title = (
        "segments that share one object with everyone in the recording, left as they are ('securedata split' "
        "or --replace splits them)"
    )
    show(args, title, shared)


def accounted(sources: Sources) -> str:
    """What became of the files, on one line."""
    counts = [
        (sources.taken, "taken"),
        (sources.unchanged, "unchanged"),
        (sources.companions, f"companion{'' if sources.companions == 1 else 's'} (texts, tables, images)"),
        (sources.hidden, "hidden"),
        (sources.left_out, "left out on request"),
        (sources.not_taken, "not taken"),
    ]
    return f"{plural(sources.files, 'file')}: {', '.join(f'{count:,} {what}' for count, what in counts if count)}"


def some(names: list[str], count: int = 10) -> str:
    """The first names, and how many more there are."""
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more:,} more" if more > 0 else "")
