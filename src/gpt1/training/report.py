"""The curves of a run, as a picture."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from gpt1 import storage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gpt1.training.run import Run


def write_curves(run: Run) -> None:
    """Write RUN/curves.png: loss, learning rate, gradient norm and speed over the updates."""
    import matplotlib.figure  # slow to import, and needed only here

    lines = run.log.read()
    updates = [line for line in lines if "loss" in line]
    checks = [line for line in lines if "valid_loss" in line]
    figure = matplotlib.figure.Figure(figsize=(11, 7), layout="constrained")
    (loss, rate), (norm, speed) = figure.subplots(2, 2)
    _draw(loss, updates, "loss", "training", alpha=0.6)
    _draw(loss, checks, "valid_loss", "validation", marker="o")
    loss.set_title("loss (nats a token)")
    loss.legend()
    for axes, key, title in (
        (rate, "lr", "learning rate"),
        (norm, "grad_norm", "gradient norm before clipping"),
        (speed, "tokens_per_second", "tokens a second"),
    ):
        _draw(axes, updates, key, title)
        axes.set_title(title)
    for axes in (loss, rate, norm, speed):
        axes.set_xlabel("update")
        axes.grid(alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    storage.write_file(run.path / "curves.png", picture.getvalue())


def _draw(axes: Axes, lines: list[dict[str, Any]], key: str, label: str, **style: Any) -> None:
    axes.plot([line["step"] for line in lines], [line[key] for line in lines], label=label, **style)
