"""The options of `ingest`, for type checkers: with `dry_run=True` the same options give another report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypedDict

from securedata.corpus.progress import Progress


class IngestOptions(TypedDict, total=False):
    """Keyword arguments of `ingest` except `dry_run`; a test compares them with its signature."""

    speaker_pattern: str | None
    one_subject: str | None
    subject_per_file: bool
    layout: str
    source_format: str
    source_profile: str | None
    source_region: str | None
    source_endpoint_url: str | None
    manifest: str | os.PathLike[str] | None
    columns: Mapping[str, str | None] | None
    segment_unit: str | None
    split: str | None
    only_listed: bool
    leave_out: str | Sequence[str]
    replace: bool
    reseal: bool
    clear: str | Sequence[str]
    if_duplicate: str
    checksum: bool
    known_bad: str | os.PathLike[str] | None
    write_bad: str | os.PathLike[str] | None
    threads: int | None
    name: str | None
    kms: str | Sequence[str] | None
    pin: str | Sequence[str] | None
    single_writer: bool
    start_over: bool
    accept_generation: int | None
    progress: bool | Progress | None
