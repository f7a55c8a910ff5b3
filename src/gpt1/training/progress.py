"""What a person sees while a model trains: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from gpt1.model import losses


class Progress:
    """Shows a run on stderr; `every` updates a line where there is no terminal."""

    def __init__(self, every: int, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._every = every
        self._bar: Bar | None = None
        self._total = 0

    def note(self, text: str) -> None:
        """Print a line of its own."""
        self.console.print(text, soft_wrap=True, markup=False)

    def start(self, total: int, done: int) -> None:
        """Begin to show updates `done` to `total`."""
        self._total, self._first, self._began = total, done, time.monotonic()
        if self.console.is_terminal:
            self._bar = Bar(
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._task = self._bar.add_task("", total=total, completed=done, figures="")
            self._bar.start()

    def show(self, record: Mapping[str, Any]) -> None:
        """Show one line of metrics.jsonl."""
        step = record["step"]
        if "valid_loss" in record:
            self.note(
                f"update {step}: validation loss {record['valid_loss']:.4f}, "
                f"perplexity {perplexity(record['valid_loss'])}"
            )
            return
        figures = (
            f"loss {record['loss']:.3f}  perplexity {perplexity(record['loss'])}  "
            f"lr {record['lr']:.2e}  {record['tokens_per_second']:,.0f} tokens/s"
        )
        if self._bar is not None:
            self._bar.update(self._task, completed=step, figures=figures)
        elif step % self._every == 0 or step == self._total:
            left = (time.monotonic() - self._began) / (step - self._first) * (self._total - step)
            self.note(f"update {step}/{self._total}  {figures}  {duration(left)} left")

    def stop(self) -> None:
        """End the live line."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def perplexity(loss: float) -> str:
    """Write exp(loss) for people.

    >>> perplexity(2.9124), perplexity(10.6085), perplexity(1000.0)  # the paper's 18.4, ln 40478
    ('18.40', '40477', 'inf')
    """
    value = losses.perplexity(loss)
    return f"{value:.2f}" if value < 1000 else f"{value:.5g}"


def duration(seconds: float) -> str:
    """Write a time for people.

    >>> duration(42.2), duration(150), duration(7300)
    ('42 s', '2.5 min', '2.0 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
