"""Ranks that die, freeze, are told to stop, or come back in another number."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import launch
import pytest

import gpt1
import tolerances

LONG = (
    "train.steps=80", "train.save_every=10", "train.eval_every=40", "train.sample_prompt=",
    "optimizer.lr=1e-3",
)  # fmt: skip


def far(a: gpt1.GPT1, b: gpt1.GPT1) -> float:
    """Return the largest difference of a tensor, over its norm."""
    other = b.model.state_dict()
    found = ((t - other[n]).norm() / t.norm() for n, t in a.model.state_dict().items())
    return float(max(found))


def check_same_run(one: Path, other: Path) -> None:
    """Every update once, with the same samples: the same losses and token counts."""
    a, b = launch.losses(one), launch.losses(other)
    assert [(step, tokens) for step, _, tokens in a] == [(step, tokens) for step, _, tokens in b]
    for (_, x, _), (_, y, _) in zip(a, b, strict=True):
        assert x == pytest.approx(y, rel=1e-4)


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[gpt1.GPT1, Path]:
    """A run of one process, never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return launch.alone(corpus, out, *LONG), out


def strike(
    corpus: Path, run: Path, ranks: int, victim: int, number: signal.Signals, *settings: str
) -> str:
    """Send a signal to one rank in the middle of a run; check how the others end."""
    launcher = launch.torchrun(ranks, launch.arguments(corpus, run, *LONG, *settings))
    launch.wait_for_updates(run, 25, launcher)
    processes = launch.pids(launcher)
    assert sorted(processes) == list(range(ranks))
    os.kill(processes[victim], number)
    struck = time.monotonic()
    while set(launch.pids(launcher)) - {victim}:  # the others
        assert time.monotonic() - struck < 30, "the others go on"
        time.sleep(0.05)
    said = launch.finish(launcher, timeout=60)
    assert launcher.returncode != 0
    assert f"rank {victim} (process {processes[victim]} on " in said, said
    assert "died or is frozen" in said
    for pid in processes.values():
        assert not Path(f"/proc/{pid}").exists(), "an orphan"
    return said


@pytest.mark.slow
def test_a_rank_that_is_killed_is_named_and_one_process_takes_up_the_run(
    corpus: Path, tmp_path: Path, whole: tuple[gpt1.GPT1, Path]
) -> None:
    run = tmp_path / "run"
    strike(corpus, run, 2, 1, signal.SIGKILL)
    resumed = launch.alone(corpus, run, *LONG, resume=True)
    check_same_run(whole[1], run)
    assert far(whole[0], resumed) < tolerances.RANKS, far(whole[0], resumed)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_is_frozen_is_named_and_killed(
    corpus: Path, tmp_path: Path, victim: int, strategy: str
) -> None:
    strike(corpus, tmp_path / "run", 2, victim, signal.SIGSTOP, f"distributed.strategy={strategy}")
    launch.alone(corpus, tmp_path / "run", *LONG, resume=True)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_run_goes_on_with_any_number_of_ranks(
    corpus: Path, tmp_path: Path, whole: tuple[gpt1.GPT1, Path], strategy: str
) -> None:
    """1 -> 2 -> 4 -> 1 ranks: told to stop each time, as a cluster's queue does it."""
    run = tmp_path / "run"
    settings = (*LONG, f"distributed.strategy={strategy}")
    for ranks, updates in ((1, 15), (2, 30), (4, 45)):
        words = launch.arguments(corpus, run, *settings)
        launcher = launch.torchrun(ranks, words + ["--resume"] * (ranks > 1))
        launch.wait_for_updates(run, updates, launcher)
        for pid in (launcher.pid, *launch.pids(launcher).values()):  # the launcher hands it on, too
            os.kill(pid, signal.SIGTERM)
        said = launch.finish(launcher)
        assert "All is saved in" in said, said
        assert updates <= len(launch.losses(run)) < 80
    resumed = launch.alone(corpus, run, *settings, resume=True)
    check_same_run(whole[1], run)
    assert far(whole[0], resumed) < tolerances.RANKS, far(whole[0], resumed)


@pytest.mark.slow
def test_ranks_train_with_muon_as_one_process_does(corpus: Path, tmp_path: Path) -> None:
    settings = (*LONG, "optimizer.name=muon", "train.steps=20")
    launcher = launch.torchrun(2, launch.arguments(corpus, tmp_path / "ranks", *settings))
    said = launch.finish(launcher)
    assert launcher.returncode == 0, said
    one = launch.alone(corpus, tmp_path / "one", *settings)
    check_same_run(tmp_path / "one", tmp_path / "ranks")
    assert far(one, gpt1.load(tmp_path / "ranks")) < tolerances.RANKS


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_out_is_refused(corpus: Path, tmp_path: Path) -> None:
    words = launch.arguments(
        corpus, tmp_path / "run", "train.batch_size=3", "distributed.strategy=fsdp"
    )
    launcher = launch.torchrun(2, words)
    assert "Set train.batch_size=2" in launch.finish(launcher)
    assert launcher.returncode != 0
