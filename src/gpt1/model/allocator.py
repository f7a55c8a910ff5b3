"""What the C library does with freed memory: keep it while a model trains, then give it back."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Make glibc keep the blocks that a training step frees, for the next step.

    By default it returns blocks over 32 MB to the system at once, which zeroes each page when it is
    asked for again: at every step, for every activation. Other C libraries are left as they are.
    """
    _call("mallopt", _M_MMAP_THRESHOLD, _LARGEST)
    _call("mallopt", _M_TRIM_THRESHOLD, _LARGEST)


def return_freed_memory() -> None:
    """Give the system the blocks that are kept: now and then in a run, and after it.

    Batches of many shapes leave gaps of many sizes between the blocks in use.
    """
    _call("malloc_trim", 0)


def _call(name: str, *numbers: int) -> None:
    if sys.platform != "linux":
        return
    try:
        function = getattr(ctypes.CDLL(None), name)
    except AttributeError:  # musl has neither
        return
    function(*numbers)
