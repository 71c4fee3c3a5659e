"""The options of `ingest`: for type checkers, as `dry_run=True` gives another report, and for its errors."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypedDict

from securedata.corpus.progress import Progress
from securedata.corpus.tasks.engine import Engine
from securedata.errors import InvalidArgument


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
    consent: str | None
    purpose: str | Sequence[str] | None
    expires: str | datetime.date | None
    only_listed: bool
    leave_out: str | Sequence[str]
    include: str | Sequence[str]
    replace: bool
    reseal: bool
    clear: str | Sequence[str]
    if_duplicate: str
    checksum: bool
    known_bad: str | os.PathLike[str] | None
    write_bad: str | os.PathLike[str] | None
    pack: bool
    threads: int | None
    engine: Engine
    name: str | None
    kms: str | Sequence[str] | None
    pin: str | Sequence[str] | None
    single_writer: bool
    start_over: bool
    accept_generation: int | None
    progress: bool | Progress | None


_OPTION = re.compile(r"--([a-z][a-z-]*)")


@contextmanager
def both_spellings() -> Iterator[None]:
    """Add the parameters of `ingest` to errors that name options of the command line."""
    try:
        yield
    except InvalidArgument as error:
        text = str(error)
        names = dict.fromkeys(name.replace("-", "_") for name in _OPTION.findall(text))
        known = [f"{name}=" for name in names if name in IngestOptions.__annotations__ or name == "dry_run"]
        if known and "in python" not in text.lower():
            error.args = (f"{text} (in Python: {', '.join(known)})",)
        raise
