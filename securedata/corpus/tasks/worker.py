"""The other end of a run: the process that does a task."""

from __future__ import annotations

import os
import platform
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from securedata.corpus.config import Reference
from securedata.corpus.state.head import OpenedHead
from securedata.corpus.state.writer_lease import WriterLease
from securedata.corpus.tasks.messages import (
    PROTOCOL,
    Envelope,
    dumps,
    loads,
    open_message,
    read_reference,
    seal_message,
)
from securedata.errors import SecuredataError
from securedata.foreign.describe import describe

DONE, OTHER_KEY, OTHER_VERSION, REFUSED = "done", "other key", "other version", "refused"
"""Outcomes of a call: the answer is sealed; the corpus key has changed; another version; why it cannot begin."""

_KEPT = 2
"""Runs whose corpora a process keeps open."""


class Worker(ABC):
    """What a process needs for the tasks of one run: its own connection to the corpus, opened by its own KMS call."""

    @abstractmethod
    def __init__(self, reference: Reference, single_writer: bool) -> None:
        """Open the corpus. Raises as `Writer` or `HeadLease.open` does."""

    @abstractmethod
    def opened(self, again: bool) -> OpenedHead:
        """The head that this process has; read again if `again`."""

    @abstractmethod
    def begin(self, settings: Any) -> None:
        """Take what the run says once for all its tasks. Raises ConfigError: this machine cannot do them."""

    @abstractmethod
    def do(self, task: Any) -> Any:
        """Do one task; the answer must be picklable. Raises what ends the run."""


_lock = threading.Lock()
_runs: OrderedDict[bytes, tuple[Worker, bytes]] = OrderedDict()
"""By the run's id: its worker, and the run's key."""


def answer(envelope: Envelope, message: bytes) -> tuple[str, Any]:
    """Do a task that another process sent, in plain types and sealed bytes. Nothing is raised: it might be logged."""
    if (envelope["protocol"], envelope["version"]) != (PROTOCOL, this_version()):
        return OTHER_VERSION, f"{this_version()} on {platform.node()}"
    try:
        found = _worker_of(envelope)
    except SecuredataError as error:
        return REFUSED, (type(error).__name__, f"on {platform.node()}: {error}", error.root)
    except Exception as error:  # noqa: BLE001 - its text might hold anything
        return REFUSED, ("ConfigError", f"on {platform.node()}: the worker cannot begin: {describe(error)}", None)
    if isinstance(found, bytes):
        return OTHER_KEY, found
    worker, key = found
    corpus_id = envelope["corpus_id"]
    number, said = -1, None
    try:
        number, task = loads(open_message(key, corpus_id, message, envelope["reference"]["root"]))
        said = True, worker.do(task)
    except SecuredataError as error:
        said = False, error
    except Exception as error:  # noqa: BLE001 - likewise; a defect, which is described by its class
        said = False, SecuredataError(f"a task failed on {platform.node()}: {describe(error)}")
    return DONE, seal_message(key, corpus_id, dumps((number, os.getpid(), said)))


def _worker_of(envelope: Envelope) -> tuple[Worker, bytes] | bytes:
    """The worker of a run and the run's key, or the id of the corpus key here, if it is not the one that was used."""
    with _lock:
        if found := _runs.get(envelope["run"]):
            return found
        module, _, name = envelope["worker"].partition(":")
        reference = read_reference(envelope["reference"])
        worker: Worker = getattr(import_module(module), name)(reference, envelope["single_writer"])
        opened = worker.opened(False)
        if opened.head.key_id != envelope["key_id"]:
            opened = worker.opened(True)
        if opened.head.key_id != envelope["key_id"]:
            return opened.head.key_id
        corpus_id = envelope["corpus_id"]
        key = open_message(opened.key, corpus_id, envelope["key"], reference.root)
        worker.begin(loads(open_message(key, corpus_id, envelope["settings"], reference.root)))
        _runs[envelope["run"]] = worker, key
        while len(_runs) > _KEPT:
            _runs.popitem(last=False)
        return worker, key


def newest(lease: WriterLease, again: bool) -> OpenedHead:
    """The newest head that a writer has seen, with the corpus key that opened it; `again`: read it first."""
    if not again:
        return lease.opened
    lease.check()
    return lease.read()


def this_version() -> str:
    """The version of this package, as it is installed."""
    try:
        return version("securedata-torch")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


def error_of(said: tuple[str, str, str | None]) -> SecuredataError:
    """The error that a worker refused with."""
    name, text, root = said
    kind = getattr(import_module("securedata.errors"), name)
    error: SecuredataError = kind(text, root=root)
    return error
