"""The operator's notes of holds: who is held, and why. The corpus itself has a tag and the reference of the case only.

    $XDG_STATE_HOME/securedata/holds/<corpus id>/<32 hex digits>.json     one file a hold, mode 0600

A note is durable before the hold is committed, and is deleted after the commit that ends it, so that no name outlives
its hold here. A missing note stops nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from securedata.corpus.home import state_dir
from securedata.corpus.state.json_values import hex_bytes, json_object, text
from securedata.errors import ConfigError
from securedata.files import drop_left_over, fsync_folder, make_folders, read_small, replace_file
from securedata.foreign.describe import describe

_log = logging.getLogger("securedata")

_LARGEST = 1024 * 1024
_ADVICE = "set XDG_STATE_HOME to a folder that you can write to"


@dataclass(frozen=True, slots=True)
class Note:
    """What the operator knows of a hold.

    Attributes:
        tag: the person's subject tag.
        case: the reference of the case, as in the corpus.
        subject: the person's name.
        reason: why; '' if none was given.
    """

    tag: bytes
    case: str
    subject: str = field(repr=False)
    reason: str = field(default="", repr=False)


def keep_note(corpus_id: bytes, note: Note) -> None:
    """Write a note, in place of an earlier one of the same hold; it survives a power cut once this returns.

    Raises:
        ConfigError: it cannot be written.
    """
    path = _path(corpus_id, note.tag, note.case)
    content = {"tag": note.tag.hex(), "case": note.case, "subject": note.subject, "reason": note.reason}
    try:
        make_folders(path.parent, 0o700)
        replace_file(path, json.dumps(content, ensure_ascii=False).encode(), 0o600)
        for folder in path.parents[:3]:  # those that this may have made
            fsync_folder(folder)
    except OSError as error:
        raise ConfigError(
            f"the note of the hold cannot be written to {path}: {describe(error)}; nobody is held by it: {_ADVICE}"
        ) from None


def drop_note(corpus_id: bytes, tag: bytes, case: str) -> None:
    """Delete the note of a hold that has ended, if there is one; a failure is only a warning: the hold is over."""
    try:
        path = _path(corpus_id, tag, case)
    except ConfigError:  # so `read_notes` has warned
        return
    try:
        path.unlink()
        fsync_folder(path.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("the note of an ended hold stays in %s: %s; delete the file", path, describe(error))


def read_notes(corpus_id: bytes) -> dict[tuple[bytes, str], Note]:
    """The notes on this machine about a corpus, by tag and case. Those that cannot be read are left out with a warning:
    a hold does not need its note.
    """
    found: dict[tuple[bytes, str], Note] = {}
    try:
        drop_left_over(_folder(corpus_id))  # a killed run's have names, too
        paths = sorted(_files(_folder(corpus_id)))
    except (ConfigError, OSError) as error:
        _log.warning("notes of holds cannot be looked up: %s", describe(error))
        return found
    for path in paths:
        try:
            note = _parse(read_small(path, _LARGEST))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            why = describe(error) if isinstance(error, OSError) else f"it is damaged ({type(error).__name__})"
            _log.warning("the note of a hold, %s, cannot be read: %s; the hold itself does not need it", path, why)
        else:
            found[note.tag, note.case] = note
    return found


def _files(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        yield from (Path(entry.path) for entry in entries if entry.name.endswith(".json"))


def _parse(data: bytes) -> Note:
    content = json_object(json.loads(data.decode()))
    tag = hex_bytes(content["tag"], 32)
    return Note(tag, text(content["case"]), text(content["subject"]), text(content["reason"]))


def _folder(corpus_id: bytes) -> Path:
    try:
        return state_dir() / "holds" / corpus_id.hex()
    except ConfigError:  # neither HOME nor a passwd entry, as in some containers
        raise ConfigError(f"without a home folder, notes of holds have no place; {_ADVICE}") from None


def _path(corpus_id: bytes, tag: bytes, case: str) -> Path:
    return _folder(corpus_id) / f"{hashlib.sha256(tag + case.encode()).hexdigest()[:32]}.json"
