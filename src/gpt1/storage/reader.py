"""Read folders, every byte verified; nothing on the disk is changed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpt1.errors import CheckpointError, CorruptError
from gpt1.storage.system import BINARY, temporary_prefix, wrap_os_errors

MANIFEST = "manifest.json"


class Folder:
    """A folder opened for reading; every byte is checked against the manifest.

    `verified` tells whether there is a manifest. Raises CheckpointError if the folder is missing,
    CorruptError if a file differs or is missing.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._sound: set[str] = set()  # the files that were compared
        with wrap_os_errors("read", self.path):
            self.path = existing(self.path)
            if not self.path.is_dir():
                raise CheckpointError(f"there is no folder {self.path}. Check the path.")
            manifest = self.path / MANIFEST
            self.verified = manifest.is_file()
            data = manifest.read_bytes() if self.verified else b'{"files": {}}'
        try:
            self._files = {name: {**entry} for name, entry in json.loads(data)["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise CorruptError(f"{manifest} is damaged. Restore the folder from a copy.") from None

    def __contains__(self, name: str) -> bool:
        return name in self.names()

    def names(self) -> list[str]:
        """Return the names of the files, in order."""
        if self.verified:
            return sorted(self._files)
        with wrap_os_errors("read", self.path):
            return sorted(item.name for item in self.path.iterdir() if item.is_file())

    def sha256(self, name: str) -> str:
        """Return the recorded hash of a file of a folder with a manifest."""
        return str(self._files[name]["sha256"])

    def verify(self) -> None:
        """Check every file of a folder with a manifest that was not read yet."""
        for name in [n for n in self.names() if n not in self._sound] if self.verified else ():
            with self._open(name) as file:
                self._compare_file(name, file)

    def read(self, name: str) -> bytes:
        """Return a file's bytes, verified."""
        with self._open(name) as file:
            data = file.readall()
        self._compare(name, len(data), hashlib.sha256(data).hexdigest())
        return data

    def json(self, name: str) -> Any:
        """Return a file's JSON value, verified."""
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{self.path / name} is not JSON: {error}") from None

    def map(self, name: str) -> mmap.mmap | bytes:
        """Return a file's bytes without holding them in memory, verified."""
        with self._open(name) as file:
            self._compare_file(name, file)
            empty = not os.fstat(file.fileno()).st_size  # which cannot be mapped
            return b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[io.FileIO]:
        check_name(name, self.path)
        path = self.path / name
        if self.verified and name not in self._files and name != MANIFEST:
            raise self._lacks(name)
        # without O_NONBLOCK a pipe would keep us waiting for a writer
        flags = os.O_RDONLY | BINARY | getattr(os, "O_NONBLOCK", 0)
        with wrap_os_errors("read", path):
            try:
                fd = os.open(path, flags)
            except FileNotFoundError:
                if self.verified:
                    raise CorruptError(f"{path} is gone. Restore the folder from a copy.") from None
                raise self._lacks(name) from None
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise CheckpointError(f"{path} is not a plain file.")
                yield io.FileIO(fd, closefd=False)
            finally:
                os.close(fd)

    def _compare_file(self, name: str, file: io.FileIO) -> None:
        """Compare what is read, not mapped: there, a disk's error would end the process."""
        if self.verified:
            digest = hashlib.file_digest(file, "sha256")
            self._compare(name, file.tell(), digest.hexdigest())

    def _compare(self, name: str, size: int, sha256: str) -> None:
        if self.verified and self._files.get(name) != {"bytes": size, "sha256": sha256}:
            raise CorruptError(
                f"{self.path / name} is not what was written (its SHA-256 differs from the "
                f"manifest's). Restore the folder from a copy."
            )
        self._sound.add(name)

    def _lacks(self, name: str) -> CheckpointError:
        names = self.names()
        listing = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") or "nothing"
        return CheckpointError(f"{self.path} has no file {name}; it holds {listing}.")


def existing(path: Path) -> Path:
    """Return `path`, or the folder it was to replace if a crash came before the new one did."""
    return path if os.path.lexists(path) else next(iter(old_folders(path)), path)


def old_folders(path: Path) -> list[Path]:
    """Return the folders that were renamed to make room at `path`, where that takes two steps."""
    prefix = temporary_prefix(path, "old")
    try:
        names = [name for name in os.listdir(path.parent) if name.startswith(prefix)]
    except OSError:
        return []
    return [f for f in map(path.parent.joinpath, sorted(names)) if (f / MANIFEST).is_file()]


def check_name(name: str, folder: Path) -> None:
    """Refuse names that lead out of the folder."""
    if name in ("", ".", "..") or any(c in name for c in "/\\\0:"):
        raise CheckpointError(f"{name!r} in {folder} is not a plain file name.")
