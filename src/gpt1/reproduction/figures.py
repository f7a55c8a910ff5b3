"""The paper's figure 2 as numbers and pictures.

Left: what each transferred block is worth. Right: zero-shot scores over pre-training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gpt1.errors import counted
from gpt1.evaluation.zero_shot_curves import Point, as_json, curve_tables, draw_curves
from gpt1.evaluation.zero_shot_sets import SETTINGS
from gpt1.reports.charts import draw_png
from gpt1.reports.formatting import format_interval, format_percent
from gpt1.reports.sections import ABSENT, Curve, Level, LineChart, Section, Table
from gpt1.reproduction import paper
from gpt1.reproduction.document import Document
from gpt1.reproduction.paper import FULL, NO_PRETRAINING, TITLES
from gpt1.reproduction.results import Experiment, ExperimentResult, Measurement

NOTHING = -1
"""Stands for the number of transferred blocks where the embeddings are random too."""


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
    """Return figure 2, left, of a model of `layers` blocks: a picture and a table per data set."""
    grouped: dict[str, dict[int, list[ExperimentResult]]] = {}
    for result in results:
        experiment = result.experiment
        blocks = layers if experiment.layers is None else experiment.layers
        blocks = NOTHING if experiment.variant == NO_PRETRAINING else blocks
        grouped.setdefault(experiment.data, {}).setdefault(blocks, []).append(result)
    curves = {
        data: {blocks: Measurement(group) for blocks, group in sorted(by_blocks.items())}
        for data, by_blocks in grouped.items()
    }
    charts = [_chart(data, curve, layers) for data, curve in curves.items()]
    model = f"{results[0].model} ({results[0].parameters:,} parameters, {counted(layers, 'block')})"
    notes = (
        f"Blocks of {model} that are kept before fine-tuning; the others start at random. "
        f"0 blocks: only the embeddings are kept. none: these are random too. The paper's model "
        f"has 12 blocks and {paper.PARAMETERS:,} parameters and was fine-tuned on all rows; its "
        f"chart rises with every block, on MultiNLI by up to 9 points in all.",
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
    intervals = [measured.interval(first.metric) for measured in curve.values()]
    values, low, high = ([100 * getattr(i, n) for i in intervals] for n in ("value", "low", "high"))
    fitted = [100 * measured.on_training_rows for measured in curve.values()]
    held_out = f"{first.split} rows ({len(first.gold):,}; 95 % interval)"
    learnt = f"training rows ({first.train_rows:,} learnt from)"
    return LineChart(
        TITLES[data],
        "transferred blocks",
        f"{first.metric}, %" if first.metric in ("accuracy", "f1") else first.metric,
        [
            Curve(held_out, blocks, values, marker=True, band=(low, high)),
            Curve(learnt, blocks, fitted, color=1, style="dashed", marker=True),
        ],
        levels=[Level(100 * first.constant, "most frequent answer")],
        x_names={k: _name(k) for k in range(NOTHING, layers + 1)},
    )


def _table(data: str, curve: Mapping[int, Measurement], layers: int) -> Section:
    rows = [(_name(blocks), ABSENT, ABSENT) for blocks in range(NOTHING, layers + 1)]
    for blocks, measured in curve.items():
        value = format_interval(**vars(measured.interval(measured.metric)))
        rows[blocks - NOTHING] = _name(blocks), value, format_percent(measured.on_training_rows)
    first = next(iter(curve.values()))
    constant = format_percent(first.constant)
    note = f"Ours, {first.train_rows:,} training rows. The most frequent answer reaches {constant}."
    printed = paper.figure(data)
    if printed is not None:
        note += f" The paper's, with all of its 12 blocks: {printed:.1f}."
    column = f"{first.split} ({paper.METRICS[first.metric]}, {len(first.gold):,} rows)"
    return Section(TITLES[data], Table(("blocks", column, "training rows"), rows), note)


def _name(blocks: int) -> str:
    return "none" if blocks == NOTHING else str(blocks)


def figure2_right(curves: Mapping[str, Sequence[Point]], skipped: Sequence[str] = ()) -> Document:
    """Return figure 2, right, of runs (name -> points): picture, values, relative scores."""
    references = "; ".join(
        f"{data} {format_percent(setting.reference)} ({setting.source})"
        for data, setting in SETTINGS.items()
    )
    notes = (
        "Zero-shot scores of models along their pre-training; nothing is fine-tuned. The paper's "
        f"model has {paper.PARAMETERS:,} parameters and read BooksCorpus 100 times; ours are of "
        "the runs named below, another size and another text, on dev rows (DPR train, WSC273 all).",
        "Relative score: 0 is guessing, 1 the best single model of 2018. The paper names no values "
        f"for it; ours are {references}. In brackets: 95 % bootstrap intervals over rows. Read off "
        "the paper's chart by a third party, its relative scores end at 0.68 (sentiment), 0.55 "
        "(Winograd), 0.43 (acceptability), 0.25 (question answering).",
    )
    return Document(
        "figure2-right",
        "Figure 2, right, anew: zero-shot scores over pre-training",
        (*notes, *skipped),
        [section for run, points in curves.items() for section in _curve_sections(run, points)],
        {"skipped": skipped, **as_json(curves)},
        draw_curves(curves),
    )


def _curve_sections(run: str, points: Sequence[Point]) -> list[Section]:
    names = [result.data for result in points[0].results]
    columns = [f"{n} ({paper.METRICS[SETTINGS[n].metric]}, %)" for n in names]
    values, _ = curve_tables(run, points, columns, intervals=True)
    _, relative = curve_tables(run, points, names)
    guessing = ["guessing", *(format_percent(SETTINGS[name].random) for name in names)]
    table = Table(values.table.columns, [*values.table.rows, guessing])
    return [Section(values.title, table), relative]
