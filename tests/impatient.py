"""The command with short intervals of ingest: `python -m tests.impatient ROWS ARGUMENT...` commits every ROWS rows."""

from __future__ import annotations

import sys

from securedata.cli.main import main
from securedata.corpus.ingest import pipeline

if __name__ == "__main__":
    pipeline.COMMIT_ROWS = int(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
