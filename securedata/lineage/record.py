"""A lineage record: which rows of which corpora were open to a training, and of whom, without names.

A record is JSON, kept beside the model. Each of its entries is about one corpus. A person is 16 hex digits under a key
that only readers of that corpus can make, and that is another one in each record: see `Tagger.in_lineage`.
docs/lineage.md describes every member.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from securedata.corpus.state.json_values import (
    hex_bytes,
    json_list,
    json_object,
    members_once,
    natural,
    no_constant,
    seconds,
    text,
)
from securedata.errors import LimitExceeded, MalformedLineage, UnknownVersion
from securedata.keys.pin import parse_pin

LARGEST = 64 * 1024 * 1024
"""Bytes of a record: about 3,000,000 people."""

_FORMAT, _VERSION = "securedata lineage", 1
_BEGIN = f'{{\n "format": "{_FORMAT}",\n "version": '
_PERSON = re.compile("[0-9a-f]{16}")
_MOMENT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a training could read of one corpus.

    Attributes:
        record: the id of the record that this was first written for, 32 hex digits; it is in the key of `people`.
        corpus, pin: identify the corpus.
        generations: the first and the last that were open.
        filter: the manifest's columns that chose the rows; never what they were compared with.
        purpose: what the recordings were read for; None: no purpose was named.
        rows: how many different rows were open.
        seconds: of audio in them.
        people: those recorded in these rows, 16 hex digits each, sorted.
    """

    record: str
    corpus: str
    pin: str
    generations: tuple[int, int]
    filter: tuple[str, ...]
    purpose: str | None
    rows: int
    seconds: float
    people: tuple[str, ...] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The entry's object in the JSON of a record."""
        return {
            "record": self.record,
            "corpus": self.corpus,
            "pin": self.pin,
            "generations": list(self.generations),
            "filter": list(self.filter),
            "purpose": self.purpose,
            "rows": self.rows,
            "seconds": self.seconds,
            "people": list(self.people),
        }


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a model was trained with, as far as it was sealed.

    Attributes:
        id: random, 32 hex digits; no two records have the same.
        made: when, in UTC (YYYY-MM-DDThh:mm:ssZ), by the clock of the host.
        complete: False if the training, or one before it, began with a model that had no record.
        entries: one for each corpus, and those of the models that the training began with.
    """

    id: str
    made: str
    complete: bool
    entries: tuple[Entry, ...]

    def to_json(self) -> dict[str, Any]:
        """The JSON object of the record."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "id": self.id,
            "made": self.made,
            "complete": self.complete,
            "entries": [one.to_json() for one in self.entries],
        }

    def text(self) -> str:
        """The text of the record's file: ASCII.

        Raises:
            LimitExceeded: it would have more than `LARGEST` bytes.
        """
        found = json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"
        if len(found) > LARGEST:
            raise LimitExceeded(
                f"the lineage record would have {len(found):,} bytes, above the limit of {LARGEST:,}: train with fewer "
                "people, or in fewer steps from model to model"
            )
        return found


def new_id() -> str:
    """A random id for a record."""
    return os.urandom(16).hex()


def now() -> str:
    """This moment, as records have it."""
    return datetime.now(UTC).strftime(_MOMENT)


def is_record(data: bytes) -> bool:
    """Do these bytes begin as a record does, of whatever version?"""
    return data.startswith(_BEGIN.encode())


def parse(data: bytes) -> Lineage:
    """The record that a file holds.

    Raises:
        MalformedLineage: it is not a record, or broken.
        UnknownVersion: a later version of the format.
        LimitExceeded: more than `LARGEST` bytes.
    """
    if len(data) > LARGEST:
        raise LimitExceeded(f"a lineage record has at most {LARGEST:,} bytes, and this file has more")
    if not is_record(data):
        raise MalformedLineage("it is not a lineage record of securedata, or was changed or cut")
    if not data.startswith(f"{_BEGIN}{_VERSION},".encode()):
        raise UnknownVersion(f"a lineage record of another version than {_VERSION}: update securedata")
    try:
        return from_json(json.loads(data.decode(), parse_constant=no_constant, object_pairs_hook=members_once))
    except (ValueError, RecursionError):
        raise MalformedLineage("the lineage record is broken: it is not valid JSON") from None


def from_json(value: Any) -> Lineage:
    """The record that parsed JSON holds. Members that this version does not know are left out.

    Raises:
        MalformedLineage
    """
    try:
        body = json_object(value)
        if (body["format"], body["version"]) != (_FORMAT, _VERSION) or not isinstance(body["complete"], bool):
            raise ValueError
        made = text(body["made"])
        datetime.strptime(made, _MOMENT)
        entries = tuple(_entry(json_object(one)) for one in json_list(body["entries"]))
        return Lineage(hex_bytes(body["id"], 16).hex(), made, body["complete"], entries)
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedLineage(
            f"the lineage record is broken: a member is missing or not what it must be ({type(error).__name__})"
        ) from None


def _entry(one: dict[str, Any]) -> Entry:
    first, last = (natural(number) for number in json_list(one["generations"]))
    corpus, pin = hex_bytes(one["corpus"], 16), text(one["pin"])
    people = tuple(text(tag) for tag in json_list(one["people"]))
    if first > last or parse_pin(pin).corpus_id != corpus:
        raise ValueError("generations or pin")
    if not all(map(_PERSON.fullmatch, people)) or any(a >= b for a, b in pairwise(people)):
        raise ValueError("people")
    return Entry(
        hex_bytes(one["record"], 16).hex(),
        corpus.hex(),
        pin,
        (first, last),
        tuple(text(name) for name in json_list(one["filter"])),
        None if one["purpose"] is None else text(one["purpose"]),
        natural(one["rows"]),
        seconds(one["seconds"]),
        people,
    )


def joined(id: str, own: Iterable[Entry], bases: Iterable[Lineage], complete: bool = True) -> Lineage:
    """A record of entries of its own, and of those of the models that the training began with."""
    bases = tuple(bases)
    inherited = (one for base in bases for one in base.entries)
    entries = tuple(dict.fromkeys((*own, *inherited)))
    return Lineage(id, now(), complete and all(base.complete for base in bases), entries)
