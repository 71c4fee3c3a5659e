"""The people of a corpus: how much of each there is, on what consent and until when."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from securedata.corpus.config import Reference, resolve
from securedata.corpus.option_values import as_whole
from securedata.keys.tags import Tagger
from securedata.lifecycle.people.counting import COLUMNS, Counts
from securedata.lifecycle.people.reading import Current, read_current
from securedata.printable import duration, plural
from securedata.storage.base import Storage


@dataclass(frozen=True, slots=True)
class PersonCount:
    """One person of a corpus.

    Attributes:
        name: as the rows have it.
        rows, seconds: in which the person is heard; a row of several people counts for each.
        consents: how many consents the rows record.
        first_end: the earliest end of a consent, in seconds since the epoch, past or not; None: no row has an end.
        expired: rows whose consent has ended.
        purposes: that at least one row may be used for.
        held: is the person under a hold?
        restricted: does a request for erasure that waits for a hold close the person's rows?
    """

    name: str = field(repr=False)
    rows: int
    seconds: float
    consents: int
    first_end: float | None
    expired: int
    purposes: tuple[str, ...]
    held: bool
    restricted: bool


@dataclass(frozen=True, slots=True)
class PeopleReport:
    """Results of `people`.

    Attributes:
        root, name, generation: of the corpus.
        people: by name.
        rows, seconds: of the corpus; a row of several people counts once.
        held, restricted: how many of the people are.
        erased: how many people were erased by name.
    """

    root: str
    name: str | None
    generation: int
    people: tuple[PersonCount, ...] = field(default=(), repr=False)
    rows: int = 0
    seconds: float = 0.0
    held: int = 0
    restricted: int = 0
    erased: int = 0

    def __str__(self) -> str:
        several = "person" if len(self.people) == 1 else "people"
        text = f"{len(self.people):,} {several}, {plural(self.rows, 'row')}, {duration(self.seconds)} of audio"
        counts = {"held": self.held, "restricted": self.restricted, "erased before": self.erased}
        return "; ".join([text, *(f"{count:,} {what}" for what, count in counts.items() if count)])


def people(
    target: str | os.PathLike[str] | Reference,
    *,
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    accept_generation: int | None = None,
    storage: Storage | None = None,
) -> PeopleReport:
    """List the people of a corpus, whatever their consent. No recording is opened.

    People whose recordings open for nobody are listed, too: who answers for a corpus must know of them.

    Args:
        target: a name from the config, `securedata://NAME`, a path or a URL.
        kms: KMS URIs that are trusted to unwrap the corpus key. None: from the config.
        pin: identifies the corpus. None: from the config.
        accept_generation: accept this generation although this machine has seen a newer one.
        storage: used instead of the one that the root names, for tests and benchmarks.

    Returns:
        The people and the totals; `str()` gives the totals, and names nobody.

    Raises:
        as `open_corpus`, but never PurposeRequired

    Example:
        for person in sd.people("voice-a").people:
            print(person.name, person.rows, person.purposes)
    """
    return read_current(
        resolve(target, kms, pin), _listed, accept_generation=checked(accept_generation), storage=storage
    )


def checked(accept_generation: int | None) -> int | None:
    """The argument of that name.

    Raises:
        InvalidArgument
    """
    return None if accept_generation is None else as_whole("accept_generation", accept_generation, 0, 2**63 - 1)


def _listed(current: Current) -> PeopleReport:
    head, counts = current.head, Counts(current.now)
    for table in current.tables(COLUMNS):
        counts.add(table)
    tagger = Tagger(head.secret)
    held, restricted = {one.tag for one in head.holds}, {one.tag for one in head.restricted}
    listed, consents, purposes = [], counts.consents(), counts.purposes()
    for one in counts.people().to_pylist():
        tag = tagger.tag(one["name"]) if held or restricted else b""
        listed.append(
            PersonCount(
                one["name"],
                one["rows"],
                one["seconds"],
                consents.get(one["name"], 0),
                None if one["first_end"] is None else one["first_end"] / 1e6,
                one["expired"],
                purposes.get(one["name"], ()),
                tag in held,
                tag in restricted,
            )
        )
    return PeopleReport(
        current.reference.root,
        current.reference.name,
        head.generation,
        tuple(listed),
        counts.rows,
        counts.seconds,
        sum(one.held for one in listed),
        sum(one.restricted for one in listed),
        len(head.tombstones),
    )
