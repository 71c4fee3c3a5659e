"""`securedata ls`."""

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
    print_json,
    reference,
    say,
    split_target,
)
from securedata.cli.tables import table
from securedata.errors import NoSuchPath

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = (
    "path",
    "size",
    "frames",
    "frames_in_segment",
    "sample_rate",
    "format",
    "speaker",
    "split",
    "language",
    "source_mtime_ns",
)
_SHOWN = ("speaker", "split", "language", "format", "sample_rate")


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "ls",
        ls,
        help="list the recordings of a corpus",
        about=(
            "List the recordings in a folder of a corpus, like 'ls -l': plaintext size, duration, speaker, name.\n"
            "A folder shows the totals of everything below it; a recording cut into segments counts once per segment."
        ),
        example=(
            "  securedata ls voice-a                # the top: a line for each folder\n"
            "  securedata ls voice-a ann            # one folder\n"
            "  securedata ls voice-a -R -t          # all recordings, with transcripts\n"
            "  securedata ls securedata://voice-a/ann/utt0.wav --json"
        ),
    )
    add_target(parser)
    parser.add_argument(
        "path", metavar="PATH", nargs="?", default="", help="a folder or a recording (default: the top)"
    )
    parser.add_argument("-R", "--recursive", action="store_true", help="list all recordings below it, with full paths")
    parser.add_argument(
        "-t", "--transcripts", action="store_true", help="show transcripts too; they reveal as much as the recordings"
    )
    add_corpus_options(parser, reads=True)
    add_output_options(parser)


def ls(args: Namespace) -> int:
    """Run `securedata ls`."""
    import pyarrow.compute as pc

    from securedata.corpus.opening import open_corpus

    target, path = split_target(args.target, args.path)
    path = path.strip("/").encode(errors="backslashreplace").decode()  # no path of a corpus holds a surrogate
    columns = (*_COLUMNS, "transcript") if args.transcripts else _COLUMNS
    with open_corpus(reference(args, target), columns=columns, accept_generation=args.accept_generation) as corpus:
        rows = corpus.table
    here = f"{path}/" if path else ""
    exact = rows.filter(pc.equal(rows.column("path"), path))
    below = rows.filter(pc.starts_with(rows.column("path"), here))
    if path and not exact.num_rows and not below.num_rows:
        raise NoSuchPath("the corpus has no such path; 'securedata ls' without a path lists the top", path=path)
    if exact.num_rows:
        found, here = _recordings(exact), ""
    elif args.recursive:
        found, here = _recordings(below), ""
    else:
        deeper = pc.greater_equal(pc.find_substring(pc.utf8_slice_codeunits(below.column("path"), len(here)), "/"), 0)
        found = _recordings(below.filter(pc.invert(deeper))) + _folders(below.filter(deeper), here)
    found.sort(key=lambda one: str(one["path"]).encode())
    if args.json:
        print_json(found)
    elif found:
        lines = [_line(one, len(here)) for one in found]
        if args.transcripts:
            lines = [(*line, one.get("transcript", "")) for line, one in zip(lines, found, strict=True)]
        out(table(lines, right=frozenset({0, 1}), whole=frozenset({4})))
        if args.transcripts and not any(one.get("transcript") for one in found):
            folders = any(one["type"] == "folder" for one in found)
            say(args, "folders have no transcripts: -R lists what lies in them" if folders else "none has a transcript")
    return 0


def _recordings(rows: pa.Table) -> list[dict[str, Any]]:
    from securedata.corpus.rows.durations import seconds

    found = []
    for row in rows.to_pylist():
        found.append(
            {
                "path": row["path"],
                "type": "recording",
                "size": row["size"],
                "seconds": round(seconds(row["frames"], row["frames_in_segment"], row["sample_rate"]), 6),
                **{name: row[name] for name in _SHOWN},
                **({"transcript": row["transcript"]} if "transcript" in row else {}),
                "mtime": row["source_mtime_ns"] / 1e9,
            }
        )
    return found


def _folders(rows: pa.Table, here: str) -> list[dict[str, Any]]:
    """The folders directly below `here`, with totals of all below them; the size of a shared object counts once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from securedata.corpus.rows.durations import seconds_of

    names = pc.list_element(
        pc.split_pattern(pc.utf8_slice_codeunits(rows.column("path"), len(here)), "/", max_splits=1), 0
    )
    objects = pa.table(
        [names, rows.column("object_id"), rows.column("size"), seconds_of(rows)], ["n", "id", "size", "s"]
    )
    objects = objects.group_by(["n", "id"], use_threads=False).aggregate(
        [("size", "max"), ("s", "sum"), ("s", "count")]
    )
    folders = objects.group_by("n", use_threads=False).aggregate(
        [("size_max", "sum"), ("s_sum", "sum"), ("s_count", "sum")]
    )
    return [
        {
            "path": f"{here}{one['n']}/",
            "type": "folder",
            "size": one["size_max_sum"],
            "seconds": round(one["s_sum_sum"], 6),
            "recordings": one["s_count_sum"],
        }
        for one in folders.to_pylist()
    ]


def _line(one: dict[str, Any], skip: int) -> tuple[str, ...]:
    what = one["speaker"] if one["type"] == "recording" else plural(one["recordings"], "recording")
    return f"{one['size']:,}", duration(one["seconds"]), what, one["path"][skip:]
