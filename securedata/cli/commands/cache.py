"""`securedata cache`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import Any

from securedata.cli.common import (
    add_command,
    add_corpus_options,
    add_output_options,
    add_target,
    out,
    plural,
    print_json,
    size,
)
from securedata.cli.tables import table


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "cache",
        show_cache,
        help="show or clear what this host's cache holds of a corpus",
        about=(
            "Show what the cache on a local disk holds of a corpus, and how often it was used. The cache keeps\n"
            "sealed objects of corpora whose entry names a folder (cache, cache_size), or of a job with\n"
            "SECUREDATA_CACHE: see docs/cache.md. Nothing in it is needed: what is deleted is fetched again.\n\n"
            "Objects of people who were erased leave it when a job renews its keys or opens the corpus; --evict\n"
            "does so now, for everything that the manifest no longer names. --clear deletes all of the corpus."
        ),
        example=(
            "  securedata cache voice-a\n"
            "  securedata cache voice-a --evict  # after an erasure, where no job runs\n"
            "  securedata cache voice-a --clear  # before 'securedata forget voice-a'"
        ),
    )
    add_target(parser)
    parser.add_argument("--folder", metavar="DIR", help="where the cache is (default: config, SECUREDATA_CACHE)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--evict", action="store_true", help="delete what the current manifest does not name")
    what.add_argument("--clear", action="store_true", help="delete all that it has of this corpus")
    add_corpus_options(parser)
    add_output_options(parser)


def show_cache(args: Namespace) -> int:
    """Run the command."""
    from securedata.corpus.objects.cache_report import cache

    found = cache(args.target, kms=args.kms, pin=args.pin, folder=args.folder, evict=args.evict, clear=args.clear)
    if args.json:
        print_json(asdict(found))
        return 0
    lines = [
        ("folder", found.folder),
        ("of this corpus", f"{plural(found.entries, 'file')}, {size(found.bytes)}"),
        ("of all", f"{size(found.total_bytes)} of {size(found.limit)}"),
        ("used", hits_text(found.hits, found.misses, found.hit_bytes)),
    ]
    if found.foreign:
        lines.append(("not ours", plural(found.foreign, "file")))
    if found.errors:
        lines.append(("disk", plural(found.errors, "failure")))
    if args.evict or args.clear:
        lines.append(("deleted", plural(found.deleted, "file")))
    out(table(lines, whole=frozenset({1})))
    return 0


def hits_text(hits: int, misses: int, read: int) -> str:
    """How often a cache was used, in words."""
    if not hits + misses:
        return "not yet"
    return f"{hits:,} of {hits + misses:,} reads ({hits / (hits + misses):.1%}), {size(read)}"
