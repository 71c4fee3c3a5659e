"""`securedata encrypt`."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from securedata.cli.commands.init import add_start_over, announce, described
from securedata.cli.common import (
    HELD,
    add_command,
    add_corpus_options,
    add_engine,
    add_output_options,
    add_threads,
    add_writer_options,
    fail,
    out,
    pins,
    plural,
    print_json,
    say,
    show,
    size,
    wants_progress,
)
from securedata.cli.rehearse import accounted, only_held, show_preview, some, tell_apart, tell_transcripts
from securedata.errors import InvalidArgument
from securedata.ingest.sources.layouts.names import CHOICES, LAYOUTS

if TYPE_CHECKING:
    from securedata.ingest.report import IngestReport


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "encrypt",
        encrypt,
        help="seal a folder or bucket of recordings into a corpus",
        about=(
            "Seal the recordings under SRC into a corpus, which is created if it does not exist. Formats: all that\n"
            "libsndfile reads (wav, flac, ogg, mp3, opus, aiff and more) and, with the extra 'media', m4a, mp4, aac,\n"
            "webm, wma and more. The first bytes of a file decide, not its suffix. Texts, tables and images are\n"
            "companions, and not sealed.\n\n"
            "SRC is a folder or a URL: s3://BUCKET/PREFIX, or any other that fsspec can list and read (gs://, sftp://\n"
            "and more, once fsspec's package for it is installed). Files behind a URL pass through memory only;\n"
            "nothing of them is written to this machine's disk.\n\n"
            "Sources are never changed. If a run is killed, run it again: it continues where it stopped, and skips\n"
            "files that are in the corpus already, by size and time. Name the speaker of every recording, since\n"
            "erasing a person later depends on it: with a known layout (see --layout), a manifest with a speaker\n"
            "column, or one of the three options below.\n\n"
            "Rows of people under a hold ('securedata hold') are neither replaced nor described differently; if\n"
            "nothing else is left undone, the exit code is 3."
        ),
        example=(
            "  securedata encrypt ./wavs ./sealed --speaker-pattern '{speaker}/{utterance}'\n"
            "  securedata encrypt ./wavs voice-a --one-subject ann --dry-run  # write nothing\n"
            "  securedata encrypt ./clips voice-a --manifest train.tsv \\\n"
            "    --columns speaker=client_id\n"
            "  securedata encrypt s3://raw/voices voice-a \\\n"
            "    --source-profile recordings --manifest train.jsonl"
        ),
    )
    parser.add_argument("src", metavar="SRC", help="folder or URL of the recordings")
    parser.add_argument("target", metavar="ROOT|NAME", help="the corpus; a new or empty folder becomes one")
    people = parser.add_argument_group("speakers")
    people.add_argument(
        "--speaker-pattern",
        metavar="PATTERN",
        help="pattern of the paths under SRC without extension: '{speaker}/{utterance}'; '*' matches any part",
    )
    people.add_argument("--one-subject", metavar="NAME", help="every recording is of this person")
    people.add_argument("--subject-per-file", action="store_true", help="every recording is of a different person")
    people.add_argument(
        "--layout",
        default="auto",
        choices=CHOICES,
        metavar="NAME",
        help=f"auto, the default; none; or {'; '.join(f'{name} ({what})' for name, what in LAYOUTS.items())}",
    )
    _add_source_options(parser)
    parser.add_argument(
        "--source-format",
        default="auto",
        choices=["auto", "files", "webdataset", "parquet", "arrow"],
        help="where the recordings are: in files, in tars, or in a column of bytes as Hugging Face datasets writes it "
        "(default: auto, which prefers files)",
    )
    words = parser.add_argument_group("transcripts and more")
    words.add_argument(
        "--manifest",
        metavar="FILE",
        help="NeMo JSON lines, CSV or TSV with a header, or Parquet: a file, a URL, or its name under SRC",
    )
    words.add_argument(
        "--columns",
        metavar="FIELD=COLUMN",
        action="append",
        default=[],
        type=_column,
        help="column of the manifest for a field, such as speaker=client_id, or text=a.b for the key b in JSON "
        "objects a; repeatable",
    )
    words.add_argument("--column", dest="columns", action="append", type=_column, help=SUPPRESS)
    words.add_argument(
        "--segment-unit",
        choices=["s", "ms", "samples"],
        help="unit of start, end and duration in the manifest, unless a name has it, as start_ms does (default: s)",
    )
    words.add_argument("--split", metavar="NAME", help="split of recordings for which nothing else names one")
    words.add_argument("--consent", metavar="ID", help="consent to recordings for which the manifest names none")
    words.add_argument(
        "--purpose",
        metavar="PURPOSE",
        action="append",
        help="a purpose of that consent, such as asr, where the manifest names none; repeatable",
    )
    words.add_argument(
        "--expires",
        metavar="DATE",
        help="when that consent ends, such as 2027-12-31 (the end of that day, UTC), unless the manifest says it",
    )
    words.add_argument("--only-listed", action="store_true", help="take only the files that the manifest names")
    words.add_argument(
        "--leave-out",
        metavar="PATTERN",
        action="append",
        default=[],
        help="leave out a folder, or what matches, such as 'old/*'; '*' matches any text, '/' included; repeatable",
    )
    words.add_argument(
        "--include",
        metavar="PATTERN",
        action="append",
        default=[],
        help="also seal files that are no recordings, as they are, such as '*.parquet,*.json'; repeatable",
    )
    work = parser.add_argument_group("work")
    work.add_argument(
        "--dry-run",
        action="store_true",
        help="write nothing; show the people, what would be sealed or left out and why, and duplicates",
    )
    work.add_argument("--replace", action="store_true", help="recordings that changed replace those in the corpus")
    work.add_argument(
        "--reseal",
        action="store_true",
        help="also seal again what is in the corpus already: repairs lost or damaged objects",
    )
    work.add_argument(
        "--clear",
        metavar="COLUMN",
        action="append",
        default=[],
        help="empty this column (speaker, utterance, transcript, split, language, extra, consent_id, purposes, expires "
        "or last_contact) of recordings in the corpus, where this run describes them without it; repeatable",
    )
    work.add_argument(
        "--if-duplicate",
        choices=["take", "skip", "fail"],
        default="take",
        help="what to do with a new recording whose content has another path already (default: take it)",
    )
    work.add_argument("--checksum", action="store_true", help="compare digests rather than sizes and times")
    work.add_argument(
        "--known-bad",
        metavar="FILE",
        help="exit with 0 if all that was not taken is in this file, with the same reasons: for cron",
    )
    work.add_argument("--write-bad", metavar="FILE", help="write what was not taken, and why, to this file")
    work.add_argument(
        "--pack", action="store_true", help="put small objects into packs of 256 MB, and those of earlier runs, too"
    )
    add_threads(work, "two per core, 16 at least over a network; with --engine ray, by each task: 1, 4 over a network")
    add_engine(work, "files are read and sealed")
    work.add_argument("--name", help="name of a new corpus (default: that of its folder)")
    add_start_over(work)
    add_corpus_options(parser)
    add_writer_options(parser)
    add_output_options(parser)


def _add_source_options(parser: ArgumentParser) -> None:
    group = parser.add_argument_group(
        "SRC on S3",
        "Default: the AWS settings of the environment. Those of the corpus are in its config entry.",
    )
    group.add_argument(
        "--source-profile", metavar="NAME", help="profile of the AWS configuration, with credentials to read SRC"
    )
    group.add_argument("--source-region", metavar="REGION", help="region of its bucket")
    group.add_argument("--source-endpoint-url", metavar="URL", help="its S3 server, if that is not AWS")


def _column(text: str) -> tuple[str, str]:
    field, separator, column = text.partition("=")
    if not separator or not field:
        raise ArgumentTypeError(f"{text!r} is not FIELD=COLUMN, such as speaker=client_id")
    return field, column


def _columns(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for field, column in pairs:
        if chosen.setdefault(field, column) != column:
            both = f"{chosen[field]!r} and {column!r}"
            raise InvalidArgument(f"--columns names two columns for {field}, {both}: leave one out")
    return chosen


def encrypt(args: Namespace) -> int:
    """Run the command."""
    from securedata.ingest.ingest import ingest
    from securedata.ingest.preview import IngestPreview

    report = ingest(
        args.src,
        args.target,
        speaker_pattern=args.speaker_pattern,
        one_subject=args.one_subject,
        subject_per_file=args.subject_per_file,
        layout=args.layout,
        source_format=args.source_format,
        source_profile=args.source_profile,
        source_region=args.source_region,
        source_endpoint_url=args.source_endpoint_url,
        manifest=args.manifest,
        columns=_columns(args.columns) or None,
        segment_unit=args.segment_unit,
        split=args.split,
        consent=args.consent,
        purpose=args.purpose,
        expires=args.expires,
        only_listed=args.only_listed,
        leave_out=args.leave_out,
        include=args.include,
        dry_run=args.dry_run,
        replace=args.replace,
        reseal=args.reseal,
        clear=args.clear,
        if_duplicate=args.if_duplicate,
        pack=args.pack,
        checksum=args.checksum,
        known_bad=args.known_bad,
        write_bad=args.write_bad,
        threads=args.threads,
        engine=args.engine,
        name=args.name,
        kms=args.kms,
        pin=pins(args),
        single_writer=args.single_writer,
        start_over=args.start_over,
        accept_generation=args.accept_generation,
        progress=wants_progress(args),
    )
    if isinstance(report, IngestPreview):
        return show_preview(args, report)
    return _finish(args, report)


def _finish(args: Namespace, report: IngestReport) -> int:
    """Print what became of the sources. `root` is None if there was nothing to take, so that no corpus was made."""
    from securedata.ingest.known_bad import amount, bad_of

    if args.json:
        print_json(_described(report))
    else:
        _tell(args, report)
    bad, new = bad_of(report), {(one.path, one.reason) for one in report.new}
    before = [one for one in bad if (one.path, one.reason) not in new]
    if args.known_bad and before:
        say(args, f"{amount(before)} not taken as before ({args.known_bad})")
    why = "" if args.json else ", for the reasons above"
    what = f"{amount(report.new or bad)} of {args.src} not taken{why}"
    if report.root is None:
        return fail(f"nothing to take, so no corpus was made: {what}")
    if only_held(args, report.held, report.new):
        return HELD
    if report.new:
        return fail(what)
    damaged = [] if report.packed is None else report.packed.failed
    return fail(f"{plural(len(damaged), 'object')} of {report.root} not packed") if damaged else 0


def _described(report: IngestReport) -> dict[str, Any]:
    problems = [{"path": one.path, "reason": one.reason, "taken": one.taken} for one in report.problems]
    return {
        "root": report.root,
        "name": report.name,
        **asdict(replace(report, created=None, packed=None)),
        "packed": report.packed.described() if report.packed else None,
        "created": described(report.created) if report.created else None,
        "problems": problems,
        "duplicates": [{"path": path, "same_as": other} for path, other in report.duplicates],
        "complete": report.complete,
        "hidden": report.sources.hidden,
        "near_duplicates": [list(group) for group in report.near_duplicates],
        "new": [one.said() for one in report.new],
    }


def _tell(args: Namespace, report: IngestReport) -> None:
    if report.created is not None:
        announce(args, report.created)
    counts = [
        (report.added, "added"),
        (report.replaced, "replaced"),
        (report.updated, "updated"),
        (report.unchanged, "unchanged"),
    ]
    speed = f", {size(report.bytes / report.seconds)}/s" if report.bytes and report.seconds else ""
    nothing = f"0 added, {report.not_taken:,} not taken" if report.not_taken else "nothing to do"
    if report.root is not None:
        out(
            f"{', '.join(f'{count:,} {what}' for count, what in counts if count) or nothing}: "
            f"{size(report.bytes)} sealed in {report.seconds:.1f} s{speed}; "
            f"{report.name or report.root} has generation {report.generation}"
        )
    if report.packed is not None:
        objects = f"{plural(report.packed.objects, 'object')} ({size(report.packed.bytes)})"
        out(f"packed: {objects} into {plural(report.packed.packs, 'pack')}")
        show(args, "damaged or missing, not packed: see 'securedata verify'", report.packed.failures)
    tell_transcripts(report)
    if report.columns:
        out(f"changed, by column: {', '.join(f'{name} {count:,}' for name, count in report.columns.items())}")
    if report.sources.files > report.sources.taken + report.sources.unchanged:
        say(args, accounted(report.sources))
    if report.hidden_names:
        say(args, f"left out, because hidden: {some(report.hidden_names)}")
    for group in report.near_duplicates:
        say(args, f"treated as different people; check: {', '.join(repr(name) for name in group)}")
    tell_apart(args, report.apart, report.shared)
    show(args, "not taken", [f"{one.path}: {one.reason}" for one in report.problems if not one.taken])
    show(args, "taken, but deserve a look", [f"{one.path}: {one.reason}" for one in report.problems if one.taken])
    fate = "left out, because" if args.if_duplicate == "skip" else "taken, although"
    lines = [f"{path}: same as {other}" for path, other in report.duplicates]
    show(args, f"{fate} the content has another path already (--if-duplicate)", lines)
    show(
        args,
        "not taken: the corpus has other content or people under these paths (--replace replaces them)",
        report.conflicts,
    )
    show(args, "not taken: of people who were erased", report.erased)
