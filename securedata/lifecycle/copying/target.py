"""The corpus that recordings are handed on to, bound to its source before a row is in it."""

from __future__ import annotations

from typing import Any

from securedata.corpus.state.commit import Next, Try
from securedata.corpus.state.head import Head
from securedata.corpus.writer import Writer
from securedata.errors import InvalidArgument
from securedata.lifecycle.deriving.rows import COPIED

_FEATURES = "features"
"""The member of a corpus's settings that says how its features were computed; rows of features refer to it."""


def check_target(head: Head, source: Head, root: str) -> None:
    """Check that a corpus may take rows of this source.

    Raises:
        InvalidArgument: it holds something else.
    """
    recorded = head.settings.get(COPIED)
    if recorded is None:
        if head.parts or head.derived or _FEATURES in head.settings:  # with `derived` it could be a source of this
            raise InvalidArgument(
                f"{root} holds something else than what was exported from this corpus: export to a new corpus",
                root=root,
            )
    elif recorded != _copied(source):
        raise InvalidArgument(f"{root} was exported from another corpus: export to a new one", root=root)


def bind(writer: Writer, source: Head) -> None:
    """Record the source in the settings of the corpus. It opens only for a named purpose if the source does.

    Raises:
        InvalidArgument: it holds something else.
        as `Writer.transact`
    """

    def change(attempt: Try) -> Next[None]:
        head = attempt.head
        check_target(head, source, writer.root)
        settings = {**head.settings, COPIED: _copied(source)}
        if _FEATURES in source.settings:
            settings[_FEATURES] = source.settings[_FEATURES]
        members: dict[str, Any] = {}
        if settings != head.settings:
            members["settings"] = settings
        if source.purpose_required and COPIED not in head.settings:  # later it is a rule of that corpus alone
            members["purpose_required"] = True
        return Next(None, members or None)

    writer.transact(change)


def _copied(source: Head) -> dict[str, Any]:
    return {"source": {"corpus": source.corpus_id.hex(), "pin": str(source.pin)}}
