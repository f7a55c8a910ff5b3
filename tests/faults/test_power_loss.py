"""Power loss at any call to the disk: the newest checkpoint whose saving had ended is never lost.

The calls of a real run are recorded with their data and played to a model of a disk (drive.py) that
may lose whatever was not flushed. Each state left is laid out in a real folder and resumed by the
real trainer. Savers that are broken on purpose must fail the same check.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import harness
import pytest
from disks import in_place, using
from drive import DATA, NAMES, Drive, Recorder
from harness import SEED, Cut, Trainer, Whole
from torch.optim.optimizer import register_optimizer_step_post_hook

from gpt1 import storage
from gpt1.errors import GPT1Error
from gpt1.training import run

# The check


@dataclass(frozen=True)
class Point:
    """What a checkpoint of the run never interrupted holds."""

    tensors: dict[str, bytes]
    state: dict[str, Any]


def point(checkpoint: Any) -> Point:
    tensors = {**checkpoint.weights, **checkpoint.optimizer_state}
    state = {n: v for n, v in asdict(checkpoint.state).items() if n not in harness.TIMING}
    return Point({name: value.numpy().tobytes() for name, value in tensors.items()}, state)


@dataclass(frozen=True)
class Recorded:
    """A run's calls to the disk; ("saved", step) stands where a save returned."""

    log: list[tuple[Any, ...]]
    points: dict[int, Point]
    history: list[dict[str, Any]]
    model: dict[str, Any]


def record(
    trainer: Trainer, root: Path, skips: Iterable[str] = (), cuts: Iterable[int] = ()
) -> Recorded:
    """Record a run in root/run that is interrupted after so many updates, and resumed."""
    root.mkdir()
    disk, save, points = Recorder(root, skips), run.Run.save, {}
    cuts, made = set(cuts), trainer.made

    def saving(self: run.Run, *arguments: Any, **named: Any) -> None:
        save(self, *arguments, **named)
        newest = harness.checkpoints(root / "run")[-1]
        read = run.Checkpoint.read(newest)
        points[read.state.step] = point(read)
        disk.log.append(("saved", read.state.step))

    def cutting(*_: Any) -> None:
        if trainer.made - made in cuts:
            cuts.remove(trainer.made - made)
            raise Cut

    hook = register_optimizer_step_post_hook(cutting)
    try:
        with using(disk), mock.patch.object(run.Run, "save", saving):
            while True:
                with suppress(Cut):
                    trainer.train(root / "run")
                    break
    finally:
        hook.remove()
    return Recorded(
        disk.log, points, harness.history(root / "run"), harness.held(root / "run/model")
    )


class Stop(Exception):
    """All that restoring does is done."""


def verdict(trainer: Trainer, out: Path, recorded: Recorded, saved: int) -> str:
    """Resume what a power loss left as far as to the first update; tell what comes of it.

    "well"; "lost" if the run goes on from before update `saved`, or only a person can help;
    "wrong" if it goes on from something that never was.
    """
    real, found = run.Run.restore, []

    def restore(self: run.Run) -> Any:
        found.append(real(self))
        raise Stop

    try:
        with mock.patch.object(run.Run, "restore", restore):
            trainer.train(out)
        model = harness.held(out / "model")  # it had already finished
        return "well" if model == recorded.model else "wrong"
    except Stop:
        checkpoint = found[0][0]
    except (GPT1Error, OSError, ValueError):
        return "lost"
    if checkpoint is None:
        return "lost" if saved or harness.history(out) else "well"
    step = checkpoint.state.step
    if step < saved:
        return "lost"
    same = point(checkpoint) == recorded.points.get(step)
    log_same = harness.history(out) == recorded.history[: checkpoint.state.log_lines]
    return "well" if same and log_same else "wrong"


def states(
    recorded: Recorded, numbers: random.Random | None = None
) -> Iterator[tuple[int, dict[str, bytes | None]]]:
    """Yield each state that a power loss can leave once, with the newest update saved by then.

    With `numbers`, any of the pending changes of names may be lost, not only the usual ones.
    """
    drive, seen, saved = Drive(), set(), 0
    for name, *arguments in recorded.log:
        if name == "saved":
            saved = arguments[0]
        else:
            drive.play(name, *arguments)
        losing = list(NAMES.values())
        if numbers is not None:
            losing += [lambda pending: [c for c in pending if numbers.random() < 0.5]] * 16
        for data in DATA:
            for choice in losing:
                left = drive.after_loss(data, choice)
                state = hash((saved, frozenset(left.items())))
                if state not in seen:
                    seen.add(state)
                    yield saved, left


def lay_out(left: dict[str, bytes | None], root: Path) -> Path:
    for path, data in left.items():  # folders come before what is in them
        if data is None:
            (root / path[1:]).mkdir()
        else:
            (root / path[1:]).write_bytes(data)
    return root / "run"


def check(
    trainer: Trainer, place: Path, recorded: Recorded, whole: Whole,
    chosen: Iterable[tuple[int, dict[str, bytes | None]]], to_the_end: int = 0,
) -> Counter[str]:  # fmt: skip
    """Count the verdicts over some states; every so many is trained to the end and compared."""
    found: Counter[str] = Counter()
    for n, (saved, left) in enumerate(chosen, 1):
        root = place / "state"
        out = lay_out(left, root)
        found[verdict(trainer, out, recorded, saved)] += 1
        if to_the_end and n % to_the_end == 0:
            trainer.train(out)
            assert harness.digest(out) == whole.digest
            found["trained to the end"] += 1
        shutil.rmtree(root)
    return found


def some(items: Iterable[Any], count: int, *names: object) -> list[Any]:
    found = list(items)
    return harness.generator(*names).sample(found, min(count, len(found)))


def tell(capsys: pytest.CaptureFixture[str], found: Counter[str]) -> None:
    with capsys.disabled():
        print(f"\npower loss: {dict(found)}, seed {SEED}")


CUTS = {"whole": (), "interrupted": (3, 7)}


@pytest.mark.parametrize("count", [260, harness.long(6000)])
@pytest.mark.parametrize("cuts", CUTS)
def test_no_power_loss_loses_a_saved_checkpoint(
    trainer: Trainer, whole: Whole, place: Path, cuts: str, count: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    recorded = record(trainer, place / "real", cuts=CUTS[cuts])
    assert harness.digest(place / "real" / "run") == whole.digest
    numbers = harness.generator("names", cuts) if count > 260 else None
    chosen = some(states(recorded, numbers), count, "power", cuts)
    found = check(trainer, place, recorded, whole, chosen, to_the_end=25 if count == 260 else 100)
    tell(capsys, found)
    assert found["well"] == len(chosen) >= min(count, 5001)


# Broken on purpose


def _unchecked() -> AbstractContextManager[Any]:
    return mock.patch.object(storage.Folder, "_compare", return_value=None)


BROKEN: dict[str, tuple[tuple[str, ...], Callable[[], AbstractContextManager[Any]], str]] = {
    "files are not flushed": (("flush",), ExitStack, "lost"),
    "files are neither flushed nor checked": (("flush",), _unchecked, "wrong"),
    "folders are not flushed": (("flush_folder",), ExitStack, "lost"),
    "written in place": ((), in_place, "lost"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_saver_is_noticed(
    trainer: Trainer, whole: Whole, place: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    skips, broken, outcome = BROKEN[fault]
    with broken():
        recorded = record(trainer, place / "real", skips)
        assert (
            harness.digest(place / "real" / "run") == whole.digest
        )  # nothing shows without a loss
        found = check(trainer, place, recorded, whole, some(states(recorded), 100, fault))
    tell(capsys, found)
    assert found[outcome] > 5
