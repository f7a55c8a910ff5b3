"""A JSON file with a checksum of its own, for what a person may want to read (run.json).

And the files that gpt1 writes anew in its own folders, such as RUN/report.html: what others wrote
or changed there stays.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpt1.errors import CorruptError, StorageError
from gpt1.storage.system import wrap_os_errors
from gpt1.storage.writer import held, json_bytes, make_folder, write_file

_WRITTEN = "written.json"


def write_record(path: Path, values: Mapping[str, Any]) -> None:
    """Write `values` and their checksum. Raises StorageError."""
    write_file(path, json_bytes({**values, "sha256": _checksum(values)}), replace=True)


def read_record(path: Path) -> dict[str, Any]:
    """Return the values of a record. Raises CorruptError, and StorageError if it can't be read."""
    with wrap_os_errors("read", path):
        data = path.read_bytes()
    try:
        values = dict(json.loads(data))
        checksum = values.pop("sha256", None)
    except (ValueError, TypeError, RecursionError):
        values, checksum = {}, ""
    if checksum not in (None, _checksum(values)):
        raise CorruptError(
            f"{path} is damaged. Restore it from a copy, or start a new run in another folder."
        )
    return values


def update_file(path: Path | str, data: bytes) -> bool:
    """Write a file, or write it anew if gpt1 wrote what is there; return whether it was there.

    written.json beside it has the hash of what was written last, and of the one before, for a crash
    in between. Raises StorageError, also for a file that others wrote or changed.
    """
    path = Path(path)
    make_folder(path.parent)
    with wrap_os_errors("write", path), held(path.parent):
        present = check_own(path)
        hashes = [hashlib.sha256(data).hexdigest(), *filter(None, [present])]
        write_record(path.parent / _WRITTEN, {**_written(path), path.name: hashes})
        write_file(path, data, replace=present is not None)
    return present is not None


def check_own(path: Path) -> str | None:
    """Return the hash of a file that gpt1 wrote, None if there is none.

    Raises StorageError if another or a changed one is there.
    """
    with wrap_os_errors("read", path):
        if not os.path.lexists(path):
            return None
        plain = path.is_file() and not path.is_symlink()
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if plain else ""
    if sha256 not in _written(path).get(path.name, ()):
        raise StorageError(
            f"{path} is not as gpt1 wrote it, or not of gpt1; it is left as it is. Move it away, "
            f"and run this again."
        )
    return sha256


def _written(path: Path) -> dict[str, Any]:
    """Return the hashes of the files beside `path`; none if they are not known."""
    try:
        values = read_record(path.with_name(_WRITTEN))
    except (StorageError, CorruptError):
        return {}
    return {name: hashes for name, hashes in values.items() if isinstance(hashes, list)}


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
