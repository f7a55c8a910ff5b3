"""The paper's figure 2, left: what each transferred block is worth; its numbers and its picture."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpt1.reproduction import paper
from gpt1.reproduction.document import ABSENT, Document, Table
from gpt1.reproduction.grid import Cell, Result
from gpt1.reproduction.paper import FULL, NO_PRETRAINING
from gpt1.reproduction.results import About, Figure, baseline, percent, shown, title_of
from gpt1.tasks.metrics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NOTHING = -1
"""As many "blocks" are transferred where the embeddings are random too."""

_COLOURS = {"test": "#1f6fb4", "train": "#d9601a"}
_GREY = "#6a6f78"


@dataclass(frozen=True)
class Point:
    """What models with so many transferred blocks reach; all seeds together.

    train: on as many of the rows that were learnt from; constant: the most frequent answer's.
    """

    blocks: int
    metric: str
    test: Interval
    train: float
    constant: float
    seeds: int
    train_rows: int
    test_rows: int
    split: str

    @classmethod
    def of(cls, data: str, blocks: int, results: Sequence[Result]) -> Point:
        """Return the point of one or several seeds."""
        figure = Figure(data, FULL, tuple(results))
        metric, first = figure.metric, results[0]
        return cls(
            blocks,
            metric,
            figure.interval(),
            float(np.mean([result.train_figures.get(metric, np.nan) for result in results])),
            baseline(metric, figure.gold),
            len(results),
            first.train_rows,
            len(figure.gold),
            first.split,
        )


def cells_by_layers(sets: Iterable[str], layers: int, seeds: int = 1) -> list[Cell]:
    """Return the cells of figure 2, left: nothing, the embeddings, and 1 to all blocks transferred.

    The first and the last are those of table 5, without pre-training and full.
    """
    return [
        Cell(data, NO_PRETRAINING if k == NOTHING else FULL, seed, None if k in ends else k)
        for ends in [(NOTHING, layers)]
        for data in sets
        for seed in range(seeds)
        for k in range(NOTHING, layers + 1)
    ]


def figure2_left(
    results: Sequence[Result], about: About, layers: int, lost: Sequence[str] = ()
) -> Document:
    """Return figure 2, left, as a picture and a table for each data set.

    `layers`: how many blocks the model has.
    """
    found: dict[str, dict[int, list[Result]]] = {}
    for result in results:
        k = _transferred(result.cell, layers)
        if k is not None:
            found.setdefault(result.cell.data, {}).setdefault(k, []).append(result)
    points = {data: [Point.of(data, k, by[k]) for k in sorted(by)] for data, by in found.items()}
    tables = tuple(_table(data, some, layers) for data, some in points.items())
    notes = (
        f"Blocks of {about.model} ({about.parameters:,} parameters, {layers} blocks) that are kept "
        f"before fine-tuning; the others start at random. 0 blocks: the embeddings alone. none: "
        f"these are random too. The paper's model has 12 blocks and {paper.PARAMETERS:,} "
        f"parameters and was fine-tuned on all rows; its chart rises with every block, on MultiNLI "
        f"by up to 9 points in all.",
        "In brackets, and shaded: the 95 % bootstrap interval over the measured rows.",
    )
    name = "figure2-left"
    values = {
        data: [vars(point) | {"test": vars(point.test)} for point in some]
        for data, some in points.items()
    }
    return Document(
        name,
        "Figure 2, left, anew: what each transferred block is worth",
        (*notes, *lost),
        tables,
        {f"{name}.png": picture(points, layers)} if points else {},
        {"models": vars(about), "layers": layers, "lost": list(lost), "points": values},
    )


def picture(points: Mapping[str, Sequence[Point]], layers: int) -> bytes:
    """Return the curves as PNG, a panel for each data set."""
    import matplotlib  # slow to import, and needed only here
    import matplotlib.figure

    with matplotlib.rc_context({"font.size": 10, "text.parse_math": False}):
        figure = matplotlib.figure.Figure(
            figsize=(1 + 4.6 * len(points), 4.4), layout="constrained", dpi=150
        )
        for axes, (data, some) in zip(
            figure.subplots(1, len(points), squeeze=False)[0], points.items(), strict=True
        ):
            _panel(axes, data, some, layers)
        out = io.BytesIO()
        figure.savefig(out, format="png")
    return out.getvalue()


def _panel(axes: Axes, data: str, points: Sequence[Point], layers: int) -> None:
    blocks = [point.blocks for point in points]
    style: Any = {"marker": "o", "markersize": 4, "linewidth": 1.5}
    first = points[0]
    axes.plot(
        blocks, [100 * point.train for point in points], color=_COLOURS["train"],
        label=f"training rows ({first.train_rows:,} learnt from)", linestyle="--", **style,
    )  # fmt: skip
    axes.plot(
        blocks, [100 * point.test.value for point in points], color=_COLOURS["test"],
        label=f"{first.split} rows ({first.test_rows:,}; 95 % interval)", **style,
    )  # fmt: skip
    low, high = ([100 * end for end in ends] for ends in zip(
        *((point.test.low, point.test.high) for point in points), strict=True
    ))  # fmt: skip
    axes.fill_between(blocks, low, high, color=_COLOURS["test"], alpha=0.15, linewidth=0)
    chance = 100 * first.constant
    axes.axhline(chance, color=_GREY, linewidth=1, linestyle=":", label="most frequent answer")
    axes.set_title(title_of(data))
    axes.set_xlabel("transferred blocks")
    axes.set_ylabel(f"{first.metric}, %" if first.metric in ("accuracy", "f1") else first.metric)
    axes.set_xticks(range(NOTHING, layers + 1))
    axes.set_xticklabels(["none", *map(str, range(layers + 1))])
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="best")


def _transferred(cell: Cell, layers: int) -> int | None:
    """Return how many blocks a cell's model keeps; None for another variant's.

    >>> _transferred(Cell("race"), 6), _transferred(Cell("race", NO_PRETRAINING), 6)
    (6, -1)
    """
    if cell.variant == NO_PRETRAINING:
        return NOTHING
    if cell.variant != FULL:
        return None
    return layers if cell.layers is None else cell.layers


def _table(data: str, points: Sequence[Point], layers: int) -> Table:
    by = {point.blocks: point for point in points}
    rows = []
    for k in range(NOTHING, layers + 1):
        point = by.get(k)
        texts = (ABSENT, ABSENT)
        if point is not None:
            texts = (shown(point.test), ABSENT if np.isnan(point.train) else percent(point.train))
        rows.append(("none" if k == NOTHING else str(k), *texts))
    first = points[0]
    metric = paper.METRICS[first.metric]
    head = ("blocks", f"{first.split} ({metric}, {first.test_rows:,} rows)", "training rows")
    printed = paper.figure(data)
    note = (
        f"Ours, {first.train_rows:,} training rows. The most frequent answer reaches "
        f"{percent(first.constant)}."
    )
    if printed is not None:
        note += f" The paper's, with all of its 12 blocks: {printed:.1f}."
    return Table(title_of(data), head, tuple(rows), note)
