"""The only writer and the only reader of what gpt1 keeps on disk.

A folder is written beside its place, every file flushed, `manifest.json` (sizes and SHA-256) last,
and then renamed: a reader sees the old folder or the new one, never a part. A reader verifies the
very bytes it returns. Folders of other tools have no manifest and are read as they are.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import mmap
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gpt1.errors import CheckpointError, CorruptError, StorageError

MANIFEST = "manifest.json"
_CHUNK = 1 << 22


class Disk:
    """Every call that changes the disk, in one place, so that tests can make it fail or stop."""

    def make_folder(self, path: Path) -> None:
        path.mkdir()

    def create(self, path: Path) -> int:
        return os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o644
        )

    def open_append(self, path: Path) -> int:
        return os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644
        )

    def write(self, fd: int, data: bytes | memoryview) -> int:
        return os.write(fd, data)

    def flush(self, fd: int) -> None:
        os.fsync(fd)

    def rename(self, old: Path, new: Path) -> None:
        os.replace(old, new)

    def truncate(self, path: Path, size: int) -> None:
        os.truncate(path, size)

    def remove(self, path: Path) -> None:
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def flush_folder(self, path: Path) -> None:
        if os.name == "nt":
            return  # Windows cannot open a folder to flush it; its rename is journalled
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


disk = Disk()


@contextlib.contextmanager
def refusals(doing: str, path: Path) -> Iterator[None]:
    """Turn the system's refusals within the block into StorageError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"could not {doing} {path}: {reason}. Nothing that was there before is harmed; "
            f"free some space or choose another place, and run it again."
        ) from error


def _write_all(fd: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        written = disk.write(fd, view[:_CHUNK])
        if written <= 0:
            raise OSError(5, "short write")
        view = view[written:]


class FolderWriter:
    """Write a folder that appears whole or not at all.

    with FolderWriter("out") as folder:
        folder.add("a.txt", b"bytes, or an iterable of them")

    Leaving the block normally publishes it; leaving it by an exception removes it. `replace` allows
    an earlier folder with a manifest to be replaced; anything else in the way is an error.
    Raises StorageError.
    """

    def __init__(self, path: Path | str, *, replace: bool = False) -> None:
        self.path = Path(path)
        self._replace = replace
        self._files: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        path = self.path
        check_free(path, replace=self._replace)
        make_folder(path.parent)
        with refusals("create a folder in", path.parent):
            self._folder = Path(tempfile.mktemp(prefix=f".{path.name}.new-", dir=path.parent))
            disk.make_folder(self._folder)
        return self

    def add(self, name: str, data: bytes | Iterable[bytes | memoryview]) -> None:
        """Write one file, flushed to disk."""
        _check_name(name, self.path)
        digest, size = hashlib.sha256(), 0
        with refusals("write", self.path / name):
            fd = disk.create(self._folder / name)
            try:
                for chunk in (data,) if isinstance(data, bytes) else data:
                    _write_all(fd, chunk)
                    digest.update(chunk)
                    size += len(chunk)
                disk.flush(fd)
            finally:
                os.close(fd)
        self._files[name] = {"bytes": size, "sha256": digest.hexdigest()}

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            try:
                self._publish()
                return
            except BaseException:
                self._discard()
                raise
        self._discard()

    def _publish(self) -> None:
        self.add(MANIFEST, json_bytes({"files": dict(sorted(self._files.items()))}))
        old = _old(self.path)
        with refusals("put in place", self.path):
            disk.flush_folder(self._folder)
            try:
                if self.path.exists():
                    disk.rename(self.path, old)
                disk.rename(self._folder, self.path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                disk.rename(self.path, old)  # a reader put it back in between
                disk.rename(self._folder, self.path)
            try:
                disk.flush_folder(self.path.parent)
            except OSError:
                disk.rename(self.path, self._folder)  # take it back: refused is refused
                raise
        if old.exists():
            with contextlib.suppress(StorageError):
                remove(old)

    def _discard(self) -> None:
        with contextlib.suppress(OSError):
            disk.remove(self._folder)
        with contextlib.suppress(StorageError, OSError):
            _recover(self.path)


def check_free(path: Path | str, *, replace: bool = False) -> None:
    """Raise StorageError if a folder cannot be made at `path`, since something is there.

    An empty folder is not in the way; nor, with `replace`, one that has a manifest.
    """
    path = Path(path)
    with refusals("create", path):
        _recover(path)
        taken = path.exists() and (not path.is_dir() or any(path.iterdir()))
        ours = replace and (path / MANIFEST).is_file()
    if taken and not ours:
        raise StorageError(
            f"{path} is already there; gpt1 does not write over what it has not made. "
            f"Choose another folder, or move that one away."
        )


def _old(path: Path) -> Path:
    return path.parent / f".{path.name}.old"


def _recover(path: Path) -> None:
    """Finish what a crash between the two renames of a replacement left undone."""
    old = _old(path)
    if old.is_dir():
        if path.is_dir():
            with contextlib.suppress(StorageError):  # what is left over hinders nobody
                remove(old)
        else:
            with refusals("recover", path):
                disk.rename(old, path)


def write_folder(
    path: Path | str, files: Mapping[str, bytes | Iterable[bytes]], *, replace: bool = False
) -> None:
    """Write `files` (name -> bytes) as one atomic folder with a manifest. Raises StorageError.

    `replace` lets it take the place of a folder whose every file it brings anew: a model takes that
    of a model, not of shards.
    """
    if replace and (Path(path) / MANIFEST).is_file():
        replace = set(Folder(path).names()) <= set(files)
    with FolderWriter(path, replace=replace) as folder:
        for name, data in files.items():
            folder.add(name, data)


def write_file(path: Path | str, data: bytes) -> None:
    """Write one file so that a reader sees the old or the new one. Raises StorageError."""
    path = Path(path)
    make_folder(path.parent)
    with refusals("write", path):
        new = Path(tempfile.mktemp(prefix=f".{path.name}.new-", dir=path.parent))
        fd = disk.create(new)
        try:
            try:
                _write_all(fd, data)
                disk.flush(fd)
            finally:
                os.close(fd)
            disk.rename(new, path)
            disk.flush_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                disk.remove(new)
            raise


def make_folder(path: Path) -> None:
    """Make a folder and those above it, if they are not there, to stay. Raises StorageError."""
    with refusals("create", path):
        missing = [place for place in (path, *path.parents) if not place.is_dir()]
        for place in reversed(missing):
            try:
                disk.make_folder(place)
            except FileExistsError:
                if not place.is_dir():  # else another process was faster
                    raise
            disk.flush_folder(place.parent)  # or a power loss takes it and all that is in it


def remove_leftovers(path: Path) -> None:
    """Remove what writers and removers that were killed left in `path`; call it alone there."""
    for pattern in (".*.new-*", ".*.gone-*"):
        for left in path.glob(pattern):
            with contextlib.suppress(OSError):
                disk.remove(left)


def remove(path: Path) -> None:
    """Remove a file or folder: first out of its name, then for good, so no part is ever read."""
    gone = Path(tempfile.mktemp(prefix=f".{path.name}.gone-", dir=path.parent))
    with refusals("remove", path):
        disk.rename(path, gone)
        disk.remove(gone)


class Log:
    """An append-only file of JSON lines (metrics.jsonl). Raises StorageError."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def keep(self, lines: int) -> None:
        """Drop everything after the first `lines` lines: what a resumed run will write again."""
        if not self.path.exists():
            return
        with refusals("shorten", self.path):
            kept = b"".join(self.path.read_bytes().splitlines(keepends=True)[:lines])
            disk.truncate(self.path, len(kept))

    def append(self, *records: Mapping[str, Any]) -> None:
        """Write records at the end, a line each."""
        data = b"".join(json.dumps(record).encode() + b"\n" for record in records)
        with refusals("write", self.path):
            fd = disk.open_append(self.path)
            try:
                size = os.fstat(fd).st_size
                try:
                    _write_all(fd, data)
                    if not size:  # a new file: its name must last too
                        disk.flush_folder(self.path.parent)
                except OSError:
                    disk.truncate(self.path, size)  # half a line would spoil the next one
                    raise
            finally:
                os.close(fd)

    def flush(self) -> None:
        """Make sure that all lines survive a power loss."""
        with refusals("write", self.path):
            fd = disk.open_append(self.path)
            try:
                disk.flush(fd)
            finally:
                os.close(fd)

    def read(self) -> list[dict[str, Any]]:
        """Return all whole records; a last line cut off by a crash is left out.

        Raises CorruptError if another line is damaged.
        """
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().splitlines(keepends=True)
        try:
            return [json.loads(line) for line in lines if line.endswith(b"\n")]
        except ValueError as error:
            raise CorruptError(f"{self.path} has a damaged line ({error}). Remove it.") from None


class Folder:
    """A folder opened for reading; every byte it returns has been checked against the manifest.

    `verified` tells whether there is a manifest. Raises CheckpointError if the folder is missing,
    CorruptError if a file differs, is missing, or is no plain file.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with reading(self.path):
            _recover(self.path)
            if not self.path.is_dir():
                raise CheckpointError(f"there is no folder {self.path}. Check the path.")
            self.verified = (self.path / MANIFEST).is_file()
            manifest = (self.path / MANIFEST).read_bytes() if self.verified else b""
        self._files: dict[str, dict[str, Any]] = {}
        if self.verified:
            try:
                self._files = json.loads(manifest)["files"]
                self._files = {str(n): {**entry} for n, entry in self._files.items()}
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise CorruptError(
                    f"{self.path / MANIFEST} is damaged. Restore the folder from a copy."
                ) from None

    def __contains__(self, name: str) -> bool:
        return name in self.names()

    def names(self) -> list[str]:
        """Return the names of the files, in order."""
        if self.verified:
            return sorted(self._files)
        with reading(self.path):
            return sorted(item.name for item in self.path.iterdir() if item.is_file())

    def sha256(self, name: str) -> str:
        """Return the recorded hash of a file of a folder with a manifest."""
        return str(self._files[name]["sha256"])

    def verify(self) -> None:
        """Check every file of a folder with a manifest, also those that nobody reads."""
        for name in self.names() if self.verified else ():
            self.map(name)

    def read(self, name: str) -> bytes:
        """Return a file's bytes, verified."""
        with self._open(name) as fd, open(fd, "rb", buffering=0, closefd=False) as file:
            data = file.readall()
        self._compare(name, data)
        return data

    def json(self, name: str) -> Any:
        """Return a file's JSON value, verified."""
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{self.path / name} is not JSON: {error}") from None

    def map(self, name: str) -> mmap.mmap | bytes:
        """Return a file's bytes without holding them in memory, verified."""
        with self._open(name) as fd:
            empty = not os.fstat(fd).st_size  # which cannot be mapped
            mapped = b"" if empty else mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        self._compare(name, mapped)
        return mapped

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[int]:
        _check_name(name, self.path)
        path = self.path / name
        if self.verified and name not in self._files and name != MANIFEST:
            raise CheckpointError(f"{self.path} has no file {name}; it holds {self._listing()}.")
        # a pipe would keep us waiting for a writer
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        with reading(path):
            try:
                fd = os.open(path, flags)
            except FileNotFoundError:
                if self.verified:
                    raise CorruptError(f"{path} is gone. Restore the folder from a copy.") from None
                raise CheckpointError(
                    f"{self.path} has no file {name}; it holds {self._listing()}."
                ) from None
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise CheckpointError(f"{path} is not a plain file.")
                yield fd
            finally:
                os.close(fd)

    def _compare(self, name: str, data: bytes | mmap.mmap) -> None:
        if not self.verified:
            return
        found = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        if self._files.get(name) != found:
            raise CorruptError(
                f"{self.path / name} is not what was written (its SHA-256 differs from the "
                f"manifest's). Restore the folder from a copy."
            )

    def _listing(self) -> str:
        names = self.names()
        return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "nothing"


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the system's refusals to read within the block into StorageError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"could not read {path}: {reason}. Check the path, and who may read it."
        ) from error


def _check_name(name: str, folder: Path) -> None:
    """Refuse names that lead out of the folder."""
    if name in ("", ".", "..") or any(c in name for c in "/\\\0:"):
        raise CheckpointError(f"{name!r} in {folder} is no plain file name.")


def json_bytes(value: Any) -> bytes:
    """Return `value` as the indented JSON that gpt1 writes."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
