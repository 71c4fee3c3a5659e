"""Open a head and index its rows: one GET for the head, one per part. No listing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.rows.checks import restricted_rows, rows_for_case
from securedata.corpus.rows.index import Index
from securedata.corpus.schema import SCHEMA, TRAINING
from securedata.corpus.state.consent import COLUMNS as CONSENT
from securedata.corpus.state.consent import Admission, check_purpose
from securedata.corpus.state.head import Head, OpenedHead
from securedata.corpus.state.lease import HeadLease
from securedata.corpus.state.tables import read_table
from securedata.errors import InvalidArgument, NotFound, PartMissing
from securedata.keys.kms import retry_throttled
from securedata.keys.tags import Tagger

Look = Callable[[pa.Table], None]

_TRIES = 4
_KNOWN_NAMES = 1_000_000
_log = logging.getLogger("securedata")


@dataclass(frozen=True, slots=True)
class Options:
    """How a corpus was opened; unpickling opens it the same way.

    Attributes:
        speakers: tags of the speakers to keep; tags rather than names, so that a pickle names nobody.
        purpose: what the recordings are read for; None: no purpose is named.
        listed: all rows, whatever their consent, but none of their objects can be read.
        others: keep the rows of files that are neither recordings nor features; else they are counted only.
        held: the reference of a case: only rows of people whom it holds, whatever their consent, restricted or not.
    """

    columns: tuple[str, ...]
    filter: pc.Expression | None
    ttl: float
    kms_wait: float
    refresh: bool
    accept_generation: int | None = None
    speakers: frozenset[bytes] | None = field(default=None, repr=False)
    purpose: str | None = None
    listed: bool = False
    held: str | None = None
    others: bool = True


def load_index(
    lease: HeadLease, options: Options, look: Look | None = None, speakers: Iterable[str] | None = None
) -> tuple[OpenedHead, Index]:
    """Open the current head and index its rows.

    Args:
        speakers: names of the speakers to keep, if the options do not have their tags yet.
        look: called with the rows of every part before the filter; twice with some, if the head is replaced meanwhile.

    Raises:
        CorpusGone, NotACorpus, OlderGeneration, SupersededKey, PartMissing, FormatError, KeysError, MalformedManifest
        PurposeRequired, NoSuchHold, InvalidArgument
    """
    missing: NotFound | None = None
    named = b""
    for _ in range(_TRIES):
        opened = retry_throttled(lease.open)
        head = opened.head
        if not options.listed and options.held is None:
            check_purpose(head.purpose_required, options.purpose, lease.root)
        if missing and any(part.id == named for part in head.parts):
            break
        try:
            return opened, _index(lease, head, options, look, speakers)
        except _Gone as gone:  # the head was replaced while its parts were read: start over
            missing, named = gone.error, gone.part
    raise PartMissing(
        f"the head of {lease.root} names manifest part {named.hex()}, which storage does not have: "
        "its rows cannot be read; restore the part from a backup or an older version of the storage",
        root=lease.root,
        object_id=named,
    ) from missing


class _Gone(Exception):
    def __init__(self, part: bytes, error: NotFound) -> None:
        super().__init__(part)
        self.part, self.error = part, error


def speaker_tags(head: Head, speakers: Iterable[str]) -> frozenset[bytes]:
    """The tags of names under a corpus's secret.

    Raises:
        InvalidArgument
    """
    tagger = Tagger(head.secret)
    try:
        return frozenset(map(tagger.tag, speakers))
    except UnicodeEncodeError:  # not chained, since it contains the name
        raise InvalidArgument("a speaker's name contains a lone surrogate, which is not a character") from None


class SpokenBy:
    """Chooses the rows of speakers with these tags, part by part. A name is tagged once."""

    def __init__(self, wanted: frozenset[bytes], tagger: Tagger) -> None:
        self._wanted, self._tagger = wanted, tagger
        self._known: dict[str, bool] = {}

    def __call__(self, table: pa.Table) -> pa.Table:
        column = table.column("speaker")
        if len(self._known) > _KNOWN_NAMES:
            self._known.clear()
        names = [name for name in pc.unique(column).to_pylist() if name is not None and self._is_wanted(name)]
        return table.filter(pc.is_in(column, pa.array(names, column.type)))

    def _is_wanted(self, name: str) -> bool:
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = self._tagger.tag(name) in self._wanted
        return found


def without_others(table: pa.Table) -> tuple[pa.Table, int]:
    """The rows of recordings and features, whose format is known, and the number of the other rows."""
    known = pc.not_equal(table.column("format"), "")
    count = table.num_rows - (pc.sum(known).as_py() or 0)
    return (table.filter(known) if count else table), count


def _index(lease: HeadLease, head: Head, options: Options, look: Look | None, speakers: Iterable[str] | None) -> Index:
    storage = lease.storage
    wanted = None if options.filter is not None else (*options.columns, "data_key", *TRAINING, *CONSENT)
    columns = None if wanted is None or any(name not in SCHEMA.names for name in wanted) else wanted
    of_case = None if options.held is None else rows_for_case(head, options.held, lease.root)
    tags = options.speakers if speakers is None else speaker_tags(head, speakers)

    spoken_by = None if tags is None else SpokenBy(tags, Tagger(head.secret))
    others: dict[int, int] = {}

    def loader(number: int) -> Callable[[], pa.Table]:
        def read_part() -> pa.Table:
            part = head.parts[number]
            try:
                table = read_table(storage, head.corpus_id, part, columns)
            except NotFound as error:
                raise _Gone(part.id, error) from error
            if look is not None:
                look(table.drop_columns("data_key"))
            if not options.others:
                table, others[number] = without_others(table)
            if of_case is not None:
                table = table.filter(pa.array(of_case(table)))
            return table if spoken_by is None else spoken_by(table)

        return read_part

    parts = [loader(number) for number in range(len(head.parts))] or [SCHEMA.empty_table]
    if of_case is not None:
        return Index.build(parts, options.columns, options.filter)
    admission = Admission(options.purpose, lease.now(), restricted_rows(head))
    index = Index.build(parts, options.columns, options.filter, admission, options.listed)
    index.others = sum(others.values())
    if not options.listed and (line := admission.warning(lease.root)):
        _log.warning("%s", line)
    return index
