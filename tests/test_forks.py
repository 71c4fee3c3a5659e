"""A forked child makes new what belongs to one process, and keeps what it must never take down."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from typing import Any

from securedata.forks import Instances


class One:
    def __init__(self) -> None:
        self.log: list[str] = []


def in_child(tell: Callable[[], str]) -> str:
    """What a forked child says."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(into, tell().encode())
        os._exit(0)
    os.close(into)
    os.waitpid(pid, 0)
    with os.fdopen(out) as said:
        return said.read()


def test_what_is_done_with_each_before_a_fork_and_in_the_child() -> None:
    known = Instances[One](before=lambda one: one.log.append("before"), in_child=lambda one: one.log.append("child"))
    one, gone = One(), One()
    known.add(one)
    known.add(gone)
    log = gone.log
    del gone
    gc.collect()
    assert in_child(lambda: " ".join(one.log)) == "before child"
    assert one.log == ["before"]
    assert log == [], "it was in no use any more"


def test_a_child_keeps_what_its_parent_has_and_the_parent_does_not() -> None:
    class Client:
        def __del__(self) -> None:
            taken_down.append("down")

    taken_down: list[str] = []
    known: Instances[Any] = Instances(kept=True)
    client: list[Client] = [Client()]
    known.add(client[0])

    def drop() -> str:
        client.clear()
        gc.collect()
        return str(len(taken_down))

    assert in_child(drop) == "0"
    assert drop() == "1"
