"""What becomes of the live instances of a class when the process forks, as a DataLoader does for its workers."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Instances(Generic[T]):
    """The live instances of one class. Made once a class, at the end of its module; each instance is added.

    `os.register_at_fork` keeps what it is given for ever; an instance goes when nothing else uses it.
    """

    def __init__(
        self,
        *,
        before: Callable[[T], object] | None = None,
        in_child: Callable[[T], object] | None = None,
        kept: bool = False,
    ) -> None:
        """Say what happens at a fork.

        Args:
            before: is called with each one in the parent, right before it forks.
            in_child: is called with each one in the child, which makes new what belongs to one process: a lock that
                another thread held would stay held for ever there.
            kept: the child keeps what its parent has, those of other threads too, and never uses it: to take down a
                client would say goodbye on TLS connections that the parent goes on using.
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
        """Note a new one."""
        self.alive.add(one)

    def _each(self, act: Callable[[T], object]) -> None:
        for one in list(self.alive):
            act(one)

    def _keep(self) -> None:
        self._kept.append(list(self.alive))
