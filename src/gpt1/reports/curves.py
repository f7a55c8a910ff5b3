"""The curves of one training run, or of several over one another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from gpt1.model import losses
from gpt1.reports.history import History
from gpt1.reports.sections import Curve, Level, LineChart

_REACH, _SHARE = 50, 40  # neighbours on each side that smoothing takes: a 40th of the run

Runs = Mapping[str, History]
Axis = Literal["update", "tokens read", "hours"]


def run_charts(runs: Runs) -> list[LineChart]:
    """Return the charts of one run, or of several (name -> run) over one another."""
    charts = [_loss_chart("Loss", runs)]
    if len(runs) > 1:
        charts.append(_loss_chart("Loss by tokens", runs, "tokens read"))
        charts.append(_loss_chart("Loss by time", runs, "hours"))
    charts += [
        _quality_chart(runs),
        LineChart("Learning rate", "update", "learning rate", _curves(runs, "lr", smooth=False)),
        LineChart(
            "Gradient norm", "update", "before clipping", _curves(runs, "grad_norm"),
            levels=_clipping(runs), log_y=True,
        ),
        LineChart(
            "Speed", "update", "tokens a second", _curves(runs, "tokens_per_second"),
            from_zero=True,
        ),
    ]  # fmt: skip
    if any("loader_share" in line for run in runs.values() for line in run.updates):
        curves = _curves(runs, "loader_share")
        charts.append(
            LineChart("Waiting for data", "update", "share of a step", curves, from_zero=True)
        )
    return charts


def _loss_chart(title: str, runs: Runs, axis: Axis = "update") -> LineChart:
    skipped: list[float] = []
    if len(runs) == 1:
        skipped = [line["step"] for run in runs.values() for line in run.skipped]
    curves = _loss_curves(runs, axis)
    return LineChart(
        title, axis, "nats a token", curves, events=skipped, event_label="skipped"
    )  # fmt: skip


def _quality_chart(runs: Runs) -> LineChart:
    """Return the chart of a task's metric, or of the perplexity where the runs have none."""
    metrics = {run.metric for run in runs.values()}
    metric = metrics.pop() if len(metrics) == 1 else None
    if metric is None:
        curves = _loss_curves(runs, perplexity=True)
        return LineChart("Perplexity", "update", "perplexity", curves, log_y=True)
    return LineChart(
        metric.capitalize(),
        "update",
        f"validation {metric}",
        [
            Curve(
                "validation" if len(runs) == 1 else f"{name}, validation",
                [line["step"] for line in run.evaluations],
                [line[f"valid_{metric}"] for line in run.evaluations],
                color,
                marker=True,
            )
            for color, (name, run) in enumerate(runs.items())
        ],
    )


def _loss_curves(runs: Runs, axis: Axis = "update", *, perplexity: bool = False) -> list[Curve]:
    """Return the training and validation losses of each run, or their perplexities."""
    alone = len(runs) == 1
    curves = []
    for color, (name, run) in enumerate(runs.items()):
        label = "training" if alone else name
        place = _places(run, axis)
        updates = [line for line in run.updates if math.isfinite(line["loss"])]
        x = [place[line["step"]] for line in updates]
        raw = [line["loss"] for line in updates]
        mean = _smooth(raw)
        evaluations = [line for line in run.evaluations if line["step"] in place]
        valid_x = [place[line["step"]] for line in evaluations]
        valid = [line["valid_loss"] for line in evaluations]
        if perplexity:
            mean, valid = [*map(losses.perplexity, mean)], [*map(losses.perplexity, valid)]
        elif alone:
            curves.append(Curve("", x, raw, color, "faint"))
        curves.append(Curve(f"{label}, smoothed", x, mean, color))
        if valid:
            label = "validation" if alone else f"{name}, validation"
            curves.append(Curve(label, valid_x, valid, 1 if alone else color, "points"))
    return curves


def _curves(runs: Runs, key: str, *, smooth: bool = True) -> list[Curve]:
    """Return a figure of the updates of each run."""
    alone = len(runs) == 1
    curves = []
    for color, (name, run) in enumerate(runs.items()):
        updates = [line for line in run.updates if key in line and math.isfinite(line[key])]
        x, y = [line["step"] for line in updates], [line[key] for line in updates]
        if alone and smooth:
            curves.append(Curve("", x, y, color, "faint"))
        curves.append(Curve("" if alone else name, x, _smooth(y) if smooth else y, color))
    return curves


def _clipping(runs: Runs) -> list[Level]:
    """Return where gradients are clipped, if all runs clip at one norm."""
    norms = {run.record["config"].get("optimizer", {}).get("max_grad_norm")
             for run in runs.values()}  # fmt: skip
    norm = norms.pop() if len(norms) == 1 else None
    return [Level(norm, "clipped above")] if isinstance(norm, int | float) else []


def _places(run: History, axis: Axis) -> dict[int, float]:
    """Return where on the horizontal axis each number of updates stands."""
    if axis == "update":
        return {line["step"]: line["step"] for line in run.updates + run.evaluations}
    if axis == "tokens read":
        return {0: 0} | {line["step"]: line["tokens"] for line in run.updates}
    return {0: 0} | {line["step"]: line["seconds"] / 3600 for line in run.updates}


def _smooth(values: Sequence[float]) -> list[float]:
    """Return the mean of each value's neighbours: it does not lag behind, as a running mean does.

    >>> _smooth([0.0, 0.0, 9.0, 0.0, 0.0])  # too few for neighbours
    [0.0, 0.0, 9.0, 0.0, 0.0]
    """
    reach = min(_REACH, len(values) // _SHARE)
    sums = [0.0, *itertools.accumulate(values)]
    means = []
    for i in range(len(values)):
        first, end = max(0, i - reach), min(len(values), i + reach + 1)
        means.append((sums[end] - sums[first]) / (end - first))
    return means
