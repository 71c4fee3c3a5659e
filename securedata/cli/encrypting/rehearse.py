"""`securedata encrypt --dry-run`: what a run would do."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING

from securedata.cli.common import Bar, duration, fail, out, plural, print_json, say, show, size
from securedata.cli.encrypting.known_bad import Bad, bad_of, news

if TYPE_CHECKING:
    from securedata.corpus.config import Reference
    from securedata.ingest.preview import Preview
    from securedata.ingest.report import Sources
    from securedata.ingest.sources.recordings import SourceList


def rehearse(args: Namespace, target: Reference | None, sources: SourceList, known: frozenset[Bad]) -> int:
    """Show what `encrypt` would do; nothing is written. `target` is None if a corpus would be made.

    Returns:
        The exit code that the run would have.
    """
    from securedata.corpus.opening import open_corpus
    from securedata.ingest.preview import COLUMNS, preview

    corpus = None
    if target is not None:
        target.require_pin()  # as the run would, though reading needs none
        corpus = open_corpus(target, columns=COLUMNS, accept_generation=args.accept_generation)
    with Bar(args, "reading", len(sources), sources.bytes) as bar:
        found = preview(
            sources,
            corpus,
            threads=args.threads,
            replace=args.replace,
            checksum=args.checksum,
            reseal=args.reseal,
            clear=tuple(args.clear),
            if_duplicate=args.if_duplicate,
            progress=bar,
        )
    bad = bad_of(found, sources)
    if args.json:
        place = {"dry_run": True, "root": target.root if target else None, "name": target.name if target else None}
        others = {
            "problems": [one._asdict() for one in found.problems],
            "complete": found.complete,
            "new": [one.said() for one in news(bad, known)],
            "hidden_names": sources.hidden_names,
            "near_duplicates": [list(group) for group in sources.near_duplicates],
        }
        print_json({**place, **asdict(found), **others})
    else:
        _tell(args, found, sources)
    new = news(bad, known)
    return fail(f"{plural(len(new), 'recording')} of {args.src} would not be taken") if new else 0


def _tell(args: Namespace, found: Preview, sources: SourceList) -> None:
    counts = [(found.added, "add"), (found.replaced, "replace"), (found.updated, "update"), (found.unchanged, "leave")]
    what = ", ".join(f"{verb} {count:,}" for count, verb in counts if count) or "do nothing"
    out(f"would {what}: {size(found.bytes)}, {duration(found.seconds)} to seal; nothing was written")
    people = sorted(found.people.items())
    for name, person in people[:20]:
        out(f"  {name}: {plural(person.recordings, 'recording')}, {duration(person.seconds)}")
    if len(people) > 20:
        out(f"  and {len(people) - 20:,} more people (--json lists them all)")
    say(args, accounted(found.sources))
    if sources.hidden_names:
        say(args, f"hidden, so left out: {some(sources.hidden_names)}")
    for group in sources.near_duplicates:
        say(args, f"taken for different people, are they? {', '.join(repr(name) for name in group)}")
    show(args, "the same content", [", ".join(group) for group in found.duplicates])
    show(args, "would not be taken", [f"{one.path}: {one.reason}" for one in found.problems if not one.taken])
    show(args, "would be taken, but look", [f"{one.path}: {one.reason}" for one in found.problems if one.taken])
    show(args, "other content or people under a path that is taken (--replace to replace it)", found.conflicts)
    show(args, "of people who were erased, would not be taken", found.erased)


def accounted(sources: Sources) -> str:
    """What became of the files, in one line."""
    counts = [
        (sources.taken, "taken"),
        (sources.unchanged, "unchanged"),
        (sources.companions, "companions (texts, tables, images)"),
        (sources.hidden, "hidden"),
        (sources.left_out, "left out on request"),
        (sources.not_taken, "not taken"),
    ]
    return f"{plural(sources.files, 'file')}: {', '.join(f'{count:,} {what}' for count, what in counts if count)}"


def some(names: list[str], count: int = 10) -> str:
    """The first names, and how many there are more."""
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more:,} more" if more > 0 else "")
