"""What an erasure finds of models that were trained with the recordings it takes out, for its receipt.

The receipt counts records and lists the ids of those that name a person. Names, and paths of models, which may be
names, are for the operator's terminal only.
"""

from __future__ import annotations

from collections.abc import Iterable

from securedata.keys.tags import Tagger
from securedata.lifecycle.receipt.members import Models
from securedata.lineage.search import Records
from securedata.printable import plural


def models_member(records: Records, corpus: bytes, tagger: Tagger, people: Iterable[str]) -> Models:
    """The receipt's member about models.

    Args:
        corpus: the id of the corpus.
        people: the names of those whose recordings are taken out.
    """
    many, known = len(records.found), len(records.of(corpus))
    unsure = sum(not one.complete for _, one in records.found)
    where = [f"{plural(many, 'lineage record')} in {plural(records.places, 'place')}"]
    where += [f"without an entry of this corpus: {many - known:,}"] if known < many else []
    where += [f"of models that began with one without a record: {unsure:,}"] if unsure else []
    found = sorted({one.record for one in records.naming(corpus, tagger, people)})
    return Models.looked_for(tuple(where), tuple(found))
