"""What shows that a command that fails harms nothing: snapshots, damage, disks that refuse."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gpt1 import storage

State = dict[str, tuple[int, int, int]]


def snapshot(work: Path) -> State:
    """Return what is in a folder: name -> inode, size and time of the last change.

    A run's lock alone may be opened for writing by who looks into it.
    """
    state = {}
    for at, folders, files in os.walk(work):
        for name in files:
            stat = os.stat(os.path.join(at, name))
            changed = 0 if name == "lock" else stat.st_mtime_ns
            where = os.path.relpath(os.path.join(at, name), work)
            state[where] = (stat.st_ino, stat.st_size, changed)
        for name in folders:
            state[os.path.relpath(os.path.join(at, name), work)] = (0, 0, 0)
    return state


def flip(file: Path) -> None:
    """Change one bit of a file."""
    data = bytearray(file.read_bytes())
    data[-9] ^= 4
    file.write_bytes(data)


class Refusing(storage.Disk):
    """A disk that refuses some kinds of call, from the n-th on."""

    def __init__(self, kinds: tuple[str, ...], number: int, n: int = 1) -> None:
        self._left = n
        for kind in kinds:
            setattr(self, kind, self._refusing(getattr(self, kind), number))

    def _refusing(self, call: Any, number: int) -> Any:
        def refusing(*arguments: Any) -> Any:
            self._left -= 1
            if self._left <= 0:
                raise OSError(number, os.strerror(number))
            return call(*arguments)

        return refusing
