"""Ray: runs whose tasks a cluster does, and datasets of Ray Data over a corpus. Needs `ray`, for datasets `ray[data]`.

What Ray keeps of a run, in shared memory, on disk and in its logs, is sealed: see `securedata.corpus.tasks.messages`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from securedata.errors import ConfigError
from securedata.foreign.describe import describe

try:
    import ray
    import ray.exceptions
except ImportError:
    raise ConfigError(
        "--engine ray and securedata.ray need Ray, which is not installed: 'pip install ray' ('ray[data]' for "
        "datasets), here and on every node, beside this package"
    ) from None

RETRIES = 3
"""How often a task is done again whose worker or node is lost."""

_TICK = 0.05


@contextmanager
def engine(cpus: float = 1.0) -> Iterator[RayExecutor]:
    """An executor on the cluster that this process is connected to, or that RAY_ADDRESS or this machine names.

    A cluster is never started here: for one machine, threads do the same.

    Raises:
        ConfigError: no cluster answers.
    """
    connected = ray.is_initialized()
    if not connected:
        address = os.environ.get("RAY_ADDRESS") or "auto"
        try:
            # a worker's output stays out of the command's own
            ray.init(address=address, log_to_driver=False, configure_logging=False)
        except Exception as error:  # noqa: BLE001 - Ray raises many, and their texts quote addresses
            raise ConfigError(
                f"no Ray cluster answers ({describe(error)}): start one with 'ray start --head' on this machine, or "
                "name one with RAY_ADDRESS, or run this command as a job with 'ray job submit'"
            ) from None
    try:
        with RayExecutor(cpus) as executor:
            yield executor
    finally:
        if not connected:
            ray.shutdown()


class RayExecutor(Executor):
    """Calls as tasks of a Ray cluster. One thread waits for all of them.

    Attributes:
        slots: tasks that the cluster can run at once.
    """

    def __init__(self, cpus: float = 1.0) -> None:
        """`cpus`: of a node, for each task."""
        self.slots = max(1, int(ray.cluster_resources().get("CPU", 1) / cpus))
        self._cpus = cpus
        self._changed = threading.Condition()
        self._calls: dict[Any, Future[Any]] = {}
        self._closing = False
        self._remote: dict[Callable[..., Any], Any] = {}
        self._thread = threading.Thread(target=self._wait, name="securedata-ray", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Make a call on the cluster. `fn` is found by its name there, so it must be of an installed module."""
        if fn not in self._remote:
            # what fails in the call itself is an answer of it, so that only lost workers and nodes are tried again
            self._remote[fn] = ray.remote(fn).options(
                num_cpus=self._cpus, max_retries=RETRIES, retry_exceptions=False, name="securedata"
            )
        future: Future[Any] = _Call(self)
        future.set_running_or_notify_cancel()
        ref = self._remote[fn].remote(*args, **kwargs)
        with self._changed:
            self._calls[ref] = future
            self._changed.notify()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End. What is still under way is cancelled: the run that sent it is over."""
        with self._changed:
            self._closing = True
            left = list(self._calls)
            self._changed.notify()
        for ref in left:
            ray.cancel(ref)
        if wait:
            self._thread.join()

    def drop(self, future: Future[Any]) -> None:
        """Cancel a call that nobody waits for."""
        with self._changed:
            refs = [ref for ref, one in self._calls.items() if one is future]
        for ref in refs:
            ray.cancel(ref)

    def _wait(self) -> None:
        while True:
            with self._changed:
                while not self._calls and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                under_way = list(self._calls)
            try:
                ready, _ = ray.wait(under_way, num_returns=len(under_way), timeout=_TICK)
            except Exception as error:  # noqa: BLE001 - the connection to the cluster is gone: nobody may wait for ever
                with self._changed:
                    futures = list(self._calls.values())
                    self._calls.clear()
                for one in futures:
                    one.set_exception(_lost(error))
                continue
            for ref in ready:
                with self._changed:
                    future = self._calls.pop(ref)
                try:
                    result = ray.get(ref)
                except Exception as error:  # noqa: BLE001 - Ray raises many; each is described for who waits
                    future.set_exception(_lost(error))
                else:
                    future.set_result(result)


def __getattr__(name: str) -> Any:
    # Ray Data takes seconds to import, and brings pandas: runs do without it
    if name not in ("Datasource", "SpillWarning"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module("securedata.integrations.ray_data"), name)
    except ImportError:
        raise ConfigError(f"securedata.ray.{name} needs Ray Data: pip install 'ray[data]'") from None


class _Call(Future[Any]):
    """A call on the cluster, which can be cancelled although it is running."""

    def __init__(self, executor: RayExecutor) -> None:
        super().__init__()
        self._executor = executor

    def cancel(self) -> bool:
        self._executor.drop(self)
        return False


def _lost(error: Exception) -> ConfigError:
    """Why a task was not done."""
    if isinstance(error, ray.exceptions.TaskCancelledError):
        return ConfigError("the run was stopped, and a task with it")
    if isinstance(error, ray.exceptions.RayTaskError):  # before our own code ran
        return ConfigError(
            f"a Ray worker cannot begin a task ({describe(error.cause)}): is this version of securedata-torch "
            "installed on every node?"
        )
    return ConfigError(
        f"a task was lost {RETRIES + 1} times with its worker or node ({type(error).__name__}): the node may have run "
        "out of memory; see Ray's logs. What was committed stays: run it again for the rest"
    )
