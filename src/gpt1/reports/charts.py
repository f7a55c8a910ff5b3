"""The one place that draws: matplotlib is set up here, and every chart becomes SVG or PNG here.

SVG keeps its texts as text, in the reader's fonts. Colors are chosen for a white ground; the page
inverts them on a dark screen.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from gpt1.reports.sections import Bars, Curve, LineChart, Scatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_POINTS = 400
"""Points of a curve that are drawn, about."""
_COLORS = ("#1f6fb4", "#d9601a", "#2c8a4b", "#a0409a", "#8a6d1f")
_RED = "#c8372d"
_GREY = "#6a6f78"
_LINES = {
    "solid": "-",
    "faint": "-",
    "points": "--",
    "dashed": "--",
    "dotted": ":",
    "dashdot": "-.",
}
_STYLE: Any = {
    "font.size": 9,
    "axes.edgecolor": _GREY,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _GREY,
    "grid.alpha": 0.2,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "gpt1",  # without it every drawing has other ids
    "text.parse_math": False,  # a run may be called $x$
}


def draw_svg(chart: Bars | Scatter | LineChart) -> bytes:
    """Return a chart as SVG with a transparent ground."""
    size = (4.6, 2.8) if isinstance(chart, LineChart) else (4.2, 4.2)
    with _figure(size) as figure:
        figure.patch.set_alpha(0)
        axes = figure.subplots()
        axes.patch.set_alpha(0)
        _draw(axes, chart)
        return _save(figure, "svg")


def draw_png(*charts: LineChart, size: tuple[float, float]) -> bytes:
    """Return charts beside one another as PNG; `size` is in inches, at 150 dots each."""
    with _figure(size) as figure:
        for axes, chart in zip(
            figure.subplots(1, len(charts), squeeze=False)[0], charts, strict=True
        ):
            axes.set_title(chart.title)
            _draw(axes, chart)
            if chart.legend == "below":
                axes.get_legend().remove()
                figure.legend(
                    handles=axes.get_legend_handles_labels()[0],
                    loc="outside lower center",
                    ncols=2,
                    fontsize=8,
                    handlelength=3.5,
                )
        return _save(figure, "png")


@contextmanager
def _figure(size: tuple[float, float]) -> Iterator[Figure]:
    """Set matplotlib up, for as long as a figure is drawn and saved."""
    import matplotlib  # slow to import, and needed only here
    import matplotlib.figure

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's browser has fonts
        yield matplotlib.figure.Figure(figsize=size, layout="constrained", dpi=150)


def _save(figure: Figure, form: Literal["svg", "png"]) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format=form, metadata={"Date": None} if form == "svg" else None)
    return out.getvalue()


def _draw(axes: Axes, chart: Bars | Scatter | LineChart) -> None:
    if isinstance(chart, LineChart):
        _draw_lines(axes, chart)
    elif isinstance(chart, Scatter):
        _draw_scatter(axes, chart)
    else:
        _draw_bars(axes, chart)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)


def _draw_lines(axes: Axes, chart: LineChart) -> None:
    for curve in chart.curves:
        _draw_curve(axes, curve)
    for level in chart.levels:
        label = None if level.inline else level.label
        axes.axhline(level.value, color=_GREY, linewidth=1, linestyle=":", label=label)
        if level.inline:
            axes.annotate(
                level.label, (1, level.value), xycoords=("axes fraction", "data"),
                xytext=(-4, 3), textcoords="offset points", ha="right", color=_GREY,
            )  # fmt: skip
    for number, x in enumerate(chart.events):
        axes.axvline(x, color=_RED, linewidth=0.8, label="" if number else chart.event_label)
    _set_axes(axes, chart)
    if axes.get_legend_handles_labels()[1]:
        axes.legend()


def _draw_curve(axes: Axes, curve: Curve) -> None:
    color = _COLORS[curve.color % len(_COLORS)]
    style: Any = {"color": color, "linestyle": _LINES[curve.style], "linewidth": 1.2}
    if curve.style == "faint":
        style["alpha"] = 0.3
    if curve.marker or curve.style == "points" or len(curve.x) == 1:
        style |= {"marker": "o", "markersize": 3}
    axes.plot(*thin(curve.x, curve.y), label=printable(curve.label) or None, **style)
    if curve.band is not None:
        axes.fill_between(curve.x, *curve.band, color=color, alpha=0.13, linewidth=0)


def _set_axes(axes: Axes, chart: LineChart) -> None:
    """Choose scales, and ticks that can be read."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    values = [float(y) for curve in chart.curves for y in curve.y]
    values = [y for y in values if math.isfinite(y) and (y > 0 or not chart.log_y)]
    if chart.log_y and values:
        axes.set_yscale("log", nonpositive="mask")
        far = max(values) / min(values) >= 10
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if far else MaxNLocator(6))
        axes.yaxis.set_minor_locator(NullLocator())
    if chart.from_zero:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(format_tick))
    if chart.x_names:
        axes.set_xticks(list(chart.x_names), list(chart.x_names.values()))
        return
    xs = [float(x) for curve in chart.curves for x in curve.x]
    if chart.log_x and min(xs) > 0:
        axes.set_xscale("log")
    elif chart.log_x:  # 0 has no place on a logarithmic axis
        least = min([x for x in xs if x > 0], default=1)
        axes.set_xscale("symlog", linthresh=max(1, least))
        axes.set_xlim(left=-0.1 * max(1, least))
    else:
        whole = all(x == int(x) for x in xs)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=whole, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(format_tick))


def _draw_scatter(axes: Axes, chart: Scatter) -> None:
    x, y = zip(*chart.points, strict=True)
    low, high = min(x + y), max(x + y)
    axes.plot(
        x, y, linestyle="", marker="o", markersize=4, alpha=0.45, markeredgewidth=0,
        color=_COLORS[0],
    )  # fmt: skip
    axes.plot((low, high), (low, high), color=_GREY, linestyle="--", linewidth=1)
    axes.set_aspect("equal")


def _draw_bars(axes: Axes, chart: Bars) -> None:
    for bar in chart.bars:
        axes.bar(
            (bar.low + bar.high) / 2, bar.height, 0.92 * (bar.high - bar.low),
            color=_COLORS[0], alpha=0.55,
        )  # fmt: skip
    axes.plot((0, 1), (0, 1), color=_GREY, linestyle="--", linewidth=1)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")


def printable(text: str) -> str:
    r"""Return a label that can be drawn: no half surrogate pair, no control, no _ at its beginning.

    >>> printable("_a"), printable("b\n")
    (' _a', 'b?')
    """
    text = "".join(c if c.isprintable() else "?" for c in text)
    return f" {text}" if text.startswith("_") else text


def thin(
    x: Sequence[float], y: Sequence[float], limit: int = MAX_POINTS
) -> tuple[list[float], list[float]]:
    """Return about `limit` points: the least and the greatest of each stretch.

    A single spike is still seen.

    >>> thin(range(8), [0, 1, 9, 1, 0, -7, 0, 3], limit=4)
    ([0, 2, 5, 7], [0, 9, -7, 3])
    """
    count = len(y)
    if count <= limit:
        return list(x), list(y)
    stretch = -(-2 * count // limit)
    kept: list[int] = []
    for start in range(0, count, stretch):
        indices = range(start, min(start + stretch, count))
        least = min(indices, key=y.__getitem__)
        greatest = max(indices, key=y.__getitem__)
        kept += sorted({least, greatest})
    return [x[i] for i in kept], [y[i] for i in kept]


def format_tick(value: float, position: int | None = None) -> str:
    """Return a number as it is written beside an axis.

    >>> format_tick(12000.0), format_tick(2.5e6), format_tick(0.5), format_tick(2.5e-05)
    ('12,000', '2.5M', '0.5', '2.5e-05')
    """
    if abs(value) >= 1e6:
        return f"{value / 1e6:,g}M"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"
