"""Every error gpt1 raises on purpose.

    GPT1Error                     exit code 1: the work failed
    ├── UsageError (ValueError)   exit code 2: what was asked for cannot be
    │   ├── ConfigError           a setting is unknown, of the wrong type or out of bounds
    │   ├── InputError            text, ids or rows that the model cannot take
    │   │   └── ContextError      more positions than the model has
    │   └── DataError             a user's file is missing, empty, malformed or lacks a column
    ├── TokenizerError            vocabulary files that do not fit each other, or the model
    ├── CheckpointError           a model folder that lacks something or holds something else
    │   └── CorruptError          bytes on disk differ from what was written
    ├── StorageError              the disk refused (full, no permission, I/O error)
    ├── HubError                  a name could not be fetched
    └── TrainingError             training cannot go on (non-finite loss, run in use, wrong resume)
        └── Interrupted           asked to stop, and saved: exit code 130 (Ctrl-C) or 0 (SIGTERM)

A message says what it is, the limit, and what to do, in the user's words.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GPT1Error(Exception):
    """Base of every error raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(GPT1Error, ValueError):
    """The request itself cannot be met."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is unknown, of the wrong type, or out of its bounds."""


class InputError(UsageError):
    """Text, ids or rows that the model cannot take."""


class ContextError(InputError):
    """More positions than the model has."""


class DataError(UsageError):
    """A user's file is missing, empty, malformed, or lacks a column."""


class TokenizerError(GPT1Error):
    """Vocabulary files that fit neither each other nor the model."""


class CheckpointError(GPT1Error):
    """A model folder that lacks something, or holds something else."""


class CorruptError(CheckpointError):
    """Bytes on disk differ from what was written."""


class StorageError(GPT1Error):
    """The disk refused: full, no permission, I/O error."""


class HubError(GPT1Error):
    """A name could not be fetched from the hub."""


class TrainingError(GPT1Error):
    """Training cannot start or go on."""


class Interrupted(TrainingError):
    """The run was asked to stop; it has saved itself and can be resumed."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest of `names`, or "" if none is near.

    >>> did_you_mean("Tset", ["train", "test"])
    " Did you mean 'test'?"
    """
    by_folded = {other.casefold(): other for other in names}
    near = difflib.get_close_matches(name.casefold(), list(by_folded), n=1)
    return f" Did you mean {by_folded[near[0]]!r}?" if near else ""


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its name; without the full stop."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
