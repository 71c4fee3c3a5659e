"""Who could read a person's rows, and where else they are: KMS keys, roles, corpora that were made from this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from securedata.corpus.config import Reference, load
from securedata.corpus.rows.durations import seconds_of
from securedata.corpus.state.head import Head
from securedata.errors import SecuredataError
from securedata.keys.kms import trusts
from securedata.keys.tags import Tagger
from securedata.lifecycle.derived import reference_of
from securedata.lifecycle.people.reading import Current, read_current
from securedata.lineage.search import Model, Records

_COLUMNS = ("subjects", "frames", "frames_in_segment", "sample_rate")


@dataclass(frozen=True, slots=True)
class KMSKey:
    """A KMS key that opens a corpus.

    Attributes:
        uri: as the head names it.
        trusted: does the caller's config, or the call, name it?
    """

    uri: str
    trusted: bool


@dataclass(frozen=True, slots=True)
class DerivedCorpus:
    """A corpus that was made from another one, and what it has of a person.

    Attributes:
        pin: by which the other one's head knows it.
        name, root: in the caller's config; None: it is not there.
        reached: was it read?
        why: why not; None if it was.
        rows, seconds: of the person.
        erased: was the person erased from it?
        kms: KMS keys that open it.
        roles: that the caller's config has for it.
        models: that were trained with it and whose records name the person, of those that were looked through.
    """

    pin: str
    name: str | None = None
    root: str | None = None
    reached: bool = False
    why: str | None = None
    rows: int = 0
    seconds: float = 0.0
    erased: bool = False
    kms: tuple[KMSKey, ...] = ()
    roles: tuple[str, ...] = ()
    models: tuple[Model, ...] = ()


def kms_of(head: Head, reference: Reference) -> tuple[KMSKey, ...]:
    """The KMS keys that open a corpus. No KMS is asked."""
    return tuple(KMSKey(wrap.uri, trusts(reference.kms, wrap.uri)) for wrap in head.wraps)


def roles_of(pin: str, reference: Reference) -> tuple[str, ...]:
    """The roles that the caller's config has for a corpus, by its pin or its root."""
    entries = [one for one in load().values() if pin in map(str, one.pins) or one.root == reference.root]
    return tuple(dict.fromkeys(one.options["role"] for one in (reference, *entries) if one.options.get("role")))


def derived_from(head: Head, names: Sequence[str], records: Records | None = None) -> tuple[DerivedCorpus, ...]:
    """The corpora that were made from this one, and from those in turn, each once."""
    found: dict[str, DerivedCorpus] = {}
    left = list(head.derived)
    while left:
        entry = left.pop(0)
        if entry["pin"] not in found and entry["pin"] != str(head.pin):
            found[entry["pin"]], more = _look(entry, names, records)
            left += more
    return tuple(found.values())


def _look(
    entry: Mapping[str, Any], names: Sequence[str], records: Records | None
) -> tuple[DerivedCorpus, tuple[dict[str, Any], ...]]:
    pin, reference = entry["pin"], reference_of(entry)
    if reference is None:
        return DerivedCorpus(pin, why="it is not in your config"), ()

    roles = roles_of(pin, reference)

    def read(current: Current) -> tuple[DerivedCorpus, tuple[dict[str, Any], ...]]:
        head, tagger = current.head, Tagger(current.head.secret)
        tags = frozenset(map(tagger.tag, names))
        rows = current.rows_of(tags, _COLUMNS)
        one = DerivedCorpus(
            pin,
            reference.name,
            reference.root,
            True,
            None,
            rows.num_rows,
            pc.sum(seconds_of(rows)).as_py() or 0.0,
            any(stone.tag in tags for stone in head.tombstones),
            kms_of(head, reference),
            roles,
            () if records is None else records.naming(head.corpus_id, tagger, names),
        )
        return one, head.derived

    try:
        return read_current(reference, read)
    except SecuredataError as error:  # it is named, and why it was not read: the others are answered all the same
        return DerivedCorpus(pin, reference.name, reference.root, why=str(error), roles=roles), ()
