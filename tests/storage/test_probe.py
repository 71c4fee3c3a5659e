"""The probe for conditional puts, at a server that sends a request twice."""

from __future__ import annotations

from typing import Any

import pytest

from securedata.errors import NotFound, PreconditionFailed, StorageError, StorageUnreachable, UnsafeStorage
from securedata.storage.s3.probe import probe


class Server:
    """As much of one as the probe asks: the first so many answers are refusals, of puts that landed or not."""

    def __init__(self, no: type[StorageError], times: int, landed: bool, honest: bool = True, at: int = 0) -> None:
        self.keys: set[str] = set()
        self.no, self.refused, self.landed, self.honest = no, range(at, at + times), landed, honest
        self.puts = 0

    def call(self, operation: str, key: str, **given: Any) -> None:
        if operation == "head_object":
            if key not in self.keys:
                raise NotFound(key)
            return
        self.puts += 1
        false = "IfMatch" in given or key in self.keys
        if self.puts - 1 in self.refused:
            if self.landed and not false:
                self.keys.add(key)
            raise self.no(key)
        if false and self.honest:
            raise PreconditionFailed(key)
        self.keys.add(key)


@pytest.mark.parametrize("no", [PreconditionFailed, NotFound])
@pytest.mark.parametrize(
    ("times", "landed", "honest", "at", "error"),
    [
        (0, False, True, 0, None),
        (1, True, True, 0, None),
        (1, True, False, 0, UnsafeStorage),
        (1, False, True, 0, None),
        (1, False, False, 0, UnsafeStorage),
        (3, False, True, 0, "as answered"),
        (1, False, True, 1, None),
        (1, False, True, 2, None),
    ],
)
def test_a_probe_that_was_answered_no(
    times: int,
    landed: bool,
    honest: bool,
    at: int,
    error: type[StorageError] | str | None,
    no: type[StorageError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("securedata.storage.s3.probe._sleep", lambda seconds: None)
    server = Server(no, times, landed, honest, at)
    if error is None:
        probe(server.call, server.keys.discard, "s3://voice")
    else:
        with pytest.raises(no if isinstance(error, str) else error):
            probe(server.call, server.keys.discard, "s3://voice")
    assert not server.keys, "nothing is left of it"


def test_a_probe_that_fails_leaves_nothing() -> None:
    server = Server(StorageUnreachable, 1, landed=True)
    with pytest.raises(StorageUnreachable):
        probe(server.call, server.keys.discard, "s3://voice")
    assert not server.keys
