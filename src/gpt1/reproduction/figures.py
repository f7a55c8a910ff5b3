"""The paper's figure 2, left: what each transferred block is worth; its numbers and its picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from gpt1.reports.charts import draw_png
from gpt1.reports.sections import ABSENT, Curve, Level, LineChart, Section, Table
from gpt1.reproduction import paper
from gpt1.reproduction.document import Document
from gpt1.reproduction.paper import FULL, NO_PRETRAINING
from gpt1.reproduction.results import (
    Experiment,
    ExperimentResult,
    Measurement,
    Models,
    format_interval,
    percent,
    title_of,
)
from gpt1.tasks.metrics import Interval

NOTHING = -1
"""The number of transferred "blocks" where the embeddings are random too."""


@dataclass(frozen=True)
class LayerPoint:
    """What models with so many transferred blocks reach; all seeds together.

    train: on as many of the training rows; constant: what the most frequent answer reaches.
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


def experiments_by_layers(sets: Iterable[str], layers: int, seeds: int = 1) -> list[Experiment]:
    """Return the experiments of figure 2, left: nothing, the embeddings, 1 to all blocks kept.

    The first and the last are those of table 5, without pre-training and full.
    """
    return [
        Experiment(
            data,
            NO_PRETRAINING if blocks == NOTHING else FULL,
            seed,
            None if blocks in (NOTHING, layers) else blocks,
        )
        for data in sets
        for seed in range(seeds)
        for blocks in range(NOTHING, layers + 1)
    ]


def figure2_left(
    results: Sequence[ExperimentResult],
    models: Models,
    skipped: Sequence[str] = (),
    *,
    layers: int,
) -> Document:
    """Return figure 2, left, as a picture and a table for each data set.

    `layers`: how many blocks the model has.
    """
    grouped: dict[str, dict[int, list[ExperimentResult]]] = {}
    for result in results:
        blocks = _transferred(result.experiment, layers)
        if blocks is not None:
            grouped.setdefault(result.experiment.data, {}).setdefault(blocks, []).append(result)
    points = {
        data: [_point(data, blocks, by_blocks[blocks]) for blocks in sorted(by_blocks)]
        for data, by_blocks in grouped.items()
    }
    notes = (
        f"Blocks of {models.model} ({models.parameters:,} parameters, {layers} blocks) that are "
        f"kept before fine-tuning; the others start at random. 0 blocks: the embeddings alone. "
        f"none: these are random too. The paper's model has 12 blocks and {paper.PARAMETERS:,} "
        f"parameters and was fine-tuned on all rows; its chart rises with every block, on MultiNLI "
        f"by up to 9 points in all.",
        "In brackets, and shaded: the 95 % bootstrap interval over the measured rows.",
    )
    charts = [_chart(data, some, layers) for data, some in points.items()]
    return Document(
        "figure2-left",
        "Figure 2, left, anew: what each transferred block is worth",
        (*notes, *skipped),
        tuple(_table(data, some, layers) for data, some in points.items()),
        values={
            "models": vars(models),
            "layers": layers,
            "skipped": list(skipped),
            "points": {data: [asdict(point) for point in some] for data, some in points.items()},
        },
        picture=draw_png(*charts, size=(1 + 4.6 * len(charts), 4.4)) if charts else None,
    )


def _point(data: str, blocks: int, results: Sequence[ExperimentResult]) -> LayerPoint:
    measured = Measurement(data, FULL, tuple(results))
    first = results[0]
    return LayerPoint(
        blocks,
        measured.metric,
        test=measured.interval(),
        train=float(np.mean([result.train_metrics[measured.metric] for result in results])),
        constant=measured.constant,
        seeds=len(results),
        train_rows=first.train_rows,
        test_rows=len(measured.gold),
        split=first.split,
    )


def _transferred(experiment: Experiment, layers: int) -> int | None:
    """Return how many blocks an experiment's model keeps; None for another variant's.

    >>> _transferred(Experiment("race"), 6), _transferred(Experiment("race", NO_PRETRAINING), 6)
    (6, -1)
    """
    if experiment.variant == NO_PRETRAINING:
        return NOTHING
    if experiment.variant != FULL:
        return None
    return layers if experiment.layers is None else experiment.layers


def _chart(data: str, points: Sequence[LayerPoint], layers: int) -> LineChart:
    first = points[0]
    blocks = [point.blocks for point in points]
    low, high = ([100 * getattr(p.test, end) for p in points] for end in ("low", "high"))
    share = first.metric in ("accuracy", "f1")
    return LineChart(
        title_of(data),
        "transferred blocks",
        f"{first.metric}, %" if share else first.metric,
        [
            Curve(
                f"{first.split} rows ({first.test_rows:,}; 95 % interval)",
                blocks,
                [100 * point.test.value for point in points],
                marker=True,
                band=(low, high),
            ),
            Curve(
                f"training rows ({first.train_rows:,} learnt from)",
                blocks,
                [100 * point.train for point in points],
                color=1,
                style="dashed",
                marker=True,
            ),
        ],
        levels=[Level(100 * first.constant, "most frequent answer")],
        x_names={k: "none" if k == NOTHING else str(k) for k in range(NOTHING, layers + 1)},
    )


def _table(data: str, points: Sequence[LayerPoint], layers: int) -> Section:
    by_blocks = {point.blocks: point for point in points}
    rows = []
    for blocks in range(NOTHING, layers + 1):
        point = by_blocks.get(blocks)
        cells = (ABSENT, ABSENT)
        if point is not None:
            cells = (format_interval(point.test), percent(point.train))
        rows.append(("none" if blocks == NOTHING else str(blocks), *cells))
    first = points[0]
    metric = paper.METRICS[first.metric]
    note = (
        f"Ours, {first.train_rows:,} training rows. The most frequent answer reaches "
        f"{percent(first.constant)}."
    )
    printed = paper.figure(data)
    if printed is not None:
        note += f" The paper's, with all of its 12 blocks: {printed:.1f}."
    measured = f"{first.split} ({metric}, {first.test_rows:,} rows)"
    return Section(title_of(data), Table(("blocks", measured, "training rows"), rows), note)
