"""Silence C libraries that complain about a file on stderr without saying which file they mean."""

from __future__ import annotations

import ctypes
import os
import threading

from securedata.forks import Instances


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (ValueError, OSError):  # a name that only glibc knows
        return False


class CQuiet:
    """While entered, C's `stderr` is /dev/null; Python's, and file descriptor 2 itself, stay as they are.

    Any number of threads can be in it: the first turns `stderr` off and the last turns it on again. Both streams stay
    open, so at worst another thread's message is lost meanwhile. It works on glibc only, where `stderr` is a variable;
    elsewhere it does nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._variable: ctypes.c_void_p | None = None
        self._real: int | None = None
        self._null: int | None = None
        self._tried = False
        _all.add(self)

    def __enter__(self) -> None:
        with self._lock:
            if not self._tried:
                self._tried = True
                self._find()
            self._inside += 1
            if self._inside == 1 and self._variable is not None and self._null:
                self._real = self._variable.value
                self._variable.value = self._null

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._restore()

    def _find(self) -> None:
        if _is_glibc():
            libc = ctypes.CDLL(None)
            libc.fopen.restype = ctypes.c_void_p
            self._null = libc.fopen(b"/dev/null", b"we")
            self._variable = ctypes.c_void_p.in_dll(libc, "stderr")

    def _restore(self) -> None:
        if self._real is not None and self._variable is not None:
            self._variable.value = self._real
            self._real = None

    def _fresh_process(self) -> None:
        # the threads that had entered do not exist in the child
        self._lock = threading.Lock()
        self._inside = 0
        self._restore()


_all = Instances(in_child=CQuiet._fresh_process)
c_quiet = CQuiet()
