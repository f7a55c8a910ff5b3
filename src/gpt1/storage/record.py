"""A JSON file with a checksum of its own, for what a person may want to read (run.json)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpt1.errors import CorruptError
from gpt1.storage.system import wrap_os_errors
from gpt1.storage.writer import json_bytes, write_file


def write_record(path: Path, values: Mapping[str, Any]) -> None:
    """Write `values` and their checksum. Raises StorageError."""
    write_file(path, json_bytes({**values, "sha256": _checksum(values)}))


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


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
