"""What happens to the live instances of a class when the process forks, as a DataLoader does for its workers."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Instances(Generic[T]):
    """The live instances of one class. Made once per class, at the end of its module; each instance is added.

    `os.register_at_fork` keeps what it gets forever; an instance here is freed when nothing else uses it.
    """

    def __init__(
        self,
        *,
        before: Callable[[T], object] | None = None,
        in_child: Callable[[T], object] | None = None,
        kept: bool = False,
    ) -> None:
        """Define what happens at a fork.

        Args:
            before: called with each instance in the parent, right before it forks.
            in_child: called with each instance in the child, to renew what belongs to one process: a lock that
                another thread held would stay held there forever.
            kept: the child keeps the parent's instances, of other threads too, but never uses them: destroying a
                client would close TLS connections that the parent still uses.
        """
        self.alive: weakref.WeakSet[T] = weakref.WeakSet()
        self._kept: list[list[T]] = []
        if before is not None:
            os.register_at_fork(before=lambda: self._each(before))
        if in_child is not None:
            os.register_at_fork(after_in_child=lambda: self._each(in_child))
        if kept:
            os.register_at_fork(before=self._keep, after_in_parent=self._kept.pop)

    def add(self, one: T) -> None:
        """Add a new instance."""
        self.alive.add(one)

    def _each(self, act: Callable[[T], object]) -> None:
        for one in list(self.alive):
            act(one)

    def _keep(self) -> None:
        self._kept.append(list(self.alive))
