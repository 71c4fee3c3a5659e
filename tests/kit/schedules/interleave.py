"""Runs actors over one storage in every order that matters: a scheduler, an explorer, and an oracle of what may be.

Each actor is a thread that blocks before every call to storage until the scheduler lets it go on, so one schedule is
one order of storage calls. A schedule may also kill an actor before or after the effect of a write (it then begins
anew, as a person would run it again), lose the answer to a write, or answer no to a conditional one that landed.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from securedata.errors import (
    AlreadyExists,
    PreconditionFailed,
    SecuredataError,
    StorageError,
    StorageUnreachable,
)
from securedata.storage.base import Storage
from tests.kit.hooked import Hooked

WRITES = frozenset(("put_new", "replace", "delete"))
CONDITIONAL = frozenset(("put_new", "replace"))
FATES = ("crash before", "crash after", "lost answer")
REPLAYED = "landed, and answered no"
"""An intermediary sent a conditional write twice: the first one landed, and the answer is that to the second."""
RERUNS = 3
MOST = 10_000
"""Schedules of one exploration: five minutes of one core, and `make test-full` makes 16 of them besides drawn ones."""


class Crash(BaseException):
    """The process of an actor is killed."""


class NotDeterministic(AssertionError):
    """The same choices led elsewhere: the scheduler has lost control of something."""


class TooManySchedules(AssertionError):
    """An exploration has grown beyond its budget."""


@dataclass(eq=False)
class Actor:
    """One process. `act` gets its storage; what it returns is kept in `results`, errors of ours in `errors`.

    `points`: calls before which it waits for its turn; others are taken to be private to it.
    """

    name: str
    act: Callable[[Storage], object]
    mortal: bool = True
    points: frozenset[str] = frozenset(("get_versioned", "replace", "put_new", "delete", "list", "now", "pause"))
    results: list[object] = field(default_factory=list)
    errors: list[SecuredataError] = field(default_factory=list)
    faults: int = 0
    at: tuple[str, str] | None = None
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.fate = ""
        self.dead = False

    @property
    def enabled(self) -> bool:
        return self.at is not None


class Run:
    """One schedule from beginning to end."""

    def __init__(
        self,
        storage: Storage,
        actors: Sequence[Actor],
        choose: Callable[[int], int],
        preemptions: int,
        faults: int,
        check: Callable[[], None],
    ) -> None:
        """`choose` picks one of that many options; 0 is to let the current actor go on, or the first that can."""
        self.storage = storage
        self.actors = actors
        self.choose = choose
        self.preemptions = preemptions
        self.faults = faults
        self.check = check
        self.trace: list[str] = []
        self.over = False
        self._stopped = threading.Semaphore(0)

    def run(self) -> None:
        """Let the actors run until all are done.

        Raises:
            AssertionError: with the schedule, when a check or an actor failed.
        """
        threads = [
            threading.Thread(target=self._live, args=(actor,), name=actor.name, daemon=True) for actor in self.actors
        ]
        for thread in threads:
            thread.start()
            self._stopped.acquire()
        current: Actor | None = None
        try:
            while any(actor.enabled for actor in self.actors):
                current, fate = self._pick(current)
                assert current.at is not None
                self.trace.append(f"{current.name}: {' '.join(current.at)}{f' ({fate})' if fate else ''}")
                self._let(current, fate)
                self.check()
                if current.failure is not None:
                    raise current.failure
        except BaseException as error:
            self._kill_all()
            if isinstance(error, NotDeterministic | KeyboardInterrupt):
                raise
            raise AssertionError(
                f"{type(error).__name__}: {error}\n  after the steps:\n    " + "\n    ".join(self.trace)
            ) from error
        finally:
            self.over = True
        for thread in threads:
            thread.join()

    def _pick(self, current: Actor | None) -> tuple[Actor, str]:
        """Option 0 goes on with the current actor, or with the first in their order that is not done."""
        waiting = [actor for actor in self.actors if actor.enabled]
        first = current if current and current.enabled else waiting[0]
        able = [first]
        if self.preemptions > 0:
            able += [actor for actor in waiting if actor is not first]
        options = [(actor, "") for actor in able]
        if self.faults > 0:
            writes = [(one, one.at[0]) for one in able if one.mortal and one.at and one.at[0] in WRITES]
            options += [(one, fate) for one, _ in writes for fate in FATES]
            options += [(one, REPLAYED) for one, call in writes if call in CONDITIONAL]
        actor, fate = options[self.choose(len(options))]
        if actor is not first:
            self.preemptions -= 1
        if fate:
            self.faults -= 1
        return actor, fate

    def _let(self, actor: Actor, fate: str) -> None:
        actor.fate = fate
        actor.go.release()
        self._stopped.acquire()

    def _kill_all(self) -> None:
        for actor in self.actors:
            while actor.enabled:
                actor.dead = True
                actor.faults = RERUNS + 1
                self._let(actor, "crash before")

    # ------------------------------------------------------------ in the actor's thread

    def _live(self, actor: Actor) -> None:
        self._wait(actor, "pause", "begin")
        while True:
            try:
                actor.results.append(actor.act(self._door(actor)))
            except Crash:
                actor.faults += 1
            except SecuredataError as error:
                actor.errors.append(error)
                actor.faults += 1
                if not self._excused(actor):
                    actor.failure = error
            except BaseException as error:  # noqa: BLE001 - the scheduler raises it, with the schedule
                actor.failure = error
            else:
                break
            if actor.failure is not None or actor.faults > RERUNS:
                break
            actor.dead = False
            self._wait(actor, "pause", "run again")
        actor.at = None
        self._stopped.release()

    def _excused(self, actor: Actor) -> bool:
        """Has this actor met a fault? Without one, no error may come out."""
        return isinstance(actor.errors[-1], StorageUnreachable) or isinstance(
            actor.errors[-1].__cause__, StorageUnreachable
        )

    def _wait(self, actor: Actor, call: str, key: str) -> str:
        actor.at = (call, key)
        self._stopped.release()
        actor.go.acquire()
        fate, actor.fate = actor.fate, ""
        return fate

    def _door(self, actor: Actor) -> Hooked:
        after: list[str] = []

        def before(call: str, key: str) -> None:
            if self.over:  # a lease that nobody has collected yet, renewed before a fork in a later test
                raise StorageUnreachable("the run is over")
            if actor.dead:
                raise Crash
            after.append("")
            if call in actor.points:
                fate = self._wait(actor, call, key)
                after[-1] = fate
                if fate == "crash before":
                    actor.dead = True
                    raise Crash

        def done(call: str, key: str) -> None:
            fate = after.pop()
            if fate == "crash after":
                actor.dead = True
                raise Crash
            if fate == "lost answer":
                raise StorageUnreachable("the line is cut")
            if fate == REPLAYED:
                raise replayed(call, key)

        return Hooked(self.storage, before, done)


def replayed(call: str, key: str) -> StorageError:
    """What a storage says to a conditional write that it took a moment ago."""
    if call == "replace":
        return PreconditionFailed(f"{key} changed since it was read")
    return AlreadyExists(f"{key} exists already")


def pause(storage: Storage, what: str) -> None:
    """A point of its own in an actor's life: for one that moves the clock."""
    assert isinstance(storage, Hooked)
    storage.before("pause", what)
    storage.after("pause", what)


class Scripted(Run):
    """One schedule by name: each step lets an actor run until it is about to make that call, or ('') until its end."""

    def __init__(self, storage: Storage, actors: Sequence[Actor], script: Sequence[tuple[str, str]]) -> None:
        super().__init__(storage, actors, lambda options: 0, 0, 0, lambda: None)
        self._script = [*script]

    def _pick(self, current: Actor | None) -> tuple[Actor, str]:
        while self._script:
            name, stop = self._script[0]
            (actor,) = (one for one in self.actors if one.name == name)
            if actor.at is None or (stop and " ".join(actor.at).startswith(stop)):
                del self._script[0]
                continue
            return actor, ""
        return super()._pick(current)


class Explorer:
    """Goes through the schedules that need at most so many preemptions and faults, each once, depth first.

    With a `share` below 1, each way to leave a schedule is taken with that probability, drawn from `seed`. More than
    `most` schedules are an error: nothing is left out unsaid.
    """

    def __init__(self, share: float = 1.0, seed: int = 0, most: int = MOST) -> None:
        self.runs = 0
        self._share = share
        self._most = most
        self._random = random.Random(seed)
        self._trail: list[tuple[int, list[int]]] = []

    def each(self, run: Callable[[Callable[[int], int]], object]) -> None:
        """Call `run` with a chooser, until all schedules were taken."""
        while True:
            at = 0

            def choose(options: int) -> int:
                nonlocal at
                if at == len(self._trail):
                    others = [one for one in range(1, options) if self._random.random() < self._share]
                    self._trail.append((options, [*reversed(others), 0]))
                known, left = self._trail[at]
                if known != options:
                    raise NotDeterministic(f"{options} options at choice {at}, {known} before")
                at += 1
                return left[-1]

            run(choose)
            self.runs += 1
            while self._trail and len(self._trail[-1][1]) == 1:
                self._trail.pop()
            if not self._trail:
                return
            self._trail[-1][1].pop()
            if self.runs == self._most:
                raise TooManySchedules(
                    f"more than {self._most:,} schedules: take fewer preemptions or faults, or a smaller share of them"
                )


def listed(choices: Sequence[int]) -> Callable[[int], int]:
    """A chooser that follows drawn numbers, and lets the current actor go on behind their end."""
    numbers = iter(choices)
    return lambda options: next(numbers, 0) % options
