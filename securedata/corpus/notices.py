"""Notices that a caller must see, although the report holds them too.

They are logged, not raised as `warnings`: a warning turned into an error would lose the report of finished work, and
one shown once per code line would hide the key file of the second corpus.
"""

from __future__ import annotations

import logging

from securedata.printable import printable_lines, without_secrets_within

REPORT = "securedata.report"
"""Logger of notices that the report repeats in full; the command silences it, since it prints the report."""

_log = logging.getLogger("securedata")
_report = logging.getLogger(REPORT)


def log_notice(text: str) -> None:
    """Log a notice that is complete in itself, such as which file to back up."""
    _log.warning("%s", _shown(text))


def log_incomplete(text: str) -> None:
    """Log that the work is incomplete; the report lists what is missing."""
    _report.warning("%s", _shown(text))


def _shown(text: str) -> str:
    return printable_lines(without_secrets_within(text))
