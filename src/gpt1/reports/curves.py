"""The curves of one training run, or of several over one another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from gpt1.model import losses
from gpt1.reports.history import History, Record
from gpt1.reports.sections import Curve, Level, LineChart

_POINTS = 400
"""About how many points of a curve are drawn."""
_REACH, _SHARE = 50, 40
"""Smoothing takes a 40th of the run on each side, at most 50 updates."""

Runs = Mapping[str, History]
Axis = Literal["update", "tokens read", "seconds", "minutes", "hours"]
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}


def run_charts(runs: Runs) -> list[LineChart]:
    """Return the charts of one run, or of several (name -> run) over one another."""

    def chart(title: str, key: str, y_label: str, **options: Any) -> LineChart:
        return LineChart(title, "update", y_label, _curves(runs, key), **options)

    charts = [_loss_chart("Loss", runs, "update")]
    if len(runs) > 1:
        charts.append(_loss_chart("Loss by tokens", runs, "tokens read"))
        charts.append(_loss_chart("Loss by time", runs, _time_axis(runs)))
    charts += [
        *_quality_chart(runs),
        chart("Learning rate", "lr", "learning rate"),
        chart("Gradient norm", "grad_norm", "before clipping", levels=_clipping(runs), log_y=True),
        chart("Speed", "tokens_per_second", "tokens a second", from_zero=True),
    ]
    if any("loader_share" in line for run in runs.values() for line in run.updates):
        charts.append(chart("Waiting for data", "loader_share", "share of a step", from_zero=True))
    return charts


def _loss_chart(title: str, runs: Runs, axis: Axis) -> LineChart:
    curves = _curves(runs, "loss", axis) + _evaluations(runs, "valid_loss", axis)
    skipped = [line["step"] for run in runs.values() for line in run.skipped]
    names = {run.loss_name for run in runs.values()}
    unit = names.pop() if len(names) == 1 else "loss"  # of runs on different tasks
    return LineChart(title, axis, unit, curves, skipped=skipped if len(runs) == 1 else ())


def _time_axis(runs: Runs) -> Axis:
    """Return the unit in which the longest run has a few to some hundreds."""
    longest = max((line["seconds"] for run in runs.values() for line in run.updates), default=0)
    return "seconds" if longest < 120 else "minutes" if longest < 7200 else "hours"


def _quality_chart(runs: Runs) -> list[LineChart]:
    """Return charts of a task: metric and own loss; of language models: perplexity."""
    metrics = {run.metric for run in runs.values()}
    metric = metrics.pop() if len(metrics) == 1 else None
    charts: list[LineChart] = []
    if metric is not None:
        curves = _evaluations(runs, f"valid_{metric}")
        charts = [LineChart(metric.capitalize(), "update", f"validation {metric}", curves)]
    if any(run.loss_name != "nats a token" for run in runs.values()):
        curves = _curves(runs, "task_loss") + _evaluations(runs, "valid_task_loss")
        if any(curve.x for curve in curves):
            charts.append(LineChart("Task loss", "update", "without the LM loss", curves))
        return charts
    curves = [
        replace(curve, y=[*map(losses.perplexity, curve.y)])
        for curve in _curves(runs, "loss") + _evaluations(runs, "valid_loss")
        if curve.style != "faint"
    ]
    return [LineChart("Perplexity", "update", "perplexity", curves, log_y=True)]


def _curves(runs: Runs, key: str, axis: Axis = "update") -> list[Curve]:
    """Return a figure of each run's updates, smoothed; of a single run, each update faintly too."""
    alone = len(runs) == 1
    curves = []
    for color, (name, run) in enumerate(runs.items()):
        updates = [line for line in run.updates if math.isfinite(line.get(key, math.nan))]
        x, y = _points(run, updates, key, axis)
        if not x:  # such as a language model beside a task's
            continue
        if alone and key != "lr":
            curves.append(Curve("", *thin(x, y), color, "faint"))
        label = name
        if alone:
            label = "training, smoothed" if key.endswith("loss") else ""
        curves.append(Curve(label, *thin(x, y if key == "lr" else _smooth(y)), color))
    return curves


def _evaluations(runs: Runs, key: str, axis: Axis = "update") -> list[Curve]:
    alone = len(runs) == 1
    curves = []
    for color, (name, run) in enumerate(runs.items()):
        x, y = _points(run, [line for line in run.evaluations if key in line], key, axis)
        label = "validation" if alone else f"{name}, validation"
        if x:
            curves.append(Curve(label, x, y, 1 if alone else color, "dashed", marker=True))
    return curves


def _points(
    run: History, lines: Sequence[Record], key: str, axis: Axis
) -> tuple[list[float], list[float]]:
    """Return x and y of the lines whose update has a position on the axis."""
    if axis == "update":
        positions = {line["step"]: line["step"] for line in lines}
    elif axis == "tokens read":
        positions = {0: 0.0} | {line["step"]: line["tokens"] for line in run.updates}
    else:
        unit = _SECONDS[axis]
        positions = {0: 0.0} | {line["step"]: line["seconds"] / unit for line in run.updates}
    lines = [line for line in lines if line["step"] in positions]
    return [positions[line["step"]] for line in lines], [line[key] for line in lines]


def _clipping(runs: Runs) -> list[Level]:
    """Return where gradients are clipped, if all runs clip at one norm."""
    optimizers = [run.record.config.get("optimizer", {}) for run in runs.values()]
    norms = {optimizer.get("max_grad_norm") for optimizer in optimizers}
    norm = norms.pop() if len(norms) == 1 else None
    return [Level(norm, "clipped above")] if isinstance(norm, int | float) else []


def _smooth(values: Sequence[float]) -> list[float]:
    """Return the mean of each value's neighbours, which does not lag behind like a running mean.

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


def thin(
    x: Sequence[float], y: Sequence[float], limit: int = _POINTS
) -> tuple[list[float], list[float]]:
    """Return about `limit` points, the least and the greatest of each stretch: spikes stay.

    >>> thin(range(8), [0, 1, 9, 1, 0, -7, 0, 3], limit=4)
    ([0, 2, 5, 7], [0, 9, -7, 3])
    """
    count = len(y)
    if count <= limit:
        return list(x), list(y)
    stretch = -(-2 * count // limit)
    chosen: list[int] = []
    for start in range(0, count, stretch):
        indices = range(start, min(start + stretch, count))
        chosen += sorted({min(indices, key=y.__getitem__), max(indices, key=y.__getitem__)})
    return [x[i] for i in chosen], [y[i] for i in chosen]
