"""Look for a person among the records of models. It takes the secret of the corpus that they were recorded in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from securedata.errors import MalformedLineage, SecuredataError
from securedata.keys.tags import Tagger
from securedata.lineage.files import model_of, records
from securedata.lineage.record import Entry, Lineage


@dataclass(frozen=True, slots=True)
class Model:
    """A model whose record names a person.

    Attributes:
        path: path or URL of the model, which might not be there any more.
        record: the id of its record.
        made: when the record was made, in UTC.
        complete: as in the record.
        entries: those that name the person; their counts are of all that was open, not of the person alone.
    """

    path: str = field(repr=False)
    record: str
    made: str
    complete: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Unread:
    """A record, or a folder that could not be listed: where, and why."""

    path: str = field(repr=False)
    reason: str


@dataclass(frozen=True, slots=True)
class Records:
    """The records that were found in some places.

    Attributes:
        places: how many places were looked in.
        found: the records, by where each is.
        unread: those that could not be read.
    """

    places: int
    found: tuple[tuple[str, Lineage], ...] = field(repr=False)
    unread: tuple[Unread, ...]

    def of(self, corpus: bytes) -> Sequence[tuple[str, Lineage]]:
        """Those with an entry of the corpus with this id."""
        id = corpus.hex()
        return [one for one in self.found if any(entry.corpus == id for entry in one[1].entries)]

    def naming(self, corpus: bytes, tagger: Tagger, people: Iterable[str]) -> tuple[Model, ...]:
        """The models whose records name any of the people, as rows of this corpus spell them."""
        id, people = corpus.hex(), tuple(people)
        tags: dict[str, frozenset[str]] = {}  # checkpoints of one run repeat the entries that they take over
        models = []
        for where, record in self.of(corpus):
            named = []
            for entry in record.entries:
                if entry.corpus != id:
                    continue
                if entry.record not in tags:
                    tags[entry.record] = frozenset(tagger.in_lineage(bytes.fromhex(entry.record), people))
                if not tags[entry.record].isdisjoint(entry.people):
                    named.append(entry)
            if named:
                models.append(Model(model_of(where), record.id, record.made, record.complete, tuple(named)))
        return tuple(models)

    def require_read(self) -> None:
        """Refuse to go on if a record could not be read: nobody could tell whom it names.

        Raises:
            MalformedLineage: the first of them is its path.
        """
        if self.unread:
            first = self.unread[0]
            raise MalformedLineage(
                f"{len(self.unread):,} lineage records or folders could not be read ({first.reason}); nothing was "
                "erased: 'securedata lineage' lists them; restore or remove them, or name other --models",
                path=first.path,
            )


def read_records(places: Iterable[str]) -> Records:
    """Read the records below some folders and URLs, each once.

    Raises:
        InvalidArgument, StorageError: a place is not there, or cannot be listed.
    """
    places = tuple(dict.fromkeys(places))
    found: dict[str, Lineage] = {}
    unread: dict[str, Unread] = {}
    for place in places:
        for where, one in records(place):
            if isinstance(one, SecuredataError):
                unread[where] = Unread(where, str(one))
            else:
                found[where] = one
    return Records(len(places), tuple(found.items()), tuple(unread.values()))
