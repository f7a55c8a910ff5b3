"""Out of memory, told to stop by a signal, or started twice: no harm is done, the run goes on."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import harness
import pytest
from disks import Hooked, using
from harness import EVERY, SEED, STEPS, Cut, Trainer, Whole, cut_before
from torch.nn.modules.module import register_module_forward_pre_hook

from gpt1.errors import Interrupted, TrainingError
from gpt1.training import run

# Memory

FAULTS = {
    "MemoryError": MemoryError(),
    "the allocator": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 1024 bytes."
    ),
    "another fault": RuntimeError("something else"),
}


@contextmanager
def failing(where: str, at: int, error: Exception) -> Iterator[None]:
    """Let the `at`-th update's optimizer fail, or the `at`-th call of a module, or of the disk."""
    if where == "optimizer":
        with cut_before(at - 1, error):
            yield
        return
    left = at

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise error

    if where == "forward":
        hook = register_module_forward_pre_hook(count)
        try:
            yield
        finally:
            hook.remove()
        return

    class Failing(Hooked):
        def around(self, name: str, real: Callable[..., Any], *arguments: Any) -> Any:
            count()
            return real(*arguments)

    with using(Failing()):
        yield


@pytest.mark.parametrize("fault", FAULTS)
def test_out_of_memory_the_run_can_go_on(
    trainer: Trainer, whole: Whole, place: Path, fault: str
) -> None:
    points = [("optimizer", at) for at in range(1, STEPS + 1)]
    points += [("forward", at) for at in range(1, 60, 8)]
    points += [("disk", at) for at in range(1, whole.calls + 1, whole.calls // 5)]
    for where, at in points:
        out, error = place / f"{where}-{at}", FAULTS[fault]
        expected = (TrainingError, type(error))
        with failing(where, at, error), pytest.raises(expected) as raised:
            trainer.train(out)
        if where == "optimizer" and fault != "another fault":
            assert f"memory ran out at update {at}." in str(raised.value)
            assert "--resume" in str(raised.value)
        trainer.train(out)
        assert harness.digest(out) == whole.digest


# Signals


def signalled(trainer: Trainer, whole: Whole, out: Path, numbers: random.Random) -> str:
    """Signal a run at a call to the disk, or once or twice at random times; return how it ended."""

    number = numbers.choice((signal.SIGINT, signal.SIGTERM))
    at = numbers.randint(1, whole.calls) if numbers.random() < 0.5 else 0

    class Signalling(Hooked):
        made = 0

        def around(self, name: str, real: Callable[..., Any], *arguments: Any) -> Any:
            self.made += 1
            if self.made == at:
                os.kill(os.getpid(), number)
            return real(*arguments)

    def work() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            with using(Signalling()):
                trainer.train(out)
        except Interrupted as stopped:
            os._exit(100 + (stopped.exit_code == 130))
        except KeyboardInterrupt:
            os._exit(102)

    made, child = trainer.made, trainer.fork(work)
    if not at:
        time.sleep(numbers.uniform(0, 1) * whole.seconds)
        os.kill(child, number)
        if numbers.random() < 0.3:
            time.sleep(numbers.uniform(0, 0.1) * whole.seconds)
            os.kill(child, number)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    made = trainer.made - made
    if code in (100, 101):
        assert (code == 101) == (number == signal.SIGINT)
        assert harness.newest_step(out) == made  # nothing is made again
        return "saved"
    assert code in (0, 102, -number), trainer.said
    assert code != 0 or made == STEPS
    assert made - harness.newest_step(out) <= EVERY
    return "finished" if code == 0 else "stopped at once"


@pytest.mark.parametrize("count", [25, harness.long(400)])
def test_signals_at_any_time_do_no_harm(
    trainer: Trainer, whole: Whole, place: Path, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers, outcomes = harness.generator("signals"), Counter[str]()
    for _ in range(count):
        out = place / "run"
        outcomes[signalled(trainer, whole, out, numbers)] += 1
        trainer.train(out)
        assert harness.digest(out) == whole.digest
        shutil.rmtree(out)
    with capsys.disabled():
        print(f"\nsignals: {dict(outcomes)}, seed {SEED}")
    assert outcomes["saved"]


# Two at once


def race(trainer: Trainer, out: Path, apart: float) -> list[int]:
    """Start two runs in one folder; return their exit codes."""
    resume = (out / "run.json").is_file()
    gate, opened = os.pipe()

    def work(wait: float) -> None:
        os.close(opened)
        os.read(gate, 1)  # until the other end is closed
        time.sleep(wait)
        try:
            trainer.train(out, resume=resume)
        except TrainingError as refusal:
            known = ("another process", "a run is already", "something is already")
            os._exit(100 if any(each in str(refusal) for each in known) else 101)

    children = [trainer.fork(lambda wait=wait: work(wait)) for wait in (0.0, apart)]
    os.close(opened)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os.close(gate)
    return sorted(codes)


@pytest.mark.parametrize("count", [12, harness.long(100)])
@pytest.mark.parametrize("kind", ["new", "resumed"])
def test_of_two_runs_in_one_folder_one_trains(
    trainer: Trainer, whole: Whole, place: Path, kind: str, count: int
) -> None:
    numbers = harness.generator("races", kind)
    for n in range(count):
        out, left = place / f"run-{n}", STEPS
        if kind == "resumed":
            with cut_before(3), pytest.raises(Cut):
                trainer.train(out)
            left -= EVERY
        made = trainer.made
        codes = race(trainer, out, numbers.uniform(0, 1) * whole.seconds if n % 2 else 0.0)
        assert codes == [0, 100] or (kind == "resumed" and codes == [0, 0]), trainer.said
        assert trainer.made - made == left
        assert harness.digest(out) == whole.digest


def test_a_run_that_was_slow_to_take_the_lock_does_not_go_on_with_another(
    trainer: Trainer, whole: Whole, place: Path
) -> None:
    """It had looked into the folder before the other run began, and locks it after its end."""
    out, lock = place / "run", run._lock

    def late(path: Path) -> Any:
        with mock.patch.object(run, "_lock", lock):
            trainer.train(out, resume=False)
        return lock(path)

    with mock.patch.object(run, "_lock", late), pytest.raises(TrainingError, match="already"):
        trainer.train(out, resume=False)
    assert harness.digest(out) == whole.digest
