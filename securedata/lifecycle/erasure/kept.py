"""Whom a hold keeps from being erased, and what an erasure then takes out of the rows of the others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from securedata.corpus.rows.changes import Mask, Select
from securedata.corpus.rows.checks import held
from securedata.corpus.state.head import Head
from securedata.keys.tags import Tagger
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.holds.restriction import Manifest, kept_by_holds
from securedata.lifecycle.select import ByPerson


def kept_people(manifest: Manifest, request: Request, tagger: Tagger) -> frozenset[bytes]:
    """The people whom the request names and a hold keeps: their own, or that of somebody in a recording of theirs.

    Their whole erasure waits for its end, since a receipt for a part of it would say too much.
    """
    asked = request.people(tagger)
    return kept_by_holds(manifest, asked) | asked.intersection(one.tag for one in manifest.head.holds)


def select_without(request: Request, tagger: Tagger, kept: frozenset[bytes]) -> Select:
    """The rows to take out, if these people are kept; among them, to be listed, are those that a hold keeps."""
    return _ByFreePerson(request.people(tagger) - kept, kept) if kept else request.select(tagger)


def held_rows(head: Head, view: pa.Table) -> Mask:
    """Which rows of a part a hold keeps; `view` has the column `subjects`."""
    found = np.zeros(view.num_rows, dtype=bool)
    found[sorted(held(head, view))] = True
    return found


class _ByFreePerson:
    """Rows of people whom no hold keeps; of the others only the rows that it keeps."""

    columns = ("subjects",)

    def __init__(self, free: frozenset[bytes], kept: frozenset[bytes]) -> None:
        self._free, self._kept = ByPerson(free), ByPerson(kept)

    def hits(self, head: Head, view: pa.Table) -> Mask:
        """As `Select.hits`."""
        found: Mask = self._free.hits(head, view) | (self._kept.hits(head, view) & held_rows(head, view))
        return found
