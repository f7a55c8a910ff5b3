"""What shows that a command that fails harms nothing: snapshots, damage, disks that refuse."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

import tiny
from gpt1 import storage
from gpt1.checkpoint import folder

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


def damage_head(sound: Path, target: Path, damage: str) -> None:
    """Copy a fine-tuned model, and damage its head or what is said of it."""
    shutil.copytree(sound, target)
    head = target / folder.HEAD
    if damage == "bytes":
        flip(head)
        return
    if damage == "gone":
        head.unlink()
        return
    (target / storage.MANIFEST).unlink()  # as another tool would have left it
    width = tiny.config().n_embd
    if damage == "lost":
        head.unlink()
    elif damage == "other":
        own = json.loads((target / folder.OWN).read_text())
        (target / folder.OWN).write_text(json.dumps(own | {"task": {"kind": "poetry"}}))
    else:
        shapes = {"shape": (3, width + 1), "wide": (9, width)}[damage]
        parts = {"weight": torch.zeros(shapes), "bias": torch.zeros(shapes[0])}
        head.write_bytes(safetensors.torch.save(parts))


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
