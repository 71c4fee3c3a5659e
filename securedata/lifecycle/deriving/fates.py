"""What became of rows that are to be made from rows of another corpus."""

from __future__ import annotations

from typing import Protocol

from securedata.errors import (
    AccessDenied,
    ConsentExpired,
    KeysError,
    RowReplaced,
    SecuredataError,
    SessionExpired,
    StorageUnreachable,
    SubjectErased,
    SubjectRestricted,
)


class Fates(Protocol):
    """The part of a report that a run of either kind fills in."""

    added: int
    replaced: int
    commits: int
    failed: list[tuple[str, SecuredataError]]
    erased: list[str]
    gone: list[str]
    held: list[str]


def note_error(report: Fates, path: str, error: SecuredataError) -> None:
    """Note why a recording was not read. Raises an error that would meet every other recording, too."""
    if isinstance(error, (SubjectErased, SubjectRestricted, RowReplaced, ConsentExpired)):
        report.gone.append(path)
    elif isinstance(error, (KeysError, AccessDenied, SessionExpired, StorageUnreachable)):
        raise error
    else:
        report.failed.append((path, error))
