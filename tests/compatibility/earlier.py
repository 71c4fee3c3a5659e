"""The command as of a thousand days ago: `earlier.py ARGUMENT...` sets back the clock of storage that is a folder.

It runs under whichever release is on PYTHONPATH. What it replaces is due to be deleted today.
"""

from __future__ import annotations

import sys
from typing import Any

from securedata.cli.main import main
from securedata.storage.local import LocalStorage

AGO = 1000 * 24 * 3600.0

now, put_new = LocalStorage.now, LocalStorage.put_new


def earlier(self: LocalStorage) -> float:
    return now(self) - AGO


def put_earlier(self: LocalStorage, *arguments: Any) -> float:
    return put_new(self, *arguments) - AGO


if __name__ == "__main__":
    # a clock for this process alone
    LocalStorage.now = earlier
    LocalStorage.put_new = put_earlier
    sys.exit(main(sys.argv[1:]))
