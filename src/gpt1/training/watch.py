"""Heartbeats in torchrun's store, so that no rank waits for ever for one that died or froze."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import sys
import threading
import time
from typing import Any

import torch.distributed as dist

SILENCE = 20.0
"""Seconds without a heartbeat after which a rank counts as dead."""
_SILENCE_AFTER_ALARM = 5.0  # the same, once a rank has lost a connection
_BEAT = 1.0


class Watch:
    """A thread that keeps this rank's heartbeat and watches the next rank's.

    In the store, process/R names the process of rank R, beat/R counts up while it lives, left/R is
    set once it has left, and `failure` names the rank that failed: every rank prints it and ends.
    """

    def __init__(self, rank: int, count: int) -> None:
        self._rank, self._next = rank, (rank + 1) % count
        self._stopped = threading.Event()
        self._machine = f"{os.environ.get('GROUP_RANK', 0)} {platform.node()}"
        # a connection of its own: the main thread may hold the other one while it waits
        store: Any = dist.distributed_c10d._get_default_store()
        restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)  # they share a store
        self._store = dist.distributed_c10d.PrefixStore(f"gpt1/{restarts}", store.clone())
        self._store.set(f"process/{rank}", f"{os.getpid()} {self._machine}")
        self._thread = threading.Thread(target=self._run, name="gpt1-watch", daemon=True)
        self._thread.start()

    def leave(self, failure: str = "") -> None:
        """Tell the other ranks that this one leaves; a `failure` ends them too."""
        with contextlib.suppress(RuntimeError):
            self._store.set(f"left/{self._rank}", "1")
            if failure and not self._get("failure"):
                self._fail(self._rank, failure)

    def wait_for_failure(self) -> None:
        """Report a broken connection and wait for a rank to be named, which ends this process.

        SIGTERM is ignored meanwhile: the launcher sends it to all ranks as soon as one is gone.
        """
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with contextlib.suppress(RuntimeError):
            self._store.set("alarm", "1")
        self._thread.join(SILENCE)

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join(timeout=2 * _BEAT)

    def _run(self) -> None:
        beat, heard = -1, time.monotonic()
        try:
            while not self._stopped.wait(_BEAT):
                self._store.add(f"beat/{self._rank}", 1)
                if (failure := self._get("failure")) and not self._stopped.wait(2 * _BEAT):
                    self._die(failure)  # the main thread had its time to end by itself
                latest = self._store.add(f"beat/{self._next}", 0)
                if latest != beat or self._get(f"left/{self._next}"):
                    beat, heard = latest, time.monotonic()
                silence = time.monotonic() - heard
                if silence > (_SILENCE_AFTER_ALARM if self._get("alarm") else SILENCE):
                    self._fail(
                        self._next,
                        f"died or is frozen: it gave no sign for {silence:.0f} s. --resume "
                        f"continues from the last checkpoint.",
                    )
                    self._kill_next()
        except RuntimeError:  # the store is gone, and with it the launcher
            if not self._stopped.is_set():
                self._die("the launcher, which keeps the ranks together, is gone.")

    def _fail(self, rank: int, reason: str) -> None:
        pid, _, host = (self._get(f"process/{rank}") or "? ? ?").split(" ", 2)
        self._store.set("failure", f"rank {rank} (process {pid} on {host}) {reason}")

    def _die(self, failure: str) -> None:
        """End this process, whatever its main thread waits for."""
        print(f"gpt1: {failure}", file=sys.stderr, flush=True)
        os._exit(1)

    def _kill_next(self) -> None:
        """Kill the silent rank if it is on this machine: a stopped process would stay there."""
        pid, _, machine = self._get(f"process/{self._next}").partition(" ")
        if machine == self._machine:
            with contextlib.suppress(OSError):
                os.kill(int(pid), signal.SIGKILL)

    def _get(self, key: str) -> str:
        """Return a value, "" if there is none yet, without waiting for it."""
        return bytes(self._store.get(key)).decode() if self._store.check([key]) else ""
