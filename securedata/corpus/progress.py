"""Progress of long work, passed to a callable or shown as a bar on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from securedata.errors import InvalidArgument

Progress = Callable[[int, int, int, int], object]
"""Called from one thread with (files done, files in all, bytes done, bytes in all)."""


def check_progress(progress: object) -> None:
    """Raise InvalidArgument, before any work, if `reporting` cannot use it."""
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise InvalidArgument("progress= must be True, False or a callable that takes four numbers")


@contextmanager
def reporting(progress: bool | Progress | None, what: str) -> Iterator[Progress | None]:
    """What the work reports to: the caller's callable; for True a bar, if it can be seen; for False nothing.

    Args:
        what: the word before the bar, such as 'sealing'.
    """
    if progress is None or progress is False:
        yield None
    elif progress is not True:
        yield progress
    elif not (sys.stderr.isatty() or "ipykernel" in sys.modules):  # a notebook shows standard error without a terminal
        yield None
    else:
        bar = _Bar(what)
        try:
            yield bar
        finally:
            bar.close()


class _Bar:
    """A bar of bytes and files on standard error. It appears with the first call, which gives the totals."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._bar: Any = None

    def __call__(self, files: int, all_files: int, done: int, total: int) -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=self._what, unit="B", unit_scale=True, file=sys.stderr)
        self._bar.set_postfix_str(f"{files:,}/{all_files:,} files", refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
