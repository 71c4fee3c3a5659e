"""`ingest`: recordings from a folder or bucket into a corpus, which is created if it does not exist."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import replace as replaced
from typing import Literal, TypedDict, Unpack, overload

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.columns import UNITS, BadValue
from securedata.corpus.config import Reference, normal_root
from securedata.corpus.create import CreateReport, create_corpus
from securedata.corpus.notices import log_incomplete, log_notice
from securedata.corpus.option_values import MAX_THREADS, as_choice, as_flag, as_text, as_texts, as_whole
from securedata.corpus.packs.report import PackReport
from securedata.corpus.packs.run import pack_alone
from securedata.corpus.progress import Progress, check_progress, reporting
from securedata.corpus.rows.inherit import check_clearable
from securedata.corpus.state.consent import Consent, consent_of
from securedata.corpus.tasks.engine import Engine, check_engine, executor_of
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument
from securedata.ingest.copies.duplicates import POLICIES
from securedata.ingest.known_bad import NotTaken, amount, bad_of, check_writable, news, read_known
from securedata.ingest.known_bad import write_bad as write_bad_file
from securedata.ingest.options import IngestOptions, both_spellings
from securedata.ingest.pipeline import seal_sources
from securedata.ingest.preview import IngestPreview, preview
from securedata.ingest.report import IngestReport
from securedata.ingest.sources.recordings import SourceList, list_sources
from securedata.ingest.sources.subjects import note_one_speaker
from securedata.ingest.target import Existing, find_target
from securedata.ingest.trial import refused


@overload
def ingest(
    src: str | os.PathLike[str],
    target: str | os.PathLike[str] | Reference,
    *,
    dry_run: Literal[False] = False,
    **options: Unpack[IngestOptions],
) -> IngestReport: ...


@overload
def ingest(
    src: str | os.PathLike[str],
    target: str | os.PathLike[str] | Reference,
    *,
    dry_run: Literal[True],
    **options: Unpack[IngestOptions],
) -> IngestPreview: ...


@overload
def ingest(
    src: str | os.PathLike[str],
    target: str | os.PathLike[str] | Reference,
    *,
    dry_run: bool,
    **options: Unpack[IngestOptions],
) -> IngestReport | IngestPreview: ...


@both_spellings()
def ingest(
    src: str | os.PathLike[str],
    target: str | os.PathLike[str] | Reference,
    *,
    speaker_pattern: str | None = None,
    one_subject: str | None = None,
    subject_per_file: bool = False,
    layout: str = "auto",
    source_format: str = "auto",
    source_profile: str | None = None,
    source_region: str | None = None,
    source_endpoint_url: str | None = None,
    manifest: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str | None] | None = None,
    segment_unit: str | None = None,
    split: str | None = None,
    consent: str | None = None,
    purpose: str | Sequence[str] | None = None,
    expires: str | datetime.date | None = None,
    only_listed: bool = False,
    leave_out: str | Sequence[str] = (),
    include: str | Sequence[str] = (),
    dry_run: bool = False,
    replace: bool = False,
    reseal: bool = False,
    clear: str | Sequence[str] = (),
    if_duplicate: str = "take",
    checksum: bool = False,
    known_bad: str | os.PathLike[str] | None = None,
    write_bad: str | os.PathLike[str] | None = None,
    pack: bool = False,
    threads: int | None = None,
    engine: Engine = "local",
    name: str | None = None,
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    single_writer: bool = False,
    start_over: bool = False,
    accept_generation: int | None = None,
    progress: bool | Progress | None = None,
) -> IngestReport | IngestPreview:
    """Seal the recordings under a folder or URL into a corpus, which is created if it does not exist.

    Sources are never changed. If a run is killed, run it again: it continues where it stopped, and skips recordings
    that are in the corpus already, by size and time. Name the speaker of every recording, since erasing a person later
    depends on it, with exactly one of these: a known layout, a manifest with a speaker column, `speaker_pattern`,
    `one_subject` or `subject_per_file`.

    Args:
        src: a folder, or a URL: s3://BUCKET/PREFIX, or any other that fsspec can list and read.
        target: the corpus: a name from the config, `securedata://NAME`, a path or a URL. A new or empty folder becomes
            a corpus, with a key file unless `kms` names a key.
        speaker_pattern: pattern of the paths under `src` without extension: '{speaker}/{utterance}'; '*' matches any
            part.
        one_subject: every recording is of this person.
        subject_per_file: every recording is of a different person.
        layout: 'auto', 'none', or the name of a known layout.
        source_format: 'files'; or recordings inside files: 'webdataset' (tars), 'parquet' or 'arrow' (a column of
            bytes, as Hugging Face datasets writes it); 'auto': whichever is found, files first.
        source_profile, source_region, source_endpoint_url: of `src`, if on S3; None: as boto3 finds them.
        manifest: JSON lines as NeMo writes them, CSV or TSV with a header, or Parquet: a file, a URL, or its name under
            `src`.
        columns: columns of the manifest by field, such as {"speaker": "client_id"}, or {"text": "a.b"} for the key b in
            JSON objects a; None or '' if no column is this field.
        segment_unit: 's', 'ms' or 'samples': unit of times in the manifest, unless column names have it; None: 's'.
        split: split of recordings for which nothing else names one.
        consent: id of the consent to recordings for which the manifest names none.
        purpose: the purposes of that consent, such as ['asr', 'tts'], likewise; none of an empty list.
        expires: when it ends, likewise: a date, which means the end of that day in UTC, or a time, in ISO 8601.
        only_listed: take only the files that the manifest names.
        leave_out: folders to leave out, or patterns of paths, such as 'old/*'; '*' matches any text, '/' included.
        include: patterns of files to seal as they are, though they are no recordings, such as '*.parquet,*.json'; a
            rule or the manifest must name whose they are.
        dry_run: write nothing; read what would be sealed, and report what would become of it.
        replace: recordings that changed replace those in the corpus; otherwise they are conflicts.
        reseal: also seal again what is in the corpus already: repairs lost or damaged objects.
        clear: columns to empty for recordings in the corpus, where this call describes them without it.
        if_duplicate: 'take', 'skip' or 'fail' a new recording whose content has another path already.
        checksum: compare digests rather than sizes and times.
        known_bad: a file that `write_bad` wrote; what it lists with the same reason is not in the report's `new`.
        write_bad: write what was not taken, and why, to this file, for the next call.
        pack: put new recordings into packs of about 256 MB, which wait in memory; then pack what is alone already,
            from earlier runs, too, as `pack` does.
        threads: files processed at once; None: two per core, 16 at least over a network. With an engine: by each task;
            None: 4 over a network, otherwise 1.
        engine: 'local': threads of this process; 'ray': tasks of a Ray cluster, whose nodes must reach the source, the
            corpus and its KMS; or an executor of processes. See docs/scale.md.
        name: name of a new corpus; None: that of its folder.
        kms: KMS URIs trusted to unwrap the corpus key, or to wrap it if the corpus is created. None: from the config,
            else SECUREDATA_KMS, else a key file.
        pin: pin of the corpus, as `securedata info` prints it. None: from the config, else SECUREDATA_PIN.
        single_writer: allow storage where concurrent writers could lose rows; use it only if nobody else writes there.
        start_over: if the corpus at the target was deleted for good, make a new one there. An existing corpus is never
            touched.
        accept_generation: accept this generation although this machine has seen a newer one.
        progress: True for a bar on a terminal or in a notebook; or a callable that is called from one thread with
            (files done, files in all, bytes done, bytes in all).

    Returns:
        What became of the sources: an `IngestReport`, or with `dry_run` an `IngestPreview`. `complete` is False if
        something was not taken. If there was nothing to take and no corpus, none is made, and `root` is None. If one
        was made, `created` is its `CreateReport`. The logger `securedata` warns of what is in `new`, and of a key
        file that must be backed up.

    Raises:
        SubjectUnknown: nothing names the speakers; nothing was created.
        InvalidArgument: options that exclude each other, an invalid manifest, no file that could be a recording.
        ConfigError: a name that is not in the config.
        PinRequired, PinMismatch, NoTrustedKey, KMSDenied, ...: the corpus cannot be opened for writing.
        StorageError, KeysError, CorpusError: what was committed stays; run it again for the rest.

    Example:
        report = sd.ingest("./wavs", "./sealed-c", speaker_pattern="{speaker}/{utterance}")
        print(report.added, "added in", report.root)
        assert report.complete, (report.problems, report.conflicts, report.erased)
    """
    clear, leave_out = as_texts("clear", clear), as_texts("leave_out", leave_out)
    include = [one for listed in as_texts("include", include) for one in listed.split(",") if one]
    check_clearable(clear)
    check_progress(progress)
    as_choice("if_duplicate", if_duplicate, POLICIES)
    if segment_unit is not None:
        as_choice("segment_unit", segment_unit, UNITS)
    if accept_generation is not None:
        accept_generation = as_whole("accept_generation", accept_generation, 0, 2**63 - 1)
    for option, value in {
        "speaker_pattern": speaker_pattern,
        "one_subject": one_subject,
        "layout": layout,
        "source_format": source_format,
        "split": split,
        "name": name,
    }.items():
        if value is not None:
            as_text(option, value)
    if columns is not None and not isinstance(columns, Mapping):
        raise InvalidArgument(f'columns= is a mapping, as {{"speaker": "client_id"}}, not {type(columns).__name__}')
    if threads is not None:
        threads = as_whole("threads", threads, 1, MAX_THREADS)
    engine, dry_run = check_engine(engine), as_flag("dry_run", dry_run)
    if dry_run and write_bad is not None:
        raise InvalidArgument("--dry-run writes nothing: leave out --write-bad")
    said = _consent(consent, purpose, expires)
    known = read_known(known_bad)
    if write_bad is not None:
        check_writable(write_bad)
    pack, start_over = as_flag("pack", pack), as_flag("start_over", start_over)
    single_writer = as_flag("single_writer", single_writer)
    found, there = find_target(target, kms, pin, name, start_over)
    existing = Existing(found, dry_run, single_writer, accept_generation) if there else None
    source = {"profile": source_profile, "region": source_region, "endpoint_url": source_endpoint_url}
    with ExitStack() as opened:
        if existing is not None:
            opened.callback(existing.close)
        sources = list_sources(
            src,
            manifest=manifest,
            columns=columns,
            speaker_pattern=speaker_pattern,
            one_subject=one_subject,
            subject_per_file=as_flag("subject_per_file", subject_per_file),
            layout=layout,
            source_format=source_format,
            only_listed=as_flag("only_listed", only_listed),
            leave_out=leave_out,
            include=include,
            corpus=found.root,
            segment_unit=segment_unit,
            options={option: value for option, value in source.items() if value},
            read_rows=existing.read_rows if existing is not None else None,
        )
        if speaker_pattern is not None:
            note_one_speaker(sources.table, speaker_pattern)
        if split:
            sources = _with_split(sources, split)
        sources = _with_consent(sources, said)
        how: _How = {
            "threads": threads,
            "replace": as_flag("replace", replace),
            "checksum": as_flag("checksum", checksum),
            "reseal": as_flag("reseal", reseal),
            "clear": clear,
            "if_duplicate": if_duplicate,
        }
        if dry_run:
            return _rehearse(sources, existing, known, how, progress)
    with executor_of(engine) as executor:
        report, bad = _seal(
            sources, found, existing, name, how, pack, single_writer, start_over, accept_generation, progress, executor
        )
    report.hidden_names, report.near_duplicates = sources.hidden_names, sources.near_duplicates
    report.new = news(bad, known)
    if write_bad is not None:
        write_bad_file(write_bad, bad)
    if report.new or report.root is None:
        nothing = "" if report.root else "nothing to take, so no corpus was made: "
        what = f"{amount(report.new or bad)} of {os.fspath(src)} not taken"
        log_incomplete(f"{nothing}{what}: see the report's problems, conflicts, erased and held")
    return report


class _How(TypedDict):
    """Options that a run and a dry run share."""

    threads: int | None
    replace: bool
    checksum: bool
    reseal: bool
    clear: Sequence[str]
    if_duplicate: str


def _rehearse(
    sources: SourceList,
    existing: Existing | None,
    known: frozenset[NotTaken],
    how: _How,
    progress: bool | Progress | None,
) -> IngestPreview:
    corpus = existing.corpus if existing is not None else None
    with reporting(progress, "reading") as told:
        report = preview(sources, corpus, progress=_summed(told, sources), **how)
    if existing is not None:
        report.root, report.name = existing.reference.root, existing.reference.name
    report.hidden_names, report.near_duplicates = sources.hidden_names, sources.near_duplicates
    report.new = news(bad_of(report, sources), known)
    return report


def _seal(
    sources: SourceList,
    found: Reference,
    existing: Existing | None,
    name: str | None,
    how: _How,
    pack: bool,
    single_writer: bool,
    start_over: bool,
    accept_generation: int | None,
    progress: bool | Progress | None,
    executor: Executor | None,
) -> tuple[IngestReport, list[NotTaken]]:
    """Seal; returns the report, and everything that was not taken."""
    created: CreateReport | None = None
    if existing is None:
        report = refused(sources)
        if report is not None:
            return report, bad_of(report, sources)
        created = create_corpus(
            normal_root(found.root),
            name or found.name,
            kms=found.kms,
            single_writer=single_writer,
            start_over=start_over,
        )
        found = created.reference
    try:
        writer = (
            existing.writer
            if existing is not None
            else Writer(found, single_writer=single_writer, accept_generation=accept_generation)
        )
        with reporting(progress, "sealing") as told:
            report = seal_sources(sources, writer, pack=pack, progress=_summed(told, sources), executor=executor, **how)
        if pack:
            report.packed = (report.packed or PackReport(writer.root)) + pack_alone(writer, how["threads"], progress)
            report.generation = report.packed.generation
    except BaseException:  # re-raised, Ctrl-C too: name the corpus that was created for this run
        if created is not None:
            log_notice(
                f"the new corpus {created.name!r} at {created.root} stays, with its key; run it again for the rest"
            )
        raise
    report.root, report.name, report.created = found.root, found.name, created
    return report, bad_of(report, sources)


def _summed(told: Progress | None, sources: SourceList) -> Callable[[int, int], None] | None:
    """A callback that takes the files and bytes since its last call, and reports the totals."""
    if told is None:
        return None
    files = done = 0
    all_files, total = len(sources), sources.bytes

    def add(more_files: int, more: int) -> None:
        nonlocal files, done
        files, done = files + more_files, done + more
        told(min(files, all_files), all_files, min(done, total), total)  # a file can be read again

    return add


def _consent(consent: object, purpose: object, expires: object) -> Consent:
    """The consent that the caller names. Raises InvalidArgument"""
    if isinstance(purpose, str):
        purpose = [purpose]
    try:
        return consent_of({"consent_id": consent, "purposes": purpose, "expires": expires})
    except BadValue as error:
        names = "--consent, --purpose and --expires"
        raise InvalidArgument(f"{names}: {error}") from None


def _with_consent(sources: SourceList, said: Consent) -> SourceList:
    """The same recordings, with this consent where they have none, column by column."""
    table = sources.table
    for name, value in said._asdict().items():
        if value is not None:
            at = table.schema.get_field_index(name)
            cells = [value if one is None else one for one in table.column(name).to_pylist()]
            table = table.set_column(at, table.schema.field(at), pa.array(cells, table.schema.field(at).type))
    return replaced(sources, table=table)


def _with_split(sources: SourceList, split: str) -> SourceList:
    """The same recordings, with `split` where they have none."""
    column = sources.table.column("split")
    column = pc.if_else(pc.equal(column, ""), pa.scalar(split, column.type), column)
    at = sources.table.schema.get_field_index("split")
    return replaced(sources, table=sources.table.set_column(at, sources.table.schema.field(at), column))
