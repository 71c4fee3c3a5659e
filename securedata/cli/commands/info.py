"""`securedata info`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from securedata.cli.commands.cache import hits_text
from securedata.cli.common import (
    add_command,
    add_corpus_options,
    add_output_options,
    add_target,
    duration,
    fail,
    out,
    plural,
    print_json,
    reference,
    size,
)
from securedata.cli.tables import table
from securedata.errors import InvalidArgument, KeysError, NoSuchPath, PinMismatch
from securedata.printable import printable

if TYPE_CHECKING:
    import pyarrow as pa

    from securedata.corpus.config import Reference
    from securedata.corpus.reader import Corpus

_COLUMNS = [
    *("path", "frames", "frames_in_segment", "sample_rate", "speaker", "subjects", "split", "format", "transcript"),
]
_GROUPS = {"splits": "split", "sample_rates": "sample_rate", "formats": "format", "by_speaker": "speaker"}
"""Lists of the document, and the column by which each counts recordings and seconds."""
_FIRST = 10
"""Lines of such a list that are printed."""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "info",
        info,
        help="describe a corpus: contents, KMS keys, pin",
        about=(
            "Describe a corpus: generation, recordings, how many of them have a transcript, hours, splits, sample\n"
            "rates, formats, the people with the most hours, the KMS keys that can open it, and its pin. --json lists\n"
            "all people.\n\n"
            "Without a KMS key that opens it, only its unencrypted header is shown, marked as unverified."
        ),
        example=(
            "  securedata info voice-a\n"
            "  securedata info voice-a --json | jq '.by_speaker[] | select(.seconds < 60)'\n"
            "  # on a colleague's machine\n"
            "  securedata info voice-a --config >> ~/.config/securedata/config.toml\n"
            "  # the path of an object that an error named\n"
            "  securedata info voice-a --object 3f2a..."
        ),
    )
    add_target(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--config", action="store_true", help="print the config entry for a colleague")
    what.add_argument("--object", metavar="ID", help="show the recordings in this object")
    add_corpus_options(parser, reads=True)
    add_output_options(parser)


def info(args: Namespace) -> int:
    """Run the command."""
    if args.config:
        return _config(args)
    if args.object:
        return _object(args)
    from securedata.corpus.connection import connect
    from securedata.corpus.objects.cache_report import brief
    from securedata.corpus.state.head import MAX_SEALED, peek
    from securedata.corpus.state.layout import HEAD
    from securedata.corpus.state.lease import explain_missing_head

    found = reference(args, args.target)
    storage = connect(found).storage
    data = explain_missing_head(found, storage, lambda: storage.get(HEAD, MAX_SEALED))
    header, wraps = peek(data, found.root)
    cache = brief(found, header.corpus_id)
    known: dict[str, Any] = {
        "name": found.name,
        "root": found.root,
        "corpus_id": header.corpus_id.hex(),
        "wraps": [wrap.uri for wrap in wraps],
        "opened": False,
        **({"cache": cache} if cache else {}),
    }
    try:
        with _opened(args, found, _COLUMNS) as corpus:
            known.update(_contents(corpus), opened=True)
        code = 0
    except PinMismatch:
        raise
    except KeysError as error:
        code = fail(str(error))
    if args.json:
        print_json(known)
        return code
    if not known["opened"]:
        out("not opened, so the following comes from storage unverified:")
    known.pop("opened")
    lines = [line for key, value in known.items() if value is not None for line in _lines(key, value)]
    out(table(lines, whole=frozenset({1})))
    return code


def _lines(key: str, value: Any) -> list[tuple[str, str]]:
    """The lines of a value, several for a list."""
    if key == "bytes":
        return [(key, f"{value:,} ({size(value)})")]
    if key == "seconds":
        return [("duration", duration(value))]
    title = key.replace("_", " ")
    if key == "left_out":
        from securedata.corpus.state.consent import REASONS

        reasons = [f"{count:,} {REASONS[reason]}" for reason, count in value.items() if count]
        return [("not opened", text) for text in reasons[:1]] + [("", text) for text in reasons[1:]]
    if key == "cache":
        used = "" if value["total_bytes"] is None else f"{size(value['total_bytes'])} of "
        read = hits_text(value["hits"], value["misses"], value["hit_bytes"])
        return [(title, f"{value['folder']}, {used}{size(value['limit'])}"), ("cache used", read)]
    if not isinstance(value, list):
        return [(title, f"{value:,}" if isinstance(value, int) else str(value))]
    shown = value
    if key in _GROUPS:
        shown = [_group_text(key, one) for one in value[:_FIRST]]
        if len(value) > _FIRST:
            shown.append(f"and {len(value) - _FIRST:,} more (--json lists them all)")
    return [(title if n == 0 else "", text) for n, text in enumerate(shown or ["none"])]


def _group_text(key: str, one: dict[str, Any]) -> str:
    what = one[_GROUPS[key]]
    name = f"{what:,} Hz" if key == "sample_rates" else str(what) or "(none)"
    return f"{name}: {plural(one['recordings'], 'recording')}, {duration(one['seconds'])}"


def _contents(corpus: Corpus) -> dict[str, Any]:
    import pyarrow.compute as pc

    from securedata.corpus.packs.usage import usage_of
    from securedata.corpus.rows.durations import seconds_of

    rows = corpus.table
    used = usage_of([rows])
    seconds = seconds_of(rows)
    objects = rows.select(["object_id", "size"]).group_by("object_id", use_threads=False).aggregate([("size", "max")])
    return {
        "pin": corpus.pin,
        "generation": corpus.generation,
        "recordings": len(corpus),
        "left_out": corpus.left_out._asdict(),
        "unfinished_erasures": corpus.unfinished_erasures,
        "unreached_corpora": corpus.unreached_corpora,
        "transcripts": pc.sum(pc.not_equal(rows.column("transcript"), "")).as_py() or 0,
        "objects": objects.num_rows,
        "packs": len(used.live),
        "dead_bytes": sum(used.dead().values()),
        "seconds": pc.sum(seconds).as_py() or 0.0,
        "bytes": pc.sum(objects.column("size_max")).as_py() or 0,
        "speakers": len(pc.unique(rows.column("speaker"))),
        "subjects": len(pc.unique(pc.list_flatten(rows.column("subjects")))),
        "kms": list(corpus.reference.kms),
        **{key: _grouped(rows, column, seconds) for key, column in _GROUPS.items()},
    }


def _grouped(rows: pa.Table, column: str, seconds: pa.ChunkedArray) -> list[dict[str, Any]]:
    """Recordings and seconds by the values of a column, most seconds first."""
    import pyarrow as pa

    counted = pa.table([rows.column(column), seconds], ["what", "seconds"])
    counted = counted.group_by("what", use_threads=False).aggregate([("seconds", "sum"), ("seconds", "count")])
    found = sorted(counted.to_pylist(), key=lambda one: (-one["seconds_sum"], str(one["what"])))
    return [
        {column: one["what"], "recordings": one["seconds_count"], "seconds": round(one["seconds_sum"], 6)}
        for one in found
    ]


def _opened(args: Namespace, found: Reference, columns: list[str]) -> Corpus:
    """Open without the warning that there is no pin: `info` is where people find it."""
    import warnings

    from securedata.corpus.opening import UnpinnedWarning, open_manifest

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnpinnedWarning)
        return open_manifest(found, columns=columns, accept_generation=args.accept_generation)


def _config(args: Namespace) -> int:
    from dataclasses import replace

    from securedata.corpus.config import entry_text
    from securedata.corpus.objects.cache import CACHE, SIZE
    from securedata.keys.local import SCHEME

    with _opened(args, reference(args, args.target), ["path"]) as corpus:
        found = corpus.reference
    # a colleague has other disks
    found = replace(found, options={key: value for key, value in found.options.items() if key not in (CACHE, SIZE)})
    name = found.name or found.root.rstrip("/").rpartition("/")[2] or "corpus"
    if args.json:
        pin = " ".join(map(str, found.pins))
        print_json({"name": name, "root": found.root, "kms": list(found.kms), "pin": pin, **found.options})
        return 0
    out(entry_text(name, found).removesuffix("\n"))
    if any(uri.startswith(SCHEME) for uri in found.kms):
        out("# local:// is a key file: give your colleague a copy of it over a safe channel, and change its path here")
    return 0


def _object(args: Namespace) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        wanted = bytes.fromhex(args.object)
    except ValueError:
        wanted = b""
    if len(wanted) != 16:
        raise InvalidArgument("an object id has 32 hex digits, as errors show it")
    with _opened(args, reference(args, args.target), ["path"]) as corpus:
        rows = corpus.table
        paths = rows.filter(pc.equal(rows.column("object_id"), pa.scalar(wanted, pa.binary(16)))).column("path")
    if not len(paths):
        raise NoSuchPath(f"no row of {args.target} has object {args.object}: it was replaced, removed or erased")
    if args.json:
        print_json({"object": args.object, "paths": paths.to_pylist()})
    else:
        out("\n".join(printable(path) for path in paths.to_pylist()))
    return 0
