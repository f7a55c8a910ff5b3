"""Disks that stop, refuse or remember, and a saver that is broken on purpose."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from gpt1 import storage

CALLS = tuple(name for name in vars(storage.Disk) if not name.startswith("_"))


class Hooked(storage.Disk):
    """A disk with a hook around each of its calls."""

    def around(self, name: str, real: Callable[..., Any], *arguments: Any) -> Any:
        """Make the call that `real` is, or something else."""
        return real(*arguments)


def _hook(name: str) -> Callable[..., Any]:
    def call(self: Hooked, *arguments: Any) -> Any:
        return self.around(name, getattr(super(Hooked, self), name), *arguments)

    return call


for _name in CALLS:
    setattr(Hooked, _name, _hook(_name))


def half(name: str, real: Callable[..., Any], *arguments: Any) -> None:
    """Do a call's work in part: half of the bytes, the first files of a folder; others whole."""
    if name == "write":
        real(arguments[0], memoryview(arguments[1])[: len(arguments[1]) // 2])
    elif name == "remove" and arguments[0].is_dir():
        for file in sorted(arguments[0].iterdir())[::2]:
            file.unlink()
    else:
        real(*arguments)


class Dying(Hooked):
    """A disk whose call number `at` is the process's last: not begun, or half done if `torn`."""

    def __init__(self, at: int, torn: bool) -> None:
        self.at, self.torn, self.made = at, torn, 0

    def around(self, name: str, real: Callable[..., Any], *arguments: Any) -> Any:
        self.made += 1
        if self.made == self.at:
            if self.torn:
                half(name, real, *arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)


@contextlib.contextmanager
def using(disk: storage.Disk) -> Iterator[None]:
    """Let storage use another disk within the block."""
    with mock.patch.object(storage.system, "disk", disk):
        yield


@contextlib.contextmanager
def in_place() -> Iterator[None]:
    """Let folders be written where they will stand, file by file, the manifest last."""

    def enter(self: storage.FolderWriter) -> storage.FolderWriter:
        if self.path.exists():
            storage.system.disk.remove(self.path)
        storage.make_folder(self.path)
        self._folder = self.path
        return self

    def publish(self: storage.FolderWriter) -> None:
        self.add(storage.MANIFEST, storage.json_bytes({"files": self._files}))
        storage.system.disk.flush_folder(self.path)

    writer = storage.FolderWriter
    with mock.patch.multiple(writer, __enter__=enter, _publish=publish):
        yield
