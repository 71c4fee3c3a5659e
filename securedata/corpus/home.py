"""This user's folders on this machine, and locks among this user's processes.

A relative path in an XDG variable counts as none, as the XDG specification says.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from securedata.errors import ConfigError
from securedata.files import home_folder, make_folders, open_regular
from securedata.foreign.describe import describe
from securedata.storage.file_lock import wait_for


def data_dir() -> Path:
    """Where key files of the embedded default are made."""
    return home("XDG_DATA_HOME", ".local/share")


def state_dir() -> Path:
    """Where the newest generation that was seen of each corpus is remembered."""
    return home("XDG_STATE_HOME", ".local/state")


def home(variable: str, default: str) -> Path:
    """A folder of ours, below what an XDG variable names.

    Raises:
        ConfigError: there is no home folder.
    """
    base = os.environ.get(variable)
    if base and os.path.isabs(base):
        return Path(base) / "securedata"
    try:
        return home_folder() / default / "securedata"
    except RuntimeError:  # as in a container whose user id has no passwd entry
        raise ConfigError(f"there is no home folder: set {variable} (or HOME) to a folder of yours") from None


@contextlib.contextmanager
def file_lock(lock: str) -> Iterator[None]:
    """Of all processes of this user on this machine that name the same lock, one at a time is inside.

    Raises:
        ConfigError: the state folder cannot be written.
        CorpusBusy: another process kept the lock for two minutes.
    """
    path = state_dir() / lock
    try:
        make_folders(path.parent, 0o700)
        fd = open_regular(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o664)  # others could keep what they may open
    except OSError as error:
        advice = "set XDG_STATE_HOME to a folder of yours that can be written"
        raise ConfigError(f"{path} cannot be written: {describe(error)}; {advice}") from None
    with open(fd, "rb", buffering=0):
        with contextlib.suppress(OSError):  # some network file systems have no locks: there two may race
            wait_for(fd, f"the lock {path}", str(path))
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # as above; a child that was forked meanwhile would keep it
                fcntl.flock(fd, fcntl.LOCK_UN)
