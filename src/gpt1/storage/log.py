"""An append-only log of JSON lines that survives a crash."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpt1.errors import CorruptError, counted
from gpt1.storage import system
from gpt1.storage.system import wrap_os_errors


class Log:
    """An append-only file of JSON lines (metrics.jsonl). Raises StorageError."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._sha256: Any = None  # of all whole lines, once it was needed

    @property
    def sha256(self) -> str:
        """The hash of all whole lines."""
        if self._sha256 is None:
            self._sha256 = hashlib.sha256(b"".join(self._lines()))
        return str(self._sha256.hexdigest())

    def keep(self, lines: int, sha256: str = "") -> None:
        """Drop all but the first `lines` lines: a resumed run writes the others again.

        Raises CorruptError if they are not there, or not those whose hash is `sha256`.
        """
        kept = self._lines()[:lines]
        digest = hashlib.sha256(b"".join(kept))
        if len(kept) < lines or (sha256 and digest.hexdigest() != sha256):
            raise CorruptError(
                f"{self.path} is {'damaged' if kept else 'gone'}: it does not start with "
                f"the {counted(lines, 'line')} that the run wrote. Restore it from a copy. "
                f"Without one, start a new run; --model takes the last of the run's checkpoints."
            )
        if self.path.exists():
            with wrap_os_errors("shorten", self.path):
                system.disk.truncate(self.path, sum(map(len, kept)))
        self._sha256 = digest

    def _lines(self) -> list[bytes]:
        """Return the whole lines; a last one that was cut off by a crash is left out."""
        if not self.path.exists():
            return []
        with wrap_os_errors("read", self.path):
            lines = self.path.read_bytes().splitlines(keepends=True)
        return [line for line in lines if line.endswith(b"\n")]

    def append(self, *records: Mapping[str, Any]) -> None:
        """Write records at the end, a line each."""
        data = b"".join(json.dumps(record).encode() + b"\n" for record in records)
        with self._open() as fd:
            size = os.fstat(fd).st_size
            try:
                system.write_all(fd, data)
                if not size:  # a new file: its name must last too
                    system.disk.flush_folder(self.path.parent)
            except OSError:
                system.disk.truncate(self.path, size)  # half a line would spoil the next one
                raise
        if self._sha256 is not None:
            self._sha256.update(data)

    def flush(self) -> None:
        """Make sure that all lines survive a power loss."""
        with self._open() as fd:
            system.disk.flush(fd)

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        with wrap_os_errors("write", self.path):
            fd = system.disk.open_append(self.path)
            try:
                yield fd
            finally:
                os.close(fd)

    def read(self) -> list[dict[str, Any]]:
        """Return all whole records; a last line cut off by a crash is left out.

        Raises CorruptError if another line is damaged.
        """
        try:
            return [json.loads(line) for line in self._lines()]
        except (ValueError, RecursionError) as error:
            raise CorruptError(f"{self.path} has a damaged line ({error}). Remove it.") from None
