"""The errors that gpt1 raises on purpose.

    GPT1Error                     exit code 1: the work failed
    ├── UsageError (ValueError)   exit code 2: the request itself is wrong
    │   ├── ConfigError
    │   ├── InputError
    │   │   └── ContextError
    │   └── DataError
    ├── TokenizerError
    ├── CheckpointError
    │   └── CorruptError
    ├── StorageError
    ├── HubError
    └── TrainingError
        └── Interrupted           exit code 130 (Ctrl-C) or 0 (SIGTERM)

A message says what is wrong, the limit, and what to do, in the user's words.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator


class Note(UserWarning):
    """Something was guessed or left out; a command shows it as one line."""


class GPT1Error(Exception):
    """Base of the errors raised on purpose; `exit_code` is the command's."""

    exit_code = 1


class UsageError(GPT1Error, ValueError):
    """The request itself is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is unknown, of the wrong type, or out of its bounds."""


class InputError(UsageError):
    """The model cannot take this text, these ids or these rows."""


class ContextError(InputError):
    """The input has more positions than the model."""


class DataError(UsageError):
    """A user's file is missing, empty, malformed, or lacks a column."""


class TokenizerError(GPT1Error):
    """Vocabulary files do not fit each other, or the model."""


class CheckpointError(GPT1Error):
    """A model folder lacks something, or holds something else."""


class CorruptError(CheckpointError):
    """Bytes on disk differ from those that were written."""


class StorageError(GPT1Error):
    """The disk is full, refused permission or failed."""


class HubError(GPT1Error):
    """The hub could not be asked for a model or data set, or did not take one."""


class TrainingError(GPT1Error):
    """Training cannot start or continue: non-finite loss, run in use, wrong resume."""


class Interrupted(TrainingError):
    """The run was asked to stop; it is saved and can be resumed."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "could not create a primitive",
    "could not create a memory",
    "could not execute a primitive",
    "bad_alloc",
    "failed to map segment",
    "unable to create type object",
    "pyobject pointer is null",
    "can't start new thread",
)
"""What torch, oneDNN, the loader of libraries, pybind and Rust say when memory runs out."""


@contextlib.contextmanager
def memory_guard(message: str, kind: type[GPT1Error] = GPT1Error) -> Iterator[None]:
    """Raise `kind` with `message` if memory runs out within the block."""
    try:
        yield
    except GPT1Error:
        raise
    except BaseException as error:  # Rust's panics are no Exception
        if not _is_of_memory(error):
            raise
        raise kind(f"memory ran out {message}") from error


def _is_of_memory(error: BaseException | None) -> bool:
    """Tell whether an error, or one that led to it, says that memory ran out."""
    while error is not None:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        said = str(error).lower()
        if any(text in said for text in _MEMORY):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the closest of `names`, or "" if none is close.

    >>> did_you_mean("Tset", ["train", "test"])
    " Did you mean 'test'?"
    """
    by_folded = {other.casefold(): other for other in names}
    near = difflib.get_close_matches(name.casefold(), list(by_folded), n=1)
    return f" Did you mean {by_folded[near[0]]!r}?" if near else ""


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural unless it is one.

    >>> counted(1, "row"), counted(2000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its name, without the full stop."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
