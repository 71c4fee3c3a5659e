"""This user's folders on this machine, and locks among this user's processes.

A relative path in an XDG variable is ignored, as the XDG specification requires.
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
    """Folder of the key files that are made by default."""
    return home("XDG_DATA_HOME", ".local/share")


def state_dir() -> Path:
    """Folder that remembers the newest generation seen of each corpus."""
    return home("XDG_STATE_HOME", ".local/state")


def home(variable: str, default: str) -> Path:
    """Our folder below the one that an XDG variable names.

    Raises:
        ConfigError: there is no home folder.
    """
    base = os.environ.get(variable)
    if base and os.path.isabs(base):
        return Path(base) / "securedata"
    try:
        return home_folder() / default / "securedata"
    except RuntimeError:  # such as a container whose user id has no passwd entry
        raise ConfigError(f"there is no home folder: set {variable} (or HOME) to a folder of your own") from None


@contextlib.contextmanager
def file_lock(lock: str) -> Iterator[None]:
    """Let one process at a time in, among those of this user on this machine that name the same lock.

    Raises:
        ConfigError: the state folder cannot be written.
        CorpusBusy: another process kept the lock for two minutes.
    """
    path = state_dir() / lock
    try:
        make_folders(path.parent, 0o700)
        fd = open_regular(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o664)  # anyone who can open a lock can hold it
    except OSError as error:
        advice = "set XDG_STATE_HOME to a folder that you can write to"
        raise ConfigError(f"{path} cannot be written: {describe(error)}; {advice}") from None
    with open(fd, "rb", buffering=0):
        with contextlib.suppress(OSError):  # some network file systems have no locks: two processes may race there
            wait_for(fd, f"the lock {path}", str(path))
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # as above; a child forked meanwhile would keep the lock
                fcntl.flock(fd, fcntl.LOCK_UN)
