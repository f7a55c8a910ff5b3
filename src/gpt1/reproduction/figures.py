"""The paper's figure 2, left: what each transferred block is worth; its numbers and its picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gpt1.reports.charts import draw_png
from gpt1.reports.sections import ABSENT, Curve, Level, LineChart, Section, Table
from gpt1.reproduction import paper
from gpt1.reproduction.document import Document
from gpt1.reproduction.paper import FULL, NO_PRETRAINING, TITLES
from gpt1.reproduction.results import (
    Experiment,
    ExperimentResult,
    Measurement,
    format_interval,
    percent,
)

NOTHING = -1
"""The number of transferred "blocks" where the embeddings are random too."""


def experiments_by_layers(sets: Iterable[str], layers: int, seeds: int = 1) -> list[Experiment]:
    """Return the experiments of figure 2, left: nothing, the embeddings, 1 to all blocks kept.

    The first and the last are those of table 5, without pre-training and full.
    """
    return [
        experiment
        for data in sets
        for seed in range(seeds)
        for experiment in (
            Experiment(data, NO_PRETRAINING, seed),
            *(Experiment(data, FULL, seed, blocks) for blocks in range(layers)),
            Experiment(data, FULL, seed),
        )
    ]


def figure2_left(
    results: Sequence[ExperimentResult], skipped: Sequence[str], *, layers: int
) -> Document:
    """Return figure 2, left, as a picture and a table for each data set.

    `layers`: how many blocks the model has.
    """
    grouped: dict[str, dict[int, list[ExperimentResult]]] = {}
    for result in results:
        kept = layers if result.experiment.layers is None else result.experiment.layers
        blocks = NOTHING if result.experiment.variant == NO_PRETRAINING else kept
        grouped.setdefault(result.experiment.data, {}).setdefault(blocks, []).append(result)
    curves = {
        data: {blocks: Measurement(group) for blocks, group in sorted(by_blocks.items())}
        for data, by_blocks in grouped.items()
    }
    charts = [_chart(data, curve, layers) for data, curve in curves.items()]
    model = f"{results[0].model} ({results[0].parameters:,} parameters, {layers} blocks)"
    notes = (
        f"Blocks of {model} that are kept before fine-tuning; the others start at random. "
        f"0 blocks: the embeddings alone. none: these are random too. The paper's model has 12 "
        f"blocks and {paper.PARAMETERS:,} parameters and was fine-tuned on all rows; its chart "
        f"rises with every block, on MultiNLI by up to 9 points in all.",
        "In brackets, and shaded: the 95 % bootstrap interval over the measured rows.",
    )
    points = {
        data: [{"blocks": blocks, **measured.to_json()} for blocks, measured in curve.items()]
        for data, curve in curves.items()
    }
    return Document(
        "figure2-left",
        "Figure 2, left, anew: what each transferred block is worth",
        (*notes, *skipped),
        tuple(_table(data, curve, layers) for data, curve in curves.items()),
        {"layers": layers, "skipped": skipped, "points": points},
        draw_png(*charts, size=(1 + 4.6 * len(charts), 4.4)),
    )


def _chart(data: str, curve: Mapping[int, Measurement], layers: int) -> LineChart:
    first = next(iter(curve.values()))
    blocks = list(curve)
    intervals = [measured.interval() for measured in curve.values()]
    values = [100 * one.value for one in intervals]
    band = [100 * one.low for one in intervals], [100 * one.high for one in intervals]
    fitted = [100 * measured.on_training_rows for measured in curve.values()]
    measured_rows = f"{first.split} rows ({len(first.gold):,}; 95 % interval)"
    learnt = f"training rows ({first.train_rows:,} learnt from)"
    share = first.metric in ("accuracy", "f1")
    return LineChart(
        TITLES[data],
        "transferred blocks",
        f"{first.metric}, %" if share else first.metric,
        [
            Curve(measured_rows, blocks, values, marker=True, band=band),
            Curve(learnt, blocks, fitted, color=1, style="dashed", marker=True),
        ],
        levels=[Level(100 * first.constant, "most frequent answer")],
        x_names={k: _name(k) for k in range(NOTHING, layers + 1)},
    )


def _table(data: str, curve: Mapping[int, Measurement], layers: int) -> Section:
    rows = []
    for blocks in range(NOTHING, layers + 1):
        cells = (ABSENT, ABSENT)
        if blocks in curve:
            measured = curve[blocks]
            cells = (format_interval(measured.interval()), percent(measured.on_training_rows))
        rows.append((_name(blocks), *cells))
    first = next(iter(curve.values()))
    constant = percent(first.constant)
    note = f"Ours, {first.train_rows:,} training rows. The most frequent answer reaches {constant}."
    printed = paper.figure(data)
    if printed is not None:
        note += f" The paper's, with all of its 12 blocks: {printed:.1f}."
    column = f"{first.split} ({paper.METRICS[first.metric]}, {len(first.gold):,} rows)"
    return Section(TITLES[data], Table(("blocks", column, "training rows"), rows), note)


def _name(blocks: int) -> str:
    return "none" if blocks == NOTHING else str(blocks)
