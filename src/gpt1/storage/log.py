"""An append-only log of JSON lines that survives a crash."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpt1.errors import CorruptError
from gpt1.storage import system
from gpt1.storage.system import wrap_os_errors


class Log:
    """An append-only file of JSON lines (metrics.jsonl). Raises StorageError."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def keep(self, lines: int) -> None:
        """Drop all but the first `lines` lines: a resumed run writes the others again."""
        if not self.path.exists():
            return
        with wrap_os_errors("shorten", self.path):
            size = sum(map(len, self.path.read_bytes().splitlines(keepends=True)[:lines]))
            system.disk.truncate(self.path, size)

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
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().splitlines(keepends=True)
        try:
            return [json.loads(line) for line in lines if line.endswith(b"\n")]
        except ValueError as error:
            raise CorruptError(f"{self.path} has a damaged line ({error}). Remove it.") from None
