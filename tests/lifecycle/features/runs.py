"""What tests of `retain` do again and again."""

from __future__ import annotations

from typing import Any

import securedata as sd
from securedata.corpus.config import resolve
from tests.kit.corpora.contents import current


def kept(root: Any, to: Any, **options: Any) -> sd.RetainReport:
    """Retain log-mel features in this process, unless told otherwise."""
    return sd.retain(root, to, **{"features": "log-mel", "workers": 0, **options})


def rows_of(target: Any) -> list[dict[str, Any]]:
    """The rows of a corpus, in the order of its parts."""
    return list(current(resolve(target)).values())
