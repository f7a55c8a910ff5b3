"""A run interrupted in other ways than by SIGKILL, and resumed, is the run never interrupted.

After any update, ten times in a row, under a clock that jumps or another order of sets.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import harness
import pytest
from harness import SEED, STEPS, Cut, Trainer, Whole, cut_before

from gpt1.training import loop, run

# Every update of a run of three epochs

LONG = 60
LONG_TEXTS = 21  # 60 windows, 20 updates
LONG_SETTINGS = (
    f"train.steps={LONG}", "train.batch_size=3", "train.micro_batch_size=2", "train.eval_every=7",
    "train.keep_checkpoints=1000", "optimizer.max_grad_norm=0.5", "schedule.name=warmup_cosine",
    "optimizer.lr=0.01",
)  # fmt: skip


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, Trainer]:
    """The run that saves after every update, and the same that saves at its end."""
    corpus = harness.make_corpus(tmp_path_factory.mktemp("long"), texts=LONG_TEXTS)
    every = Trainer(corpus, *LONG_SETTINGS, "train.save_every=1")
    return every, Trainer(corpus, *LONG_SETTINGS, "train.save_every=1000")


@pytest.fixture(scope="module")
def snapshots(
    long: tuple[Trainer, Trainer], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[int, Path]]:
    """The long run's digest, and a copy of its folder as it was after each checkpoint."""
    place, copies, save = tmp_path_factory.mktemp("snapshots"), {}, run.Run.save
    out = place / "run"

    def saving(self: run.Run, *arguments: Any, **named: Any) -> None:
        save(self, *arguments, **named)
        step = harness.newest_step(out)
        older = [path.name for path in harness.checkpoints(out)[:-1]]
        copies[step] = place / f"after-{step}"
        shutil.copytree(out, copies[step], ignore=lambda folder, names: older)

    with mock.patch.object(run.Run, "save", saving):
        long[0].train(out)
    return harness.digest(out), copies


def test_the_long_run_has_all_that_may_go_wrong(
    long: tuple[Trainer, Trainer], snapshots: tuple[str, dict[int, Path]]
) -> None:
    setup = long[0].setup
    assert setup.batches.steps_per_epoch * 3 == LONG
    assert list(snapshots[1]) == list(range(1, LONG + 1))
    lines = [line for line in harness.history(snapshots[1][LONG]) if "loss" in line]
    assert max(line["grad_norm"] for line in lines) > 0.5  # some are clipped
    rates = [line["lr"] for line in lines]
    assert rates[0] < max(rates) > rates[-1]
    assert setup.config.model.attn_pdrop > 0


def resume_from(
    long: tuple[Trainer, Trainer], snapshots: tuple[str, dict[int, Path]], step: int, place: Path
) -> None:
    digest, copies = snapshots
    out = place / "resumed"
    shutil.copytree(copies[step], out)
    made = long[1].made
    long[1].train(out)
    assert long[1].made - made == LONG - step
    assert harness.digest(out) == digest
    shutil.rmtree(out)


@pytest.mark.parametrize("every", [6, harness.long(1)])
def test_resumed_after_updates_the_run_is_the_same(
    long: tuple[Trainer, Trainer], snapshots: tuple[str, dict[int, Path]], place: Path, every: int
) -> None:
    for step in range(1 + SEED % every, LONG + 1, every):
        resume_from(long, snapshots, step, place)


def test_resumed_ten_times_the_run_is_the_same(
    long: tuple[Trainer, Trainer], snapshots: tuple[str, dict[int, Path]], place: Path
) -> None:
    every = long[0]
    for n in range(10):
        with cut_before(5), pytest.raises(Cut):
            every.train(place / "run")
        assert harness.newest_step(place / "run") == 5 * (n + 1)
    every.train(place / "run")
    assert harness.digest(place / "run") == snapshots[0]


def test_a_resume_that_forgets_the_optimizer_state_is_noticed(
    long: tuple[Trainer, Trainer], snapshots: tuple[str, dict[int, Path]], place: Path
) -> None:
    with (
        mock.patch.object(loop.optimizers, "restore", return_value=None),
        pytest.raises(AssertionError),
    ):
        resume_from(long, snapshots, LONG - 1, place)


# Clocks and hashes

ALONE = """
import sys, time
now, years = time.time, float(sys.argv[3])
time.time = lambda: now() + years * 365 * 86400
import torch
torch.set_num_threads(1)
import harness
from pathlib import Path
harness.Trainer(Path(sys.argv[1])).train(Path(sys.argv[2]))
print(harness.digest(Path(sys.argv[2])))
"""


@pytest.mark.parametrize(("hashes", "years"), [("1", "10"), ("2", "-10")])
def test_neither_the_clock_nor_the_order_of_sets_matters(
    corpus: Path, whole: Whole, place: Path, hashes: str, years: str
) -> None:
    environment = {
        **os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": str(Path(__file__).parent),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(corpus), str(place / "run"), years],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split()[-1] == whole.digest


def test_the_newest_checkpoint_is_that_of_the_last_update_whatever_the_clock_says(
    trainer: Trainer, whole: Whole, place: Path
) -> None:
    out, now = place / "run", time.time
    with cut_before(5), pytest.raises(Cut):
        trainer.train(out)
    before, newest = harness.checkpoints(out)
    os.utime(before, (2e9, 2e9))
    os.utime(newest, (1e8, 1e8))

    def earlier() -> float:
        return now() - 3e8

    made = trainer.made
    with mock.patch.object(time, "time", earlier):
        trainer.train(out)
    assert trainer.made - made == STEPS - 4
    assert harness.digest(out) == whole.digest
