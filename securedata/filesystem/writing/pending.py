"""What will be under a path, before it is committed, and the errors of what cannot be."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import Any

from securedata.corpus.objects.put import Put
from securedata.errors import InvalidArgument


@dataclass(slots=True, eq=False)
class Pending:
    """What will be under a path.

    Attributes:
        columns: of a written file, besides those of its object.
        put: its object, once it is sealed; None for a row that is moved, which keeps its object.
        size: of a written file, in bytes.
        id: of the file before it has an object; random.
        source: the path of the row that is copied or moved; None: the file was written.
    """

    columns: dict[str, Any] = field(default_factory=dict, repr=False)
    put: Put | None = None
    source: str | None = field(default=None, repr=False)
    is_move: bool = False
    size: int = 0
    id: bytes = field(default_factory=lambda: os.urandom(16))


def ended() -> InvalidArgument:
    """The error of a call that comes after the end of its transaction."""
    return InvalidArgument(
        "the transaction has ended before this call was done, so nothing of it is in the corpus: have all calls of a "
        "transaction return, and its files closed, before it ends. A task that goes on after it begins a transaction "
        "of its own"
    )


def exists() -> FileExistsError:
    """The error of a path that must be new. Without the path, which is often a person's name."""
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def check_writable_mode(mode: str) -> bool:
    """Whether a mode means to create a new file only.

    Raises:
        InvalidArgument: it appends to a file or changes it in place, which no sealed object allows.
    """
    if "a" in mode or "+" in mode or not set(mode) & set("wx"):
        raise InvalidArgument(
            "a sealed file is written once, from its beginning to its end, so it cannot be appended to or changed in "
            'place: read it, and write all of it again with mode "wb"'
        )
    return "x" in mode
