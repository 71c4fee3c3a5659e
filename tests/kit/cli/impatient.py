"""The command with short intervals of ingest, for tests that kill it.

`python -m tests.kit.cli.impatient ROWS END ARGUMENT...` commits every ROWS rows, and stops itself (SIGSTOP) with all
its threads before the commit with which it would have added END rows: however late a kill comes, it finds work undone.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pyarrow as pa

from securedata.cli.main import main
from securedata.corpus.rows.outcome import Outcome
from securedata.corpus.writer import Writer
from securedata.ingest import pipeline


def stop_before(end: int) -> None:
    commit = Writer.commit
    added = 0

    def counted(self: Writer, rows: pa.Table, **options: Any) -> Outcome:
        nonlocal added
        added += rows.num_rows
        if added >= end:
            os.kill(os.getpid(), signal.SIGSTOP)
        return commit(self, rows, **options)

    Writer.commit = counted  # type: ignore[method-assign,assignment]  # a hook for this process alone


if __name__ == "__main__":
    pipeline.COMMIT_ROWS = int(sys.argv[1])
    stop_before(int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
