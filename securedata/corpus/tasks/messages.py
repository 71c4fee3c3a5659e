"""What goes between a run and the processes that do its tasks: sealed, so that none of it is readable on its way.

An engine keeps messages in shared memory, on disk when that is full, and in its logs. So whatever a task needs of the
rows and whatever comes back, names and data keys included, is a sealed table of format v1 under the key of the run:
random, 32 bytes, in memory only. It travels with each task, sealed under the corpus key, which a worker unwraps by its
own call to the KMS: only who may read the corpus does its tasks. See docs/scale.md.
"""

from __future__ import annotations

import os
import pickle
from typing import Any, TypedDict

from securedata.corpus.config import Reference
from securedata.corpus.state.head import OpenedHead
from securedata.format.header import Header, Kind
from securedata.format.sealed import Expect, open_whole, seal
from securedata.keys.pin import parse_pin

PROTOCOL = 1
"""Of these messages. Versions of the package that differ do not work together, whatever this says."""


class Envelope(TypedDict):
    """What a worker needs before it can open a message, in plain types: another version must be able to read it.

    Attributes:
        worker: 'MODULE:CLASS' of the `Worker`.
        reference: of the corpus that is opened for the key.
        run: the run's id.
        corpus_id, key_id: of the corpus key that sealed `key`.
        key: the run's key, sealed.
        settings: sealed under the run's key.
    """

    protocol: int
    version: str
    worker: str
    reference: dict[str, Any]
    single_writer: bool
    run: bytes
    corpus_id: bytes
    key_id: bytes
    key: bytes
    settings: bytes


def seal_message(key: bytes, corpus_id: bytes, content: bytes) -> bytes:
    """Seal a message under the run's key, or the run's key under the corpus key."""
    # as a table, which no part can be mistaken for: parts have keys of their own, and no message is under one
    return bytes(seal(Header(Kind.TABLE, corpus_id, os.urandom(16)), key, content))


def open_message(key: bytes, corpus_id: bytes, sealed: bytes, root: str) -> bytes:
    """The content of a message. Raises FormatError"""
    return bytes(open_whole(key, sealed, Expect(Kind.TABLE, corpus_id, None, root)))


def dumps(value: object) -> bytes:
    """Any value as the content of a message."""
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def loads(content: bytes) -> Any:
    """The value of a message that was opened, and is therefore of this run."""
    return pickle.loads(content)  # noqa: S301 - authenticated under a key that only this run's processes have


def wrap_run_key(opened: OpenedHead, key: bytes) -> bytes:
    """Seal the run's key under the corpus key: like a head, under a header of its own."""
    return seal_message(opened.key, opened.head.corpus_id, key)


def describe_reference(reference: Reference) -> dict[str, Any]:
    """A reference in plain types; it holds no keys and no credentials."""
    return {
        "root": reference.root,
        "name": reference.name,
        "kms": list(reference.kms),
        "pins": [str(pin) for pin in reference.pins],
        "options": dict(reference.options),
    }


def read_reference(said: dict[str, Any]) -> Reference:
    """The reference that `describe_reference` described."""
    pins = tuple(parse_pin(one) for one in said["pins"])
    return Reference(said["root"], said["name"], tuple(said["kms"]), pins, said["options"])
