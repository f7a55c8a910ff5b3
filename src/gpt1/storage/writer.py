"""Publish folders and files by renaming: there is the old one or the new one, never a part."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from gpt1.errors import StorageError
from gpt1.storage import system
from gpt1.storage.reader import MANIFEST, Folder, check_name, old_folders
from gpt1.storage.system import temporary_name, wrap_os_errors

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_TEMPORARY = re.compile(r"\..+\.(new|gone)-gpt1-\w{8}")


class FolderWriter:
    """Write a folder that appears complete or not at all.

    with FolderWriter("out") as folder:
        folder.add("a.txt", b"bytes, or an iterable of them")

    Leaving the block publishes it; an exception removes it. Nothing is replaced but what
    `check_free` allowed at the start, unchanged since. Raises StorageError.
    """

    def __init__(self, path: Path | str, *, replaceable: Collection[str] = ()) -> None:
        path = Path(path)
        with wrap_os_errors("create", path):
            self.path = path.resolve() if path.is_symlink() else path
        self._replaceable = replaceable
        self._files: dict[str, dict[str, Any]] = {}
        self._hold = contextlib.ExitStack()

    def __enter__(self) -> Self:
        make_folder(self.path.parent)
        clean_up(self.path.parent)
        self._present = check_free(self.path, self._replaceable)
        with wrap_os_errors("create a folder in", self.path.parent):
            self._folder = temporary_name(self.path, "new")
            system.disk.make_folder(self._folder)
            self._hold.enter_context(held(self._folder))
        return self

    def add(self, name: str, data: bytes | Iterable[bytes | memoryview]) -> None:
        """Write one file and flush it to the disk."""
        check_name(name, self.path)
        chunks = (data,) if isinstance(data, bytes) else data
        with wrap_os_errors("write", self.path / name):
            self._files[name] = _write_new(self._folder / name, chunks)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        published = False
        with self._hold:
            try:
                if kind is None:
                    self._publish()
                    published = True
            finally:
                if not published:
                    self._discard()

    def _publish(self) -> None:
        self.add(MANIFEST, json_bytes({"files": dict(sorted(self._files.items()))}))
        disk, new = system.disk, self._folder
        with wrap_os_errors("put in place", self.path):
            disk.flush_folder(new)
            put = disk.rename_new if self._present is None else disk.exchange
            try:
                put(new, self.path)
            except (FileExistsError, FileNotFoundError):
                raise _changed(self.path) from None
            try:
                if self._present is not None and _content(new) != self._present:
                    raise _changed(self.path)
                disk.flush_folder(self.path.parent)
            except (OSError, StorageError):  # take it back: refused is refused
                disk.rename(self.path, new) if self._present is None else put(new, self.path)
                raise
        if self._present is not None:
            self._discard()

    def _discard(self) -> None:
        """Remove what is at the temporary name: what was refused, or replaced."""
        with contextlib.suppress(OSError):
            system.disk.remove(self._folder)


_Content = dict[str, tuple[int, ...]]
"""The files of a folder, and the folder itself as ".": what changes when they do."""


def check_free(path: Path | str, replaceable: Collection[str] = ()) -> _Content | None:
    """Return what is at `path` and may be replaced; raise StorageError if it may not.

    Nothing (None) and an empty folder are not in the way; nor is a folder that gpt1 wrote if all of
    its files are among `replaceable`: a model replaces a model, not shards.
    """
    path = Path(path)
    with wrap_os_errors("create", path):
        for old in old_folders(path):
            if not os.path.lexists(path):
                system.disk.rename_new(old, path)
            else:
                with contextlib.suppress(OSError):  # if it stays, it does no harm
                    system.disk.remove(old)
        if not os.path.lexists(path):
            return None
        content = _content(path)
        if content is not None and content.keys() == {"."}:
            return content
    if replaceable and content is not None and MANIFEST in content:
        files = content.keys() - {".", MANIFEST}
        if files <= {*replaceable} and files <= {*Folder(path).names()}:
            return content
    raise StorageError(
        f"{path} is already there; gpt1 does not write over what it has not made. "
        f"Choose another folder, or move that one away."
    )


def _content(path: Path) -> _Content | None:
    """Return the files of a folder as they are now, None for what is no folder. Raises OSError."""
    if path.is_symlink() or not path.is_dir():
        return None
    stats = {entry.name: entry.stat(follow_symlinks=False) for entry in os.scandir(path)}
    files = {name: (s.st_ino, s.st_size, s.st_mtime_ns) for name, s in stats.items()}
    return {**files, ".": (path.stat().st_ino,)}


def _changed(path: Path) -> StorageError:
    return StorageError(
        f"{path} was made or changed by something else while this command ran, and is left as it "
        f"is. Run it again with another folder or file to write to."
    )


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep `path` locked within the block: others see that its writer lives. Raises OSError."""
    if fcntl is None:  # Windows
        yield
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def write_folder(
    path: Path | str,
    files: Mapping[str, bytes | Iterable[bytes | memoryview]],
    *,
    replace: bool = False,
) -> None:
    """Write `files` (name -> content) as one atomic folder with a manifest. Raises StorageError.

    With `replace` it may take the place of a folder all of whose files are among `files`.
    """
    with FolderWriter(path, replaceable=files.keys() if replace else ()) as folder:
        for name, data in files.items():
            folder.add(name, data)


def write_file(
    path: Path | str, data: bytes | Iterable[bytes | memoryview], *, replace: bool = False
) -> None:
    """Write one file so that a reader sees all of it or nothing. Raises StorageError.

    With `replace` it takes the place of whatever file is there.
    """
    path = Path(path)
    make_folder(path.parent)
    clean_up(path.parent)
    with wrap_os_errors("write", path):
        new = temporary_name(path, "new")
        try:
            _write_new(new, (data,) if isinstance(data, bytes) else data)
            with held(new):
                if replace:
                    system.disk.rename(new, path)
                else:
                    system.disk.rename_new(new, path)
            system.disk.flush_folder(path.parent)
        except FileExistsError:
            raise _changed(path) from None
        finally:
            with contextlib.suppress(OSError):
                new.lstat()
                system.disk.remove(new)


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
    with wrap_os_errors("remove", path), held(path):
        for old in old_folders(path):
            system.disk.remove(old)  # first, or readers would find it in place of `path`
        gone = temporary_name(path, "gone")
        system.disk.rename(path, gone)
        system.disk.remove(gone)


def clean_up(path: Path) -> None:
    """Remove what killed writers left in the folder `path`."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        for leftover in filter(_TEMPORARY.fullmatch, os.listdir(path)):
            with contextlib.suppress(OSError):
                fd = os.open(path / leftover, os.O_RDONLY | os.O_NONBLOCK | system.NO_FOLLOW)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its writer lives
                    system.disk.remove(path / leftover)
                finally:
                    os.close(fd)


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
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace")  # a lone surrogate becomes its JSON escape
