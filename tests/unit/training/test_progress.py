"""The display: plain lines without a terminal, a panel on one, and every kind of record."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from gpt1.training import progress as display
from gpt1.training.progress import TrainingProgress


def record(step: int, loss: float = 2.0, **more: Any) -> dict[str, Any]:
    return {
        "step": step, "loss": loss, "lr": 1e-3, "grad_norm": 0.75, "tokens": 64 * step,
        "tokens_per_second": 1234.5, "seconds": 0.5 * step, "loader_share": 0.021, **more,
    }  # fmt: skip


def shown(
    records: list[dict[str, Any]],
    *,
    terminal: bool,
    total: int = 8,
    first: int = 0,
    width: int = 100,
    wait: Callable[[], None] = lambda: None,
) -> str:
    """Return what a run that wrote `records`, waiting before each, leaves on the screen."""
    out = io.StringIO()
    console = Console(file=out, width=width, height=50, highlight=False, force_terminal=terminal)
    progress = TrainingProgress(2, console)
    progress.start(total, first)
    for each in records:
        wait()
        progress.show(each)
    progress.stop()
    progress.stop()
    return out.getvalue()


def panel(text: str) -> str:
    """Return the last drawing of the panel, without colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).rpartition("╭")[2]


class Clock:
    """Stands still but for `pass_`."""

    def __init__(self, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.seconds = 50.0, seconds
        monkeypatch.setattr(display.time, "monotonic", lambda: self.now)

    def pass_(self) -> None:
        self.now += self.seconds


def test_every_kind_of_record_is_a_line_without_a_terminal() -> None:
    records = [
        record(1), record(2), {"step": 3, "sample": "a\n[bold]text"},
        {"step": 3, "skipped": "the loss is nan"},
        {"step": 3, "valid_loss": 1.0, "valid_accuracy": 0.5}, record(4),
    ]  # fmt: skip
    lines = shown(records, terminal=False).splitlines()
    assert [line.partition("  ")[0] for line in lines] == [
        "update 2/8",
        "update 3 writes:",
        "",
        "",
        "update 3 is skipped: the loss is nan",
        "update 3: validation accuracy 0.5000, loss 1.0000, perplexity 2.72",
        "update 4/8",
    ]
    assert re.fullmatch(
        r"update 2/8  loss 2\.000, perplexity 7\.39  lr 1\.00e-03  1,234 tokens/s  \S+ s left",
        lines[0],
    )
    assert lines[2:4] == ["  | a", "  | [bold]text"]


def test_a_tasks_loss_is_told_from_its_sum_with_the_lm_loss() -> None:
    out = io.StringIO()
    console = Console(file=out, width=100, highlight=False, force_terminal=False)
    progress = TrainingProgress(1, console, language=False, lm_coef=0.5)
    progress.start(2, 0)
    for step, loss, accuracy in ((1, 2.0, 0.75), (2, 1.0, 0.5)):  # the lower loss is not better
        progress.show(record(step, loss, task_loss=0.25))
        figures = {"valid_accuracy": accuracy, "valid_task_loss": 0.5}
        progress.show({"step": step, "valid_loss": loss, **figures})
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("update 1/2  task loss 0.250 (with 0.5 x LM: 2.000)  lr ")
    told = "update 1: validation accuracy 0.7500, task loss 0.5000 (with 0.5 x LM: 2.0000)"
    assert lines[1] == told
    assert progress._validation.endswith("the best 0.7500 at 1")


def test_the_panel_shows_all_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "_PAUSE", 0.0)
    records = [
        record(1, 3.0), record(2, 2.5), {"step": 2, "valid_loss": 2.25}, record(3, 2.0),
        {"step": 3, "valid_loss": 2.5}, {"step": 4, "skipped": "x"}, record(5, 2.0),
    ]  # fmt: skip
    text = shown(records, terminal=True)
    last = panel(text)
    for words in (
        "training", "5/8 updates", "62%", "s so far", "s left", "2.000",
        "loss 2.5000, perplexity 12.18 at update 3, the best 2.2500 at 2",
        "lr 1.00e-03, gradient norm 0.75, 1,234 tokens/s, data 2.1% of a step, 1 skipped",
    ):  # fmt: skip
        assert words in last, words
    assert re.search(r"last 4 +2\.375, perplexity 10\.75", last)
    assert "update 2: validation loss 2.2500" in text
    assert "update 1/8  loss" not in text  # the lines of the display without a terminal


def test_the_panel_is_drawn_a_few_times_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [record(step) for step in range(1, 1001)]
    clock = Clock(0.001, monkeypatch)
    text = shown(records, terminal=True, total=10**6, wait=clock.pass_)
    assert text.count("╭") <= 2 + 3  # at the start and the end, and during a second
    assert "1,000/1,000,000 updates" in panel(text)


@pytest.mark.parametrize("width", [20, 40, 200])
def test_old_records_and_narrow_terminals_do(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "_PAUSE", 0.0)
    old = {"step": 1, "loss": 2.0, "lr": 1e-3, "tokens_per_second": 10.0}
    lines = panel(shown([old], terminal=True, width=width)).rstrip("\n").splitlines()
    assert max(map(len, lines)) <= min(width, 100)


def test_a_terminal_without_unicode_has_a_panel() -> None:
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    progress = TrainingProgress(1, Console(file=plain, width=80, force_terminal=True))
    progress.show({"step": 0, "valid_loss": 5.0})  # before the start
    progress.start(3, 0)
    progress.show(record(1))
    progress.stop()
    plain.seek(0)
    assert "2.000" in plain.read()


def test_time_left_is_worked_out_from_this_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(8.0, monkeypatch)
    text = shown([record(92)], terminal=False, total=100, first=90, wait=clock.pass_)
    assert text.endswith("  32 s left\n")
