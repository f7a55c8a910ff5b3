"""How many threads compute a step: all, or half of them while other programs want the cores.

A step is some forty parallel regions, each of which waits for its slowest thread. If one of them is
pushed off its core, all wait, and fewer threads are faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

_FORGET = 0.995
"""What a step counts for, after another: the number of threads not in use is tried now and then."""


class Threads:
    """Computes each step with all threads or with half of them, whichever was faster of late.

    For steps whose result does not depend on it. The first step with a number of rows is computed
    with both; if the results differ, all threads compute from then on.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds: dict[int, list[float]] = {}
        """What a step takes, by its number of rows: with all threads, and with half of them."""
        self._last = (0, 0)
        self._same = True

    def run(self, step: Callable[[], Tensor], rows: int) -> Tensor:
        """Return the result of `step`, which may be called twice."""
        threads = torch.get_num_threads()
        if threads == 1 or not self._same:
            return step()
        if rows not in self._seconds:
            other, seconds = self._timed(step, threads // 2, threads)
            result, spent = self._timed(step, threads, threads)
            self._seconds[rows] = [spent, seconds]
            self._same = torch.equal(result, other)
            return result
        known = self._seconds[rows]
        half = int(known[1] < known[0])
        result, spent = self._timed(step, threads // 2 if half else threads, threads)
        if (rows, half) == self._last:  # a single slow step says little
            known[half] += (min(spent, 2 * known[half]) - known[half]) / 4
        else:
            known[half] = min(spent, 2 * known[1 - half])
        known[1 - half] *= _FORGET
        self._last = (rows, half)
        return result

    def _timed(self, step: Callable[[], Tensor], threads: int, usual: int) -> tuple[Tensor, float]:
        before = self._clock()
        torch.set_num_threads(threads)
        try:
            return step(), self._clock() - before
        finally:
            torch.set_num_threads(usual)
