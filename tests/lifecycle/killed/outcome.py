"""What a command has left: of corpora, and of the operator's files. Killed and run again, it leaves the same."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from securedata.corpus.check.prune import prune
from securedata.corpus.check.verify import verify
from securedata.corpus.config import Reference, edit, load
from securedata.corpus.home import data_dir, state_dir
from securedata.corpus.state.head import Head
from securedata.corpus.state.retired import listed
from securedata.keys.local import create_key_file
from securedata.lifecycle.erasure.erase import finish_open
from securedata.lifecycle.holds.notes import read_notes
from securedata.lifecycle.leaving import Notes
from securedata.lifecycle.receipt.operator import make_operator
from securedata.lifecycle.receipt.store import find_receipt
from tests.kit.corpora.contents import current, files_of, look, named_keys
from tests.kit.corpora.rows import DAY, writer_of
from tests.lifecycle.killed.cases import MADE

_COLUMNS = ("source_sha256", "subjects", "speaker", "transcript", "consent_id", "purposes", "expires", "last_contact")

Facts = dict[str, Any]


def outcome(home: Path, folder: Path) -> Facts:
    """What is so two days later, after commands that tidy up; fails if a corpus is not whole then."""
    before = time.time() - 2 * DAY
    for place in (home, folder):
        for one in place.rglob("*"):
            os.utime(one, (before, before))
    corpora = {name: _corpus(reference) for name, reference in sorted(load().items())}
    edit(lambda document: None)
    make_operator()
    for key in (data_dir() / "keys").glob("*.kek"):
        create_key_file(key)  # as a new corpus of this name would, and takes the key that is there
    kept = {file.relative_to(home).as_posix() for file in files_of(home)}
    return {"corpora": corpora, "operator": _operator(), "strays": sorted(one for one in kept if ".tmp-" in one)}


def _corpus(reference: Reference) -> Facts:
    writer = writer_of(reference)
    assert not writer.head.erasures
    assert finish_open(writer) == ()
    for _ in range(3):  # a commit of a prune leaves lists of its own
        prune(writer)
    head = look(reference).head
    report = verify(reference)
    assert report.ok, report.findings
    assert not report.findings
    rows = current(reference)
    assert report.objects_opened == len({row["object_id"] for row in rows.values()})
    there = {file.relative_to(reference.root).as_posix() for file in files_of(reference.root)} - {"head.prev"}
    leaving = {key for one in head.retired for key in listed(writer.storage, head, one)}
    named = named_keys(head, writer.storage)
    assert named <= there <= named | leaving
    return {
        "rows": {path: {name: row.get(name) for name in _COLUMNS} for path, row in sorted(rows.items())},
        **_settings(head),
        **_files(head, reference.name),
    }


def _settings(head: Head) -> Facts:
    return {
        "wraps": len(head.wraps),
        "rotated": bool(head.superseded),
        "fresh keys": head.data_keys_since,
        "tombstones": sorted(one.tag for one in head.tombstones),
        "barred": sorted(head.barred),
        "holds": sorted((one.tag, one.case) for one in head.holds),
        "restricted": sorted((one.tag, one.request) for one in head.restricted),
        "purpose required": head.purpose_required,
        "retention": head.retention,
        "derived": len(head.derived),
        "unfinished": len(head.erasures),
        "settings": sorted(head.settings),
    }


def _files(head: Head, name: str | None) -> Facts:
    """The operator's files about a corpus: receipts that are final, openings, notes of holds and of deletions."""
    corpus = head.corpus_id.hex()
    finals = {find_receipt(corpus, one["id"], one["digest"]) for one in head.receipts}
    folder = state_dir() / "receipts" / corpus
    assert finals == set(folder.glob("*.receipt")), "the final receipts, whole, and no others"
    openings = [path for path in folder.glob("*.openings/*") if ".tmp-" not in path.name]
    assert {path.parent.stem for path in openings} <= {one["id"] for one in head.receipts}
    notes, leaving = read_notes(head.corpus_id).values(), Notes(head.corpus_id)
    leaving.drop(())  # as a later removal would
    names = sorted(json.loads(path.read_text())["name"] for path in openings)
    # a corpus made from another is asked again by each run, and then also says that there was nothing to erase
    derived = name == MADE
    return {
        "receipts": bool(finals) if derived else len(finals),
        "openings": sorted(set(names)) if derived else names,
        "notes": sorted((note.tag, note.case, note.subject, note.reason) for note in notes),
        "leaving": leaving.read() & {one.table.id for one in head.retired},
    }


def _operator() -> Facts:
    key = data_dir() / "operator.key"
    return {"key": key.exists() and oct(key.stat().st_mode & 0o777)}


def differences(found: Any, expected: Any, where: str = "") -> list[str]:
    """What differs, one line each."""
    if not (isinstance(found, dict) and isinstance(expected, dict)):
        return [] if found == expected else [f"{where}: {found!r}, not {expected!r}"]
    keys = sorted(found.keys() | expected.keys())
    return [line for key in keys for line in differences(found.get(key), expected.get(key), f"{where}/{key}")]
