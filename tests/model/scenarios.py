"""The actors that are explored together, and the corpora that they begin with."""

from __future__ import annotations

from tests.model.erase import Erase, HoldThenErase, Reach
from tests.model.explore import Explored, explore
from tests.model.people import Hold, Reader, Retain
from tests.model.program import Program
from tests.model.state import DAY, Corpus, Row, corpus
from tests.model.writers import Clock, Ingest, Merge, Prune, Reencrypt, Remove, Rotate

ANN, BOB = Row("ann", "old", "ann-1", "ann-1"), Row("bob", "old", "bob-1", "bob-1")
PAST = Row("ann", "old", "ann-0", "ann-0")

ACTORS: dict[str, Program] = {
    "ingest ann": Ingest("ann"),
    "ingest bob": Ingest("bob"),
    "replace ann": Ingest("bob", replaces="ann-1"),
    "remove ann": Remove("ann-1"),
    "merge": Merge(),
    "rotate": Rotate(),
    "re-encrypt ann": Reencrypt("ann-1"),
    "prune": Prune(),
    "hold ann": Hold("ann", releases=True),
    "read": Reader(),
    "retain ann": Retain("ann"),
    "erase ann": Erase("ann"),
    "erase bob": Erase("bob"),
    "erase a consent": Erase("ann", consent="old"),
    "hold, then erase ann": HoldThenErase("ann"),
    "erase ann on deaf storage": Erase("ann", deaf=True),
    "erase the source only": Erase("ann", reaches=False),
    "reach ann": Reach("ann"),
    "retain ann, asking": Retain("ann", asks_source=True),
    "ingest ann under a new consent": Ingest("ann", consent="new", origin="renewed"),
    "clock": Clock(),
    "a day": Clock(1, DAY),
    "days": Clock(2, DAY),
}
"""Each by the name that tests use."""


def begin(versioned: bool = True) -> tuple[Corpus, Corpus]:
    """A source with a recording of each person, and versions left of a part that was merged away; an empty corpus."""
    return corpus(ANN, BOB, past=(PAST,) if versioned else (), versioned=versioned), corpus(versioned=versioned)


def run(
    actors: str, *, crashes: int = 1, without: tuple[str, ...] = (), versioned: bool = True, most: int = 200_000
) -> Explored:
    """Explore actors by their names, separated by ' + '. Raises NotExplored where there are more than `most` states."""
    programs = [ACTORS[name] for name in actors.split(" + ")]
    return explore(begin(versioned), programs, crashes=crashes, without=without, most=most)
