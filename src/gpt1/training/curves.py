"""The curves of one run, or of several over one another, as SVG with some hundred points each."""

from __future__ import annotations

import io
import itertools
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from gpt1.model import losses
from gpt1.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 400  # of a curve, at most
_COLOURS = ("#3f8fd6", "#e0772f")  # both are seen on white and on black
_SECOND = _COLOURS[1]
_RED = "#d33a3a"
_GREY = "#8a8f98"
_REACH, _SHARE = 50, 40  # neighbours on each side that smoothing takes: a 40th of the run

Points = tuple[list[float], list[float]]


def charts(runs: Mapping[str, History]) -> str:
    """Return the charts of one run, or of several over one another."""
    alone = len(runs) == 1
    named = [(_label(name), run) for name, run in runs.items()]
    coloured = list(zip(named, _COLOURS, strict=False))

    def losses_by(place: str) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            for (name, run), colour in coloured:
                _losses(axes, run, "training" if alone else name, colour, alone, place)

        return draw

    def perplexities(axes: Axes) -> None:
        for (name, run), colour in coloured:
            _losses(axes, run, "training" if alone else name, colour, alone, "step", exp=True)

    def plain(key: str, *, smoothed: bool = False) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            for (name, run), colour in coloured:
                steps, values = _points(run, key)
                label = None if alone else name
                if smoothed:
                    if alone:
                        _line(axes, (steps, values), color=colour, alpha=0.3)
                    _line(axes, _smooth(steps, values), color=colour, label=label)
                else:
                    _line(axes, (steps, values), color=colour, label=label)
            limits = {run.record["config"].get("optimizer", {}).get("max_grad_norm")
                      for run in runs.values()}  # fmt: skip
            limit = limits.pop() if len(limits) == 1 else None
            if key == "grad_norm" and isinstance(limit, int | float):
                axes.axhline(limit, color=_GREY, linestyle="--", label="clipped above")

        return draw

    found = [_chart("Loss", "nats a token", losses_by("step"))]
    if not alone:
        found += [
            _chart("Loss by tokens", "nats a token", losses_by("tokens"), x="tokens read"),
            _chart("Loss by time", "nats a token", losses_by("hours"), x="hours"),
        ]
    found += [
        *_quality(coloured, alone, perplexities),
        _chart("Learning rate", "learning rate", plain("lr")),
        _chart("Gradient norm", "before clipping", plain("grad_norm", smoothed=True), log=True),
        _chart("Speed", "tokens a second", plain("tokens_per_second", smoothed=True), zero=True),
    ]
    if any("loader_share" in line for run in runs.values() for line in run.updates):
        found.append(
            _chart(
                "Waiting for data",
                "share of a step",
                plain("loader_share", smoothed=True),
                zero=True,
            )
        )
    return f'<div class="charts">{"".join(found)}</div>'


def _quality(
    coloured: Sequence[tuple[tuple[str, History], str]],
    alone: bool,
    perplexities: Callable[[Axes], None],
) -> list[str]:
    """Return the chart of a task's metric, or of the perplexity where the runs have none."""
    metrics = {run.metric for (_, run), _ in coloured}
    metric = metrics.pop() if len(metrics) == 1 else None
    if metric is None:
        return [_chart("Perplexity", "perplexity", perplexities, log=True)]

    def draw(axes: Axes) -> None:
        for (name, run), colour in coloured:
            steps = [line["step"] for line in run.checks]
            values = [line[f"valid_{metric}"] for line in run.checks]
            label = "validation" if alone else f"{name}, validation"
            axes.plot(steps, values, color=colour, marker="o", markersize=3, label=label)

    return [_chart(metric.capitalize(), f"validation {metric}", draw)]


def _label(name: str) -> str:
    """Return a name that matplotlib can draw: no half surrogate pair, and no _ at its beginning.

    >>> _label("_a"), _label("b")
    (' _a', 'b')
    """
    name = name.encode(errors="replace").decode()
    return f" {name}" if name.startswith("_") else name


def _losses(
    axes: Axes,
    run: History,
    name: str,
    colour: str,
    alone: bool,
    place: str,
    *,
    exp: bool = False,
) -> None:
    """Draw a run's training and validation losses; exp: as perplexities."""
    where = _places(run, place)

    def over(steps: Iterable[float], values: Iterable[float]) -> Points:
        pairs = [
            (where[step], losses.perplexity(value) if exp else value)
            for step, value in zip(steps, values, strict=True)
            if step in where
        ]
        return [x for x, _ in pairs], [y for _, y in pairs]

    steps, values = _points(run, "loss")
    if alone and not exp:
        _line(axes, over(steps, values), color=colour, alpha=0.3)
    _line(axes, over(*_smooth(steps, values)), color=colour, label=f"{name}, smoothed")
    checks = [(line["step"], line["valid_loss"]) for line in run.checks]
    if checks:
        style: Any = {"color": _SECOND if alone else colour, "marker": "o", "linestyle": "--"}
        label = "validation" if alone else f"{name}, validation"
        points = over(*zip(*spread(checks, _POINTS), strict=True))
        axes.plot(*points, markersize=3, linewidth=0.8, label=label, **style)
    for number, line in enumerate(run.skipped if alone else []):
        label = "" if number else "left out"
        axes.axvline(where[line["step"]], color=_RED, linewidth=0.8, label=label)


def _places(run: History, place: str) -> dict[float, float]:
    """Return where on the horizontal axis each number of updates stands."""
    if place == "step":
        lines = run.updates + run.checks + run.skipped
        return {line["step"]: line["step"] for line in lines}
    if place == "tokens":
        return {0: 0} | {line["step"]: line["tokens"] for line in run.updates}
    return {0: 0} | {line["step"]: line["seconds"] / 3600 for line in run.updates}


def _points(run: History, key: str) -> Points:
    lines = [line for line in run.updates if key in line and math.isfinite(line[key])]
    return [line["step"] for line in lines], [line[key] for line in lines]


def _smooth(steps: Sequence[float], values: Sequence[float]) -> Points:
    """Return the mean of each value's neighbours: it does not lag behind, as a running mean does.

    >>> _smooth(range(5), [0.0, 0.0, 9.0, 0.0, 0.0])[1]  # too few for neighbours
    [0.0, 0.0, 9.0, 0.0, 0.0]
    """
    reach = min(_REACH, len(values) // _SHARE)
    sums = [0.0, *itertools.accumulate(values)]
    out = []
    for i in range(len(values)):
        first, end = max(0, i - reach), min(len(values), i + reach + 1)
        out.append((sums[end] - sums[first]) / (end - first))
    return list(steps), out


def _line(axes: Axes, points: Points, **style: Any) -> None:
    steps, values = _thin(*points)
    marker = "o" if len(steps) == 1 else None
    axes.plot(steps, values, linewidth=1.2, marker=marker, **style)


def _thin(steps: Sequence[float], values: Sequence[float], limit: int = _POINTS) -> Points:
    """Return at most about `limit` points: the least and the greatest of each stretch, so that a
    single spike is still seen.

    >>> _thin(range(8), [0, 1, 9, 1, 0, -7, 0, 3], limit=4)
    ([0, 2, 5, 7], [0, 9, -7, 3])
    """
    count = len(values)
    if count <= limit:
        return list(steps), list(values)
    stretch = -(-2 * count // limit)
    kept: list[int] = []
    for start in range(0, count, stretch):
        indices = range(start, min(start + stretch, count))
        least = min(indices, key=values.__getitem__)
        greatest = max(indices, key=values.__getitem__)
        kept += sorted({least, greatest})
    return [steps[i] for i in kept], [values[i] for i in kept]


def spread(items: Sequence[Any], limit: int) -> list[Any]:
    """Return at most `limit` items, evenly spaced, the first and the last among them.

    >>> spread(range(10), 4)
    [0, 3, 6, 9]
    """
    if len(items) <= limit:
        return list(items)
    return [items[round(i * (len(items) - 1) / (limit - 1))] for i in range(limit)]


def _chart(
    title: str,
    y: str,
    draw: Callable[[Axes], None],
    *,
    x: str = "update",
    log: bool = False,
    zero: bool = False,
) -> str:
    """Return a figure of HTML with what `draw` draws."""
    import matplotlib  # slow to import, and needed only here
    import matplotlib.figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    style: Any = {
        "svg.fonttype": "none", "svg.hashsalt": title, "font.size": 9, "path.simplify": True,
        "axes.edgecolor": _GREY, "xtick.color": _GREY, "ytick.color": _GREY,
        "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
        "text.parse_math": False,
    }  # fmt: skip
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's browser has fonts
        figure = matplotlib.figure.Figure(figsize=(4.6, 2.8), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.subplots()
        axes.patch.set_alpha(0)
        draw(axes)
        values = [
            value
            for line in axes.get_lines()
            for value in map(float, line.get_ydata())  # type: ignore[arg-type]
            if math.isfinite(value) and (value > 0 or not log)
        ]
        if log and values:
            axes.set_yscale("log", nonpositive="mask")
            far = max(values) / min(values) >= 10
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if far else MaxNLocator(6))
            axes.yaxis.set_minor_locator(NullLocator())
        if zero:
            axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(_tick))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=x != "hours", steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(_tick))
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.grid(alpha=0.25, color=_GREY, linewidth=0.6)
        if axes.get_legend_handles_labels()[1]:
            axes.legend()
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return f"<figure><figcaption>{escape(title)}</figcaption>{_inline(text.getvalue())}</figure>"


def _tick(value: float, position: int | None = None) -> str:
    """Write a number beside an axis.

    >>> _tick(12000.0), _tick(2.5e6), _tick(0.5), _tick(2.5e-05)
    ('12,000', '2.5M', '0.5', '2.5e-05')
    """
    if abs(value) >= 1e6:
        return f"{value / 1e6:,g}M"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def _inline(svg: str) -> str:
    """Return the <svg> element alone, as wide as its place, without names that look like links."""
    svg = svg[svg.index("<svg") :]
    for element in ("metadata", "style"):  # the page has a style for all
        svg = re.sub(f"<{element}.*?</{element}>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (xmlns(:\w+)?|width|height|id)="[^"]*"', _kept, svg)
    return re.sub(r"\n\s*", "\n", svg).strip()


def _kept(attribute: re.Match[str]) -> str:
    """Drop a name space, the fixed size, and the groups' ids, which other charts have as well."""
    text = attribute.group()
    grouped = re.match(r' id="[\w.]+_\d+"', text)
    sized = re.match(r' (width|height)="[^"]*pt"', text)
    return "" if " xmlns" in text or grouped or sized else text
