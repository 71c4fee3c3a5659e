"""Settings that these libraries read when they are imported."""

from __future__ import annotations

import os
import tempfile

# Before any of them is imported: caches outside of the home of who runs the tests.
HUGGING_FACE = tempfile.TemporaryDirectory(prefix="securedata-hf-")
os.environ["HF_HOME"] = HUGGING_FACE.name
