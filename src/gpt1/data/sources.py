"""A source -> local files: paths as they are, pipes copied, `hub:owner/name` through the hub.

A data set on the hub is a folder of files. Their names tell which of them are training text, as on
the hub itself: a file named after another split (test, validation, ...) is left out, and tables
come before loose text such as a licence. Otherwise the user names the file:
`hub:owner/name/data/train.csv`.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable
from fnmatch import fnmatch
from functools import cache, lru_cache
from pathlib import Path

from gpt1.errors import DataError, HubError
from gpt1.storage.transfer import fetch

HUB = "hub:"
STDIN = "-"
_ZIPPED = ["*.csv", "*.tsv", "*.jsonl", "*.txt"]
_PATTERNS = [*_ZIPPED, *(f"{pattern}.gz" for pattern in _ZIPPED), "*.parquet"]
_OTHER_SPLIT = re.compile(r"(?:^|[^a-z])(?:test|dev|val|valid|validation|eval)(?:[^a-z]|$)")

Source = str | Path
Sources = Source | Iterable[Source]


def find_files(sources: Sources) -> list[Path]:
    """Return the local files of `sources`, fetching what is named `hub:owner/name[/file]`.

    Raises DataError when there is none, HubError when a name cannot be fetched.
    """
    if hasattr(sources, "columns") or not isinstance(sources, str | Path | Iterable):
        raise DataError(f"the file is a {type(sources).__name__}; give the path of one.")
    names = [sources] if isinstance(sources, str | Path) else list(sources)
    if not names:
        raise DataError("no file was given; name at least one.")
    return [path for name in names for path in _local(str(name))]


def _local(source: str) -> list[Path]:
    if not source.startswith(HUB):
        return [_spool(source)]
    owner, _, rest = source.removeprefix(HUB).partition("/")
    name, _, pattern = rest.partition("/")
    if not owner or not name:
        raise HubError(f"the data set is {source!r}; it takes hub:owner/name[/file].")
    return fetch(f"{owner}/{name}", "dataset", lambda names: choose_files(source, names, pattern))


@lru_cache
def _spool(source: str) -> Path:
    """Return a path that can be read again and again: a pipe, or stdin ("-"), is copied to a file.

    Raises DataError.
    """
    path = Path(source)
    try:
        if source != STDIN and not path.is_fifo():
            return path
        folder = Path(_temporary().name, str(len(os.listdir(_temporary().name))))
        folder.mkdir()
        copy = folder / (path.name if path.suffix else "stdin")
        with (
            copy.open("wb") as file,
            sys.stdin.buffer if source == STDIN else path.open("rb") as pipe,
        ):
            shutil.copyfileobj(pipe, file)
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror}. Check the path.") from None
    return copy


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="gpt1-")  # removed when the process ends


def choose_files(source: str, names: list[str], pattern: str = "") -> list[str]:
    """Return which of a data set's file names are its training text.

    Raises DataError when there is none, or when there are tables of several kinds.

    >>> choose_files("hub:a/b", ["LICENSE.txt", "data/test.csv", "data/train.csv"])
    ['data/train.csv']
    """
    files = [n for n in names if any(fnmatch(n, p) for p in ([pattern] if pattern else _PATTERNS))]
    if not files:
        what = f"no file {pattern}" if pattern else "no txt, csv, tsv, jsonl or parquet file"
        raise DataError(f"{source} has {what}. Look at the data set's page for what it holds.")
    if pattern:
        return files
    files = [n for n in files if _kind(n) != "txt"] or files
    files = [n for n in files if not _OTHER_SPLIT.search(n.lower())] or files
    kinds = sorted({_kind(n) for n in files})
    if len(kinds) > 1:
        raise DataError(
            f"{source} has files of several kinds ({', '.join(files[:8])}), perhaps the same rows "
            f"twice. Name the one to read: {source}/{files[0]}"
        )
    return files


def _kind(name: str) -> str:
    return name.removesuffix(".gz").rpartition(".")[2]
