"""Calls to the system: the disk behind one object, and its errors as StorageError."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gpt1.errors import StorageError

_CHUNK = 1 << 22
BINARY = getattr(os, "O_BINARY", 0)  # without it Windows changes line endings
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # a link in a folder must not lead a writer out of it
_NO_REPLACE, _EXCHANGE = 1, 2
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.ENOTSUP)


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
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | NO_FOLLOW | BINARY, 0o644)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write some of `data`; return how many bytes."""
        return os.write(fd, data)

    def flush(self, fd: int) -> None:
        """Make a file's bytes survive a power loss."""
        os.fsync(fd)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file or folder another name; a file that has it already is replaced."""
        os.replace(old, new)

    def rename_new(self, old: Path, new: Path) -> None:
        """Give a file or folder a name that nothing has. Raises FileExistsError."""
        if _rename(old, new, _NO_REPLACE):
            return
        if os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(new))
        if old.is_dir():
            os.rename(old, new)  # which never takes the place of a file or of a folder with content
            return
        os.link(old, new)
        old.unlink()

    def exchange(self, new: Path, path: Path) -> None:
        """Swap the names of two files or folders; in between, readers find `path` by `existing`."""
        if _rename(new, path, _EXCHANGE):
            return
        old = temporary_name(path, "old")
        os.rename(path, old)
        try:
            os.rename(new, path)
        except OSError:
            os.rename(old, path)
            raise
        os.rename(old, new)

    def truncate(self, path: Path, size: int) -> None:
        """Shorten a file to `size` bytes."""
        fd = os.open(path, os.O_WRONLY | NO_FOLLOW | BINARY)
        try:
            os.ftruncate(fd, size)
        finally:
            os.close(fd)

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


def temporary_name(path: Path, purpose: str) -> Path:
    """Return a name beside `path` that nothing has, for "new", "old" or "gone" content."""
    return Path(tempfile.mktemp(prefix=temporary_prefix(path, purpose), dir=path.parent))


def temporary_prefix(path: Path, purpose: str) -> str:
    """Return how the temporary names begin that belong to `path`."""
    name = os.fsdecode(os.fsencode(path.name)[:200])  # a name has at most 255 bytes
    return f".{name}.{purpose}-gpt1-"


def _rename(old: Path, new: Path, flags: int) -> bool:
    """Rename as Linux and macOS can, in one step; return False where the system cannot."""
    library = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    names = os.fsencode(old), os.fsencode(new)
    if hasattr(library, "renameat2"):
        here = -100  # paths are relative to the working directory
        failed = library.renameat2(here, names[0], here, names[1], flags)  # type: ignore[union-attr]
    elif sys.platform == "darwin":
        failed = library.renamex_np(*names, {_NO_REPLACE: 4, _EXCHANGE: 2}[flags])
    else:
        return False
    number = ctypes.get_errno()
    if failed and number not in _UNSUPPORTED:
        raise OSError(number, os.strerror(number), str(new))
    return not failed


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
        if action != "read" and error.errno == errno.ELOOP and path.is_symlink():
            reason = "it is a symbolic link, which could lead anywhere"
            remedy = "Remove the link."
        raise StorageError(f"could not {action} {path}: {reason}. {remedy}") from error


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data`, however little the system takes at once. Raises OSError."""
    view = memoryview(data)
    while view:
        written = disk.write(fd, view[:_CHUNK])
        if written <= 0:
            raise OSError(5, "short write")
        view = view[written:]
