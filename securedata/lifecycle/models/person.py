"""Find the models that were trained with recordings of a person, by the records beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import pyarrow.compute as pc

from securedata.corpus.config import Reference
from securedata.errors import InvalidArgument
from securedata.keys.tags import Tagger
from securedata.lifecycle.dry_run import DryRun
from securedata.lifecycle.people.reach import derived_from
from securedata.lifecycle.spellings import near_spellings
from securedata.lineage.files import model_of
from securedata.lineage.search import Model, Unread, read_records
from securedata.storage.base import Storage


@dataclass(frozen=True, slots=True)
class ModelsOfPerson:
    """What the records of models say of a person.

    Attributes:
        models: those that were trained with recordings of the person, or with what was made from them, as their
            records say.
        records: how many records were read.
        others: where the records are that know neither this corpus nor one that was made from it and was read.
        unreached: pins of corpora that were made from this one and were not read.
        unsure: the models that were trained from one that has no record, whether they are among `models` or not.
        unread: what could not be read, and why.
        absent: names that no row has now, nor had when their person was erased.
        near: by such a name, spellings in the corpus that might be the same person.
    """

    models: tuple[Model, ...]
    records: int
    others: tuple[str, ...] = field(repr=False)
    unsure: tuple[str, ...] = field(repr=False)
    unread: tuple[Unread, ...]
    unreached: tuple[str, ...]
    absent: tuple[str, ...] = field(repr=False)
    near: dict[str, tuple[str, ...]] = field(repr=False)


def models_of_person(
    reference: Reference,
    names: Sequence[str],
    places: Iterable[str],
    *,
    accept_generation: int | None = None,
    storage: Storage | None = None,
) -> ModelsOfPerson:
    """Look for a person among the models in some folders and URLs.

    It opens the corpus, and those that were made from it as far as the caller's config has them, whose secrets the
    names are tested with; a person who was erased from them is found, too.

    Args:
        names: the person's, as rows spell it or spelled it.

    Raises:
        InvalidArgument: no name; a place that is not there.
        as `open_corpus`, and StorageError
    """
    if not names or not all(names):
        raise InvalidArgument("a person is looked for by name: give it as rows spell it")
    found = read_records(places)
    corpus = DryRun(reference.without_role(), accept_generation=accept_generation, storage=storage)
    head, tagger = corpus.head, Tagger(corpus.head.secret)
    people: set[str] = set()
    for part in head.parts:
        people.update(pc.unique(pc.list_flatten(corpus.read_table(part, ("subjects",)).column("subjects"))).to_pylist())
    dead = {one.tag for one in head.tombstones}
    derived = derived_from(head, names, found)
    elsewhere = any(one.rows or one.erased or one.models for one in derived)
    absent = tuple(name for name in names if not elsewhere and name not in people and tagger.tag(name) not in dead)
    pins = {str(head.pin), *(one.pin for one in derived if one.reached)}
    known = {where for where, record in found.found if any(entry.pin in pins for entry in record.entries)}
    models: dict[tuple[str, str], Model] = {}
    for one in (*found.naming(head.corpus_id, tagger, names), *(model for each in derived for model in each.models)):
        same = models.get((one.path, one.record), replace(one, entries=()))
        models[one.path, one.record] = replace(one, entries=(*same.entries, *one.entries))
    return ModelsOfPerson(
        models=tuple(models.values()),
        records=len(found.found),
        others=tuple(where for where, _ in found.found if where not in known),
        unsure=tuple(model_of(where) for where, one in found.found if not one.complete),
        unread=found.unread,
        unreached=tuple(one.pin for one in derived if not one.reached),
        absent=absent,
        near={name: tuple(near) for name in absent if (near := near_spellings(name, people))},
    )
