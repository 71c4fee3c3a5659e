"""The journal of a corpus's erasures, in its head: drafts of those that are not finished, digests of final receipts.

After the erasing commit, rows, names and keys are gone, and a rerun could not build the receipt again. The commit
therefore writes a draft, which names nobody. The commit that ends the erasure replaces it by the receipt's digest: only
the receipt with this digest is final.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from securedata.corpus.state.head import Head
from securedata.corpus.state.json_values import hex_bytes, json_list, json_object, seconds, text
from securedata.corpus.state.lifecycle import BY_NAME
from securedata.errors import MalformedManifest, MalformedReceipt
from securedata.keys.tags import Tagger
from securedata.lifecycle.erasure.request import Request
from securedata.lifecycle.receipt.statement import Draft


@dataclass(frozen=True, slots=True)
class Open:
    """An erasure that is not finished.

    Attributes:
        draft: what its receipt will say; its id is the write id of the erasing commit.
        leaving: the id of its leaving list; None: it took no row out, or the list is done.
        people: subject tags of those who were erased by name.
        time: storage's time of the erasing commit, in seconds since the epoch.
        asked: the tag of a request that names no people, by which another run of it knows it.
    """

    draft: Draft
    leaving: bytes | None
    people: tuple[bytes, ...]
    time: float
    asked: bytes | None = None

    def to_json(self) -> dict[str, Any]:
        """The entry of `erasures` in the head."""
        entry = {
            **self.draft.to_json(),
            "people": [tag.hex() for tag in self.people],
            "time": self.time,
        }
        ids = {"list": self.leaving, "asked": self.asked}
        return {**entry, **{name: id.hex() for name, id in ids.items() if id is not None}}


def unfinished(head: Head, root: str) -> list[Open]:
    """The erasures that are not finished, the oldest first.

    Raises:
        MalformedManifest: a draft cannot be read.
    """
    return [_parse(one, root) for one in head.erasures]


def final_digest(head: Head, id: str) -> str | None:
    """The digest of an erasure's final receipt, 64 hex digits; None if it has none."""
    return next((text(one["digest"]) for one in head.receipts if one["id"] == id), None)


def asked_before(head: Head) -> frozenset[bytes]:
    """The tags of requests whose erasure has committed, finished or not."""
    return frozenset(hex_bytes(one["asked"], 32) for one in (*head.erasures, *head.receipts) if "asked" in one)


def erased_before(head: Head, consent_id: str) -> bool:
    """Has an erasure of exactly this consent committed?"""
    return Request("consent", consents=(consent_id,)).asked(Tagger(head.secret)) in asked_before(head)


def ended(head: Head, one: Open, digest: str, now: float) -> dict[str, Any]:
    """The members of the next head: the draft and its list are cleared, and the receipt's digest is recorded."""
    scope = one.draft.scope
    final: dict[str, Any] = {"id": one.draft.id, "digest": digest, "time": now}
    if scope.kind == "subject" or not scope.rows:
        final[BY_NAME] = True
    if one.asked is not None:
        final["asked"] = one.asked.hex()
    return {
        "erasures": tuple(entry for entry in head.erasures if entry["id"] != one.draft.id),
        "receipts": (*head.receipts, final),
        "retired": tuple(entry for entry in head.retired if entry.table.id != one.leaving),
    }


def _parse(entry: Mapping[str, Any], root: str) -> Open:
    try:
        leaving, asked = entry.get("list"), entry.get("asked")
        return Open(
            Draft.from_json(json_object(entry)),
            None if leaving is None else hex_bytes(leaving, 16),
            tuple(hex_bytes(tag, 32) for tag in json_list(entry["people"])),
            seconds(entry["time"]),
            None if asked is None else hex_bytes(asked, 32),
        )
    except (KeyError, TypeError, ValueError, MalformedReceipt) as error:
        raise MalformedManifest(
            f"the head of {root} has the draft of an erasure that cannot be read ({type(error).__name__}); it was "
            "written by a newer or broken securedata: update it",
            root=root,
        ) from None
