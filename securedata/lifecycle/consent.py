"""Withdraw consent from recordings, let a corpus open for a named purpose only, and list the consents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.reader import Corpus
from securedata.corpus.rows.changes import Changes
from securedata.corpus.rows.durations import seconds_of
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.schema import SCHEMA
from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.consent import as_purpose
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument
from securedata.lifecycle.erasure.journal import erased_before

_COLUMNS = ("path", "object_id", "consent_id", "purposes")
LISTED = ("consent_id", "purposes", "expires", "frames", "frames_in_segment", "sample_rate", "subjects")
"""The columns that `consents_of` needs."""


@dataclass(slots=True)
class Withdrawn:
    """What a withdrawal did.

    Attributes:
        rows: of that consent; `changed` of them lost a purpose, and `closed` have none left, so that nobody reads them.
        held: paths of rows that stay as they are, because one of their people is under a hold.
        generation: of the corpus, afterwards.
    """

    rows: int = 0
    changed: int = 0
    closed: int = 0
    held: list[str] = field(default_factory=list, repr=False)
    generation: int = 0


def withdraw(writer: Writer, consent_id: str, purpose: str | None = None, *, absent_ok: bool = False) -> Withdrawn:
    """Take a purpose, or all of them, out of the rows of a consent, in one commit. Doing it again changes nothing.

    The rows are chosen again at every try, so that those which another writer adds meanwhile are among them. Rows
    without a recorded purpose are changed only if all purposes are withdrawn: to an empty list, consent to nothing.

    Args:
        purpose: the purpose to take out; None: all.
        absent_ok: a corpus without rows of this consent is as good.

    Raises:
        InvalidArgument: no row has this consent, it was not erased, and `absent_ok` is False; nothing was written.
        as `Writer.transact`
    """
    wanted = None if purpose is None else as_purpose(purpose)
    report = Withdrawn()
    closed: set[str] = set()

    def change(attempt: Try) -> Next[Outcome]:
        report.rows = 0
        closed.clear()
        pieces = list(_rewritten(attempt, consent_id, wanted, report, closed))
        if not (report.rows or absent_ok or erased_before(attempt.head, consent_id)):
            raise InvalidArgument(
                f"no recording of {writer.root} has this consent: 'securedata consent list' shows those that there are",
                root=writer.root,
            )
        if not pieces:
            return Next(Outcome(), None)
        changes = Changes(rewrite=pa.concat_tables(pieces))
        plan = attempt.plan(changes)
        return Next(plan.outcome, attempt.write(plan, changes) if plan.outcome.changes else None)

    outcome = writer.transact(change)
    report.changed, report.held = outcome.rewritten, outcome.held
    report.closed = len(closed.difference(outcome.held))
    report.generation = writer.head.generation
    return report


def _rewritten(
    attempt: Try, consent_id: str, purpose: str | None, report: Withdrawn, closed: set[str]
) -> Iterator[pa.Table]:
    """The rows to change, part by part, with the purposes that are left; paths of those with none go to `closed`."""
    kind = SCHEMA.field("purposes").type
    for part in attempt.head.parts:
        view = attempt.read_table(part, _COLUMNS)
        mine = view.filter(pc.fill_null(pc.equal(view.column("consent_id"), consent_id), False))
        report.rows += mine.num_rows
        before: list[list[str] | None] = mine.column("purposes").to_pylist()
        after: list[list[str] | None]
        if purpose is None:
            after = [[] for _ in before]
        else:
            after = [None if one is None else [name for name in one if name != purpose] for one in before]
        changed = [at for at, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
        if changed:
            rows = mine.take(pa.array(changed, pa.int64()))
            paths = rows.column("path").to_pylist()
            closed.update(path for path, at in zip(paths, changed, strict=True) if after[at] == [])
            yield pa.table(
                [rows.column("path"), rows.column("object_id"), pa.array([after[at] for at in changed], kind)],
                names=["path", "old_id", "purposes"],
            )


@dataclass(frozen=True, slots=True)
class Required:
    """Whether a corpus opens only with a purpose named, and whether this call changed that."""

    required: bool
    changed: bool
    generation: int


def require_purpose(writer: Writer, required: bool = True) -> Required:
    """Let a corpus open only with a purpose named, or also without one.

    While it is required, older software that would not keep to it refuses the corpus.

    Raises:
        as `Writer.transact`
    """

    def change(attempt: Try) -> Next[bool]:
        if attempt.head.purpose_required == required:
            return Next(False, None)
        return Next(True, {"purpose_required": required})

    changed = writer.transact(change)
    return Required(required, changed, writer.head.generation)


@dataclass(slots=True)
class ConsentSummary:
    """The rows of one consent.

    Attributes:
        consent_id: its id; None: rows without one.
        rows, seconds, people: how many rows, seconds of audio and people.
        purposes: by purpose, the number of rows with it.
        unrecorded: rows for which no purpose is recorded.
        withdrawn: rows with consent to no purpose.
        first_end, last_end: in seconds since the epoch; None: no row has an end.
        endless: rows without an end.
        expired: rows whose end has passed.
    """

    consent_id: str | None
    rows: int
    seconds: float
    people: int
    purposes: dict[str, int]
    unrecorded: int
    withdrawn: int
    first_end: float | None
    last_end: float | None
    endless: int
    expired: int


def consents_of(corpus: Corpus, now: float) -> list[ConsentSummary]:
    """The consents of a corpus, by id; rows without one come last.

    Args:
        corpus: opened by `open_manifest` with the columns of `LISTED`.
        now: seconds since the epoch.
    """
    return consents_in(corpus.table, now)


def consents_in(table: pa.Table, now: float) -> list[ConsentSummary]:
    """As `consents_of`, from rows with the columns of `LISTED`."""
    ids = table.column("consent_id").combine_chunks().dictionary_encode()
    names: list[str | None] = [*ids.dictionary.to_pylist(), None]
    which = pc.fill_null(ids.indices, len(ids.dictionary)).cast(pa.int64())
    ends, purposes = table.column("expires").cast(pa.int64()), table.column("purposes")
    rows = {
        "which": which,
        "seconds": seconds_of(table),
        "end": ends,
        "expired": _flags(pc.less_equal(ends, int(now * 1e6))),
        "unrecorded": _flags(pc.is_null(purposes)),
        "withdrawn": _flags(pc.equal(pc.list_value_length(purposes), 0)),
    }
    sums = [(name, "sum") for name in ("seconds", "expired", "unrecorded", "withdrawn")]
    found = pa.table(rows).group_by("which", use_threads=False)
    totals = found.aggregate([*sums, ("seconds", "count"), ("end", "min"), ("end", "max"), ("end", "count")])
    named: dict[int, dict[str, int]] = {}
    for one in _pairs(which, purposes).to_pylist():
        named.setdefault(one["which"], {})[one["value"]] = one["value_count"]
    people = pc.value_counts(_pairs(which, table.column("subjects")).column("which"))
    several = {one["values"]: one["counts"] for one in people.to_pylist()}
    summaries = [
        ConsentSummary(
            names[one["which"]],
            one["seconds_count"],
            one["seconds_sum"],
            several.get(one["which"], 0),
            dict(sorted(named.get(one["which"], {}).items())),
            one["unrecorded_sum"],
            one["withdrawn_sum"],
            None if one["end_min"] is None else one["end_min"] / 1e6,
            None if one["end_max"] is None else one["end_max"] / 1e6,
            one["seconds_count"] - one["end_count"],
            one["expired_sum"],
        )
        for one in totals.to_pylist()
    ]
    return sorted(summaries, key=lambda one: (one.consent_id is None, one.consent_id or ""))


def _flags(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Booleans as numbers to sum up; null is 0."""
    return pc.fill_null(values, False).cast(pa.int64())


def _pairs(which: pa.Array, lists: pa.ChunkedArray) -> pa.Table:
    """Each value in the lists of the rows of each consent once, and how often: `which`, `value`, `value_count`."""
    column = lists.combine_chunks()
    pairs = pa.table([which.take(pc.list_parent_indices(column)), column.flatten()], ["which", "value"])
    return pairs.group_by(["which", "value"], use_threads=False).aggregate([("value", "count")])
