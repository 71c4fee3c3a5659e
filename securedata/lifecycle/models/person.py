"""Find the models that were trained with recordings of a person, by the records beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow.compute as pc

from securedata.corpus.config import Reference
from securedata.errors import InvalidArgument
from securedata.keys.tags import Tagger
from securedata.lifecycle.dry_run import DryRun
from securedata.lifecycle.spellings import near_spellings
from securedata.lineage.files import model_of
from securedata.lineage.search import Model, Unread, read_records
from securedata.storage.base import Storage


@dataclass(frozen=True, slots=True)
class ModelsOfPerson:
    """What the records of models say of a person.

    Attributes:
        models: those that were trained with recordings of the person, as their records say.
        records: how many records were read.
        others: where the records are that do not know this corpus.
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

    It opens the corpus, whose secret the names are tested with; a person who was erased from it is found, too.

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
    absent = tuple(name for name in names if name not in people and tagger.tag(name) not in dead)
    known = {where for where, _ in found.of(head.corpus_id)}
    return ModelsOfPerson(
        models=found.naming(head.corpus_id, tagger, names),
        records=len(found.found),
        others=tuple(where for where, _ in found.found if where not in known),
        unsure=tuple(model_of(where) for where, one in found.found if not one.complete),
        unread=found.unread,
        absent=absent,
        near={name: tuple(near) for name in absent if (near := near_spellings(name, people))},
    )
