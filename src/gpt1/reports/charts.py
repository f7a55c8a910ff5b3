"""Charts as SVG or PNG: the one module that uses matplotlib.

SVG keeps its texts as text, in the reader's fonts. Colors are for a white background; the page
inverts them on a dark screen.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from gpt1.reports.sections import BarChart, Curve, LineChart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = ("#1f6fb4", "#d9601a", "#2c8a4b", "#a0409a", "#8a6d1f")
_INSIDE = 4
"""A legend of more curves stands below the axes."""
_LONGEST_LABEL = 50
_RED = "#c8372d"
_GREY = "#6a6f78"
_CURVES: dict[str, dict[str, Any]] = {
    "faint": {"alpha": 0.3},
    "dots": {"linestyle": "", "marker": "o", "markersize": 4, "markeredgewidth": 0, "alpha": 0.45},
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


def draw_svg(chart: LineChart | BarChart, *, alone: bool = False) -> bytes:
    """Return a chart as SVG: alone with its title, for a page with a transparent background."""
    if isinstance(chart, BarChart):
        size = 2.4 + 0.7 * len(chart.names), 3.2
    else:
        size = (4.2, 4.2) if chart.diagonal else (4.6, 2.8)
    return _draw_figure([chart], size, "svg", alone=alone)


def draw_png(*charts: LineChart, size: tuple[float, float]) -> bytes:
    """Return charts side by side as PNG of a `size` in inches, at 150 dots per inch."""
    return _draw_figure(charts, size, "png", alone=True)


def _draw_figure(
    charts: Sequence[LineChart | BarChart],
    size: tuple[float, float],
    form: Literal["svg", "png"],
    *,
    alone: bool,
) -> bytes:
    import matplotlib  # slow to import, and needed only here
    import matplotlib.figure

    out = io.BytesIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's browser has fonts
        figure = matplotlib.figure.Figure(figsize=size, layout="constrained", dpi=150)
        panels = figure.subplots(1, len(charts), squeeze=False)[0]
        for axes, chart in zip(panels, charts, strict=True):
            if isinstance(chart, BarChart):
                _draw_bars(axes, chart)
            else:
                _draw(axes, chart)
            if alone:
                axes.set_title(printable(chart.title))
        metadata = {"Date": None} if form == "svg" else None
        figure.savefig(out, format=form, transparent=not alone, metadata=metadata)
    return out.getvalue()


def _draw(axes: Axes, chart: LineChart) -> None:
    for curve in chart.curves:
        _draw_curve(axes, curve)
    for level in chart.levels:
        axes.axhline(level.value, color=_GREY, linewidth=1, linestyle=":")
        axes.annotate(
            level.label, (1, level.value), xycoords=("axes fraction", "data"),
            xytext=(-4, 3), textcoords="offset points", ha="right", color=_GREY,
        )  # fmt: skip
    for number, x in enumerate(chart.skipped):
        axes.axvline(x, color=_RED, linewidth=0.8, label="" if number else "skipped")
    if chart.diagonal:
        axes.axline((0, 0), slope=1, color=_GREY, linestyle="--", linewidth=1)
        axes.set_aspect("equal")
        axes.margins(0.08)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    _set_x_axis(axes, chart)
    _set_y_axis(axes, chart)
    labels = axes.get_legend_handles_labels()[1]
    if len(labels) > _INSIDE:
        handles = axes.get_legend_handles_labels()
        axes.figure.legend(*handles, loc="outside lower center", ncols=2, handlelength=3.5)
    elif labels:
        axes.legend()


def _draw_bars(axes: Axes, chart: BarChart) -> None:
    from matplotlib.ticker import FuncFormatter

    width = 0.8 / len(chart.bars)
    for number, (label, heights) in enumerate(chart.bars.items()):
        places = [i + (number + 0.5) * width - 0.4 for i in range(len(heights))]
        color = _COLORS[number % len(_COLORS)]
        bars = axes.bar(places, heights, width, label=printable(label), color=color)
        axes.bar_label(bars, fmt=lambda height: f"{height:,.0f}", fontsize=6, padding=1)
    names = ["\n".join(map(printable, name.splitlines())) for name in chart.names]
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel(chart.y_label)
    axes.yaxis.set_major_formatter(FuncFormatter(format_tick))
    axes.grid(False, axis="x")
    axes.legend()


def _draw_curve(axes: Axes, curve: Curve) -> None:
    color = _COLORS[curve.color % len(_COLORS)]
    style = {"linewidth": 1.2, **_CURVES.get(curve.style, {"linestyle": curve.style})}
    if curve.marker or len(curve.x) == 1:
        style |= {"marker": "o", "markersize": 3}
    label = printable(curve.label)
    if len(label) > _LONGEST_LABEL:  # of a path the end tells more; a longer legend hides the axes
        label = "..." + label[3 - _LONGEST_LABEL :]
    axes.plot(curve.x, curve.y, label=label or None, color=color, **style)
    for note, point in zip(curve.notes, zip(curve.x, curve.y, strict=True), strict=False):
        axes.annotate(note, point, xytext=(5, -9), textcoords="offset points", fontsize=7)
    if curve.band is not None:
        axes.fill_between(curve.x, *curve.band, color=color, alpha=0.13, linewidth=0)


def _set_x_axis(axes: Axes, chart: LineChart) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if chart.x_names:
        axes.set_xticks(list(chart.x_names), list(chart.x_names.values()))
        return
    xs = [float(x) for curve in chart.curves for x in curve.x]
    if chart.log_x and min(xs) > 0:
        axes.set_xscale("log")
    elif chart.log_x:  # 0 has no place on a logarithmic axis
        least = max(1, min([x for x in xs if x > 0], default=1))
        axes.set_xscale("symlog", linthresh=least)
        axes.set_xlim(left=-0.1 * least)
    else:
        whole = all(x == int(x) for x in xs)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=whole, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(format_tick))


def _set_y_axis(axes: Axes, chart: LineChart) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    values = [y for curve in chart.curves for y in curve.y if math.isfinite(y) and y > 0]
    if chart.log_y and values:
        axes.set_yscale("log", nonpositive="mask")
        far = max(values) / min(values) >= 10
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if far else MaxNLocator(6))
        axes.yaxis.set_minor_locator(NullLocator())
    if chart.from_zero:
        axes.set_ylim(bottom=0)
    if chart.diagonal:  # the same ticks on both axes
        low, high = (
            min(axes.get_xlim()[0], axes.get_ylim()[0]),
            max(axes.get_xlim()[1], axes.get_ylim()[1]),
        )
        for axis, limit in ((axes.xaxis, axes.set_xlim), (axes.yaxis, axes.set_ylim)):
            limit(low, high)
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(format_tick))


def printable(text: str) -> str:
    r"""Return a label without what matplotlib cannot draw, or hides: a leading underscore.

    >>> printable("_a"), printable("b\n")
    (' _a', 'b?')
    """
    text = "".join(c if c.isprintable() else "?" for c in text)
    return f" {text}" if text.startswith("_") else text


def format_tick(value: float, position: int | None = None) -> str:
    """Return the text of a number beside an axis.

    >>> format_tick(12000.0), format_tick(2.5e6), format_tick(0.5), format_tick(2.5e-05)
    ('12,000', '2.5M', '0.5', '2.5e-05')
    """
    if abs(value) >= 1e6:
        return f"{value / 1e6:,g}M"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"
