"""What is shown while a model trains: a live panel on a terminal, plain lines elsewhere."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from gpt1.callbacks import ProgressCallback
from gpt1.reports.console import Console
from gpt1.reports.formatting import format_duration, format_perplexity

_LAST = 50  # updates whose mean loss is shown
_WIDTH = 100
_PAUSE = 0.5  # seconds between two drawings of the panel
_FIGURES = {
    "lr": "lr {:.2e}",
    "grad_norm": "gradient norm {:.2f}",
    "tokens_per_second": "{:,.0f} tokens/s",
    "loader_share": "data {:.1%} of a step",
}


class TrainingProgress:
    """Shows a run on a console: a panel on a terminal, elsewhere a line every `every` updates.

    With `language` a loss is also shown as a perplexity; a task's loss is shown without the LM
    loss, which `lm_coef` weighs, and with it. `callback` is called after each update.
    """

    def __init__(
        self,
        every: int,
        console: Console,
        *,
        language: bool = True,
        lm_coef: float = 0.0,
        callback: ProgressCallback | None = None,
    ) -> None:
        self._every, self._console = every, console
        self._language, self._lm_coef, self._callback = language, lm_coef, callback
        self._live: Live | None = None
        self._total = 0
        self._best: tuple[float, float, int] | None = None
        self._validation = "none yet"

    def note(self, text: str) -> None:
        """Print a line of its own."""
        self._console.print(text, soft_wrap=True, markup=False)

    def start(self, total: int, done: int) -> None:
        """Begin to show updates `done` to `total`."""
        self._total, self._first, self._step = total, done, done
        self._began, self._drawn = time.monotonic(), 0.0
        self._last: Mapping[str, Any] = {}
        self._losses: deque[float] = deque(maxlen=_LAST)
        self._skipped = 0
        if self._console.is_terminal:
            # drawn between two updates: no thread of its own that takes time from training
            self._live = Live(
                get_renderable=self._panel,
                console=self._console,
                auto_refresh=False,
                redirect_stdout=False,
            )
            self._live.start()

    def show(self, record: Mapping[str, Any]) -> None:
        """Show one line of metrics.jsonl."""
        step = record["step"]
        if self._callback is not None:
            self._callback(step, self._total)
        if "valid_loss" in record:
            self._show_validation(record)
        elif "sample" in record:
            lines = record["sample"].splitlines() or [""]
            self.note("\n".join([f"update {step} writes:", *(f"  | {line}" for line in lines)]))
        elif "skipped" in record:
            self._step = step
            self._skipped += 1
            self.note(f"update {step} is skipped: {record['skipped']}")
        else:
            self._show_update(record)

    def figures(self, values: Mapping[str, float]) -> str:
        """Return the figures of an evaluation as text, a task's metric first."""
        metrics = [f"{name.replace('_', ' ')} {v:.4f}" for name, v in _metrics(values).items()]
        return ", ".join([*metrics, self._loss(values, ".4f")])

    def stop(self) -> None:
        """End the live panel."""
        if self._live is not None:
            self._live.refresh()
            self._live.stop()
            self._live = None

    def _show_validation(self, record: Mapping[str, Any]) -> None:
        step, loss = record["step"], record["valid_loss"]
        values = {n.removeprefix("valid_"): v for n, v in record.items() if n != "step"}
        metric = next(iter(_metrics(values).values()), None)
        rank = (loss, loss, step) if metric is None else (-metric, loss, step)
        self._best = min(self._best or rank, rank)  # as the best model is chosen
        best, _, best_step = self._best
        figures = self.figures(values)
        ending = "the best" if best_step == step else f"the best {abs(best):.4f} at {best_step}"
        self._validation = f"{figures} at update {step}, {ending}"
        self.note(f"update {step}: validation {figures}")

    def _show_update(self, record: Mapping[str, Any]) -> None:
        self._step, self._last = record["step"], record
        self._losses.append(record["loss"])
        if self._live is not None:
            now = time.monotonic()
            if now - self._drawn >= _PAUSE:
                self._drawn = now
                self._live.refresh()
        elif self._step % self._every == 0 or self._step == self._total:
            self.note(
                f"update {self._step}/{self._total}  {self._loss(record)}  lr {record['lr']:.2e}  "
                f"{record['tokens_per_second']:,.0f} tokens/s  {self._left()} left"
            )

    def _loss(self, values: Mapping[str, Any], form: str = ".3f") -> str:
        """Return a loss as text: of a task without, and with the LM loss."""
        loss, task = values["loss"], values.get("task_loss")
        if task is None:
            return f"loss {loss:{form}}{self._perplexity(loss)}"
        return f"task loss {task:{form}} (with {self._lm_coef:g} x LM: {loss:{form}})"

    def _perplexity(self, loss: float) -> str:
        return f", perplexity {format_perplexity(loss)}" if self._language else ""

    def _left(self) -> str:
        done = self._step - self._first
        if not done:
            return "?"
        return format_duration((time.monotonic() - self._began) / done * (self._total - self._step))

    def _panel(self) -> Panel:
        total = max(1, self._total)
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", no_wrap=True)
        rows.add_column(overflow="fold")
        rows.add_row(f"{self._step / total:.0%}", ProgressBar(total, self._step))
        so_far = format_duration(time.monotonic() - self._began)
        rows.add_row("time", f"{so_far} so far, {self._left()} left")
        if self._losses:
            mean = statistics.fmean(self._losses)
            rows.add_row("update", self._loss(self._last))
            rows.add_row(f"last {len(self._losses)}", f"{mean:.3f}{self._perplexity(mean)}")
        rows.add_row("validation", self._validation)
        figures = [text.format(self._last[n]) for n, text in _FIGURES.items() if n in self._last]
        if self._skipped:
            figures.append(f"{self._skipped} skipped")
        rows.add_row("step", ", ".join(figures) or "waiting for the first update")
        return Panel(
            rows,
            title="training",
            title_align="left",
            subtitle=f"{self._step:,}/{self._total:,} updates",
            subtitle_align="right",
            border_style="cyan",
            width=min(self._console.width, _WIDTH),
        )


def _metrics(values: Mapping[str, float]) -> dict[str, float]:
    """Return the figures of an evaluation that are no loss."""
    return {name: v for name, v in values.items() if name not in ("loss", "task_loss")}
