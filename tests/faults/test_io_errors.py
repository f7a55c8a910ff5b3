"""The disk refuses a call, at every call there is: a clear error, older checkpoints as they were.

A write that is refused has written half of its bytes. Afterwards the run is resumed, and is the run
never interrupted.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest import mock

import harness
import pytest
from disks import Hooked, half, using
from harness import EVERY, STEPS, Known, Trainer, Whole

from gpt1 import storage
from gpt1.errors import CorruptError, StorageError

ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EACCES", "EINTR")
SHORT = "a short write"


class Refusing(Hooked):
    """A disk that refuses call number `at`, and with `lasting` all that come after it."""

    def __init__(self, at: int, error: str, lasting: bool = False) -> None:
        self.at, self.error, self.lasting = at, error, lasting
        self.made = 0

    def around(self, name: str, real: Callable[..., Any], *arguments: Any) -> Any:
        self.made += 1
        if self.made < self.at or (self.made > self.at and not self.lasting):
            return real(*arguments)
        if self.error == SHORT:
            return real(arguments[0], arguments[1][:1]) if name == "write" else real(*arguments)
        if name in ("write", "remove"):
            half(name, real, *arguments)
        number = getattr(errno, self.error)
        raise OSError(number, os.strerror(number))


def refuse(
    trainer: Trainer, whole: Whole, known: Known, out: Path,
    at: int, error: str, lasting: bool = False,
) -> bool:  # fmt: skip
    """Run on a disk that refuses call number `at`; return whether the run noticed."""
    made = trainer.made
    disk = Refusing(at, error, lasting)
    said = None
    with using(disk):
        try:
            trainer.train(out)
        except StorageError as refusal:
            said = str(refusal)
    assert disk.made >= at
    if said is None:  # what was refused was clearing away, or the rest was written next
        assert harness.digest(out) == whole.digest
    else:
        assert error != SHORT
        assert os.strerror(getattr(errno, error)) in said
        assert str(out) in said
    for checkpoint in harness.checkpoints(out):
        step = int(checkpoint.name.removeprefix("step-"))
        assert harness.held(checkpoint) == known[step]
    assert trainer.made - made - harness.newest_step(out) <= EVERY
    if not lasting and said is not None:
        assert not [left for left in out.rglob(".*.new-*") if disk.made > at]
    before, made = harness.newest_step(out), trainer.made
    trainer.train(out)
    assert trainer.made - made == STEPS - before
    assert harness.digest(out) == whole.digest
    shutil.rmtree(out)
    return said is not None


def test_refused_at_every_call_the_run_can_go_on(
    trainer: Trainer, whole: Whole, known: Known, place: Path
) -> None:
    """Every third call; which, and with which error, depends on the seed."""
    numbers = harness.generator("errors")
    first = numbers.randint(1, 3)
    noticed = 0
    for at in range(first, whole.calls + 1, 3):
        error = numbers.choice((*ERRORS, SHORT))
        noticed += refuse(trainer, whole, known, place / "run", at, error)
    assert noticed > whole.calls / 6


def test_refused_from_some_call_on_the_run_can_go_on(
    trainer: Trainer, whole: Whole, known: Known, place: Path
) -> None:
    numbers = harness.generator("lasting")
    for _ in range(20):
        at, error = numbers.randint(1, whole.calls - 10), numbers.choice(ERRORS)
        assert refuse(trainer, whole, known, place / "run", at, error, lasting=True)


@pytest.mark.parametrize("error", [harness.long(error) for error in (*ERRORS, SHORT)])
def test_refused_with_each_error_at_every_call_the_run_can_go_on(
    trainer: Trainer, whole: Whole, known: Known, place: Path, error: str
) -> None:
    for at in range(1, whole.calls + 1):
        refuse(trainer, whole, known, place / "run", at, error)


# Broken on purpose


def _careless(fd: int, data: bytes | memoryview) -> None:
    storage.system.disk.write(fd, data)  # it may have written less


BROKEN: dict[str, tuple[Callable[[], AbstractContextManager[Any]], str]] = {
    "short writes are not looked at": (
        lambda: mock.patch.object(storage.system, "write_all", _careless), SHORT,
    ),
    "nothing is cleared away": (
        lambda: mock.patch.object(storage.FolderWriter, "_discard", return_value=None), "ENOSPC",
    ),
    "half a line stays": (
        lambda: mock.patch.object(storage.Disk, "truncate", return_value=None), "ENOSPC",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_saver_is_noticed(
    trainer: Trainer, whole: Whole, known: Known, place: Path, fault: str
) -> None:
    broken, error = BROKEN[fault]
    with broken():
        trainer.train(place / "unharmed")
        assert harness.digest(place / "unharmed") == whole.digest
        calls = range(1, whole.calls + 1, 3)
        with pytest.raises((AssertionError, CorruptError)):
            [refuse(trainer, whole, known, place / "run", at, error) for at in calls]
