"""Calls to the system: the disk behind one object, and its errors as StorageError."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from gpt1.errors import StorageError

_CHUNK = 1 << 22
BINARY = getattr(os, "O_BINARY", 0)  # without it Windows changes line endings


class Disk:
    """Every call that changes the disk, in one place, so that tests can make it fail or stop."""

    def make_folder(self, path: Path) -> None:
        """Make one folder."""
        path.mkdir()

    def create(self, path: Path) -> int:
        """Open a file that does not exist yet for writing; return its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, 0o644)

    def open_append(self, path: Path) -> int:
        """Open a file for writing at its end; return its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | BINARY, 0o644)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write some of `data`; return how many bytes."""
        return os.write(fd, data)

    def flush(self, fd: int) -> None:
        """Make a file's bytes survive a power loss."""
        os.fsync(fd)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file or folder another name."""
        os.replace(old, new)

    def truncate(self, path: Path, size: int) -> None:
        """Shorten a file to `size` bytes."""
        os.truncate(path, size)

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder with its content."""
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def flush_folder(self, path: Path) -> None:
        """Make the names in a folder survive a power loss."""
        if os.name == "nt":
            return  # Windows cannot open a folder to flush it; its rename is journalled
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


disk = Disk()


@contextlib.contextmanager
def wrap_os_errors(action: str, path: Path) -> Iterator[None]:
    """Raise StorageError for an OSError within the block; `action` is "read", "write", ..."""
    try:
        yield
    except OSError as error:
        remedy = (
            "Check the path, and who may read it."
            if action == "read"
            else "Nothing that was there before is harmed; free some space or choose another "
            "place, and run it again."
        )
        reason = error.strerror or str(error)
        raise StorageError(f"could not {action} {path}: {reason}. {remedy}") from error


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data`, however little the system takes at once. Raises OSError."""
    view = memoryview(data)
    while view:
        written = disk.write(fd, view[:_CHUNK])
        if written <= 0:
            raise OSError(5, "short write")
        view = view[written:]
