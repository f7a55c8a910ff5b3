"""SIGKILL at a call to the disk, clean or half done, and at random instants, then resume: the same.

Counted too: how many updates are made again. After every kill the checkpoints are compared with
those of the run never interrupted, and at the end all that the run comes to.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest import mock

import harness
import pytest
from disks import in_place
from harness import EVERY, SEED, STEPS, Known, Trainer, Whole

from gpt1 import storage
from gpt1.errors import CorruptError
from gpt1.training import loop, run

PARTS = 8  # the long campaign, shared out over processes
LONGEST = 8  # kills in a row


class Campaign:
    """Trials in folders of one place; `tally` counts the kills by their kind."""

    def __init__(self, trainer: Trainer, whole: Whole, known: Known, place: Path) -> None:
        self.trainer, self.whole, self.known, self.place = trainer, whole, known, place
        self.seconds = whole.seconds
        self.tally: Counter[str] = Counter()
        self.redone = 0

    def kill(self, out: Path, kind: str, how: Callable[[], bool]) -> bool:
        """Run and be killed; check what is left. Return whether it was killed."""
        before, made = harness.newest_step(out), self.trainer.made
        died = how()
        after = harness.newest_step(out)
        lost = before + self.trainer.made - made - after
        assert 0 <= lost <= EVERY, f"{lost} updates are made again"
        for checkpoint in harness.checkpoints(out)[-1:]:
            assert harness.held(checkpoint) == self.known[after]
        self.redone += lost
        self.tally[kind] += died
        return died

    def at(self, out: Path, number: int, torn: bool) -> bool:
        kind = "torn" if torn else "clean"
        return self.kill(out, kind, lambda: self.trainer.killed_at(out, number, torn))

    def after(self, out: Path, seconds: float) -> bool:
        died = self.kill(out, "instant", lambda: self.trainer.killed_after(out, seconds))
        self.seconds *= 1.015 if died else 0.9  # how long a run takes here changes with the load
        return died

    def finish(self, out: Path) -> None:
        """Resume for the last time; compare all, and forget the folder."""
        before, made = harness.newest_step(out), self.trainer.made
        self.trainer.train(out)
        assert self.trainer.made - made == STEPS - before
        assert harness.digest(out) == self.whole.digest
        shutil.rmtree(out)

    def chain(self, numbers: random.Random) -> None:
        """Kill one run up to LONGEST times in a row, each time in another way."""
        out = self.place / "chain"
        for n in range(numbers.randint(1, LONGEST)):
            left = 1 - harness.newest_step(out) / STEPS  # of the run, about
            if numbers.random() < 0.4:
                died = self.after(out, numbers.uniform(0, self.seconds) * max(left, 0.2))
            else:
                last = max(12, round(self.whole.calls * left))
                died = self.at(out, numbers.randint(1, last), numbers.random() < 0.5)
            self.tally["while it resumes"] += died and n > 0
            if not died:
                break
        self.finish(out)

    @property
    def kills(self) -> int:
        return self.tally["clean"] + self.tally["torn"] + self.tally["instant"]


@pytest.fixture
def campaign(
    trainer: Trainer, whole: Whole, known: Known, place: Path,
    record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str],
) -> Iterator[Campaign]:  # fmt: skip
    campaign = Campaign(trainer, whole, known, place)
    yield campaign
    said = f"{campaign.kills} kills {dict(campaign.tally)}, {campaign.redone} updates made again"
    record_property("kills", said)
    with capsys.disabled():
        print(f"\n{said}, seed {SEED}")


def sweep(campaign: Campaign, torn: bool, count: int) -> None:
    """Kill new runs at `count` of their calls, evenly; which, depends on the seed."""
    last = campaign.whole.calls
    count = min(count, last)
    shift = harness.generator("sweep", torn).random()
    for n in range(count):
        out = campaign.place / "swept"
        assert campaign.at(out, 1 + int((n + shift) * last / count), torn)
        campaign.finish(out)


@pytest.mark.parametrize("count", [harness.trials(260) // 8, harness.long(10**6, id="every")])
@pytest.mark.parametrize("torn", [False, True], ids=["clean", "torn"])
def test_killed_at_some_calls_the_run_is_the_same(
    campaign: Campaign, torn: bool, count: int
) -> None:
    sweep(campaign, torn, count)


def test_killed_in_a_row_the_run_is_the_same(campaign: Campaign) -> None:
    numbers = harness.generator("some")
    while campaign.kills < harness.trials(100):
        campaign.chain(numbers)
    assert campaign.tally["while it resumes"] > campaign.kills / 4


@pytest.mark.parametrize("part", [harness.long(part) for part in range(PARTS)])
def test_killed_ten_thousand_times_the_run_is_the_same(campaign: Campaign, part: int) -> None:
    """10,000 together with the kills at every call, of which there are more than 500."""
    numbers = harness.generator("part", part)
    while campaign.kills < harness.trials(9500) / PARTS:
        campaign.chain(numbers)


# Broken on purpose


BROKEN: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "nothing is saved": lambda: mock.patch.object(run.Run, "save", return_value=None),
    "the optimizer begins anew": lambda: mock.patch.object(
        loop.optimizers, "restore", return_value=None
    ),
    "the log is not cut": lambda: mock.patch.object(storage.Log, "keep", return_value=None),
    "written in place": in_place,
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_saver_is_noticed(campaign: Campaign, fault: str) -> None:
    with BROKEN[fault]():
        out = campaign.place / "unharmed"
        campaign.trainer.train(out)
        assert harness.held(out / "model") == harness.held(
            campaign.whole.out / "model"
        )  # nothing shows so far
        with pytest.raises((AssertionError, CorruptError)):
            sweep(campaign, False, 20)
