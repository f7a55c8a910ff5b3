"""What the C library does with freed memory: keep it while a model trains, then give it back."""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST = 2**31 - 1
_USUAL = 1 << 25  # the most that glibc sets by itself
_GROWTH = 1.02


def keep_freed_memory(keep: bool = True) -> None:
    """Make glibc keep the blocks that a training step frees, for the next step; or do so no more.

    By default it returns blocks over 32 MB to the system at once, which zeroes each page when it is
    asked for again: at every step, for every activation. Other C libraries are left as they are.
    """
    _call("mallopt", _M_MMAP_THRESHOLD, _LARGEST if keep else _USUAL)
    _call("mallopt", _M_TRIM_THRESHOLD, _LARGEST if keep else _USUAL)
    if not keep:
        return_freed_memory()


def return_freed_memory() -> None:
    """Give the system the blocks that are kept."""
    _call("malloc_trim", 0)


class Gaps:
    """The gaps that batches of many shapes leave between the blocks in use."""

    def __init__(self) -> None:
        self._limit = 0.0

    def limit(self) -> None:
        """Give kept blocks back if resident memory has grown by a fiftieth since the last time.

        Batches of one shape fill the gaps that they leave, and cost nothing here.
        """
        resident = _own_size(1)
        if resident > self._limit > 0:
            return_freed_memory()
            self._limit = 0
        elif not self._limit:
            self._limit = _GROWTH * resident


def address_space_left() -> int:
    """Return the bytes of addresses that the system still allows (ulimit -v), without one many."""
    try:
        import resource
    except ImportError:  # Windows
        return sys.maxsize
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit - _own_size(0)


def _own_size(kind: int) -> int:
    """Return this process's bytes of addresses (0) or in memory (1), 0 where Linux doesn't tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[kind]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _call(name: str, *numbers: int) -> None:
    if sys.platform != "linux":
        return
    try:
        function = getattr(ctypes.CDLL(None), name)
    except AttributeError:  # musl has neither
        return
    function(*numbers)
