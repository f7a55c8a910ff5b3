"""Publish folders and files by renaming: there is the old one or the new one, never a part."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from gpt1.errors import StorageError
from gpt1.storage import system
from gpt1.storage.reader import MANIFEST, Folder, check_name, existing, old_name
from gpt1.storage.system import wrap_os_errors


class FolderWriter:
    """Write a folder that appears complete or not at all.

    with FolderWriter("out") as folder:
        folder.add("a.txt", b"bytes, or an iterable of them")

    Leaving the block publishes it; an exception removes it. With `replace` it may take the place of
    a folder with a manifest; anything else in the way is an error. Raises StorageError.
    """

    def __init__(self, path: Path | str, *, replace: bool = False) -> None:
        self.path = Path(path)
        self._replace = replace
        self._files: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        check_free(self.path, replace=self._replace)
        make_folder(self.path.parent)
        with wrap_os_errors("create a folder in", self.path.parent):
            self._folder = _beside(self.path, "new")
            system.disk.make_folder(self._folder)
        return self

    def add(self, name: str, data: bytes | Iterable[bytes | memoryview]) -> None:
        """Write one file and flush it to the disk."""
        check_name(name, self.path)
        chunks = (data,) if isinstance(data, bytes) else data
        with wrap_os_errors("write", self.path / name):
            self._files[name] = _write_new(self._folder / name, chunks)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        published = False
        try:
            if kind is None:
                self._publish()
                published = True
        finally:
            if not published:
                self._discard()

    def _publish(self) -> None:
        self.add(MANIFEST, json_bytes({"files": dict(sorted(self._files.items()))}))
        with wrap_os_errors("put in place", self.path):
            system.disk.flush_folder(self._folder)
            if self.path.exists():
                system.disk.rename(self.path, old_name(self.path))
            system.disk.rename(self._folder, self.path)
            try:
                system.disk.flush_folder(self.path.parent)
            except OSError:
                system.disk.rename(self.path, self._folder)  # take it back: refused is refused
                raise
        _repair(self.path)

    def _discard(self) -> None:
        with contextlib.suppress(OSError):
            system.disk.remove(self._folder)
        with contextlib.suppress(StorageError, OSError):
            _repair(self.path)


def check_free(path: Path | str, *, replace: bool = False) -> None:
    """Raise StorageError if something is at `path`.

    An empty folder is not in the way; nor, with `replace`, one that has a manifest.
    """
    path = Path(path)
    _repair(path)
    with wrap_os_errors("create", path):
        occupied = path.exists() and (not path.is_dir() or any(path.iterdir()))
        replaceable = replace and (path / MANIFEST).is_file()
    if occupied and not replaceable:
        raise StorageError(
            f"{path} is already there; gpt1 does not write over what it has not made. "
            f"Choose another folder, or move that one away."
        )


def _beside(path: Path, purpose: str) -> Path:
    return Path(tempfile.mktemp(prefix=f".{path.name}.{purpose}-", dir=path.parent))


def _repair(path: Path) -> None:
    """Finish a replacement: remove the old folder, or put it back if the new one never came."""
    old = old_name(path)
    with wrap_os_errors("create", path):
        if old.is_dir() and not path.exists():
            system.disk.rename(old, path)
        elif old.is_dir():
            with contextlib.suppress(StorageError):  # if it stays, it does no harm
                _remove(old)


def write_folder(
    path: Path | str, files: Mapping[str, bytes | Iterable[bytes]], *, replace: bool = False
) -> None:
    """Write `files` (name -> bytes) as one atomic folder with a manifest. Raises StorageError.

    With `replace` it may take the place of a folder all of whose files are among `files`: a model
    replaces a model, not shards.
    """
    if replace and (existing(Path(path)) / MANIFEST).is_file():
        replace = set(Folder(path).names()) <= set(files)
    with FolderWriter(path, replace=replace) as folder:
        for name, data in files.items():
            folder.add(name, data)


def write_file(path: Path | str, data: bytes) -> None:
    """Write one file so that a reader sees the old or the new one. Raises StorageError."""
    path = Path(path)
    make_folder(path.parent)
    with wrap_os_errors("write", path):
        new = _beside(path, "new")
        try:
            _write_new(new, (data,))
            system.disk.rename(new, path)
            system.disk.flush_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                system.disk.remove(new)
            raise


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents, durably. Raises StorageError."""
    with wrap_os_errors("create", path):
        missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
        for folder in reversed(missing):
            try:
                system.disk.make_folder(folder)
            except FileExistsError:
                if not folder.is_dir():  # else another process was faster
                    raise
            # or a power loss removes it with all that is in it
            system.disk.flush_folder(folder.parent)


def remove(path: Path) -> None:
    """Remove a file or folder so that no part of it is ever read. Raises StorageError."""
    if old_name(path).is_dir():
        _remove(old_name(path))  # first, or readers would find it in place of `path`
    _remove(path)


def _remove(path: Path) -> None:
    gone = _beside(path, "gone")
    with wrap_os_errors("remove", path):
        system.disk.rename(path, gone)
        system.disk.remove(gone)


def clean_up(path: Path) -> None:
    """Finish what killed writers left in the folder `path`, where nobody else may be writing."""
    for pattern in (".*.new-*", ".*.gone-*"):
        for leftover in path.glob(pattern):
            with contextlib.suppress(OSError):
                system.disk.remove(leftover)
    for old in path.glob(".*.old"):
        with contextlib.suppress(StorageError):
            _repair(path / old.name[1:].removesuffix(".old"))


def _write_new(path: Path, chunks: Iterable[bytes | memoryview]) -> dict[str, Any]:
    """Write and flush a new file; return its entry in a manifest. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    fd = system.disk.create(path)
    try:
        for chunk in chunks:
            system.write_all(fd, chunk)
            digest.update(chunk)
            size += len(chunk)
        system.disk.flush(fd)
    finally:
        os.close(fd)
    return {"bytes": size, "sha256": digest.hexdigest()}


def json_bytes(value: Any) -> bytes:
    """Return `value` as the indented JSON that gpt1 writes."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
