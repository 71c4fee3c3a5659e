"""What can be published of a corpus: how long it keeps recordings, and how much of what there is. It names nobody."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.config import Reference, resolve
from securedata.corpus.rows.checks import restricted_rows
from securedata.corpus.rows.durations import seconds_of
from securedata.corpus.state.head import Head
from securedata.lifecycle.people.counting import each_person
from securedata.lifecycle.people.croissant import Description, document, write_document
from securedata.lifecycle.people.groups import Group, Groups
from securedata.lifecycle.people.listing import checked
from securedata.lifecycle.people.person import limits_of
from securedata.lifecycle.people.reading import Current, read_current
from securedata.lifecycle.select import mask_of
from securedata.printable import duration, plural
from securedata.storage.base import Storage

_BY = ("language", "split", "format")
_COLUMNS = (
    *("subjects", "speaker", *_BY, "purposes", "expires"),
    *("frames", "frames_in_segment", "sample_rate"),
)
_STATES = ("no purpose recorded", "for a purpose", "withdrawn", "ended", "restricted")
"""Consent of a row: the last of these that holds."""


@dataclass(frozen=True, slots=True)
class PublicReport:
    """Results of `public_report`. It holds no name of a person, no path, no consent's id and no case.

    Attributes:
        pin, generation: of the corpus; receipts name the pin, too.
        day: of this report, YYYY-MM-DD, in UTC.
        retention: how long recordings are kept, such as {"raw": "30d"}; nothing: until someone erases them.
        people, rows, seconds: how many people, rows and seconds of audio.
        languages, splits, formats: by value. A value that is the name of a person is withheld.
        consent: by state: 'for a purpose', 'no purpose recorded', 'withdrawn' (for no purpose), 'ended', 'restricted'
            (a request for erasure waits for a hold); nobody reads the last three.
        purposes: by purpose, also of rows that are not read any more; a row can have several.
        held: people whose recordings a hold keeps.
        restricted: people whose recordings open for nobody.
        erased: people who were erased by name.
        erasures: that are done, with a receipt; of people, recordings, consents, or by the rule.
        unfinished: erasures that are not finished.
        derived: corpora that were made from this one.
    """

    pin: str
    generation: int
    day: str
    retention: dict[str, str] = field(default_factory=dict)
    people: int = 0
    rows: int = 0
    seconds: float = 0.0
    languages: tuple[Group, ...] = ()
    splits: tuple[Group, ...] = ()
    formats: tuple[Group, ...] = ()
    consent: tuple[Group, ...] = ()
    purposes: tuple[Group, ...] = ()
    held: int = 0
    restricted: int = 0
    erased: int = 0
    erasures: int = 0
    unfinished: int = 0
    derived: int = 0

    def __str__(self) -> str:
        several = "person" if self.people == 1 else "people"
        return f"{self.people:,} {several}, {plural(self.rows, 'row')}, {duration(self.seconds)} of audio on {self.day}"


def public_report(
    target: str | os.PathLike[str] | Reference,
    *,
    croissant: str | os.PathLike[str] | None = None,
    title: str | None = None,
    license: str | None = None,
    url: str | None = None,
    creator: str | None = None,
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    accept_generation: int | None = None,
    storage: Storage | None = None,
) -> PublicReport:
    """Count what can be published of a corpus, and describe it in a Croissant file if asked to.

    Args:
        target: a name from the config, `securedata://NAME`, a path or a URL.
        croissant: a file to write: JSON-LD in the format Croissant 1.1 of MLCommons, with its vocabulary for
            responsible AI. An earlier one is replaced, another file is not. It needs `license`, `url` and `creator`.
        title: the name of the dataset in that file. None: the name of the corpus in the config.
        license: URL of its licence.
        url: of the web page about it, where somebody can ask for access; the recordings are not public.
        creator: the organization that made it.
        kms: KMS URIs that are trusted to unwrap the corpus key. None: from the config.
        pin: identifies the corpus. None: from the config.
        accept_generation: accept this generation although this machine has seen a newer one.
        storage: used instead of the one that the root names, for tests and benchmarks.

    Returns:
        The counts. A count of one is still a person: look before you publish it.

    Raises:
        InvalidArgument: something that the file needs is not given, or is the name of a person of the corpus; the file
            is there and is another one.
        OSError: it cannot be written.
        as `open_corpus`, but never PurposeRequired

    Example:
        report = sd.public_report(
            "voice-a",
            croissant="voice-a.json",
            license="https://example.com/voice/licence",
            url="https://example.com/voice",
            creator="Example Labs",
        )
        print(report, report.retention, report.languages)
    """
    reference = resolve(target, kms, pin)
    words = None
    if croissant is not None:
        words = Description.of(title or reference.name, license=license, url=url, creator=creator)
        words.check_file(Path(croissant))
    else:
        Description.check_unused(title=title, license=license, url=url, creator=creator)
    report, names = read_current(reference, _counted, accept_generation=checked(accept_generation), storage=storage)
    if croissant is not None and words is not None:
        words.check_nobody(names)
        write_document(Path(croissant), document(report, words))
    return report


def _counted(current: Current) -> tuple[PublicReport, frozenset[str]]:
    """The report, and the names of all people, which it must not hold."""
    head = current.head
    by = {name: Groups() for name in (*_BY, "consent", "purposes")}
    names, labels = set[str](), set[str]()
    seconds = 0.0
    for table in current.tables(_COLUMNS):
        found, parents = each_person(table)
        names.update(pc.unique(found).to_pylist())
        labels.update(pc.unique(table.column("speaker")).to_pylist())
        lengths = seconds_of(table).combine_chunks()
        seconds += pc.sum(lengths).as_py() or 0.0
        for name in _BY:
            by[name].add(table.column(name).combine_chunks(), lengths, found, parents)
        by["consent"].add(_states(head, table, current.now), lengths, found, parents)
        by["purposes"].add_lists(table.column("purposes").combine_chunks(), lengths, found, parents)
    named = frozenset(names | labels - {""})
    groups = {name: one.found(named if name != "consent" else ()) for name, one in by.items()}
    report = PublicReport(
        str(head.pin),
        head.generation,
        datetime.datetime.fromtimestamp(current.now, datetime.UTC).date().isoformat(),
        limits_of(head, current.reference.root),
        len(names),
        head.rows,
        seconds,
        groups["language"],
        groups["split"],
        groups["format"],
        groups["consent"],
        groups["purposes"],
        len({one.tag for one in head.holds}),
        len({one.tag for one in head.restricted}),
        len(head.tombstones),
        len(head.receipts),
        len(head.erasures),
        len(head.derived),
    )
    return report, named


def _states(head: Head, table: pa.Table, now: float) -> pa.Array:
    """The state of each row's consent; see `_STATES`."""
    lengths = pc.list_value_length(table.column("purposes"))
    closed = restricted_rows(head)
    masks = (
        mask_of(pc.is_valid(lengths)),
        mask_of(pc.equal(lengths, 0)),
        mask_of(pc.less_equal(table.column("expires").cast(pa.int64()), int(now * 1e6))),
        np.zeros(table.num_rows, dtype=bool) if closed is None else closed(table),
    )
    state = np.zeros(table.num_rows, dtype=np.int8)
    for number, mask in enumerate(masks, 1):
        state[mask] = number
    return pa.DictionaryArray.from_arrays(state, pa.array(_STATES, pa.large_string())).cast(pa.large_string())
