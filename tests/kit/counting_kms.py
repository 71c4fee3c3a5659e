"""A KMS provider that counts: a key file whose every use, in whatever process, adds a line to a log.

Registered like any provider of a third party, by an entry point, so that started workers find it too.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from securedata.keys.kms import KMS, Context
from securedata.keys.local import LocalKMS, create_key_file

SCHEME = "counting://"


class CountingKMS(KMS):
    """`counting:///path/to/kek`: the local provider under another scheme; the logs are beside the key file."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._inner = LocalKMS("local://" + uri.removeprefix(SCHEME))
        self._log = self._inner.path.with_suffix(".log")

    @property
    def wrap_uri(self) -> str:
        return self._inner.wrap_uri

    def matches(self, wrap_uri: str) -> bool:
        return self._inner.matches(wrap_uri)

    def wrap(self, key: bytes, context: Context) -> bytes:
        blob = self._inner.wrap(key, context)
        _note(self._log.with_suffix(".wraps"))
        return blob

    def unwrap(self, blob: bytes, context: Context) -> bytes:
        key = self._inner.unwrap(blob, context)
        _note(self._log)
        return key


def _note(log: Path) -> None:
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, f"{os.getpid()} {time.monotonic()}\n".encode())
    os.close(fd)


class Counted:
    """A key file for `CountingKMS`, and who used it."""

    def __init__(self, folder: Path) -> None:
        """Makes the key file, and the entry point under FOLDER/installed, which belongs on sys.path."""
        self.key_file = folder / "counted" / "voice.kek"
        create_key_file(self.key_file)
        self.uri = f"{SCHEME}{self.key_file}"
        self.installed = folder / "installed"
        info = self.installed / "counting_kms-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting-kms\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[securedata.kms]\ncounting = {__name__}:CountingKMS\n")

    @property
    def calls(self) -> list[tuple[int, float]]:
        """The process and the time of every unwrap since `forget`, by the clock that all processes share."""
        return self._read(".log")

    @property
    def wraps(self) -> int:
        """How many wraps were made since `forget`."""
        return len(self._read(".wraps"))

    def _read(self, suffix: str) -> list[tuple[int, float]]:
        log = self.key_file.with_suffix(suffix)
        lines = log.read_text().splitlines() if log.exists() else []
        return [(int(process), float(when)) for process, when in map(str.split, lines)]

    @property
    def unwraps(self) -> list[int]:
        """The process of every unwrap since `forget`."""
        return [process for process, _ in self.calls]

    def forget(self) -> None:
        for suffix in (".log", ".wraps"):
            self.key_file.with_suffix(suffix).unlink(missing_ok=True)

    @property
    def _away(self) -> Path:
        return self.key_file.with_suffix(".away")

    def take_away(self) -> None:
        """From now on the KMS does not answer."""
        os.rename(self.key_file, self._away)

    def bring_back(self) -> None:
        os.rename(self._away, self.key_file)
