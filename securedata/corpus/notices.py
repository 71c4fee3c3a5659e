"""Notices that a caller must see although the report holds them too.

They are logged and not `warnings`: a warning that is turned into an error would lose the report of work that was done,
and one that is shown once a place would hide the key file of the second corpus.
"""

from __future__ import annotations

import logging

from securedata.printable import printable_lines, without_secrets_within

REPORT = "securedata.report"
"""Logger of what the report says in full; the command prints the report, and so not these."""

_log = logging.getLogger("securedata")
_report = logging.getLogger(REPORT)


def log_notice(text: str) -> None:
    """A notice that stands for itself, as which file must be backed up."""
    _log.warning("%s", _shown(text))


def log_incomplete(text: str) -> None:
    """Not everything was done, and the report says what is missing."""
    _report.warning("%s", _shown(text))


def _shown(text: str) -> str:
    return printable_lines(without_secrets_within(text))
