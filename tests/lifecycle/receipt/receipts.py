"""Drafts and statements for the tests of receipts, of a corpus that needs not exist."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from securedata.keys.pin import Pin
from securedata.lifecycle.receipt.members import Check, Deleted, Level, Request, Scope, Times, utc
from securedata.lifecycle.receipt.opening import Opening
from securedata.lifecycle.receipt.statement import Draft, Statement

ID = "0123456789abcdef" * 2
PIN = Pin(bytes(range(16)), bytes(range(100, 116)))
CORPUS = PIN.corpus_id.hex()
NAME = "example.com/erasure"
ANN = Opening("Ann Ünger", bytes(range(32)))
AWS = "aws-kms://arn:aws:kms:eu-west-1:111122223333:key/1"
LOCAL = "local:" + "ab" * 16
OBJECTS = tuple(sorted(f"{n:032x}" for n in (7, 9)))
PARTS = (f"{3:032x}",)

SCOPE = Scope("subject", (ANN.commitment,), rows=2, seconds=12.5, objects=2, parts=1)
DRAFT = Draft(ID, Request("DSR-17", "2026-11-02"), SCOPE, (AWS, LOCAL))
PASSED = Check("objects", "listed all versions under their keys", True, "none of 2")
TIMES = Times(utc(1.7e9), utc(1.7e9 + 2), utc(1.7e9 + 3), utc(1.7e9 + 4))


def statement(draft: Draft = DRAFT, **changes: Any) -> Statement:
    """A statement that all was deleted, with these changes of the arguments of `Statement.build`."""
    arguments = {
        "pin": PIN,
        "operator": NAME,
        "media": "an S3 bucket with versions",
        "times": TIMES,
        "deleted": Deleted(OBJECTS, PARTS, 3),
        "checked": [PASSED],
        "levels": [Level.deleted()],
        **changes,
    }
    return Statement.build(draft, **arguments)


def draft(**changes: Any) -> Draft:
    return replace(DRAFT, **changes)
