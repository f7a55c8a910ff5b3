"""What a person sees while a model trains: a live panel on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gpt1.model import losses

_BARS = "▁▂▃▄▅▆▇█"
_LAST = 60  # updates that the sparkline looks back, where there is room
_WIDTH = 100
_SMOOTHED = 50  # updates that the smoothed loss is about
_PAUSE = 0.5  # seconds between two drawings of the panel


class Progress:
    """Shows a run on stderr; `every` updates a line where there is no terminal.

    With `language` a loss is also shown as a perplexity.
    """

    def __init__(
        self, every: int, console: Console | None = None, *, language: bool = True
    ) -> None:
        self._language = language
        self.console = console or Console(stderr=True, highlight=False)
        self._every = every
        self._live: Live | None = None
        self._total = 0
        self._checks: list[tuple[float, int]] = []

    def note(self, text: str) -> None:
        """Print a line of its own."""
        self.console.print(text, soft_wrap=True, markup=False)

    def start(self, total: int, done: int) -> None:
        """Begin to show updates `done` to `total`."""
        self._total, self._first, self._step = total, done, done
        self._began, self._drawn = time.monotonic(), 0.0
        self._last: Mapping[str, Any] = {}
        self._losses: deque[float] = deque(maxlen=_LAST)
        self._smoothed = Smoothed(_SMOOTHED)
        self._skipped = 0
        if self.console.is_terminal:
            # drawn by us between two updates: no thread of its own that takes time from training
            self._live = Live(
                get_renderable=self._panel,
                console=self.console,
                auto_refresh=False,
                redirect_stdout=False,
            )
            self._live.start()

    def show(self, record: Mapping[str, Any]) -> None:
        """Show one line of metrics.jsonl."""
        step = record["step"]
        if "valid_loss" in record:
            self._show_validation(record)
        elif "sample" in record:
            self.note(f"update {step}: {record['sample']!r}")
        elif "skipped" in record:
            self._step = step
            self._skipped += 1
            self.note(f"update {step} is left out: {record['skipped']}")
        else:
            self._show_update(record)

    def stop(self) -> None:
        """End the live panel."""
        if self._live is not None:
            self._live.refresh()
            self._live.stop()
            self._live = None

    def _show_validation(self, record: Mapping[str, Any]) -> None:
        step, loss = record["step"], record["valid_loss"]
        self._checks.append((loss, step))
        others = "".join(
            f", {name.removeprefix('valid_').replace('_', ' ')} {value:.4f}"
            for name, value in record.items()
            if name not in ("step", "valid_loss")
        )
        self.note(f"update {step}: validation loss {loss:.4f}{self._perplexity(loss)}{others}")

    def _show_update(self, record: Mapping[str, Any]) -> None:
        self._step, self._last = record["step"], record
        self._losses.append(record["loss"])
        self._smoothed.add(record["loss"])
        if self._live is not None:
            now = time.monotonic()
            if now - self._drawn >= _PAUSE:
                self._drawn = now
                self._live.refresh()
        elif self._step % self._every == 0 or self._step == self._total:
            self.note(
                f"update {self._step}/{self._total}  loss {record['loss']:.3f}"
                f"{self._perplexity(record['loss'])}  lr {record['lr']:.2e}  "
                f"{record['tokens_per_second']:,.0f} tokens/s  {self._left()} left"
            )

    def _perplexity(self, loss: float) -> str:
        return f", perplexity {perplexity(loss)}" if self._language else ""

    def _left(self) -> str:
        done = self._step - self._first
        if not done:
            return "?"
        return duration((time.monotonic() - self._began) / done * (self._total - self._step))

    def _panel(self) -> RenderableType:
        """Return the panel: how far, how long, and the last figures."""
        share = self._step / max(1, self._total)
        way = Table.grid(padding=(0, 2), expand=True)
        way.add_column(ratio=1)
        way.add_column(justify="right", no_wrap=True)
        way.add_row(
            ProgressBar(total=max(1, self._total), completed=self._step),
            f"{share:.0%}, {duration(time.monotonic() - self._began)} so far, {self._left()} left",
        )
        figures = Table.grid(padding=(0, 2))
        figures.add_column(style="dim", no_wrap=True)
        figures.add_column(overflow="fold")
        for name, text in self._figures():
            figures.add_row(name, text)
        body = Table.grid(expand=True)
        body.add_row(way)
        body.add_row(figures)
        return Panel(
            body,
            title="training",
            title_align="left",
            subtitle=f"{self._step:,}/{self._total:,} updates",
            subtitle_align="right",
            border_style="cyan",
            width=min(self.console.width, _WIDTH),
        )

    def _figures(self) -> Iterable[tuple[str, Text]]:
        last = self._last
        if not last:
            yield "loss", Text("waiting for the first update")
            return
        loss = Text(f"{last['loss']:.3f}  ")
        room = min(self.console.width, _WIDTH) - 26  # beside the frame, the name and the figure
        if room > 0 and not self.console.options.ascii_only:
            loss.append(sparkline(list(self._losses)[-room:]), style="cyan")
        yield "loss", loss
        smoothed = self._smoothed.value
        yield "smoothed", Text(f"{smoothed:.3f}{self._perplexity(smoothed)}")
        if self._checks:
            value, step = self._checks[-1]
            best, at = min(self._checks)
            ending = "the best" if at == step else f"the best {best:.4f} at {at}"
            text = f"{value:.4f}{self._perplexity(value)} at update {step}, "
            yield "validation", Text(text).append(ending, "green" if at == step else "yellow")
        rest = [f"lr {last['lr']:.2e}"]
        if "grad_norm" in last:
            rest.append(f"gradient norm {last['grad_norm']:.2f}")
        rest.append(f"{last['tokens_per_second']:,.0f} tokens/s")
        if "loader_share" in last:
            rest.append(f"data {last['loader_share']:.1%} of a step")
        if self._skipped:
            rest.append(f"{self._skipped} left out")
        yield "step", Text(", ".join(rest))


class Smoothed:
    """The mean of about the last `span` values, the later ones weighing more.

    >>> mean = Smoothed(2)
    >>> for value in (1.0, 2.0, 4.0):
    ...     mean.add(value)
    >>> mean.value  # (1 * 1/4 + 2 * 1/2 + 4) / (1/4 + 1/2 + 1)
    3.0
    """

    def __init__(self, span: int) -> None:
        self._keep = 1 - 1 / span
        self._sum, self._weight = 0.0, 0.0

    def add(self, value: float) -> None:
        """Take note of the next value."""
        self._sum = self._keep * self._sum + value
        self._weight = self._keep * self._weight + 1

    @property
    def value(self) -> float:
        """The mean by now; NaN before there is a value."""
        return self._sum / self._weight if self._weight else math.nan


def sparkline(values: Iterable[float]) -> str:
    """Draw values as one line of bars, from their least to their greatest.

    >>> sparkline([1, 2, 3, 8, 1])
    '▁▂▃█▁'
    """
    found = list(values)
    low = min(found, default=0.0)
    span = max(found, default=0.0) - low
    top = len(_BARS) - 1
    return "".join(_BARS[round((value - low) / span * top) if span else 0] for value in found)


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
