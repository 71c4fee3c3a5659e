"""What a corpus has of one person: the answer to a request for access (GDPR articles 15 and 19)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from unicodedata import normalize

import pyarrow as pa
import pyarrow.compute as pc

from securedata.corpus.config import Reference, resolve
from securedata.corpus.option_values import as_text, as_texts
from securedata.corpus.rows.durations import seconds_of
from securedata.corpus.state.head import Head
from securedata.corpus.state.lifecycle import Hold, Restriction
from securedata.errors import InvalidArgument, NoSuchSubject
from securedata.keys.tags import Tagger
from securedata.lifecycle.consent import LISTED, ConsentSummary, consents_in
from securedata.lifecycle.erasure.journal import unfinished
from securedata.lifecycle.people.listing import checked
from securedata.lifecycle.people.reach import DerivedCorpus, KMSKey, derived_from, kms_of, roles_of
from securedata.lifecycle.people.reading import Current, read_current
from securedata.lifecycle.retention import Rule, span_text
from securedata.lifecycle.spellings import near_spellings
from securedata.lineage.files import model_of
from securedata.lineage.search import Model, Records, Unread, read_records
from securedata.printable import duration, plural
from securedata.storage.base import Storage

_COLUMNS = tuple(dict.fromkeys(("path", "object_id", "subjects", *LISTED, "ingested", "last_contact")))


@dataclass(frozen=True, slots=True)
class PersonReport:
    """Results of `person`.

    Attributes:
        root, name, generation: of the corpus.
        subject: the person, as the caller names them.
        also: other spellings that were counted with it.
        rows, objects, seconds: in which the person is heard.
        shared: how many of the rows name somebody else, too, who have rights of their own in them.
        first_ingested, last_ingested: of the rows, in seconds since the epoch; None: not recorded.
        last_contact: the latest that rows record, likewise.
        paths: logical paths of the rows.
        consents: by id; rows without one come last.
        holds: what keeps the rows, the longest held first.
        restrictions: requests for erasure that wait for a hold: the rows open for nobody.
        erased: the generation that erased the person; None: nobody of that name was erased.
        unfinished: erasures of the person that are not finished.
        derived: corpora that were made from this one, and what they have of the person.
        kms: KMS keys that open this corpus.
        roles: that the caller's config has for this corpus.
        retention: how long it keeps recordings, such as {"raw": "30d"}.
        near: other spellings in the corpus that might be the same person.
        models: that were trained with this corpus and whose records name the person; None: not looked for.
        records: how many records of models were read.
        unread: records, and folders, that could not be read: nobody can tell whom they name.
        unsure: paths of models that were trained from one that has no record, so that anybody may be in them.
    """

    root: str
    name: str | None
    generation: int
    subject: str = field(repr=False)
    also: tuple[str, ...] = field(default=(), repr=False)
    rows: int = 0
    objects: int = 0
    seconds: float = 0.0
    shared: int = 0
    first_ingested: float | None = None
    last_ingested: float | None = None
    last_contact: float | None = None
    paths: tuple[str, ...] = field(default=(), repr=False)
    consents: tuple[ConsentSummary, ...] = field(default=(), repr=False)
    holds: tuple[Hold, ...] = ()
    restrictions: tuple[Restriction, ...] = ()
    erased: int | None = None
    unfinished: int = 0
    derived: tuple[DerivedCorpus, ...] = ()
    kms: tuple[KMSKey, ...] = ()
    roles: tuple[str, ...] = ()
    retention: dict[str, str] = field(default_factory=dict)
    near: tuple[str, ...] = field(default=(), repr=False)
    models: tuple[Model, ...] | None = None
    records: int = 0
    unread: tuple[Unread, ...] = ()
    unsure: tuple[str, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return f"{plural(self.rows, 'row')}, {plural(self.objects, 'object')}, {duration(self.seconds)} of audio"

    @property
    def known(self) -> bool:
        """Does this corpus, or one that was made from it, have or record anything of the person?"""
        recorded = self.holds or self.restrictions or self.erased is not None or self.unfinished or self.models
        elsewhere = any(one.rows or one.erased or one.models for one in self.derived)
        return bool(self.rows or recorded or elsewhere)


def person(
    target: str | os.PathLike[str] | Reference,
    subject: str,
    *,
    also: str | Sequence[str] = (),
    models: str | Sequence[str] = (),
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    accept_generation: int | None = None,
    storage: Storage | None = None,
) -> PersonReport:
    """Look up what a corpus has of one person, whatever their consent. No recording is opened.

    Corpora that were made from this one are looked up by their pin in the caller's config, and theirs in turn. Those
    that are not there, or cannot be read, are named as such.

    Args:
        target: a name from the config, `securedata://NAME`, a path or a URL.
        subject: the person, as the recordings name them.
        also: other spellings of the same person.
        models: folders or URLs where models are, with all folders below: those that were trained with recordings of the
            person are found by the records beside them.
        kms: KMS URIs that are trusted to unwrap the corpus key. None: from the config.
        pin: identifies the corpus. None: from the config.
        accept_generation: accept this generation although this machine has seen a newer one.
        storage: used instead of the one that the root names, for tests and benchmarks.

    Returns:
        What there is of the person; `str()` gives the amount, and names nobody.

    Raises:
        NoSuchSubject: neither this corpus nor one made from it has or records anything of the person.
        InvalidArgument: nobody can have such a name; a place of `models` is not there.
        as `open_corpus`, but never PurposeRequired

    Example:
        found = sd.person("voice-a", "ann")
        print(found, [one.consent_id for one in found.consents], found.erased)
    """
    found = look_up(
        resolve(target, kms, pin),
        subject,
        also,
        models,
        accept_generation=checked(accept_generation),
        storage=storage,
    )
    if not found.known:
        raise not_there(found)
    return found


def look_up(
    reference: Reference,
    subject: str,
    also: str | Sequence[str] = (),
    models: str | Sequence[str] = (),
    *,
    accept_generation: int | None = None,
    storage: Storage | None = None,
) -> PersonReport:
    """As `person`, also if there is nothing.

    Raises:
        InvalidArgument: nobody can have such a name; a place of models is not there.
        as `open_corpus`
    """
    names = tuple(dict.fromkeys((as_text("subject", subject), *as_texts("also", also))))
    if not all(names):
        raise InvalidArgument("the name of a person is empty")
    try:
        names = tuple(dict.fromkeys(normalize("NFC", name.encode().decode()) for name in names))  # as rows have them
    except UnicodeEncodeError:  # not chained, since it contains the name
        raise InvalidArgument("the name of a person contains a lone surrogate, which is not a character") from None
    places = as_texts("models", models)
    records = read_records(places) if places else None
    return read_current(
        reference, lambda current: _found(current, names, records), accept_generation=accept_generation, storage=storage
    )


def not_there(found: PersonReport) -> NoSuchSubject:
    """The error for a person of whom there is nothing; it names nobody."""
    missed = [one.pin for one in found.derived if not one.reached]
    unread = f"; corpora made from it that were not reached: {', '.join(missed)}" if missed else ""
    near = "names that are like it are there" if found.near else "no name is like it"
    return NoSuchSubject(
        f"{found.root} has nothing of this person, and nobody of that name was erased from it; {near}{unread}. "
        "'securedata people' lists those who are there, as they are spelled",
        root=found.root,
    )


def _found(current: Current, names: tuple[str, ...], records: Records | None) -> PersonReport:
    head, reference = current.head, current.reference
    tagger = Tagger(head.secret)
    tags = frozenset(map(tagger.tag, names))
    everyone = set[str]()

    def look(table: pa.Table) -> None:
        everyone.update(pc.unique(table.column("subjects").combine_chunks().flatten()).to_pylist())

    rows = current.rows_of(tags, _COLUMNS, look)
    near = [other for name in names for other in near_spellings(name, everyone) if other not in names]
    return PersonReport(
        reference.root,
        reference.name,
        head.generation,
        names[0],
        names[1:],
        **({} if not rows.num_rows else _amounts(rows, tagger, tags, current.now)),
        holds=tuple(sorted((one for one in head.holds if one.tag in tags), key=lambda one: one.time)),
        restrictions=tuple(one for one in head.restricted if one.tag in tags),
        erased=max((one.generation for one in head.tombstones if one.tag in tags), default=None),
        unfinished=sum(not tags.isdisjoint(one.people) for one in unfinished(head, reference.root)),
        derived=derived_from(head, names, records),
        kms=kms_of(head, reference),
        roles=roles_of(str(head.pin), reference),
        retention=limits_of(head, reference.root),
        near=tuple(dict.fromkeys(near)),
        **({} if records is None else _models(records, head, names)),
    )


def _models(records: Records, head: Head, names: Sequence[str]) -> dict[str, Any]:
    return {
        "models": records.naming(head.corpus_id, Tagger(head.secret), names),
        "records": len(records.found),
        "unread": records.unread,
        "unsure": tuple(model_of(where) for where, one in records.found if not one.complete),
    }


def limits_of(head: Head, root: str) -> dict[str, str]:
    """The retention rule of a corpus, as the command takes it."""
    return {name: span_text(seconds) for name, seconds in Rule.of(head, root).limits.items()}


def _amounts(rows: pa.Table, tagger: Tagger, tags: frozenset[bytes], now: float) -> dict[str, Any]:
    people = rows.column("subjects").to_pylist()
    ingested = pc.min_max(rows.column("ingested").cast(pa.int64())).as_py()
    contact = pc.max(rows.column("last_contact").cast(pa.int64())).as_py()
    return {
        "rows": rows.num_rows,
        "objects": pc.count_distinct(rows.column("object_id")).as_py(),
        "seconds": pc.sum(seconds_of(rows)).as_py(),
        "shared": sum(any(tagger.tag(name) not in tags for name in named) for named in people),
        "first_ingested": _seconds(ingested["min"]),
        "last_ingested": _seconds(ingested["max"]),
        "last_contact": _seconds(contact),
        "paths": tuple(sorted(rows.column("path").to_pylist())),
        "consents": tuple(consents_in(rows, now)),
    }


def _seconds(micros: int | None) -> float | None:
    return None if micros is None else micros / 1e6
