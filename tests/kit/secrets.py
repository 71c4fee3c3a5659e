"""Where a secret might be found again, and in which forms."""

from __future__ import annotations

import base64
import logging
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import quote, quote_plus


def forms(secret: str | bytes) -> set[str]:
    """A secret as other libraries write it: raw, hex, base64, URL-quoted, as repr."""
    data = secret if isinstance(secret, bytes) else secret.encode()
    found = {data.hex(), base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode(), repr(data)[2:-1]}
    found |= {quote(data, safe=""), quote_plus(data)}
    if isinstance(secret, str):
        found |= {secret, repr(secret)[1:-1]}
    return found | {one.lower() for one in found}


def held(text: str, secrets: Iterable[str | bytes]) -> list[str]:
    """Forms of secrets that a text holds."""
    return [form for secret in secrets for form in forms(secret) if form in text or form in text.lower()]


class Capture(logging.Handler):
    """Keeps all that a record holds: its text, its arguments, its exception, its attributes."""

    def __init__(self) -> None:
        super().__init__(1)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        known = [f"{name}={value!r}" for name, value in record.__dict__.items()]
        text = record.getMessage()
        if record.exc_info:
            text += "".join(traceback.format_exception(*record.exc_info))
        self.records.append(f"{record.name}: {text} {' '.join(known)}")

    def of(self, *libraries: str) -> list[str]:
        """The records of some libraries."""
        return [one for one in self.records if one.startswith(libraries)]


@contextmanager
def everything_logged() -> Iterator[Capture]:
    """The root logger at level 1."""
    root, capture = logging.getLogger(), Capture()
    before = root.level
    root.setLevel(1)
    root.addHandler(capture)
    try:
        yield capture
    finally:
        root.removeHandler(capture)
        root.setLevel(before)


def told(error: BaseException) -> str:
    """All that a traceback, a log or a report could show of an error: its chain, its attributes, its locals' reprs."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(error.__dict__)
