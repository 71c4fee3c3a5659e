"""The rule that a corpus records for its recordings, applied to one new path: whose voice a file is, by its path."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from securedata.errors import InvalidArgument, SubjectUnknown
from securedata.ingest.sources.pattern import PathPattern
from securedata.ingest.sources.walk.names import CONTROL, is_utf8
from securedata.media.audio.suffixes import without_suffix

_COLUMNS = ("utterance", "split", "language")
_GIVE = "give subject=, to this call or to the filesystem: a person can be erased only by the name that is given here"
_RULES = {
    "layout": "its recordings were named by the layout of their folder",
    "manifest": "its recordings were named by a manifest",
    "one": "its recordings were named by --one-subject, whose name no rule may keep",
}


def columns_by_rule(path: str, settings: Mapping[str, Any], root: str) -> dict[str, Any]:
    """The columns that the recorded rule takes from a logical path: `subjects`, and what else a pattern names.

    Args:
        settings: of the corpus's head.

    Raises:
        SubjectUnknown: no rule over paths is recorded, or the path does not fit it.
    """
    rule = settings.get("subject")
    rule = rule if isinstance(rule, dict) else {}
    if isinstance(pattern := rule.get("pattern"), str):
        found = PathPattern(pattern).match(without_suffix(path))
        if found is None or not found["speaker"].strip():
            raise SubjectUnknown(
                f"the path does not fit the speaker pattern {pattern!r} of {root}, so nobody is named: write to a path "
                f"that fits, or {_GIVE}",
                root=root,
                path=path,
            )
        others = {name: text for name, text in found.items() if name not in ("speaker", *_COLUMNS)}
        extra = {"extra": json.dumps(others, ensure_ascii=False, separators=(",", ":"))} if others else {}
        return {"subjects": [found["speaker"]], **{name: found.get(name, "") for name in _COLUMNS}, **extra}
    if rule.get("per_file") is True:
        return {"subjects": [without_suffix(path)]}
    why = next((text for name, text in _RULES.items() if name in rule), "none of its recordings was named by a rule")
    raise SubjectUnknown(
        f"nothing names the person whose file this is, and a subject is never guessed. {root} records no rule over "
        f"paths ({why}): {_GIVE}",
        root=root,
        path=path,
    )


def checked_subjects(names: Iterable[str]) -> list[str]:
    """Names that a caller gave, in NFC, each once.

    Raises:
        InvalidArgument: none, or one that is blank or holds control characters or invalid text. It is not shown.
    """
    found = list(dict.fromkeys(unicodedata.normalize("NFC", name) for name in names))
    if not found or any(not name.strip() or CONTROL.search(name) or not is_utf8(name) for name in found):
        raise InvalidArgument(
            "subject= takes a person's name, or a list of names; one is blank, or holds control characters or "
            "invalid text"
        )
    return found
